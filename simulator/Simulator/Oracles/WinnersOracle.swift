import EdgeDomain
import EdgeTypes

/// No packet goes to two users, no user is told of more than the limit allows, every amount is the
/// one that the seed gives, all that was won is within the total, and all of it is in the entries.
final class WinnersOracle: Oracle {
    let name = "winners"

    private struct Owner {
        var user: UserID
        var slice: UInt32
        var win: Win
    }

    private struct Heard {
        var ns: UInt64
        var owner: Owner
    }

    private struct Pool {
        var owner: [Int64: Owner] = [:]
        /// When each of a user's packets was first heard of.
        var heard: [UserID: [Heard]] = [:]
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
        let history = world.histories[operation.node]
        let grants = history.allGrants(plan.key, operation.user)
        if !grants.contains(where: { Win($0) == win }) {
            return fail("\(win) is in no entry, there are \(grants.map { Win($0) })")
        }
        guard
            let slice = history.slice(of: operation.user, plan.key, region: operation.region)
        else { return fail("a packet of no slice") }
        let own = Owner(user: operation.user, slice: slice, win: win)
        if let owner = pools[operation.pool].owner[win.packet] {
            if owner.user == operation.user { return }
            guard areApart(history, plan, owner, own) else {
                return fail("packet \(win.packet) is user \(owner.user)'s")
            }
            world.probe(.grantedAgain)
        } else {
            pools[operation.pool].fen += win.fen
        }
        pools[operation.pool].owner[win.packet] = own
        if pools[operation.pool].fen > plan.amountFen {
            fail("\(pools[operation.pool].fen) fen were given of \(plan.amountFen)")
        }
        checkLimit(world, operation, answer, own, sentNs)
    }

    private func areApart(
        _ history: NodeHistory, _ plan: PoolPlan, _ one: Owner, _ other: Owner
    ) -> Bool {
        history.areApart(
            plan.key, (one.user, one.slice, one.win), (other.user, other.slice, other.win))
    }

    /// What was heard of before this was asked for came before it; with it, that is within a limit
    /// that can have been in force since.
    private func checkLimit(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, _ own: Owner,
        _ sentNs: UInt64
    ) {
        let isNew = answer.items.first?.text == "granted"
        let plan = world.pools[operation.pool]
        let all = pools[operation.pool].heard[operation.user] ?? []
        // Somebody else, whose slice was lost, may have been told late of the packet in between.
        if all.contains(where: { $0.owner.win == own.win }) { return }
        pools[operation.pool].heard[operation.user] =
            all + [Heard(ns: world.nowNs, owner: own)]
        // What a crash took along and an operator released does not count any more.
        let heard = all.filter {
            !areApart(world.histories[operation.node], plan, $0.owner, own)
        }
        // A repeat may have been granted at any time.
        let count = isNew ? heard.count { $0.ns <= sentNs } + 1 : heard.count + 1
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
