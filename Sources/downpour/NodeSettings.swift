import EdgeReconciler
import EdgeServer
import EdgeStores
import EdgeTypes
import Foundation
import Yams

/// A setting that cannot be taken, and where it came from.
struct SettingError: Error, CustomStringConvertible {
    let description: String
}

/// A node's settings by name, from flags, environment and file, in this order of precedence.
struct NodeSettings {
    /// Names as flags spell them, without the dashes.
    static let names: Set<String> = redisNames.union([
        "name", "data", "cores", "shards", "http", "resp", "bus", "admin", "advertise", "join",
        "topology", "durability", "tls-cert", "tls-key", "drain", "trusted-proxies",
        "log-level", "log-format", "ready-file", "insecure", "cors-origins", "segment-bytes",
        "store-url", "store-read-url", "resp-rate", "http-rate", "resp-user-rate", "http-user-rate",
        "max-connections", "retention", "archive-after",
        "archive-orders-after", "protocol", "extra-events",
    ])
    /// Of no use without a Redis.
    private static let redisNames: Set<String> = [
        "cache-keys", "event-stream-limit", "dead-letter-limit", "event-deliveries",
        "event-backoff", "invalidation-delay",
    ]
    /// Never by flag and never in a file: `DOWNPOUR_…`, or the path of a file in `DOWNPOUR_…_FILE`.
    static let secrets: Set<String> = [
        "token-key", "cluster-key", "resp-users", "admin-token", "admin-read-token", "store-url",
        "store-read-url",
        "redis-url",
    ]

    private var values: [String: (text: String, origin: String)] = [:]

    init(
        flags: [String: String], environment: [String: String], file: String?
    ) throws {
        if let file { try read(file) }
        for name in Self.names.union(Self.secrets).sorted() {
            let variable =
                "DOWNPOUR_" + name.uppercased().replacingOccurrences(of: "-", with: "_")
            if let text = environment[variable] { values[name] = (text, variable) }
            if Self.secrets.contains(name), let path = environment[variable + "_FILE"] {
                guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
                    throw SettingError(description: "\(variable)_FILE: cannot read \(path)")
                }
                values[name] = (
                    text.trimmingCharacters(in: .whitespacesAndNewlines), variable + "_FILE"
                )
            }
        }
        for (name, text) in flags { values[name] = (text, "--" + name) }
    }

    private mutating func read(_ path: String) throws {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw SettingError(description: "--config: cannot read \(path)")
        }
        let node: Node?
        do { node = try Yams.compose(yaml: text) } catch {
            throw SettingError(description: "\(path): \(error)")
        }
        guard let node else { return }
        guard let mapping = node.mapping else {
            throw SettingError(description: "\(path): a mapping of settings is expected")
        }
        for (key, value) in mapping {
            let line = key.mark.map { ":\($0.line)" } ?? ""
            guard let name = key.string, Self.names.contains(name), name != "store-url",
                name != "store-read-url"
            else {
                throw SettingError(
                    description: "\(path)\(line): unknown setting \(key.string ?? "?")")
            }
            guard let text = value.scalar?.string else {
                throw SettingError(description: "\(path)\(line): \(name) takes one value")
            }
            values[name] = (text, "\(path)\(line)")
        }
    }

    // MARK: Options

    func options() throws -> NodeOptions {
        var options = NodeOptions()
        try take("name") { options.name = $0 }
        try take("data") { options.dataDirectory = $0 }
        try take("cores") { options.cores = try Self.integer($0, 1...64) }
        try take("shards") {
            let shards = try Self.integer($0, 1...Limits.shards)
            guard shards & (shards - 1) == 0 else { throw Complaint("a power of two") }
            options.shards = shards
        }
        try take("http") { options.http = try Self.address($0) }
        try take("resp") { options.resp = try Self.address($0) }
        try take("admin") { options.admin = try Self.address($0) }
        try take("durability") { options.durability = try Self.durability($0) }
        try take("tls-cert") { options.tlsCertificate = $0 }
        try take("tls-key") { options.tlsKey = $0 }
        try take("drain") { options.drainMs = try Self.durationMs($0) }
        try take("log-level") {
            guard
                ["trace", "debug", "info", "notice", "warning", "error", "critical"]
                    .contains($0)
            else { throw Complaint("trace, debug, info, notice, warning, error or critical") }
            options.logLevel = $0
        }
        try take("log-format") { options.logFormat = $0 }
        try take("ready-file") { options.readyFile = $0 }
        try take("insecure") { options.insecure = try Self.flag($0) }
        try take("cors-origins") { options.corsOrigins = $0.split(separator: ",").map(String.init) }
        try take("segment-bytes") { options.segmentBytes = try Self.integer($0, 1...(1 << 30)) }
        try take("protocol") {
            let known = Int(ProtocolVersion.oldest)...Int(ProtocolVersion.newest)
            options.newestProtocol = UInt16(try Self.integer($0, known))
        }
        try take("retention") { options.retentionMs = try Self.durationMs($0) }
        try take("archive-after") {
            options.archiveAfterMs = $0 == "off" ? .max : try Self.durationMs($0)
        }
        try take("archive-orders-after") {
            options.archiveOrdersAfterMs = $0 == "off" ? .max : try Self.durationMs($0)
        }
        try takeSecrets(&options)
        try takeLimits(&options)
        try takeCluster(&options)
        return options
    }

    private func takeCluster(_ options: inout NodeOptions) throws {
        try take("bus") { options.bus = try Self.address($0) }
        try take("cluster-key") { text in
            do { options.clusterKeys = try ClusterKeys(ring: text) } catch {
                throw Complaint("\(error)")
            }
        }
        try take("join") { text in
            options.join = try text.split(separator: ",").map { part in
                do { return try GossipSeed(String(part)) } catch { throw Complaint("\(error)") }
            }
        }
        let name = options.name
        try take("topology") { path in
            do { options.cluster = try TopologyPlan.of(path, own: name) } catch {
                throw Complaint("\(error)")
            }
        }
        guard let plan = options.cluster else { return }
        if values["shards"] != nil, options.shards != plan.shards {
            throw SettingError(description: "--shards: the topology says \(plan.shards)")
        }
        options.shards = plan.shards
        // Where the file says that others reach it; flags say where it binds.
        let own = plan.nodes[plan.own]
        func bind(_ setting: String, _ address: inout ClientListeners.Address, _ port: Int) {
            if values[setting] == nil {
                address = ClientListeners.Address(host: own.host, port: port)
            }
        }
        bind("http", &options.http, own.http)
        bind("resp", &options.resp, own.resp)
        bind("bus", &options.bus, own.bus)
        bind("admin", &options.admin, own.admin)
        try take("advertise") { options.cluster?.nodes[plan.own].host = $0 }
    }

    private func takeSecrets(_ options: inout NodeOptions) throws {
        try take("token-key") { options.tokenKeys = $0 }
        try take("resp-users") { options.respUsers = $0 }
        try take("admin-token") { options.adminToken = $0 }
        try take("admin-read-token") { options.adminReadToken = $0 }
        try take("store-url") { options.storeURL = $0 }
        try take("store-read-url") { text in
            do { options.storeReadURLs = [try StoreURL(text)] } catch {
                throw Complaint("\(error)")
            }
        }
        options.redis = try redisAddress()
        options.redisSettings = try redisSettings()
        for name in Self.redisNames.sorted() where options.redis == nil {
            if let origin = values[name]?.origin {
                throw SettingError(description: "\(origin): needs DOWNPOUR_REDIS_URL")
            }
        }
        try take("extra-events") { text in
            for name in text.split(separator: ",") {
                guard let known = ExtraEvents.byName.first(where: { $0.name == name }) else {
                    let names = ExtraEvents.byName.map(\.name).joined(separator: ", ")
                    throw Complaint("events beside the usual ones are: \(names)")
                }
                options.extraEvents.insert(known.events)
            }
        }
    }

    /// Limits and times of what follows the store in Redis.
    func redisSettings() throws -> RedisSettings {
        var settings = RedisSettings()
        try take("cache-keys") { text in
            do { settings.cacheKeys = try CacheKey.parse(text) } catch {
                throw Complaint("\(error)")
            }
        }
        try take("event-stream-limit") {
            settings.streamLimit = try Self.integer($0, 1_000...100_000_000)
        }
        try take("dead-letter-limit") {
            settings.deadLimit = try Self.integer($0, 1...10_000_000)
        }
        try take("event-deliveries") {
            settings.retries.deliveries = try Self.integer($0, 1...RetryRules.mostDeliveries)
        }
        try take("event-backoff") { text in
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            let complaint = Complaint("FIRST:LONGEST, such as 1s:60s, from 10ms to 1h")
            guard parts.count == 2, let first = try? Self.durationMs(String(parts[0])),
                let longest = try? Self.durationMs(String(parts[1])), first >= 10,
                first <= longest, longest <= 3_600_000
            else { throw complaint }
            settings.retries.firstMs = Int(first)
            settings.retries.longestMs = Int(longest)
        }
        try take("invalidation-delay") { text in
            let delayMs = try Self.durationMs(text)
            guard (1...60_000).contains(delayMs) else { throw Complaint("1ms to 60s") }
            settings.invalidationDelayMs = Int(delayMs)
        }
        return settings
    }

    /// Of `DOWNPOUR_REDIS_URL`; nil where it is not set.
    func redisAddress() throws -> RedisAddress? {
        var address: RedisAddress?
        try take("redis-url") { text in
            do { address = try RedisAddress(text) } catch { throw Complaint("\(error)") }
        }
        return address
    }

    private func takeLimits(_ options: inout NodeOptions) throws {
        try take("resp-rate") { options.limits.respRate = try Self.rate($0) }
        try take("http-rate") { options.limits.httpRate = try Self.rate($0) }
        try take("resp-user-rate") { options.limits.respUserRate = try Self.rate($0) }
        try take("http-user-rate") { options.limits.httpUserRate = try Self.rate($0) }
        try take("max-connections") {
            options.limits.connections = try Self.integer($0, 1...1_000_000)
        }
    }

    /// What a value should have been.
    private struct Complaint: Error {
        let text: String
        init(_ text: String) { self.text = text }
    }

    private func take(_ name: String, _ body: (String) throws -> Void) throws {
        guard let (text, origin) = values[name] else { return }
        do { try body(text) } catch let complaint as Complaint {
            throw SettingError(description: "\(origin): \(complaint.text)")
        }
    }

    private static func integer(_ text: String, _ range: ClosedRange<Int>) throws -> Int {
        guard let value = Int(text), range.contains(value) else {
            throw Complaint("a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    private static func flag(_ text: String) throws -> Bool {
        switch text.lowercased() {
        case "true", "1", "yes": true
        case "false", "0", "no": false
        default: throw Complaint("true or false")
        }
    }

    private static func durability(_ text: String) throws -> Durability {
        for value in Durability.allCases where "\(value)" == text { return value }
        throw Complaint("memory, journal or replicated")
    }

    private static func address(_ text: String) throws -> ClientListeners.Address {
        guard let colon = text.lastIndex(of: ":"),
            let port = Int(text[text.index(after: colon)...]), (0...65_535).contains(port)
        else { throw Complaint("HOST:PORT") }
        var host = String(text[..<colon])
        if host.hasPrefix("[") && host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        guard !host.isEmpty else { throw Complaint("HOST:PORT") }
        return ClientListeners.Address(host: host, port: port)
    }

    /// `10s`, `500ms`, `2m`.
    static func durationMs(_ text: String) throws -> Int64 {
        for (suffix, factor) in [
            ("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
        ] {
            guard text.hasSuffix(suffix), let value = Int64(text.dropLast(suffix.count)),
                value >= 0, value <= 1_000_000
            else { continue }
            return value * Int64(factor)
        }
        throw Complaint("a duration such as 10s, 500ms, 2m or 30d")
    }

    /// `PER_SECOND` or `PER_SECOND:BURST`; 0 is off.
    private static func rate(_ text: String) throws -> RateLimit {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { UInt32($0) }
        guard (1...2).contains(parts.count), let perSecond = parts[0], perSecond <= 1_000_000 else {
            throw Complaint("PER_SECOND or PER_SECOND:BURST, up to 1000000")
        }
        if perSecond == 0 { return .off }
        guard let burst = parts.count == 2 ? parts[1] : perSecond, (1...1_000_000).contains(burst)
        else { throw Complaint("PER_SECOND or PER_SECOND:BURST, up to 1000000") }
        return RateLimit(perSecond: perSecond, burst: burst)
    }
}
