import EdgeMemory
import EdgeTypes
import EdgeWire
import Glibc
import Testing

@testable import EdgeJournal

@Suite("Reading, compression, snapshots and retention")
struct ReaderTests {
    /// One lane of many segments, stopped cleanly.
    static func fill(_ scratch: Scratch, entries: UInt64 = 9_000) throws -> JournalDirectory {
        let directory = try WriterTests.open(scratch)
        let gate = CommitGate()
        let writer = try WriterTests.writer(directory, gate)
        var sink = ByteSink()
        for start in stride(from: 0, to: entries, by: 500) {
            Sample.append(start..<min(entries, start + 500), to: &sink)
            gate.wait(for: writer.submit(&sink, needsSync: true))
        }
        #expect(writer.stop())
        return directory
    }

    static func all(_ directory: JournalDirectory) throws -> Collected {
        var collected = Collected()
        guard var reader = try directory.reader(of: JournalLane(boot: 1, core: 0)) else {
            Issue.record("no lane")
            return collected
        }
        let status = try reader.read(upTo: nil) { (frame) throws(JournalError) in
            collected.take(frame)
        }
        #expect(status == .ended(.stopped))
        return collected
    }

    /// Something happens once, after the first read of entries.
    private final class InterruptedReads: LiveFileSystem, @unchecked Sendable {
        // SAFETY: used from one thread.
        private var interruption: (() -> Void)?

        init(_ interruption: @escaping () -> Void) { self.interruption = interruption }

        override func read(
            _ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer, at offset: Int
        ) -> Int {
            let count = super.read(descriptor, into: buffer, at: offset)
            if offset >= SegmentHeader.bytes, buffer.count > 4_096, let happens = interruption {
                interruption = nil
                happens()
            }
            return count
        }
    }

    @Test("what is written after it was read, and proved durable, is no damage")
    func readsWhileWritten() throws {
        let scratch = Scratch()
        let directory = try WriterTests.open(scratch)
        let gate = CommitGate()
        let writer = try WriterTests.writer(directory, gate)
        func write(_ numbers: Range<UInt64>) {
            var sink = ByteSink()
            Sample.append(numbers, to: &sink)
            gate.wait(for: writer.submit(&sink, needsSync: true))
        }
        write(0..<50)
        let system = InterruptedReads {
            // The later ones say that those before them are durable.
            for start in stride(from: UInt64(50), to: 200, by: 50) { write(start..<(start + 50)) }
        }
        let audited = try JournalDirectory(reading: scratch.data, system: system)
        guard var reader = try audited.reader(of: JournalLane(boot: 1, core: 0)) else {
            Issue.record("no lane")
            return
        }
        var collected = Collected()
        let status = try reader.read(upTo: nil) { (frame) throws(JournalError) in
            collected.take(frame)
        }
        #expect(status == .tail(tornBytes: 0))
        #expect(collected.count == 200 && collected.wrong == 0)
        #expect(writer.stop())
    }

    @Test("compressed segments read the same, and less of the disk is used")
    func compression() throws {
        let scratch = Scratch()
        let count: Int
        do {
            let directory = try Self.fill(scratch)
            let before = try DirectoryImage(scratch.data).files.reduce(0) { $0 + $1.bytes.count }
            count = try directory.compressSegments(sealedBeforeMs: .max)
            let catalog = try SegmentCatalog(directory.journalPath)
            #expect(count == catalog.names.count && count > 4)
            #expect(try directory.compressSegments(sealedBeforeMs: .max) == 0)
            let collected = try Self.all(directory)
            #expect(collected.count == 9_000 && collected.wrong == 0)
            let after = try DirectoryImage(scratch.data).files.reduce(0) { $0 + $1.bytes.count }
            #expect(after * 3 < before * 2, "\(before) -> \(after) bytes")
        }
        let (entries, report) = try recoverSamples(scratch.data)
        #expect(entries == 9_000 && report.wasClean)
    }

    @Test("a flipped bit in a compressed segment is damage, or changes nothing")
    func compressedFlips() throws {
        let scratch = Scratch()
        do { try Self.fill(scratch).compressSegments(sealedBeforeMs: .max) }
        let image = try DirectoryImage(scratch.data)
        var random = TestRandom(state: DamageTests.seed)
        let name =
            "journal/"
            + SegmentName(lane: JournalLane(boot: 1, core: 0), index: 1)
            .compressedName
        let bytes = try #require(image.files.first { $0.name == name }).bytes
        var refused = 0
        for round in 0..<150 {
            var damaged = bytes
            // Past the copy of the seal, which only serves to skip what is covered.
            let start = 8 + Int(bytes[4]) + Int(bytes[5]) << 8
            let offset = start + Int(random.next() % UInt64(bytes.count - start))
            damaged[offset] ^= UInt8(1) << UInt8(random.next() % 8)
            try writeFile(scratch.data + "/" + name, damaged)
            do {
                // A few bits of a zstd frame mean nothing.
                let count = try recoverSamples(scratch.data).count
                #expect(count == 9_000, "seed \(DamageTests.seed) round \(round)")
            } catch is JournalError { refused += 1 }
        }
        #expect(refused > 140)
    }

    @Test("a crash while compressing leaves the original in force")
    func interruptedCompression() throws {
        let scratch = Scratch()
        do { _ = try Self.fill(scratch) }
        let name = SegmentName(lane: JournalLane(boot: 1, core: 0), index: 0)
        try writeFile(scratch.data + "/journal/" + name.compressedName, [1, 2, 3])
        try writeFile(scratch.data + "/journal/" + name.compressedName + ".tmp", [1])
        #expect(try recoverSamples(scratch.data).count == 9_000)
        let files = try Directory(scratch.data + "/journal").list()
        #expect(files.allSatisfy { $0.hasSuffix(".log") })
    }

    @Test(
        "a reader goes on from its cursor, whatever the size of its steps", arguments: [1, 5_000])
    func cursors(step: Int) throws {
        let scratch = Scratch()
        let directory = try Self.fill(scratch)
        var collected = Collected()
        var cursor = JournalCursor.start(
            of: SegmentName(lane: JournalLane(boot: 1, core: 0), index: 0))
        var status = LaneStatus.more
        var reads = 0
        while status == .more {
            // A new reader each time: only the cursor is carried over.
            var reader = directory.reader(from: cursor)
            status = try reader.read(upTo: nil, byteLimit: step) { (frame) throws(JournalError) in
                collected.take(frame)
            }
            cursor = reader.cursor
            reads += 1
        }
        #expect(status == .ended(.stopped) && reads > 50)
        #expect(collected.count == 9_000 && collected.wrong == 0)
    }

    @Test("a reader that follows a live writer sees exactly what is committed")
    func following() throws {
        let scratch = Scratch()
        let directory = try WriterTests.open(scratch)
        let gate = CommitGate()
        let writer = try WriterTests.writer(directory, gate)
        let total: UInt64 = 30_000
        let done = CommitGate()
        let follower = Thread {
            var collected = Collected()
            do throws(JournalError) {
                guard var reader = try directory.reader(of: writer.lane) else { return }
                while collected.count < total {
                    let committed = writer.committedPosition
                    let status = try reader.read(upTo: committed, byteLimit: 50_000) {
                        (frame) throws(JournalError) in collected.take(frame)
                    }
                    #expect(status == .more || status == .caughtUp)
                    #expect(reader.cursor.position <= writer.committedPosition)
                    if status == .caughtUp && collected.count < total {
                        gate.wait(for: committed + 1)
                    }
                }
            } catch { Issue.record("\(error)") }
            #expect(collected.wrong == 0 && collected.count == total)
            done.commit(1)
        }
        var sink = ByteSink()
        var count: UInt64 = 0
        while count < total {
            let size = min(total - count, Hash64.mix(count, 3) % 200 + 1)
            Sample.append(count..<(count + size), to: &sink)
            writer.submit(&sink, needsSync: count % 3 != 0)
            count += size
            if count % 1_000 < 100 {
                _ = try directory.compressSegments(sealedBeforeMs: .max, limit: 1)
            }
        }
        writer.submit(&sink, needsSync: true)
        done.wait(for: 1)
        follower.join()
        #expect(writer.stop())
    }

    @Test("recovery leaves out what snapshots cover, and does not read segments of nothing else")
    func covered() throws {
        let scratch = Scratch()
        do { _ = try Self.fill(scratch) }
        var sequences = ShardSequences()
        for shard in 0..<Sample.shards { sequences[ShardID(shard)] = 1_000 }
        let directory = try WriterTests.open(scratch)
        // Spoilt, but covered: never looked at.
        let name = SegmentName(lane: JournalLane(boot: 1, core: 0), index: 0)
        var bytes = try readFile(directory.journalPath + "/" + name.fileName)
        bytes[5_000] ^= 1
        try writeFile(directory.journalPath + "/" + name.fileName, bytes)
        var collected = Collected()
        collected.count = 1_000 * Sample.shards
        let report = try directory.recover(covered: sequences) { (frame) throws(JournalError) in
            collected.take(frame)
        }
        #expect(collected.count == 9_000 && collected.wrong == 0)
        #expect(report.coveredEntries == 5_000 && report.entries == 4_000)
        #expect(report.sequences[0] == 1_800)
    }

    @Test("retention removes only what snapshots, readers and time have passed")
    func retention() throws {
        let scratch = Scratch()
        var sequences = ShardSequences()
        for shard in 0..<Sample.shards { sequences[ShardID(shard)] = 1_000 }
        let kept: Int
        do {
            let directory = try Self.fill(scratch)
            let before = try SegmentCatalog(directory.journalPath).names
            let lane = before[0].lane
            #expect(try directory.removeSegments(coveredBy: sequences, sealedBeforeMs: 0) == 0)
            #expect(
                try directory.removeSegments(coveredBy: ShardSequences(), sealedBeforeMs: .max) == 0
            )
            let reader = JournalCursor.start(of: SegmentName(lane: lane, index: 1))
            #expect(
                try directory.removeSegments(
                    coveredBy: sequences, cursors: [reader], sealedBeforeMs: .max) == 1)
            #expect(try directory.removeSegments(coveredBy: sequences, sealedBeforeMs: .max) > 0)
            let after = try SegmentCatalog(directory.journalPath).names
            kept = after.count
            #expect(after.first!.index > 1 && kept >= 2)
            // What is left is read from its beginning, at its true position.
            guard var behind = try directory.reader(of: lane) else {
                Issue.record("no lane")
                return
            }
            _ = try behind.read(upTo: nil, byteLimit: 1) { (_) throws(JournalError) in }
            #expect(behind.cursor.position > 200_000)
        }
        // Without the snapshot, the beginning is missing.
        #expect(throws: JournalError.self) { _ = try recoverSamples(scratch.data) }
        let directory = try WriterTests.open(scratch)
        var collected = Collected()
        collected.count = 1_000 * Sample.shards
        let report = try directory.recover(covered: sequences) { (frame) throws(JournalError) in
            collected.take(frame)
        }
        #expect(collected.count == 9_000 && collected.wrong == 0 && report.wasClean)
        // The last boot's end is kept even when all of it is covered.
        for shard in 0..<Sample.shards { sequences[ShardID(shard)] = 10_000 }
        #expect(
            try directory.removeSegments(coveredBy: sequences, sealedBeforeMs: .max) == kept - 1)
    }

    @Test("the newest good snapshot of a shard is the one that is loaded")
    func snapshots() throws {
        let scratch = Scratch()
        let directory = try WriterTests.open(scratch)
        let store = directory.snapshots
        #expect(try store.load(3) == nil)
        func content(_ sequence: UInt64) -> [UInt8] {
            (0..<10_000).map { UInt8(truncatingIfNeeded: UInt64($0) / 7 &* sequence) }
        }
        for sequence in [10, 20, 9, 30] as [UInt64] {
            let header = SnapshotHeader(
                shard: 3, epoch: 1, sequence: sequence, lane: JournalLane(boot: 1, core: 0),
                position: 64)
            try content(sequence).withUnsafeBytes {
                try store.save(header, committed: 64, content: $0)
            }
        }
        #expect(try store.shards() == [3])
        #expect(try store.coveredSequences(keeping: 2)[3] == 20)
        #expect(try store.coveredSequences(keeping: 9)[3] == 0)
        try store.removeOld(keeping: 3)
        #expect(try Directory(scratch.data + "/snapshots").list().count == 3)
        let newest = scratch.data + "/snapshots/3-1-30.snap.zst"
        let bytes = try readFile(newest)
        var harmless = 0
        for offset in stride(from: 0, to: bytes.count, by: 3) {
            var damaged = bytes
            damaged[offset] ^= 0x10
            try writeFile(newest, damaged)
            // A few bits of a zstd frame mean nothing: then the content is intact, as checked.
            let sequence = try Self.check(store, content)
            #expect(sequence == (20, 1) || sequence == (30, 0), "byte \(offset)")
            if sequence == (30, 0) { harmless += 1 }
        }
        #expect(harmless < 6)
        try writeFile(newest, bytes)
        #expect(try Self.check(store, content) == (30, 0))
        for sequence in [10, 20, 30] {
            try writeFile(scratch.data + "/snapshots/3-1-\(sequence).snap.zst", [0])
        }
        #expect(throws: JournalError.self) { _ = try store.load(3) == nil }
    }

    static func check(_ store: SnapshotStore, _ content: (UInt64) -> [UInt8]) throws
        -> (sequence: UInt64, damaged: Int)
    {
        guard let snapshot = try store.load(3) else { return (0, 0) }
        #expect(Array(snapshot.content.bytes) == content(snapshot.header.sequence))
        return (snapshot.header.sequence, snapshot.damaged.count)
    }
}
