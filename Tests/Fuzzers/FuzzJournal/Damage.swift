import EdgeMemory
import EdgeTypes
import EdgeWire
import FuzzSupport

@testable import EdgeJournal

/// A good journal with a few bits wrong.
enum Damaged {
    struct Good {
        var bytes: [UInt8]
        var name: String
        /// Where the batch begins that was never synced.
        var tail: Int
        var end: Int
        var durable: UInt64
        var total: UInt64
    }

    /// Synced batches, a mark, and a last batch that was never synced, as the writer writes them.
    static let good: Good = {
        Place.clear()
        var good: Good?
        Place.attempt("write") {
            let directory = try JournalDirectory(
                path: Place.path, identity: Place.identity, configuration: Place.configuration)
            let preparer = SegmentPreparer(
                directory: directory, lane: JournalLane(boot: 1, core: 0), cores: 1)
            let lane = LaneFile(
                segment: try preparer.start(), configuration: directory.configuration,
                resuming: ShardSequences())
            var count: UInt64 = 0
            var tail = 0
            var durable: UInt64 = 0
            for (size, isSynced) in [(3, true), (1, true), (20, true), (9, false)] {
                if !isSynced {
                    try lane.mark()
                    tail = lane.offset
                    durable = count
                }
                let box = SinkBox()
                for _ in 0..<size {
                    let (header, entry) = sample(count)
                    JournalCodec.encode(entry, header: header, into: &box.sink)
                    count += 1
                }
                var source = LaneFile.Source([box])
                let fits = try lane.append(&source)
                require(fits, "it fits")
                if isSynced { try lane.sync() }
            }
            let name =
                "/journal/"
                + SegmentName(lane: JournalLane(boot: 1, core: 0), index: 0)
                .fileName
            good = Good(
                bytes: Array(Place.read(name)[..<(lane.offset + 4_096)]), name: name, tail: tail,
                end: lane.offset, durable: durable, total: count)
            try preparer.stop()
        }
        return good!
    }()

    static func sample(_ number: UInt64) -> (EntryHeader, Entry) {
        let header = EntryHeader(
            shard: ShardID(number % 3), epoch: 1, sequence: number / 3 + 1, timeMs: Int64(number))
        let pool = PoolKey(rawValue: 77)
        if number % 4 == 0 { return (header, .poolClosed(pool)) }
        return (
            header,
            .claim(
                Claim(
                    pool: pool, slice: 1, user: number, packet: Int64(number), amountFen: 5,
                    requestHash: number % 2))
        )
    }

    static func test(_ input: inout FuzzInput) {
        let good = good
        var bytes = good.bytes
        let isDouble = input.flag()
        var changed: [Int] = []
        if input.flag() {
            // A burst of at most 32 bits.
            let at = input.wideBelow(good.end - 4)
            for (offset, byte) in input.take(4).enumerated() { bytes[at + offset] = byte }
            changed = (at..<(at + 4)).filter { bytes[$0] != good.bytes[$0] }
        } else {
            for _ in 0..<(isDouble ? 2 : 1) {
                let at = input.wideBelow(good.end)
                bytes[at] ^= 1 << UInt8(input.below(8))
            }
            changed = bytes.indices.filter { bytes[$0] != good.bytes[$0] }
        }
        Place.clear()
        Place.write(good.name, bytes)
        do throws(JournalError) {
            let recovered = try Recovered(Place.path, covered: ShardSequences())
            require(UInt64(recovered.frames) <= good.total, "entries were invented")
            require(UInt64(recovered.frames) >= good.durable, "durable entries were lost")
            requirePrefix(recovered.bytes, recovered.frames)
            let isTail = changed.allSatisfy { $0 >= good.tail }
            require(isTail || isDouble, "damage at \(changed) went unnoticed")
        } catch {
            require(changed.contains { $0 < good.tail }, "\(changed) is a torn tail: \(error)")
        }
    }

    private static func requirePrefix(_ bytes: [UInt8], _ frames: Int) {
        var sink = ByteSink()
        for number in 0..<UInt64(frames) {
            let (header, entry) = sample(number)
            JournalCodec.encode(entry, header: header, into: &sink)
        }
        require(Array(sink.bytes) == bytes, "other entries than were written")
    }
}

/// Snapshots with a few bits wrong, and ones whose header is right and says absurd things.
enum Snapshots {
    static let content = (0..<600).map { UInt8(truncatingIfNeeded: $0 / 7) }
    static let header = SnapshotHeader(
        shard: 3, epoch: 2, sequence: 9, lane: JournalLane(boot: 1, core: 0), position: 70)
    static let name = "/snapshots/3-2-9.snap.zst"

    static let good: [UInt8] = {
        Place.attempt("save") {
            let store = try SnapshotStore(
                Place.directory("/snapshots"), identity: Place.identity)
            try content.withUnsafeBytes {
                try store.save(header, committed: 70, content: $0)
            }
        }
        return Place.read(name)
    }()

    static func test(_ input: inout FuzzInput) {
        var bytes = good
        let isForged = input.flag()
        if isForged { forge(&bytes, &input) } else { flip(&bytes, &input) }
        Place.clear()
        Place.write(name, bytes)
        do throws(JournalError) {
            let store = try SnapshotStore(
                Place.directory("/snapshots"), identity: Place.identity)
            guard let snapshot = try store.load(3) else { fatalError("it is there") }
            require(snapshot.damaged.isEmpty, "there is only one")
            if !isForged {
                // A frame of zstd has a bit that nobody reads: what counts is what comes out.
                require(snapshot.header == header, "another header")
                require(Array(snapshot.content.bytes) == content, "another content")
            }
        } catch {
            _ = error.description
            require(bytes != good, "a good snapshot was refused: \(error)")
        }
    }

    private static func flip(_ bytes: inout [UInt8], _ input: inout FuzzInput) {
        if input.below(4) == 0 { bytes.removeLast(input.wideBelow(bytes.count)) }
        guard !bytes.isEmpty else { return }
        for _ in 0..<input.below(4) {
            bytes[input.wideBelow(bytes.count)] ^= 1 << UInt8(input.below(8))
        }
    }

    /// Overwrites header fields and content, and puts the header's checksum right.
    private static func forge(_ bytes: inout [UInt8], _ input: inout FuzzInput) {
        for _ in 0..<input.below(4) {
            let at = 12 + input.below(SnapshotStore.headerBytes - 12)
            bytes[at] = input.byte()
        }
        let packed = input.take(input.below(80))
        let at = SnapshotStore.headerBytes + input.wideBelow(bytes.count - 112)
        for (offset, byte) in packed.enumerated() where at + offset < bytes.count {
            bytes[at + offset] = byte
        }
        bytes.withUnsafeMutableBytes { bytes in
            let checked = UnsafeRawBufferPointer(rebasing: bytes[12..<SnapshotStore.headerBytes])
            bytes.put(Checksum.crc32c(checked), at: 8)
        }
    }
}
