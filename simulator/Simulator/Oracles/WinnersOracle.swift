import EdgeDomain
import EdgeTypes

/// No packet goes to two users, no user holds more than the limit ever allowed, every amount is
/// the one that the seed gives, and all that was won is within the total.
final class WinnersOracle: Oracle {
    let name = "winners"

    private struct Pool {
        var owner: [Int64: UserID] = [:]
        var packets: [UserID: Int] = [:]
        var fen: Fen = 0
        var highestLimit: UInt32
    }

    private var pools: [Pool] = []
    private var amounts: [PacketAmounts?] = []

    private func prepare(_ world: World) {
        guard pools.isEmpty else { return }
        for plan in world.pools {
            pools.append(Pool(highestLimit: plan.limit))
            amounts.append(nil)
        }
    }

    func asked(_ world: World, _ operation: Operation) {
        prepare(world)
        guard operation.kind == .alter, let at = operation.words.firstIndex(of: "LIMIT"),
            let limit = UInt32(operation.words[at + 1])
        else { return }
        pools[operation.pool].highestLimit = max(pools[operation.pool].highestLimit, limit)
    }

    /// A pool's amounts, once its seed is known.
    private func amounts(_ world: World, _ plan: PoolPlan) -> PacketAmounts? {
        if let known = amounts[plan.index] { return known }
        guard let seed = world.seed(of: plan) else { return nil }
        amounts[plan.index] = PacketAmounts(
            plan.definition(opensMs: 0, closesMs: 0, seed: seed))
        return amounts[plan.index]
    }

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        guard let win = Win(operation, answer) else { return }
        prepare(world)
        let plan = world.pools[operation.pool]
        func fail(_ text: String) {
            world.fail(name, "\(plan.name), user \(operation.user): \(text)")
        }
        guard win.packet >= 0, win.packet < plan.units else {
            return fail("packet \(win.packet) of \(plan.units)")
        }
        guard let expected = amounts(world, plan)?.amount(win.packet) else {
            return fail("packet \(win.packet) of a pool whose creation is not durable")
        }
        guard win.fen == expected else {
            return fail("packet \(win.packet) holds \(expected) fen, told were \(win.fen)")
        }
        guard win.fen >= plan.minFenMade, plan.maxFen == 0 || win.fen <= plan.maxFen else {
            return fail("\(win.fen) fen lie outside of \(plan.minFenMade) to \(plan.maxFen)")
        }
        let region = plan.region(of: operation.actor, world.random)
        if let packets = plan.packets(of: region), !packets.contains(win.packet) {
            return fail("packet \(win.packet) is none of region \(region ?? "")'s \(packets)")
        }
        if let owner = pools[operation.pool].owner[win.packet] {
            guard owner == operation.user else {
                return fail("packet \(win.packet) is user \(owner)'s")
            }
            return
        }
        pools[operation.pool].owner[win.packet] = operation.user
        pools[operation.pool].fen += win.fen
        let count = (pools[operation.pool].packets[operation.user] ?? 0) + 1
        pools[operation.pool].packets[operation.user] = count
        if count > Int(pools[operation.pool].highestLimit) {
            fail("\(count) packets, the limit is \(pools[operation.pool].highestLimit)")
        }
        if pools[operation.pool].fen > plan.amountFen {
            fail("\(pools[operation.pool].fen) fen were given of \(plan.amountFen)")
        }
    }
}
