import EdgeReconciler
import EdgeTypes
import Foundation
import Synchronization
import Testing

@testable import EdgeStores

/// What holds while writers meet, servers die and packets have limits.
@Suite("MySQL faults")
struct MySQLFaultTests {
    private static let sums = SQLTable("sums", key: ["id"], ["value"], .replace)
    private static let rows = SQLTable("rows_", key: ["id"], ["writer"], .refuse)
    private static let marks = SQLTable("marks", key: ["writer"], ["last"], .replace)

    private func makeTables(_ engine: MySQLEngine) throws {
        try engine.run("CREATE TABLE sums (id BIGINT PRIMARY KEY, value BIGINT)", [])
        try engine.run("CREATE TABLE rows_ (id BIGINT PRIMARY KEY, writer BIGINT)", [])
        try engine.run("CREATE TABLE marks (writer BIGINT PRIMARY KEY, last BIGINT)", [])
    }

    private func number(_ engine: MySQLEngine, _ sql: String) throws -> Int64 {
        var found: Int64 = -1
        try engine.read(sql, []) { found = $0.integer(0) }
        return found
    }

    /// Adds one to each of some rows that writers share, whether they are there or not.
    private func add(_ engine: MySQLEngine, to ids: [Int64]) throws {
        var held: [Int64: Int64] = [:]
        for id in ids {
            try engine.read(
                "SELECT value FROM sums WHERE id = ?" + engine.forUpdate, [.integer(id)]
            ) { held[id] = $0.integer(0) }
        }
        try engine.write(Self.sums, rows: ids.count) { row, sink in
            sink.put(ids[row])
            sink.put((held[ids[row]] ?? 0) + 1)
        }
    }

    @Test("Writers that share rows lose nothing of each other's, from the first row on")
    func sharedRows() throws {
        let server = try MariaServer.shared.get()
        let database = try server.newDatabase()
        let setup = try MySQLEngine(server.address(database))
        try makeTables(setup)
        let turns = 100
        let tally = Mutex((done: 0, locked: 0, problems: [String]()))
        for writer in 0..<4 {
            Thread.detachNewThread {
                defer { tally.withLock { $0.done += 1 } }
                do {
                    let engine = try MySQLEngine(server.address(database))
                    for turn in 0..<turns {
                        let ids = [0, 1 + (writer + turn) % 5, 10 + turn % 7].map(Int64.init)
                        while true {
                            do {
                                try engine.transaction(.write) {
                                    try add(engine, to: ids)
                                    try engine.write(Self.rows, rows: 10) { row, sink in
                                        sink.put(Int64((writer << 32) + turn * 10 + row))
                                        sink.put(Int64(writer))
                                    }
                                }
                                break
                            } catch StoreError.locked {
                                tally.withLock { $0.locked += 1 }
                            }
                        }
                    }
                } catch {
                    tally.withLock { $0.problems.append("\(error)") }
                }
            }
        }
        try eventually("all are done") { tally.withLock { $0.done } == 4 }
        #expect(tally.withLock { $0.problems } == [])
        print("shared rows: \(tally.withLock { $0.locked }) of \(4 * turns) told to try again")
        #expect(try number(setup, "SELECT value FROM sums WHERE id = 0") == 4 * turns)
        #expect(try number(setup, "SELECT sum(value) FROM sums") == 12 * turns)
        #expect(try number(setup, "SELECT count(*) FROM rows_") == 40 * turns)
    }

    @Test("A server that is killed takes back what was not committed, and no more")
    func killed() throws {
        let server = try MariaServer()
        let database = try server.newDatabase()
        let address = try server.address(database)
        try makeTables(MySQLEngine(address))
        struct Tally {
            var acknowledged: [Int64: Int64] = [:]
            var unknown = 0
            var unreachable = 0
            var done = 0
            var problems: [String] = []
        }
        let tally = Mutex(Tally())
        let mayEnd = Mutex(false)
        for writer in 0..<2 as Range<Int64> {
            Thread.detachNewThread {
                defer { tally.withLock { $0.done += 1 } }
                guard let engine = try? MySQLEngine(address) else { return }
                while !mayEnd.withLock({ $0 }) {
                    do {
                        // As a batch does: from where the store is.
                        let last = try engine.transaction(.write) {
                            var last: Int64 = 0
                            try engine.read(
                                "SELECT last FROM marks WHERE writer = ?" + engine.forUpdate,
                                [.integer(writer)]
                            ) { last = $0.integer(0) }
                            try engine.write(Self.rows, rows: 50) { row, sink in
                                sink.put(writer << 32 + last + Int64(row))
                                sink.put(writer)
                            }
                            try engine.write(Self.marks, rows: 1) { _, sink in
                                sink.put(writer)
                                sink.put(last + 50)
                            }
                            return last + 50
                        }
                        tally.withLock { $0.acknowledged[writer] = last }
                    } catch StoreError.unknownOutcome {
                        tally.withLock { $0.unknown += 1 }
                    } catch StoreError.unreachable {
                        tally.withLock { $0.unreachable += 1 }
                        usleep(5_000)
                    } catch StoreError.locked {
                        continue
                    } catch {
                        tally.withLock { $0.problems.append("\(error)") }
                        return
                    }
                }
            }
        }
        for _ in 0..<4 {
            let before = tally.withLock { $0.acknowledged.values.reduce(0, +) }
            try eventually("batches go on") {
                tally.withLock { $0.acknowledged.values.reduce(0, +) } > before + 2_000
            }
            server.kill()
            try server.start()
        }
        mayEnd.withLock { $0 = true }
        try eventually("all are done") { tally.withLock { $0.done } == 2 }
        let result = tally.withLock { $0 }
        #expect(result.problems == [])
        print("killed: \(result.unknown) unknown, \(result.unreachable) unreachable")
        let engine = try MySQLEngine(address)
        for writer in 0..<2 as Range<Int64> {
            let last = try number(engine, "SELECT last FROM marks WHERE writer = \(writer)")
            let count = try number(engine, "SELECT count(*) FROM rows_ WHERE writer = \(writer)")
            #expect(last == count)
            #expect(last >= result.acknowledged[writer] ?? 0)
        }
    }

    @Test("What no packet holds is refused before it is sent, and the next statement goes")
    func packets() throws {
        let server = try MariaServer.shared.get()
        let database = try server.newDatabase()
        let engine = try MySQLEngine(server.address(database))
        try engine.run("CREATE TABLE long_ (id BIGINT PRIMARY KEY, text LONGTEXT)", [])
        let table = SQLTable("long_", key: ["id"], ["text"], .replace)
        let large = String(repeating: "x", count: 5 << 20)
        do {
            try engine.write(table, rows: 1) { _, sink in
                sink.put(1)
                sink.put(large)
            }
            Issue.record("sent")
        } catch StoreError.engine(let code, let text) {
            #expect(code == 1153 && text.contains("max_allowed_packet"))
        }
        // Rows of 100 KB go in many statements.
        let medium = String(repeating: "y", count: 100_000)
        try engine.transaction(.write) {
            try engine.write(table, rows: 100) { row, sink in
                sink.put(Int64(row))
                sink.put(medium)
            }
        }
        #expect(try number(engine, "SELECT sum(length(text)) FROM long_") == 10_000_000)
    }

    @Test("Many rows are read as they come, and a reader may stop")
    func streams() throws {
        struct Stop: Error {}
        let server = try MariaServer.shared.get()
        let database = try server.newDatabase()
        let engine = try MySQLEngine(server.address(database))
        try makeTables(engine)
        try engine.transaction(.write) {
            try engine.write(Self.rows, rows: 50_000) { row, sink in
                sink.put(Int64(row))
                sink.put(1)
            }
        }
        var seen: Int64 = 0
        try engine.read("SELECT id FROM rows_ ORDER BY id", []) { row in
            #expect(row.integer(0) == seen)
            seen += 1
        }
        #expect(seen == 50_000)
        #expect(throws: Stop.self) {
            try engine.read("SELECT id FROM rows_", []) { row in
                if row.integer(0) == 100 { throw Stop() }
            }
        }
        #expect(try number(engine, "SELECT count(*) FROM rows_") == 50_000)
    }

    @Test("A server that may forget is told of")
    func weaknesses() throws {
        let server = try MariaServer()
        let database = try server.newDatabase()
        let engine = try MySQLEngine(server.address(database))
        #expect(try engine.weaknesses() == [])
        try engine.run("SET GLOBAL innodb_flush_log_at_trx_commit = 2", [])
        #expect(try engine.weaknesses().count == 1)
    }
}
