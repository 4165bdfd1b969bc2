public import EdgeReconciler

/// Where a MySQL or MariaDB database is and who asks it:
/// `mysql://user:password@host:port/database?tls=verify&ca=FILE`.
///
/// Neither its description nor any error holds the password.
public struct MySQLAddress: Hashable, Sendable {
    /// How the connection is protected.
    public enum Security: String, Hashable, Sendable, CaseIterable {
        /// Not at all. The default on loopback and on a socket.
        case off
        /// TLS, whoever answers. The default elsewhere.
        case required
        /// TLS, with a certificate for that name from a known authority.
        case verify
    }

    public struct Endpoint: Hashable, Sendable {
        public var host: String
        public var port: UInt16

        public init(host: String, port: UInt16) {
            self.host = host
            self.port = port
        }
    }

    public var user: String
    public var password: MySQLPassword
    /// Tried in this order; empty where there is a socket.
    public var endpoints: [Endpoint]
    /// The path of a Unix domain socket.
    public var socket: String?
    public var database: String
    public var security: Security
    /// A file of certificates to trust; nil: the system's.
    public var authorityFile: String?
    /// Longest wait for the server's next bytes, seconds.
    public var timeoutSeconds: Int

    public static let schemes = ["mysql", "mariadb"]
    static let defaultPort: UInt16 = 3306
    static let defaultTimeoutSeconds = 30

    /// - Throws: `StoreError.badURL`, which repeats nothing but names of parameters.
    public init(_ text: String) throws(StoreError) {
        let parts = try URLParts(text)
        guard !parts.user.isEmpty else {
            throw .badURL("a mysql: URL names its user: mysql://USER:PASSWORD@HOST/DATABASE")
        }
        guard !parts.database.isEmpty, parts.database.count <= 64, !parts.database.contains("/")
        else { throw .badURL("a mysql: URL names one database: mysql://…@HOST/DATABASE") }
        user = parts.user
        password = MySQLPassword(parts.password)
        database = parts.database
        endpoints = parts.endpoints
        timeoutSeconds = Self.defaultTimeoutSeconds
        var asked: Security?
        for (name, value) in parts.parameters {
            switch name {
            case "tls":
                guard let known = Security(rawValue: value) else {
                    throw .badURL("tls is one of off, required, verify")
                }
                asked = known
            case "ca": authorityFile = value
            case "socket": socket = value
            case "timeout":
                guard let seconds = Int(value), (1...3_600).contains(seconds) else {
                    throw .badURL("timeout is 1 to 3600 seconds")
                }
                timeoutSeconds = seconds
            default: throw .badURL("a mysql: URL takes tls, ca, socket and timeout, not \(name)")
            }
        }
        if socket != nil { endpoints = [] }
        guard socket != nil || !endpoints.isEmpty else {
            throw .badURL("a mysql: URL names a host, or a socket: ?socket=PATH")
        }
        let isNear = endpoints.allSatisfy { Self.loopback.contains($0.host) }
        security = asked ?? (authorityFile != nil ? .verify : isNear ? .off : .required)
        if security != .verify, authorityFile != nil {
            throw .badURL("ca needs tls=verify: nothing else looks at certificates")
        }
    }

    private static let loopback: Set = ["localhost", "127.0.0.1", "::1"]

    /// Whether a store's URL is one of these.
    public static func isMeant(by text: String) -> Bool {
        schemes.contains { text.lowercased().hasPrefix($0 + ":") }
    }
}

extension MySQLAddress: CustomStringConvertible, CustomDebugStringConvertible {
    public var description: String {
        let place = socket ?? endpoints.map(\.description).joined(separator: ",")
        return "mysql://\(place)/\(database)"
    }

    public var debugDescription: String { description }
}

extension MySQLAddress.Endpoint: CustomStringConvertible {
    public var description: String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}

/// A password, which no description shows.
public struct MySQLPassword: Hashable, Sendable, CustomStringConvertible,
    CustomDebugStringConvertible, CustomReflectable
{
    let text: String

    public init(_ text: String) { self.text = text }

    public var description: String { text.isEmpty ? "no password" : "a password" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// A URL taken apart: what stands where, without its meaning.
private struct URLParts {
    var user = ""
    var password = ""
    var endpoints: [MySQLAddress.Endpoint] = []
    var database = ""
    var parameters: [(name: String, value: String)] = []

    init(_ text: String) throws(StoreError) {
        guard let colon = text.firstIndex(of: ":"),
            MySQLAddress.schemes.contains(text[..<colon].lowercased()),
            text[colon...].hasPrefix("://")
        else { throw .badURL("a MySQL store's URL is mysql://USER:PASSWORD@HOST:PORT/DATABASE") }
        var rest = text[text.index(colon, offsetBy: 3)...]
        if let mark = rest.firstIndex(of: "?") {
            try read(parameters: rest[rest.index(after: mark)...])
            rest = rest[..<mark]
        }
        guard !rest.contains("#") else {
            throw .badURL("a # in a mysql: URL's password or name is written %23")
        }
        guard let slash = rest.firstIndex(of: "/") else {
            throw .badURL("a mysql: URL names one database: mysql://…@HOST/DATABASE")
        }
        database = try Self.decode(rest[rest.index(after: slash)...], "the database")
        try read(authority: rest[..<slash])
    }

    private mutating func read(authority: Substring) throws(StoreError) {
        var hosts = authority
        if let at = authority.lastIndex(of: "@") {
            hosts = authority[authority.index(after: at)...]
            let account = authority[..<at]
            if let colon = account.firstIndex(of: ":") {
                user = try Self.decode(account[..<colon], "the user")
                password = try Self.decode(
                    account[account.index(after: colon)...], "the password")
            } else {
                user = try Self.decode(account, "the user")
            }
        }
        guard !hosts.isEmpty else { return }
        for host in hosts.split(separator: ",", omittingEmptySubsequences: false) {
            endpoints.append(try Self.endpoint(host))
        }
        guard endpoints.count <= 16 else { throw .badURL("a mysql: URL names 16 hosts at most") }
    }

    private static func endpoint(_ text: Substring) throws(StoreError) -> MySQLAddress.Endpoint {
        var host = text
        var digits: Substring?
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            host = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":") else {
                throw .badURL("after ] comes :PORT or nothing")
            }
            if !rest.isEmpty { digits = rest.dropFirst() }
        } else if let colon = text.lastIndex(of: ":") {
            host = text[..<colon]
            digits = text[text.index(after: colon)...]
            guard !host.contains(":") else {
                throw .badURL("an address with colons is written in brackets: [::1]:3306")
            }
        }
        guard !host.isEmpty else { throw .badURL("a mysql: URL has an empty host") }
        guard let digits else {
            return .init(host: String(host), port: MySQLAddress.defaultPort)
        }
        guard let port = UInt16(digits), port > 0 else {
            throw .badURL("a port is a number from 1 to 65535")
        }
        return .init(host: String(host), port: port)
    }

    private mutating func read(parameters text: Substring) throws(StoreError) {
        for part in text.split(separator: "&") {
            guard let equals = part.firstIndex(of: "=") else {
                throw .badURL("a mysql: URL's parameters are name=value")
            }
            let name = String(part[..<equals])
            let value = try Self.decode(part[part.index(after: equals)...], name)
            guard !value.isEmpty else { throw .badURL("\(name) has no value") }
            guard !parameters.contains(where: { $0.name == name }) else {
                throw .badURL("\(name) is there twice")
            }
            parameters.append((name, value))
        }
    }

    /// Takes %XX for bytes; the bytes are UTF-8 without zeros.
    private static func decode(_ text: Substring, _ what: String) throws(StoreError) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8.makeIterator()
        while let byte = rest.next() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = digit(rest.next()), let low = digit(rest.next()) else {
                throw .badURL("\(what) has a % without two hexadecimal digits; % itself is %25")
            }
            bytes.append(high << 4 | low)
        }
        guard let decoded = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
            throw .badURL("\(what) is no UTF-8 text")
        }
        return decoded
    }

    private static func digit(_ byte: UInt8?) -> UInt8? {
        switch byte {
        case .some(let byte) where (0x30...0x39).contains(byte): byte - 0x30
        case .some(let byte) where (0x41...0x46).contains(byte): byte - 0x37
        case .some(let byte) where (0x61...0x66).contains(byte): byte - 0x57
        default: nil
        }
    }
}
