public import EdgeMemory
public import EdgeTypes

/// What a journal entry's first bytes say it is. Numbers are for good: never reuse one.
public enum JournalKind: UInt8, Sendable, CaseIterable {
    /// A claim that bears a request hash.
    case claim = 1
    /// A claim whose request hash is 0: eight bytes less on the hottest path.
    case claimOnce = 2
    case orderReserved = 3
    case orderPaid = 4
    case orderCancelled = 5
    case orderExpired = 6
    case orderRefunded = 7
    case paymentRefused = 8
    // The same of orders that have left memory.
    case archivedRefunded = 9
    case archivedRefused = 10

    case poolCreated = 16
    case poolControlled = 17
    case poolFunded = 18
    case poolLeased = 19
    case poolTookBack = 20
    case poolClosed = 21
    case poolSoldOut = 22
    case poolResolved = 23
    case poolMoved = 24

    case sliceOpened = 32
    case sliceControlled = 33
    case sliceCredited = 34
    case sliceReturned = 35
    case sliceQuarantined = 36
    case sliceResolved = 37
    case sliceArchived = 38
}

/// Why bytes are no journal entry.
public enum JournalDecodeError: Error, Hashable, Sendable {
    /// The bytes end before the frame does.
    case truncated
    /// A length that no frame can have.
    case badLength(UInt32)
    case badChecksum
    /// Intact, but written by a format that this program does not know.
    case unknownVersion(UInt8)
    /// Intact, but of a kind that this program does not know.
    case unknownKind(UInt8)
    /// Intact, but its fields make no sense: written by a defective program.
    case malformed(kind: UInt8)

    /// Whether the bytes are not what somebody wrote: a torn write or damage. The others are
    /// intact frames that must never be cut off.
    public var isCorruption: Bool {
        switch self {
        case .truncated, .badLength, .badChecksum: true
        case .unknownVersion, .unknownKind, .malformed: false
        }
    }
}

extension JournalDecodeError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .truncated: "the bytes end inside an entry"
        case .badLength(let length): "\(length) is no entry's length"
        case .badChecksum: "the checksum does not match"
        case .unknownVersion(let version): "entry format \(version) is unknown to this release"
        case .unknownKind(let kind): "entry kind \(kind) is unknown to this release"
        case .malformed(let kind): "an intact entry of kind \(kind) has impossible fields"
        }
    }
}

/// One intact journal frame, still in the buffer it was read into. Decodes nothing it is not
/// asked for.
///
/// All integers are little-endian; the whole length is a multiple of 8:
///
///     0 crc32c of what follows   4 length   8 kind   9 version   10 shard   12 epoch
///     16 sequence                24 time in Unix ms   32 payload
///
/// Valid as long as the bytes it was parsed from; do not keep it.
public struct JournalFrame {
    @usableFromInline let base: UnsafeRawPointer
    /// Bytes of the whole frame: 32 or more, a multiple of 8.
    public let length: Int

    public static let headerBytes = 32
    public static let version: UInt8 = 1
    /// Kinds from here on are not entries but the journal files' own records.
    public static let firstControlKind: UInt8 = 0xF0

    @usableFromInline
    init(base: UnsafeRawPointer, length: Int) {
        self.base = base
        self.length = length
    }

    /// Checks length, checksum and version of the frame at `offset`. O(length).
    ///
    /// Never traps, whatever the bytes hold. The kind is not judged.
    /// - Parameter limit: longest length that is believed.
    @inlinable
    public static func parse(
        _ bytes: UnsafeRawBufferPointer, at offset: Int = 0,
        limit: Int = JournalCodec.maximumEntryBytes
    ) throws(JournalDecodeError) -> JournalFrame {
        guard offset >= 0, bytes.count - offset >= headerBytes, let start = bytes.baseAddress else {
            throw .truncated
        }
        // SAFETY: at least 32 bytes follow `base`.
        let base = start + offset
        let raw = UInt32(littleEndian: base.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        let length = Int(raw)
        guard length >= headerBytes, length <= limit, length & 7 == 0 else {
            throw .badLength(raw)
        }
        guard length <= bytes.count - offset else { throw .truncated }
        let stored = UInt32(littleEndian: base.loadUnaligned(as: UInt32.self))
        guard Checksum.frame(UnsafeRawBufferPointer(start: base, count: length)) == stored else {
            throw .badChecksum
        }
        let version = base.load(fromByteOffset: 9, as: UInt8.self)
        guard version == JournalFrame.version else { throw .unknownVersion(version) }
        return JournalFrame(base: base, length: length)
    }

    // SAFETY (all below): `parse` has checked that `length` bytes, 32 or more, follow `base`.

    @inlinable @inline(__always)
    func load<T: FixedWidthInteger>(_ offset: Int, as type: T.Type = T.self) -> T {
        T(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: T.self))
    }

    @inlinable public var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base, count: length)
    }
    @inlinable public var checksum: UInt32 { load(0) }
    @inlinable public var rawKind: UInt8 { load(8) }
    @inlinable public var kind: JournalKind? { JournalKind(rawValue: rawKind) }
    @inlinable public var shard: ShardID { load(10) }
    @inlinable public var epoch: UInt32 { load(12) }
    @inlinable public var sequence: UInt64 { load(16) }
    @inlinable public var timeMs: UnixMs { load(24) }

    @inlinable public var header: EntryHeader {
        EntryHeader(shard: shard, epoch: epoch, sequence: sequence, timeMs: timeMs)
    }

    /// The claim, without going through `Entry`: a few loads. nil where this is no claim.
    @inlinable
    public var claim: Claim? {
        let kind = rawKind
        let once = kind == JournalKind.claimOnce.rawValue && length == JournalCodec.claimOnceBytes
        let named = kind == JournalKind.claim.rawValue && length == JournalCodec.claimBytes
        guard once || named else { return nil }
        return Claim(
            pool: PoolKey(rawValue: load(32)), slice: load(56), user: load(40),
            packet: Int64(load(60, as: UInt32.self)), amountFen: load(48),
            requestHash: named ? load(64) : 0)
    }
}
