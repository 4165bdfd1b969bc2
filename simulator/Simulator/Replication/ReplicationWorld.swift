import EdgeCluster
import EdgeMemory
import EdgeTypes

/// The replication protocol on its own: the very `ShardReplica` and `PairLease` of the nodes, with
/// numbers in the place of entries, so that a thousand failovers take a second.
///
/// Modelled: crashes with and without what was not flushed, pauses, drifting clocks, connections
/// in order that break, partitions both ways and one way, lost and late beacons, an arbiter that is
/// down, slow, or answers into the void, clients that retry under the same number. What is claimed
/// is checked: an acknowledged number stays where it was told to be, a read has everything that was
/// acknowledged before it began, no two replicas commit for one epoch, and after the faults every
/// shard is whole and everyone has an answer.
///
/// Faults keep to what the promise covers: at every time some member of each configuration lives,
/// or its only one comes back with its disk.
public final class ReplicationWorld {
    public let scenario: ReplicationScenario
    let random: RandomSource
    var nowNs: UInt64 = 0
    private var queue = LadderQueue()
    private var happenings: [ReplicationHappening?] = []
    private var free: [Int32] = []

    var nodes: [ReplicaNode] = []
    /// The arbiter's rows.
    var rows: [ShardConfiguration] = []
    /// Proposals that are on their way there, by shard.
    var inFlight: [[ShardConfiguration]]
    var arbiterDownUntilNs: UInt64 = 0
    var arbiterLosesUntilNs: UInt64 = 0
    /// By ordered pair of nodes: the connection's number, the last arrival, until when it is cut.
    var connections: [UInt64]
    var lastArrivalNs: [UInt64]
    var cutUntilNs: [UInt64]
    var effects: [ReplicaEffect] = []
    var draws: UInt64 = 0

    var operations: [ReplicaOperation] = []
    /// By shard: what was acknowledged, and where.
    var acknowledged: [[UInt64: UInt64]]
    var highest: [UInt64]
    /// Who committed first at an epoch of a shard.
    var committers: [[UInt32: ReplicaID]]

    public internal(set) var failure: Failure?
    public internal(set) var probes: Set<ReplicationProbe> = []
    public private(set) var events: UInt64 = 0
    public private(set) var digest: UInt64 = 0
    public var trace: ((String) -> Void)?
    var isOver = false

    public init(_ scenario: ReplicationScenario, seed: UInt64) {
        self.scenario = scenario
        random = RandomSource(seed: seed)
        let pairs = scenario.nodes * scenario.nodes
        connections = Array(repeating: 1, count: pairs)
        lastArrivalNs = Array(repeating: 0, count: pairs)
        cutUntilNs = Array(repeating: 0, count: pairs)
        acknowledged = Array(repeating: [:], count: scenario.shards)
        highest = Array(repeating: 0, count: scenario.shards)
        inFlight = Array(repeating: [], count: scenario.shards)
        committers = Array(repeating: [:], count: scenario.shards)
        for index in 0..<scenario.nodes {
            nodes.append(
                ReplicaNode(
                    index: index, shards: scenario.shards, nodes: scenario.nodes,
                    skewPpm: Double(below(2_000)) - 1_000, offsetNs: below(1 << 40)))
        }
        for shard in 0..<scenario.shards {
            let ids = (0..<scenario.replicas).map {
                nodes[(shard + $0) % scenario.nodes].id
            }
            rows.append(
                ShardConfiguration(
                    shard: ShardID(shard), epoch: 1, primary: ids[0], members: ids))
        }
        for node in nodes { begin(node) }
        planFaults()
        planClients()
        schedule(nowNs + 1_000_000_000, .look)
    }

    func below(_ bound: UInt64) -> UInt64 {
        draws += 1
        return random.below(bound, .plan, draws)
    }

    func happens(_ probability: Double) -> Bool {
        draws += 1
        return random.happens(probability, .plan, draws)
    }

    func schedule(_ atNs: UInt64, _ happening: ReplicationHappening) {
        let slot: Int32
        if let last = free.popLast() {
            slot = last
            happenings[Int(last)] = happening
        } else {
            slot = Int32(happenings.count)
            happenings.append(happening)
        }
        queue.push(timeNs: max(atNs, nowNs), payload: UInt32(slot))
    }

    public func run() {
        while failure == nil, !isOver, let event = queue.pop() {
            nowNs = event.timeNs
            let slot = Int(event.payload)
            guard let happening = happenings[slot] else { preconditionFailure("no happening") }
            happenings[slot] = nil
            free.append(Int32(slot))
            events += 1
            digest = Hash64.mix(digest ^ nowNs, events)
            handle(happening)
        }
    }

    func fail(_ oracle: String, _ detail: String, kind: Failure.Kind = .correctness) {
        guard failure == nil else { return }
        failure = Failure(
            oracle: oracle, kind: kind, detail: detail, event: events, timeNs: nowNs,
            digest: digest)
        note("\(oracle): \(detail)")
    }

    func note(_ line: @autoclosure () -> String) { trace?("\(nowNs / 1_000) us: \(line())") }

    func probe(_ probe: ReplicationProbe) { probes.insert(probe) }

    /// What arrives at a process that stands still waits for it.
    private func isDeferred(_ index: Int, _ happening: ReplicationHappening) -> Bool {
        guard nodes[index].pausedUntilNs > nowNs else { return false }
        nodes[index].deferred.append(happening)
        return true
    }

    private func resume(_ index: Int) {
        guard nodes[index].pausedUntilNs <= nowNs else { return }
        let deferred = nodes[index].deferred
        nodes[index].deferred = []
        for happening in deferred { handle(happening) }
    }

    private func handle(_ happening: ReplicationHappening) {
        switch happening {
        case .tick(let node, let boot):
            guard isAlive(node, boot), !isDeferred(node, happening) else { return }
            tick(nodes[node])
        case .message(let message, let entries, let from, let to, let connection):
            guard isAlive(Int(to.node), to.boot), !isDeferred(Int(to.node), happening) else {
                return
            }
            let pair = Int(from.node) * scenario.nodes + Int(to.node)
            guard connections[pair] == connection else { return }
            receive(message, entries, from, nodes[Int(to.node)])
        case .beacon(let from, let to, let number):
            guard nodes[to].isUp, !isDeferred(to, happening) else { return }
            beacon(from, nodes[to], number)
        case .answer(let from, let to, let number):
            guard isAlive(Int(to.node), to.boot), !isDeferred(Int(to.node), happening) else {
                return
            }
            let node = nodes[Int(to.node)]
            guard node.pairs[Int(from.node)]?.id == from else { return }
            node.pairs[Int(from.node)]?.pair.lease.answered(number, nowNs: node.clock(nowNs))
            release(node)
        case .flushed(let node, let boot, let shard, let upTo, let incarnation, let secures):
            guard isAlive(node, boot) else { return }
            flushed(nodes[node], shard, upTo, incarnation, secures)
        case .arbiterAsked(let asker, let change): arbitrate(asker, change)
        case .arbiterRead(let asker, let shard): readRow(asker, shard)
        case .arbiterSaid(let asker, let change, let outcome, let row):
            guard isAlive(Int(asker.node), asker.boot), !isDeferred(Int(asker.node), happening)
            else { return }
            heard(nodes[Int(asker.node)], change, outcome, row)
        case .request(let operation, let attempt, let node):
            guard nodes[node].isUp, !isDeferred(node, happening) else { return }
            request(operation, attempt, nodes[node])
        case .reply(let operation, let attempt, let result):
            reply(operation, attempt, result)
        case .timeout(let operation, let attempt): timeOut(operation, attempt)
        case .crash(let node): crash(node)
        case .restart(let node): restart(node)
        case .pause(let node, let untilNs):
            guard nodes[node].isUp else { return }
            probe(.paused)
            note("node \(node) stands still for \((untilNs - nowNs) / 1_000_000) ms")
            nodes[node].pausedUntilNs = max(nodes[node].pausedUntilNs, untilNs)
            schedule(untilNs, .resume(node: node))
        case .resume(let node): resume(node)
        case .cut(let a, let b, let oneWay, let untilNs):
            cut(a, b, untilNs)
            if !oneWay { cut(b, a, untilNs) }
            schedule(untilNs, .reset(a, b))
        case .reset(let a, let b): reset(a, b)
        case .arbiterFault(let downUntilNs, let loses):
            if loses {
                arbiterLosesUntilNs = max(arbiterLosesUntilNs, downUntilNs)
            } else {
                arbiterDownUntilNs = max(arbiterDownUntilNs, downUntilNs)
            }
        case .handOver(let node): handOver(node)
        case .look: look()
        }
    }

    func isAlive(_ node: Int, _ boot: UInt64) -> Bool {
        nodes[node].isUp && nodes[node].boot == boot
    }
}
