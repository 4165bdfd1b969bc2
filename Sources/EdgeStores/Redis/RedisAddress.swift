public import EdgeReconciler

/// Where a Redis is, and who asks: `redis://user:password@host:port/db?name=value…`, `rediss://` for
/// TLS.
///
/// Parameters: `ca=FILE` (PEM; the system's authorities otherwise), `servername=NAME` (what the
/// certificate must be of; the host otherwise), `connect-timeout=MS` (2000), `timeout=MS` (5000; of
/// one read or write).
public struct RedisAddress: Hashable, Sendable {
    public var host = "127.0.0.1"
    public var port: UInt16 = 6379
    public var user: String?
    public var password: String?
    public var database = 0
    public var isTLS = false
    public var caFile: String?
    public var serverName: String?
    public var connectTimeoutMs = 2_000
    public var timeoutMs = 5_000

    /// Reads a URL. User, password and values may be percent-encoded.
    ///
    /// - Throws: `RedisError.badURL`, which never repeats what may hold the password.
    public init(_ text: String) throws(RedisError) {
        guard let mark = text.firstRange(of: "://") else {
            throw .badURL("Redis' URL is redis://user:password@host:port/db, or rediss://… for TLS")
        }
        switch text[..<mark.lowerBound].lowercased() {
        case "redis": isTLS = false
        case "rediss": isTLS = true
        default: throw .badURL("Redis' URL starts with redis:// or rediss://")
        }
        var rest = text[mark.upperBound...]
        guard !rest.contains("#"), !rest.unicodeScalars.contains(where: { $0.value < 0x21 }) else {
            throw .badURL("Redis' URL holds # or blanks: write them as %23 and %20")
        }
        if let question = rest.firstIndex(of: "?") {
            try take(parameters: rest[rest.index(after: question)...])
            rest = rest[..<question]
        }
        // The last @: a password that was not encoded may hold others.
        if let at = rest.lastIndex(of: "@") {
            try take(credentials: rest[..<at])
            rest = rest[rest.index(after: at)...]
        }
        if let slash = rest.firstIndex(of: "/") {
            let number = rest[rest.index(after: slash)...]
            guard number.isEmpty || Int(number).map({ (0..<65_536).contains($0) }) == true else {
                throw .badURL("Redis' URL: after the / comes the database's number")
            }
            database = Int(number) ?? 0
            rest = rest[..<slash]
        }
        try take(place: rest)
        guard isTLS || (caFile == nil && serverName == nil) else {
            throw .badURL("Redis' URL: ca and servername are for rediss://")
        }
    }

    private mutating func take(place: Substring) throws(RedisError) {
        var name = place
        var number: Substring?
        if place.first == "[", let end = place.firstIndex(of: "]") {
            name = place[place.index(after: place.startIndex)..<end]
            let after = place[place.index(after: end)...]
            guard after.isEmpty || after.first == ":" else {
                throw .badURL("Redis' URL: after [address] comes :port")
            }
            number = after.isEmpty ? nil : after.dropFirst()
        } else if let colon = place.firstIndex(of: ":") {
            name = place[..<colon]
            number = place[place.index(after: colon)...]
        }
        guard !name.isEmpty, !name.contains("[") else {
            throw .badURL("Redis' URL names no host")
        }
        host = String(name)
        guard let number else { return }
        guard let value = UInt16(number), value > 0 else {
            throw .badURL("Redis' URL: the port is a number from 1 to 65535")
        }
        port = value
    }

    private mutating func take(credentials: Substring) throws(RedisError) {
        guard let colon = credentials.firstIndex(of: ":") else {
            throw .badURL("Redis' URL: user:password, or :password, stands before the @")
        }
        let name = try Self.decoded(credentials[..<colon])
        let secret = try Self.decoded(credentials[credentials.index(after: colon)...])
        guard !secret.isEmpty else { throw .badURL("Redis' URL: the password is empty") }
        user = name.isEmpty ? nil : name
        password = secret
    }

    private mutating func take(parameters: Substring) throws(RedisError) {
        for part in parameters.split(separator: "&") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let value = pair.count == 2 ? try Self.decoded(pair[1]) : ""
            switch pair[0] {
            case "ca" where !value.isEmpty: caFile = value
            case "servername" where !value.isEmpty: serverName = value
            case "connect-timeout": connectTimeoutMs = try Self.milliseconds(value)
            case "timeout": timeoutMs = try Self.milliseconds(value)
            default:
                throw .badURL(
                    "Redis' URL: known after the ? are ca=FILE, servername=NAME, "
                        + "connect-timeout=MS and timeout=MS")
            }
        }
    }

    private static func milliseconds(_ text: String) throws(RedisError) -> Int {
        guard let value = Int(text), (1...600_000).contains(value) else {
            throw .badURL("Redis' URL: timeouts are 1 to 600000 ms")
        }
        return value
    }

    private static func decoded(_ text: Substring) throws(RedisError) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            else { throw .badURL("Redis' URL: a % is followed by two hexadecimal digits") }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        guard let text = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
            throw .badURL("Redis' URL: its parts are UTF-8 without zero bytes")
        }
        return text
    }
}

/// Without the password, in logs and wherever else it is printed.
extension RedisAddress: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String {
        let who = password == nil ? "" : "\(user ?? "")@"
        let place = host.contains(":") ? "[\(host)]" : host
        return "\(isTLS ? "rediss" : "redis")://\(who)\(place):\(port)/\(database)"
    }

    public var debugDescription: String { description }

    public var customMirror: Swift.Mirror { Swift.Mirror(self, children: ["url": description]) }
}
