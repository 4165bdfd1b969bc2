import EdgeLedger
import EdgeTypes

/// What a reconciler does, apart from waiting: reads what is committed, applies it, and finds its
/// way back after whatever has failed.
///
/// Owned by one thread, or by a simulator. Time and waits are its shell's.
public struct ReconcilerCycle {
    /// How one turn ended.
    public enum Turn: Sendable {
        /// There may be more: go on at once.
        case more
        /// All that was committed is applied: wait for a wake-up.
        case idle
        /// It failed: try again after `ms`, of which the last half should be random; 0: at once.
        case failed(waitMs: Int)
    }

    private let configuration: ReconcilerConfiguration
    private let openSources: () throws -> [any EntrySource]
    private let openStore: () throws -> any LedgerStore
    private let publish: ((inout ReconcilerStatus) -> Void) -> Void
    private let follow: (StoreChanges) -> Void

    private var sources: [any EntrySource] = []
    private var store: (any LedgerStore)?
    private var batch: EntryBatch
    /// The cursors that the store has, where they are known.
    private var savedCursors: [SourceCursor?] = []
    /// Which lane of a generation is read first.
    private var turn = 0
    private var failures = 0
    /// The batch holds what the store needs next, or nothing.
    private var isSynchronised = false
    /// The kept cursors led to a gap: lanes are read from their start.
    private var ignoresCursors = false
    /// What was read last did not continue the store.
    private var foundGap = false
    /// When lag was first seen that is there still; or the time of the entries applied last.
    private var laggingSinceMs: Int64?
    private var nowMs: Int64 = 0
    /// When the store's watermarks were last seen to be what they should be.
    private var verifiedMs: Int64 = 0
    /// A built-in bug: what the store has said once is believed for ever.
    private let trustsStore: Bool

    /// - Parameters:
    ///   - openSources: called at first, and again after it or a source has failed.
    ///   - openStore: likewise for the store.
    ///   - publish: is given what changes in the status.
    ///   - follow: is given what each batch has made of the store, once that is committed. What was
    ///     committed before a crash is not told again.
    public init(
        configuration: ReconcilerConfiguration,
        openSources: @escaping () throws -> [any EntrySource],
        openStore: @escaping () throws -> any LedgerStore,
        publish: @escaping ((inout ReconcilerStatus) -> Void) -> Void,
        follow: @escaping (StoreChanges) -> Void = { _ in }, trustsStore: Bool = false
    ) {
        self.trustsStore = trustsStore
        self.configuration = configuration
        self.openSources = openSources
        self.openStore = openStore
        self.publish = publish
        self.follow = follow
        batch = EntryBatch(capacity: configuration.batchEntries)
    }

    /// Reads one batch and applies it.
    ///
    /// - Parameter nowMs: Unix time; for gauges of lag only.
    public mutating func step(nowMs: Int64) -> Turn {
        self.nowMs = nowMs
        do {
            return try round() ? .more : .idle
        } catch {
            fail(error)
            return .failed(waitMs: backoffMs)
        }
    }

    /// What is shipped from here has changed: lanes are read again, from where the store is.
    public mutating func restart() {
        isSynchronised = false
        ignoresCursors = true
        sources = []
    }

    /// Gives the store's files back, at the end.
    public func close() { store?.close() }

    /// - Returns: whether there may be more.
    private mutating func round() throws -> Bool {
        try synchronise()
        let wasFull = try fill()
        guard !batch.isEmpty, let store else {
            if !wasFull, try hasGoneBack() { return true }
            let skipped = batch.skipped
            publishLag()
            publish { status in
                status.state = .running
                status.skippedEntries = skipped
            }
            return wasFull
        }
        publishLag()
        let moved = sources.indices.filter { sources[$0].cursor != savedCursors[$0] }
        let changes = try store.apply(
            batch, cursors: moved.map { (sources[$0].lane, sources[$0].cursor) })
        for index in moved { savedCursors[index] = sources[index].cursor }
        applied()
        follow(changes)
        return wasFull
    }

    /// Reads lanes of the earliest generation first, each to its end before the next generation;
    /// those of one generation in turns, so that none starves.
    private mutating func fill() throws -> Bool {
        turn &+= 1
        var start = 0
        while start < sources.count, !batch.isFull {
            var end = start
            while end < sources.count, sources[end].generation == sources[start].generation {
                end += 1
            }
            for step in 0..<(end - start) {
                let index = start + (turn + step) % (end - start)
                if try sources[index].read(into: &batch) { return true }
            }
            start = end
        }
        return batch.isFull
    }

    private mutating func applied() {
        laggingSinceMs = batch.ranges.map(\.to.timeMs).max()
        let count = UInt64(batch.count)
        let marks = batch.marks
        let skipped = batch.skipped
        batch.next()
        failures = 0
        ignoresCursors = false
        foundGap = false
        publish { status in
            status.state = .running
            status.appliedEntries += count
            status.appliedBatches += 1
            status.skippedEntries = skipped
            status.consecutiveFailures = 0
            status.watermarks = marks
        }
        publishLag()
    }

    /// Looks now and then whether the store still is where it said it was: batches that follow would
    /// be refused, but there may be none.
    private mutating func hasGoneBack() throws -> Bool {
        let elapsed = nowMs - verifiedMs
        guard let store, !trustsStore, elapsed < 0 || elapsed >= Int64(configuration.verifyMs)
        else { return false }
        let found = try store.watermarks()
        verifiedMs = nowMs
        // Others may have moved shards on; nobody moves one back.
        let isBehind = batch.marks.shards.contains { shard in
            let known = batch.marks[shard]
            return found[shard].sequence < known.sequence
                || found[shard].sequence == known.sequence && found[shard] != known
        }
        guard isBehind else { return false }
        isSynchronised = false
        publish { $0.wentBack += 1 }
        return true
    }

    /// Goes to where the store is, where that is not known.
    private mutating func synchronise() throws {
        if sources.isEmpty {
            sources = try openSources().sorted { $0.generation < $1.generation }
        }
        let store = try self.store ?? openStore()
        self.store = store
        guard !isSynchronised else { return }
        let marks = try store.watermarks()
        verifiedMs = nowMs
        savedCursors = Array(repeating: nil, count: sources.count)
        for index in sources.indices {
            let kept = ignoresCursors ? nil : try store.cursor(lane: sources[index].lane)
            try sources[index].seek(kept)
        }
        batch.restart(at: marks)
        isSynchronised = true
        publish { $0.watermarks = marks }
    }

    // MARK: Failure

    private mutating func fail(_ error: any Error) {
        failures += 1
        switch error {
        case StoreError.locked:
            // The batch stays right as long as nobody else has written it: `apply` will tell.
            break
        case StoreError.refused:
            // It is somewhere else, and knows where: ahead after an answer that was lost, behind
            // after it was restored.
            isSynchronised = false
        case SourceError.refused:
            isSynchronised = false
            // A gap after a kept cursor may be the cursor's fault: the second time, from the start.
            if foundGap { ignoresCursors = true }
            foundGap = true
        case is StoreError:
            isSynchronised = false
            store?.close()
            store = nil
        default:
            isSynchronised = false
            sources = []
        }
        let text = "\(error)"
        let failures = failures
        let nowMs = nowMs
        publish { status in
            status.state = .failing
            status.lastError = text
            status.lastErrorMs = nowMs
            status.failures += 1
            status.consecutiveFailures = failures
        }
        publishLag()
    }

    private var backoffMs: Int {
        // Once is normal where two reconcilers share a store: look again at once.
        if failures == 1, !isSynchronised, store != nil { return 0 }
        let doubled = configuration.firstBackoffMs << min(failures - 1, 16)
        return max(1, min(doubled, configuration.longestBackoffMs))
    }

    // MARK: Lag

    private mutating func publishLag() {
        let waiting = sources.reduce(UInt64(batch.count)) { $0 &+ $1.backlog() }
        if waiting == 0 {
            laggingSinceMs = nil
        } else if laggingSinceMs == nil {
            laggingSinceMs = nowMs
        }
        // What waits unread is younger than what was applied last.
        let lagMs = waiting == 0 ? 0 : max(0, nowMs - (batch.oldestMs ?? laggingSinceMs ?? nowMs))
        publish { status in
            status.lagEntries = waiting
            status.lagMs = lagMs
        }
    }
}
