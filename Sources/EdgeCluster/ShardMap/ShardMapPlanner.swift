/// Plans who owns which shard.
///
/// A plan is a function of a map and a topology and of nothing else: integers only, names in
/// order, no hash tables iterated. `README.md` beside this file has the algorithm and its bounds.
public enum ShardMapPlanner {
    /// Why there is no plan.
    public enum Refusal: Error, Hashable, CustomStringConvertible {
        /// The count of shards is for good.
        case shards(map: Int, topology: Int)

        public var description: String {
            switch self {
            case .shards(let map, let topology):
                "the cluster has \(map) shards for good, the topology says \(topology)"
            }
        }
    }

    /// - Parameter map: who owns what now; nil creates a cluster.
    /// - Complexity: about O(moves · nodes); 500 nodes and 16,384 shards take up
    ///   to a second.
    public static func plan(
        from map: ShardMap?, to topology: Topology
    ) throws(Refusal) -> ShardMapPlan {
        if let map, map.owners.count != topology.shards {
            throw .shards(map: map.owners.count, topology: topology.shards)
        }
        var drafting = Drafting(map, topology)
        return drafting.unchanged() ?? drafting.plan()
    }
}

/// One run of the planner.
private struct Drafting {
    let topology: Topology
    let start: ShardMap?
    let nodeNames: [String]
    let regionNames: [String]
    let stands: NodeStands
    /// By region: shards it should own.
    let wanted: [Int]
    /// By node: replicas it should hold.
    var target: [Int]
    /// By node: the same rounded down and up.
    var shares: [ClosedRange<Int>]
    var layout: Layout

    init(_ map: ShardMap?, _ topology: Topology) {
        self.topology = topology
        let named = topology.regions
        nodeNames = Self.merged(map?.nodes ?? [], named.flatMap { $0.nodes.map(\.name) }.sorted())
        regionNames = Self.merged(map?.regions ?? [], named.map(\.name))
        start = map?.renumbered(nodes: nodeNames, regions: regionNames)
        stands = NodeStands(topology, nodes: nodeNames, regions: regionNames)
        layout = Layout(
            stands, names: nodeNames, replicas: topology.replicas, shards: topology.shards)
        var owned = Array(repeating: 0, count: regionNames.count)
        for (shard, owner) in (start?.owners ?? []).enumerated() {
            owned[owner.region] += 1
            layout.begin(shard, region: owner.region, members: owner.members)
        }
        wanted = RegionShares.wanted(
            weights: stands.regionWeightMilli, owned: map == nil ? nil : owned,
            shards: topology.shards)
        target = Array(repeating: 0, count: nodeNames.count)
        shares = Array(repeating: 0...0, count: nodeNames.count)
        setShares()
    }

    /// Two ascending tables in one.
    private static func merged(_ a: [String], _ b: [String]) -> [String] {
        var merged: [String] = []
        for name in (a + b).sorted() where merged.last != name { merged.append(name) }
        return merged
    }

    private mutating func setShares() {
        let isNew = start == nil
        for region in regionNames.indices where !layout.serving[region].isEmpty {
            let nodes = layout.serving[region]
            let firstZone = nodes.reduce(Int.max) { min($0, layout.nodes[$1].zone) }
            let shares = Shares(
                shards: wanted[region], replicas: topology.replicas,
                zoneCap: stands.zoneCap[region],
                nodes: nodes.map { node in
                    Shares.Node(
                        zone: layout.nodes[node].zone - firstZone,
                        weightMilli: stands.weightMilli[node])
                })
            for (place, node) in nodes.enumerated() {
                let exact = shares.exact[place]
                target[node] = shares.target[place]
                self.shares[node] = exact.floor...exact.ceiling
                layout.nodes[node].low = isNew ? shares.target[place] : exact.floor
                layout.nodes[node].high = isNew ? shares.target[place] : exact.ceiling
                // Where all can be partners of all, shares are met to the last replica.
                let isSmall = nodes.count <= Topology.partnerLimit + 1
                let part = topology.replicas > 2 ? 8 : 16
                layout.nodes[node].tolerance =
                    isNew ? 0 : isSmall ? 1 : max(1, exact.floor / part)
                layout.nodes[node].utmost =
                    isNew ? 0 : isSmall ? 1 : max(2, exact.floor * 2 / part)
                layout.nodes[node].aim = isNew || isSmall ? 0 : 1
            }
        }
    }

    /// No plan at all, where the map is legal and was made for this very topology.
    func unchanged() -> ShardMapPlan? {
        guard let start, start.settledFor == topology.hash, start.violation(of: topology) == nil
        else { return nil }
        return ShardMapPlan(
            topology: topology, start: start, moves: [], target: start, shares: shares, bound: 0)
    }

    mutating func plan() -> ShardMapPlan {
        arrange()
        return finish(settledFor: topology.hash)
    }

    /// Puts every shard where it belongs: first what must move, in one move each wherever that is
    /// possible; then what should, as cheaply as it goes.
    private mutating func arrange() {
        let before = layout.nodes.map(\.load)
        if start == nil {
            layout.mostWanted = layout.wantedPartners
            create()
        } else {
            changeRegions()
        }
        for node in layout.nodes.indices {
            layout.nodes[node].base = min(before[node], layout.nodes[node].load)
        }
        layout.evict()
        layout.relieve()
        layout.chain(.nothing) { _ in 0 }
        layout.pull(deep: false)
        layout.push(deep: false)
        layout.chain(.nothing) { _ in 0 }
        layout.pull(deep: true)
        layout.push(deep: true)
        layout.chain(.nothing) { _ in 0 }
        layout.chain(.upTo(copies: Int.max)) { $0.utmost }
        // What is left of the allowance brings them nearer, the furthest first.
        layout.chain(.upTo(copies: bound(of: layout) * 21 / 20)) { $0.tolerance }
        layout.chain(.upTo(copies: bound(of: layout) * 21 / 20)) { $0.aim }
        layout.relieve()
    }

    private func bound(of layout: Layout) -> Int {
        guard let start else { return Int.max / 21 }
        return MoveBound(start, stands, replicas: topology.replicas, shards: wanted).copies(
            after: layout.nodes.map(\.load), shares: layout.nodes.map { ($0.low, $0.high) })
    }

    /// Every region gets its part of the shards, evenly spread over their numbers.
    private mutating func create() {
        var shards = Array(repeating: [Int](), count: regionNames.count)
        for shard in 0..<topology.shards {
            // Whoever is furthest behind its part.
            var best = 0
            var bestLag = Int.min
            for region in regionNames.indices {
                let lag =
                    wanted[region] * (shard + 1) - shards[region].count * topology.shards
                if lag > bestLag { (best, bestLag) = (region, lag) }
            }
            shards[best].append(shard)
        }
        for region in regionNames.indices where !shards[region].isEmpty {
            let scattered = Self.scattered(shards[region])
            if topology.replicas > 2, layout.serving[region].count > Topology.partnerLimit + 1 {
                layout.layRows(scattered, region: region, target: target)
            } else {
                layout.fill(scattered, region: region, target: target)
            }
        }
    }

    /// In an order in which neighbours are far apart: steps of the golden ratio.
    private static func scattered(_ shards: [Int]) -> [Int] {
        func divisor(_ a: Int, _ b: Int) -> Int { b == 0 ? a : divisor(b, a % b) }
        var step = max(1, shards.count * 618 / 1_000)
        while divisor(shards.count, step) > 1 { step += 1 }
        return shards.indices.map { shards[$0 * step % shards.count] }
    }

    /// Regions that own too many shards give them to those that own too few.
    private mutating func changeRegions() {
        var owned = Array(repeating: 0, count: regionNames.count)
        for shard in 0..<topology.shards { owned[layout.region(of: shard)] += 1 }
        var giving: [Int] = []
        for region in regionNames.indices where owned[region] > wanted[region] {
            giving += layout.surplus(of: region, count: owned[region] - wanted[region])
        }
        var next = 0
        for region in regionNames.indices where owned[region] < wanted[region] {
            let count = wanted[region] - owned[region]
            let shards = Array(giving[next..<(next + count)])
            layout.fill(shards, region: region, target: target)
            next += count
        }
        precondition(next == giving.count)
    }

    /// Chooses primaries and puts the moves in order.
    private func finish(settledFor hash: ContentHash) -> ShardMapPlan {
        let members = (0..<topology.shards).map { layout.members(of: $0) }
        var primaries = Primaries(
            members: members, wanted: start?.owners.map(\.primary) ?? members.map { _ in -1 },
            replicas: topology.replicas, nodeCount: nodeNames.count)
        primaries.balance()
        guard let start else {
            let owners = (0..<topology.shards).map { shard in
                ShardMap.Owner(
                    region: layout.region(of: shard), epoch: 1,
                    primary: primaries.primary[shard], members: members[shard])
            }
            let made = ShardMap(
                nodes: nodeNames, regions: regionNames, owners: owners, settledFor: hash)
            precondition(made.violation(of: topology) == nil)
            return ShardMapPlan(
                topology: topology, start: nil, moves: [], target: made, shares: shares, bound: 0)
        }
        var order = MoveOrder(start, layout, primaries: primaries.primary)
        let moves = order.moves()
        var made = start
        for move in moves {
            let isCurrent = made.apply(move)
            precondition(isCurrent)
        }
        made.settledFor = hash
        precondition(made.violation(of: topology) == nil)
        return ShardMapPlan(
            topology: topology, start: start, moves: moves, target: made, shares: shares,
            bound: bound(of: layout))
    }
}
