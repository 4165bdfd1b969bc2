import EdgeMemory
import EdgeTypes

/// What operators do to pools.
extension Script {
    private func draw(_ bound: UInt64, _ pool: PoolPlan, _ what: UInt64) -> UInt64 {
        world.random.below(bound, .operators, UInt64(pool.index), what)
    }

    private func happens(_ probability: Double, _ pool: PoolPlan, _ what: UInt64) -> Bool {
        world.random.happens(probability, .operators, UInt64(pool.index), what)
    }

    private func command(
        _ kind: OperationKind, _ pool: PoolPlan, _ words: [String], _ request: String = ""
    ) -> Operation {
        var operation = Operation(
            id: -1, kind: kind, pool: pool.index, node: pool.node, actor: -1)
        operation.request = request
        let family = pool.isStock ? "STOCK." : "RAIN."
        operation.words = [family + words[0], pool.name] + words.dropFirst()
        return operation
    }

    /// A pool's life until the crowd has gone.
    func operate(_ pool: PoolPlan, _ clients: Clients) {
        // Most in time, some while the crowd is there already.
        let span: UInt64 = draw(3, pool, 90) == 0 ? 6_000_000_000 : 600_000_000
        clients.later(create(pool, other: false), at: draw(span, pool, 0))
    }

    func create(_ pool: PoolPlan, other: Bool, isBrief: Bool = false) -> Operation {
        let wanted = other ? pool.other(world.random) : pool
        let openingMs = World.startMs + Int64(world.scenario.opensNs / 1_000_000)
        return command(
            other ? .createOther : .create, pool,
            ["CREATE"] + wanted.creation(openingMs: openingMs, isBrief: isBrief))
    }

    /// The pool is there: all else is planned now.
    func created(_ operation: Operation, _ clients: Clients) {
        guard operation.retryOf == nil else { return }
        let pool = world.pools[operation.pool]
        let nowNs = world.nowNs
        let span = world.scenario.crowdEndNs > nowNs ? world.scenario.crowdEndNs - nowNs : 1
        clients.later(command(.warm, pool, ["WARM"]), at: nowNs + draw(100_000_000, pool, 1))
        if happens(0.3, pool, 2) {
            clients.later(create(pool, other: true), at: nowNs + draw(span, pool, 3))
        }
        if happens(0.3, pool, 4) {
            var again = create(pool, other: false, isBrief: happens(0.5, pool, 92))
            again.retryOf = operation.id
            clients.later(again, at: nowNs + draw(span, pool, 5))
        }
        if happens(0.35, pool, 6) {
            let atNs = nowNs + draw(span, pool, 7)
            clients.later(command(.pause, pool, ["PAUSE"]), at: atNs)
            clients.later(
                command(.resume, pool, ["RESUME"]),
                at: atNs + 100_000_000 + draw(4_000_000_000, pool, 8))
        }
        if pool.usesRequests, happens(0.4, pool, 9) {
            let limit = 1 + draw(5, pool, 10)
            clients.later(
                command(.alter, pool, ["ALTER", "a1", "LIMIT", "\(limit)"], "a1"),
                at: nowNs + draw(span, pool, 11))
        }
        moveTimes(pool, span, clients)
        if pool.isStock {
            refill(pool, span, clients)
        }
        if happens(0.25, pool, 20) {
            clients.later(command(.close, pool, ["CLOSE"]), at: nowNs + draw(span, pool, 21))
        }
        for number in 0..<draw(3, pool, 22) {
            clients.later(
                command(.info, pool, ["INFO"]), at: nowNs + draw(span, pool, 23 + number))
        }
        // Of other pools a crash takes nothing along.
        guard pool.durability != .journal else { return }
        for number in 0..<draw(4, pool, 110) {
            let atNs = nowNs + draw(span, pool, 111 + number)
            clients.later(resolve(pool, "q\(number)", draw(2, pool, 120 + number)), at: atNs)
            clients.later(command(.info, pool, ["INFO"]), at: atNs + 300_000_000)
        }
    }

    private func resolve(_ pool: PoolPlan, _ request: String, _ draw: UInt64) -> Operation {
        let word = draw == 0 ? "RELEASE" : "RETURN"
        return command(.resolve, pool, ["RESOLVE", request, word], request)
    }

    /// An operator sees that something is quarantined.
    private func seen(_ operation: Operation, _ answer: RESPAnswer, _ clients: Clients) {
        let key = operation.key
        guard answer["lost"]?.integer ?? 0 > 0 || answer["quarantined"]?.integer ?? 0 > 0,
            world.random.happens(0.6, .operators, key, 130)
        else { return }
        clients.later(
            resolve(
                world.pools[operation.pool], "i\(key)",
                // Of a closed pool it can only be returned.
                answer["state"]?.text == "closed"
                    ? 1 : world.random.below(3, .operators, key, 131)),
            at: world.nowNs + world.random.below(1_000_000_000, .operators, key, 132))
    }

    func resolved(_ operation: Operation, _ answer: RESPAnswer, _ clients: Clients) {
        guard answer.text == "OK" else { return }
        let pool = world.pools[operation.pool]
        world.probe(operation.words.contains("RELEASE") ? .released : .retired)
        clients.later(command(.info, pool, ["INFO"]), at: world.nowNs + 100_000_000)
        if world.random.happens(0.5, .operators, operation.key, 133) {
            repeats(operation, 134, clients)
        }
    }

    private func alter(
        _ pool: PoolPlan, _ request: String, _ term: String, _ value: Int64
    ) -> Operation {
        command(.alter, pool, ["ALTER", request, term, "\(value)"], request)
    }

    /// The opening and the closing time are moved, most of them back again.
    private func moveTimes(_ pool: PoolPlan, _ span: UInt64, _ clients: Clients) {
        let terms = pool.terms(world.scenario)
        if happens(0.25, pool, 80) {
            let atNs = world.nowNs + draw(span, pool, 81)
            // To a time to come, or, now and then, to one that has passed.
            let laterMs = Int64(draw(4_000, pool, 82)) - 1_000
            let opensMs = World.startMs + Int64(atNs / 1_000_000) + laterMs
            clients.later(alter(pool, "o1", "OPENS", opensMs), at: atNs)
            let backNs = atNs + 50_000_000 + draw(3_000_000_000, pool, 83)
            if happens(0.8, pool, 84) {
                clients.later(alter(pool, "o2", "OPENS", terms.opensMs), at: backNs)
            }
        }
        // What closes soon is moved away from that; what does not, now and then to it.
        if happens(terms.closesMs == 0 ? 0.15 : 0.6, pool, 85) {
            let latestNs = pool.closesAfterNs.map { world.scenario.opensNs + $0 }
            let room = latestNs.map { $0 > world.nowNs ? $0 - world.nowNs : 1 } ?? span
            let atNs = world.nowNs + draw(min(span, room), pool, 86)
            let laterMs = Int64(draw(6_000, pool, 87))
            let base = max(terms.closesMs, World.startMs + Int64(atNs / 1_000_000))
            let isEndless = terms.closesMs != 0 && happens(0.3, pool, 88)
            clients.later(
                alter(pool, "c1", "CLOSES", isEndless ? 0 : base + laterMs), at: atNs)
            let backNs = atNs + 50_000_000 + draw(3_000_000_000, pool, 89)
            if happens(0.6, pool, 79) {
                clients.later(alter(pool, "c2", "CLOSES", terms.closesMs), at: backNs)
            }
        }
    }

    /// Units put in now and then, or several times at once.
    private func refill(_ pool: PoolPlan, _ span: UInt64, _ clients: Clients) {
        let together = happens(0.5, pool, 40) ? draw(span, pool, 41) : nil
        for number in 0..<draw(6, pool, 42) {
            let units = 1 + draw(9, pool, 50 + number)
            var refill = command(
                .refill, pool, ["REFILL", "\(units)", "s\(number)"], "s\(number)")
            refill.quantity = Int64(units)
            let delay = together.map { $0 + draw(5_000_000, pool, 60 + number) }
            clients.later(refill, at: world.nowNs + (delay ?? draw(span, pool, 70 + number)))
        }
    }

    func look(_ pool: PoolPlan, _ clients: Clients) {
        clients.later(command(.info, pool, ["INFO"]), at: world.nowNs)
    }

    func close(_ pool: PoolPlan, _ clients: Clients) {
        // A last look while it is open: what a treasury keeps back is not seen afterwards.
        clients.later(command(.info, pool, ["INFO"]), at: world.nowNs)
        clients.later(command(.close, pool, ["CLOSE"]), at: world.nowNs + 200_000_000)
        clients.later(command(.info, pool, ["INFO"]), at: world.nowNs + 500_000_000)
    }

    /// At the end, asks until a pool has closed.
    func informed(_ operation: Operation, _ answer: RESPAnswer, _ clients: Clients) {
        seen(operation, answer, clients)
        guard world.phase == .closing, answer.errorCode == nil,
            answer["state"]?.text != "closed"
        else { return }
        clients.later(
            command(.info, world.pools[operation.pool], ["INFO"]), at: world.nowNs + 500_000_000)
    }

    /// Another limit, or another opening time, and back again.
    func rollBack(_ fault: Fault, _ clients: Clients) {
        for pool in world.pools where pool.node == fault.node {
            let name = "r\(fault.id)"
            if happens(0.3, pool, fault.id | 1 << 32) {
                let opensMs = World.startMs + Int64(fault.endNs / 1_000_000)
                let initial = pool.terms(world.scenario).opensMs
                clients.later(alter(pool, name + "o", "OPENS", opensMs), at: world.nowNs)
                clients.later(alter(pool, name + "p", "OPENS", initial), at: fault.endNs)
            }
            guard pool.usesRequests else { continue }
            let limit = 1 + draw(6, pool, fault.id)
            clients.later(
                command(.alter, pool, ["ALTER", name, "LIMIT", "\(limit)"], name), at: world.nowNs)
            clients.later(
                command(
                    .alter, pool, ["ALTER", name + "b", "LIMIT", "\(pool.limit)"], name + "b"),
                at: fault.endNs)
        }
    }
}
