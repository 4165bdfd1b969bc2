/// Why Redis did not do what it was asked. Texts never hold a password.
public enum RedisError: Error, Hashable, Sendable {
    case badURL(String)
    /// It cannot be reached, did not answer in time, or the connection broke: whether it did what
    /// it was asked last is not known.
    case unreachable(String)
    /// It does not take these credentials, or they lack a right.
    case denied(String)
    /// It is loading its data, or has become a replica: a failover is under way.
    case notReady(String)
    /// `maxmemory` is reached, and nothing may be evicted.
    case outOfMemory(String)
    /// It is a Redis Cluster, or too old.
    case unsupported(String)
    /// Any other error that it has answered.
    case refused(String)
    /// What it says is not Redis' protocol.
    case malformed(String)

    /// Sorts an error that Redis has answered.
    package init(answer text: String) {
        let code = text.prefix { $0 != " " }
        // Servers before 7 wrap the errors of commands that scripts call.
        func says(_ word: String) -> Bool { code == word || text.contains("-\(word) ") }
        if says("WRONGPASS") || says("NOAUTH") || says("NOPERM")
            || text.contains("invalid password") || text.contains("AUTH <password> called")
        {
            self = .denied(text)
        } else if says("LOADING") || says("READONLY") || says("MASTERDOWN") || says("BUSY")
            || says("NOREPLICAS")
        {
            self = .notReady(text)
        } else if says("OOM") {
            self = .outOfMemory(text)
        } else if says("MOVED") || says("ASK") || says("CROSSSLOT") || says("CLUSTERDOWN") {
            self = .unsupported(Self.noCluster)
        } else {
            self = .refused(text)
        }
    }

    package static let noCluster =
        "this is a Redis Cluster: its slots would part what belongs together; name a server with "
        + "one primary (alone, with replicas, or behind Sentinel)"
}

extension RedisError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .badURL(let text): text
        case .unreachable(let text): "Redis cannot be reached: \(text)"
        case .denied(let text): "Redis refuses these credentials: \(text)"
        case .notReady(let text): "Redis is not ready: \(text)"
        case .outOfMemory(let text): "Redis has no memory left: \(text)"
        case .unsupported(let text): text
        case .refused(let text): "Redis answers: \(text)"
        case .malformed(let text): "this does not speak Redis' protocol: \(text)"
        }
    }
}
