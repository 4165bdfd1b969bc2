import EdgeTypes

/// A refusal is true: an error is one that the request can have earned, and packets are `lost` only
/// where a crash may have taken them along.
final class RefusalsOracle: Oracle {
    let name = "refusals"

    private struct Pool {
        /// When its creation was first heard of; and when somebody first asked to close it.
        var createdNs = UInt64.max
        var closeAskedNs = UInt64.max
    }

    private var pools: [Pool] = []

    private func prepare(_ world: World) {
        if pools.isEmpty { pools = Array(repeating: Pool(), count: world.pools.count) }
    }

    func asked(_ world: World, _ operation: Operation) {
        prepare(world)
        guard operation.kind == .close else { return }
        pools[operation.pool].closeAskedNs = min(pools[operation.pool].closeAskedNs, world.nowNs)
    }

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        prepare(world)
        let plan = world.pools[operation.pool]
        if operation.kind == .create, answer.text == "OK" {
            let createdNs = pools[operation.pool].createdNs
            pools[operation.pool].createdNs = min(createdNs, world.nowNs)
        }
        func fail(_ text: String) {
            world.fail(
                name,
                "\(plan.name), operation \(operation.id), "
                    + "\(operation.words.joined(separator: " ")): \(text)")
        }
        if let code = answer.errorCode {
            if !isEarned(code, world, operation, sentNs) { fail("\(answer)") }
            return
        }
        if operation.actor >= 0, plan.isForeign(operation.actor, world.random) {
            return fail("answered to a region that the pool does not have")
        }
        let mayBeLost = plan.durability == .memory && world.nodes[plan.node].crashes > 0
        if operation.kind == .grab, answer.items.first?.text == "lost", !mayBeLost {
            fail("nothing can be lost")
        }
        if operation.kind == .info, !plan.isStock, !mayBeLost,
            let quarantined = answer["quarantined"]?.integer, quarantined != 0
        {
            fail("\(quarantined) packets are out of play")
        }
    }

    private func isEarned(
        _ code: String, _ world: World, _ operation: Operation, _ sentNs: UInt64
    ) -> Bool {
        let plan = world.pools[operation.pool]
        let pool = pools[operation.pool]
        switch code {
        case "TRYAGAIN", "UNKNOWN", "FULL": return true
        case "NORAIN", "NOSTOCK":
            return sentNs <= pool.createdNs
        case "MISMATCH":
            return operation.kind == .pay && operation.fen != plan.amountFen * operation.quantity
        case "EXISTS": return operation.kind == .createOther
        case "BADARG":
            switch operation.kind {
            case .pause, .resume, .alter, .refill:
                return pool.closeAskedNs != .max || plan.closesAfterNs != nil
            // Together more than was paid or sold; and what cannot be a pool at all.
            case .refund, .createOther: return true
            case .grab, .claims, .reserve, .orders:
                return plan.isForeign(operation.actor, world.random)
            case .pay, .cancel, .create, .warm, .info, .close: return false
            }
        default: return false
        }
    }
}
