import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeTypes

extension AuditPass {
    /// Cuts the orders into parts that fit in memory, by the store's own keys.
    func orderParts() throws -> [Range<UInt64>] {
        var cuts: [UInt64] = [0]
        var from = ""
        while true {
            var found: String?
            try engine.read(
                """
                SELECT order_id FROM orders WHERE order_id >= ?
                ORDER BY order_id LIMIT 1 OFFSET ?
                """, [.text(from), .integer(Int64(options.ordersAtOnce))]
            ) { row in found = row.text(0) }
            guard let found else { break }
            from = found
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
        let first = part.lowerBound == 0 ? "" : Self.text(part.lowerBound)
        let end = part.upperBound == .max ? "~" : Self.text(part.upperBound)
        try engine.read(
            LedgerTables.selectOrders
                + " WHERE order_id >= ? AND order_id < ? ORDER BY order_id",
            [.text(first), .text(end)]
        ) { rows in
            let id = rows.text(0)
            guard let order = OrderIDText.parse(id), let index = fold.index(of: order) else {
                extraOrder(id)
                return
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

    private func compare(_ expected: OrderRecord, _ rows: any SQLRow) {
        let id = OrderIDText.text(expected.order)
        var found: OrderRecord
        do {
            found = try LedgerTables.order(rows).record
        } catch {
            report.add(
                .orderDiffers, "order \(id)", "row", expected: "an order", found: "\(error)")
            return
        }
        if found.requestHash == 0 { found.requestHash = expected.requestHash }
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
            ("request_hash", "\(expected.requestHash)", "\(found.requestHash)"),
        ]
        guard let field = fields.first(where: { $0.1 != $0.2 }) else { return }
        report.add(
            .orderDiffers, "order \(id)", field.0, expected: field.1, found: field.2)
    }
}
