import EdgeMemory
import EdgeTypes
import EdgeWire

/// Commands that the listener answers itself, in Redis' words.
extension RESPConnection {
    func local(_ command: RESPCommand, _ bytes: RawSpan) {
        switch command {
        case .ping: ping(bytes)
        case .echo: bulk(bytes, 1)
        case .hello: hello(bytes)
        case .auth: auth(bytes)
        case .quit:
            simple("OK")
            finish()
        case .reset:
            logOut()
            isRESP3 = false
            clientName = Text64()
            simple("RESET")
        case .select:
            if word(bytes, 1) == "0" {
                simple("OK")
            } else {
                refuse(RESPRefusal("ERR", "DB index is out of range"))
            }
        case .command: describeCommands(bytes)
        case .config: config(bytes)
        case .info: value(.text(infoText()))
        case .client: client(bytes)
        case .nodes: value(nodes())
        case .shards: value(shards())
        case .rainCreate, .rainGrab, .rainClaims, .rainInfo, .rainWarm, .rainAlter, .rainPause,
            .rainResume, .rainClose, .rainResolve, .rainList, .stockCreate, .stockReserve,
            .stockOrders,
            .stockRefill, .stockInfo, .stockWarm, .stockAlter, .stockPause, .stockResume,
            .stockClose, .stockResolve, .stockList, .orderPay, .orderCancel, .orderRefund,
            .orderInfo:
            preconditionFailure("a core's command")
        }
    }

    private func simple(_ text: StaticString) {
        answer { RESPEncoder.append(simple: text, to: &$0) }
    }

    private func value(_ value: Value) {
        let resp3 = isRESP3
        answer { RESPEncoder.append(value, resp3: resp3, to: &$0) }
    }

    private func bulk(_ bytes: RawSpan, _ index: Int) {
        let range = loop.arguments.range(index)
        // A closure cannot capture a span: the bytes are copied once.
        let copy = bytes.extracting(range).withUnsafeBytes { Array($0) }
        answer { sink in copy.withUnsafeBytes { RESPEncoder.append(bulk: $0, to: &sink) } }
    }

    private func wrongArity(_ name: String) {
        refuse(RESPRefusal("ERR", "wrong number of arguments for '\(name)' command"))
    }

    private func ping(_ bytes: RawSpan) {
        switch loop.arguments.count {
        case 1: simple("PONG")
        case 2: bulk(bytes, 1)
        default: wrongArity("ping")
        }
    }

    // MARK: who it is

    private func logOut() {
        let open = loop.shared.settings.respUsers.isEmpty
        role = open ? .operator : .anyone
        userName = open ? "default" : Text64()
    }

    /// - Returns: what is wrong; nil where the user is now logged in.
    private func logIn(_ bytes: RawSpan, name: Range<Int>?, password: Range<Int>) -> RESPRefusal? {
        let users = loop.shared.settings.respUsers
        guard !users.isEmpty else {
            return RESPRefusal(
                "ERR",
                "AUTH called without any users configured. Are you sure your configuration is "
                    + "correct?")
        }
        let wrong = RESPRefusal("WRONGPASS", "invalid username-password pair or user is disabled.")
        var wanted: Text64? = "default"
        if let name { wanted = bytes.extracting(name).withUnsafeBytes { Text64($0) } }
        guard let wanted else { return wrong }
        let found = bytes.extracting(password).withUnsafeBytes {
            RESPUser.find(users, name: wanted, password: $0)
        }
        guard let found else { return wrong }
        role = found.role
        userName = found.name
        return nil
    }

    private func auth(_ bytes: RawSpan) {
        let failure: RESPRefusal?
        switch loop.arguments.count {
        case 2: failure = logIn(bytes, name: nil, password: loop.arguments.range(1))
        case 3:
            failure = logIn(
                bytes, name: loop.arguments.range(1), password: loop.arguments.range(2))
        default: failure = RESPRefusal("ERR", "syntax error")
        }
        if let failure { refuse(failure) } else { simple("OK") }
    }

    /// `HELLO [protover [AUTH username password] [SETNAME clientname]]`
    private func hello(_ bytes: RawSpan) {
        let count = loop.arguments.count
        var resp3 = isRESP3
        if count >= 2 {
            guard let version = RESPNumber.signed(bytes, loop.arguments.range(1)) else {
                return refuse(
                    RESPRefusal("ERR", "Protocol version is not an integer or out of range"))
            }
            guard version == 2 || version == 3 else {
                return refuse(RESPRefusal("NOPROTO", "unsupported protocol version"))
            }
            resp3 = version == 3
        }
        var name: Text64?
        var index = 2
        while index < count {
            switch word(bytes, index).lowercased() {
            case "auth" where index + 2 < count:
                let failure = logIn(
                    bytes, name: loop.arguments.range(index + 1),
                    password: loop.arguments.range(index + 2))
                if let failure { return refuse(failure) }
                index += 3
            case "setname" where index + 1 < count:
                guard let given = self.name(bytes, index + 1) else { return refuseName() }
                name = given
                index += 2
            default:
                return refuse(
                    RESPRefusal("ERR", "Syntax error in HELLO option '\(word(bytes, index))'"))
            }
        }
        guard role != .anyone else {
            return refuse(
                RESPRefusal(
                    "NOAUTH",
                    "HELLO must be called with the client already authenticated, otherwise the "
                        + "HELLO <proto> AUTH <user> <pass> option can be used to authenticate "
                        + "the client and select the RESP protocol version at the same time"))
        }
        isRESP3 = resp3
        if let name { clientName = name }
        let profile = loop.shared.settings.profile
        value(
            .map([
                .init("server", .text("downpour")),
                .init("version", .text(profile.version)),
                .init("proto", .integer(resp3 ? 3 : 2)),
                .init("id", .integer(Int64(id))),
                .init("mode", .text(profile.isClustered ? "cluster" : "standalone")),
                .init("role", .text("master")),
                .init("modules", .array([])),
            ]))
    }

    /// A connection's name: up to 64 printable bytes without spaces.
    private func name(_ bytes: RawSpan, _ index: Int) -> Text64? {
        let text = bytes.extracting(loop.arguments.range(index)).withUnsafeBytes { Text64($0) }
        guard let text, text.isEmpty || RESPRequests.isPrintable(text) else { return nil }
        for index in 0..<Int(text.count) where text.byte(index) == 0x20 { return nil }
        return text
    }

    private func refuseName() {
        refuse(
            RESPRefusal(
                "ERR",
                "Client names cannot contain spaces, newlines or special characters, and are at "
                    + "most 64 bytes."))
    }

    private func client(_ bytes: RawSpan) {
        let count = loop.arguments.count
        switch word(bytes, 1).lowercased() {
        case "setname":
            guard count == 3 else { return wrongArity("client|setname") }
            guard let given = name(bytes, 2) else { return refuseName() }
            clientName = given
            simple("OK")
        case "getname":
            guard count == 2 else { return wrongArity("client|getname") }
            value(clientName.isEmpty ? .null : .text(clientName.description))
        case "id":
            guard count == 2 else { return wrongArity("client|id") }
            value(.integer(Int64(id)))
        case "setinfo":
            guard count == 4 else { return wrongArity("client|setinfo") }
            let attribute = word(bytes, 2).lowercased()
            guard attribute == "lib-name" || attribute == "lib-ver" else {
                return refuse(RESPRefusal("ERR", "Unrecognized option '\(word(bytes, 2))'"))
            }
            guard name(bytes, 3) != nil else { return refuseName() }
            simple("OK")
        default: unknownSubcommand("CLIENT", bytes)
        }
    }

    private func unknownSubcommand(_ name: String, _ bytes: RawSpan) {
        refuse(
            RESPRefusal("ERR", "unknown subcommand '\(word(bytes, 1))'. Try \(name) HELP."))
    }

    private func config(_ bytes: RawSpan) {
        guard word(bytes, 1).lowercased() == "get" else {
            return unknownSubcommand("CONFIG", bytes)
        }
        guard loop.arguments.count >= 3 else { return wrongArity("config|get") }
        value(.map([]))
    }

    // MARK: facts

    private func describeCommands(_ bytes: RawSpan) {
        let count = loop.arguments.count
        guard count > 1 else { return value(.array(RESPCommand.allCases.map(\.described))) }
        var chosen = RESPCommand.allCases.map { Optional($0) }
        if count > 2 {
            chosen = (2..<count).map { RESPCommand.byName[bytes, loop.arguments.range($0)] }
        }
        switch word(bytes, 1).lowercased() {
        case "count":
            guard count == 2 else { return wrongArity("command|count") }
            value(.integer(Int64(RESPCommand.allCases.count)))
        case "info": value(.array(chosen.map { $0?.described ?? .null }))
        case "docs": value(.map(chosen.compactMap { $0?.documented }))
        default: unknownSubcommand("COMMAND", bytes)
        }
    }

    private func infoText() -> String {
        let profile = loop.shared.settings.profile
        let seconds = max(0, loop.now.wallMs - profile.startedMs) / 1_000
        return """
            # Server\r
            downpour_version:\(profile.version)\r
            node_name:\(profile.name)\r
            redis_mode:\(profile.isClustered ? "cluster" : "standalone")\r
            event_loops:\(max(1, loop.peers.count))\r
            uptime_in_seconds:\(seconds)\r
            \r
            # Clients\r
            connected_clients:\(loop.shared.connectionCount)\r
            maxclients:\(loop.limits.connections)\r
            \r
            # Stats\r
            loop_requests:\(loop.statistics.requests)\r
            loop_steps:\(loop.statistics.steps)\r

            """
    }

    private func nodes() -> Value {
        if let cluster = loop.shared.cluster {
            return .array(cluster.plan.nodes.indices.map { .map(cluster.fields($0)) })
        }
        let profile = loop.shared.settings.profile
        let addresses = loop.shared.addresses
        return .array([
            .map([
                .init("name", .text(profile.name)),
                .init("state", .text("alive")),
                .init("version", .text(profile.version)),
                .init("http", .text(addresses.http)),
                .init("resp", .text(addresses.resp)),
                .init("admin", .text(addresses.admin)),
            ])
        ])
    }

    private func shards() -> Value {
        let shared = loop.shared
        let addresses = shared.addresses
        let cluster = shared.cluster
        let owners = cluster?.owners ?? []
        return .array(
            (0..<shared.settings.profile.shards).map { shard in
                let owner = cluster.flatMap { view in owners[shard].map { view.plan.nodes[$0] } }
                return .map([
                    .init("shard", .integer(Int64(shard))),
                    .init("node", .text(owner?.name ?? shared.settings.profile.name)),
                    .init("resp", .text(owner.map { $0.address($0.resp) } ?? addresses.resp)),
                    .init("http", .text(owner.map { $0.address($0.http) } ?? addresses.http)),
                ])
            })
    }
}

extension RESPCommand {
    /// As Redis' COMMAND INFO. No command has keys that a client could route by.
    fileprivate var described: Value {
        let isRead = info.summary.hasPrefix("Lists") || info.summary.hasPrefix("Shows")
        return .array([
            .text(info.name), .integer(Int64(info.arity)),
            .array([.text(isRead ? "readonly" : "write"), .text("fast")]), .integer(0),
            .integer(0), .integer(0), .array([.text("@\(info.group)")]), .array([]), .array([]),
            .array([]),
        ])
    }

    fileprivate var documented: Value.Field {
        Value.Field(
            info.name,
            .map([
                .init("summary", .text(info.summary)),
                .init("since", .text("0.1.0")),
                .init("group", .text(info.group)),
                .init("complexity", .text("O(1)")),
            ]))
    }
}
