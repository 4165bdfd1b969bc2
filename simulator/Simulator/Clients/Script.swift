import EdgeMemory
import EdgeTypes

/// What users and operators want, one thing after the other. All of it is drawn from the seed.
final class Script {
    unowned let world: World
    /// Payments of each user so far.
    private var payments: [Int: Int] = [:]

    init(world: World) { self.world = world }

    /// Draws of an operation, by its key.
    private func draw(_ bound: UInt64, _ key: UInt64, _ what: UInt64) -> UInt64 {
        world.random.below(bound, .clients, key, what)
    }

    private func happens(_ probability: Double, _ key: UInt64, _ what: UInt64) -> Bool {
        world.random.happens(probability, .clients, key, what)
    }

    /// Draws of a user.
    private func draw(_ bound: UInt64, of user: Int, _ what: UInt64) -> UInt64 {
        world.random.below(bound, .users, UInt64(user), what)
    }

    private static let reaction = Distribution.logNormal(medianNs: 350_000_000, sigma: 0.8)

    // MARK: Users

    func begin(user: Int, _ clients: Clients) {
        let visits = 1 + draw(3, of: user, 0)
        for visit in 0..<visits {
            let pool = world.pools[Int(draw(UInt64(world.pools.count), of: user, 10 + visit))]
            let reaction = Self.reaction.sampleNs(
                world.random.word(.reaction, UInt64(user), visit))
            // Most come with the herd, some at any time.
            let span = world.scenario.crowdEndNs - world.scenario.opensNs
            let late = draw(10, of: user, 20 + visit) < 4 ? draw(span, of: user, 30 + visit) : 0
            let atNs = world.scenario.opensNs + reaction + late
            clients.later(
                first(pool, user, visit: Int(visit)), at: min(atNs, world.scenario.crowdEndNs))
        }
    }

    private func first(_ pool: PoolPlan, _ user: Int, visit: Int) -> Operation {
        pool.isStock
            ? reserve(pool, user, "v\(visit)", Int64(1 + draw(2, of: user, 40 + UInt64(visit))))
            : grab(pool, user, "v\(visit)")
    }

    private func operation(_ kind: OperationKind, _ pool: PoolPlan, _ actor: Int) -> Operation {
        var operation = Operation(
            id: -1, kind: kind, pool: pool.index, node: pool.node, actor: actor)
        operation.user = UserID(max(0, actor)) + 1
        return operation
    }

    func grab(_ pool: PoolPlan, _ user: Int, _ request: String) -> Operation {
        var grab = operation(.grab, pool, user)
        grab.words = ["RAIN.GRAB", pool.name, "\(grab.user)"]
        if pool.usesRequests {
            grab.request = request
            grab.words.append(request)
        }
        grab.words += region(pool, user)
        return grab
    }

    func reserve(_ pool: PoolPlan, _ user: Int, _ request: String, _ quantity: Int64) -> Operation {
        var reserve = operation(.reserve, pool, user)
        reserve.request = request
        reserve.quantity = quantity
        reserve.words = ["STOCK.RESERVE", pool.name, "\(reserve.user)", "\(quantity)", request]
        reserve.words += region(pool, user)
        return reserve
    }

    private func region(_ pool: PoolPlan, _ user: Int) -> [String] {
        pool.region(of: user, world.random).map { ["REGION", $0] } ?? []
    }

    private func pay(_ order: String, _ of: Operation, _ fen: Fen) -> Operation {
        let number = (payments[of.actor] ?? 0) + 1
        payments[of.actor] = number
        var pay = operation(.pay, world.pools[of.pool], of.actor)
        pay.order = order
        pay.request = "p\(of.actor)-\(number)"
        pay.fen = fen
        pay.quantity = of.quantity
        pay.words = ["ORDER.PAY", order, pay.request, "\(fen)"]
        return pay
    }

    /// What comes for an order after its SKU is closed: a payment, the same again, refunds.
    func late(_ order: String, _ of: Operation, phase: World.Phase) -> [Operation] {
        let total = world.pools[of.pool].amountFen * of.quantity
        let what = 100 + UInt64(phase.rawValue)
        var wanted = [pay(order, of, total), pay(order, of, total)]
        if happens(0.5, of.key, what) { wanted.append(wanted[0]) }
        if happens(0.3, of.key, what << 8) { wanted.append(pay(order, of, total + 1)) }
        if happens(0.3, of.key, what << 16) { wanted.append(cancel(order, of)) }
        for number in 0..<2 {
            var refund = operation(.refund, world.pools[of.pool], of.actor)
            refund.order = order
            refund.request = "late\(phase.rawValue)-\(number)"
            refund.fen = Int64(draw(UInt64(total + 1), of.key, what << 24 | UInt64(number)))
            refund.quantity = Int64(
                draw(UInt64(of.quantity + 1), of.key, what << 32 | UInt64(number)))
            if refund.fen == 0 && refund.quantity == 0 { refund.quantity = 1 }
            refund.words = [
                "ORDER.REFUND", refund.order, refund.request, "\(refund.fen)", "RESTOCK",
                "\(refund.quantity)",
            ]
            wanted.append(refund)
        }
        return wanted
    }

    private func cancel(_ order: String, _ of: Operation) -> Operation {
        var cancel = operation(.cancel, world.pools[of.pool], of.actor)
        cancel.order = order
        cancel.quantity = of.quantity
        cancel.words = ["ORDER.CANCEL", order]
        return cancel
    }

    // MARK: What follows from an answer

    func follow(_ operation: Operation, _ answer: RESPAnswer, _ clients: Clients) {
        switch operation.kind {
        case .grab: grabbed(operation, answer, clients)
        case .reserve: reserved(operation, answer, clients)
        case .pay: paid(operation, answer, clients)
        case .cancel: cancelled(operation, clients)
        case .refund: if happens(0.5, operation.key, 1) { repeats(operation, 2, clients) }
        case .refill: if happens(0.5, operation.key, 1) { repeats(operation, 2, clients) }
        case .info: informed(operation, answer, clients)
        case .create: created(operation, clients)
        case .resolve: resolved(operation, answer, clients)
        case .claims, .orders, .createOther, .warm, .pause, .resume, .alter, .close: break
        }
    }

    /// The same again, some time later.
    func repeats(_ operation: Operation, _ what: UInt64, _ clients: Clients) {
        guard operation.retryOf == nil else { return }
        var again = operation
        again.retryOf = operation.id
        again.attempts = 0
        again.answer = nil
        // Some at once, elsewhere: while not everybody knows yet what he was told.
        let longestNs: UInt64 = happens(0.5, operation.key, what << 8) ? 200_000_000 : 4_000_000_000
        clients.later(again, at: world.nowNs + draw(longestNs, operation.key, what))
    }

    private func grabbed(_ operation: Operation, _ answer: RESPAnswer, _ clients: Clients) {
        guard operation.retryOf == nil else { return }
        let pool = world.pools[operation.pool]
        let id = operation.key
        let isLate = world.phase != .crowd
        if answer.errorCode == "NORAIN", !isLate, happens(0.95, id, 20) {
            // It was announced; phones look again.
            return clients.later(
                grab(pool, operation.actor, operation.request),
                at: world.nowNs + 20_000_000 + draw(200_000_000, id, 21))
        }
        switch answer.items.first?.text {
        case "granted", "repeat":
            if happens(0.4, id, 1) { repeats(operation, 2, clients) }
            guard !isLate, pool.usesRequests, happens(0.6, id, 3) else { return }
            let next = grab(pool, operation.actor, "\(operation.request)n")
            clients.later(next, at: world.nowNs + draw(2_000_000_000, id, 4))
        case "early", "paused":
            guard !isLate, happens(0.9, id, 5) else { return }
            clients.later(
                grab(pool, operation.actor, operation.request),
                at: world.nowNs + 50_000_000 + draw(1_500_000_000, id, 6))
        case "soldout":
            world.probe(.soldOut)
            guard !isLate, happens(0.2, id, 7) else { return }
            clients.later(
                grab(pool, operation.actor, operation.request),
                at: world.nowNs + draw(3_000_000_000, id, 8))
        case "lost": world.probe(.packetsLost)
        default: break
        }
    }

    private func reserved(_ operation: Operation, _ answer: RESPAnswer, _ clients: Clients) {
        guard operation.retryOf == nil else { return }
        let id = operation.key
        let pool = world.pools[operation.pool]
        let outcome = answer.items.first?.text
        if outcome == "soldout" { world.probe(.soldOut) }
        guard outcome == "reserved" || outcome == "repeat", let order = answer.items[1].text else {
            guard world.phase == .crowd, happens(0.5, id, 1) else { return }
            let again = reserve(
                pool, operation.actor, "\(operation.request)a", operation.quantity)
            return clients.later(again, at: world.nowNs + draw(4_000_000_000, id, 2))
        }
        if happens(0.3, id, 3) { repeats(operation, 4, clients) }
        let total = pool.amountFen * operation.quantity
        let holdNs = UInt64(pool.holdMs) * 1_000_000
        switch draw(100, id, 5) {
        case 0..<45:
            clients.later(
                pay(order, operation, total), at: world.nowNs + draw(holdNs * 4 / 5, id, 6))
        case 45..<65:
            clients.later(
                pay(order, operation, total),
                at: world.nowNs + holdNs + 200_000_000 + draw(3_000_000_000, id, 6))
        case 65..<80:
            clients.later(cancel(order, operation), at: world.nowNs + draw(holdNs, id, 6))
        default: break
        }
        if happens(0.15, id, 7) {
            clients.later(
                pay(order, operation, total + 1), at: world.nowNs + draw(holdNs / 2, id, 8))
        }
        if world.phase == .crowd, happens(0.3, id, 9) {
            clients.later(
                reserve(pool, operation.actor, "\(operation.request)n", 1),
                at: world.nowNs + draw(3_000_000_000, id, 10))
        }
    }

    private func paid(_ operation: Operation, _ answer: RESPAnswer, _ clients: Clients) {
        guard operation.retryOf == nil, let outcome = answer.items.first?.text else { return }
        let id = operation.key
        if outcome == "late" { world.probe(.paidLate) }
        if outcome == "refund" { world.probe(.refundDue) }
        if happens(0.4, id, 1) { repeats(operation, 2, clients) }
        if happens(0.2, id, 3) {
            clients.later(
                pay(operation.order, operation, operation.fen),
                at: world.nowNs + draw(2_000_000_000, id, 4))
        }
        if happens(0.15, id, 5) {
            clients.later(
                cancel(operation.order, operation), at: world.nowNs + draw(2_000_000_000, id, 6))
        }
        guard outcome == "paid" || outcome == "late", happens(0.3, id, 7) else { return }
        var refund = self.operation(.refund, world.pools[operation.pool], operation.actor)
        refund.order = operation.order
        refund.request = "f\(operation.request)"
        refund.fen = Int64(draw(UInt64(operation.fen + 1), id, 8))
        refund.quantity = Int64(draw(UInt64(operation.quantity + 1), id, 9))
        if refund.fen == 0 && refund.quantity == 0 { refund.quantity = 1 }
        refund.words = [
            "ORDER.REFUND", refund.order, refund.request, "\(refund.fen)", "RESTOCK",
            "\(refund.quantity)",
        ]
        clients.later(refund, at: world.nowNs + draw(3_000_000_000, id, 10))
    }

    private func cancelled(_ operation: Operation, _ clients: Clients) {
        guard happens(0.3, operation.key, 1) else { return }
        let total = world.pools[operation.pool].amountFen * operation.quantity
        clients.later(
            pay(operation.order, operation, total),
            at: world.nowNs + draw(2_000_000_000, operation.key, 2))
    }

    /// A look at what a user has of a pool.
    func read(_ operation: Operation) -> Operation {
        let pool = world.pools[operation.pool]
        var read = self.operation(pool.isStock ? .orders : .claims, pool, operation.actor)
        read.words = [pool.isStock ? "STOCK.ORDERS" : "RAIN.CLAIMS", pool.name, "\(read.user)"]
        read.words += region(pool, read.actor)
        return read
    }

    /// Whether a success can be asked for again, and must be told the same.
    func isWorthAsking(_ operation: Operation, _ answer: RESPAnswer) -> Bool {
        let outcome = answer.items.first?.text
        switch operation.kind {
        case .grab: return outcome == "granted" || outcome == "repeat"
        case .reserve: return outcome == "reserved" || outcome == "repeat"
        case .pay: return answer.errorCode == nil
        case .refund: return outcome == "refunded"
        case .refill, .create: return answer.text == "OK"
        case .claims, .orders, .cancel, .createOther, .warm, .info, .pause, .resume,
            .alter, .close, .resolve:
            return false
        }
    }
}
