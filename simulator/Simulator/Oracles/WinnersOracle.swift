import EdgeDomain
import EdgeTypes

/// No packet goes to two users, no user is told of more than the limit allows, every amount is the
/// one that the seed gives, all that was won is within the total, and all of it is in the entries.
final class WinnersOracle: Oracle {
    let name = "winners"

    private struct Pool {
        var owner: [Int64: UserID] = [:]
        /// When each of a user's packets was first heard of.
        var heardNs: [UserID: [UInt64]] = [:]
        var fen: Fen = 0
    }

    private let operators: OperatorLog
    private var pools: [Pool] = []
    private var amounts: [PacketAmounts?] = []

    init(_ operators: OperatorLog) { self.operators = operators }

    private func prepare(_ world: World) {
        guard pools.isEmpty else { return }
        for _ in world.pools {
            pools.append(Pool())
            amounts.append(nil)
        }
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
        if pools[operation.pool].fen > plan.amountFen {
            fail("\(pools[operation.pool].fen) fen were given of \(plan.amountFen)")
        }
        let grants = world.histories[operation.node].allGrants(plan.key, operation.user)
        if !grants.contains(where: { Win($0) == win }) {
            fail("\(win) is in no entry, there are \(grants.map { Win($0) })")
        }
        checkLimit(world, operation, answer, sentNs)
    }

    /// What was heard of before this was asked for came before it; with it, that is within a limit
    /// that can have been in force since.
    private func checkLimit(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, _ sentNs: UInt64
    ) {
        let isNew = answer.items.first?.text == "granted"
        let heard = pools[operation.pool].heardNs[operation.user] ?? []
        pools[operation.pool].heardNs[operation.user] = heard + [world.nowNs]
        // A repeat may have been granted at any time.
        let count = isNew ? heard.count { $0 <= sentNs } + 1 : heard.count + 1
        let limits =
            isNew
            ? operators.values(.limit, operation.pool, since: sentNs)
            : operators.allValues(.limit, operation.pool)
        if count > limits.max() ?? 0 {
            world.fail(
                name,
                "\(world.pools[operation.pool].name), user \(operation.user): \(count) packets, "
                    + "the limit can only be \(limits)")
        }
    }
}
