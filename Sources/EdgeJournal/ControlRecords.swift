import EdgeMemory
import EdgeTypes
import EdgeWire

/// The files' own records. They are frames like entries (see `JournalFrame`), with the lane in
/// the place of shard and epoch and the record's own file offset in that of the sequence: bytes
/// that were copied or put together by a client's choice of ids never pass for one.
enum ControlKind {
    static let batch: UInt8 = 0xF0
    static let seal: UInt8 = 0xF1
    static let magic: UInt64 = 0x9d0f_e1c3_b5a7_8699
    /// Longest control record: a seal that lists every shard.
    static let limit = 1 << 20
    /// No lane gets so far: positions never overflow.
    static let lastPosition: UInt64 = 1 << 62

    static func begin(
        _ region: UnsafeMutableRawBufferPointer, kind: UInt8, lane: JournalLane, offset: Int,
        timeMs: UnixMs
    ) {
        region.put(UInt32(region.count), at: 4)
        region.put(kind, at: 8)
        region.put(JournalFrame.version, at: 9)
        region.put(lane.core, at: 10)
        region.put(lane.boot, at: 12)
        region.put(UInt64(offset), at: 16)
        region.put(timeMs, at: 24)
        region.put(magic, at: 32)
    }

    static func finish(_ region: UnsafeMutableRawBufferPointer) {
        region.put(Checksum.frame(UnsafeRawBufferPointer(region)), at: 0)
    }

    /// Whether the frame is what it claims to be, at this place of this lane.
    static func isGenuine(_ frame: JournalFrame, lane: JournalLane, offset: UInt64) -> Bool {
        frame.length >= 64 && frame.bytes.get(32, UInt64.self) == magic && frame.shard == lane.core
            && frame.epoch == lane.boot && frame.sequence == offset
    }
}

/// Precedes each write's entries. One with no entries is a mark: all before it is durable.
struct BatchRecord {
    /// The lane's position (bytes of entries) where the batch begins.
    var startPosition: UInt64
    /// Bytes of entries that follow.
    var bodyBytes: UInt64
    /// Everything in this file before this offset was durable when the batch was written.
    var durableOffset: UInt64

    static let bytes = 64

    func encode(
        into region: UnsafeMutableRawBufferPointer, lane: JournalLane, offset: Int, timeMs: UnixMs
    ) {
        precondition(region.count == BatchRecord.bytes)
        ControlKind.begin(
            region, kind: ControlKind.batch, lane: lane, offset: offset, timeMs: timeMs)
        region.put(startPosition, at: 40)
        region.put(bodyBytes, at: 48)
        region.put(durableOffset, at: 56)
        ControlKind.finish(region)
    }

    init(startPosition: UInt64, bodyBytes: UInt64, durableOffset: UInt64) {
        self.startPosition = startPosition
        self.bodyBytes = bodyBytes
        self.durableOffset = durableOffset
    }

    init?(_ frame: JournalFrame, lane: JournalLane, offset: UInt64) {
        guard frame.rawKind == ControlKind.batch, frame.length == BatchRecord.bytes,
            ControlKind.isGenuine(frame, lane: lane, offset: offset),
            frame.bytes.get(40, UInt64.self) <= ControlKind.lastPosition
        else { return nil }
        self.init(
            startPosition: frame.bytes.get(40), bodyBytes: frame.bytes.get(48),
            durableOffset: frame.bytes.get(56))
    }
}

/// Why a segment ended.
public enum SealReason: UInt32, Sendable {
    /// Full: the lane goes on in the next segment.
    case rotated = 0
    /// The process ended in good order: the lane is complete.
    case stopped = 1
    /// The process ended otherwise; the next start closed the lane.
    case recovered = 2
}

/// The entries of one shard in one segment.
struct SealedRange: Hashable {
    var shard: ShardID
    /// Of the last entry.
    var epoch: UInt32
    var first: UInt64
    var last: UInt64

    static let bytes = 24
}

/// Ends a segment.
struct SealRecord {
    var reason: SealReason
    var endPosition: UInt64
    var durableOffset: UInt64
    var entries: UInt64
    /// CRC-32C over the first 8 bytes (checksum and length) of every record before, in order.
    var digest: UInt32
    var timeMs: UnixMs
    /// By shard.
    var ranges: [SealedRange]

    static let fixedBytes = 80
    /// No segment holds more.
    static let mostEntries = UInt64(
        JournalConfiguration.largestSegment / JournalFrame.headerBytes)

    static func bytes(ranges: Int) -> Int { fixedBytes + ranges * SealedRange.bytes + 8 }

    func encode(lane: JournalLane, offset: Int) -> RawBuffer {
        let size = SealRecord.bytes(ranges: ranges.count)
        precondition(size <= ControlKind.limit)
        let record = RawBuffer(zeros: size)
        let region = record.region
        ControlKind.begin(
            region, kind: ControlKind.seal, lane: lane, offset: offset, timeMs: timeMs)
        region.put(endPosition, at: 40)
        region.put(durableOffset, at: 48)
        region.put(entries, at: 56)
        region.put(digest, at: 64)
        region.put(reason.rawValue, at: 68)
        region.put(UInt32(ranges.count), at: 72)
        var at = SealRecord.fixedBytes
        for range in ranges {
            region.put(range.shard, at: at)
            region.put(range.epoch, at: at + 4)
            region.put(range.first, at: at + 8)
            region.put(range.last, at: at + 16)
            at += SealedRange.bytes
        }
        // A reader that has only the file's end finds the record by its last word.
        region.put(UInt32(size), at: at)
        region.put(SealRecord.trailer, at: at + 4)
        ControlKind.finish(region)
        return record
    }

    static let trailer: UInt32 = 0x4c41_4553

    init(
        reason: SealReason, endPosition: UInt64, durableOffset: UInt64, entries: UInt64,
        digest: UInt32, timeMs: UnixMs, ranges: [SealedRange]
    ) {
        self.reason = reason
        self.endPosition = endPosition
        self.durableOffset = durableOffset
        self.entries = entries
        self.digest = digest
        self.timeMs = timeMs
        self.ranges = ranges
    }

    init?(_ frame: JournalFrame, lane: JournalLane, offset: UInt64) {
        guard frame.rawKind == ControlKind.seal, frame.length >= SealRecord.bytes(ranges: 0),
            ControlKind.isGenuine(frame, lane: lane, offset: offset)
        else { return nil }
        let bytes = frame.bytes
        let count = Int(bytes.get(72, UInt32.self))
        guard count <= Limits.shards, frame.length == SealRecord.bytes(ranges: count),
            bytes.get(56, UInt64.self) <= SealRecord.mostEntries,
            bytes.get(40, UInt64.self) <= ControlKind.lastPosition,
            let reason = SealReason(rawValue: bytes.get(68))
        else { return nil }
        let ranges = (0..<count).map { index in
            let at = SealRecord.fixedBytes + index * SealedRange.bytes
            return SealedRange(
                shard: bytes.get(at), epoch: bytes.get(at + 4), first: bytes.get(at + 8),
                last: bytes.get(at + 16))
        }
        guard ranges.allSatisfy({ Int($0.shard) < Limits.shards && $0.first <= $0.last }) else {
            return nil
        }
        self.init(
            reason: reason, endPosition: bytes.get(40), durableOffset: bytes.get(48),
            entries: bytes.get(56), digest: bytes.get(64), timeMs: frame.timeMs, ranges: ranges)
    }
}
