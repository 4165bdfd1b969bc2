public import EdgeMemory
import EdgeTypes
import EdgeWire

/// Makes one core's entries durable as `JournalWriter` does, in the caller's own time: every call
/// does its work before it returns. For simulators and tools; one thread.
///
/// Positions count bytes of entries since this writer began. After a call has thrown, nothing
/// becomes durable any more, and each later call throws the same error.
public final class SteppedWriter {
    public let lane: JournalLane
    private let system: any FileSystem
    private let retryNs: UInt64
    private let maker: SegmentMaker
    private let file: LaneFile
    private var spare: PreparedSegment?
    private var nextIndex: UInt32 = 1
    /// What an exhausted disk keeps waiting.
    private var waiting = LaneFile.Source([])
    private var free: SinkBox? = SinkBox()
    /// When the disk last had no room for the spare, by the monotonic clock.
    private var fullSinceNs: UInt64?
    private var failure: JournalError?

    /// What was appended, waiting included.
    public private(set) var submittedPosition: UInt64 = 0
    /// Everything up to here is durable. Never goes back.
    public private(set) var committedPosition: UInt64 = 0
    /// Syncs that moved `committedPosition`.
    public private(set) var syncCount: UInt64 = 0

    /// Creates the lane's first two segments.
    init(
        directory: JournalDirectory, lane: JournalLane, cores: UInt16,
        resuming sequences: ShardSequences
    ) throws(JournalError) {
        self.lane = lane
        system = directory.system
        retryNs = UInt64(directory.configuration.retryMs) * 1_000_000
        maker = SegmentMaker(directory: directory, lane: lane, cores: cores)
        file = LaneFile(
            segment: try maker.make(index: 0), configuration: directory.configuration,
            resuming: sequences)
        try makeSpare()
    }

    /// Bytes appended and not yet written; only an exhausted disk leaves any.
    public var backlogBytes: Int { Int(submittedPosition - file.position) }

    public var space: JournalSpace {
        if !waiting.isEmpty { return .exhausted }
        return fullSinceNs == nil ? .free : .full
    }

    /// Whether new grants are to be refused (`RequestBatch.storageIsFull`).
    public var isFull: Bool { space != .free }

    /// Writes the bytes of `sink` (whole entries, in order) and empties it. Durable after `sync`,
    /// or earlier where a segment ends in between.
    ///
    /// On an exhausted disk the bytes wait in memory; this call and `sync` try again, at most
    /// every `JournalConfiguration.retryMs`.
    public func append(_ sink: inout ByteSink) throws(JournalError) {
        submittedPosition += UInt64(sink.count)
        if sink.count > 0 { enqueue(&sink) }
        try attempt { () throws(JournalError) in
            try retry()
            try write()
        }
    }

    /// Makes all that is written durable.
    public func sync() throws(JournalError) {
        try attempt { () throws(JournalError) in
            try retry()
            try write()
            try syncFile()
        }
    }

    /// Notes on disk that all before is durable, where that is not noted yet: later damage is
    /// then told from a torn tail. For a lane that has been idle `JournalConfiguration.markDelayMs`.
    public func mark() throws(JournalError) {
        guard file.wantsMark else { return }
        try attempt { () throws(JournalError) in try file.mark() }
    }

    /// Writes and syncs what was appended and notes the clean stop. The last call.
    ///
    /// - Returns: false where the disk is exhausted: the lane ends as if the process had been
    ///   killed, and what was not committed is lost, as nobody was told of it.
    @discardableResult
    public func close() throws(JournalError) -> Bool {
        try attempt { () throws(JournalError) in
            try write()
            try syncFile()
            if waiting.isEmpty { try file.close() }
            if let spare = spare.take() { try maker.discard(spare) }
        }
        return waiting.isEmpty
    }

    // MARK: Steps

    private func attempt(_ body: () throws(JournalError) -> Void) throws(JournalError) {
        if let failure { throw failure }
        do throws(JournalError) {
            try body()
        } catch {
            failure = error
            throw error
        }
    }

    private func enqueue(_ sink: inout ByteSink) {
        if !waiting.isEmpty, waiting.buffers.count >= JournalWriter.mostBuffers {
            waiting.buffers[waiting.buffers.count - 1].sink.append(sink.bytes)
            sink.removeAll()
            return
        }
        let box = free.take() ?? SinkBox()
        swap(&box.sink, &sink)
        waiting.buffers.append(box)
    }

    /// Writes what waits, through as many segments as it takes and the disk has room for.
    private func write() throws(JournalError) {
        while try !file.append(&waiting) {
            // What is written already need not wait for the next segment.
            try syncFile()
            guard let next = spare.take() else { return }
            // As the preparer does: the next spare comes before the seal and the trim.
            try makeSpare()
            let sealed = try file.rotate(to: next)
            try maker.trim(sealed.name, to: sealed.size)
        }
        if let box = waiting.buffers.last {
            box.sink.removeAll()
            free = box
        }
        waiting = LaneFile.Source([])
    }

    private func makeSpare() throws(JournalError) {
        do throws(JournalError) {
            spare = try maker.make(index: nextIndex)
            nextIndex += 1
            fullSinceNs = nil
        } catch .noSpace {
            fullSinceNs = system.monotonicNs()
        }
    }

    /// Tries again for the spare where the disk was full a while ago.
    private func retry() throws(JournalError) {
        guard let since = fullSinceNs, system.monotonicNs() - since >= retryNs else { return }
        try makeSpare()
    }

    private func syncFile() throws(JournalError) {
        try file.sync()
        guard file.position > committedPosition else { return }
        committedPosition = file.position
        syncCount += 1
    }
}

extension JournalDirectory {
    /// A writer of one core for a caller that brings its own time. Creates two segments.
    ///
    /// - Parameters: as `makeWriter`.
    public func makeSteppedWriter(
        boot: UInt32, core: UInt16, cores: UInt16, resuming sequences: ShardSequences
    ) throws(JournalError) -> SteppedWriter {
        precondition(core < cores)
        return try SteppedWriter(
            directory: self, lane: JournalLane(boot: boot, core: core), cores: cores,
            resuming: sequences)
    }
}
