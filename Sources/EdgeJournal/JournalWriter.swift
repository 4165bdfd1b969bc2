public import EdgeMemory
import EdgeTypes
import Glibc
import Synchronization

/// How much room the disk leaves a lane.
public enum JournalSpace: UInt8, Sendable {
    case free = 0
    /// The next segment cannot be reserved: refuse new grants. What is left of this one (64 MiB
    /// by default, less what was written to it) is for pays, expiries and transfers.
    case full = 1
    /// That is used up too: nothing more becomes durable until there is room again.
    case exhausted = 2
}

/// Makes one core's entries durable, in groups, on a thread of its own.
///
/// The core's event loop calls `submit` once a tick and never blocks longer than another thread
/// needs to exchange a few pointers. Positions count bytes of entries since this writer began.
public final class JournalWriter: @unchecked Sendable {
    // SAFETY: `pending`, `free` and the flags are guarded by `monitor`; `lane` belongs to the
    // writer's thread until that has ended; the rest is constant or atomic.
    public let lane: JournalLane
    private let configuration: JournalConfiguration
    private let preparer: SegmentPreparer
    private let file: LaneFile
    private let onCommit: @Sendable (UInt64) -> Void
    private let onFatal: @Sendable (JournalError) -> Void
    private var thread: Thread?

    private let monitor = Monitor()
    private var pending: [SinkBox] = []
    private var free: [SinkBox] = []
    private var pendingBytes = 0
    private var firstPendingNs: UInt64 = 0
    /// Somebody waits for all that has been submitted up to here.
    private var wantedPosition: UInt64 = 0
    private var isSleeping = false
    private var isStopping = false
    private var hasFailed = false
    /// The writer's thread: when it last synced, and wrote.
    private var lastSyncNs: UInt64 = 0
    private var lastWriteNs: UInt64 = 0

    private let submitted = Atomic<UInt64>(0)
    private let written = Atomic<UInt64>(0)
    private let committed = Atomic<UInt64>(0)
    private let syncs = Atomic<UInt64>(0)
    private let isExhausted = Atomic<Bool>(false)

    /// Most buffers that wait at once; more is copied into the last.
    static let mostBuffers = 64
    /// Up to here, small submissions are copied together rather than exchanged.
    static let coalescedBytes = 64 << 10

    /// Creates the lane's first two segments and starts the thread.
    init(
        directory: JournalDirectory, lane: JournalLane, cores: UInt16,
        resuming sequences: ShardSequences, onCommit: @escaping @Sendable (UInt64) -> Void,
        onFatal: @escaping @Sendable (JournalError) -> Void
    ) throws(JournalError) {
        self.lane = lane
        configuration = directory.configuration
        preparer = SegmentPreparer(directory: directory, lane: lane, cores: cores)
        file = LaneFile(
            segment: try preparer.start(), configuration: directory.configuration,
            resuming: sequences)
        self.onCommit = onCommit
        self.onFatal = onFatal
        pending.reserveCapacity(JournalWriter.mostBuffers)
        free.reserveCapacity(2 * JournalWriter.mostBuffers)
        thread = Thread { [self] in run() }
    }

    /// Ends the process. What a failed sync has not made durable must never be acknowledged, and
    /// trying again proves nothing.
    public static let abortProcess: @Sendable (JournalError) -> Void = { error in
        let text = "journal: \(error); the process ends\n"
        _ = text.withCString { Glibc.write(2, $0, strlen($0)) }
        abort()
    }

    // MARK: For the event loop

    /// Hands over the bytes of `sink` (whole entries, in order) and empties it.
    ///
    /// Only from one thread at a time. O(1), or a copy of less than 64 KiB.
    /// - Parameter needsSync: whether somebody waits for all that has been submitted up to and
    ///   with this. An empty sink may be submitted to say so later.
    /// - Returns: the position at the end of these bytes: durable once `committedPosition`
    ///   reaches it.
    @discardableResult
    public func submit(_ sink: inout ByteSink, needsSync: Bool) -> UInt64 {
        let position = submitted.load(ordering: .relaxed) + UInt64(sink.count)
        submitted.store(position, ordering: .releasing)
        monitor.lock()
        defer { monitor.unlock() }
        let wasEmpty = pending.isEmpty
        if sink.count > 0 {
            pendingBytes += sink.count
            enqueue(&sink)
            if wasEmpty { firstPendingNs = Clock.nowNs() }
        }
        if needsSync { wantedPosition = position }
        let isDue = needsSync || pendingBytes >= configuration.writeAtBytes
        if isSleeping && (isDue || wasEmpty) {
            isSleeping = false
            monitor.signal()
        }
        return position
    }

    private func enqueue(_ sink: inout ByteSink) {
        if let last = pending.last,
            last.sink.count + sink.count <= JournalWriter.coalescedBytes
                || pending.count == JournalWriter.mostBuffers
        {
            last.sink.append(sink.bytes)
            sink.removeAll()
            return
        }
        let box = free.popLast() ?? SinkBox()
        swap(&box.sink, &sink)
        pending.append(box)
    }

    /// Everything up to here is durable. Never goes back.
    public var committedPosition: UInt64 { committed.load(ordering: .acquiring) }

    /// What `submit` last returned.
    public var submittedPosition: UInt64 { submitted.load(ordering: .acquiring) }

    /// Bytes submitted and not yet written: stop reading sockets beyond a bound of your choice.
    public var backlogBytes: Int {
        // Both only grow; read in this order the difference is never negative.
        let done = written.load(ordering: .acquiring)
        return Int(submitted.load(ordering: .acquiring) - done)
    }

    public var space: JournalSpace {
        if isExhausted.load(ordering: .acquiring) { return .exhausted }
        return preparer.isFull.load(ordering: .acquiring) ? .full : .free
    }

    /// Whether new grants are to be refused (`RequestBatch.storageIsFull`).
    public var isFull: Bool { space != .free }

    /// Group commits so far.
    public var syncCount: UInt64 { syncs.load(ordering: .relaxed) }

    /// Writes and syncs what was submitted, notes the clean stop, and ends the thread. Blocks.
    ///
    /// Once, and with no `submit` under way or after it.
    /// - Returns: false where the disk is exhausted or has failed: the lane ends as if the process
    ///   had been killed, and what was not committed is lost, as nobody was told of it.
    @discardableResult
    public func stop() -> Bool {
        monitor.withLock {
            isStopping = true
            isSleeping = false
            monitor.signal()
        }
        preparer.wake()
        thread?.join()
        thread = nil
        do throws(JournalError) {
            let isComplete = !hasFailed && written.load(ordering: .acquiring) == submittedPosition
            if isComplete { try file.close() }
            try preparer.stop()
            return isComplete
        } catch {
            onFatal(error)
            return false
        }
    }

    // MARK: The thread

    private enum Work {
        case write(LaneFile.Source)
        case sync
        case mark
        case end
    }

    private func run() {
        do throws(JournalError) {
            while true {
                switch nextWork() {
                case .write(let source): if try !write(source) { return }
                case .sync: try sync()
                case .mark: try file.mark()
                case .end:
                    try sync()
                    return
                }
            }
        } catch {
            monitor.withLock { hasFailed = true }
            onFatal(error)
        }
    }

    /// Waits for the next thing to do.
    private func nextWork() -> Work {
        monitor.lock()
        defer { monitor.unlock() }
        while true {
            let nowNs = Clock.nowNs()
            var deadlineNs = UInt64.max
            func isDue(_ sinceNs: UInt64, _ delayMs: Int64) -> Bool {
                let atNs = sinceNs + UInt64(delayMs) * 1_000_000
                if atNs > nowNs { deadlineNs = min(deadlineNs, atNs) }
                return atNs <= nowNs
            }
            let isAwaited = wantedPosition > committed.load(ordering: .relaxed)
            if !pending.isEmpty {
                if isAwaited || isStopping || pendingBytes >= configuration.writeAtBytes
                    || isDue(firstPendingNs, configuration.writeDelayMs)
                {
                    return .write(takePending())
                }
            } else if isStopping {
                return .end
            }
            if !file.isDurable {
                if isAwaited && pending.isEmpty || isDue(lastSyncNs, configuration.lazySyncMs) {
                    return .sync
                }
            } else if file.wantsMark, isDue(lastWriteNs, configuration.markDelayMs) {
                return .mark
            }
            isSleeping = true
            if deadlineNs == .max { monitor.wait() } else { monitor.wait(untilNs: deadlineNs) }
            isSleeping = false
        }
    }

    private func takePending() -> LaneFile.Source {
        let source = LaneFile.Source(pending)
        pending.removeAll(keepingCapacity: true)
        pendingBytes = 0
        return source
    }

    /// Writes all of `source`, through as many segments as it takes, and syncs where somebody
    /// waits.
    ///
    /// - Returns: false where a stop came while the disk was exhausted.
    private func write(_ source: LaneFile.Source) throws(JournalError) -> Bool {
        var source = source
        while try !file.append(&source) {
            // What is written already need not wait for the next segment.
            try sync()
            guard let next = try nextSegment() else { return false }
            let sealed = try file.rotate(to: next)
            preparer.trim(sealed.name, to: sealed.size)
        }
        lastWriteNs = Clock.nowNs()
        written.store(file.position, ordering: .releasing)
        recycle(source.buffers)
        let isAwaited = monitor.withLock { wantedPosition > committed.load(ordering: .relaxed) }
        if isAwaited { try sync() }
        return true
    }

    private func nextSegment() throws(JournalError) -> PreparedSegment? {
        if let ready = preparer.takeNow() { return ready }
        // Not ready: either on its way, or there is no room.
        isExhausted.store(preparer.isFull.load(ordering: .acquiring), ordering: .releasing)
        defer { isExhausted.store(false, ordering: .releasing) }
        return try preparer.take {
            isExhausted.store(preparer.isFull.load(ordering: .acquiring), ordering: .releasing)
            return preparer.isFull.load(ordering: .acquiring)
                && monitor.withLock { isStopping }
        }
    }

    private func recycle(_ boxes: [SinkBox]) {
        for box in boxes { box.sink.removeAll() }
        monitor.withLock {
            for box in boxes where free.count < JournalWriter.mostBuffers { free.append(box) }
        }
    }

    private func sync() throws(JournalError) {
        try file.sync()
        lastSyncNs = Clock.nowNs()
        let position = file.position
        written.store(position, ordering: .releasing)
        guard position > committed.load(ordering: .relaxed) else { return }
        committed.store(position, ordering: .releasing)
        syncs.wrappingAdd(1, ordering: .relaxed)
        onCommit(position)
    }
}

extension JournalDirectory {
    /// Starts the writer of one core. Blocks for the creation of two segments.
    ///
    /// - Parameters:
    ///   - boot: from `beginBoot`.
    ///   - cores: how many writers this boot has; the same for each.
    ///   - sequences: the last of every shard, from recovery. A shard's entries must go on right
    ///     after it, and always on the same core: anything else traps.
    ///   - onCommit: called on the writer's thread after each sync that moved
    ///     `committedPosition`, with that. Must not block.
    ///   - onFatal: called once when a write or a sync has failed; nothing becomes durable after
    ///     that. The default ends the process.
    public func makeWriter(
        boot: UInt32, core: UInt16, cores: UInt16, resuming sequences: ShardSequences,
        onCommit: @escaping @Sendable (UInt64) -> Void,
        onFatal: @escaping @Sendable (JournalError) -> Void = JournalWriter.abortProcess
    ) throws(JournalError) -> JournalWriter {
        precondition(core < cores)
        return try JournalWriter(
            directory: self, lane: JournalLane(boot: boot, core: core), cores: cores,
            resuming: sequences, onCommit: onCommit, onFatal: onFatal)
    }
}
