public import EdgeLedger
public import EdgeReconciler
import EdgeTypes

/// A store that speaks SQL.
///
/// A batch is one transaction that starts by comparing watermarks and ends by moving them, so
/// rows and watermarks cannot part, whatever dies in between. Used from one thread at a time.
public final class SQLStore: LedgerStore {
    private let engine: any SQLEngine
    private var writer: LedgerWriter
    private let extraEvents: ExtraEvents
    private var reader: LedgerReader { LedgerReader(engine: engine) }

    init(_ engine: any SQLEngine, extraEvents: ExtraEvents = []) {
        self.engine = engine
        self.extraEvents = extraEvents
        writer = LedgerWriter(engine, extraEvents)
    }

    /// The embedded store: opens or makes one SQLite file, and brings its schema up to date.
    public convenience init(
        path: String, options: SQLiteOptions = SQLiteOptions(),
        migrations: [SchemaMigration] = SQLiteSchema.migrations, extraEvents: ExtraEvents = []
    ) throws(StoreError) {
        try self.init(
            SQLiteEngine(writing: path, options: options, migrations: migrations),
            extraEvents: extraEvents)
    }

    /// A MySQL or MariaDB database: connects, and brings its schema up to date.
    public convenience init(
        _ address: MySQLAddress, extraEvents: ExtraEvents = []
    ) throws(StoreError) {
        try MySQLSchema.store.prepare(address)
        try self.init(MySQLEngine(address), extraEvents: extraEvents)
    }

    /// Settings of the server that break what a store promises, in words; none of SQLite.
    public func weaknesses() throws(StoreError) -> [String] {
        guard let mysql = engine as? MySQLEngine else { return [] }
        return try run { try mysql.weaknesses() }
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
                writer = LedgerWriter(engine, extraEvents)
                throw error
            }
        }
    }

    private func run<T>(_ body: () throws -> T) throws(StoreError) -> T {
        do { return try body() } catch { throw StoreError.of(error) }
    }
}
