import COpenSSL
public import EdgeTypes
public import EdgeWire

/// Somebody who may log in on the RESP listener.
public struct RESPUser: Sendable {
    public var name: Text64
    public var password: [UInt8]
    public var role: RESPRole

    public init(name: Text64, password: String, role: RESPRole) {
        self.name = name
        self.password = Array(password.utf8)
        self.role = role
    }

    public struct FormatError: Error, CustomStringConvertible {
        public var description: String
    }

    /// Reads `name:password:role,…` (`DOWNPOUR_RESP_USERS`). The password may hold colons.
    public static func parse(_ text: String) throws(FormatError) -> [RESPUser] {
        var users: [RESPUser] = []
        for (index, entry) in text.split(separator: ",").enumerated() {
            // Errors say which entry, never what is in it: it holds a password.
            guard let first = entry.firstIndex(of: ":"), let last = entry.lastIndex(of: ":"),
                first != last
            else { throw FormatError(description: "user \(index + 1): not name:password:role") }
            let role: RESPRole
            switch entry[entry.index(after: last)...] {
            case "app": role = .app
            case "pay": role = .pay
            case "operator": role = .operator
            default:
                throw FormatError(
                    description: "user \(index + 1): the role is app, pay or operator")
            }
            guard let name = Text64(entry[..<first].utf8), PoolDraft.isName(name) else {
                throw FormatError(description: "user \(index + 1): not a name")
            }
            guard !users.contains(where: { $0.name == name }) else {
                throw FormatError(description: "user \(index + 1): named twice")
            }
            let password = String(entry[entry.index(after: first)..<last])
            guard !password.isEmpty else {
                throw FormatError(description: "user \(index + 1): no password")
            }
            users.append(RESPUser(name: name, password: password, role: role))
        }
        return users
    }

    /// Finds whom a name and password belong to; the time does not tell how much was right.
    static func find(
        _ users: [RESPUser], name: Text64, password: UnsafeRawBufferPointer
    ) -> RESPUser? {
        var found: RESPUser?
        for user in users where user.name == name {
            if ConstantTime.equal(password, user.password) { found = user }
        }
        return found
    }
}

/// Comparisons whose time depends on lengths only.
enum ConstantTime {
    static func equal(_ a: UnsafeRawBufferPointer, _ b: [UInt8]) -> Bool {
        guard a.count == b.count else { return false }
        if a.isEmpty { return true }
        // SAFETY: both hold `a.count` bytes.
        return b.withUnsafeBytes { CRYPTO_memcmp(a.baseAddress, $0.baseAddress, a.count) == 0 }
    }
}
