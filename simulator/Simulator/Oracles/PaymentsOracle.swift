import EdgeLedger
import EdgeMemory
import EdgeTypes

/// Every captured payment ends in exactly one of goods and refund, and the store knows which.
final class PaymentsOracle: Oracle {
    let name = "payments"

    private struct Key: Hashable {
        var order: String
        var payment: String
    }

    private struct Told {
        var node: Int
        var bought: Bool
    }

    private var told: [Key: Told] = [:]
    private var order: [Key] = []
    private var refunds: [Key: Fen] = [:]
    private var refundedOrders: [String] = []

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        guard let outcome = answer.items.first?.text else { return }
        let key = Key(order: operation.order, payment: operation.request)
        if operation.kind == .pay {
            if told[key] == nil { order.append(key) }
            told[key] = Told(node: operation.node, bought: outcome != "refund")
        } else if operation.kind == .refund, outcome == "refunded" || outcome == "repeat" {
            if refunds.updateValue(operation.fen, forKey: key) == nil {
                refundedOrders.append(operation.order)
            }
        }
    }

    func ended(_ world: World) {
        for key in order {
            guard let told = told[key], !world.histories[told.node].isGone else { continue }
            let rows = world.nodes[told.node].store.payments.filter {
                $0.order.text == key.order && $0.payment.description == key.payment
            }
            guard rows.count == 1, rows[0].bought == told.bought else {
                return world.fail(
                    name,
                    "payment \(key.payment) of order \(key.order) was told to "
                        + (told.bought ? "buy" : "be given back")
                        + ", the store has \(rows.map { $0.bought ? "goods" : "refund" })")
            }
        }
        checkRefunds(world)
    }

    /// What was given back of an order is what was asked for, each request once.
    private func checkRefunds(_ world: World) {
        var sums: [String: Fen] = [:]
        for (key, fen) in refunds { sums[key.order, default: 0] += fen }
        for order in refundedOrders {
            for node in world.nodes where !world.histories[node.index].isGone {
                guard let record = node.store.fold.orders.first(where: { $0.order.text == order }),
                    record.refundedFen != sums[order], belongs(order, to: node.index)
                else { continue }
                world.fail(
                    name,
                    "order \(order): \(record.refundedFen) fen were given back, asked were "
                        + "\(sums[order] ?? 0)")
            }
        }
    }

    /// Order numbers repeat from node to node.
    private func belongs(_ order: String, to node: Int) -> Bool {
        self.order.contains { $0.order == order && told[$0]?.node == node }
            && !self.order.contains { $0.order == order && told[$0]?.node != node }
    }
}
