import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeTypes
import GRDB

extension AuditPass {
    /// Cuts the orders into parts that fit in memory, by the store's own keys.
    func orderParts() throws -> [Range<UInt64>] {
        var cuts: [UInt64] = [0]
        let rows = try HotStatement(
            database,
            """
            SELECT order_id FROM orders WHERE order_id >= ?1
            ORDER BY order_id LIMIT 1 OFFSET ?2
            """)
        var from = ""
        while true {
            rows.bind(1, from)
            rows.bind(2, Int64(options.ordersAtOnce))
            guard try rows.step() else { break }
            from = rows.text(0)
            rows.reset()
            // A key that is no order id is found when its part is compared.
            guard let order = OrderIDText.parse(from), order.rawValue > cuts[cuts.count - 1]
            else { break }
            cuts.append(order.rawValue)
        }
        cuts.append(.max)
        return zip(cuts, cuts.dropFirst()).map { $0..<$1 }
    }

    /// Compares the orders of a part, which the fold holds, with the store's rows.
    func compareOrders(_ part: Range<UInt64>) throws {
        var seen = Array(repeating: false, count: fold.orders.count)
        let rows = try HotStatement(
            database,
            OrderRows.selectSQL + " WHERE order_id >= ?1 AND order_id < ?2 ORDER BY order_id")
        rows.bind(1, part.lowerBound == 0 ? "" : Self.text(part.lowerBound))
        rows.bind(2, part.upperBound == .max ? "~" : Self.text(part.upperBound))
        while try rows.step() {
            let id = rows.text(0)
            guard let order = OrderIDText.parse(id), let index = fold.index(of: order) else {
                extraOrder(id)
                continue
            }
            seen[index] = true
            report.orders += 1
            compare(fold.orders[index], rows)
        }
        for (index, order) in fold.orders.enumerated() where !seen[index] {
            report.add(
                .orderMissing, "order \(OrderIDText.text(order.order))", "row",
                expected: order.state.word, found: "none")
        }
    }

    private static func text(_ raw: UInt64) -> String {
        OrderIDText.text(OrderID(rawValue: raw))
    }

    private func extraOrder(_ id: String) {
        guard isComplete else {
            report.beyondJournal += 1
            return
        }
        report.add(.orderExtra, "order \(id)", "row", expected: "none", found: "a row")
    }

    private func compare(_ expected: OrderRecord, _ rows: HotStatement) {
        let id = OrderIDText.text(expected.order)
        let found: OrderRecord
        do {
            found = try OrderRows.record(rows) { name throws(StoreError) in
                PoolKey.of(.stock, name)
            }
        } catch {
            report.add(
                .orderDiffers, "order \(id)", "row", expected: "an order", found: "\(error)")
            return
        }
        guard found != expected else { return }
        let fields: [(String, String, String)] = [
            ("state", expected.state.word, found.state.word),
            ("paid_fen", "\(expected.paidFen)", "\(found.paidFen)"),
            ("refunded_fen", "\(expected.refundedFen)", "\(found.refundedFen)"),
            ("price", "\(expected.priceFen)", "\(found.priceFen)"),
            ("qty", "\(expected.quantity)", "\(found.quantity)"),
            ("user", "\(expected.user)", "\(found.user)"),
            ("payment", "\(expected.payment)", "\(found.payment)"),
            ("restocked", "\(expected.restocked)", "\(found.restocked)"),
            ("sku", fold.name(expected.pool), fold.name(found.pool)),
            ("reserved_at", "\(expected.reservedMs)", "\(found.reservedMs)"),
            ("expires_at", "\(expected.expiresMs)", "\(found.expiresMs)"),
            ("paid_at", "\(expected.paidMs)", "\(found.paidMs)"),
            ("ended_at", "\(expected.endedMs)", "\(found.endedMs)"),
            ("slice", "\(expected.slice)", "\(found.slice)"),
        ]
        guard let field = fields.first(where: { $0.1 != $0.2 }) else { return }
        report.add(
            .orderDiffers, "order \(id)", field.0, expected: field.1, found: field.2)
    }
}
