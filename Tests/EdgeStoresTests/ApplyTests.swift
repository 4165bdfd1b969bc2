import EdgeLedger
import EdgeReconciler
import EdgeStores
import EdgeTypes
import Foundation
import GRDB
import StoresTestSupport
import Testing

@Suite("Batches")
struct ApplyTests {
    private func batch(
        _ lane: MemoryLane, from marks: WatermarkTable, skip: Int = 0, count: Int
    ) throws -> EntryBatch {
        var batch = EntryBatch(capacity: count)
        batch.restart(at: marks)
        var source = MemorySource(lane, oldest: skip)
        _ = try source.read(into: &batch)
        return batch
    }

    @Test("A batch that was applied is refused the second time, and changes nothing")
    func twice() throws {
        let scratch = try Scratch()
        let lane = History(seed: 1).sources()[0]
        let store = try SQLStore(path: scratch.file())
        let batch = try batch(lane, from: WatermarkTable(), count: 500)
        try store.apply(batch, cursors: [])
        let rows = try number(scratch.file(), "SELECT count(*) FROM claims")
        #expect(rows > 0)
        let range = batch.ranges[0]
        #expect(
            throws: StoreError.refused(
                .startsElsewhere(shard: range.shard, batchFrom: range.from, store: range.to))
        ) { try store.apply(batch, cursors: []) }
        #expect(try number(scratch.file(), "SELECT count(*) FROM claims") == rows)
        #expect(try store.watermarks() == batch.marks)
    }

    @Test("A batch beyond the store's watermark is refused as a whole, naming both places")
    func beyond() throws {
        let scratch = try Scratch()
        let lane = History(seed: 1).sources()[0]
        let first = try batch(lane, from: WatermarkTable(), count: 200)
        let second = try batch(lane, from: first.marks, count: 200)
        let store = try SQLStore(path: scratch.file())
        do {
            try store.apply(second, cursors: [])
            Issue.record("applied")
        } catch {
            guard case .refused(.startsElsewhere(_, let from, let mark)) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(mark == .origin)
            #expect(from.sequence > 0)
            #expect(error.description.contains("\(from.epoch)/\(from.sequence)"))
            #expect(error.description.contains("the store is at 0/0"))
        }
        #expect(try number(scratch.file(), "SELECT count(*) FROM claims") == 0)
        #expect(try number(scratch.file(), "SELECT count(*) FROM pools") == 0)
        try store.apply(first, cursors: [])
        try store.apply(second, cursors: [])
    }

    @Test("An error in the middle of a batch leaves rows and watermarks as they were")
    func rollback() throws {
        let scratch = try Scratch()
        let lanes = History(seed: 2).sources()
        let store = try SQLStore(path: scratch.file())
        try ship(lanes, to: store, seed: 1)
        let marks = try store.watermarks()
        let rows = try number(scratch.file(), "SELECT count(*) FROM orders")
        let shard = try #require(marks.shards.first)
        let mark = marks[shard]
        let header = EntryHeader(
            shard: shard, epoch: mark.epoch, sequence: mark.sequence + 1, timeMs: mark.timeMs)
        let next = EntryHeader(
            shard: shard, epoch: mark.epoch, sequence: mark.sequence + 2, timeMs: mark.timeMs)
        let pool = PoolKey(rawValue: 77)
        var batch = EntryBatch()
        batch.restart(at: marks)
        let claim = try #require(
            lanes.joinedEntries.first { item in
                if case .claim = item.entry { return item.header.shard == shard }
                return false
            })
        _ = try batch.append(header, claim.entry)
        _ = try batch.append(next, .poolFunded(pool, units: 1, requestHash: 0, actor: "x"))
        #expect(throws: StoreError.history(HistoryFault(next, .unknownPool(pool)))) {
            try store.apply(batch, cursors: [])
        }
        #expect(try store.watermarks() == marks)
        #expect(try number(scratch.file(), "SELECT count(*) FROM orders") == rows)
        store.close()
        #expect(try audit(scratch.file(), lanes).isClean)
    }

    @Test("URLs: sqlite: with a path, and clear words for everything else")
    func urls() throws {
        #expect(try StoreURL("sqlite:/var/x.db") == .sqlite(path: "/var/x.db"))
        #expect(try StoreURL("sqlite:x.db") == .sqlite(path: "x.db"))
        #expect(try StoreURL("SQLite:///var/x.db") == .sqlite(path: "/var/x.db"))
        let bad = [
            "", "x.db", ":x", "sqlite:", "sqlite://host/x", "sqlite::memory:", "sqlite:x?mode=ro",
            "mysql://u:secret@h", "mysql://h/d", "postgres://u:secret@h/d", "redis://h",
        ]
        for text in bad {
            do {
                _ = try StoreURL(text)
                Issue.record("\(text) was taken")
            } catch {
                guard case .badURL(let words) = error else {
                    Issue.record("\(error)")
                    continue
                }
                #expect(!words.contains("secret"))
            }
        }
    }
}

extension [MemoryLane] {
    var joinedEntries: [LaneEntry] { flatMap(\.entries) }
}
