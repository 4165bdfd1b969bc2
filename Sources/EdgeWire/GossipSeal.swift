public import EdgeMemory
public import EdgeTypes

/// What surrounds a datagram or a frame between nodes once it is sealed with AES-256-GCM:
///
///     0 version   1 channel   2 zero   4 key id   8 sender's boot   16 counter   24 ciphertext
///     … 16 bytes of tag
///
/// The first 24 bytes are the additional data that the tag covers, too. The key id is the first 32
/// bits of the key's hash, so that a ring may hold several: the first encrypts, any decrypts,
/// and a key is exchanged by adding it at the end everywhere, then moving it to the front
/// everywhere, then removing the old one.
///
/// No nonce may occur twice under one key. All members share the ring, so its keys are not used
/// themselves: each sender's is HMAC-SHA256(key, "downpour bus" · boot · channel), and with a key
/// of its own for each process start the counter suffices: the nonce is four zero bytes and the
/// counter, which starts at 1 and never wraps. Boots are random, 64 bits.
///
/// Sealing itself needs OpenSSL and is the server's.
public struct GossipSeal: BitwiseCopyable, Hashable, Sendable {
    public static let version: UInt8 = 1
    public static let headerBytes = 24
    public static let tagBytes = 16
    /// What sealing adds: within `MembershipLimits.sealBytes`.
    public static let overheadBytes = headerBytes + tagBytes

    public enum Channel: UInt8, BitwiseCopyable, Sendable, CaseIterable {
        case datagram = 1
        case stream = 2
    }

    public var channel: Channel
    public var keyID: UInt32
    public var sender: BootID
    /// Counts what the sender has sealed on this channel, from 1.
    public var counter: UInt64

    public init(channel: Channel, keyID: UInt32, sender: BootID, counter: UInt64) {
        self.channel = channel
        self.keyID = keyID
        self.sender = sender
        self.counter = counter
    }

    /// The nonce's twelve bytes are `noncePrefix`, then the counter, little-endian both.
    public static let noncePrefix: UInt32 = 0

    /// Appends the header.
    ///
    /// - Precondition: boot and counter are not 0.
    public func encode(into sink: inout ByteSink) {
        precondition(sender != 0)
        precondition(counter != 0)
        sink.append(integer: Self.version)
        sink.append(integer: channel.rawValue)
        sink.append(integer: UInt16(0))
        sink.append(integer: keyID)
        sink.append(integer: sender)
        sink.append(integer: counter)
    }

    /// Reads the header of something that is sealed; whether it is genuine, its tag tells.
    ///
    /// Never traps, whatever the bytes hold.
    public static func decode(
        _ bytes: UnsafeRawBufferPointer
    ) throws(GossipDecodeError) -> GossipSeal {
        guard bytes.count >= overheadBytes else { throw .truncated }
        var reader = GossipReader(UnsafeRawBufferPointer(rebasing: bytes[..<headerBytes]))
        let version = reader.integer(UInt8.self)
        guard version == Self.version else { throw .unknownVersion(version) }
        let rawChannel = reader.integer(UInt8.self)
        guard let channel = Channel(rawValue: rawChannel) else { throw .unknownKind(rawChannel) }
        let zero = reader.integer(UInt16.self)
        let seal = GossipSeal(
            channel: channel, keyID: reader.integer(), sender: reader.integer(),
            counter: reader.integer())
        guard zero == 0, seal.sender != 0, seal.counter != 0 else { throw .malformed }
        return seal
    }

    /// Where the ciphertext lies in something sealed of that many bytes.
    public static func ciphertext(of sizeBytes: Int) -> Range<Int> {
        precondition(sizeBytes >= overheadBytes)
        return headerBytes..<(sizeBytes - tagBytes)
    }
}
