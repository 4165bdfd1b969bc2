public import EdgeLedger
import EdgeReconciler
import EdgeTypes
import GRDB

/// The embedded store: one SQLite file.
///
/// A batch is one transaction that starts by comparing watermarks and ends by moving them, so
/// rows and watermarks cannot part, whatever dies in between. Used from one thread at a time.
public final class SQLiteStore: LedgerStore {
    public let path: String
    private let queue: DatabaseQueue
    private var writer: BatchWriter?

    /// Opens or makes the file, and brings its schema up to date.
    public init(
        path: String, options: SQLiteOptions = SQLiteOptions(),
        migrations: [SchemaMigration] = SQLiteSchema.migrations
    ) throws(StoreError) {
        self.path = path
        queue = try SQLiteFile.openForWriting(
            path: path, options: options, migrations: migrations)
    }

    deinit { close() }

    public func close() {
        queue.inDatabase { _ in writer = nil }
        try? queue.close()
    }

    public func watermarks() throws(StoreError) -> WatermarkTable {
        try run { database in try SQLiteRows.watermarks(database) }
    }

    public func cursor(lane: String) throws(StoreError) -> SourceCursor? {
        try run { database in
            let row = try Row.fetchOne(
                database, sql: "SELECT segment, offset FROM cursors WHERE lane = ?",
                arguments: [lane])
            return row.map {
                SourceCursor(
                    segment: UInt64(bitPattern: $0[0] as Int64),
                    offset: UInt64(bitPattern: $0[1] as Int64))
            }
        }
    }

    /// O(n) in the batch; one sync of the disk.
    public func apply(
        _ batch: EntryBatch, cursors: [(lane: String, cursor: SourceCursor)]
    ) throws(StoreError) {
        guard !batch.isEmpty else { return }
        try run { database in
            let writer = try preparedWriter(database)
            do {
                try database.beginTransaction(.immediate)
                try writer.apply(batch)
                for (lane, cursor) in cursors { try writer.keep(cursor, lane: lane) }
                try database.commit()
                writer.finish()
            } catch {
                // What a failed batch has cached may not be in the file.
                self.writer = nil
                if database.isInsideTransaction { try? database.rollback() }
                throw error
            }
        }
    }

    /// Deletes events that are older, at most `limit` of them.
    ///
    /// - Returns: how many were deleted.
    public func trimOutbox(olderThanMs: Int64, limit: Int = 10_000) throws(StoreError) -> Int {
        precondition(limit > 0)
        return try run { database in
            try database.execute(
                sql: """
                    DELETE FROM outbox WHERE position IN (
                        SELECT position FROM outbox WHERE time < ? ORDER BY position LIMIT ?)
                    """,
                arguments: [olderThanMs, limit])
            return database.changesCount
        }
    }

    private func preparedWriter(_ database: Database) throws(StoreError) -> BatchWriter {
        if let writer { return writer }
        let made = try BatchWriter(database)
        writer = made
        return made
    }

    private func run<T>(_ body: (Database) throws -> T) throws(StoreError) -> T {
        do {
            return try queue.inDatabase(body)
        } catch {
            throw StoreError.of(error)
        }
    }
}

/// Rows that several parts read.
enum SQLiteRows {
    static func watermarks(_ database: Database) throws -> WatermarkTable {
        var table = WatermarkTable()
        let rows = try Row.fetchCursor(
            database, sql: "SELECT shard, epoch, sequence, time FROM watermarks")
        while let row = try rows.next() {
            guard let shard = ShardID(exactly: row[0] as Int64), Int(shard) < Limits.shards,
                let epoch = UInt32(exactly: row[1] as Int64),
                let sequence = UInt64(exactly: row[2] as Int64)
            else { throw StoreError.badRow("watermarks: \(row)") }
            table[shard] = Watermark(epoch: epoch, sequence: sequence, timeMs: row[3])
        }
        return table
    }
}
