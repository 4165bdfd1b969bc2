public import EdgeLedger
public import EdgeReconciler
public import EdgeTypes

/// A store that speaks SQL.
///
/// A batch is one transaction that starts by comparing watermarks and ends by moving them, so
/// rows and watermarks cannot part, whatever dies in between. Used from one thread at a time.
public final class SQLStore: LedgerStore {
    private let engine: any SQLEngine
    private var writer: LedgerWriter
    private var reader: LedgerReader { LedgerReader(engine: engine) }

    init(_ engine: any SQLEngine) {
        self.engine = engine
        writer = LedgerWriter(engine)
    }

    /// The embedded store: opens or makes one SQLite file, and brings its schema up to date.
    public convenience init(
        path: String, options: SQLiteOptions = SQLiteOptions(),
        migrations: [SchemaMigration] = SQLiteSchema.migrations
    ) throws(StoreError) {
        try self.init(SQLiteEngine(writing: path, options: options, migrations: migrations))
    }

    /// A MySQL or MariaDB database: connects, and brings its schema up to date.
    public convenience init(_ address: MySQLAddress) throws(StoreError) {
        try MySQLSchema.store.prepare(address)
        try self.init(MySQLEngine(address))
    }

    deinit { close() }

    public func close() { engine.close() }

    public func watermarks() throws(StoreError) -> WatermarkTable {
        try run { try reader.watermarks() }
    }

    public func cursor(lane: String) throws(StoreError) -> SourceCursor? {
        try run { try reader.cursor(lane: lane) }
    }

    /// O(n) in the batch; one sync of the disk.
    @discardableResult
    public func apply(
        _ batch: EntryBatch, cursors: [(lane: String, cursor: SourceCursor)]
    ) throws(StoreError) -> StoreChanges {
        guard !batch.isEmpty else { return StoreChanges() }
        return try run {
            do {
                return try engine.transaction(.write) {
                    let changes = try writer.apply(batch)
                    try writer.keep(cursors)
                    return changes
                }
            } catch {
                // What a failed batch has cached may not be in the store.
                writer = LedgerWriter(engine)
                throw error
            }
        }
    }

    // MARK: What followers read

    /// Pools in the order of their keys, those after `key`, at most `limit`.
    public func pools(after key: PoolKey?, limit: Int) throws(StoreError) -> [PoolRow] {
        try run { try reader.pools(after: key, limit: limit) }
    }

    /// All slices of a shard. O(its slices).
    public func slices(of shard: ShardID) throws(StoreError) -> [SliceRow] {
        try run { try reader.slices(of: shard) }
    }

    /// Events of a shard after an entry, in order, at most `limit`. O(log n + result).
    public func events(
        of shard: ShardID, after sequence: UInt64, limit: Int
    ) throws(StoreError) -> [EventRow] {
        try run { try reader.events(of: shard, after: sequence, limit: limit) }
    }

    /// Deletes events of a shard up to an entry that are older than a time, at most `limit`.
    ///
    /// - Returns: how many were deleted.
    public func deleteEvents(
        of shard: ShardID, upTo sequence: UInt64, olderThanMs: UnixMs, limit: Int = 10_000
    ) throws(StoreError) -> Int {
        precondition(limit > 0)
        return try run {
            try reader.deleteEvents(
                of: shard, upTo: sequence, olderThanMs: olderThanMs, limit: limit)
        }
    }

    private func run<T>(_ body: () throws -> T) throws(StoreError) -> T {
        do { return try body() } catch { throw StoreError.of(error) }
    }
}
