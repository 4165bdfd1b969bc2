import EdgeReconciler
import EdgeTypes
import Foundation
import Synchronization
import Testing

@testable import EdgeStores

@Suite("MySQL schema")
struct MySQLSchemaTests {
    private func database() throws -> (MariaServer, String) {
        let server = try MariaServer.shared.get()
        return (server, try server.newDatabase())
    }

    private let known = MySQLSchema.store.migrations.count

    @Test("An empty database gets all tables and views; the second time nothing is done")
    func fresh() throws {
        let (server, database) = try database()
        try MySQLSchema.store.prepare(server.address(database))
        let before = try maria(
            server, database, "SELECT group_concat(applied_at) FROM schema_migrations")
        try MySQLSchema.store.prepare(server.address(database))
        let after = try maria(
            server, database, "SELECT group_concat(applied_at) FROM schema_migrations")
        #expect(before == after)
        for name in MySQLTables.all.map(\.name) + MySQLViews.names {
            #expect(try maria(server, database, "SELECT count(*) FROM `\(name)`") == "0")
        }
    }

    @Test("SQLite and MySQL have the same tables, views and columns")
    func sameAsSQLite() throws {
        let (server, database) = try database()
        try MySQLSchema.store.prepare(server.address(database))
        let scratch = try Scratch()
        try SQLStore(path: scratch.file()).close()
        for name in MySQLTables.all.map(\.name) + MySQLViews.names {
            let there = try text(
                scratch.file(),
                """
                SELECT group_concat(name) FROM
                    (SELECT name FROM pragma_table_xinfo('\(name)') ORDER BY name)
                """)
            // Where SQLite's next migration is not here yet.
            guard let there, !there.contains("position") else { continue }
            let here = try maria(
                server, database,
                """
                SELECT group_concat(column_name ORDER BY binary column_name)
                FROM information_schema.columns
                WHERE table_schema = database() AND table_name = '\(name)'
                """)
            #expect(here == there, "\(name)")
        }
    }

    @Test("Nodes that start at once wait for each other")
    func atOnce() throws {
        let (server, database) = try database()
        let problems = Mutex<[String]>([])
        let done = Mutex(0)
        for _ in 0..<8 {
            Thread.detachNewThread {
                do { try MySQLSchema.store.prepare(server.address(database)) } catch {
                    problems.withLock { $0.append("\(error)") }
                }
                done.withLock { $0 += 1 }
            }
        }
        try eventually("all are done") { done.withLock { $0 } == 8 }
        #expect(problems.withLock { $0 } == [])
        let applied = try maria(server, database, "SELECT count(*) FROM schema_migrations")
        #expect(applied == "\(known)")
    }

    @Test("A migration that died halfway is done again from its start")
    func halfway() throws {
        let (server, database) = try database()
        var broken = MySQLSchema.store
        broken.migrations[0].statements.insert("nonsense", at: 4)
        #expect(throws: StoreError.self) { try broken.prepare(server.address(database)) }
        #expect(try maria(server, database, "SELECT count(*) FROM rains") == "0")
        #expect(try maria(server, database, "SELECT count(*) FROM schema_migrations") == "0")
        try MySQLSchema.store.prepare(server.address(database))
        #expect(try maria(server, database, "SELECT count(*) FROM v1_claims") == "0")
    }

    @Test("A database of version 2 gets the column of version 3, also where it died after that")
    func upgrade() throws {
        let (server, database) = try database()
        let address = try server.address(database)
        var second = MySQLSchema.store
        second.migrations.removeLast(known - 2)
        try second.prepare(address)
        try maria(
            server, database,
            "INSERT INTO claims (grant_id, pool, user, packet, amount, granted_at) "
                + "VALUES (7, 'r', 1, 2, 3, 4)")
        let isThere =
            "SELECT count(*) FROM information_schema.columns WHERE table_schema = database() "
            + "AND table_name = 'claims' AND column_name = 'request_hash'"
        #expect(try maria(server, database, isThere) == "0")
        for _ in 0..<2 {
            try MySQLSchema.store.prepare(address)
            #expect(try maria(server, database, isThere) == "1")
            #expect(
                try maria(server, database, isThere.replacing("'claims'", with: "'orders'")) == "1")
            #expect(try maria(server, database, "SELECT count(*) FROM claims") == "1")
            try maria(server, database, "DELETE FROM schema_migrations WHERE number > 2")
        }
    }

    @Test("A schema of a later release is refused with both numbers")
    func newer() throws {
        let (server, database) = try database()
        let address = try server.address(database)
        try MySQLSchema.store.prepare(address)
        try maria(server, database, "INSERT INTO schema_migrations VALUES (99, 'later', 0)")
        // Whatever it has made of the tables.
        try maria(server, database, "ALTER TABLE cursors DROP COLUMN segment")
        #expect(
            throws: StoreError.newerSchema(found: 99, known: known, path: "\(address)")
        ) { try MySQLSchema.store.prepare(address) }
    }

    @Test("A later release's steps that only add keep nobody from writing; one that does not, does")
    func additive() throws {
        let (server, database) = try database()
        let address = try server.address(database)
        try MySQLSchema.store.prepare(address)
        try maria(server, database, "ALTER TABLE claims ADD COLUMN rating INT NULL")
        try maria(
            server, database,
            "INSERT INTO schema_migrations VALUES (\(known + 1), '+ratings', 0)")
        try MySQLSchema.store.prepare(address)
        try maria(
            server, database,
            "INSERT INTO schema_migrations VALUES (\(known + 2), 'other claims', 0)")
        #expect(
            throws: StoreError.newerSchema(
                found: known + 2, known: known, path: "\(address)")
        ) { try MySQLSchema.store.prepare(address) }
    }

    @Test("Other programs' tables stay; one of our names with other columns is refused")
    func foreign() throws {
        let (server, database) = try database()
        try maria(server, database, "CREATE TABLE theirs (x INT)")
        try maria(server, database, "CREATE TABLE orders (id INT)")
        for _ in 0..<2 {
            do {
                try MySQLSchema.store.prepare(server.address(database))
                Issue.record("made")
            } catch StoreError.foreign(let path) {
                #expect(path.contains("orders") && path.contains(database))
            }
        }
        let made = try maria(
            server, database,
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = database()")
        #expect(made == "2")
        try maria(server, database, "DROP TABLE orders")
        try MySQLSchema.store.prepare(server.address(database))
        try maria(server, database, "SELECT * FROM theirs")
        // A table that was taken away is not made again, empty.
        try maria(server, database, "DROP TABLE claims")
        #expect(throws: StoreError.self) {
            try MySQLSchema.store.prepare(server.address(database))
        }
    }

    @Test("A user who may not make tables is told so, and needs no such right once they are there")
    func rights() throws {
        let (server, database) = try database()
        try maria(server, database, "CREATE USER '\(database)'@'%' IDENTIFIED BY 'x'")
        try maria(
            server, database,
            "GRANT SELECT, INSERT, UPDATE, DELETE ON \(database).* TO '\(database)'@'%'")
        let address = try MySQLAddress(server.url(database, user: database, password: "x"))
        do {
            try MySQLSchema.store.prepare(address)
            Issue.record("made")
        } catch {
            guard case .denied(let text) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(text.contains("CREATE") && text.contains("GRANT"))
        }
        try MySQLSchema.store.prepare(server.address(database))
        try MySQLSchema.store.prepare(address)
    }

    @Test("Views tell what the tables hold: totals, events, and what moved when")
    func views() throws {
        let (server, database) = try database()
        try MySQLSchema.store.prepare(server.address(database))
        for sql in [
            "INSERT INTO pools VALUES (-5, 'rain', 'r', 1,0,0,0,1,1,0,0,0,1,0,'me',9,9,0,1,0)",
            "INSERT INTO pools VALUES (6, 'stock', 's', 1,0,0,0,1,1,0,0,0,1,0,'me',9,9,0,1,0)",
            """
            INSERT INTO rains VALUES ('r','equal',100,1000,10,10,1,NULL,NULL,'open','journal',1,
                NULL,'c',NULL,1,'me',NULL)
            """,
            """
            INSERT INTO stock VALUES
                ('s',50,7,1800000,1,NULL,NULL,'open','journal',1,NULL,1,'me',NULL)
            """,
            "INSERT INTO slices VALUES (-5,0,3,100,1,0,0,4,40,0,0,5,1,1,0)",
            "INSERT INTO slices VALUES (6,0,3,50,1,0,0,0,0,2,9,0,0,0,0)",
            """
            INSERT INTO claims (grant_id, pool, user, packet, amount, granted_at)
            VALUES (3 << 48 | 9, 'r', 18446744073709551615, 1, 10, 5)
            """,
            // Paid, expired and revived, cancelled, still held, refused, refunded in part.
            "INSERT INTO orders VALUES ('a','s',0,1,5,7,'paid',1,9,3,NULL,'pa',35,7,1,8)",
            "INSERT INTO orders VALUES ('b','s',0,1,5,7,'paid',1,9,12,10,'pb',35,0,0,8)",
            "INSERT INTO orders VALUES ('c','s',0,1,5,7,'cancelled',1,9,NULL,4,NULL,0,0,0,8)",
            "INSERT INTO orders VALUES ('d','s',0,1,2,7,'reserved',1,9,NULL,NULL,NULL,0,0,0,8)",
            "INSERT INTO payments VALUES (1,'a','pa',35,'captured',3)",
            "INSERT INTO payments VALUES (2,'b','pb',35,'late',12)",
            "INSERT INTO payments VALUES (3,'c','pc',35,'refund_due',13)",
            "INSERT INTO refunds VALUES (4,'a','q',7,1,14)",
            """
            INSERT INTO stock_movements VALUES (1,'s',NULL,'funded',50,1),
                (2,'s','b','reserved',5,2), (3,'s','a','paid',5,3), (4,'s','b','expired',5,10),
                (5,'s','b','paid_late',5,12), (6,'s','a','restocked',1,14)
            """,
            """
            INSERT INTO outbox VALUES
                (11, '0-11', 'order.paid', 'a', 1700000000123, '{"fen": 35, "s": "é\\\\""}')
            """,
        ] { try maria(server, database, sql) }
        let ask = { (sql: String) in try maria(server, database, sql) }
        #expect(
            try ask(
                """
                SELECT concat_ws(' ', granted, granted_amount, remaining, remaining_amount,
                    quarantined, retired) FROM v1_rain_totals
                """) == "4 40 90 960 5 1")
        #expect(
            try ask(
                """
                SELECT concat_ws(' ', pending, sold, available, paid_fen, refunded_fen)
                FROM v1_stock_totals
                """) == "2 9 39 70 7")
        #expect(
            try ask("SELECT concat_ws(' ', user, shard, sequence) FROM v1_claims")
                == "18446744073709551615 3 9")
        #expect(
            try ask("SELECT group_concat(available_change ORDER BY id) FROM v1_stock_movements")
                == "50,-5,0,5,-5,1")
        // Whatever the zone of whoever asks.
        let connection = try MySQLConnection.open(server.root(database))
        try connection.run("SET time_zone = '+08:00'")
        var event = ""
        try connection.query("SELECT event FROM v1_events") { event = $0.text(0) }
        let parsed = try JSONSerialization.jsonObject(with: Data(event.utf8)) as? [String: Any]
        #expect(parsed?["time"] as? String == "2023-11-14T22:13:20.123Z")
        #expect((parsed?["data"] as? [String: Any])?["fen"] as? Int == 35)
        #expect((parsed?["data"] as? [String: Any])?["s"] as? String == "é\"")
    }
}
