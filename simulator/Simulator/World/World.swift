import EdgeMemory
public import EdgeTypes

/// A simulated world in which faults are looked for: nodes, clients, operators and stores under
/// virtual time, one event at a time.
///
/// Nothing in it reads a clock, draws system randomness or iterates a hash table: the same
/// scenario, seed, plan and mutant give the same digest on every machine.
public final class World {
    public let scenario: Scenario
    public let random: RandomSource
    public let plan: FaultPlan
    public let mutant: Mutant
    public internal(set) var nowNs: UInt64 = 0

    private var queue = LadderQueue()
    private var happenings: [Happening?] = []
    private var freeHappenings: [Int32] = []

    var nodes: [SimulatedNode] = []
    var pools: [PoolPlan] = []
    var clients: Clients!
    /// Of the events of each Redis.
    var consumers: [EventConsumers] = []
    /// Something has its turn within that of another: not deeper.
    var isInOthersTurn = false
    var histories: [NodeHistory] = []
    let oracles: [any Oracle]
    var network: Network
    var bus: Bus
    var arbiter: ArbiterModel
    /// To another topology, in mid-run.
    var move: TopologyMove?
    /// Counts what it is asked.
    var arbiterQuestions: UInt64 = 0
    var replicationMutant: ReplicationMutant {
        ReplicationMutant(rawValue: mutant.rawValue) ?? .none
    }
    /// Faults that have begun and not ended.
    var active: [Bool]
    /// Armed faults that have been set off.
    var struck: [Bool]
    /// The nodes that a loss of a shard's power has stopped, by fault.
    var dark: [Int: [Int]] = [:]
    var phase = Phase.crowd
    var demand: Demand?
    var phaseSinceNs: UInt64 = 0
    /// Nodes that were killed in the end, one after the other.
    var killed = 0
    /// Answers and rows so far, and when the last came.
    var progressCount: UInt64 = 0
    var lastProgressNs: UInt64 = 0
    private var lastProgressEvents: UInt64 = 0

    public private(set) var failure: Failure?
    public private(set) var digest: UInt64 = 0
    public private(set) var events: UInt64 = 0
    /// The digest after every so many events.
    public private(set) var trail: [UInt64] = []
    public static let trailStep: UInt64 = 256
    public private(set) var probes: Set<Probe> = []
    /// Is given a line for each event where somebody watches.
    public var trace: ((UInt64, UInt64, String) -> Void)?
    /// The event at which a replay stops.
    public var lastEvent = UInt64.max

    /// 2026-01-01.
    static let startMs: UnixMs = 1_767_225_600_000

    enum Phase: Int {
        /// Users and faults.
        case crowd
        /// Everything that was asked gets its answer.
        case answers
        /// Users come who want what is left.
        case demand
        /// Winners ask again.
        case again
        /// One node is away, and others stand in: where the scenario wants that.
        case absence
        /// Power is lost everywhere, and winners ask once more.
        case afterwards
        /// Holds run out, pools close, stores catch up.
        case closing
        case over
        // Where closed rains leave memory: between `closing` and `over`.
        /// What is closed is archived.
        case archiving
        /// Winners, and those who won nothing, ask what only the store knows.
        case archived
        /// Power is lost everywhere, and they ask once more.
        case recalled
    }

    /// Who is away, and the shards' epochs once others have taken its place.
    var absent: SimulatedNode?
    var restingEpochs: [UInt32] = []

    public init(
        _ scenario: Scenario, seed: UInt64, plan: FaultPlan? = nil, mutant: Mutant = .none,
        users: [Int]? = nil
    ) {
        self.scenario = scenario
        self.mutant = mutant
        let random = RandomSource(seed: seed)
        self.random = random
        let plan = plan ?? FaultPlan.draw(scenario, random)
        self.plan = plan
        network = Network(scenario, random)
        bus = Bus(scenario, random)
        arbiter = ArbiterModel(shards: scenario.replicas > 1 ? scenario.shards : 0)
        active = Array(repeating: false, count: plan.faults.count)
        struck = active
        oracles = Oracles.all()
        for node in 0..<scenario.nodes {
            let isAlone = !scenario.isCluster || node == 0
            nodes.append(
                SimulatedNode(
                    index: node,
                    store: isAlone
                        ? StoreModel(mutant: mutant, keepsClaims: scenario.isArchiving)
                        : nodes[0].store,
                    redis: isAlone ? makeRedis(node) : nodes[0].redis, world: self))
            if isAlone { followStore(of: nodes[node]) }
            histories.append(isAlone ? NodeHistory(world: self, node: node) : histories[0])
            for _ in 0..<scenario.poolsPerNode {
                pools.append(
                    PoolPlan.draw(index: pools.count, node: node, scenario, random))
            }
        }
        if let topology = scenario.topology, let wanted = topology.move {
            move = TopologyMove(from: topology.members, to: wanted.members)
        }
        clients = Clients(world: self, users: users ?? Array(0..<scenario.users))
    }

    // MARK: The loop

    func schedule(_ atNs: UInt64, _ happening: Happening) {
        let slot: Int32
        if let free = freeHappenings.popLast() {
            slot = free
            happenings[Int(free)] = happening
        } else {
            slot = Int32(happenings.count)
            happenings.append(happening)
        }
        queue.push(timeNs: max(atNs, nowNs), payload: UInt32(slot))
    }

    /// Runs until everything has settled, or something does not hold.
    public func run() {
        for node in nodes { node.start() }
        for (index, fault) in plan.faults.enumerated() {
            schedule(fault.startNs, .faultBegins(index))
            schedule(fault.endNs, .faultEnds(index))
        }
        clients.start()
        for consumer in consumers { consumer.start() }
        if let wanted = scenario.topology?.move { schedule(wanted.atNs, .decideMove) }
        schedule(scenario.crowdEndNs, .progress)
        while failure == nil, phase != .over, events &+ 1 < lastEvent, let event = queue.pop() {
            nowNs = event.timeNs
            let slot = Int(event.payload)
            guard let happening = happenings[slot] else {
                preconditionFailure("an event without its happening")
            }
            happenings[slot] = nil
            freeHappenings.append(Int32(slot))
            note(happening)
            handle(happening)
            if events - lastProgressEvents > mostIdleEvents {
                fail("liveness", "\(mostIdleEvents) events bring nothing", kind: .liveness)
            }
        }
    }

    /// So many events without an answer or a row go round in circles: those who wait and try again
    /// do not make as many while time passes.
    private var mostIdleEvents: UInt64 { 200_000 + 1_000 * UInt64(scenario.users) }

    private func note(_ happening: Happening) {
        digest = Hash64.mix(digest ^ nowNs, happening.word &+ events)
        events += 1
        if events % Self.trailStep == 0 { trail.append(digest) }
        if let trace { trace(events, nowNs, happening.description) }
    }

    /// Takes bytes into the digest.
    func digest(_ bytes: [UInt8]) {
        digest = bytes.withUnsafeBytes { Hash64.bytes($0, salt: digest) }
    }

    /// A line for whoever watches.
    func note(_ line: @autoclosure () -> String) {
        if let trace { trace(events, nowNs, line()) }
    }

    func probe(_ probe: Probe) { probes.insert(probe) }

    func progressed(_ count: UInt64) {
        guard count > 0 else { return }
        progressCount += count
        lastProgressNs = nowNs
        lastProgressEvents = events
    }

    func fail(_ oracle: String, _ detail: String, kind: Failure.Kind = .correctness) {
        guard failure == nil else { return }
        failure = Failure(
            oracle: oracle, kind: kind, detail: detail, event: events, timeNs: nowNs,
            digest: digest)
        note("\(oracle): \(detail)")
    }

    private func handle(_ happening: Happening) {
        switch happening {
        case .request(let operation, let attempt):
            arrive(operation, attempt)
        case .reply(let operation, let attempt, let bytes):
            arrive(operation, attempt, bytes)
        case .connectionLost(let operation, let attempt):
            clients.loseConnection(operation, attempt)
        case .timeout(let operation, let attempt): clients.timeOut(operation, attempt)
        case .retry(let operation, let attempt): clients.retry(operation, attempt)
        case .act(let index): clients.act(index)
        case .tick(let place), .mail(let place):
            if let node = alive(place.node, place.boot) { node.tick(place.core) }
        case .deadline(let place, let generation):
            alive(place.node, place.boot)?.deadline(place.core, generation: generation)
        case .resend(let place): alive(place.node, place.boot)?.resend(place.core)
        case .link(let a, let b): link(a, b)
        case .linkLost(let a, let b, let generation): linkLost(a, b, generation)
        case .bus(let from, let to, let generation, let bytes):
            arrive(from, to, generation, bytes)
        case .synced(let place): alive(place.node, place.boot)?.synced(place.core)
        case .lazyFlush(let place): alive(place.node, place.boot)?.lazyFlush(place.core)
        case .reconcile(let node, let boot): alive(node, boot)?.reconcile()
        case .maintain(let node, let boot): alive(node, boot)?.maintain()
        case .stopping(let node, let boot): alive(node, boot)?.continueStop()
        case .agent(let node, let boot): alive(node, boot)?.tickAgent()
        case .arbiterAsked(let node, let boot, let question): arbitrate(node, boot, question)
        case .arbiterAnswers(let node, let boot, let reply): alive(node, boot)?.hear(reply)
        case .storeAsked(let node, let boot, let number):
            alive(node, boot)?.findInStore(number)
        case .faultBegins(let index): begin(index)
        case .faultEnds(let index): end(index)
        case .faultStrikes(let index, let boot): strike(index, boot: boot)
        case .restart(let node, let stops): restart(nodes[node], stops)
        case .progress: advance()
        case .decideMove: decideMove()
        case .follow(let node, let boot): alive(node, boot)?.follow()
        case .redisCommand(let server, let number):
            nodes[server].redis?.executeLate(number)
        case .consume(let server): consumers(of: server)?.turn()
        }
    }

    /// The node, where the process is still the one that the event was meant for.
    func alive(_ node: Int, _ boot: Int) -> SimulatedNode? {
        nodes[node].boot == boot && !nodes[node].isDown ? nodes[node] : nil
    }

    private func restart(_ node: SimulatedNode, _ stops: Int) {
        node.stops -= stops
        precondition(node.stops >= 0)
        if node.isDown, node.stops == 0 { node.start() }
    }
}
