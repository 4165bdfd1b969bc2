import EdgeMemory
public import EdgeTypes

/// What a command asks for, once its arguments are understood.
public enum RESPRequest: Sendable {
    case request(Request)
    case payload(Request, Payload)
    /// The caller draws the seed, then sends the definition.
    case create(Request, PoolDraft)
    /// Answered by the listener itself.
    case local(RESPCommand)
    case refused(RESPRefusal)
}

/// A command that is understood well enough to say what is wrong with it: `code text`.
public struct RESPRefusal: Error, Hashable, Sendable {
    public var code: String
    public var text: String

    public init(_ code: String, _ text: String) {
        self.code = code
        self.text = text
    }

    static func argument(_ text: String) -> RESPRefusal { RESPRefusal("BADARG", text) }
    static let syntax = RESPRefusal("ERR", "syntax error")
}

/// Turns arguments into requests. Pure: the same bytes always give the same request.
public enum RESPRequests {
    /// Finds the command named by the first argument.
    @inline(__always)
    public static func command(
        _ bytes: RawSpan, _ arguments: borrowing RESPArguments
    ) -> RESPCommand? {
        if isGrab(bytes, arguments) { return .rainGrab }
        return RESPCommand.byName[bytes, arguments.range(0)]
    }

    /// Whether the first argument spells RAIN.GRAB in any case.
    @inlinable @inline(__always)
    public static func isGrab(_ bytes: RawSpan, _ arguments: borrowing RESPArguments) -> Bool {
        guard arguments.length(0) == 9 else { return false }
        let start = arguments.start(0)
        // SAFETY: the load is checked against the span's bounds; any bits are a UInt64.
        let word = bytes.unsafeLoadUnaligned(fromByteOffset: start, as: UInt64.self)
        // "rain.gra" and "b"; the dot must be one before the case bit is set.
        return UInt64(littleEndian: word) | 0x2020_2020_2020_2020 == 0x6172_672e_6e69_6172
            && bytes.byte(start &+ 4) == UInt8(ascii: ".")
            && bytes.byte(start &+ 8) | 0x20 == UInt8(ascii: "b")
    }

    /// A grab's plain form, `RAIN.GRAB id user`, without an enum in between.
    ///
    /// - Returns: nil where it is anything else: `parse` then says what.
    @inlinable
    public static func plainGrab(
        _ bytes: RawSpan, _ arguments: borrowing RESPArguments, ticket: Ticket
    ) -> Request? {
        guard arguments.count == 3, isGrab(bytes, arguments) else { return nil }
        let name = arguments.range(1)
        guard name.count >= 1, name.count <= Limits.textBytes else { return nil }
        guard let user = RESPNumber.unsigned(bytes, arguments.range(2)) else { return nil }
        let pool = bytes.extracting(name).withUnsafeBytes {
            PoolKey.of(.rain, bytes: $0)
        }
        return Request(ticket: ticket, operation: .grab, pool: pool, user: user)
    }

    /// - Parameter actor: who is logged in, for the journal of operators' commands.
    public static func parse(
        _ command: RESPCommand, _ bytes: RawSpan, _ arguments: borrowing RESPArguments,
        ticket: Ticket, actor: Text64
    ) -> RESPRequest {
        let info = command.info
        guard info.accepts(arguments.count) else {
            return .refused(
                RESPRefusal("ERR", "wrong number of arguments for '\(info.name)' command"))
        }
        do throws(RESPRefusal) {
            switch info.group {
            case "rain", "stock":
                return try pool(command, bytes, arguments, ticket: ticket, actor: actor)
            case "order": return try order(command, bytes, arguments, ticket: ticket)
            default: return .local(command)
            }
        } catch {
            return .refused(error)
        }
    }

    private static func pool(
        _ command: RESPCommand, _ bytes: RawSpan, _ arguments: borrowing RESPArguments,
        ticket: Ticket, actor: Text64
    ) throws(RESPRefusal) -> RESPRequest {
        switch command {
        case .rainGrab: return try grab(bytes, arguments, ticket: ticket)
        case .rainClaims: return try ofUser(.claims, .rain, bytes, arguments, ticket: ticket)
        case .stockOrders: return try ofUser(.orders, .stock, bytes, arguments, ticket: ticket)
        case .stockReserve: return try reserve(bytes, arguments, ticket: ticket)
        case .rainCreate: return try createRain(bytes, arguments, ticket: ticket)
        case .stockCreate: return try createStock(bytes, arguments, ticket: ticket)
        case .rainAlter: return try alter(.rain, bytes, arguments, ticket: ticket, actor: actor)
        case .stockAlter: return try alter(.stock, bytes, arguments, ticket: ticket, actor: actor)
        case .rainList: return try list(.rain, bytes, arguments, ticket: ticket)
        case .stockList: return try list(.stock, bytes, arguments, ticket: ticket)
        case .stockRefill: return try refill(bytes, arguments, ticket: ticket, actor: actor)
        case .rainResolve:
            return try resolve(.rain, bytes, arguments, ticket: ticket, actor: actor)
        case .stockResolve:
            return try resolve(.stock, bytes, arguments, ticket: ticket, actor: actor)
        case .rainInfo: return try control(.poolInfo, .rain, bytes, arguments, ticket, nil)
        case .stockInfo: return try control(.poolInfo, .stock, bytes, arguments, ticket, nil)
        case .rainWarm: return try control(.poolWarm, .rain, bytes, arguments, ticket, actor)
        case .stockWarm: return try control(.poolWarm, .stock, bytes, arguments, ticket, actor)
        case .rainPause: return try control(.poolPause, .rain, bytes, arguments, ticket, actor)
        case .stockPause: return try control(.poolPause, .stock, bytes, arguments, ticket, actor)
        case .rainResume: return try control(.poolResume, .rain, bytes, arguments, ticket, actor)
        case .stockResume: return try control(.poolResume, .stock, bytes, arguments, ticket, actor)
        case .rainClose: return try control(.poolClose, .rain, bytes, arguments, ticket, actor)
        case .stockClose: return try control(.poolClose, .stock, bytes, arguments, ticket, actor)
        case .ping, .echo, .hello, .auth, .quit, .reset, .select, .command, .config, .info,
            .client, .orderPay, .orderCancel, .orderRefund, .orderInfo, .nodes, .shards:
            preconditionFailure("not a pool's command")
        }
    }

    private static func grab(
        _ bytes: RawSpan, _ arguments: borrowing RESPArguments, ticket: Ticket
    ) throws(RESPRefusal) -> RESPRequest {
        var request = Request(ticket: ticket, operation: .grab)
        request.pool = try poolKey(.rain, bytes, arguments.range(1))
        request.user = try user(bytes, arguments.range(2))
        var next = 3
        // An even rest means that all of it is keywords and their values.
        if (arguments.count - next) % 2 == 1 {
            request.requestHash = try requestHash(bytes, arguments.range(next), "request")
            next += 1
        }
        request.region = try region(bytes, arguments, from: next)
        return .request(request)
    }

    private static func ofUser(
        _ operation: Operation, _ family: PoolFamily, _ bytes: RawSpan,
        _ arguments: borrowing RESPArguments, ticket: Ticket
    ) throws(RESPRefusal) -> RESPRequest {
        var request = Request(ticket: ticket, operation: operation, family: family)
        request.pool = try poolKey(family, bytes, arguments.range(1))
        request.user = try user(bytes, arguments.range(2))
        request.region = try region(bytes, arguments, from: 3)
        return .request(request)
    }

    private static func reserve(
        _ bytes: RawSpan, _ arguments: borrowing RESPArguments, ticket: Ticket
    ) throws(RESPRefusal) -> RESPRequest {
        var request = Request(ticket: ticket, operation: .reserve, family: .stock)
        request.pool = try poolKey(.stock, bytes, arguments.range(1))
        request.user = try user(bytes, arguments.range(2))
        request.quantity = try integer(
            bytes, arguments.range(3), 1...Int64(Limits.unitsPerOrder), "qty")
        request.requestHash = try requestHash(bytes, arguments.range(4), "request")
        request.region = try region(bytes, arguments, from: 5)
        return .request(request)
    }

    private static func control(
        _ operation: Operation, _ family: PoolFamily, _ bytes: RawSpan,
        _ arguments: borrowing RESPArguments, _ ticket: Ticket, _ actor: Text64?
    ) throws(RESPRefusal) -> RESPRequest {
        var request = Request(ticket: ticket, operation: operation, family: family)
        request.pool = try poolKey(family, bytes, arguments.range(1))
        guard let actor else { return .request(request) }
        return .payload(request, .actor(actor))
    }

    private static func refill(
        _ bytes: RawSpan, _ arguments: borrowing RESPArguments, ticket: Ticket, actor: Text64
    ) throws(RESPRefusal) -> RESPRequest {
        var request = Request(ticket: ticket, operation: .poolRefill, family: .stock)
        request.pool = try poolKey(.stock, bytes, arguments.range(1))
        request.quantity = try integer(bytes, arguments.range(2), 1...Limits.unitsPerPool, "n")
        request.requestHash = try requestHash(bytes, arguments.range(3), "request")
        return .payload(request, .actor(actor))
    }

    private static func order(
        _ command: RESPCommand, _ bytes: RawSpan, _ arguments: borrowing RESPArguments,
        ticket: Ticket
    ) throws(RESPRefusal) -> RESPRequest {
        let parsed = bytes.extracting(arguments.range(1)).withUnsafeBytes { OrderID(text: $0) }
        guard let order = parsed else {
            throw .argument("an order is 13 letters and digits")
        }
        var request = Request(
            ticket: ticket, operation: .orderInfo, family: .stock, order: order)
        switch command {
        case .orderCancel: request.operation = .orderCancel
        case .orderPay:
            guard arguments.count <= 4 else { throw .syntax }
            request.operation = .orderPay
            let payment = try printable(bytes, arguments.range(2), "payment")
            request.requestHash = Hash64.text(payment)
            if arguments.count == 4 {
                request.amountFen = try integer(
                    bytes, arguments.range(3), 0...Limits.amountFen, "fen")
            }
            return .payload(request, .text(payment))
        case .orderRefund:
            request.operation = .orderRefund
            let id = try printable(bytes, arguments.range(2), "request")
            request.requestHash = Hash64.text(id)
            request.amountFen = try integer(
                bytes, arguments.range(3), 0...Limits.amountFen, "fen")
            try keywords(bytes, arguments, from: 4) { (keyword, value) throws(RESPRefusal) in
                guard keyword == .restock else { throw .syntax }
                request.quantity = try integer(
                    bytes, value, 0...Int64(Limits.unitsPerOrder), "RESTOCK")
            }
            return .payload(request, .text(id))
        default: precondition(command == .orderInfo)
        }
        return .request(request)
    }
}
