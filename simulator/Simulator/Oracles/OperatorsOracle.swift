import EdgeTypes

/// What operators were told is so: a pool is as it was created, and every refill is in it once.
final class OperatorsOracle: Oracle {
    let name = "operators"

    private struct Refill: Hashable {
        var pool: Int
        var request: String
    }

    private var refilled: [Int: Int64] = [:]
    private var refills: Set<Refill> = []

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        let plan = world.pools[operation.pool]
        switch operation.kind {
        case .createOther:
            if answer.text == "OK" { world.fail(name, "\(plan.name) was created anew") }
        case .create:
            if operation.retryOf != nil, answer.errorCode == "EXISTS" {
                world.fail(name, "\(plan.name) is not as it was created")
            }
        case .refill:
            guard answer.text == "OK" else { return }
            let refill = Refill(pool: operation.pool, request: operation.request)
            if refills.insert(refill).inserted {
                refilled[operation.pool, default: 0] += operation.quantity
            }
        case .info:
            guard answer.errorCode == nil else { return }
            if let difference = plan.difference(from: answer, seed: world.seed(of: plan)) {
                world.fail(name, "\(plan.name): \(difference)")
            }
            guard plan.isStock, world.phase == .closing, let units = answer["units"]?.integer else {
                return
            }
            let expected = plan.units + (refilled[operation.pool] ?? 0)
            if units != expected {
                world.fail(name, "\(plan.name) has \(units) units, put in were \(expected)")
            }
        default: break
        }
    }
}
