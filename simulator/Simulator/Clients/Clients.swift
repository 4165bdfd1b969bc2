import EdgeMemory
import EdgeTypes

/// Everyone outside: users, the back ends that pay, and operators. Each thing they want is an
/// operation, tried until it has an answer.
final class Clients {
    unowned let world: World
    private let users: [Int]
    private(set) var operations: [Operation] = []
    private var encoded: [[UInt8]] = []
    /// When each attempt of an operation was sent.
    private var sentNs: [[UInt64]] = []
    private var answerCounts: [UInt64] = []
    /// Whether nobody knows what came of an operation's last attempt.
    private var isUnknown: [Bool] = []
    /// Operations that begin later.
    private var plans: [Operation?] = []
    /// How many of each kind everybody has wanted.
    private var wishes: [Wish: UInt64] = [:]
    private var openCount = 0
    private var planCount = 0
    let script: Script

    static let timeoutNs: UInt64 = 2_000_000_000
    static let longestBackoffNs: UInt64 = 3_000_000_000

    init(world: World, users: [Int]) {
        self.world = world
        self.users = users
        script = Script(world: world)
    }

    /// Whether everything that was wanted so far has its answer.
    var isIdle: Bool { openCount == 0 && planCount == 0 }

    func start() {
        for pool in world.pools { script.operate(pool, self) }
        for user in users { script.begin(user: user, self) }
    }

    // MARK: Operations

    /// An operation begins at `atNs`.
    func later(_ operation: Operation, at atNs: UInt64) {
        guard !world.histories[operation.node].isGone else { return }
        plans.append(operation)
        planCount += 1
        world.schedule(atNs, .act(plans.count - 1))
    }

    func act(_ index: Int) {
        guard let operation = plans[index] else { return }
        plans[index] = nil
        planCount -= 1
        begin(operation)
    }

    private func begin(_ planned: Operation) {
        guard !world.histories[planned.node].isGone else { return }
        var operation = planned
        operation.id = operations.count
        operation.key = key(of: operation)
        operation.startedNs = world.nowNs
        operations.append(operation)
        encoded.append(RESPCommandText.encode(operation.words))
        sentNs.append([])
        answerCounts.append(0)
        isUnknown.append(false)
        openCount += 1
        for oracle in world.oracles { oracle.asked(world, operation) }
        world.note(
            "operation \(operation.id) of \(operation.actor): "
                + operation.words.joined(separator: " "))
        attempt(operation.id)
    }

    private struct Wish: Hashable {
        var actor: Int
        var pool: Int
        var kind: OperationKind
    }

    private func key(of operation: Operation) -> UInt64 {
        let wish = Wish(actor: operation.actor, pool: operation.pool, kind: operation.kind)
        let ordinal = wishes[wish] ?? 0
        wishes[wish] = ordinal + 1
        let who = UInt64(bitPattern: Int64(operation.actor)) &* 64 &+ operation.kind.number
        return Hash64.mix(Hash64.keyed(who, salt: UInt64(operation.pool)), ordinal)
    }

    func bytes(of operation: Int) -> [UInt8] { encoded[operation] }

    func nextAnswer(_ operation: Int) -> UInt64 {
        answerCounts[operation] += 1
        return answerCounts[operation]
    }

    func sent(_ operation: Int, _ attempt: Int) -> UInt64 { sentNs[operation][attempt - 1] }

    /// Any node answers any client: most stay with one, some of those that try again go elsewhere.
    private func node(of operation: Operation) -> Int {
        let isMoving = world.random.happens(
            0.3, .retries, operation.key, 1 << 43 | UInt64(operation.attempts))
        var place = isMoving ? UInt64(operation.attempts) : 0
        // Whoever asks again for what he has heard comes from anywhere.
        if operation.retryOf != nil { place |= 1 << 20 }
        return Int(
            world.random.below(
                UInt64(world.scenario.nodes), .retries, operation.key, 1 << 44 | place))
    }

    private func attempt(_ id: Int) {
        operations[id].attempts += 1
        let number = operations[id].attempts
        if world.scenario.isCluster { operations[id].node = node(of: operations[id]) }
        sentNs[id].append(world.nowNs)
        if isUnknown[id] { world.probe(.retriedAfterUnknown) }
        world.schedule(
            world.nowNs + Self.timeoutNs, .timeout(operation: id, attempt: number))
        world.send(id, number)
    }

    func timeOut(_ id: Int, _ attempt: Int) { again(id, attempt, isUnknown: true) }

    func loseConnection(_ id: Int, _ attempt: Int) { again(id, attempt, isUnknown: true) }

    /// Tries again, some time after `attempt` has come to nothing.
    ///
    /// - Parameter isUnknown: it may have been applied for all that is known.
    private func again(_ id: Int, _ attempt: Int, isUnknown: Bool) {
        guard !operations[id].isDone, operations[id].attempts == attempt else { return }
        self.isUnknown[id] = isUnknown
        let doubled: UInt64 = 50_000_000 << UInt64(min(attempt, 8))
        let longest = min(doubled, Self.longestBackoffNs)
        let draw = world.random.below(
            longest, .retries, operations[id].key, UInt64(attempt))
        world.schedule(
            world.nowNs + longest / 4 + draw, .retry(operation: id, attempt: attempt))
    }

    func retry(_ id: Int, _ attempt: Int) {
        guard !operations[id].isDone, operations[id].attempts == attempt else { return }
        self.attempt(id)
    }

    func hear(_ id: Int, _ attempt: Int, _ bytes: [UInt8]) {
        guard !world.histories[operations[id].node].isGone else { return }
        guard let answer = RESPAnswer.parse(bytes) else {
            return world.fail("protocol", "an answer that is none: \(bytes)")
        }
        for oracle in world.oracles {
            oracle.answered(world, operations[id], answer, sentNs: sent(id, attempt))
        }
        guard world.failure == nil else { return }
        world.move?.answered(answer.errorCode)
        if operations[id].isDone { return world.probe(.duplicateAnswered) }
        switch answer.errorCode {
        case "UNKNOWN": return again(id, attempt, isUnknown: true)
        case "TRYAGAIN", "FULL", "THROTTLED": return again(id, attempt, isUnknown: false)
        default: break
        }
        operations[id].answer = answer
        operations[id].answeredNs = world.nowNs
        openCount -= 1
        // Looking whether something has happened is no progress.
        if operations[id].kind != .info { world.progressed(1) }
        if world.nodes[operations[id].node].boot > 1 { world.probe(.repliedAfterRestart) }
        script.follow(operations[id], answer, self)
    }

    /// A node will never answer again.
    func giveUp(on node: Int) {
        for id in operations.indices where operations[id].node == node && !operations[id].isDone {
            operations[id].isAbandoned = true
            openCount -= 1
        }
        for index in plans.indices where plans[index]?.node == node {
            plans[index] = nil
            planCount -= 1
        }
    }

    // MARK: All together

    /// Everyone who was told of a success asks for the same again.
    func askAgain() {
        for id in operations.indices {
            let operation = operations[id]
            guard operation.retryOf == nil, let answer = operation.answer,
                script.isWorthAsking(operation, answer)
            else { continue }
            var again = operation
            again.retryOf = operation.id
            again.attempts = 0
            again.answer = nil
            let delay = world.random.below(
                500_000_000, .retries, operation.key, 1 << 40 | UInt64(world.phase.rawValue))
            later(again, at: world.nowNs + delay)
            if operation.kind == .grab || operation.kind == .reserve,
                world.random.happens(0.3, .retries, operation.key, 1 << 42)
            {
                later(script.read(operation), at: world.nowNs + delay)
            }
        }
    }

    /// Those who were refused a packet in the end ask once more.
    func askInVain() {
        for id in operations.indices {
            let operation = operations[id]
            guard operation.kind == .grab, operation.retryOf == nil,
                let answer = operation.answer, answer.errorCode == nil,
                !script.isWorthAsking(operation, answer)
            else { continue }
            var again = operation
            again.retryOf = operation.id
            again.attempts = 0
            again.answer = nil
            let delay = world.random.below(
                500_000_000, .retries, operation.key, 1 << 45 | UInt64(world.phase.rawValue))
            later(again, at: world.nowNs + delay)
        }
    }

    /// Payments and refunds come for orders that have left memory: of most more than one, some of
    /// them at once.
    func payLate() {
        for id in operations.indices {
            let operation = operations[id]
            guard operation.kind == .reserve, operation.retryOf == nil,
                let order = operation.answer?.items.dropFirst().first?.text,
                script.isWorthAsking(operation, operation.answer ?? .null)
            else { continue }
            for (index, wanted) in script.late(order, operation, phase: world.phase).enumerated() {
                let longestNs: UInt64 =
                    world.random.happens(
                        0.5, .retries, operation.key, 1 << 46 | UInt64(world.phase.rawValue))
                    ? 20_000_000 : 1_500_000_000
                let delay = world.random.below(
                    longestNs, .retries, operation.key,
                    1 << 47 | UInt64(world.phase.rawValue) << 8 | UInt64(index))
                later(wanted, at: world.nowNs + delay)
            }
        }
    }

    /// Operators look at every pool.
    func inquire() { for pool in world.pools { script.look(pool, self) } }

    func closePools() {
        for pool in world.pools { script.close(pool, self) }
    }

    func rollBackConfiguration(_ fault: Fault) { script.rollBack(fault, self) }

    /// A share of users sends what it waits for once more, at once.
    func stormRetries(_ fault: Fault) {
        for id in operations.indices
        where operations[id].node == fault.node && !operations[id].isDone
            && world.random.happens(
                fault.magnitude, .retries, operations[id].key, 1 << 41 | fault.id)
        {
            attempt(id)
        }
    }
}
