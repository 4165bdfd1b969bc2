import EdgeMemory
import EdgeTypes
import EdgeWire

/// A lane: what one core wrote between one start of the process and its end.
public struct JournalLane: Hashable, Sendable, Comparable {
    /// Counts the starts of the process, from 1.
    public var boot: UInt32
    public var core: UInt16

    public init(boot: UInt32, core: UInt16) {
        self.boot = boot
        self.core = core
    }

    public static func < (a: JournalLane, b: JournalLane) -> Bool {
        (a.boot, a.core) < (b.boot, b.core)
    }
}

/// A segment's place in replay order, and its file's name.
struct SegmentName: Hashable, Comparable {
    var lane: JournalLane
    var index: UInt32

    static func < (a: SegmentName, b: SegmentName) -> Bool {
        (a.lane, a.index) < (b.lane, b.index)
    }

    /// Zero-padded, so that names sort in replay order.
    var stem: String {
        func padded(_ value: some FixedWidthInteger, _ width: Int) -> String {
            let digits = String(value)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        return padded(lane.boot, 10) + "-" + padded(lane.core, 5) + "-" + padded(index, 10)
    }
    var fileName: String { stem + ".log" }
    var compressedName: String { stem + ".log.zst" }

    init(lane: JournalLane, index: UInt32) {
        self.lane = lane
        self.index = index
    }

    /// nil where `stem` is not exactly what `stem` gives.
    init?(stem: Substring) {
        let parts = stem.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 3, let boot = UInt32(parts[0]), let core = UInt16(parts[1]),
            let index = UInt32(parts[2])
        else { return nil }
        self.init(lane: JournalLane(boot: boot, core: core), index: index)
        guard self.stem == stem else { return nil }
    }
}

/// The first block of a segment's file.
struct SegmentHeader: Equatable {
    var name: SegmentName
    /// How many cores (lanes) this boot had.
    var cores: UInt16
    var identity: JournalIdentity
    var createdMs: UnixMs

    static let bytes = 4_096
    static let magic: UInt64 = 0x4c4e_524a_5044_4e44
    static let version: UInt32 = 1

    func encode() -> RawBuffer {
        let buffer = RawBuffer(zeros: SegmentHeader.bytes)
        let block = buffer.region
        block.put(SegmentHeader.magic, at: 0)
        block.put(SegmentHeader.version, at: 12)
        block.put(name.lane.boot, at: 16)
        block.put(name.lane.core, at: 20)
        block.put(cores, at: 22)
        block.put(name.index, at: 24)
        block.put(identity.cluster, at: 32)
        block.put(identity.node, at: 40)
        block.put(createdMs, at: 48)
        block.put(Checksum.crc32c(UnsafeRawBufferPointer(rebasing: block[12...])), at: 8)
        return buffer
    }

    /// - Parameter bytes: at least the header's block.
    static func decode(
        _ bytes: UnsafeRawBufferPointer, file: String, expecting name: SegmentName,
        identity: JournalIdentity
    ) throws(JournalError) -> SegmentHeader {
        guard bytes.count >= SegmentHeader.bytes, bytes.get(0, UInt64.self) == magic else {
            throw .damaged(JournalDamage(file, 0, .badHeader))
        }
        let checked = UnsafeRawBufferPointer(rebasing: bytes[12..<SegmentHeader.bytes])
        guard Checksum.crc32c(checked) == bytes.get(8, UInt32.self) else {
            throw .damaged(JournalDamage(file, 0, .badHeader))
        }
        let version = bytes.get(12, UInt32.self)
        guard version == SegmentHeader.version else {
            throw .unsupportedFormat(path: file, version: version)
        }
        let lane = JournalLane(boot: bytes.get(16), core: bytes.get(20))
        let header = SegmentHeader(
            name: SegmentName(lane: lane, index: bytes.get(24)), cores: bytes.get(22),
            identity: JournalIdentity(cluster: bytes.get(32), node: bytes.get(40)),
            createdMs: bytes.get(48))
        guard header.name == name else { throw .damaged(JournalDamage(file, 0, .misplaced)) }
        guard header.identity == identity else {
            throw .foreign(path: file, expected: identity, found: header.identity)
        }
        return header
    }
}

extension UnsafeMutableRawBufferPointer {
    func put(_ value: some FixedWidthInteger, at offset: Int) {
        precondition(offset >= 0 && value.bitWidth / 8 <= count - offset)
        storeBytes(of: value.littleEndian, toByteOffset: offset, as: type(of: value))
    }
}

extension UnsafeRawBufferPointer {
    func get<T: FixedWidthInteger>(_ offset: Int, _ type: T.Type = T.self) -> T {
        precondition(offset >= 0 && T.bitWidth / 8 <= count - offset)
        return T(littleEndian: loadUnaligned(fromByteOffset: offset, as: T.self))
    }
}
