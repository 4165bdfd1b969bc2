public import EdgeLedger
import EdgeMemory
import EdgeReconciler
public import EdgeTypes

/// Questions about the past, answered from the store. Lags behind the nodes by the reconcilers'
/// lag. Used from one thread at a time; see `HistoryPool`.
public final class StoreHistory {
    private let engine: any SQLEngine

    /// Opens a store for reading only.
    public init(_ store: StoreURL) throws(StoreError) {
        var options = SQLiteOptions()
        options.cacheBytes = 16 << 20
        engine = try store.openForReading(options: options)
    }

    deinit { engine.close() }

    /// Runs several questions as of one moment.
    public func asOfOneMoment<T>(_ body: (StoreHistory) throws -> T) throws -> T {
        try engine.transaction(.snapshot) { try body(self) }
    }

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
        try rains(
            "r.pool > ? ORDER BY r.pool LIMIT ?", [.text(after), .integer(Int64(limit))])
    }

    /// - Returns: nil where there is no such rain. O(its slices).
    public func rain(_ pool: String) throws(StoreError) -> RainTotals? {
        try rains("r.pool = ?", [.text(pool)]).first
    }

    private func rains(
        _ condition: String, _ values: [SQLValue]
    ) throws(StoreError) -> [RainTotals] {
        // The page of rains is chosen first: the totals of all others are not needed.
        try fetch(
            """
            SELECT v.pool, v.state, v.count, v.amount, v.granted, v.granted_amount,
                v.quarantined, c.opens_at, c.closes_at, c.created_at
            FROM (SELECT * FROM rains r WHERE \(condition)) c
            JOIN v1_rain_totals v ON v.pool = c.pool
            ORDER BY c.pool
            """, values
        ) { row in
            RainTotals(
                pool: row.text(0), state: row.text(1), count: row.integer(2),
                amountFen: row.integer(3), granted: row.integer(4), grantedFen: row.integer(5),
                quarantined: row.integer(6), opensMs: row.integerOrNil(7),
                closesMs: row.integerOrNil(8), createdMs: row.integerOrNil(9))
        }
    }

    /// SKUs by name, those after `after`, at most `limit`. O(orders of all).
    public func stock(after: String = "", limit: Int = 100) throws(StoreError) -> [StockTotals] {
        try fetch(
            """
            SELECT sku, state, units, price, pending, sold, available, paid_fen, refunded_fen
            FROM v1_stock_totals WHERE sku > ? ORDER BY sku LIMIT ?
            """, [.text(after), .integer(Int64(limit))]
        ) { row in
            StockTotals(
                sku: row.text(0), state: row.text(1), units: row.integer(2),
                priceFen: row.integer(3), pending: row.integer(4), sold: row.integer(5),
                available: row.integer(6), paidFen: row.integer(7), refundedFen: row.integer(8))
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
            WHERE user = ?\(pool == nil ? "" : " AND pool = ?") ORDER BY grant_id LIMIT ?
            """,
            [.user(user), pool.map { .text($0) }, .integer(Int64(limit))].compactMap { $0 }
        ) { row in
            ClaimRow(
                pool: row.text(0), user: user, packet: row.integer(1),
                amountFen: row.integer(2), grantedMs: row.integer(3), grantID: row.integer(4))
        }
    }

    /// A user's claims of a rain that lie between two entries of a shard, both included, in order:
    /// what an archived slice is asked.
    ///
    /// O(log n). In SQLite only once the slice that `first` has opened is archived; until then it
    /// reads the entries between the two, some ten million a second.
    public func claims(
        of user: UserID, pool: Text64, from first: Int64, through last: Int64
    ) throws(StoreError) -> [ArchivedClaim] {
        func claim(_ row: any SQLRow) -> ArchivedClaim {
            ArchivedClaim(
                packet: row.integer(0), amountFen: row.integer(1), timeMs: row.integer(2),
                requestHash: UInt64(bitPattern: row.integer(3)))
        }
        if try isIndexed(first) {
            return try fetch(
                """
                SELECT c.packet, c.amount, c.granted_at, c.request_hash
                FROM archived_claims a CROSS JOIN claims c ON c.grant_id = a.grant_id
                WHERE a.first_id = ? AND a.user = ? AND a.grant_id <= ? AND c.pool = ?
                ORDER BY a.grant_id
                """,
                [.integer(first), .user(user), .integer(last), .text(pool.description)], claim)
        }
        return try fetch(
            """
            SELECT packet, amount, granted_at, request_hash FROM claims
            WHERE user = ? AND pool = ? AND grant_id >= ? AND grant_id <= ? ORDER BY grant_id
            """,
            [.user(user), .text(pool.description), .integer(first), .integer(last)], claim)
    }

    /// Whether the claims of the slice that an entry has opened are indexed by their users.
    private func isIndexed(_ first: Int64) throws(StoreError) -> Bool {
        if engine.indexesUsers { return false }
        return try !fetch(
            "SELECT 1 FROM archived_slices WHERE first_id = ?", [.integer(first)]
        ) { _ in true }.isEmpty
    }

    /// A pool's claims above a grant id, in order, at most `limit`.
    public func claims(
        ofPool pool: String, after grantID: Int64, limit: Int = 10_000
    ) throws(StoreError) -> [ClaimRow] {
        try fetch(
            """
            SELECT pool, user, packet, amount, granted_at, grant_id FROM claims
            WHERE grant_id > ? AND pool = ? ORDER BY grant_id LIMIT ?
            """, [.integer(grantID), .text(pool), .integer(Int64(limit))]
        ) { row in
            guard let user = row.user(1) else { throw StoreError.corrupt("a claim without a user") }
            return ClaimRow(
                pool: row.text(0), user: user, packet: row.integer(2),
                amountFen: row.integer(3), grantedMs: row.integer(4), grantID: row.integer(5))
        }
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
            SELECT shard, count(*), sum(amount) FROM claims WHERE pool = ?
            GROUP BY shard ORDER BY shard
            """, [.text(pool)]
        ) { row in
            ShardTotal(
                shard: ShardID(truncatingIfNeeded: row.integer(0)), claims: row.integer(1),
                fen: row.integer(2))
        }
    }

    /// An order by its id. O(log n).
    public func order(_ order: OrderID) throws(StoreError) -> OrderRecord? {
        try orders("WHERE order_id = ?", [.text(OrderIDText.text(order))]).first
    }

    /// A user's orders, oldest id first, at most `limit`. O(log n + result).
    public func orders(
        of user: UserID, limit: Int = 1_000
    ) throws(StoreError) -> [OrderRecord] {
        try orders(
            "WHERE user = ? ORDER BY order_id LIMIT ?", [.user(user), .integer(Int64(limit))])
    }

    /// What a question about archived orders finds: see `ArchivedOrders.answer`.
    ///
    /// O(log n + the user's orders, or payments or refunds of the order with that id).
    public func orders(_ question: ArchivedOrders) throws(StoreError) -> [StoredOrder] {
        switch question.operation {
        case .orders:
            // Sorted here: the engine would rather walk the whole table in order.
            let own = try stored(
                "WHERE user = ? AND sku = ? AND slice = ?", Self.owner(question))
            return Array(
                own.sorted { $0.record.order.rawValue > $1.record.order.rawValue }
                    .prefix(Self.mostRows))
        case .reserve:
            return try stored(
                "WHERE user = ? AND sku = ? AND slice = ? AND request_hash = ?",
                Self.owner(question) + [.integer(Int64(bitPattern: question.requestHash))])
        default:
            let id = SQLValue.text(OrderIDText.text(question.order))
            var found = try stored("WHERE order_id = ?", [id])
            if !found.isEmpty { found[0].known = try known(question, id) }
            return found
        }
    }

    /// As a node lists at most.
    private static let mostRows = 1_000

    private static func owner(_ question: ArchivedOrders) -> [SQLValue] {
        [
            .user(question.user), .text(question.sku.description),
            .integer(Int64(question.slice)),
        ]
    }

    private func stored(
        _ condition: String, _ values: [SQLValue]
    ) throws(StoreError) -> [StoredOrder] {
        try fetch(LedgerTables.selectOrders + " " + condition, values) { row in
            let (record, sku) = try LedgerTables.order(row)
            return StoredOrder(record: record, sku: sku)
        }
    }

    /// Whether a payment or a refund was met before. Engines may take ids for equal that differ in
    /// their last spaces.
    private func known(
        _ question: ArchivedOrders, _ order: SQLValue
    ) throws(StoreError) -> RecalledOrder.Known {
        let id = SQLValue.text(question.text.description)
        switch question.operation {
        case .orderPay:
            let ends = try fetch(
                "SELECT payment, outcome FROM payments WHERE order_id = ? AND payment = ?",
                [order, id]
            ) { row in (row.text64(0), row.text(1)) }
            guard let end = ends.first(where: { $0.0 == question.text }) else { return .new }
            return end.1 == PaymentRow.Outcome.refundDue.rawValue ? .refused : .bought
        case .orderRefund:
            let refunds = try fetch(
                "SELECT request, fen, restocked FROM refunds WHERE order_id = ? AND request = ?",
                [order, id]
            ) { row in (row.text64(0), row.integer(1), row.integer(2)) }
            guard let refund = refunds.first(where: { $0.0 == question.text }) else { return .new }
            guard let restocked = UInt32(exactly: refund.2) else {
                throw StoreError.badRow("a refund of \(question.order.text)")
            }
            return .refund(amountFen: refund.1, restocked: restocked)
        default: return .new
        }
    }

    private func orders(
        _ condition: String, _ values: [SQLValue]
    ) throws(StoreError) -> [OrderRecord] {
        try fetch(LedgerTables.selectOrders + " " + condition, values) { row in
            try LedgerTables.order(row).record
        }
    }

    /// How far each shard has been applied.
    public func watermarks() throws(StoreError) -> WatermarkTable {
        try run { try LedgerReader(engine: engine).watermarks() }
    }

    /// Events of a shard after a sequence, in order, as CloudEvents 1.0 JSON; at most `limit`.
    public func events(
        ofShard shard: ShardID, after sequence: UInt64 = 0, limit: Int = 100
    ) throws(StoreError) -> [(sequence: UInt64, event: String)] {
        try fetch(
            """
            SELECT entry_id, event FROM v1_events WHERE entry_id > ? AND entry_id <= ?
            ORDER BY entry_id LIMIT ?
            """,
            [
                .integer(EntryID.of(shard: shard, sequence: sequence)),
                .integer(EntryID.of(shard: shard, sequence: (1 << 48) - 1)),
                .integer(Int64(limit)),
            ]
        ) { row in (EntryID.sequence(of: row.integer(0)), row.text(1)) }
    }

    private func fetch<T>(
        _ sql: String, _ values: [SQLValue], _ row: (any SQLRow) throws -> T
    ) throws(StoreError) -> [T] {
        try run {
            var found: [T] = []
            try engine.read(sql, values) { found.append(try row($0)) }
            return found
        }
    }

    private func run<T>(_ body: () throws -> T) throws(StoreError) -> T {
        do {
            return try body()
        } catch {
            throw StoreError.of(error)
        }
    }
}
