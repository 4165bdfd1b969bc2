import EdgeTypes

/// The links between the nodes of a cluster: one stream for each pair, in order in each direction
/// for each core that sends. A message that is lost breaks its link; what was under way is gone.
///
/// It models TCP as its user sees it: nothing is lost or overtaken without the connection's end,
/// which both sides notice at the same time, and only after some silence where nobody says so.
struct Bus {
    /// After so long without a sign of the other end a link is given up.
    static let silenceNs: UInt64 = 1_500_000_000
    /// Most cores of a node.
    private static let cores = 16

    private let random: RandomSource
    private let nodes: Int
    private let shapes = LinkShapes()
    private let topology: ScenarioTopology?
    /// By pair, the lower node first.
    private var generations: [Int]
    private var isUp: [Bool]
    private var isLinking: [Bool]
    private var isDoomed: [Bool]
    /// By sender, its core, and receiver: when the last message arrives.
    private var lastNs: [UInt64]
    private var counts: [UInt64]
    private var cuts: [Int]
    private var slowness: [Double]
    private var attempts: UInt64 = 0

    init(_ scenario: Scenario, _ random: RandomSource) {
        self.random = random
        nodes = scenario.isCluster ? scenario.nodes : 0
        topology = scenario.topology
        let pairs = nodes * nodes
        generations = Array(repeating: 0, count: pairs)
        isUp = Array(repeating: false, count: pairs)
        isLinking = isUp
        isDoomed = isUp
        lastNs = Array(repeating: 0, count: pairs * Self.cores)
        counts = lastNs
        cuts = Array(repeating: 0, count: nodes)
        slowness = Array(repeating: 1, count: nodes)
    }

    private func pair(_ a: Int, _ b: Int) -> Int { min(a, b) * nodes + max(a, b) }

    func generation(_ a: Int, _ b: Int) -> Int { generations[pair(a, b)] }

    func isUp(_ a: Int, _ b: Int) -> Bool { isUp[pair(a, b)] }

    func passes(_ a: Int, _ b: Int) -> Bool { cuts[a] == 0 && cuts[b] == 0 }

    mutating func cut(_ node: Int) { cuts[node] += 1 }
    mutating func mend(_ node: Int) { cuts[node] -= 1 }
    mutating func slow(_ node: Int, by factor: Double) { slowness[node] = factor }

    mutating func up(_ a: Int, _ b: Int) {
        generations[pair(a, b)] += 1
        isUp[pair(a, b)] = true
        isDoomed[pair(a, b)] = false
    }

    mutating func down(_ a: Int, _ b: Int) { isUp[pair(a, b)] = false }

    /// - Returns: whether nobody had said so before.
    mutating func doom(_ a: Int, _ b: Int) -> Bool {
        if isDoomed[pair(a, b)] || !isUp[pair(a, b)] { return false }
        isDoomed[pair(a, b)] = true
        return true
    }

    func isDoomed(_ a: Int, _ b: Int) -> Bool { isDoomed[pair(a, b)] }

    /// - Returns: whether no attempt to link the two was under way.
    mutating func beginLinking(_ a: Int, _ b: Int) -> Bool {
        if isLinking[pair(a, b)] || isUp[pair(a, b)] { return false }
        isLinking[pair(a, b)] = true
        return true
    }

    mutating func endLinking(_ a: Int, _ b: Int) { isLinking[pair(a, b)] = false }

    /// When a message arrives that leaves now: never before the one before it.
    mutating func arrivalNs(_ from: Int, _ core: Int, _ to: Int, nowNs: UInt64) -> UInt64 {
        let place = (from * nodes + to) * Self.cores + core
        counts[place] += 1
        let entity = 1 << 50 | UInt64(place)
        let word = random.word(.networkDelay, entity, counts[place])
        var delayNs = shapes[topology?.link(from, to) ?? .sameZone].sampleNs(word)
        delayNs = UInt64(Double(delayNs) * max(slowness[from], slowness[to]))
        lastNs[place] = max(nowNs + delayNs, lastNs[place])
        return lastNs[place]
    }

    mutating func retryNs() -> UInt64 {
        attempts += 1
        return 50_000_000 + random.below(300_000_000, .networkDelay, 1 << 51, attempts)
    }
}

/// The links as the world's events change them.
extension World {
    /// A node has started: it calls all others.
    func startsLinks(of node: Int) {
        guard scenario.isCluster else { return }
        for other in nodes.indices where other != node {
            // The kernel of a machine that is back says that it knows of no such link.
            linkLost(node, other, bus.generation(node, other))
            retryLink(node, other)
        }
    }

    private func retryLink(_ a: Int, _ b: Int) {
        guard bus.beginLinking(a, b) else { return }
        schedule(nowNs + bus.retryNs(), .link(a, b))
    }

    func link(_ a: Int, _ b: Int) {
        bus.endLinking(a, b)
        // Whoever starts calls.
        if nodes[a].isDown || nodes[b].isDown || bus.isUp(a, b) { return }
        guard nodes[a].isRunning, nodes[b].isRunning, !nodes[a].isHalted, !nodes[b].isHalted,
            bus.passes(a, b)
        else { return retryLink(a, b) }
        bus.up(a, b)
        probe(.linked)
        nodes[a].linked(b)
        nodes[b].linked(a)
    }

    /// Whoever is at the other ends notices after a while.
    func breakLinks(of node: Int, afterNs: UInt64) {
        guard scenario.isCluster else { return }
        for other in nodes.indices where other != node && bus.isUp(node, other) {
            schedule(
                nowNs + afterNs,
                .linkLost(node, other, generation: bus.generation(node, other)))
        }
    }

    func linkLost(_ a: Int, _ b: Int, _ generation: Int) {
        guard bus.generation(a, b) == generation, bus.isUp(a, b) else { return }
        bus.down(a, b)
        probe(.linkLost)
        nodes[a].linkLost(b)
        nodes[b].linkLost(a)
        retryLink(a, b)
    }

    /// A message leaves for a core of another node.
    func send(_ bytes: [UInt8], from node: SimulatedNode, _ core: Int, to other: Int, _ place: Int)
    {
        guard bus.isUp(node.index, other), !bus.isDoomed(node.index, other) else { return }
        let to = Happening.Place(node: other, boot: nodes[other].boot, core: place)
        let arrivalNs = bus.arrivalNs(node.index, core, other, nowNs: nowNs)
        schedule(
            arrivalNs,
            .bus(
                from: node.index, to: to, generation: bus.generation(node.index, other),
                bytes: bytes))
    }

    func arrive(_ from: Int, _ to: Happening.Place, _ generation: Int, _ bytes: [UInt8]) {
        guard bus.generation(from, to.node) == generation, bus.isUp(from, to.node) else { return }
        guard bus.passes(from, to.node) else {
            // Nothing comes after what is missing.
            if bus.doom(from, to.node) {
                schedule(
                    nowNs + Bus.silenceNs, .linkLost(from, to.node, generation: generation))
            }
            return
        }
        guard !bus.isDoomed(from, to.node), let node = alive(to.node, to.boot) else { return }
        node.receive(from, to.core, bytes)
    }
}
