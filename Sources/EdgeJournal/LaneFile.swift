import EdgeMemory
import EdgeTypes
import EdgeWire
import Glibc

/// Writes one lane's segments; knows no threads and no waiting. Owned by the writer's thread.
final class LaneFile {
    private var segment: PreparedSegment
    private let segmentBytes: Int
    private let lane: JournalLane
    private var tracker: ShardTracker
    private var audit = SegmentAudit(isWhole: true)
    /// Where the next record goes.
    private(set) var offset = SegmentHeader.bytes
    /// Everything before it in this segment is durable.
    private var durableOffset = SegmentHeader.bytes
    /// What the last record written says of that.
    private var notedOffset = SegmentHeader.bytes
    /// Bytes of entries written since the lane began.
    private(set) var position: UInt64 = 0
    private let control = RawBuffer(capacity: BatchRecord.bytes)
    private var slices: [iovec] = []

    /// Part of what was submitted: buffers of whole entries, in order.
    struct Source {
        var buffers: [SinkBox]
        var buffer = 0
        var offset = 0

        init(_ buffers: [SinkBox]) { self.buffers = buffers }

        var isEmpty: Bool { buffer == buffers.count }
    }

    init(
        segment: consuming PreparedSegment, configuration: JournalConfiguration,
        resuming sequences: ShardSequences
    ) {
        lane = segment.name.lane
        self.segment = segment
        segmentBytes = configuration.segmentBytes
        tracker = ShardTracker(isReplicated: configuration.isReplicated)
        tracker.resume(after: sequences)
        tracker.beginSegment()
        slices.reserveCapacity(JournalWriter.mostBuffers + 1)
    }

    var isDurable: Bool { durableOffset == offset }
    /// Whether durable bytes are not yet known as such on disk.
    var wantsMark: Bool { isDurable && notedOffset < offset }

    private var room: Int {
        // Room for the seal is always kept.
        segmentBytes - offset - SealRecord.bytes(ranges: tracker.touchedCount)
    }

    /// Writes as much of `source` as the segment holds, as one batch.
    ///
    /// - Returns: false where something is left and the segment is full.
    func append(_ source: inout Source) throws(JournalError) -> Bool {
        slices.removeAll(keepingCapacity: true)
        slices.append(iovec(iov_base: control.region.baseAddress, iov_len: BatchRecord.bytes))
        let bytes = collect(&source)
        guard bytes > 0 else { return source.isEmpty }
        BatchRecord(
            startPosition: position, bodyBytes: UInt64(bytes), durableOffset: UInt64(durableOffset)
        ).encode(
            into: control.region, lane: lane, offset: offset, timeMs: segment.file.system.wallMs())
        audit.note(UnsafeRawBufferPointer(control.region), isEntry: false)
        noteEntries()
        try segment.file.write(&slices, total: BatchRecord.bytes + bytes, at: offset)
        notedOffset = durableOffset
        offset += BatchRecord.bytes + bytes
        position += UInt64(bytes)
        return source.isEmpty
    }

    /// Takes whole entries from `source` into `slices` while there is room.
    private func collect(_ source: inout Source) -> Int {
        var total = 0
        while !source.isEmpty {
            let bytes = source.buffers[source.buffer].sink.bytes
            let start = source.offset
            var at = start
            while at < bytes.count {
                let length = LaneFile.entryLength(bytes, at: at)
                let shard = bytes.get(at + 10, UInt16.self)
                let known = Int(shard) < Limits.shards && tracker.isTouched(shard)
                let needed = BatchRecord.bytes + total + length + (known ? 0 : SealedRange.bytes)
                if needed > room { break }
                let verdict = tracker.accept(
                    shard: shard, epoch: bytes.get(at + 12), sequence: bytes.get(at + 16))
                if case .broken(let reason) = verdict {
                    preconditionFailure("a core appends what cannot be: \(reason)")
                }
                total += length
                at += length
            }
            if at > start {
                // SAFETY: the buffer outlives the write, which ends before it is given back.
                let base = UnsafeMutableRawPointer(mutating: bytes.baseAddress.unsafelyUnwrapped)
                slices.append(iovec(iov_base: base + start, iov_len: at - start))
            }
            source.offset = at
            if at < bytes.count { return total }
            source.buffer += 1
            source.offset = 0
        }
        return total
    }

    private static func entryLength(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Int {
        precondition(bytes.count - offset >= JournalFrame.headerBytes)
        let length = Int(bytes.get(offset + 4, UInt32.self))
        precondition(length >= JournalFrame.headerBytes && length <= bytes.count - offset)
        precondition(length <= JournalCodec.maximumEntryBytes && length & 7 == 0)
        precondition(bytes.get(offset + 8, UInt8.self) < JournalFrame.firstControlKind)
        return length
    }

    private func noteEntries() {
        for slice in slices.dropFirst() {
            let bytes = UnsafeRawBufferPointer(start: slice.iov_base, count: slice.iov_len)
            var at = 0
            while at < bytes.count {
                let length = Int(bytes.get(at + 4, UInt32.self))
                audit.note(
                    UnsafeRawBufferPointer(rebasing: bytes[at..<(at + length)]), isEntry: true)
                at += length
            }
        }
    }

    /// Makes all that was written durable. After a failure nothing may be tried again: the
    /// kernel may have dropped the pages.
    func sync() throws(JournalError) {
        guard !isDurable else { return }
        try segment.file.synchronizeData()
        durableOffset = offset
    }

    /// Notes on disk that all before is durable.
    func mark() throws(JournalError) {
        guard wantsMark, room >= BatchRecord.bytes else {
            notedOffset = offset
            return
        }
        BatchRecord(startPosition: position, bodyBytes: 0, durableOffset: UInt64(durableOffset))
            .encode(
                into: control.region, lane: lane, offset: offset,
                timeMs: segment.file.system.wallMs())
        audit.note(UnsafeRawBufferPointer(control.region), isEntry: false)
        slices.removeAll(keepingCapacity: true)
        slices.append(iovec(iov_base: control.region.baseAddress, iov_len: BatchRecord.bytes))
        try segment.file.write(&slices, total: BatchRecord.bytes, at: offset)
        offset += BatchRecord.bytes
        try sync()
        notedOffset = offset
    }

    /// Seals the segment and goes on in `next`; what was written before is durable then.
    ///
    /// - Returns: the sealed segment and its size, to be trimmed.
    func rotate(to next: consuming PreparedSegment) throws(JournalError) -> (
        name: SegmentName, size: Int
    ) {
        let name = segment.name
        let size = try seal(.rotated)
        segment = next
        offset = SegmentHeader.bytes
        durableOffset = offset
        notedOffset = offset
        audit = SegmentAudit(isWhole: true)
        tracker.beginSegment()
        return (name, size)
    }

    /// Ends the lane in good order.
    func close() throws(JournalError) {
        try sync()
        let size = try seal(.stopped)
        try segment.file.truncate(to: size)
        try segment.file.synchronize()
    }

    private func seal(_ reason: SealReason) throws(JournalError) -> Int {
        let record = SealRecord(
            reason: reason, endPosition: position, durableOffset: UInt64(durableOffset),
            entries: audit.entries, digest: audit.digest, timeMs: segment.file.system.wallMs(),
            ranges: tracker.ranges()
        ).encode(lane: lane, offset: offset)
        defer { withExtendedLifetime(record) {} }
        slices.removeAll(keepingCapacity: true)
        slices.append(iovec(iov_base: record.region.baseAddress, iov_len: record.count))
        try segment.file.write(&slices, total: record.count, at: offset)
        offset += record.count
        precondition(offset <= segmentBytes)
        try sync()
        return offset
    }
}

/// A buffer on its way between an event loop and the writer's thread.
final class SinkBox {
    var sink = ByteSink(capacity: 64 << 10)
}
