import Testing

@testable import EdgeCluster

/// How good plans are, beyond legal: balance and moves.
@Suite("Shard map bounds")
struct ShardMapBoundTests {
    struct Size: CustomTestStringConvertible, Sendable {
        let nodes: Int
        let zones: Int
        let shards: Int

        var testDescription: String { "\(nodes) nodes in \(zones) zones, \(shards) shards" }
    }

    static let sizes = [
        Size(nodes: 3, zones: 3, shards: 64), Size(nodes: 6, zones: 2, shards: 256),
        Size(nodes: 9, zones: 3, shards: 1_024), Size(nodes: 40, zones: 4, shards: 1_024),
        Size(nodes: 60, zones: 3, shards: 2_048), Size(nodes: 24, zones: 6, shards: 512),
    ]

    @Test("a new cluster is balanced to the last replica and primary", arguments: sizes, 1...3)
    func creates(size: Size, replicas: Int) throws {
        guard size.nodes >= replicas else { return }
        let topology = try Cluster(
            nodes: size.nodes, zones: size.zones, replicas: replicas, shards: size.shards
        ).made()
        let map = try ShardMapPlanner.plan(from: nil, to: topology).target
        #expect(map.violation(of: topology) == nil)
        for (counts, total) in [
            (map.replicas(), size.shards * replicas), (map.primaries(), size.shards),
        ] {
            #expect(counts.reduce(0, +) == total)
            // Three copies in three zones: a zone holds every shard, however many its nodes are.
            let isEven = replicas % size.zones != 0 || size.nodes % size.zones == 0
            guard isEven, replicas < 3 || size.zones != 2 else { continue }
            for count in counts {
                #expect(count >= total / size.nodes, "\(counts)")
                #expect(count <= (total + size.nodes - 1) / size.nodes, "\(counts)")
            }
        }
    }

    enum Change: String, CaseIterable {
        case addNode, removeNode, drainNode, changeWeight, addZone, replaceNode, double, loseZone
    }

    func nodes(after change: Change, of cluster: Cluster) -> [Topology.Node] {
        var nodes = cluster.all
        let victim = 1
        let zone = nodes[victim].zone
        switch change {
        case .addNode: nodes.append(Topology.Node(name: "x", zone: zone))
        case .removeNode: nodes.remove(at: victim)
        case .drainNode: nodes[victim] = Topology.Node(name: "n-1", zone: zone, weightMilli: 0)
        case .changeWeight:
            nodes[victim] = Topology.Node(name: "n-1", zone: zone, weightMilli: 1_500)
        case .addZone:
            for index in 0..<max(1, cluster.nodes / cluster.zones) {
                nodes.append(Topology.Node(name: "x-\(index)", zone: "x"))
            }
        case .replaceNode: nodes[victim] = Topology.Node(name: "x", zone: zone)
        case .double: nodes += nodes.map { Topology.Node(name: "x" + $0.name, zone: $0.zone) }
        case .loseZone: nodes.removeAll { $0.zone == zone }
        }
        return nodes
    }

    @Test(
        "up to two copies: at most 5 % over the bound, and nobody a sixteenth off its share",
        arguments: Change.allCases, sizes)
    func neighbours(change: Change, size: Size) throws {
        for replicas in 1...2 {
            let cluster = Cluster(
                nodes: size.nodes, zones: size.zones, replicas: replicas, shards: size.shards)
            guard let after = try? cluster.made(nodes(after: change, of: cluster)) else { continue }
            let map = try ShardMapPlanner.plan(from: nil, to: cluster.made()).target
            let plan = try ShardMapPlanner.plan(from: map, to: after)
            try PlanCheck(plan: plan).carryOut("\(change), \(replicas) copies")
            #expect(plan.copies <= plan.bound + plan.bound / 20 + 1, "\(plan.copies) \(plan.bound)")
            checkBalance(plan) { max(2, $0 / 16) }
        }
    }

    @Test(
        "three copies: at most 5 % over the bound, and nobody a quarter off its share",
        arguments: Change.allCases, sizes)
    func neighboursOfThree(change: Change, size: Size) throws {
        let cluster = Cluster(
            nodes: size.nodes, zones: size.zones, replicas: 3, shards: size.shards)
        guard let after = try? cluster.made(nodes(after: change, of: cluster)) else { return }
        let map = try ShardMapPlanner.plan(from: nil, to: cluster.made()).target
        let plan = try ShardMapPlanner.plan(from: map, to: after)
        try PlanCheck(plan: plan).carryOut("\(change)")
        #expect(plan.copies <= plan.bound + plan.bound / 20 + 2, "\(plan.copies) \(plan.bound)")
        checkBalance(plan) { max(1, $0 / 4) }
    }

    /// Zone b lacks more than the shards of a node in zone a can give it: most of those stand
    /// beside a node of b already.
    @Test(
        "unlike nodes, one in each zone twice the other: at most 5 % over the bound",
        arguments: 0..<6, [0, 500, 1_500, nil])
    func unlike(victim: Int, factor: Int?) throws {
        var nodes = (0..<6).map { index in
            Topology.Node(
                name: "n-\(index)", zone: "z\(index % 3)", weightMilli: index < 3 ? 1_000 : 2_000)
        }
        func made() throws -> Topology {
            try Topology(
                cluster: "unlike", shards: 512, replicas: 2,
                regions: [Topology.Region(name: "r", weightMilli: 1_000, nodes: nodes)])
        }
        let map = try ShardMapPlanner.plan(from: nil, to: made()).target
        let node = nodes.remove(at: victim)
        if let factor {
            nodes.append(
                Topology.Node(
                    name: node.name, zone: node.zone, weightMilli: node.weightMilli * factor / 1_000
                ))
        }
        let plan = try ShardMapPlanner.plan(from: map, to: made())
        try PlanCheck(plan: plan).carryOut("\(node.name) times \(factor ?? 0)")
        #expect(plan.copies <= plan.bound + plan.bound / 20 + 1, "\(plan.copies) \(plan.bound)")
        checkBalance(plan) { max(2, $0 / 16) }
    }

    @Test("no map at all copies less than the bound says", arguments: UInt64(1)...60)
    func leastOfAll(seed: UInt64) throws {
        var draw = Draw(seed: seed)
        let shards = draw.one(of: [4, 8])
        let replicas = 1 + draw.below(3)
        let zones = 1 + draw.below(4)
        var nodes = (0..<(replicas + 1 + draw.below(4))).map { index in
            Topology.Node(
                name: "n-\(index)", zone: "z\(draw.below(zones))",
                weightMilli: draw.one(of: [500, 1_000, 2_000]))
        }
        func made() throws -> Topology {
            try Topology(
                cluster: "small", shards: shards, replicas: replicas,
                regions: [Topology.Region(name: "r", weightMilli: 1_000, nodes: nodes)])
        }
        let map = try ShardMapPlanner.plan(from: nil, to: made()).target
        let victim = draw.below(nodes.count)
        nodes[victim] = Topology.Node(
            name: draw.one(of: [nodes[victim].name, "x"]), zone: nodes[victim].zone,
            weightMilli: draw.one(of: [0, 500, 3_000]))
        if draw.below(3) == 0 {
            nodes.append(Topology.Node(name: "y", zone: "z\(draw.below(zones + 1))"))
        }
        guard let after = try? made() else { return }
        let plan = try ShardMapPlanner.plan(from: map, to: after)
        #expect(plan.bound <= leastCopies(plan))
    }

    /// The fewest copies by which any legal map brings every node at least as near to its share as
    /// the plan does: all maps are tried, those with equal loads together.
    func leastCopies(_ plan: ShardMapPlan) -> Int {
        guard let start = plan.start else { return 0 }
        let stands = NodeStands(plan.topology, in: plan.target)
        let replicas = plan.topology.replicas
        let count = plan.target.nodes.count
        let copysets = (0..<(1 << count)).compactMap { bits -> NodeSet? in
            guard bits.nonzeroBitCount == replicas else { return nil }
            let members = NodeSet((0..<count).filter { bits >> $0 & 1 == 1 })
            let isLegal = members.numbers.allSatisfy { node in
                let mates = members.numbers.filter { stands.zone[$0] == stands.zone[node] }
                return stands.region[node] == 0 && stands.weightMilli[node] > 0
                    && mates.count <= stands.zoneCap[0]
            }
            return isLegal ? members : nil
        }
        // By the loads of all nodes, four bits each: the fewest copies that lead there.
        var least: [Int: Int] = [0: 0]
        for owner in start.owners {
            var next: [Int: Int] = [:]
            for (loads, copies) in least {
                for members in copysets {
                    let made = members.numbers.reduce(loads) { $0 + 1 << ($1 * 4) }
                    let cost = copies + members.subtracting(owner.members).count
                    next[made] = min(next[made] ?? Int.max, cost)
                }
            }
            least = next
        }
        let loads = plan.target.replicas()
        return least.filter { made, _ in
            (0..<count).allSatisfy { node in
                let load = made >> (node * 4) & 15
                let share = plan.shares[node]
                return load >= min(share.lowerBound, loads[node])
                    && load <= max(share.upperBound, loads[node])
            }
        }.values.min() ?? Int.max
    }

    /// Against shares computed anew; primaries against the replicas they are of.
    func checkBalance(_ plan: ShardMapPlan, within tolerance: (Int) -> Int) {
        let nodes = plan.topology.regions[0].nodes.filter { $0.weightMilli > 0 }
        let zones = Set(nodes.map(\.zone)).sorted()
        let replicas = plan.topology.replicas
        let shares = Shares(
            shards: plan.topology.shards, replicas: replicas,
            zoneCap: (replicas + zones.count - 1) / zones.count,
            nodes: nodes.map { node in
                Shares.Node(
                    zone: zones.firstIndex(of: node.zone) ?? 0, weightMilli: node.weightMilli)
            })
        let (held, led) = (plan.target.replicas(), plan.target.primaries())
        for (place, node) in nodes.enumerated() {
            guard let number = plan.target.number(ofNode: node.name) else { continue }
            let share = shares.exact[place]
            let tolerance = tolerance(share.floor)
            #expect(held[number] >= share.floor - tolerance, "\(node.name) \(held[number])")
            #expect(held[number] <= share.ceiling + tolerance, "\(node.name) \(held[number])")
            #expect(led[number] >= held[number] / replicas)
            #expect(led[number] <= (held[number] + replicas - 1) / replicas)
        }
    }

    @Test("shares add up, respect weights, and no node or zone gets more than it can hold")
    func shares() {
        func shares(_ nodes: [(zone: Int, weight: Int)], replicas: Int, cap: Int = 1) -> [Int] {
            Shares(
                shards: 100, replicas: replicas, zoneCap: cap,
                nodes: nodes.map { Shares.Node(zone: $0.zone, weightMilli: $0.weight) }
            ).target
        }
        #expect(shares([(0, 1_000), (1, 1_000), (2, 2_000)], replicas: 1) == [25, 25, 50])
        #expect(shares([(0, 1_000), (1, 1_000), (2, 1_000)], replicas: 2) == [67, 67, 66])
        // A node holds a shard once; the others share what it cannot take.
        #expect(shares([(0, 9_000), (1, 1_000), (2, 2_000)], replicas: 2) == [100, 33, 67])
        // So does a zone: its five nodes hold a hundred, by their weights.
        #expect(
            shares(
                [(0, 500), (0, 1_000), (0, 1_000), (0, 1_000), (0, 1_500), (1, 1_000)],
                replicas: 2) == [10, 20, 20, 20, 30, 100])
        #expect(
            shares([(0, 1_000), (0, 1_000), (0, 1_000), (1, 1_000)], replicas: 3, cap: 2)
                == [67, 67, 66, 100])
        // Drained nodes get nothing.
        #expect(shares([(0, 0), (1, 1_000), (2, 1_000)], replicas: 2) == [0, 100, 100])
    }
}
