import EdgeLedger
import EdgeReconciler
import EdgeTypes

/// A row whose key is the `EntryID` of what made it.
protocol EntryRow {
    var id: Int64 { get }
}

/// The rows of one table in key order, shard by shard, with a few rows of each in memory: the
/// store's side of a merge with a journal in which shards interleave.
final class ShardRows<Row: EntryRow> {
    private struct Window {
        var rows: [Row] = []
        var next = 0
        /// Key from which the rest is fetched; nil once all is.
        var from: Int64?
        var opened = false
    }

    private let engine: any SQLEngine
    private let select: String
    private let count: String
    private let first: String
    private let parse: (any SQLRow) throws -> Row
    private let rowsAtOnce: Int
    private var windows: [Window] = []

    /// - Parameters:
    ///   - table: its key column is `key`.
    ///   - rowsAtOnce: rows held for each shard.
    init(
        _ engine: any SQLEngine, table: String, key: String, columns: String, rowsAtOnce: Int,
        parse: @escaping (any SQLRow) throws -> Row
    ) {
        self.engine = engine
        select = """
            SELECT \(columns) FROM \(table) WHERE \(key) BETWEEN ? AND ?
            ORDER BY \(key) LIMIT ?
            """
        count = "SELECT count(*) FROM \(table) WHERE \(key) BETWEEN ? AND ?"
        first = "SELECT \(key) FROM \(table) WHERE \(key) >= ? ORDER BY \(key) LIMIT 1"
        self.rowsAtOnce = rowsAtOnce
        self.parse = parse
    }

    /// Starts a shard at its journal's first entry.
    ///
    /// - Returns: how many rows are older. 0 where the shard was started before.
    func open(_ shard: ShardID, at sequence: UInt64) throws -> Int64 {
        while windows.count <= Int(shard) { windows.append(Window()) }
        guard !windows[Int(shard)].opened else { return 0 }
        windows[Int(shard)].opened = true
        windows[Int(shard)].from = EntryID.of(shard: shard, sequence: sequence)
        guard sequence > 1 else { return 0 }
        var older: Int64 = 0
        try engine.read(
            count,
            [
                .integer(EntryID.of(shard: shard, sequence: 0)),
                .integer(EntryID.of(shard: shard, sequence: sequence - 1)),
            ]
        ) { row in older = row.integer(0) }
        return older
    }

    /// The next row of a shard that was opened, left in place.
    @inline(__always)
    func peek(_ shard: ShardID) throws -> Row? {
        let index = Int(shard)
        if windows[index].next == windows[index].rows.count {
            guard try fetch(shard) else { return nil }
        }
        return windows[index].rows[windows[index].next]
    }

    @inline(__always)
    func pop(_ shard: ShardID) { windows[Int(shard)].next += 1 }

    private func fetch(_ shard: ShardID) throws -> Bool {
        let index = Int(shard)
        guard let from = windows[index].from else { return false }
        let last = EntryID.of(shard: shard, sequence: (1 << 48) - 1)
        windows[index].rows.removeAll(keepingCapacity: true)
        windows[index].next = 0
        try engine.read(
            select, [.integer(from), .integer(last), .integer(Int64(rowsAtOnce))]
        ) { row in windows[index].rows.append(try parse(row)) }
        guard let end = windows[index].rows.last else {
            windows[index].from = nil
            return false
        }
        windows[index].from = windows[index].rows.count < rowsAtOnce ? nil : end.id + 1
        return true
    }

    /// Calls `body` with what is left in every shard, those included that were never opened.
    func drain(_ body: (Row) throws -> Void) throws {
        var from: Int64? = .min
        while let start = from {
            var key: Int64?
            try engine.read(first, [.integer(start)]) { row in key = row.integer(0) }
            guard let found = key else { return }
            guard found >= 0, found >> 48 < Int64(Limits.shards) else {
                throw StoreError.badRow("key \(found) is of no shard")
            }
            let shard = EntryID.shard(of: found)
            _ = try open(shard, at: 0)
            while let row = try peek(shard) {
                pop(shard)
                try body(row)
            }
            from =
                Int(shard) + 1 < Limits.shards
                ? EntryID.of(shard: shard + 1, sequence: 0) : nil
        }
    }
}
