import EdgeLedger
import Foundation

/// The reconciler's thread: what it holds, and its loop.
struct ReconcilerRun {
    let configuration: ReconcilerConfiguration
    let signal: ReconcilerSignal
    let openSources: @Sendable () throws -> [any EntrySource]
    let openStore: @Sendable () throws -> any LedgerStore
    let publish: ((inout ReconcilerStatus) -> Void) -> Void

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
    /// When lag was first seen that is there still; or the time of the entries applied last.
    private var laggingSinceMs: Int64?

    init(
        configuration: ReconcilerConfiguration, signal: ReconcilerSignal,
        openSources: @escaping @Sendable () throws -> [any EntrySource],
        openStore: @escaping @Sendable () throws -> any LedgerStore,
        publish: @escaping ((inout ReconcilerStatus) -> Void) -> Void
    ) {
        self.configuration = configuration
        self.signal = signal
        self.openSources = openSources
        self.openStore = openStore
        self.publish = publish
        batch = EntryBatch(capacity: configuration.batchEntries)
    }

    mutating func run() {
        while true {
            do {
                let wasFull = try round()
                if wasFull { continue }
                if signal.isStopping { break }
                signal.waitForWake(atMostMs: configuration.pollMs)
                signal.pause(configuration.gatherMs)
            } catch {
                fail(error)
                if signal.isOverdue { break }
                backoff()
            }
        }
        store?.close()
        publish { $0.state = .stopped }
    }

    /// Reads one batch and applies it.
    ///
    /// - Returns: whether there may be more.
    private mutating func round() throws -> Bool {
        try synchronise()
        let wasFull = try fill()
        guard !batch.isEmpty, let store else {
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
        try store.apply(batch, cursors: moved.map { (sources[$0].lane, sources[$0].cursor) })
        for index in moved { savedCursors[index] = sources[index].cursor }
        applied()
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

    /// Goes to where the store is, where that is not known.
    private mutating func synchronise() throws {
        if sources.isEmpty {
            sources = try openSources().sorted { $0.generation < $1.generation }
        }
        let store = try self.store ?? openStore()
        self.store = store
        guard !isSynchronised else { return }
        let marks = try store.watermarks()
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
        case SourceError.refused, StoreError.refused:
            isSynchronised = false
            // A gap after a kept cursor may be the cursor's fault: the second time, from the start.
            if failures > 1 { ignoresCursors = true }
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
        publish { status in
            status.state = .failing
            status.lastError = text
            status.lastErrorMs = Self.nowMs()
            status.failures += 1
            status.consecutiveFailures = failures
        }
        publishLag()
    }

    private func backoff() {
        // Once is normal where two reconcilers share a store: look again at once.
        if failures == 1, !isSynchronised, store != nil { return }
        let doubled = configuration.firstBackoffMs << min(failures - 1, 16)
        let longest = max(1, min(doubled, configuration.longestBackoffMs))
        let wait = longest / 2 + Int.random(in: 0...(longest - longest / 2))
        if signal.isStopping {
            signal.pauseWhileStopping(wait)
        } else {
            signal.pause(wait)
        }
    }

    // MARK: Lag

    private mutating func publishLag() {
        let waiting = sources.reduce(UInt64(batch.count)) { $0 &+ $1.backlog() }
        let nowMs = Self.nowMs()
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

    private static func nowMs() -> Int64 { Int64(Date().timeIntervalSince1970 * 1_000) }
}
