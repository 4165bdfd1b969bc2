import EdgeMemory
import EdgeTypes

/// Nothing is acknowledged twice differently: whoever asks again for what was won is told the
/// same, after every restart.
final class SameAnswerOracle: Oracle {
    let name = "same answer"

    private struct Key: Hashable {
        var pool: Int
        var user: UserID
        var request: String
    }

    private struct Told<Value> {
        var value: Value
        var heardNs: UInt64
    }

    private var wins: [Key: Told<Win>] = [:]
    private var orders: [Key: Told<[RESPAnswer]>] = [:]
    /// Whose an order is, by its number.
    private var buyers: [String: Key] = [:]
    private var payments: [Key: Told<String>] = [:]
    private let operators: OperatorLog

    init(_ operators: OperatorLog) { self.operators = operators }

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        switch operation.kind {
        case .grab: grab(world, operation, answer, sentNs)
        case .reserve: reserve(world, operation, answer, sentNs)
        case .pay: pay(world, operation, answer, sentNs)
        case .refund: refund(world, operation, answer)
        case .claims, .orders, .cancel, .create, .createOther, .warm, .info, .pause,
            .resume, .alter, .refill, .close, .resolve:
            break
        }
    }

    private func fail(_ world: World, _ operation: Operation, _ text: String) {
        world.fail(
            name,
            "\(operation.kind) \(operation.id) of user \(operation.user), "
                + "\(operation.words.joined(separator: " ")): \(text)")
    }

    private func grab(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, _ sentNs: UInt64
    ) {
        let plan = world.pools[operation.pool]
        // With a limit of 1 for good, the user alone names the claim.
        let key = Key(
            pool: operation.pool, user: operation.user, request: operation.request)
        if let win = Win(operation, answer) {
            if let before = wins[key] {
                if before.value != win, isReleased(world, operation, before.value, win) {
                    wins[key] = Told(value: win, heardNs: world.nowNs)
                } else if before.value != win,
                    !isOfAnother(world, operation, answer, win, sentNs)
                {
                    fail(world, operation, "was \(before.value), is \(win)")
                }
                world.probe(.grantedThenRepeated)
            } else if isOwn(world, operation, answer, win) {
                wins[key] = Told(value: win, heardNs: world.nowNs)
            } else if !isOfAnother(world, operation, answer, win, sentNs) {
                fail(world, operation, "repeats what it never won: \(win)")
            }
            return
        }
        guard let before = wins[key], sentNs >= before.heardNs, answer.errorCode == nil else {
            return
        }
        let outcome = answer.items.first?.text ?? "nothing"
        // What a crash took along from a memory slice is gone, and said to be.
        if isLossy(world, plan), outcome == "lost" || outcome == "closed" { return }
        if isReleased(world, operation, before.value, nil) { return }
        fail(world, operation, "was \(before.value), is \(outcome)")
    }

    /// Whether an operator put the user's slice back in play since a claim was granted, or between
    /// two of them: what was lost then may be granted anew.
    private func isReleased(
        _ world: World, _ operation: Operation, _ before: Win, _ win: Win?
    ) -> Bool {
        let plan = world.pools[operation.pool]
        let history = world.histories[operation.node]
        guard
            let slice = history.slice(of: operation.user, plan.key, region: operation.region)
        else { return false }
        if let win {
            return history.areApart(
                plan.key, (operation.user, slice, before), (operation.user, slice, win))
        }
        return history.allGrants(plan.key, operation.user).contains {
            Win($0) == before && history.isReleased(plan.key, slice, $0.ns...world.nowNs)
        }
    }

    /// Whether the claim was made under this very request.
    private func isOwn(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, _ win: Win
    ) -> Bool {
        if answer.items[0].text == "granted" { return true }
        let plan = world.pools[operation.pool]
        let hash = Hash64.text(Text64(operation.request))
        return world.histories[operation.node].allGrants(plan.key, operation.user).contains {
            Win($0) == win && (!plan.usesRequests || $0.requestHash == hash)
        }
    }

    /// While the limit is 1, every request hears the user's last claim. That promises it nothing
    /// for the time after.
    private func isOfAnother(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, _ win: Win,
        _ sentNs: UInt64
    ) -> Bool {
        let plan = world.pools[operation.pool]
        guard answer.items[0].text == "repeat",
            operators.values(.limit, operation.pool, since: sentNs).contains(1)
        else { return false }
        let history = world.histories[operation.node]
        // What a crash took along from a memory slice may have been the last.
        let grants =
            isLossy(world, plan)
            ? history.allGrants(plan.key, operation.user)
            : history.grants(plan.key, operation.user)
        let last = isLossy(world, plan) ? 0 : grants.lastIndex { $0.ns <= sentNs } ?? 0
        return grants[last...].contains { Win($0) == win }
    }

    /// Whether what a pool's users were told may be gone, as its durability says.
    private func isLossy(_ world: World, _ plan: PoolPlan) -> Bool {
        world.mayHaveLost(plan)
    }

    private func reserve(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, _ sentNs: UInt64
    ) {
        let key = Key(pool: operation.pool, user: operation.user, request: operation.request)
        let outcome = answer.items.first?.text
        if outcome == "reserved" || outcome == "repeat" {
            let told = Array(answer.items[1...])
            // Also where the order was lost since: a payment names nothing but the number.
            // Nodes on their own give the same ones.
            let node = world.scenario.isCluster ? 0 : operation.node
            let number = "\(node)/\(told.first?.text ?? "")"
            if let buyer = buyers[number], buyer != key {
                return fail(world, operation, "\(number) is user \(buyer.user)'s")
            }
            buyers[number] = key
            if let before = orders[key] {
                if before.value != told {
                    guard isLossy(world, world.pools[operation.pool]) else {
                        return fail(world, operation, "was \(before.value), is \(told)")
                    }
                    orders[key] = Told(value: told, heardNs: world.nowNs)
                }
            } else {
                orders[key] = Told(value: told, heardNs: world.nowNs)
            }
            return
        }
        guard let before = orders[key], sentNs >= before.heardNs, answer.errorCode == nil,
            !isLossy(world, world.pools[operation.pool])
        else { return }
        fail(world, operation, "was \(before.value), is \(answer)")
    }

    /// `paid` and `late` are repeated as `repeat`; `refund` stays.
    private func pay(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, _ sentNs: UInt64
    ) {
        guard let outcome = answer.items.first?.text else { return }
        let key = Key(pool: operation.pool, user: 0, request: operation.order + operation.request)
        let told = outcome == "refund" ? "refund" : "bought"
        if isLossy(world, world.pools[operation.pool]) { return }
        if let before = payments[key] {
            if before.value != told {
                fail(world, operation, "was \(before.value), is \(outcome)")
            } else if sentNs >= before.heardNs, outcome == "paid" || outcome == "late" {
                fail(world, operation, "a payment was taken twice: \(outcome)")
            }
        } else {
            payments[key] = Told(value: told, heardNs: world.nowNs)
        }
    }

    private func refund(_ world: World, _ operation: Operation, _ answer: RESPAnswer) {
        guard operation.retryOf != nil, let outcome = answer.items.first?.text else { return }
        let mayBeGone = isLossy(world, world.pools[operation.pool])
        if outcome == "repeat" || mayBeGone { return }
        fail(world, operation, "a refund was made twice: \(outcome)")
    }
}
