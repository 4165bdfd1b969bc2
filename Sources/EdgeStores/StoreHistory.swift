public import EdgeLedger
import EdgeMemory
import EdgeReconciler
public import EdgeTypes
import GRDB

/// Questions about the past, answered from the store. Lags behind the nodes by the reconcilers'
/// lag. Safe to use from any thread; calls take turns.
public final class StoreHistory: Sendable {
    private let queue: DatabaseQueue

    /// Opens the file for reading only.
    public init(path: String) throws(StoreError) {
        var options = SQLiteOptions()
        options.cacheBytes = 16 << 20
        queue = try SQLiteFile.openForReading(path: path, options: options)
    }

    deinit { try? queue.close() }

    /// A rain and what it gave so far.
    public struct RainTotals: Sendable, Equatable {
        public var pool: String
        public var state: String
        public var count: Int64
        public var amountFen: Fen
        public var granted: Int64
        public var grantedFen: Fen
        public var quarantined: Int64
        public var opensMs: UnixMs?
        public var closesMs: UnixMs?
        public var createdMs: UnixMs?
    }

    /// A SKU and where its units are.
    public struct StockTotals: Sendable, Equatable {
        public var sku: String
        public var state: String
        public var units: Int64
        public var priceFen: Fen
        public var pending: Int64
        public var sold: Int64
        public var available: Int64
        public var paidFen: Fen
        public var refundedFen: Fen
    }

    public struct ClaimRow: Sendable, Equatable {
        public var pool: String
        public var user: UserID
        public var packet: Int64
        public var amountFen: Fen
        public var grantedMs: UnixMs
        public var grantID: Int64
    }

    /// Rains by name, those after `after`, at most `limit`. O(slices of these).
    public func rains(after: String = "", limit: Int = 100) throws(StoreError) -> [RainTotals] {
        try rains("r.pool > ?1 ORDER BY r.pool LIMIT ?2", [after, limit])
    }

    /// - Returns: nil where there is no such rain. O(its slices).
    public func rain(_ pool: String) throws(StoreError) -> RainTotals? {
        try rains("r.pool = ?1", [pool]).first
    }

    private func rains(
        _ condition: String, _ arguments: StatementArguments
    ) throws(StoreError) -> [RainTotals] {
        // The page of rains is chosen first: the totals of all others are not needed.
        let rows = try fetch(
            """
            SELECT v.pool, v.state, v.count, v.amount, v.granted, v.granted_amount,
                v.quarantined, c.opens_at, c.closes_at, c.created_at
            FROM (SELECT * FROM rains r WHERE \(condition)) c
            JOIN v1_rain_totals v ON v.pool = c.pool
            ORDER BY c.pool
            """, arguments)
        return rows.map { row in
            RainTotals(
                pool: row[0], state: row[1], count: row[2], amountFen: row[3], granted: row[4],
                grantedFen: row[5], quarantined: row[6], opensMs: row[7], closesMs: row[8],
                createdMs: row[9])
        }
    }

    /// SKUs by name, those after `after`, at most `limit`. O(orders of all).
    public func stock(after: String = "", limit: Int = 100) throws(StoreError) -> [StockTotals] {
        try fetch(
            """
            SELECT sku, state, units, price, pending, sold, available, paid_fen, refunded_fen
            FROM v1_stock_totals WHERE sku > ?1 ORDER BY sku LIMIT ?2
            """, [after, limit]
        ).map { row in
            StockTotals(
                sku: row[0], state: row[1], units: row[2], priceFen: row[3], pending: row[4],
                sold: row[5], available: row[6], paidFen: row[7], refundedFen: row[8])
        }
    }

    /// A user's claims, by grant id, at most `limit`, of one pool where it is given.
    ///
    /// Reads every claim of the store: some ten million a second.
    public func claims(
        of user: UserID, pool: String? = nil, limit: Int = 1_000
    ) throws(StoreError) -> [ClaimRow] {
        try fetch(
            """
            SELECT pool, packet, amount, granted_at, grant_id FROM claims
            WHERE user = ?1 AND (?2 IS NULL OR pool = ?2) ORDER BY grant_id LIMIT ?3
            """, [Self.value(user), pool, limit]
        ).map { row in
            ClaimRow(
                pool: row[0], user: user, packet: row[1], amountFen: row[2], grantedMs: row[3],
                grantID: row[4])
        }
    }

    /// A pool's claims above a grant id, in order, at most `limit`.
    public func claims(
        ofPool pool: String, after grantID: Int64, limit: Int = 10_000
    ) throws(StoreError) -> [ClaimRow] {
        let rows = try fetch(
            """
            SELECT pool, user, packet, amount, granted_at, grant_id FROM claims
            WHERE grant_id > ?1 AND pool = ?2 ORDER BY grant_id LIMIT ?3
            """, [grantID, pool, limit])
        var claims: [ClaimRow] = []
        for row in rows {
            claims.append(
                ClaimRow(
                    pool: row[0], user: try Self.user(row, 1), packet: row[2],
                    amountFen: row[3], grantedMs: row[4], grantID: row[5]))
        }
        return claims
    }

    /// What each shard gave of a pool, in order of shards. Reads every claim of the store.
    public struct ShardTotal: Sendable, Equatable {
        public var shard: ShardID
        public var claims: Int64
        public var fen: Fen
    }

    public func claimsByShard(ofPool pool: String) throws(StoreError) -> [ShardTotal] {
        try fetch(
            """
            SELECT shard, count(*), sum(amount) FROM claims WHERE pool = ?1
            GROUP BY shard ORDER BY shard
            """, [pool]
        ).map { row in ShardTotal(shard: row[0], claims: row[1], fen: row[2]) }
    }

    /// An order by its id. O(log n).
    public func order(_ order: OrderID) throws(StoreError) -> OrderRecord? {
        try orders("WHERE order_id = ?1") { $0.bind(1, OrderIDText.text(order)) }.first
    }

    /// A user's orders, oldest id first, at most `limit`. O(log n + result).
    public func orders(
        of user: UserID, limit: Int = 1_000
    ) throws(StoreError) -> [OrderRecord] {
        try orders("WHERE user = ?1 ORDER BY order_id LIMIT ?2") { statement in
            statement.bind(1, user: user)
            statement.bind(2, Int64(limit))
        }
    }

    private func orders(
        _ condition: String, bind: (HotStatement) -> Void
    ) throws(StoreError) -> [OrderRecord] {
        try run { database in
            let rows = try HotStatement(database, OrderRows.selectSQL + " " + condition)
            bind(rows)
            var found: [OrderRecord] = []
            while try rows.step() {
                found.append(
                    try OrderRows.record(rows) { name throws(StoreError) in
                        PoolKey.of(.stock, name)
                    })
            }
            return found
        }
    }

    /// How far each shard has been applied.
    public func watermarks() throws(StoreError) -> WatermarkTable {
        try run { database in try SQLiteRows.watermarks(database) }
    }

    /// Events after a position, oldest first, as CloudEvents 1.0 JSON; at most `limit`.
    public func events(
        after position: Int64 = 0, limit: Int = 100
    ) throws(StoreError) -> [(position: Int64, event: String)] {
        try fetch(
            "SELECT position, event FROM v1_events WHERE position > ?1 ORDER BY position LIMIT ?2",
            [position, limit]
        ).map { ($0[0], $0[1]) }
    }

    private static func value(_ user: UserID) -> DatabaseValue {
        Int64(exactly: user)?.databaseValue ?? String(user).databaseValue
    }

    /// The inverse of `value`: users above 2^63 − 1 are kept as their decimal digits.
    private static func user(_ row: Row, _ column: Int) throws(StoreError) -> UserID {
        let value: DatabaseValue = row[column]
        if let number = Int64.fromDatabaseValue(value), let user = UserID(exactly: number) {
            return user
        }
        guard let digits = String.fromDatabaseValue(value), let user = UserID(digits) else {
            throw .corrupt("a claim without a user")
        }
        return user
    }

    private func fetch(
        _ sql: String, _ arguments: StatementArguments
    ) throws(StoreError) -> [Row] {
        try run { database in
            try Row.fetchAll(database, sql: sql, arguments: arguments)
        }
    }

    private func run<T>(_ body: (Database) throws -> T) throws(StoreError) -> T {
        do {
            return try queue.inDatabase(body)
        } catch {
            throw StoreError.of(error)
        }
    }
}
