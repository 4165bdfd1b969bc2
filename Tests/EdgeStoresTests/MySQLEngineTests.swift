import EdgeReconciler
import EdgeTypes
import Foundation
import Synchronization
import Testing

@testable import EdgeStores

@Suite("MySQL engine")
struct MySQLEngineTests {
    private static let notes = SQLTable("notes", key: ["id"], ["user", "text", "amount"], .replace)

    private func engine(
        _ parameters: String = "", tables: Bool = true
    ) throws -> (MySQLEngine, MariaServer, String) {
        let server = try MariaServer.shared.get()
        let database = try server.newDatabase()
        let engine = try MySQLEngine(server.address(database, parameters))
        if tables {
            try engine.run(
                """
                CREATE TABLE notes (id BIGINT PRIMARY KEY, user BIGINT UNSIGNED,
                    text VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, amount BIGINT)
                """, [])
        }
        return (engine, server, database)
    }

    private func count(_ engine: MySQLEngine, _ rest: String = "") throws -> Int64 {
        var found: Int64 = -1
        try engine.read("SELECT count(*) FROM notes \(rest)", []) { found = $0.integer(0) }
        return found
    }

    private func put(_ engine: MySQLEngine, _ ids: [Int64], amount: Int64 = 1) throws {
        try engine.write(Self.notes, rows: ids.count) { row, sink in
            sink.put(ids[row])
            sink.put(user: 7)
            sink.put("text")
            sink.put(amount)
        }
    }

    private static let hostile: [String] = [
        "", "'", "''", "\\", "\\'", "\"; DROP TABLE notes; --", "a\0b", "\n\r\t\u{1a}", "😀\u{301}é",
        "?", "`?`", "%_%", "\u{200b}", "-- ", "/*", String(repeating: "\\'", count: 100),
    ]

    @Test("Hostile text comes back as it was, however it is put")
    func hostileText() throws {
        let (engine, _, _) = try engine()
        try engine.transaction(.write) {
            try engine.write(Self.notes, rows: Self.hostile.count) { row, sink in
                sink.put(Int64(row))
                sink.putNull()
                sink.put(Self.hostile[row])
                sink.put(Int64.min + Int64(row))
            }
        }
        for (row, text) in Self.hostile.enumerated() {
            var found: [String] = []
            try engine.read(
                "SELECT text, ?, user, amount FROM notes WHERE text = ? AND id = ? AND '?' <> `text`",
                [.text(text), .text(text), .integer(Int64(row))]
            ) { line in
                #expect(line.isNull(2) && line.user(2) == nil)
                #expect(line.integer(3) == Int64.min + Int64(row))
                found += [line.text(0), line.text(1)]
            }
            #expect(found == (text == "?" ? [] : [text, text]))
        }
    }

    @Test("Texts of 64 bytes and lent bytes are escaped too; what is no UTF-8 is replaced")
    func inlineText() throws {
        let (engine, _, _) = try engine()
        let lent: [CChar] = Array("it's\\".utf8).map { CChar(bitPattern: $0) }
        let broken = try #require(Text64([0x61, 0xff, 0x27]))
        try lent.withUnsafeBufferPointer { lent in
            try engine.write(Self.notes, rows: 2) { row, sink in
                sink.put(Int64(row))
                sink.put(user: .max)
                if row == 0 { sink.put(stable: lent) } else { sink.put(broken) }
                sink.put(orNull: Int64(0))
            }
        }
        var found: [String] = []
        try engine.read("SELECT text, user, amount FROM notes ORDER BY id", []) { row in
            found.append(row.text(0))
            #expect(row.user(1) == .max)
            #expect(row.isNull(2))
        }
        #expect(found == ["it's\\", "a\u{fffd}'"])
    }

    @Test(
        "Users of 64 bits are exact",
        arguments: [0, 1, 9, 10, 99, (1 << 63) - 1, 1 << 63, .max - 1, .max] as [UInt64])
    func users(_ user: UInt64) throws {
        let (engine, _, _) = try engine()
        try engine.write(Self.notes, rows: 1) { _, sink in
            sink.put(1)
            sink.put(user: user)
            sink.putNull()
            sink.putNull()
        }
        var found: [UserID?] = []
        try engine.read("SELECT user FROM notes WHERE user = ?", [.user(user)]) {
            found.append($0.user(0))
        }
        #expect(found == [user])
    }

    @Test(
        "Many rows go in many statements; the same again replaces them",
        arguments: [1, 999, 1_000, 1_001, 12_345])
    func manyRows(_ rows: Int) throws {
        let (engine, _, _) = try engine()
        for amount in [5, 6] as [Int64] {
            try engine.transaction(.write) {
                try put(engine, Array(0..<Int64(rows)), amount: amount)
            }
            #expect(try count(engine, "WHERE amount = \(amount)") == rows)
        }
        let refusing = SQLTable("notes", key: ["id"], [], .refuse)
        #expect(throws: StoreError.self) {
            try engine.transaction(.write) {
                try engine.write(refusing, rows: 1) { _, sink in sink.put(0) }
            }
        }
    }

    @Test("What a transaction throws away was never there, and the engine goes on")
    func rollback() throws {
        struct Stop: Error {}
        let (engine, _, _) = try engine()
        #expect(throws: Stop.self) {
            try engine.transaction(.write) {
                try put(engine, [1])
                throw Stop()
            }
        }
        #expect(try count(engine) == 0)
        // A statement that failed ends it, also where somebody looks away.
        #expect(throws: StoreError.self) {
            try engine.transaction(.write) {
                try put(engine, [1])
                _ = try? engine.run("nonsense", [])
                try put(engine, [2])
            }
        }
        #expect(try count(engine) == 0)
        // What the reader of rows throws is not the server's.
        try engine.transaction(.write) {
            try put(engine, [1, 2, 3])
            #expect(throws: Stop.self) {
                try engine.read("SELECT id FROM notes", []) { _ in throw Stop() }
            }
        }
        #expect(try count(engine) == 3)
    }

    @Test("A snapshot sees one moment and writes nothing")
    func snapshot() throws {
        let (engine, server, database) = try engine()
        let other = try MySQLEngine(server.address(database))
        try engine.transaction(.snapshot) {
            try put(other, [1])
            #expect(try count(engine) == 0)
        }
        #expect(try count(engine) == 1)
        #expect(throws: StoreError.self) {
            try engine.transaction(.snapshot) { try put(engine, [2]) }
        }
    }

    @Test("A connection that is killed in a transaction takes it along; the next one is made anew")
    func killed() throws {
        let (engine, server, database) = try engine()
        var problem: StoreError?
        do {
            try engine.transaction(.write) {
                try put(engine, [1])
                try maria(server, database, "KILL CONNECTION \(try #require(engine.number))")
                try put(engine, [2])
            }
        } catch let error as StoreError {
            problem = error
        }
        guard case .unreachable = problem else {
            Issue.record("\(String(describing: problem))")
            return
        }
        #expect(try count(engine) == 0)
        // Between transactions nobody notices.
        try maria(server, database, "KILL CONNECTION \(try #require(engine.number))")
        try engine.transaction(.write) { try put(engine, [3]) }
        #expect(try count(engine) == 1)
    }

    @Test("A connection that breaks at a commit says that nobody knows", arguments: [true, false])
    func atCommit(_ reaches: Bool) throws {
        let (setup, server, database) = try engine()
        let proxy = try CuttingProxy(to: server.port, on: "COMMIT", passesIt: reaches)
        let engine = try MySQLEngine(
            MySQLAddress(server.url(database, "timeout=5", port: proxy.port)))
        proxy.arm()
        var problem: StoreError?
        do {
            try engine.transaction(.write) { try put(engine, [1]) }
        } catch let error as StoreError {
            problem = error
        }
        guard case .unknownOutcome = problem else {
            Issue.record("\(String(describing: problem))")
            return
        }
        // Waits for whatever the lost connection still holds.
        _ = try count(setup, "FOR UPDATE")
        #expect(try count(setup) == (reaches ? 1 : 0))
        try engine.transaction(.write) { try put(engine, [2]) }
        #expect(try count(setup, "WHERE id = 2") == 1)
    }

    @Test("Of two that wait for each other one is told to try again, and both get through")
    func deadlock() throws {
        let (setup, server, database) = try engine()
        try put(setup, [1, 2])
        let turns = Mutex(0)
        let outcomes = Mutex<[String]>([])
        let threads = [(Int64(1), Int64(2)), (2, 1)].map { first, second in
            Thread {
                do {
                    let engine = try MySQLEngine(server.address(database))
                    for attempt in 0... {
                        do {
                            try engine.transaction(.write) {
                                try put(engine, [first], amount: 10)
                                if attempt == 0 {
                                    turns.withLock { $0 += 1 }
                                    while turns.withLock({ $0 }) < 2 { usleep(100) }
                                }
                                try put(engine, [second], amount: 10)
                            }
                            return outcomes.withLock { $0.append("done") }
                        } catch StoreError.locked {
                            outcomes.withLock { $0.append("locked") }
                        }
                    }
                } catch {
                    outcomes.withLock { $0.append("\(error)") }
                }
            }
        }
        for thread in threads { thread.start() }
        try eventually("both are done") {
            outcomes.withLock { $0 }.filter { $0 == "done" }.count == 2
        }
        #expect(outcomes.withLock { $0 }.sorted() == ["done", "done", "locked"])
    }

    @Test("Two that miss the same row and make it do not overwrite each other")
    func missedByBoth() throws {
        let (setup, server, database) = try engine()
        let turns = Mutex(0)
        let done = Mutex(0)
        for _ in 0..<2 {
            Thread.detachNewThread {
                defer { done.withLock { $0 += 1 } }
                guard let engine = try? MySQLEngine(server.address(database)) else { return }
                for attempt in 0..<100 {
                    let isDone =
                        (try? engine.transaction(.write) {
                            var held: Int64 = 0
                            try engine.read(
                                "SELECT amount FROM notes WHERE id = 5" + engine.forUpdate, []
                            ) { held = $0.integer(0) }
                            if attempt == 0 {
                                turns.withLock { $0 += 1 }
                                while turns.withLock({ $0 }) < 2 { usleep(100) }
                            }
                            try put(engine, [5], amount: held + 1)
                            return true
                        }) ?? false
                    if isDone { return }
                }
            }
        }
        try eventually("both are done") { done.withLock { $0 } == 2 }
        #expect(try count(setup, "WHERE amount = 2") == 1)
    }

    @Test("A row that another one holds is waited for, not for ever")
    func lockWait() throws {
        let (engine, server, database) = try engine()
        try put(engine, [1])
        var options = MySQLOptions()
        options.lockWaitSeconds = 1
        let other = try MySQLEngine(server.address(database), options)
        try engine.transaction(.write) {
            try put(engine, [1])
            var problem: StoreError?
            do {
                try other.transaction(.write) { try put(other, [1]) }
            } catch let error as StoreError { problem = error }
            guard case .locked = problem else {
                Issue.record("\(String(describing: problem))")
                return
            }
        }
    }

    @Test("Whoever may not come in is told what is wrong, without the password")
    func denied() throws {
        let server = try MariaServer.shared.get()
        let database = try server.newDatabase()
        for url in [
            server.url(database, password: "wrong-Word"),
            server.url(database, user: "nobody", password: "wrong-Word"),
            server.url("no_such_database"),
        ] {
            do {
                _ = try MySQLEngine(MySQLAddress(url))
                Issue.record("came in")
            } catch {
                guard case StoreError.denied(let text) = error else {
                    Issue.record("\(error)")
                    continue
                }
                #expect(!text.contains("wrong-Word") && !text.contains(MariaServer.password))
            }
        }
        let port = try MariaServer.freePort()
        do {
            _ = try MySQLEngine(MySQLAddress(server.url(database, port: port)))
            Issue.record("came in")
        } catch {
            guard case StoreError.unreachable = error else {
                Issue.record("\(error)")
                return
            }
        }
        // The next host is tried.
        let both = server.url(database, port: port).replacing(
            "@127.0.0.1:\(port)", with: "@127.0.0.1:\(port),127.0.0.1:\(server.port)")
        _ = try MySQLEngine(MySQLAddress(both))
    }

    @Test("TLS: required encrypts, verify wants the right authority and name")
    func tls() throws {
        let server = try MariaServer.shared.get()
        let database = try server.newDatabase()
        let authority = server.authorityFile
        for parameters in ["tls=required", "tls=verify&ca=\(authority)", "ca=\(authority)"] {
            let engine = try MySQLEngine(server.address(database, parameters))
            var cipher = ""
            try engine.read("SHOW STATUS LIKE 'Ssl_cipher'", []) { cipher = $0.text(1) }
            #expect(!cipher.isEmpty)
        }
        let wrong = server.directory + "/tls/other.pem"
        for parameters in ["tls=verify&ca=\(wrong)", "tls=verify"] {
            do {
                _ = try MySQLEngine(server.address(database, parameters))
                Issue.record("trusted: \(parameters)")
            } catch {
                guard case StoreError.denied(let text) = error else {
                    Issue.record("\(error)")
                    continue
                }
                #expect(text.contains("TLS"))
            }
        }
        #expect(throws: StoreError.self) {
            try MySQLEngine(server.address(database, "ca=/no/such/file"))
        }
    }

    @Test("A server that only reads is no place to write to")
    func readOnly() throws {
        let server = try MariaServer()
        let database = try server.newDatabase()
        let engine = try MySQLEngine(server.address(database))
        try engine.run("CREATE TABLE x (a INT PRIMARY KEY)", [])
        try maria(server, database, "CREATE USER plain@'%' IDENTIFIED BY 'x'")
        try maria(server, database, "GRANT ALL ON \(database).* TO plain@'%'")
        let plain = try MySQLEngine(
            MySQLAddress(server.url(database, user: "plain", password: "x")))
        try maria(server, database, "SET GLOBAL read_only = 1")
        for problem in [
            { _ = try MySQLEngine(server.address(database)) },
            { try plain.run("INSERT INTO x VALUES (1)", []) },
        ] {
            do {
                try problem()
                Issue.record("written")
            } catch StoreError.readOnly {
            } catch {
                Issue.record("\(error)")
            }
        }
        var options = MySQLOptions()
        options.needsWriting = false
        _ = try MySQLEngine(server.address(database), options)
    }
}
