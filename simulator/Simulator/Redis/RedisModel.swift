import EdgeCluster
import EdgeReconciler
import EdgeTypes

/// A command or a script, with what comes after its name.
struct RedisWork {
    var script: RedisScript?
    var words: [String]
}

/// A Redis as its clients see it: one keyspace, connections that break, and the ways in which it
/// loses what it had.
///
/// Nothing interrupts a command or a script. It outlives the nodes, as a server would.
final class RedisModel {
    struct Faults {
        var isDown = false
        /// Connections break before a command is done, or after it, or it is done much later.
        var losesAnswers = false
        /// What was done is done again, up to some seconds later.
        var repeats = false
        /// How many times as long everything takes.
        var slowness = 1.0
    }

    let index: Int
    let settings: RedisSettings
    unowned let world: World
    var faults = Faults()
    private(set) var keyspace: RedisKeyspace
    /// Those that connected to an earlier one have to connect again.
    private(set) var incarnation = 0
    /// What replicas lag at, by the fault that makes them.
    private var replicas: [(id: UInt64, keyspace: RedisKeyspace)] = []
    /// Work that is still on its way.
    private var late: [RedisWork?] = []
    private var draws = DrawCounter()

    init(index: Int, world: World) {
        self.index = index
        self.world = world
        settings = Self.settings(shards: world.scenario.shards)
        keyspace = RedisKeyspace(mutant: world.mutant)
    }

    /// Small limits, so that they are reached, and a short retention time, so that most events have
    /// left the outbox when Redis loses what it has.
    private static func settings(shards: Int) -> RedisSettings {
        var settings = RedisSettings()
        let placement = Placement(shards: shards, cores: 1)
        settings.home = { placement.home(of: $0) }
        settings.rowsAtOnce = 8
        settings.waitingRows = 60
        settings.streamLimit = 60
        settings.deadLimit = 5
        settings.retentionMs = 2_000
        settings.cleanMs = 1_000
        return settings
    }

    var nowMs: Int64 { World.startMs + Int64(world.nowNs / 1_000_000) }

    func draw(below bound: UInt64) -> UInt64 {
        world.random.below(bound, .redis, UInt64(index), draws.next())
    }

    func chance(_ percent: UInt64) -> Bool { draw(below: 100) < percent }

    // MARK: Work

    @discardableResult
    func execute(_ work: RedisWork) -> RedisValue {
        let before = keyspace
        let answer =
            work.script.map { keyspace.run($0, work.words, nowMs: nowMs) }
            ?? keyspace.execute(work.words, nowMs: nowMs)
        for oracle in world.oracles { oracle.executed(world, self, work, before: before) }
        return answer
    }

    /// Work that its client has given up arrives after all.
    func executeLate(_ number: Int) {
        guard let work = late[number] else { return }
        late[number] = nil
        if !faults.isDown {
            world.probe(.redisLate)
            execute(work)
        }
    }

    private func postpone(_ work: RedisWork) {
        late.append(work)
        let afterNs = 1_000_000 * (1 + draw(below: 5_000))
        world.schedule(
            world.nowNs + afterNs, .redisCommand(server: index, number: late.count - 1))
    }

    /// What becomes of a command on a connection.
    ///
    /// - Returns: nil where the connection has broken.
    fileprivate func receive(_ work: RedisWork) -> RedisValue? {
        if faults.isDown { return nil }
        if faults.losesAnswers, chance(15) {
            world.probe(.redisAnswerLost)
            switch draw(below: 3) {
            case 0: break
            case 1: execute(work)
            default: postpone(work)
            }
            return nil
        }
        if faults.repeats, chance(20) { postpone(work) }
        return execute(work)
    }

    // MARK: Losses

    /// FLUSHALL, or a server that comes back without its data.
    func lose() {
        let before = keyspace
        keyspace = RedisKeyspace(mutant: world.mutant)
        if keyspace != before { lost() }
    }

    /// Somebody deletes one of the keys that pools have.
    func loseKey(_ number: UInt64) {
        let keys = keyspace.hashes.elements.map(\.key).filter {
            $0.hasPrefix("downpour:rain:") || $0.hasPrefix("downpour:stock:")
                || $0.hasPrefix("downpour:parts:")
        }
        guard !keys.isEmpty else { return }
        let key = keys[Int(number % UInt64(keys.count))]
        _ = keyspace.execute(["DEL", key], nowMs: nowMs)
        lost(pool: key.replacing("downpour:parts:", with: "downpour:"))
    }

    /// A replica begins to lag.
    func lag(_ id: UInt64) { replicas.append((id, keyspace)) }

    /// The replica takes over: what it lacks is gone.
    func failOver(_ id: UInt64) {
        guard let place = replicas.firstIndex(where: { $0.id == id }) else { return }
        let replica = replicas.remove(at: place).keyspace
        incarnation += 1
        guard replica != keyspace else { return }
        keyspace = replica
        lost()
    }

    func breakConnections() { incarnation += 1 }

    private func lost(pool: String? = nil) {
        world.probe(.redisLost)
        for oracle in world.oracles { oracle.lost(world, self, pool: pool) }
    }

    /// - Parameter node: whose it is; nil: a consumer's, or an operator's.
    func connect(_ node: SimulatedNode? = nil) throws(RedisError) -> any RedisLink {
        if faults.isDown { throw .unreachable("the connection was refused") }
        return RedisModelLink(self, node)
    }
}

/// A connection to a `RedisModel`.
private final class RedisModelLink: RedisLink {
    private let server: RedisModel
    private let incarnation: Int
    private unowned let node: SimulatedNode?
    private var isBroken = false

    init(_ server: RedisModel, _ node: SimulatedNode?) {
        self.server = server
        self.node = node
        incarnation = server.incarnation
    }

    private func receive(_ work: RedisWork) throws(RedisError) -> RedisValue {
        if let node { server.world.othersTurn(between: node) }
        if !isBroken, server.incarnation == incarnation, let answer = server.receive(work) {
            return answer
        }
        isBroken = true
        throw .unreachable("the connection was lost")
    }

    func send(_ commands: [RedisCommand]) throws(RedisError) -> [RedisValue] {
        var answers: [RedisValue] = []
        for command in commands {
            answers.append(try receive(RedisWork(script: nil, words: command.words)))
        }
        return answers
    }

    func run(_ script: RedisScript, _ arguments: RedisCommand) throws(RedisError) -> RedisValue {
        let answer = try receive(RedisWork(script: script, words: arguments.words))
        if case .error(let text) = answer { throw RedisError(answer: text) }
        return answer
    }

    func close() { isBroken = true }
}
