import EdgeTypes

/// What users read is what they were told: RAIN.CLAIMS has every packet they won, STOCK.ORDERS
/// every order they made, and nothing is in there twice.
final class ReadsOracle: Oracle {
    let name = "reads"

    private struct Key: Hashable {
        var pool: Int
        var user: UserID
    }

    private struct Told {
        var heardNs: UInt64
        /// Packet, or order.
        var id: String
    }

    private var told: [Key: [Told]] = [:]

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        let key = Key(pool: operation.pool, user: operation.user)
        switch operation.kind {
        case .grab:
            guard let win = Win(operation, answer) else { return }
            note(key, "\(win.packet)", world.nowNs)
        case .reserve:
            let outcome = answer.items.first?.text
            guard outcome == "reserved" || outcome == "repeat", let order = answer.items[1].text
            else { return }
            note(key, order, world.nowNs)
        case .claims: check(world, operation, answer, sentNs)
        case .orders: check(world, operation, answer, sentNs)
        case .pay, .cancel, .refund, .create, .createOther, .warm, .info, .pause, .resume,
            .alter, .refill, .close, .resolve:
            break
        }
    }

    private func note(_ key: Key, _ id: String, _ nowNs: UInt64) {
        if told[key]?.contains(where: { $0.id == id }) == true { return }
        told[key, default: []].append(Told(heardNs: nowNs, id: id))
    }

    private func check(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, _ sentNs: UInt64
    ) {
        guard answer.errorCode == nil else { return }
        let plan = world.pools[operation.pool]
        let rows = answer.items.compactMap { $0.items.first }.map(\.description)
        func fail(_ text: String) {
            world.fail(name, "\(plan.name), user \(operation.user): \(text): \(rows)")
        }
        if Set(rows).count != rows.count { return fail("a row stands twice") }
        if world.mayHaveLost(plan) { return }
        for item in told[Key(pool: operation.pool, user: operation.user)] ?? []
        where item.heardNs <= sentNs && !rows.contains(item.id) {
            return fail("\(item.id) is missing")
        }
    }
}
