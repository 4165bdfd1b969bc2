import EdgeLedger
import EdgeReconciler
import EdgeStores
import EdgeTypes
import Foundation
import GRDB
import StoresTestSupport
import Synchronization
import Testing

/// A store that fails as it is told to.
final class FailingStore: LedgerStore {
    enum Mood: Sendable {
        case well
        case before(StoreError)
        /// Commits, and then the answer is lost.
        case after(StoreError)
    }

    final class Plan: Sendable {
        private let moods: Mutex<[Mood]>
        init(_ moods: [Mood]) { self.moods = Mutex(moods) }
        func next() -> Mood { moods.withLock { $0.isEmpty ? .well : $0.removeFirst() } }
        var isDone: Bool { moods.withLock { $0.isEmpty } }
    }

    private let store: SQLStore
    private let plan: Plan

    init(path: String, plan: Plan) throws(StoreError) {
        store = try SQLStore(path: path)
        self.plan = plan
    }

    func watermarks() throws(StoreError) -> WatermarkTable { try store.watermarks() }

    func cursor(lane: String) throws(StoreError) -> SourceCursor? {
        try store.cursor(lane: lane)
    }

    func apply(
        _ batch: EntryBatch, cursors: [(lane: String, cursor: SourceCursor)]
    ) throws(StoreError) -> StoreChanges {
        switch plan.next() {
        case .well: return try store.apply(batch, cursors: cursors)
        case .before(let error): throw error
        case .after(let error):
            try store.apply(batch, cursors: cursors)
            throw error
        }
    }

    func close() { store.close() }
}

/// Holds a store's write lock.
private func locker(_ path: String) throws -> DatabaseQueue {
    var configuration = Configuration()
    configuration.allowsUnsafeTransactions = true
    let queue = try DatabaseQueue(path: path, configuration: configuration)
    try queue.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
    return queue
}

@Suite("Reconciler")
struct ReconcilerTests {
    private var quick: ReconcilerConfiguration {
        var configuration = ReconcilerConfiguration()
        configuration.batchEntries = 100
        configuration.gatherMs = 1
        configuration.pollMs = 5
        configuration.firstBackoffMs = 1
        configuration.longestBackoffMs = 8
        return configuration
    }

    private func reconciler(_ path: String, _ lanes: [MemoryLane]) -> Reconciler {
        Reconciler(
            configuration: quick, openSources: { lanes.map { MemorySource($0) } },
            openStore: { try SQLStore(path: path) })
    }

    @Test("Only what is committed is shipped, and stopping ships all of that")
    func committedOnly() throws {
        let scratch = try Scratch()
        let all = History(seed: 1).sources()
        let lanes = all.map {
            MemoryLane(name: $0.name, entries: $0.entries, committed: $0.entries.count / 3)
        }
        let reconciler = reconciler(scratch.file(), lanes)
        reconciler.start()
        try eventually("caught up") {
            reconciler.status.appliedEntries == lanes.reduce(0) { $0 + UInt64($1.committed) }
        }
        #expect(reconciler.status.lagEntries == 0)
        for lane in lanes { lane.commit(upTo: lane.entries.count * 2 / 3) }
        #expect(reconciler.stop())
        let status = reconciler.status
        #expect(status.state == .stopped)
        #expect(status.appliedEntries == lanes.reduce(0) { $0 + UInt64($1.committed) })
        #expect(status.lastError == nil)
        let report = try audit(scratch.file(), all)
        #expect(report.isClean, "\(report)")
        #expect(report.entries == Int64(status.appliedEntries))
    }

    @Test("Entries that are committed while it runs arrive, woken or not")
    func follows() throws {
        let scratch = try Scratch()
        let all = History(seed: 2).sources()
        let lanes = all.map { MemoryLane(name: $0.name, entries: $0.entries, committed: 0) }
        let reconciler = reconciler(scratch.file(), lanes)
        reconciler.start()
        for part in 1...20 {
            for lane in lanes { lane.commit(upTo: lane.entries.count * part / 20) }
            if part % 2 == 0 { reconciler.wake() }
            let committed = lanes.reduce(0) { $0 + UInt64($1.committed) }
            try eventually("part \(part)") { reconciler.status.appliedEntries == committed }
        }
        #expect(reconciler.stop())
        #expect(try audit(scratch.file(), all).isClean)
    }

    @Test("A store that fails, or commits and loses the answer, costs lag and nothing else")
    func failures() throws {
        let scratch = try Scratch()
        let lanes = History(seed: 3).sources()
        let plan = FailingStore.Plan([
            .well, .before(.locked("x")), .before(.full("x")), .well, .after(.io("lost")),
            .well, .after(.locked("lost")), .before(.corrupt("x")), .before(.readOnly("x")),
            .after(.engine(code: 1, "lost")),
        ])
        let path = scratch.file()
        let reconciler = Reconciler(
            configuration: quick, openSources: { lanes.map { MemorySource($0) } },
            openStore: { try FailingStore(path: path, plan: plan) })
        reconciler.start()
        try eventually("caught up") {
            reconciler.status.lagEntries == 0 && reconciler.status.appliedBatches > 0
        }
        #expect(reconciler.stop())
        #expect(plan.isDone)
        let status = reconciler.status
        #expect(status.failures >= 7)
        #expect(status.consecutiveFailures == 0)
        #expect(status.lastError != nil)
        #expect(try audit(path, lanes).isClean)
        #expect(try number(path, "SELECT count(*) FROM outbox") == events(lanes))
    }

    @Test("While the store is locked lag grows and is seen; then everything arrives")
    func locked() throws {
        let scratch = try Scratch()
        let lanes = History(seed: 4).sources()
        let count = lanes.reduce(0) { $0 + UInt64($1.entries.count) }
        try SQLStore(path: scratch.file()).close()
        let other = try locker(scratch.file())
        let reconciler = reconciler(scratch.file(), lanes)
        reconciler.start()
        try eventually("failing") { reconciler.status.consecutiveFailures >= 2 }
        let status = reconciler.status
        #expect(status.state == .failing)
        #expect(status.lastError?.contains("locked") == true)
        #expect(status.lagEntries == count)
        #expect(status.watermarks == WatermarkTable())
        try eventually("lag ages") { reconciler.status.lagMs > 0 }
        #expect(status.appliedEntries == 0)
        try other.writeWithoutTransaction { try $0.execute(sql: "COMMIT") }
        try other.close()
        try eventually("caught up") { reconciler.status.appliedEntries == count }
        #expect(reconciler.status.state == .running)
        #expect(reconciler.stop())
        #expect(try audit(scratch.file(), lanes).isClean)
    }

    @Test("Stopping gives up on a store that stays locked, and says that it did")
    func stopWhileLocked() throws {
        let scratch = try Scratch()
        let lanes = History(seed: 4).sources()
        try SQLStore(path: scratch.file()).close()
        let other = try locker(scratch.file())
        let reconciler = reconciler(scratch.file(), lanes)
        reconciler.start()
        #expect(!reconciler.stop(withinMs: 50))
        #expect(reconciler.status.state == .stopped)
        try other.close()
    }

    @Test("Two reconcilers on one file apply everything once")
    func two() throws {
        let scratch = try Scratch()
        let lanes = History(seed: 5).sources()
        let count = lanes.reduce(0) { $0 + Int64($1.entries.count) }
        let marks = lanes.marks
        let both = (0..<2).map { _ in reconciler(scratch.file(), lanes) }
        for reconciler in both { reconciler.start() }
        try eventually("caught up") {
            both.allSatisfy { $0.status.watermarks == marks }
        }
        for reconciler in both { #expect(reconciler.stop()) }
        let applied = both.reduce(0) { $0 + Int64($1.status.appliedEntries) }
        #expect(applied == count, "each entry is applied by one of them")
        let report = try audit(scratch.file(), lanes)
        #expect(report.isClean && report.entries == count, "\(report)")
        #expect(try number(scratch.file(), "SELECT count(*) FROM outbox") == events(lanes))
    }

    @Test("A store that was put back from a backup is fed again while the reconciler runs")
    func restored() throws {
        let scratch = try Scratch()
        let all = History(seed: 6).sources()
        let lanes = all.map {
            MemoryLane(name: $0.name, entries: $0.entries, committed: $0.entries.count / 4)
        }
        let early = try SQLStore(path: scratch.file())
        try ship(lanes, to: early, seed: 1)
        early.close()
        try tamper(scratch.file(), "PRAGMA wal_checkpoint(TRUNCATE)")
        let backup = scratch.file("backup")
        try FileManager.default.copyItem(atPath: scratch.file(), toPath: backup)

        for lane in lanes { lane.commit(upTo: lane.entries.count / 2) }
        let first = reconciler(scratch.file(), lanes)
        first.start()
        #expect(first.stop())
        for suffix in ["", "-wal", "-shm"] {
            try? FileManager.default.removeItem(atPath: scratch.file() + suffix)
        }
        try FileManager.default.copyItem(atPath: backup, toPath: scratch.file())
        for lane in lanes { lane.commit(upTo: lane.entries.count) }
        let second = reconciler(scratch.file(), lanes)
        second.start()
        #expect(second.stop())
        #expect(try audit(scratch.file(), all).isClean)
    }

    @Test("A store of another history is refused and stays as it is")
    func otherHistory() throws {
        let scratch = try Scratch()
        let mine = History(seed: 7).sources()
        let store = try SQLStore(path: scratch.file())
        try ship(mine, to: store, seed: 1)
        store.close()
        try tamper(scratch.file(), "DELETE FROM cursors")
        let reconciler = reconciler(scratch.file(), History(seed: 8).sources())
        reconciler.start()
        try eventually("refused") { reconciler.status.consecutiveFailures >= 3 }
        #expect(reconciler.status.lastError?.contains("two histories") == true)
        #expect(!reconciler.stop(withinMs: 0))
        #expect(try audit(scratch.file(), mine).isClean)
    }

    @Test("Lanes of earlier starts are shipped to their end before those that go on from them")
    func generations() throws {
        let scratch = try Scratch()
        var shape = History.Shape()
        shape.lanes = 1
        let entries = History(seed: 10, shape: shape).lanes[0]
        // Three starts of a process with 3, 1 and 2 cores.
        var lanes: [MemoryLane] = []
        for (start, cores) in [(0, 3), (1, 1), (2, 2)] {
            let third = entries.count / 3
            let part = entries[(start * third)..<(start == 2 ? entries.count : (start + 1) * third)]
            for core in 0..<cores {
                lanes.append(
                    MemoryLane(
                        name: "\(start)-\(core)",
                        entries: part.filter { Int($0.header.shard) % cores == core },
                        generation: UInt32(start)))
            }
        }
        lanes.swapAt(0, 5)
        lanes.swapAt(1, 3)
        let reconciler = reconciler(scratch.file(), lanes)
        reconciler.start()
        try eventually("caught up") {
            reconciler.status.appliedEntries == UInt64(entries.count)
        }
        #expect(reconciler.stop())
        #expect(reconciler.status.lastError == nil)
        let report = try audit(scratch.file(), lanes)
        #expect(report.isClean && report.entries == Int64(entries.count), "\(report)")
    }

    @Test("A gap in the journal stops the shipping before it, with its place")
    func gap() throws {
        let scratch = try Scratch()
        var entries = History(seed: 9).lanes[0]
        let cut = entries.remove(at: entries.count / 2)
        let lane = MemoryLane(name: "lane-0", entries: entries)
        let reconciler = reconciler(scratch.file(), [lane])
        reconciler.start()
        try eventually("refused") { reconciler.status.consecutiveFailures >= 3 }
        let error = try #require(reconciler.status.lastError)
        #expect(
            error.contains("shard \(cut.header.shard): expected sequence \(cut.header.sequence)"))
        #expect(!reconciler.stop(withinMs: 0))
    }
}
