import EdgeLedger
import EdgeReconciler
import EdgeTypes
import GRDB

/// Orders, payments and refunds of a batch, and the events they make.
final class OrderWriter {
    private struct Work {
        var record: OrderRecord
        var isNew: Bool
    }

    let events: OutboxWriter
    private let pools: PoolWriter
    private let select: HotStatement
    private let insert: HotStatement
    private let update: HotStatement
    private let insertPayment: HotStatement
    private let insertRefund: HotStatement
    private var work: [Work] = []
    private var index: [OrderID: Int] = [:]

    init(_ database: Database, _ pools: PoolWriter) throws(StoreError) {
        self.pools = pools
        events = try OutboxWriter(database)
        select = try HotStatement(database, OrderRows.selectSQL + " WHERE order_id = ?1")
        insert = try HotStatement(
            database,
            """
            INSERT INTO orders (order_id, state, paid_at, ended_at, payment, paid_fen,
                refunded_fen, restocked, sku, slice, user, qty, price, reserved_at, expires_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
            """)
        update = try HotStatement(
            database,
            """
            UPDATE orders SET state = ?2, paid_at = ?3, ended_at = ?4, payment = ?5,
                paid_fen = ?6, refunded_fen = ?7, restocked = ?8
            WHERE order_id = ?1
            """)
        insertPayment = try HotStatement(
            database,
            """
            INSERT INTO payments (id, order_id, payment, fen, outcome, at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)
            """)
        insertRefund = try HotStatement(
            database,
            """
            INSERT INTO refunds (id, order_id, request, fen, restocked, at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)
            """)
    }

    func apply(_ header: EntryHeader, _ entry: Entry) throws {
        switch entry {
        case .orderReserved(let reserved): try reserve(header, reserved)
        case .orderPaid(let paid):
            let record = try change(header, paid.order) { record throws(HistoryFault) in
                try record.pay(header, paid)
            }
            try pay(
                header, record, paid.payment, paid.amountFen, paid.late ? "late" : "captured")
            try event(
                header, "order.paid", record,
                [
                    ("payment", .text(paid.payment)), ("fen", .integer(paid.amountFen)),
                    ("late", .flag(paid.late)),
                ])
        case .orderCancelled(let order):
            let record = try change(header, order) { record throws(HistoryFault) in
                try record.cancel(header)
            }
            try event(header, "order.cancelled", record, [])
        case .orderExpired(let order):
            let record = try change(header, order) { record throws(HistoryFault) in
                try record.expire(header)
            }
            try event(header, "order.expired", record, [])
        case .orderRefunded(let refund): try giveBack(header, refund)
        case .paymentRefused(let refused):
            let record = work[try at(header, refused.order)].record
            try pay(header, record, refused.payment, refused.amountFen, "refund_due")
            try event(
                header, "refund.due", record,
                [("payment", .text(refused.payment)), ("fen", .integer(refused.amountFen))])
        case .claim, .poolCreated, .poolControlled, .poolFunded, .poolLeased, .poolTookBack,
            .poolClosed, .poolSoldOut, .poolMoved, .sliceOpened, .sliceControlled, .sliceCredited,
            .sliceReturned,
            .sliceQuarantined, .sliceResolved, .poolResolved:
            preconditionFailure("not an entry of an order")
        }
    }

    private func reserve(_ header: EntryHeader, _ reserved: OrderReserved) throws {
        guard try load(reserved.order) == nil else {
            throw HistoryFault(header, .orderTwice(reserved.order))
        }
        let record = OrderRecord(header, reserved)
        index[reserved.order] = work.count
        work.append(Work(record: record, isNew: true))
        try pools.move(header, from: nil, to: record)
        try event(
            header, "order.reserved", record,
            [
                ("price", .integer(record.priceFen)),
                ("expiresAt", .integer(record.expiresMs)),
            ])
    }

    private func giveBack(_ header: EntryHeader, _ refund: OrderRefunded) throws {
        let record = try change(header, refund.order) { record throws(HistoryFault) in
            try record.refund(header, refund)
        }
        insertRefund.bind(1, EntryID.of(shard: header.shard, sequence: header.sequence))
        insertRefund.bind(2, OrderIDText.text(record.order))
        insertRefund.bind(3, refund.request)
        insertRefund.bind(4, refund.amountFen)
        insertRefund.bind(5, Int64(refund.restock))
        insertRefund.bind(6, header.timeMs)
        try insertRefund.run()
    }

    private func pay(
        _ header: EntryHeader, _ record: OrderRecord, _ payment: Text64, _ fen: Fen,
        _ outcome: String
    ) throws(StoreError) {
        insertPayment.bind(1, EntryID.of(shard: header.shard, sequence: header.sequence))
        insertPayment.bind(2, OrderIDText.text(record.order))
        insertPayment.bind(3, payment)
        insertPayment.bind(4, fen)
        insertPayment.bind(5, outcome)
        insertPayment.bind(6, header.timeMs)
        try insertPayment.run()
    }

    private func event(
        _ header: EntryHeader, _ type: String, _ record: OrderRecord,
        _ more: [(String, OutboxWriter.Value)]
    ) throws {
        let sku = try pools.sku(header, record.pool)
        let order = Text64(OrderIDText.text(record.order))
        try events.add(
            header, type: type, subject: order,
            [
                ("order", .text(order)), ("sku", .text(sku.text)),
                ("user", .text(Text64(String(record.user)))),
                ("qty", .integer(Int64(record.quantity))),
            ] + more)
    }

    // MARK: Lookups

    private func change(
        _ header: EntryHeader, _ order: OrderID,
        _ body: (inout OrderRecord) throws(HistoryFault) -> Void
    ) throws -> OrderRecord {
        let index = try at(header, order)
        let before = work[index].record
        try body(&work[index].record)
        try pools.move(header, from: before, to: work[index].record)
        return work[index].record
    }

    private func at(_ header: EntryHeader, _ order: OrderID) throws -> Int {
        guard let index = try load(order) else {
            throw HistoryFault(header, .unknownOrder(order))
        }
        return index
    }

    private func load(_ order: OrderID) throws -> Int? {
        if let known = index[order] { return known }
        select.bind(1, OrderIDText.text(order))
        guard try select.step() else { return nil }
        defer { select.reset() }
        let record = try OrderRows.record(select) { name throws(StoreError) in
            do {
                return try pools.sku(named: name)
            } catch {
                throw StoreError.of(error)
            }
        }
        index[order] = work.count
        work.append(Work(record: record, isNew: false))
        return work.count - 1
    }

    // MARK: Writing back

    func writeBack() throws {
        for item in work {
            let record = item.record
            let statement = item.isNew ? insert : update
            statement.bind(1, OrderIDText.text(record.order))
            statement.bind(2, record.state.word)
            statement.bind(3, orNull: record.paidMs)
            statement.bind(4, orNull: record.endedMs)
            statement.bind(5, orNull: record.payment)
            statement.bind(6, record.paidFen)
            statement.bind(7, record.refundedFen)
            statement.bind(8, Int64(record.restocked))
            if item.isNew {
                let header = EntryHeader(
                    shard: record.order.shard, epoch: 0, sequence: 0, timeMs: 0)
                statement.bind(9, stable: try pools.sku(header, record.pool).bytes)
                statement.bind(10, Int64(record.slice))
                statement.bind(11, user: record.user)
                statement.bind(12, Int64(record.quantity))
                statement.bind(13, record.priceFen)
                statement.bind(14, record.reservedMs)
                statement.bind(15, record.expiresMs)
            }
            try statement.run()
        }
    }

    func finish() {
        work.removeAll(keepingCapacity: true)
        index.removeAll(keepingCapacity: true)
    }
}

/// Reading rows of `orders`.
enum OrderRows {
    static let selectSQL = """
        SELECT order_id, sku, slice, user, qty, price, state, reserved_at, expires_at, paid_at,
            ended_at, payment, paid_fen, refunded_fen, restocked
        FROM orders
        """

    /// The order of the current row of `selectSQL`.
    static func record(
        _ row: HotStatement, pool: (Text64) throws(StoreError) -> PoolKey?
    ) throws(StoreError) -> OrderRecord {
        let id = row.text(0)
        guard let order = OrderIDText.parse(id), let sku = row.text64(1),
            let slice = UInt32(exactly: row.integer(2)), let user = row.user(3),
            let quantity = UInt32(exactly: row.integer(4)), let state = OrderState(row.text(6)),
            let payment = row.text64(11), let restocked = UInt32(exactly: row.integer(14)),
            let key = try pool(sku)
        else { throw .badRow("order \(id)") }
        return OrderRecord(
            order: order, pool: key, slice: slice, user: user, quantity: quantity,
            priceFen: row.integer(5), state: state, reservedMs: row.integer(7),
            expiresMs: row.integer(8), paidMs: row.integer(9), endedMs: row.integer(10),
            payment: payment, paidFen: row.integer(12), refundedFen: row.integer(13),
            restocked: restocked)
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
