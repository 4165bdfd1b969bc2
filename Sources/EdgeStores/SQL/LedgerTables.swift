import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeTypes

/// The tables of a store, the same in every engine, and how rows become values.
enum LedgerTables {
    private static let poolColumns = [
        "family", "name", "created", "control_version", "opens_at", "closes_at", "user_limit",
        "highest_limit", "paused", "closing", "closed", "created_at", "closed_at", "created_by",
        "funded", "leased", "taken_back", "leases", "take_backs",
    ]
    private static let sliceColumns = [
        "shard", "credited", "credits", "returned", "returns", "granted", "granted_amount",
        "pending", "sold", "quarantined", "sealed", "retired", "lost",
    ]
    private static let orderColumns = [
        "sku", "slice", "user", "qty", "price", "state", "reserved_at", "expires_at", "paid_at",
        "ended_at", "payment", "paid_fen", "refunded_fen", "restocked",
    ]

    // Rows that are new are refused where another writer was first; what was read and locked is
    // replaced.
    static let newPools = SQLTable("pools", key: ["key"], poolColumns, .refuse)
    static let pools = SQLTable("pools", key: ["key"], poolColumns, .replace)
    static let newSlices = SQLTable("slices", key: ["pool_key", "slice"], sliceColumns, .refuse)
    static let slices = SQLTable("slices", key: ["pool_key", "slice"], sliceColumns, .replace)
    // Which request has made an order never changes.
    static let newOrders = SQLTable(
        "orders", key: ["order_id"], orderColumns + ["request_hash"], .refuse)
    static let orders = SQLTable("orders", key: ["order_id"], orderColumns, .replace)
    static let newWatermarks = SQLTable(
        "watermarks", key: ["shard"], ["epoch", "sequence", "time"], .refuse)
    static let watermarks = SQLTable(
        "watermarks", key: ["shard"], ["epoch", "sequence", "time"], .replace)
    static let cursors = SQLTable("cursors", key: ["lane"], ["segment", "offset"], .replace)
    static let secrets = SQLTable("pool_secrets", key: ["key"], ["seed"], .refuse)
    static let rains = SQLTable(
        "rains", key: ["pool"],
        [
            "kind", "count", "amount", "min_amount", "max_amount", "user_limit", "state",
            "durability", "slices", "regions", "commitment",
        ], .refuse)
    static let stock = SQLTable(
        "stock", key: ["sku"],
        [
            "units", "price", "hold_ms", "user_limit", "state", "durability", "slices",
            "regions",
        ], .refuse)
    static let claims = SQLTable(
        "claims", key: ["grant_id"],
        ["pool", "user", "packet", "amount", "granted_at", "request_hash"], .refuse)
    static let payments = SQLTable(
        "payments", key: ["id"], ["order_id", "payment", "fen", "outcome", "at"], .refuse)
    static let refunds = SQLTable(
        "refunds", key: ["id"], ["order_id", "request", "fen", "restocked", "at"], .refuse)
    static let movements = SQLTable(
        "stock_movements", key: ["id"], ["sku", "order_id", "movement", "units", "at"], .refuse)
    static let outbox = SQLTable(
        "outbox", key: ["entry_id"], ["id", "type", "subject", "time", "data"], .refuse)

    // MARK: Reading

    static let selectPools =
        "SELECT `key`, " + poolColumns.joined(separator: ", ") + " FROM pools"
    static let selectSlices =
        "SELECT pool_key, slice, " + sliceColumns.joined(separator: ", ") + " FROM slices"
    static let selectOrders =
        "SELECT order_id, " + orderColumns.joined(separator: ", ") + ", request_hash FROM orders"

    /// The pool of a row of `selectPools`.
    static func pool(_ row: any SQLRow) throws -> PoolRow {
        guard let name = row.text64(2), let version = UInt32(exactly: row.integer(4)),
            let limit = UInt32(exactly: row.integer(7)),
            let highest = UInt32(exactly: row.integer(8)), let actor = row.text64(14)
        else { throw StoreError.badRow("pools: \(row.text(2))") }
        let control = PoolControl(
            version: version,
            terms: PoolTerms(opensMs: row.integer(5), closesMs: row.integer(6), limit: limit),
            paused: row.integer(9) != 0, closing: row.integer(10) != 0)
        var treasury = TreasuryBooks()
        treasury.funded = row.integer(15)
        treasury.leased = row.integer(16)
        treasury.takenBack = row.integer(17)
        treasury.leases = row.integer(18)
        treasury.takeBacks = row.integer(19)
        return PoolRow(
            key: PoolKey(rawValue: UInt64(bitPattern: row.integer(0))),
            family: try PoolWords.family(row.text(1)), name: name, created: row.integer(3) != 0,
            standing: PoolStanding(
                control: control, closed: row.integer(11) != 0, createdMs: row.integer(12),
                closedMs: row.integer(13), createdBy: actor, highestLimit: highest),
            treasury: treasury)
    }

    /// The slice of a row of `selectSlices`.
    static func slice(_ row: any SQLRow) throws -> SliceRow {
        guard let number = UInt32(exactly: row.integer(1)),
            let shard = ShardID(exactly: row.integer(2)),
            let credits = UInt32(exactly: row.integer(4)),
            let returns = UInt32(exactly: row.integer(6))
        else { throw StoreError.badRow("slices of shard \(row.integer(2))") }
        var books = SliceBooks()
        books.credited = row.integer(3)
        books.credits = credits
        books.returned = row.integer(5)
        books.returns = returns
        books.granted = row.integer(7)
        books.grantedFen = row.integer(8)
        books.pending = row.integer(9)
        books.sold = row.integer(10)
        books.quarantined = row.integer(11)
        books.sealed = row.integer(12) != 0
        books.retired = row.integer(13)
        books.lost = row.integer(14) != 0
        let pool = PoolKey(rawValue: UInt64(bitPattern: row.integer(0)))
        return SliceRow(key: SliceKey(pool: pool, slice: number), shard: shard, books: books)
    }

    /// The order of a row of `selectOrders`, and its SKU's name.
    static func order(_ row: any SQLRow) throws -> (record: OrderRecord, sku: Text64) {
        let id = row.text(0)
        guard let order = OrderIDText.parse(id), let sku = row.text64(1),
            let slice = UInt32(exactly: row.integer(2)), let user = row.user(3),
            let quantity = UInt32(exactly: row.integer(4)), let state = OrderState(row.text(6)),
            let payment = row.text64(11), let restocked = UInt32(exactly: row.integer(14))
        else { throw StoreError.badRow("order \(id)") }
        let record = OrderRecord(
            order: order, pool: PoolKey.of(.stock, sku), slice: slice, user: user,
            quantity: quantity, priceFen: row.integer(5), state: state,
            reservedMs: row.integer(7), expiresMs: row.integer(8), paidMs: row.integer(9),
            endedMs: row.integer(10), payment: payment, paidFen: row.integer(12),
            refundedFen: row.integer(13), restocked: restocked,
            requestHash: UInt64(bitPattern: row.integerOrNil(15) ?? 0))
        return (record, sku)
    }

    /// The event of a row of `SELECT entry_id, type, subject, time, data FROM outbox`.
    static func event(_ row: any SQLRow) throws -> EventRow {
        guard let subject = row.text64(2) else {
            throw StoreError.badRow("event \(row.integer(0))")
        }
        return EventRow(
            id: row.integer(0), type: row.text(1), subject: subject, timeMs: row.integer(3),
            data: row.text(4))
    }

    // MARK: Writing

    static func put(_ row: PoolRow, _ sink: any SQLSink) {
        let control = row.standing.control
        sink.put(Int64(bitPattern: row.key.rawValue))
        sink.put(PoolWords.word(row.family))
        sink.put(row.name)
        sink.put(row.created ? 1 : 0)
        sink.put(Int64(control.version))
        sink.put(control.terms.opensMs)
        sink.put(control.terms.closesMs)
        sink.put(Int64(control.terms.limit))
        sink.put(Int64(row.standing.highestLimit))
        sink.put(control.paused ? 1 : 0)
        sink.put(control.closing ? 1 : 0)
        sink.put(row.standing.closed ? 1 : 0)
        sink.put(row.standing.createdMs)
        sink.put(row.standing.closedMs)
        sink.put(row.standing.createdBy)
        sink.put(row.treasury.funded)
        sink.put(row.treasury.leased)
        sink.put(row.treasury.takenBack)
        sink.put(row.treasury.leases)
        sink.put(row.treasury.takeBacks)
    }

    static func put(_ row: SliceRow, _ sink: any SQLSink) {
        sink.put(Int64(bitPattern: row.key.pool.rawValue))
        sink.put(Int64(row.key.slice))
        sink.put(Int64(row.shard))
        sink.put(row.books.credited)
        sink.put(Int64(row.books.credits))
        sink.put(row.books.returned)
        sink.put(Int64(row.books.returns))
        sink.put(row.books.granted)
        sink.put(row.books.grantedFen)
        sink.put(row.books.pending)
        sink.put(row.books.sold)
        sink.put(row.books.quarantined)
        sink.put(row.books.sealed ? 1 : 0)
        sink.put(row.books.retired)
        sink.put(row.books.lost ? 1 : 0)
    }

    static func put(_ record: OrderRecord, sku: Text64, _ sink: any SQLSink) {
        sink.put(OrderIDText.text(record.order))
        sink.put(sku)
        sink.put(Int64(record.slice))
        sink.put(user: record.user)
        sink.put(Int64(record.quantity))
        sink.put(record.priceFen)
        sink.put(record.state.word)
        sink.put(record.reservedMs)
        sink.put(record.expiresMs)
        sink.put(orNull: record.paidMs)
        sink.put(orNull: record.endedMs)
        sink.put(orNull: record.payment)
        sink.put(record.paidFen)
        sink.put(record.refundedFen)
        sink.put(Int64(record.restocked))
    }

    static func put(rain definition: PoolDefinition, _ sink: any SQLSink) {
        sink.put(definition.name)
        sink.put(PoolWords.word(definition.kind))
        sink.put(definition.units)
        sink.put(definition.amountFen)
        sink.put(definition.minFen)
        sink.put(definition.maxFen)
        sink.put(0)
        sink.put("")
        sink.put(PoolWords.word(definition.durability))
        sink.put(Int64(definition.slices))
        put(regions: definition.regions, sink)
        sink.put(definition.commitment.hex)
    }

    static func put(stock definition: PoolDefinition, _ sink: any SQLSink) {
        sink.put(definition.name)
        sink.put(definition.units)
        sink.put(definition.amountFen)
        sink.put(definition.holdMs)
        sink.put(0)
        sink.put("")
        sink.put(PoolWords.word(definition.durability))
        sink.put(Int64(definition.slices))
        put(regions: definition.regions, sink)
    }

    private static func put(regions: [RegionShare], _ sink: any SQLSink) {
        if regions.isEmpty { sink.putNull() } else { sink.put(PoolWords.text(regions)) }
    }
}

extension OrderState {
    init?(_ word: String) {
        guard let state = OrderState.allCases.first(where: { $0.word == word }) else {
            return nil
        }
        self = state
    }
}
