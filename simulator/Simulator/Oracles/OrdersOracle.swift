import EdgeMemory
import EdgeTypes

/// No SKU is sold beyond its stock, what users are told of their orders is what was done, and a
/// payment of a wrong amount buys nothing.
final class OrdersOracle: Oracle {
    let name = "orders"

    private struct Order {
        var user: UserID
        var quantity: Int64
        var isBought = false
        /// When that was heard.
        var boughtNs: UInt64 = 0
        var cancelledNs = UInt64.max
        var restocked: Int64 = 0
    }

    private struct Pool {
        var orders: [String: Order] = [:]
        var funded: Int64
        var sold: Int64 = 0
        var refills: Set<String> = []
        var restocks: Set<String> = []
    }

    private var pools: [Pool] = []

    private func prepare(_ world: World) {
        if pools.isEmpty { pools = world.pools.map { Pool(funded: $0.units) } }
    }

    func asked(_ world: World, _ operation: Operation) {
        prepare(world)
        let index = operation.pool
        switch operation.kind {
        case .refill:
            if pools[index].refills.insert(operation.request).inserted {
                pools[index].funded += operation.quantity
            }
        case .refund:
            // It may have happened as soon as it was asked for.
            if pools[index].restocks.insert(operation.request).inserted {
                restock(index, operation)
            }
        default: break
        }
    }

    private func restock(_ index: Int, _ operation: Operation) {
        guard let order = pools[index].orders[operation.order], order.isBought else { return }
        let units = min(operation.quantity, order.quantity - order.restocked)
        pools[index].orders[operation.order]?.restocked += units
        pools[index].sold -= units
    }

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        prepare(world)
        // It tells nothing: they ask again.
        if answer.errorCode == "UNKNOWN" || answer.errorCode == "TRYAGAIN" { return }
        switch operation.kind {
        case .reserve: reserved(world, operation, answer)
        case .pay: paid(world, operation, answer)
        case .cancel: cancelled(world, operation, answer, sentNs)
        default: break
        }
    }

    private func fail(_ world: World, _ operation: Operation, _ text: String) {
        world.fail(
            name,
            "\(world.pools[operation.pool].name), user \(operation.user), operation "
                + "\(operation.id), order \(operation.order): \(text)")
    }

    /// Whether an operator has put units back on the shelf that may have been sold.
    private func isSoldAgain(_ world: World, _ operation: Operation) -> Bool {
        let plan = world.pools[operation.pool]
        return world.mayHaveLost(plan) && world.histories[operation.node].isReleased(plan.key)
    }

    private func reserved(_ world: World, _ operation: Operation, _ answer: RESPAnswer) {
        let outcome = answer.items.first?.text
        guard outcome == "reserved" || outcome == "repeat", answer.items.count == 3,
            let id = answer.items[1].text, let expiresMs = answer.items[2].integer
        else { return }
        if let known = pools[operation.pool].orders[id] {
            if known.user != operation.user {
                fail(world, operation, "order \(id) is user \(known.user)'s")
            }
            return
        }
        pools[operation.pool].orders[id] = Order(
            user: operation.user, quantity: operation.quantity)
        guard let made = world.histories[operation.node].order(id) else {
            return fail(world, operation, "order \(id) is in no entry")
        }
        if made.user != operation.user || made.quantity != operation.quantity
            || made.expiresMs != expiresMs
        {
            fail(world, operation, "order \(id) is \(made), told was \(answer)")
        }
    }

    private func cancelled(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, _ sentNs: UInt64
    ) {
        let index = operation.pool
        guard answer.items.first?.text == "cancelled",
            let order = pools[index].orders[operation.order]
        else { return }
        pools[index].orders[operation.order]?.cancelledNs = min(order.cancelledNs, world.nowNs)
        if order.isBought, sentNs > order.boughtNs {
            fail(world, operation, "a paid order was cancelled")
        }
    }

    private func paid(_ world: World, _ operation: Operation, _ answer: RESPAnswer) {
        let index = operation.pool
        let plan = world.pools[index]
        guard let order = pools[index].orders[operation.order] else { return }
        let outcome = answer.items.first?.text
        if operation.fen != plan.amountFen * operation.quantity {
            // Whoever was too busy to look says so.
            let isGone = answer.errorCode == "NOORDER" && world.mayHaveLost(plan)
            if answer.errorCode != "MISMATCH", answer.errorCode != "TRYAGAIN", !isGone {
                fail(world, operation, "a payment of \(operation.fen) fen: \(answer)")
            }
            return
        }
        // One that had expired may still be bought late.
        if outcome == "paid", operation.startedNs > order.cancelledNs {
            fail(world, operation, "a cancelled order was paid")
        }
        guard outcome == "paid" || outcome == "late" || outcome == "repeat", !order.isBought else {
            return
        }
        pools[index].orders[operation.order]?.isBought = true
        pools[index].orders[operation.order]?.boughtNs = world.nowNs
        pools[index].sold += order.quantity
        if pools[index].sold > pools[index].funded, !isSoldAgain(world, operation) {
            fail(world, operation, "\(pools[index].sold) sold of \(pools[index].funded)")
        }
    }
}
