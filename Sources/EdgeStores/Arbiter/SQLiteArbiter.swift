public import EdgeReconciler
public import EdgeTypes
import GRDB

/// The arbiter of nodes on one machine: a SQLite file that all of them open.
///
/// A change is one transaction, in write-ahead mode with `synchronous = FULL`: on the disk before
/// it is answered. Used from one thread at a time; other processes wait for each other.
public final class SQLiteArbiter: Arbiter, @unchecked Sendable {
    // SAFETY: `DatabaseQueue` serialises every access.
    private let queue: DatabaseQueue

    /// Longest wait for another process's transaction, ms.
    static let lockWaitMs = 2_000
    static let applicationID: Int32 = 0x4477_6e61

    /// Opens or makes the file.
    public init(path: String) throws(StoreError) {
        var options = SQLiteOptions()
        options.lockWaitMs = Self.lockWaitMs
        queue = try SQLiteFile.openForWriting(
            path: path, options: options, migrations: Self.migrations,
            applicationID: Self.applicationID)
    }

    public func close() { try? queue.close() }

    public func identity() throws(StoreError) -> ArbiterIdentity {
        try run { database in
            guard
                let text = try String.fetchOne(database, sql: "SELECT identity FROM arbiter")
            else { throw StoreError.badRow("the arbiter has no identity") }
            return ArbiterIdentity(text: text)
        }
    }

    public func insert(_ configurations: [ShardConfiguration]) throws(StoreError) {
        try run { database in
            try database.inTransaction(.immediate) {
                let revision = try Self.raiseRevision(database)
                for configuration in configurations {
                    let held = try Row.fetchOne(
                        database, sql: "SELECT 1 FROM configurations WHERE shard = ?",
                        arguments: [Int64(configuration.shard)])
                    if held == nil { try Self.write(configuration, revision, database) }
                }
                return .commit
            }
        }
    }

    public func compareAndSet(_ changes: [ConfigurationChange]) -> [ConfigurationOutcome] {
        var outcomes: [ConfigurationOutcome] = []
        do {
            try queue.inDatabase { database in
                try database.inTransaction(.immediate) {
                    outcomes = []
                    let revision = try Self.raiseRevision(database)
                    for change in changes {
                        // A damaged row is that shard's trouble alone.
                        do {
                            outcomes.append(try Self.decide(change, revision, database))
                        } catch StoreError.badRow {
                            outcomes.append(.unknown)
                        }
                    }
                    return .commit
                }
            }
            return outcomes
        } catch {
            // It may have been written or not: only asking again tells.
            return changes.map { _ in .unknown }
        }
    }

    public func read(after revision: UInt64) throws(StoreError) -> ArbiterNews {
        try run { database in
            try database.beginTransaction(.deferred)
            defer { try? database.commit() }
            let latest = try Int64.fetchOne(database, sql: "SELECT revision FROM arbiter") ?? 0
            let rows = try Row.fetchAll(
                database,
                sql: "SELECT \(Self.columns) FROM configurations WHERE revision > ? ORDER BY shard",
                arguments: [Int64(bitPattern: revision)])
            return ArbiterNews(
                configurations: try rows.map(Self.configuration),
                nodes: try Self.nodes(after: Int64(bitPattern: revision), database),
                revision: UInt64(latest))
        }
    }

    /// A file is the arbiter that it always was.
    public func attend(_ own: ClusterNode) throws(StoreError) -> ArbiterCopy? { nil }

    public func target(after version: Int64) throws(StoreError) -> PlacementTarget? {
        try run { database in
            let row = try Row.fetchOne(
                database,
                sql: """
                    SELECT version, paused, shards_at_once, bytes_per_second, members, previous,
                        retired
                    FROM targets WHERE version > ?
                    """, arguments: [version])
            guard let row else { return nil }
            guard let members = PlacementTarget.members(row[4]),
                let previous = PlacementTarget.members(row[5]),
                let retired = PlacementTarget.numbers(row[6])
            else { throw StoreError.badRow("a target: \(row)") }
            var target = PlacementTarget(members: members, previous: previous)
            target.version = row[0]
            target.isPaused = row[1]
            target.shardsAtOnce = row[2]
            target.bytesPerSecond = row[3]
            target.retired = retired
            return target
        }
    }

    public func decide(_ next: PlacementTarget) throws(StoreError) -> Bool {
        try run { database in
            var isHeld = false
            try database.inTransaction(.immediate) {
                let held =
                    try Int64.fetchOne(database, sql: "SELECT version FROM targets") ?? 0
                isHeld = held == next.version
                guard isHeld else { return .commit }
                try Self.write(next, database)
                return .commit
            }
            return isHeld
        }
    }

    /// A decision is held as a version later than the one that it was made for.
    static func write(_ next: PlacementTarget, _ database: Database) throws {
        try database.execute(sql: "DELETE FROM targets")
        try database.execute(
            sql: "INSERT INTO targets VALUES (?, ?, ?, ?, ?, ?, ?)",
            arguments: [
                next.version + 1, next.isPaused, next.shardsAtOnce, next.bytesPerSecond,
                PlacementTarget.text(next.members), PlacementTarget.text(next.previous),
                PlacementTarget.text(next.retired),
            ])
    }

    // MARK: Rows

    private static func decide(
        _ change: ConfigurationChange, _ revision: Int64, _ database: Database
    ) throws -> ConfigurationOutcome {
        guard
            let row = try Row.fetchOne(
                database, sql: "SELECT \(columns) FROM configurations WHERE shard = ?",
                arguments: [Int64(change.expected.shard)])
        else { throw StoreError.badRow("shard \(change.expected.shard) has no configuration") }
        let held = try configuration(row)
        // Asked again after an answer that was lost.
        if held == change.next { return .applied }
        guard held == change.expected else { return .refused(held) }
        try write(change.next, revision, database)
        return .applied
    }

    static func raiseRevision(_ database: Database) throws -> Int64 {
        try database.execute(sql: "UPDATE arbiter SET revision = revision + 1")
        guard let revision = try Int64.fetchOne(database, sql: "SELECT revision FROM arbiter")
        else { throw StoreError.badRow("the arbiter has no revision") }
        return revision
    }

    static func write(
        _ configuration: ShardConfiguration, _ revision: Int64, _ database: Database
    ) throws {
        let members = ArbiterText.members(configuration)
        try database.execute(
            sql: """
                INSERT OR REPLACE INTO configurations
                (shard, epoch, primary_member, members, sealed, revision) VALUES (?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                Int64(configuration.shard), Int64(configuration.epoch),
                ArbiterText.text(configuration.primary), members, configuration.isSealed, revision,
            ])
    }

    private static let columns = "shard, epoch, primary_member, members, sealed"

    private static func configuration(_ row: Row) throws -> ShardConfiguration {
        try ArbiterText.configuration(
            shard: row[0], epoch: row[1], primary: row[2], members: row[3], isSealed: row[4])
    }

    func run<T>(_ body: (Database) throws -> T) throws(StoreError) -> T {
        do {
            return try queue.inDatabase(body)
        } catch {
            throw StoreError.of(error)
        }
    }

    static let migrations = [
        SchemaMigration(
            number: 1, name: "configurations",
            sql: """
                CREATE TABLE arbiter (identity TEXT NOT NULL, revision INTEGER NOT NULL) STRICT;
                INSERT INTO arbiter VALUES (lower(hex(randomblob(16))), 0);
                CREATE TABLE configurations (
                    shard INTEGER PRIMARY KEY,
                    epoch INTEGER NOT NULL,
                    primary_member TEXT NOT NULL,
                    members TEXT NOT NULL,
                    sealed INTEGER NOT NULL,
                    revision INTEGER NOT NULL
                ) STRICT;
                CREATE INDEX configurations_by_revision ON configurations (revision);
                """),
        SchemaMigration(
            number: 2, name: "targets",
            sql: """
                CREATE TABLE targets (
                    version INTEGER PRIMARY KEY,
                    paused INTEGER NOT NULL,
                    shards_at_once INTEGER NOT NULL,
                    bytes_per_second INTEGER NOT NULL,
                    members TEXT NOT NULL,
                    previous TEXT NOT NULL
                ) STRICT;
                """),
        SchemaMigration(
            number: 3, name: "nodes",
            sql: """
                CREATE TABLE cluster (name TEXT NOT NULL, shards INTEGER NOT NULL) STRICT;
                CREATE TABLE nodes (
                    number INTEGER PRIMARY KEY,
                    name TEXT NOT NULL UNIQUE,
                    region TEXT NOT NULL,
                    zone TEXT NOT NULL,
                    host TEXT NOT NULL,
                    http INTEGER NOT NULL,
                    resp INTEGER NOT NULL,
                    bus INTEGER NOT NULL,
                    admin INTEGER NOT NULL,
                    revision INTEGER NOT NULL
                ) STRICT;
                ALTER TABLE targets ADD COLUMN retired TEXT NOT NULL DEFAULT '';
                """),
    ]
}
