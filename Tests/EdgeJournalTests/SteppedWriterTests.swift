import EdgeMemory
import EdgeTypes
import EdgeWire
import Glibc
import Synchronization
import Testing

@testable import EdgeJournal

@Suite("Stepped writer")
struct SteppedWriterTests {
    static func writer(
        _ directory: JournalDirectory, resuming sequences: ShardSequences = ShardSequences()
    ) throws -> SteppedWriter {
        try directory.makeSteppedWriter(
            boot: try directory.beginBoot(), core: 0, cores: 1, resuming: sequences)
    }

    @Test("what was committed is read back, across starts, segments and a clean stop")
    func restarts() throws {
        let scratch = Scratch()
        var count: UInt64 = 0
        for boot in 1...3 as ClosedRange<UInt32> {
            let directory = try WriterTests.open(scratch)
            var collected = Collected()
            let report = try directory.recover { (frame) throws(JournalError) in
                collected.take(frame)
            }
            #expect(collected.count == count && collected.wrong == 0)
            #expect(report.wasClean && report.cuts.isEmpty && report.newestBoot == boot - 1)
            let writer = try Self.writer(directory, resuming: report.sequences)
            var sink = ByteSink()
            var position: UInt64 = 0
            for size in [1, 700, 40, 4_500, 2] as [UInt64] {
                Sample.append(count..<(count + size), to: &sink)
                position += UInt64(sink.count)
                try writer.append(&sink)
                #expect(sink.count == 0 && writer.submittedPosition == position)
                #expect(writer.committedPosition < position && writer.backlogBytes == 0)
                try writer.sync()
                #expect(writer.committedPosition == position && writer.space == .free)
                count += size
                try writer.mark()
            }
            #expect(try writer.close())
        }
        let names = try SegmentCatalog(scratch.data + "/journal").names
        #expect(names.count > 6)
        for name in names {
            // Found only where the seal is the file's end: what was reserved has been given back.
            #expect(try SealIndex.read(name, in: Directory(scratch.data + "/journal")) != nil)
        }
    }

    /// A disk that has no room while it is told so.
    final class FullDisk: LiveFileSystem, @unchecked Sendable {
        let isFull = Atomic<Bool>(false)
        let wall = Atomic<Int64>(1_767_225_600_000)
        let clockNs = Atomic<UInt64>(1_000)

        override func allocate(_ descriptor: Int32, size: Int) -> Int32 {
            isFull.load(ordering: .acquiring)
                ? -ENOSPC : super.allocate(descriptor, size: size)
        }

        /// Back by an hour at each look: nothing may go by it.
        override func wallMs() -> Int64 {
            wall.wrappingSubtract(3_600_000, ordering: .relaxed).newValue
        }

        override func monotonicNs() -> UInt64 { clockNs.load(ordering: .relaxed) }
    }

    @Test("a full disk is told before room runs out, loses nothing, and recovers by itself")
    func fullDisk() throws {
        let scratch = Scratch()
        let disk = FullDisk()
        let directory = try WriterTests.open(scratch, system: disk)
        let writer = try Self.writer(directory)
        var sink = ByteSink()
        var count: UInt64 = 0
        var whileFull = 0
        disk.isFull.store(true, ordering: .releasing)
        while writer.space != .exhausted {
            Sample.append(count..<(count + 50), to: &sink)
            count += 50
            try writer.append(&sink)
            try writer.sync()
            if writer.space == .full { whileFull += 1 }
        }
        #expect(whileFull > 20)
        for _ in 0..<200 {
            Sample.append(count..<(count + 50), to: &sink)
            count += 50
            try writer.append(&sink)
        }
        let committed = writer.committedPosition
        try writer.sync()
        #expect(writer.committedPosition == committed && writer.backlogBytes > 0)
        disk.isFull.store(false, ordering: .releasing)
        try writer.sync()
        #expect(writer.isFull, "not tried again so soon")
        disk.clockNs.wrappingAdd(
            UInt64(directory.configuration.retryMs) * 1_000_000, ordering: .relaxed)
        try writer.sync()
        #expect(writer.space == .free && writer.backlogBytes == 0)
        #expect(writer.committedPosition == writer.submittedPosition)
        #expect(try writer.close())
    }

    @Test("a failed sync is for good, and a stop on an exhausted disk is none")
    func failures() throws {
        let scratch = Scratch()
        let broken = WriterTests.BrokenSync()
        do {
            let directory = try WriterTests.open(scratch, system: broken)
            let writer = try Self.writer(directory)
            var sink = ByteSink()
            Sample.append(0..<10, to: &sink)
            try writer.append(&sink)
            broken.isBroken.store(true, ordering: .releasing)
            #expect(throws: JournalError.self) { try writer.sync() }
            broken.isBroken.store(false, ordering: .releasing)
            #expect(throws: JournalError.self) { try writer.sync() }
            #expect(throws: JournalError.self) { try writer.close() }
            #expect(writer.committedPosition == 0)
            #expect(broken.failures.load(ordering: .relaxed) == 1)
        }
        let other = Scratch()
        let disk = FullDisk()
        let directory = try WriterTests.open(other, system: disk)
        let writer = try Self.writer(directory)
        disk.isFull.store(true, ordering: .releasing)
        var sink = ByteSink()
        Sample.append(0..<5_000, to: &sink)
        try writer.append(&sink)
        #expect(try !writer.close())
    }
}
