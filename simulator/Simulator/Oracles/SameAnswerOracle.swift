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
    private var payments: [Key: Told<String>] = [:]
    /// Pools with request ids whose limit was 1, or was asked to be, at some time.
    private var limitMayBeOne: [Bool] = []

    func asked(_ world: World, _ operation: Operation) {
        if limitMayBeOne.isEmpty {
            limitMayBeOne = world.pools.map { $0.usesRequests && $0.limit == 1 }
        }
        if operation.kind == .alter, operation.words.suffix(2) == ["LIMIT", "1"] {
            limitMayBeOne[operation.pool] = true
        }
    }

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        switch operation.kind {
        case .grab: grab(world, operation, answer, sentNs)
        case .reserve: reserve(world, operation, answer, sentNs)
        case .pay: pay(world, operation, answer, sentNs)
        case .refund: refund(world, operation, answer)
        case .claims, .orders, .cancel, .create, .createOther, .warm, .info, .pause,
            .resume, .alter, .refill, .close:
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
                // While the limit is 1, every request hears the user's one claim.
                let mayBeOthers = limitMayBeOne[operation.pool] && answer.items[0].text == "repeat"
                if before.value != win, !mayBeOthers {
                    fail(world, operation, "was \(before.value), is \(win)")
                }
                world.probe(.grantedThenRepeated)
            } else if answer.items.first?.text == "granted" || !plan.usesRequests {
                // While the limit is 1, another request hears the user's one claim too: that
                // promises it nothing for the time after.
                wins[key] = Told(value: win, heardNs: world.nowNs)
            }
            return
        }
        guard let before = wins[key], sentNs >= before.heardNs, answer.errorCode == nil else {
            return
        }
        let outcome = answer.items.first?.text ?? "nothing"
        // What a crash took along from a memory slice is gone, and said to be.
        let mayBeLost = plan.durability == .memory && world.nodes[plan.node].crashes > 0
        if mayBeLost, outcome == "lost" || outcome == "closed" { return }
        fail(world, operation, "was \(before.value), is \(outcome)")
    }

    private func reserve(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, _ sentNs: UInt64
    ) {
        let key = Key(pool: operation.pool, user: operation.user, request: operation.request)
        let outcome = answer.items.first?.text
        if outcome == "reserved" || outcome == "repeat" {
            let told = Array(answer.items[1...])
            if let before = orders[key] {
                if before.value != told {
                    fail(world, operation, "was \(before.value), is \(told)")
                }
            } else {
                orders[key] = Told(value: told, heardNs: world.nowNs)
            }
            return
        }
        guard let before = orders[key], sentNs >= before.heardNs, answer.errorCode == nil else {
            return
        }
        fail(world, operation, "was \(before.value), is \(answer)")
    }

    /// `paid` and `late` are repeated as `repeat`; `refund` stays.
    private func pay(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, _ sentNs: UInt64
    ) {
        guard let outcome = answer.items.first?.text else { return }
        let key = Key(pool: operation.pool, user: 0, request: operation.order + operation.request)
        let told = outcome == "refund" ? "refund" : "bought"
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
        if outcome != "repeat" { fail(world, operation, "a refund was made twice: \(outcome)") }
    }
}
