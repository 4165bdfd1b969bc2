import EdgeMemory
import Testing

@testable import EdgeCluster

/// Numbers from a seed: the same everywhere.
struct Draw {
    private var state: UInt64

    init(seed: UInt64) { state = Hash64.keyed(seed, salt: 77) }

    mutating func below(_ bound: Int) -> Int {
        state &+= 0x9e37_79b9_7f4a_7c15
        return Int(Hash64.reduce(Hash64.keyed(state, salt: 5), below: UInt64(bound)))
    }

    mutating func one<Element>(of elements: [Element]) -> Element {
        elements[below(elements.count)]
    }

    mutating func shuffled<Element>(_ elements: [Element]) -> [Element] {
        var elements = elements
        for index in elements.indices.reversed() { elements.swapAt(index, below(index + 1)) }
        return elements
    }
}

/// A topology that changes as operators change theirs.
struct DrawnTopology {
    var regions: [(name: String, weightMilli: Int, nodes: [Topology.Node])]
    let shards: Int
    var replicas: Int
    private var nextName = 0

    /// - Parameter most: nodes of a region.
    init(_ draw: inout Draw, mostNodes: Int = 24, shards: Int? = nil) {
        self.shards = shards ?? draw.one(of: [16, 64, 256, 1_024])
        replicas = 1 + draw.below(3)
        regions = []
        for region in 0..<(1 + draw.below(3)) {
            regions.append(("r\(region)", draw.one(of: [1_000, 1_000, 500, 3_000]), []))
            let zones = 1 + draw.below(4)
            let isEven = draw.below(2) == 0
            for index in 0..<(replicas + draw.below(mostNodes)) {
                add(
                    to: region, zone: "z\(isEven ? index % zones : draw.below(zones))",
                    weightMilli: isEven ? 1_000 : draw.one(of: [1_000, 1_000, 2_000, 500, 4_000]))
            }
        }
    }

    mutating func add(to region: Int, zone: String, weightMilli: Int = 1_000) {
        nextName += 1
        regions[region].nodes.append(
            Topology.Node(name: "n\(nextName)", zone: zone, weightMilli: weightMilli))
    }

    func made() throws -> Topology {
        try Topology(
            cluster: "drawn", shards: shards, replicas: replicas,
            regions: regions.map {
                Topology.Region(name: $0.name, weightMilli: $0.weightMilli, nodes: $0.nodes)
            })
    }

    /// - Returns: what was done.
    mutating func change(_ draw: inout Draw) -> String {
        let region = draw.below(regions.count)
        let count = regions[region].nodes.count
        switch draw.below(10) {
        case 0, 1:
            add(to: region, zone: "z\(draw.below(4))")
            return "add a node"
        case 2, 3:
            guard count > replicas else { return "nothing" }
            regions[region].nodes.remove(at: draw.below(count))
            return "remove a node"
        case 4:
            let place = draw.below(count)
            let node = regions[region].nodes[place]
            regions[region].nodes[place] = Topology.Node(
                name: node.name, zone: node.zone,
                weightMilli: draw.one(of: [0, 500, 1_000, 1_500, 2_000]))
            return "change a weight"
        case 5:
            let zone = "z\(4 + draw.below(3))"
            for _ in 0..<(1 + count / 3) { add(to: region, zone: zone) }
            return "add a zone"
        case 6:
            let place = draw.below(count)
            let zone = regions[region].nodes.remove(at: place).zone
            add(to: region, zone: zone)
            return "replace a node"
        case 7:
            guard count < 40 else { return "nothing" }
            for node in regions[region].nodes { add(to: region, zone: node.zone) }
            return "double"
        case 8:
            let zone = draw.one(of: regions[region].nodes).zone
            let rest = regions[region].nodes.filter { $0.zone != zone }
            guard rest.count >= replicas else { return "nothing" }
            regions[region].nodes = rest
            return "lose a zone"
        default: return changeMore(&draw, region)
        }
    }

    private mutating func changeMore(_ draw: inout Draw, _ region: Int) -> String {
        switch draw.below(4) {
        case 0:
            regions[region].weightMilli = draw.one(of: [500, 1_000, 2_000])
            return "change a region's weight"
        case 1:
            guard regions.count > 1 else { return "nothing" }
            regions.remove(at: region)
            return "drop a region"
        case 2:
            guard regions.count < 4 else { return "nothing" }
            nextName += 1
            regions.append(("x\(nextName)", 1_000, []))
            for zone in 0..<(replicas + 2) { add(to: regions.count - 1, zone: "z\(zone)") }
            return "add a region"
        default:
            replicas = 1 + draw.below(3)
            return "change replicas"
        }
    }
}

extension DrawnTopology {
    /// What operators should not do, or not all at once.
    ///
    /// - Returns: what was done.
    mutating func changeWildly(_ draw: inout Draw) -> String {
        let region = draw.below(regions.count)
        let place = draw.below(regions[region].nodes.count)
        let node = regions[region].nodes[place]
        switch draw.below(12) {
        case 0:
            let weight = draw.one(of: [0, 1, 10, 999, 1_001, 10_000, Topology.weightLimit])
            regions[region].nodes[place] = Topology.Node(
                name: node.name, zone: node.zone, weightMilli: weight)
            return "weight \(weight)"
        case 1:
            regions[region].nodes[place] = Topology.Node(
                name: node.name, zone: "z\(draw.below(6))", weightMilli: node.weightMilli)
            return "a node changes its zone"
        case 2:
            guard regions.count > 1, regions[region].nodes.count > 1 else { return "nothing" }
            regions[region].nodes.remove(at: place)
            regions[(region + 1) % regions.count].nodes.append(node)
            return "a node changes its region"
        case 3:
            let other = draw.below(regions.count)
            let otherPlace = draw.below(regions[other].nodes.count)
            let twin = regions[other].nodes[otherPlace]
            regions[region].nodes[place] = Topology.Node(
                name: twin.name, zone: node.zone, weightMilli: node.weightMilli)
            regions[other].nodes[otherPlace] = Topology.Node(
                name: node.name, zone: twin.zone, weightMilli: twin.weightMilli)
            return "two nodes change names"
        case 4:
            let zones = draw.one(of: [1, 2, 3, 1_000])
            regions[region].nodes = regions[region].nodes.enumerated().map { index, node in
                Topology.Node(
                    name: node.name, zone: "y\(index % zones)", weightMilli: node.weightMilli)
            }
            return "\(zones) zones"
        case 5:
            let nodes = regions[region].nodes
            regions[region].nodes = Array(draw.shuffled(nodes).prefix(replicas))
            return "as few nodes as replicas"
        case 6:
            for node in regions[region].nodes { add(to: region, zone: node.zone) }
            regions[region].nodes.removeFirst(regions[region].nodes.count / 2)
            return "replace all nodes"
        case 7:
            regions[region].weightMilli = draw.one(of: [0, 1, 1_000, Topology.weightLimit])
            return "a region's weight \(regions[region].weightMilli)"
        case 8:
            regions[region].nodes = regions[region].nodes.map { node in
                Topology.Node(
                    name: node.name, zone: node.zone,
                    weightMilli: draw.one(of: [0, 1, 500, 1_000, 5_000, 100_000]))
            }
            return "all weights"
        default: return change(&draw)
        }
    }
}

/// Checks a plan against everything that holds for every plan.
struct PlanCheck {
    let plan: ShardMapPlan

    /// Carries the moves out one by one. Every map on the way is legal, as far as it has come.
    ///
    /// - Parameter fromLegal: whether the plan starts from a map that a plan has made.
    func carryOut(_ context: Comment, fromLegal: Bool = true) throws {
        let topology = plan.topology
        let target = plan.target
        #expect(target.violation(of: topology) == nil, context)
        guard let start = plan.start else {
            #expect(plan.moves.isEmpty, context)
            return
        }
        let stands = NodeStands(topology, in: target)
        // Nodes from which shards are going away do not count.
        func counts(_ node: Int, _ other: Int) -> Bool {
            stands.region[other] >= 0 && stands.weightMilli[other] > 0
                && stands.regionWeightMilli[stands.region[other]] > 0
                && stands.region[node] == stands.region[other]
        }
        var map = start
        var pairs = Pairs(map, counts: counts)
        let limits = pairs.partners.map { max(Topology.partnerLimit, $0.count) }
        for move in plan.moves {
            pairs.remove(move.before.members)
            let isCurrent = map.apply(move)
            #expect(isCurrent, context)
            pairs.add(move.after.members)
            #expect(
                move.after.members.count >= min(move.before.members.count, topology.replicas),
                context)
            #expect(move.after.members.contains(move.after.primary), context)
            for node in move.after.members.numbers where fromLegal {
                #expect(pairs.partners[node].count <= limits[node], context)
            }
            checkSteps(move, context)
        }
        var reached = map
        reached.settledFor = target.settledFor
        #expect(reached == target, context)
        #expect(plan.copies >= plan.bound, context)
    }

    /// Step by step there is always a primary, and never a member too few.
    private func checkSteps(_ move: ShardMove, _ context: Comment) {
        var members = move.before.members
        var learners = NodeSet()
        var primary = move.before.primary
        var dropped = NodeSet()
        for step in move.steps {
            switch step {
            case .addLearner(let node): learners = learners.adding(node)
            case .handOver(let node):
                #expect(members.contains(node), context)
                primary = node
            case .promote(let node, let replaced):
                #expect(learners.contains(node), context)
                learners = learners.removing(node)
                if let replaced {
                    #expect(members.contains(replaced), context)
                    members = members.removing(replaced)
                    if primary == replaced { primary = node }
                }
                members = members.adding(node)
            case .drop(let node):
                #expect(node != primary, context)
                members = members.removing(node)
                dropped = dropped.adding(node)
            }
            #expect(members.contains(primary), context)
            #expect(
                members.count >= min(move.before.members.count, move.after.members.count), context)
        }
        #expect(members == move.after.members && primary == move.after.primary, context)
        #expect(dropped == move.leaving && learners.count == 0, context)
    }
}

/// Who shares shards with whom.
struct Pairs {
    private(set) var partners: [[(node: Int, count: Int)]]
    private let counts: (Int, Int) -> Bool

    init(_ map: ShardMap, counts: @escaping (Int, Int) -> Bool) {
        self.counts = counts
        partners = Array(repeating: [], count: map.nodes.count)
        for owner in map.owners { add(owner.members) }
    }

    mutating func add(_ members: NodeSet) { change(members, by: 1) }
    mutating func remove(_ members: NodeSet) { change(members, by: -1) }

    private mutating func change(_ members: NodeSet, by step: Int) {
        for node in members.numbers {
            for other in members.numbers where other != node && counts(node, other) {
                if let place = partners[node].firstIndex(where: { $0.node == other }) {
                    partners[node][place].count += step
                    if partners[node][place].count == 0 { partners[node].remove(at: place) }
                } else {
                    partners[node].append((other, step))
                }
            }
        }
    }
}
