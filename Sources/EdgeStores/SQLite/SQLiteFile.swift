import EdgeLedger
import EdgeReconciler
import Foundation
import GRDB
import GRDBSQLite

/// How a SQLite store is opened.
public struct SQLiteOptions: Sendable {
    /// Page cache of the writing connection: claims are appended, a few pages a shard; orders are
    /// looked up all over, but the system caches the file too.
    public var cacheBytes = 16 << 20
    /// How long a write waits for another writer before it is refused as locked.
    public var lockWaitMs = 250
    /// The write-ahead log is carried over into the file each time it has grown by so much.
    public var checkpointBytes = 16 << 20

    public init() {}
}

/// Opens SQLite files: pragmas, identity, schema.
enum SQLiteFile {
    /// Opens a connection for writing, makes the file where there is none, brings its schema up.
    static func openForWriting(
        path: String, options: SQLiteOptions, migrations: [SchemaMigration],
        applicationID: Int32 = SQLiteSchema.applicationID
    ) throws(StoreError) -> DatabaseQueue {
        try make(path)
        var configuration = Configuration()
        configuration.label = "downpour.store"
        configuration.foreignKeysEnabled = false
        configuration.busyMode = .timeout(Double(options.lockWaitMs) / 1_000)
        // A rollback that fails must be an error of the next batch, not a trap.
        configuration.allowsUnsafeTransactions = true
        configuration.prepareDatabase { database in
            // FULL: a commit is on the disk before it returns. The watermark lets the journal
            // drop segments, so what it said once must hold after the power was cut; with NORMAL
            // it could go back. One sync a batch of thousands costs next to nothing.
            try database.execute(
                sql: """
                    PRAGMA synchronous = FULL;
                    PRAGMA cache_size = -\(options.cacheBytes / 1_024);
                    PRAGMA wal_autocheckpoint = \(options.checkpointBytes / 4_096);
                    PRAGMA journal_size_limit = \(options.checkpointBytes * 4);
                    """)
        }
        let queue = try open(path, configuration)
        do {
            try insist(forMs: options.lockWaitMs) {
                try queue.inDatabase { database in
                    // Before anything is written: a file of another program stays as it is.
                    try identify(database, path, migrations, applicationID)
                    try database.execute(sql: "PRAGMA journal_mode = WAL")
                    try migrate(database, path, migrations, applicationID)
                }
            }
        } catch {
            try? queue.close()
            throw StoreError.of(error)
        }
        return queue
    }

    /// Tries again while another process makes the file: SQLite does not wait for some of the locks
    /// that a change of the journal's mode takes.
    private static func insist(forMs waitMs: Int, _ body: () throws -> Void) throws {
        let deadline = ContinuousClock.now + .milliseconds(waitMs)
        while true {
            do { return try body() } catch {
                guard case .locked = StoreError.of(error), ContinuousClock.now < deadline else {
                    throw error
                }
                Thread.sleep(forTimeInterval: 0.01)
            }
        }
    }

    /// Opens a connection that cannot write. The file must be there, with a schema this release
    /// knows; a schema that is behind is refused too: views may be missing.
    static func openForReading(
        path: String, options: SQLiteOptions = SQLiteOptions()
    ) throws(StoreError) -> DatabaseQueue {
        guard FileManager.default.fileExists(atPath: path) else {
            throw .cannotOpen("there is no file \(path)")
        }
        var configuration = Configuration()
        configuration.label = "downpour.store.read"
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { database in
            try database.execute(
                sql: "PRAGMA query_only = 1; PRAGMA cache_size = -\(options.cacheBytes / 1_024)")
        }
        let queue = try open(path, configuration)
        do {
            try queue.inDatabase { database in
                try identify(
                    database, path, SQLiteSchema.migrations, SQLiteSchema.applicationID)
                let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
                guard version >= SQLiteSchema.migrations.count else {
                    throw StoreError.foreign(path: path)
                }
            }
        } catch {
            try? queue.close()
            throw StoreError.of(error)
        }
        return queue
    }

    /// The store holds what users won and paid, and seeds until their rains close: only its owner
    /// may read it. An existing file keeps its mode.
    private static func make(_ path: String) throws(StoreError) {
        let descriptor = descriptor(of: path)
        guard descriptor >= 0 else {
            let text = "\(path): \(String(cString: strerror(errno)))"
            switch errno {
            case EROFS, EACCES, EPERM: throw .readOnly(text)
            case ENOSPC, EDQUOT: throw .full(text)
            default: throw .cannotOpen(text)
            }
        }
        Foundation.close(descriptor)
    }

    private static func descriptor(of path: String) -> Int32 {
        Foundation.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    }

    private static func open(
        _ path: String, _ configuration: Configuration
    ) throws(StoreError) -> DatabaseQueue {
        do {
            return try DatabaseQueue(path: path, configuration: configuration)
        } catch {
            throw StoreError.of(error)
        }
    }

    /// Refuses files of other programs and of later releases.
    private static func identify(
        _ database: Database, _ path: String, _ migrations: [SchemaMigration],
        _ applicationID: Int32
    ) throws {
        let known = migrations.count
        // All as of one moment: another process may be making the file.
        try database.execute(sql: "BEGIN DEFERRED")
        defer { try? database.execute(sql: "COMMIT") }
        let identity = try Int32.fetchOne(database, sql: "PRAGMA application_id") ?? 0
        let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
        if identity != applicationID {
            let tables = try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_master")
            guard identity == 0, version == 0, tables == 0 else {
                throw StoreError.foreign(path: path)
            }
        }
        guard try version <= known || onlyAdds(database, since: known, to: version) else {
            throw StoreError.newerSchema(found: version, known: known, path: path)
        }
    }

    /// Whether all steps after the last known one leave alone what this release writes.
    private static func onlyAdds(
        _ database: Database, since known: Int, to version: Int
    ) throws -> Bool {
        try Int.fetchOne(
            database,
            sql: "SELECT count(*) FROM schema_migrations WHERE number > ? AND name LIKE '+%'",
            arguments: [known]) == version - known
    }

    /// Applies the migrations that are missing, each in its own transaction with its number.
    private static func migrate(
        _ database: Database, _ path: String, _ migrations: [SchemaMigration],
        _ applicationID: Int32
    ) throws {
        for (index, migration) in migrations.enumerated() {
            precondition(migration.number == index + 1, "migrations are numbered from 1")
            // A store that is up to date opens without the write lock.
            let reached = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
            if reached >= migration.number { continue }
            try database.inTransaction(.immediate) {
                // Read again under the lock: another process may be migrating too.
                let version = try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
                guard version < migration.number else { return .commit }
                try database.execute(
                    sql: """
                        PRAGMA application_id = \(applicationID);
                        CREATE TABLE IF NOT EXISTS schema_migrations (
                            number INTEGER PRIMARY KEY, name TEXT NOT NULL,
                            applied_at INTEGER NOT NULL
                        ) STRICT;
                        """)
                try database.execute(sql: migration.sql)
                try database.execute(
                    sql: """
                        INSERT INTO schema_migrations VALUES
                            (?, ?, unixepoch() * 1000)
                        """,
                    arguments: [
                        migration.number, (migration.isAdditive ? "+" : "") + migration.name,
                    ])
                try database.execute(sql: "PRAGMA user_version = \(migration.number)")
                return .commit
            }
        }
    }
}
