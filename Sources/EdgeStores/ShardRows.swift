import EdgeLedger
import EdgeReconciler
import EdgeTypes
import GRDB

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

    private let select: HotStatement
    private let count: HotStatement
    private let first: HotStatement
    private let parse: (HotStatement) throws(StoreError) -> Row
    private let rowsAtOnce: Int
    private var windows: [Window] = []

    /// - Parameters:
    ///   - table: its key column is `key`.
    ///   - rowsAtOnce: rows held for each shard.
    init(
        _ database: Database, table: String, key: String, columns: String, rowsAtOnce: Int,
        parse: @escaping (HotStatement) throws(StoreError) -> Row
    ) throws(StoreError) {
        select = try HotStatement(
            database,
            """
            SELECT \(columns) FROM \(table) WHERE \(key) BETWEEN ?1 AND ?2
            ORDER BY \(key) LIMIT ?3
            """)
        count = try HotStatement(
            database, "SELECT count(*) FROM \(table) WHERE \(key) BETWEEN ?1 AND ?2")
        first = try HotStatement(
            database, "SELECT \(key) FROM \(table) WHERE \(key) >= ?1 ORDER BY \(key) LIMIT 1")
        self.rowsAtOnce = rowsAtOnce
        self.parse = parse
    }

    /// Starts a shard at its journal's first entry.
    ///
    /// - Returns: how many rows are older. 0 where the shard was started before.
    func open(_ shard: ShardID, at sequence: UInt64) throws(StoreError) -> Int64 {
        while windows.count <= Int(shard) { windows.append(Window()) }
        guard !windows[Int(shard)].opened else { return 0 }
        windows[Int(shard)].opened = true
        windows[Int(shard)].from = EntryID.of(shard: shard, sequence: sequence)
        guard sequence > 1 else { return 0 }
        count.bind(1, EntryID.of(shard: shard, sequence: 0))
        count.bind(2, EntryID.of(shard: shard, sequence: sequence - 1))
        defer { count.reset() }
        return try count.step() ? count.integer(0) : 0
    }

    /// The next row of a shard that was opened, left in place.
    @inline(__always)
    func peek(_ shard: ShardID) throws(StoreError) -> Row? {
        let index = Int(shard)
        if windows[index].next == windows[index].rows.count {
            guard try fetch(shard) else { return nil }
        }
        return windows[index].rows[windows[index].next]
    }

    @inline(__always)
    func pop(_ shard: ShardID) { windows[Int(shard)].next += 1 }

    private func fetch(_ shard: ShardID) throws(StoreError) -> Bool {
        let index = Int(shard)
        guard let from = windows[index].from else { return false }
        let last = EntryID.of(shard: shard, sequence: (1 << 48) - 1)
        windows[index].rows.removeAll(keepingCapacity: true)
        windows[index].next = 0
        select.bind(1, from)
        select.bind(2, last)
        select.bind(3, Int64(rowsAtOnce))
        while try select.step() { windows[index].rows.append(try parse(select)) }
        guard let end = windows[index].rows.last else {
            windows[index].from = nil
            return false
        }
        windows[index].from = windows[index].rows.count < rowsAtOnce ? nil : end.id + 1
        return true
    }

    /// Calls `body` with what is left in every shard, those included that were never opened.
    func drain(_ body: (Row) throws(StoreError) -> Void) throws(StoreError) {
        var from: Int64? = .min
        while let start = from {
            first.bind(1, start)
            guard try first.step() else { return }
            let found = first.integer(0)
            first.reset()
            guard found >= 0, found >> 48 < Int64(Limits.shards) else {
                throw .badRow("key \(found) is of no shard")
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

struct StoredClaim: EntryRow {
    var id: Int64
    var pool: PoolKey
    /// nil where the column holds no user.
    var user: UserID?
    var packet: Int64
    var amountFen: Fen
    var timeMs: UnixMs

    static let columns = "grant_id, pool, user, packet, amount, granted_at"
}

struct StoredPayment: EntryRow, Equatable {
    var id: Int64
    var order: String
    var payment: Text64?
    var fen: Fen
    var outcome: String
    var timeMs: UnixMs

    static let columns = "id, order_id, payment, fen, outcome, at"
}

struct StoredRefund: EntryRow, Equatable {
    var id: Int64
    var order: String
    var request: Text64?
    var fen: Fen
    var restocked: Int64
    var timeMs: UnixMs

    static let columns = "id, order_id, request, fen, restocked, at"
}
