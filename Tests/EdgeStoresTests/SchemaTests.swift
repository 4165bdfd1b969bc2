import EdgeLedger
import EdgeReconciler
import EdgeStores
import Foundation
import GRDB
import StoresTestSupport
import Testing

@Suite("Schema")
struct SchemaTests {
    @Test("A store of version 1 is brought up at start, with its rows")
    func upgrade() throws {
        let scratch = try Scratch()
        let lanes = History(seed: 1).sources()
        let store = try SQLStore(path: scratch.file())
        try ship(lanes, to: store, seed: 1)
        store.close()
        try downgrade(scratch.file())
        #expect(try number(scratch.file(), "PRAGMA user_version") == 1)
        let views = "SELECT count(*) FROM sqlite_master WHERE type = 'view'"
        #expect(try number(scratch.file(), views) == 0)

        try SQLStore(path: scratch.file()).close()
        let known = Int64(SQLiteSchema.migrations.count)
        #expect(try number(scratch.file(), "PRAGMA user_version") == known)
        #expect(try number(scratch.file(), "SELECT count(*) FROM schema_migrations") == known)
        #expect(try number(scratch.file(), "SELECT count(*) FROM v1_claims") > 0)
        #expect(try audit(scratch.file(), lanes).isClean)
    }

    /// Takes back what later versions have added to the first.
    private func downgrade(_ path: String) throws {
        let views = [
            "rains", "rain_totals", "claims", "orders", "stock_totals", "users", "payments",
        ]
        for view in views + ["refunds", "stock_movements", "events"] {
            try tamper(path, "DROP VIEW v1_\(view)")
        }
        try tamper(path, "ALTER TABLE claims DROP COLUMN request_hash")
        try tamper(path, "ALTER TABLE orders DROP COLUMN request_hash")
        try tamper(path, "DROP TABLE archived_slices")
        try tamper(path, "DROP TABLE archived_claims")
        try tamper(path, "DELETE FROM schema_migrations WHERE number > 1")
        try tamper(path, "PRAGMA user_version = 1")
    }

    @Test("A migration that fails leaves the version before it, complete")
    func failure() throws {
        let scratch = try Scratch()
        let bad = SchemaMigration(
            number: SQLiteSchema.migrations.count + 1, name: "bad",
            sql: "CREATE TABLE extra (x INTEGER); CREATE TABLE nonsense (")
        #expect(throws: StoreError.self) {
            _ = try SQLStore(
                path: scratch.file(), migrations: SQLiteSchema.migrations + [bad])
        }
        let known = Int64(SQLiteSchema.migrations.count)
        #expect(try number(scratch.file(), "PRAGMA user_version") == known)
        let extra = "SELECT count(*) FROM sqlite_master WHERE name = 'extra'"
        #expect(try number(scratch.file(), extra) == 0)
        try SQLStore(path: scratch.file()).close()
    }

    @Test("A schema of a later release is refused with both numbers")
    func newer() throws {
        let scratch = try Scratch()
        try SQLStore(path: scratch.file()).close()
        try tamper(scratch.file(), "PRAGMA user_version = 99")
        do {
            _ = try SQLStore(path: scratch.file())
            Issue.record("opened")
        } catch {
            let known = SQLiteSchema.migrations.count
            #expect(error == .newerSchema(found: 99, known: known, path: scratch.file()))
            #expect(
                error.description.contains("99") && error.description.contains("\(known)"))
        }
    }

    @Test("A later release's steps that only add keep nobody from writing; one that does not, does")
    func additive() throws {
        let scratch = try Scratch()
        try SQLStore(path: scratch.file()).close()
        let next = SQLiteSchema.migrations.count + 1
        func step(_ number: Int, _ name: String) throws {
            try tamper(
                scratch.file(),
                "INSERT INTO schema_migrations VALUES (\(number), '\(name)', 0); "
                    + "PRAGMA user_version = \(number)")
        }
        try step(next, "+ratings")
        try tamper(scratch.file(), "ALTER TABLE claims ADD COLUMN rating INTEGER")
        try SQLStore(path: scratch.file()).close()
        #expect(try number(scratch.file(), "PRAGMA user_version") == Int64(next))
        _ = try StoreHistory(StoreURL("sqlite:\(scratch.file())"))
        try step(next + 1, "other claims")
        #expect(throws: StoreError.self) { _ = try SQLStore(path: scratch.file()) }
    }

    @Test("A database of another program is refused and left as it is")
    func foreign() throws {
        let scratch = try Scratch()
        try tamper(scratch.file(), "CREATE TABLE mine (x INTEGER)")
        let before = try Data(contentsOf: URL(fileURLWithPath: scratch.file()))
        #expect(throws: StoreError.foreign(path: scratch.file())) {
            _ = try SQLStore(path: scratch.file())
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: scratch.file())) == before)
    }

    @Test("A file that is no database is damaged, not overwritten")
    func garbage() throws {
        let scratch = try Scratch()
        let bytes = Data((0..<8_192).map { UInt8(truncatingIfNeeded: $0 &* 7) })
        try bytes.write(to: URL(fileURLWithPath: scratch.file()))
        do {
            _ = try SQLStore(path: scratch.file())
            Issue.record("opened")
        } catch {
            guard case .corrupt = error else {
                Issue.record("\(error)")
                return
            }
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: scratch.file())) == bytes)
    }

    @Test("A path that cannot be made says so")
    func noDirectory() throws {
        let scratch = try Scratch()
        #expect(throws: StoreError.self) { _ = try SQLStore(path: scratch.file("no/such/x")) }
        #expect(throws: StoreError.self) {
            _ = try StoreHistory(.sqlite(path: scratch.file("absent")))
        }
    }
}
