import EdgeMemory

/// How a connection between nodes begins. Three steps, one and a half round trips:
///
///     dialer → listener   opening: 0 "DPB1"   4 zero   8 key id   12 zero   16 random (32)
///                         48 proof: HMAC-SHA256(key, "downpour bus open" · the 48 bytes), 16 bytes
///     listener → dialer   reply:   0 "DPB1"   4 zero   8 key id   12 zero   16 random (32)
///                         then a record: the listener's hello
///     dialer → listener   a record: the dialer's hello; from then on records of messages
///
/// A record is its length (u32: ciphertext and tag), the ciphertext, the tag of 16 bytes; the tag
/// covers the length. Each side names the first key of its ring, and seals with
/// HKDF-SHA256(that key, salt: both randoms, info: "downpour bus dialer" or "… listener"), with
/// the number of the record as the nonce. So both prove that they know a key of the ring, now;
/// nothing that was sent once is genuine on another connection, at another place, or back.
///
/// The opening's proof is there to tell strangers from replays, and to answer no stranger.
enum BusHandshake {
    /// "DPB1", read as a number.
    static let magic: UInt32 = 0x3142_5044
    static let openingBytes = 64
    static let replyBytes = 48
    static let randomBytes = 32
    private static let proofBytes = 16
    private static let open = Array("downpour bus open".utf8)

    enum Side {
        case dialer, listener

        fileprivate var info: [UInt8] {
            switch self {
            case .dialer: Array("downpour bus dialer".utf8)
            case .listener: Array("downpour bus listener".utf8)
            }
        }
    }

    /// A side's half of the handshake.
    struct Half {
        var key: ClusterKeys.Key
        var random: [UInt8]
    }

    private static func head(_ half: Half) -> [UInt8] {
        var bytes: [UInt8] = []
        withUnsafeBytes(of: magic.littleEndian) { bytes.append(contentsOf: $0) }
        bytes += [0, 0, 0, 0]
        withUnsafeBytes(of: half.key.id.littleEndian) { bytes.append(contentsOf: $0) }
        bytes += [0, 0, 0, 0]
        return bytes + half.random
    }

    static func opening(_ half: Half) -> [UInt8] {
        let head = head(half)
        return head + KeyDerivation.hmac(half.key.bytes, open + head)[..<proofBytes]
    }

    static func reply(_ half: Half) -> [UInt8] { head(half) }

    /// nil where a stranger wrote it.
    static func readOpening(_ bytes: UnsafeRawBufferPointer, _ keys: ClusterKeys) -> Half? {
        precondition(bytes.count == openingBytes)
        let head = UnsafeRawBufferPointer(rebasing: bytes[..<replyBytes])
        guard let half = readReply(head, keys) else { return nil }
        let proof = KeyDerivation.hmac(half.key.bytes, open + Array(head))[..<proofBytes]
        let given = UnsafeRawBufferPointer(rebasing: bytes[replyBytes...])
        return ConstantTime.equal(given, Array(proof)) ? half : nil
    }

    /// nil where the key is in no ring of ours, or the bytes are none of this protocol's.
    static func readReply(_ bytes: UnsafeRawBufferPointer, _ keys: ClusterKeys) -> Half? {
        precondition(bytes.count == replyBytes)
        func number(_ offset: Int) -> UInt32 {
            UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
        guard number(0) == magic, number(4) == 0, number(12) == 0, let key = keys.key(id: number(8))
        else { return nil }
        return Half(key: key, random: Array(bytes[16...]))
    }

    /// The key with which `side` seals.
    static func key(of side: Side, dialer: Half, listener: Half) -> [UInt8] {
        let own =
            switch side {
            case .dialer: dialer
            case .listener: listener
            }
        return KeyDerivation.hkdf(
            secret: own.key.bytes, salt: dialer.random + listener.random, info: side.info)
    }
}
