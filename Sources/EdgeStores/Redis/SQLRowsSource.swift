import EdgeLedger
public import EdgeReconciler
import EdgeTypes

extension StoreURL {
    /// A connection of its own for a follower of the store.
    public func openRows() throws(StoreError) -> any RowsSource {
        switch self {
        case .sqlite(let path): SQLRowsSource(try SQLiteEngine(writing: path))
        case .mysql(let address): SQLRowsSource(try MySQLEngine(address))
        }
    }
}

/// What followers read of a store that speaks SQL.
final class SQLRowsSource: RowsSource {
    private let engine: any SQLEngine
    private var reader: LedgerReader { LedgerReader(engine: engine) }

    /// - Parameter engine: it closes it.
    init(_ engine: any SQLEngine) { self.engine = engine }

    deinit { close() }

    func close() { engine.close() }

    /// Kept among the cursors, where no lane is called so.
    private static let identityLane = "#store"
    private static let newCursors = SQLTable(
        "cursors", key: ["lane"], ["segment", "offset"], .refuse)

    func identity() throws(StoreError) -> String {
        try run {
            let known = try reader.cursor(lane: Self.identityLane) ?? makeIdentity()
            return "\(known.segment)-\(known.offset)"
        }
    }

    /// Where another node makes one at the same time, one of them is refused, and asks again.
    private func makeIdentity() throws -> SourceCursor {
        let made = SourceCursor(
            segment: .random(in: 0...UInt64(Int64.max)), offset: .random(in: 0...UInt64(Int64.max)))
        try engine.transaction(.write) {
            try engine.write(Self.newCursors, rows: 1) { _, sink in
                sink.put(Self.identityLane)
                sink.put(Int64(bitPattern: made.segment))
                sink.put(Int64(bitPattern: made.offset))
            }
        }
        return made
    }

    func watermarks() throws(StoreError) -> WatermarkTable { try run { try reader.watermarks() } }

    /// A pool's row, and behind it its units, its amount and its slices.
    static let selectPools =
        LedgerTables.selectPools.replacing(
            " FROM pools",
            with: """
                , CASE family WHEN 'rain' THEN (SELECT r.count FROM rains r WHERE r.pool = pools.name)
                    ELSE (SELECT s.units FROM stock s WHERE s.sku = pools.name) END,
                CASE family WHEN 'rain' THEN (SELECT r.amount FROM rains r WHERE r.pool = pools.name)
                    ELSE (SELECT s.price FROM stock s WHERE s.sku = pools.name) END,
                CASE family WHEN 'rain' THEN (SELECT r.slices FROM rains r WHERE r.pool = pools.name)
                    ELSE (SELECT s.slices FROM stock s WHERE s.sku = pools.name) END
                FROM pools
                """)
    private static let factColumn = 20
    private static let keysAtOnce = 32

    /// A pool of `selectPools`.
    static func pool(_ row: any SQLRow) throws -> MirroredPool {
        guard let slices = UInt32(exactly: row.integer(factColumn + 2)) else {
            throw StoreError.badRow("slices of \(row.text(2))")
        }
        return MirroredPool(
            row: try LedgerTables.pool(row), units: row.integer(factColumn),
            amountFen: row.integer(factColumn + 1), slices: slices)
    }

    func pools(_ keys: [PoolKey]) throws(StoreError) -> [MirroredPool] {
        try run {
            var pools: [MirroredPool] = []
            let marks = Array(repeating: "?", count: Self.keysAtOnce).joined(separator: ", ")
            for start in stride(from: 0, to: keys.count, by: Self.keysAtOnce) {
                // One statement for any number: the rest is filled with the last.
                let values = (start..<(start + Self.keysAtOnce)).map { index in
                    SQLValue.integer(Int64(bitPattern: keys[min(index, keys.count - 1)].rawValue))
                }
                try engine.read(Self.selectPools + " WHERE `key` IN (\(marks))", values) { row in
                    pools.append(try Self.pool(row))
                }
            }
            return pools
        }
    }

    func pools(after: PoolKey?, limit: Int) throws(StoreError) -> [MirroredPool] {
        try run {
            let from = after.map { SQLValue.integer(Int64(bitPattern: $0.rawValue)) }
            var pools: [MirroredPool] = []
            try engine.read(
                Self.selectPools + (from == nil ? "" : " WHERE `key` > ?")
                    + " ORDER BY `key` LIMIT ?",
                [from, .integer(Int64(limit))].compactMap { $0 }
            ) { row in pools.append(try Self.pool(row)) }
            return pools
        }
    }

    func slices(ofShards shards: [ShardID]) throws(StoreError) -> ShardSlices {
        try run {
            try engine.transaction(.snapshot) {
                var found = ShardSlices(rows: [], watermarks: try reader.watermarks())
                for shard in shards { found.rows += try reader.slices(of: shard) }
                return found
            }
        }
    }

    func events(
        ofShard shard: ShardID, after: Int64, limit: Int
    ) throws(StoreError) -> [EventRow] {
        try run {
            try reader.events(of: shard, after: EntryID.sequence(of: after), limit: limit)
        }
    }

    private static let deletedAtOnce = 10_000

    func deleteEvents(
        ofShard shard: ShardID, after: Int64, upTo: Int64, olderThanMs: UnixMs
    ) throws(StoreError) -> Int {
        try run {
            try reader.deleteEvents(
                after: after, upTo: upTo, olderThanMs: olderThanMs, limit: Self.deletedAtOnce)
        }
    }

    private func run<T>(_ body: () throws -> T) throws(StoreError) -> T {
        do { return try body() } catch { throw StoreError.of(error) }
    }
}
