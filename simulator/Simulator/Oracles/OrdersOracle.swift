import EdgeTypes

/// No SKU is sold beyond its stock, no user buys above the limit, and what was reserved until a
/// time can be paid until then.
final class OrdersOracle: Oracle {
    let name = "orders"

    private struct Order {
        var user: UserID
        var quantity: Int64
        var expiresMs: Int64
        var isBought = false
        /// When that was heard.
        var boughtNs: UInt64 = 0
        var cancelledNs = UInt64.max
        var restocked: Int64 = 0
        /// Somebody asked for something that may end it, or pay it otherwise.
        var hasOthers = false
        var payments: Set<String> = []
    }

    private struct Pool {
        var orders: [String: Order] = [:]
        var funded: Int64
        var sold: Int64 = 0
        var refills: Set<String> = []
        var highestLimit: Int64
        var boughtBy: [UserID: Int64] = [:]
        var restocks: Set<String> = []
    }

    private var pools: [Pool] = []

    private func prepare(_ world: World) {
        guard pools.isEmpty else { return }
        pools = world.pools.map { Pool(funded: $0.units, highestLimit: Int64($0.limit)) }
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
        case .cancel: pools[index].orders[operation.order]?.hasOthers = true
        case .pay: pools[index].orders[operation.order]?.payments.insert(operation.request)
        case .alter:
            if let at = operation.words.firstIndex(of: "LIMIT"),
                let limit = Int64(operation.words[at + 1])
            {
                pools[index].highestLimit = max(pools[index].highestLimit, limit)
            }
        default: break
        }
    }

    private func restock(_ index: Int, _ operation: Operation) {
        guard let order = pools[index].orders[operation.order], order.isBought else { return }
        let units = min(operation.quantity, order.quantity - order.restocked)
        pools[index].orders[operation.order]?.restocked += units
        pools[index].sold -= units
        pools[index].boughtBy[order.user, default: 0] -= units
    }

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        prepare(world)
        switch operation.kind {
        case .reserve: reserved(world, operation, answer)
        case .pay: paid(world, operation, answer, sentNs)
        case .cancel:
            if answer.items.first?.text == "cancelled" {
                let cancelledNs = pools[operation.pool].orders[operation.order]?.cancelledNs ?? .max
                pools[operation.pool].orders[operation.order]?.cancelledNs =
                    min(cancelledNs, world.nowNs)
            }
            if answer.items.first?.text == "cancelled",
                let order = pools[operation.pool].orders[operation.order], order.isBought,
                sentNs > order.boughtNs
            {
                fail(world, operation, "a paid order was cancelled")
            }
        default: break
        }
    }

    private func fail(_ world: World, _ operation: Operation, _ text: String) {
        world.fail(
            name,
            "\(world.pools[operation.pool].name), user \(operation.user), operation "
                + "\(operation.id), order \(operation.order): \(text)")
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
            user: operation.user, quantity: operation.quantity, expiresMs: expiresMs)
    }

    private func paid(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, _ sentNs: UInt64
    ) {
        let index = operation.pool
        let plan = world.pools[index]
        guard let order = pools[index].orders[operation.order] else { return }
        let outcome = answer.items.first?.text
        if operation.fen != plan.amountFen * operation.quantity {
            // Whoever was too busy to look says so.
            if answer.errorCode != "MISMATCH", answer.errorCode != "TRYAGAIN" {
                fail(world, operation, "a payment of \(operation.fen) fen: \(answer)")
            }
            return
        }
        // One that had expired may still be bought late.
        if outcome == "paid", operation.startedNs > order.cancelledNs {
            fail(world, operation, "a cancelled order was paid")
        }
        if outcome == "paid" || outcome == "late" || outcome == "repeat" {
            guard !order.isBought else { return }
            pools[index].orders[operation.order]?.isBought = true
            pools[index].orders[operation.order]?.boughtNs = world.nowNs
            pools[index].sold += order.quantity
            let bought = (pools[index].boughtBy[order.user] ?? 0) + order.quantity
            pools[index].boughtBy[order.user] = bought
            if pools[index].sold > pools[index].funded {
                fail(world, operation, "\(pools[index].sold) sold of \(pools[index].funded)")
            }
            if bought > pools[index].highestLimit {
                fail(
                    world, operation,
                    "user \(order.user) bought \(bought), the limit is "
                        + "\(pools[index].highestLimit)")
            }
        }
        checkHold(world, operation, order, outcome)
    }

    /// A payment that is answered before its order's time is up buys it.
    private func checkHold(
        _ world: World, _ operation: Operation, _ order: Order, _ outcome: String?
    ) {
        guard outcome == "late" || outcome == "refund", !order.hasOthers,
            order.payments.count <= 1, !hasClockFaults(world, operation.node),
            world.nodes[operation.node].now.wallMs < order.expiresMs
        else { return }
        fail(
            world, operation,
            "\(outcome ?? "") at "
                + "\(world.nodes[operation.node].now.wallMs), held until \(order.expiresMs)")
    }

    private func hasClockFaults(_ world: World, _ node: Int) -> Bool {
        world.plan.faults.contains { fault in
            fault.node == node
                && [.clockForward, .clockBack, .clockDrift].contains(fault.kind)
        }
    }
}
