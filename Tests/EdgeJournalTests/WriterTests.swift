import EdgeMemory
import EdgeTypes
import EdgeWire
import Glibc
import Synchronization
import Testing

@testable import EdgeJournal

@Suite("Journal writer")
struct WriterTests {
    static func open(
        _ scratch: Scratch, _ configuration: JournalConfiguration = smallSegments(),
        system: any FileSystem = LiveFileSystem.shared
    ) throws -> JournalDirectory {
        try JournalDirectory(
            path: scratch.data, identity: identity, configuration: configuration, system: system)
    }

    static func writer(
        _ directory: JournalDirectory, _ gate: CommitGate,
        resuming sequences: ShardSequences = ShardSequences(),
        onFatal: @escaping @Sendable (JournalError) -> Void = JournalWriter.abortProcess
    ) throws -> JournalWriter {
        try directory.makeWriter(
            boot: try directory.beginBoot(), core: 0, cores: 1, resuming: sequences,
            onCommit: { gate.commit($0) }, onFatal: onFatal)
    }

    @Test("what was committed is read back, across starts, segments and a clean stop")
    func restarts() throws {
        let scratch = Scratch()
        var count: UInt64 = 0
        for boot in 1...4 as ClosedRange<UInt32> {
            let directory = try Self.open(scratch)
            var collected = Collected()
            let report = try directory.recover { (frame) throws(JournalError) in
                collected.take(frame)
            }
            #expect(collected.count == count && collected.wrong == 0)
            #expect(report.wasClean && report.cuts.isEmpty && report.newestBoot == boot - 1)
            let gate = CommitGate()
            let writer = try Self.writer(directory, gate, resuming: report.sequences)
            #expect(writer.lane.boot == boot)
            var sink = ByteSink()
            var position: UInt64 = 0
            for size in [1, 700, 40, 1_500, 2] as [UInt64] {
                Sample.append(count..<(count + size), to: &sink)
                let bytes = UInt64(sink.count)
                #expect(writer.submit(&sink, needsSync: true) == position + bytes)
                position += bytes
                #expect(sink.count == 0)
                count += size
            }
            gate.wait(for: position)
            #expect(writer.committedPosition == position && writer.backlogBytes == 0)
            #expect(writer.stop())
        }
        #expect(try SegmentCatalog(scratch.data + "/journal").names.count > 6)
    }

    @Test("entries that nobody waits for become durable by themselves, and with one who waits")
    func lazy() throws {
        let scratch = Scratch()
        let directory = try Self.open(scratch)
        let gate = CommitGate()
        let writer = try Self.writer(directory, gate)
        var sink = ByteSink()
        Sample.append(0..<10, to: &sink)
        let position = writer.submit(&sink, needsSync: false)
        gate.wait(for: position)
        Sample.append(10..<20, to: &sink)
        let second = writer.submit(&sink, needsSync: false)
        #expect(writer.submit(&sink, needsSync: true) == second)
        gate.wait(for: second)
        writer.stop()
    }

    @Test("an idle lane notes that all before is durable: later damage is no torn tail")
    func marks() throws {
        let scratch = Scratch()
        let directory = try Self.open(scratch)
        let gate = CommitGate()
        let writer = try Self.writer(directory, gate)
        var sink = ByteSink()
        Sample.append(0..<10, to: &sink)
        let bytes = sink.count
        gate.wait(for: writer.submit(&sink, needsSync: true))
        let name = SegmentName(lane: writer.lane, index: 0)
        let end = SegmentHeader.bytes + BatchRecord.bytes + bytes
        let path = directory.journalPath + "/" + name.fileName
        #expect(eventually { (try? readFile(path)[end + 8]) == ControlKind.batch })
        var image = try DirectoryImage(scratch.data)
        writer.stop()
        image.files[image.index(name)].bytes[end - 20] ^= 1
        let copy = Scratch()
        try image.write(to: copy.data)
        #expect(throws: JournalError.self) { _ = try recoverSamples(copy.data) }
    }

    @Test("cores write lanes of their own, and their number may change between starts")
    func cores() throws {
        let scratch = Scratch()
        var sequences = ShardSequences()
        var totals: [UInt64] = [0, 0, 0, 0]
        for cores in [1, 4, 2] as [UInt16] {
            let directory = try Self.open(scratch)
            var seen: [UInt64] = [0, 0, 0, 0]
            let report = try directory.recover { (frame) throws(JournalError) in
                seen[Int(frame.shard)] += 1
            }
            #expect(seen == totals && report.wasClean && report.sequences == sequences)
            let boot = try directory.beginBoot()
            var writers: [(JournalWriter, CommitGate)] = []
            for core in 0..<cores {
                let gate = CommitGate()
                let writer = try directory.makeWriter(
                    boot: boot, core: core, cores: cores, resuming: sequences,
                    onCommit: { gate.commit($0) })
                writers.append((writer, gate))
            }
            for shard in 0..<4 {
                var sink = ByteSink()
                for _ in 0..<50 {
                    totals[shard] += 1
                    let header = EntryHeader(
                        shard: ShardID(shard), epoch: 1, sequence: totals[shard], timeMs: 1)
                    JournalCodec.encode(
                        .poolClosed(PoolKey(rawValue: 1)), header: header, into: &sink)
                }
                let (writer, gate) = writers[shard % Int(cores)]
                gate.wait(for: writer.submit(&sink, needsSync: true))
                sequences[ShardID(shard)] = totals[shard]
            }
            for (writer, _) in writers { #expect(writer.stop()) }
        }
    }

    @Test("one core of two that did not stop makes the stop unclean")
    func halfStopped() throws {
        let scratch = Scratch()
        var image: DirectoryImage
        do {
            let directory = try Self.open(scratch)
            let boot = try directory.beginBoot()
            let writers = try (0..<2).map { core in
                try directory.makeWriter(
                    boot: boot, core: core, cores: 2, resuming: ShardSequences(),
                    onCommit: { _ in })
            }
            #expect(writers[0].stop())
            image = try DirectoryImage(scratch.data)
            #expect(writers[1].stop())
        }
        #expect(try recoverSamples(scratch.data).report.wasClean)
        let copy = Scratch()
        try image.write(to: copy.data)
        #expect(try !recoverSamples(copy.data).report.wasClean)
        #expect(try !recoverSamples(copy.data).report.wasClean, "and stays so until a later boot")
    }

    @Test("a failed sync is fatal: never tried again, nothing acknowledged after it")
    func failedSync() throws {
        let scratch = Scratch()
        let state = BrokenSync()
        let directory = try Self.open(scratch, system: state)
        let gate = CommitGate()
        let fatal = CommitGate()
        let writer = try Self.writer(directory, gate) { error in
            guard case .system("fdatasync", _, EIO) = error else { return }
            fatal.commit(1)
        }
        var sink = ByteSink()
        Sample.append(0..<10, to: &sink)
        let durable = writer.submit(&sink, needsSync: true)
        gate.wait(for: durable)
        state.isBroken.store(true, ordering: .releasing)
        Sample.append(10..<20, to: &sink)
        writer.submit(&sink, needsSync: true)
        fatal.wait(for: 1)
        state.isBroken.store(false, ordering: .releasing)
        Sample.append(20..<30, to: &sink)
        writer.submit(&sink, needsSync: true)
        #expect(!writer.stop())
        #expect(writer.committedPosition == durable)
        #expect(state.failures.load(ordering: .relaxed) == 1)
    }

    final class BrokenSync: LiveFileSystem, @unchecked Sendable {
        let isBroken = Atomic<Bool>(false)
        let failures = Atomic<Int>(0)

        override func syncData(_ descriptor: Int32) -> Int32 {
            guard isBroken.load(ordering: .acquiring) else { return super.syncData(descriptor) }
            failures.wrappingAdd(1, ordering: .relaxed)
            return -EIO
        }
    }

    final class ShortWrites: LiveFileSystem, @unchecked Sendable {
        override func write(
            _ descriptor: Int32, _ slices: UnsafeBufferPointer<iovec>, at offset: Int
        ) -> Int {
            pwrite(descriptor, slices[0].iov_base, min(slices[0].iov_len, 777), offset)
        }
    }

    @Test("short writes are gone on with")
    func shortWrites() throws {
        let scratch = Scratch()
        do {
            let directory = try Self.open(scratch, system: ShortWrites())
            let gate = CommitGate()
            let writer = try Self.writer(directory, gate)
            var sink = ByteSink()
            Sample.append(0..<3_000, to: &sink)
            gate.wait(for: writer.submit(&sink, needsSync: true))
            writer.stop()
        }
        #expect(try recoverSamples(scratch.data).count == 3_000)
    }
}
