import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeTypes
import Foundation
import StoresTestSupport
import Synchronization
import Testing

@testable import EdgeStores

/// Batches of several nodes into one database, at the same time.
@Suite("MySQL store")
struct MySQLStoreTests {
    @Test("Nodes that write at once lose nothing, and the audit is clean", arguments: [2, 4])
    func atOnce(_ nodes: Int) throws {
        let server = try MariaServer.shared.get()
        let address = try server.address(server.newDatabase())
        var shape = History.Shape()
        shape.shards = 16
        shape.lanes = nodes
        shape.slices = 16
        shape.steps = 20_000
        let lanes = History(seed: UInt64(nodes), shape: shape).sources()
        let tally = Mutex((done: 0, batches: 0, locked: 0, problems: [String]()))
        let start = ContinuousClock.now
        for lane in lanes {
            Thread.detachNewThread {
                defer { tally.withLock { $0.done += 1 } }
                do {
                    let store = try SQLStore(address)
                    var source = MemorySource(lane)
                    var marks = WatermarkTable()
                    while source.backlog() > 0 {
                        var batch = EntryBatch(capacity: 100)
                        batch.restart(at: marks)
                        _ = try source.read(into: &batch)
                        while true {
                            do {
                                try store.apply(batch, cursors: [(lane.name, source.cursor)])
                                break
                            } catch StoreError.locked {
                                tally.withLock { $0.locked += 1 }
                            }
                        }
                        tally.withLock { $0.batches += 1 }
                        marks = batch.marks
                    }
                } catch {
                    tally.withLock { $0.problems.append("\(error)") }
                }
            }
        }
        try eventually("all are done") { tally.withLock { $0.done } == nodes }
        let result = tally.withLock { $0 }
        print(
            "\(nodes) nodes: \(result.batches) batches, \(result.locked) told to try again, "
                + "\(start.duration(to: .now))")
        #expect(result.problems == [])
        let report = try StoreAudit.run(
            store: .mysql(address), sources: lanes.map { MemorySource($0) },
            options: AuditOptions())
        #expect(report.isClean, "\(report)")
    }

    @Test("Nodes that fill slices of one pool do not wait for each other")
    func sidesOfAPool() throws {
        let server = try MariaServer.shared.get()
        let database = try server.newDatabase()
        let address = try server.address(database)
        try MySQLSchema.store.prepare(address)
        let pool = PoolKey.of(.rain, "r")
        let key = Int64(bitPattern: pool.rawValue)
        for sql in [
            "INSERT INTO pools VALUES (\(key),'rain','r',1,0,0,0,9,9,0,0,0,1,0,'me',9,9,0,1,0)",
            """
            INSERT INTO slices SELECT \(key), seq, seq, 1000, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
            FROM seq_0_to_63
            """,
            "INSERT INTO watermarks SELECT seq, 1, 10, 1 FROM seq_0_to_63",
        ] { try maria(server, database, sql) }
        var options = MySQLOptions()
        options.lockWaitSeconds = 1
        let engines = try (0..<2).map { _ in try MySQLEngine(address, options) }
        let marks = try SQLStore(address).watermarks()
        // Even slices are one node's, odd ones the other's: it takes a claim of each.
        let batches = try (0..<2).map { side in
            var batch = EntryBatch(capacity: 100)
            batch.restart(at: marks)
            for slice in stride(from: side, to: 64, by: 2) {
                let claim = Claim(
                    pool: pool, slice: UInt32(slice), user: UInt64(slice), packet: Int64(slice),
                    amountFen: 5, requestHash: 0)
                _ = try batch.append(
                    EntryHeader(shard: ShardID(slice), epoch: 1, sequence: 11, timeMs: 2),
                    .claim(claim))
            }
            return batch
        }
        try engines[0].transaction(.write) {
            _ = try LedgerWriter(engines[0]).apply(batches[0])
            try engines[1].transaction(.write) {
                _ = try LedgerWriter(engines[1]).apply(batches[1])
            }
        }
        let filled = try maria(
            server, database, "SELECT count(*) FROM slices WHERE granted = 1 AND granted_amount = 5"
        )
        #expect(filled == "64")
    }

    @Test("The same batch from two processes is applied once, also where a shard's is the first")
    func sameBatch() throws {
        let server = try MariaServer.shared.get()
        let address = try server.address(server.newDatabase())
        let lane = History(seed: 6).sources()[0]
        try MySQLSchema.store.prepare(address)
        var marks = WatermarkTable()
        var offset: UInt64 = 0
        for capacity in [1, 1, 50] {
            var batch = EntryBatch(capacity: capacity)
            batch.restart(at: marks)
            var source = MemorySource(lane)
            try source.seek(SourceCursor(segment: 0, offset: offset))
            _ = try source.read(into: &batch)
            offset = source.cursor.offset
            let fixed = batch
            let outcomes = Mutex<[String]>([])
            for _ in 0..<2 {
                Thread.detachNewThread {
                    guard let engine = try? MySQLEngine(address) else { return }
                    while true {
                        do {
                            try engine.transaction(.write) {
                                _ = try LedgerWriter(engine).apply(fixed)
                            }
                            return outcomes.withLock { $0.append("applied") }
                        } catch StoreError.locked {
                            continue
                        } catch StoreError.refused {
                            return outcomes.withLock { $0.append("refused") }
                        } catch {
                            return outcomes.withLock { $0.append("\(error)") }
                        }
                    }
                }
            }
            try eventually("both have an answer") { outcomes.withLock { $0 }.count == 2 }
            #expect(outcomes.withLock { $0 }.sorted() == ["applied", "refused"])
            marks = batch.marks
        }
    }
}
