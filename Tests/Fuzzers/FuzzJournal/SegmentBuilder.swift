import EdgeMemory
import EdgeTypes
import EdgeWire
import FuzzSupport
import Glibc

@testable import EdgeJournal

/// Builds one segment's file: records with good checksums, whose fields are right unless the
/// input wants otherwise, and anything in between.
struct SegmentBuilder {
    let name: SegmentName
    private(set) var bytes: [UInt8]
    private var position: UInt64
    private var audit = SegmentAudit(isWhole: true)
    private var ranges: [ShardID: SealedRange] = [:]
    /// The last sequence of each shard, over all segments of an input.
    private(set) var sequences: [UInt64]
    private var lastSeal: Range<Int>?

    init(_ name: SegmentName, position: UInt64, sequences: [UInt64], _ input: inout FuzzInput) {
        self.name = name
        self.position = position
        self.sequences = sequences
        let header = SegmentHeader(
            name: name, cores: 1 + UInt16(input.below(2)), identity: Place.identity, createdMs: 5)
        bytes = header.encode().array
    }

    /// The lane's position at the end.
    var end: UInt64 { position }

    mutating func add(_ input: inout FuzzInput) {
        switch input.below(9) {
        case 0, 1, 2: batch(&input)
        case 3: seal(&input)
        case 4: bytes += input.take(input.below(64))
        case 5: bytes += [UInt8](repeating: 0, count: input.wideBelow(5_000))
        case 6: foreignBatch(&input)
        case 7:
            let at = input.wideBelow(bytes.count)
            bytes[at] ^= 1 << UInt8(input.below(8))
        default: bytes += entry(&input)
        }
    }

    private mutating func batch(_ input: inout FuzzInput) {
        var body: [UInt8] = []
        for _ in 0..<input.below(5) { body += entry(&input) }
        var record = BatchRecord(
            startPosition: position, bodyBytes: UInt64(body.count), durableOffset: 0)
        switch input.below(16) {
        case 0: record.startPosition = input.integer()
        case 1: record.bodyBytes = input.integer()
        case 2: record.bodyBytes &+= 64
        case 3: record.durableOffset = input.integer()
        case 4...9: record.durableOffset = UInt64(bytes.count)
        default: break
        }
        append(record)
        bytes += body
        position &+= UInt64(body.count)
    }

    private mutating func foreignBatch(_ input: inout FuzzInput) {
        append(
            BatchRecord(
                startPosition: input.integer(), bodyBytes: input.integer(),
                durableOffset: input.integer()))
        position = input.integer()
    }

    private mutating func append(_ record: BatchRecord) {
        let buffer = RawBuffer(zeros: BatchRecord.bytes)
        record.encode(into: buffer.region, lane: name.lane, offset: bytes.count, timeMs: 1)
        bytes += buffer.array
        audit.note(buffer.bytes, isEntry: false)
        withExtendedLifetime(buffer) {}
    }

    private mutating func entry(_ input: inout FuzzInput) -> [UInt8] {
        let shard = input.below(3)
        var header = EntryHeader(
            shard: ShardID(shard), epoch: 1, sequence: sequences[shard] &+ 1, timeMs: 9)
        let oddity = input.byte()
        if oddity == 255 { header.shard = input.integer() }
        if oddity == 254 { header.sequence = input.integer() }
        if oddity == 253 { header.epoch = input.integer() }
        let kinds: [JournalKind] = JournalKind.allCases
        let kind = kinds[input.below(kinds.count)].rawValue
        var payload = input.take(input.below(160))
        if oddity & 1 == 0 { payload = [UInt8](repeating: input.byte(), count: 32) }
        let length = (JournalFrame.headerBytes + payload.count + 7) & ~7
        let frame = RawBuffer(zeros: length)
        let region = frame.region
        region.put(UInt32(length), at: 4)
        region.put(oddity == 252 ? input.byte() : kind, at: 8)
        region.put(oddity == 251 ? input.byte() : JournalFrame.version, at: 9)
        region.put(header.shard, at: 10)
        region.put(header.epoch, at: 12)
        region.put(header.sequence, at: 16)
        region.put(header.timeMs, at: 24)
        UnsafeMutableRawBufferPointer(rebasing: region[JournalFrame.headerBytes...])
            .copyBytes(from: payload)
        ControlKind.finish(region)
        defer { withExtendedLifetime(frame) {} }
        audit.note(frame.bytes, isEntry: true)
        note(header)
        sequences[shard] = header.sequence
        return frame.array
    }

    private mutating func note(_ header: EntryHeader) {
        let first = ranges[header.shard]?.first ?? header.sequence
        ranges[header.shard] = SealedRange(
            shard: header.shard, epoch: header.epoch, first: first, last: header.sequence)
    }

    private mutating func seal(_ input: inout FuzzInput) {
        let reasons: [SealReason] = [.rotated, .stopped, .recovered]
        var record = SealRecord(
            reason: reasons[input.below(3)], endPosition: position,
            durableOffset: UInt64(bytes.count), entries: audit.entries, digest: audit.digest,
            timeMs: 9, ranges: ranges.values.sorted { $0.shard < $1.shard })
        switch input.below(16) {
        case 0: record.endPosition = input.integer()
        case 1: record.durableOffset = input.integer()
        case 2: record.entries = input.integer()
        case 3: record.digest = input.integer()
        case 4:
            record.ranges.append(
                SealedRange(
                    shard: input.integer(), epoch: input.integer(), first: input.integer(),
                    last: input.integer()))
        case 5: record.ranges = []
        case 6 where !record.ranges.isEmpty: record.ranges[0].last = input.integer()
        default: break
        }
        let encoded = record.encode(lane: name.lane, offset: bytes.count).array
        lastSeal = bytes.count..<(bytes.count + encoded.count)
        bytes += encoded
    }

    /// The file, as it is or as maintenance would have packed it.
    func write(_ input: inout FuzzInput) {
        guard input.below(4) == 0 else { return Place.write("/journal/" + name.fileName, bytes) }
        let head = RawBuffer(zeros: 8)
        head.region.put(SegmentSource.skippableMagic, at: 0)
        let seal = lastSeal.map { Array(bytes[$0]) } ?? []
        head.region.put(UInt32(seal.count), at: 4)
        var packed = head.array + seal
        bytes.withUnsafeBytes { content in
            guard let zstd = try? Zstd.compress(content) else { fatalError("zstd") }
            packed += zstd.array
        }
        for _ in 0..<input.below(3) {
            packed[input.wideBelow(packed.count)] ^= 1 << UInt8(input.below(8))
        }
        Place.write("/journal/" + name.compressedName, packed)
    }
}

/// Journals of absurd segments.
enum Absurd {
    static func test(_ input: inout FuzzInput) {
        Place.clear()
        var covered = ShardSequences()
        if input.flag() { covered[ShardID(input.below(3))] = input.integer() }
        var position: UInt64 = 0
        var sequences: [UInt64] = [0, 0, 0]
        var written: [UInt8] = []
        for index in 0..<(1 + input.below(3)) {
            let jump = input.byte()
            let lane = JournalLane(boot: 1 + UInt32(jump >> 7), core: UInt16((jump >> 6) & 1))
            let name = SegmentName(lane: lane, index: UInt32(index) + UInt32(jump & 1))
            var builder = SegmentBuilder(
                name, position: jump & 2 == 0 ? position : 0, sequences: sequences, &input)
            for _ in 0..<input.below(8) { builder.add(&input) }
            position = builder.end
            sequences = builder.sequences
            written += builder.bytes
            builder.write(&input)
        }
        recover(covered, written)
        readOn(&input)
    }

    private static func recover(_ covered: ShardSequences, _ written: [UInt8]) {
        let before = files()
        do throws(JournalError) {
            let first = try Recovered(Place.path, covered: covered)
            require(contains(written, first.bytes), "an entry was invented")
            do throws(JournalError) {
                let second = try Recovered(Place.path, covered: covered)
                require(second.bytes == first.bytes, "the second recovery differs")
                require(second.report.cuts.isEmpty, "the second recovery cuts")
                require(second.report.sequences == first.report.sequences, "other sequences")
            } catch {
                fatalError("the second recovery fails: \(error)")
            }
        } catch {
            _ = error.description
            require(files() == before, "the files changed, and then: \(error)")
        }
    }

    private static func files() -> [[UInt8]] {
        var result: [[UInt8]] = []
        Place.attempt("list") {
            for name in try Place.directory("/journal").list() {
                result.append(Place.read("/journal/" + name))
            }
        }
        return result
    }

    /// Whether every frame of `frames` lies somewhere in `written`: mostly in the same order.
    private static func contains(_ written: [UInt8], _ frames: [UInt8]) -> Bool {
        written.withUnsafeBytes { written in
            frames.withUnsafeBytes { frames in
                var at = 0
                var place = 0
                while at < frames.count {
                    let length = Int(frames.get(at + 4, UInt32.self))
                    let checksum = frames.get(at, UInt32.self)
                    var left = written.count
                    while left > 0 {
                        if place + length > written.count { place = 0 }
                        if written.get(place, UInt32.self) == checksum,
                            memcmp(written.baseAddress! + place, frames.baseAddress! + at, length)
                                == 0
                        {
                            break
                        }
                        place += 1
                        left -= 1
                    }
                    if left == 0 { return false }
                    at += length
                }
                return true
            }
        }
    }

    /// As reconcilers and audits read: from anywhere, in pieces.
    private static func readOn(_ input: inout FuzzInput) {
        do throws(JournalError) {
            let directory = try JournalDirectory(
                path: Place.path, identity: Place.identity, configuration: Place.configuration)
            for lane in try directory.lanes() {
                for segment in try directory.segments(of: lane) {
                    try read(directory.reader(from: .start(of: lane, segment: segment)), &input)
                }
                guard let reader = try directory.reader(of: lane) else { continue }
                try read(reader, &input)
            }
        } catch {
            _ = error.description
        }
    }

    private static func read(
        _ reader: consuming LaneReader, _ input: inout FuzzInput
    ) throws(JournalError) {
        let limit: UInt64? = input.flag() ? input.integer() : nil
        let byteLimit = input.flag() ? 1 + input.wideBelow(2_000) : .max
        for _ in 0..<20 {
            let status = try reader.read(upTo: limit, byteLimit: byteLimit) {
                (frame) throws(JournalError) in
                require(frame.kind != nil, "an unknown kind was handed over")
            }
            guard status == .more else { return }
        }
    }
}

extension RawBuffer {
    /// A copy: `bytes` are only good as long as somebody holds the buffer.
    var array: [UInt8] {
        defer { withExtendedLifetime(self) {} }
        return Array(bytes)
    }
}
