import COpenSSL

/// The keys that all nodes of a cluster share: the first encrypts, all are accepted.
///
/// A key is exchanged without a pause by adding the new one at the end of every node's ring, then
/// moving it to the front everywhere, then removing the old one everywhere.
public struct ClusterKeys: Sendable {
    public struct FormatError: Error, Hashable, CustomStringConvertible {
        public var description: String
    }

    struct Key: Sendable {
        /// The first 32 bits of the key's SHA-256: says which one was used, and nothing about it.
        var id: UInt32
        var bytes: [UInt8]
    }

    /// Most keys of a ring.
    public static let limit = 8
    static let keyBytes = 32

    private let keys: [Key]

    /// Reads `DOWNPOUR_CLUSTER_KEY`: one to eight keys of 64 hexadecimal digits each, separated by
    /// commas, without spaces. Errors never quote a key.
    public init(ring text: String) throws(FormatError) {
        guard !text.isEmpty else { throw FormatError(description: "the cluster key is empty") }
        var keys: [Key] = []
        let parts = text.utf8.split(
            separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        guard parts.count <= Self.limit else {
            throw FormatError(description: "a ring holds 1 to \(Self.limit) cluster keys")
        }
        for (index, part) in parts.enumerated() {
            guard part.count == 2 * Self.keyBytes else {
                throw FormatError(
                    description: "cluster key \(index + 1) has \(part.count) digits, not 64")
            }
            guard let bytes = Self.bytes(Array(part)) else {
                throw FormatError(
                    description: "cluster key \(index + 1) holds other than hexadecimal digits")
            }
            let id = Self.id(of: bytes)
            if let other = keys.firstIndex(where: { $0.id == id }) {
                throw FormatError(
                    description: "cluster keys \(other + 1) and \(index + 1) are the same")
            }
            keys.append(Key(id: id, bytes: bytes))
        }
        self.keys = keys
    }

    /// The one that encrypts.
    var first: Key { keys[0] }

    func key(id: UInt32) -> Key? { keys.first { $0.id == id } }

    private static func bytes(_ digits: [UInt8]) -> [UInt8]? {
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = nibble(digits[index]), let low = nibble(digits[index + 1]) else {
                return nil
            }
            bytes.append((high << 4) | low)
        }
        return bytes
    }

    private static func nibble(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x41...0x46: digit - 0x41 + 10
        case 0x61...0x66: digit - 0x61 + 10
        default: nil
        }
    }

    private static func id(of bytes: [UInt8]) -> UInt32 {
        var digest = [UInt8](repeating: 0, count: 32)
        _ = SHA256(bytes, bytes.count, &digest)
        return digest[..<4].reversed().reduce(0) { ($0 << 8) | UInt32($1) }
    }
}

/// Keys from keys.
enum KeyDerivation {
    /// HMAC-SHA-256 (RFC 2104): 32 bytes.
    static func hmac(_ key: [UInt8], _ message: [UInt8]) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 32)
        var size: UInt32 = 0
        // SAFETY: the digest has room for SHA-256's 32 bytes.
        let made = HMAC(
            EVP_sha256(), key, Int32(key.count), message, message.count, &digest, &size)
        precondition(made != nil && size == 32)
        return digest
    }

    /// HKDF-SHA-256 (RFC 5869), its first block: 32 bytes.
    static func hkdf(secret: [UInt8], salt: [UInt8], info: [UInt8]) -> [UInt8] {
        hmac(hmac(salt, secret), info + [1])
    }

    /// Bytes of the system's randomness.
    static func random(_ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        // Without randomness keys would come twice: better no connection than such a one.
        precondition(RAND_bytes(&bytes, Int32(count)) == 1, "no randomness")
        return bytes
    }
}
