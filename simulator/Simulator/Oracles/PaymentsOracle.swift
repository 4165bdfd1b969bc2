import EdgeLedger
import EdgeMemory
import EdgeTypes

/// Every captured payment ends in exactly one of goods and refund, and the store knows which; what
/// was given back of an order, in money and in units, is what was asked for.
final class PaymentsOracle: Oracle {
    let name = "payments"

    /// Order numbers repeat from node to node.
    private struct OrderKey: Hashable {
        var node: Int
        var order: String
    }

    private struct Key: Hashable {
        var order: OrderKey
        /// Of a payment, or of a refund.
        var request: String
    }

    private struct Refund {
        var fen: Fen = 0
        var units: Int64 = 0
    }

    /// Whether it bought.
    private var told: [Key: Bool] = [:]
    private var toldKeys: [Key] = []
    private var known: Set<Key> = []
    private var refunds: [OrderKey: Refund] = [:]
    private var refundedOrders: [OrderKey] = []

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        guard let outcome = answer.items.first?.text else { return }
        let order = OrderKey(node: world.pools[operation.pool].node, order: operation.order)
        let key = Key(order: order, request: operation.request)
        if operation.kind == .pay {
            if told[key] == nil { toldKeys.append(key) }
            told[key] = outcome != "refund"
            check(world, operation, outcome)
        } else if operation.kind == .refund, outcome == "refunded" || outcome == "repeat" {
            guard known.insert(key).inserted else { return }
            if refunds[order] == nil { refundedOrders.append(order) }
            refunds[order, default: Refund()].fen += operation.fen
            refunds[order, default: Refund()].units += operation.quantity
        }
    }

    /// What a payment is told is what the entries say of it.
    private func check(_ world: World, _ operation: Operation, _ outcome: String) {
        guard let order = world.histories[operation.node].order(operation.order) else {
            return world.fail(name, "order \(operation.order) is in no entry")
        }
        let payment = Text64(operation.request)
        let isSo =
            outcome == "refund"
            ? order.refused.contains(payment)
            : order.state == .paid && order.payment == payment
        if !isSo {
            world.fail(
                name,
                "payment \(operation.request) of order \(operation.order) was told \(outcome), "
                    + "the order is \(order)")
        }
    }

    func ended(_ world: World) {
        for key in toldKeys where !world.histories[key.order.node].isGone {
            let history = world.histories[key.order.node]
            guard let bought = told[key], !history.isShippingStopped else { continue }
            let rows = world.nodes[key.order.node].store.payments.filter {
                $0.order.text == key.order.order && $0.payment.description == key.request
            }
            guard rows.count == 1, rows[0].bought == bought else {
                return world.fail(
                    name,
                    "payment \(key.request) of order \(key.order.order) was told to "
                        + (bought ? "buy" : "be given back")
                        + ", the store has \(rows.map { $0.bought ? "goods" : "refund" })")
            }
        }
        for order in refundedOrders where !world.histories[order.node].isGone {
            checkRefunds(world, order)
        }
    }

    /// What was given back of an order is what was asked for, each request once.
    private func checkRefunds(_ world: World, _ key: OrderKey) {
        let history = world.histories[key.node]
        let asked = refunds[key] ?? Refund()
        guard let id = OrderID(text: key.order), let record = history.fold.order(id) else {
            return world.fail(name, "order \(key.order) was refunded and is in no entry")
        }
        if record.refundedFen != asked.fen || Int64(record.restocked) != asked.units {
            world.fail(
                name,
                "order \(key.order): \(record.refundedFen) fen and \(record.restocked) units were "
                    + "given back, asked were \(asked.fen) and \(asked.units)")
        }
    }
}
