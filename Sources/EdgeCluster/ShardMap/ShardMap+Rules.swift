/// A hard rule that a map breaks.
public enum PlacementViolation: Sendable, Hashable {
    /// The map has another count of shards.
    case shardCount
    /// The shard's region is unknown or has no weight.
    case region(shard: Int)
    /// Too few or too many members.
    case replicas(shard: Int)
    /// A member is not in the shard's region, or has no weight.
    case member(shard: Int, node: Int)
    /// Too many members in one zone.
    case zone(shard: Int)
    /// A node shares shards with more than `Topology.partnerLimit` others.
    case partners(node: Int)
}

extension Topology {
    /// Most members of a shard in one zone of a region: 1 where there are as many zones as
    /// replicas, else as evenly as it goes.
    static func zoneCap(replicas: Int, zones: Int) -> Int { (replicas + zones - 1) / zones }
}

/// Where a topology puts the nodes of a map's table.
struct NodeStands {
    /// By node: a number in the map's regions; -1 where the topology does not know it.
    private(set) var region: [Int]
    /// By node: zones are numbered across regions; -1 where the topology does not know it.
    private(set) var zone: [Int]
    private(set) var weightMilli: [Int]
    /// By region: the most members of a shard in one zone.
    private(set) var zoneCap: [Int]
    /// By region: in thousandths.
    private(set) var regionWeightMilli: [Int]
    private(set) var zoneCount = 0

    init(_ topology: Topology, in map: ShardMap) {
        self.init(topology, nodes: map.nodes, regions: map.regions)
    }

    /// - Parameters: the tables that numbers refer to.
    init(_ topology: Topology, nodes: [String], regions: [String]) {
        region = Array(repeating: -1, count: nodes.count)
        zone = Array(repeating: -1, count: nodes.count)
        weightMilli = Array(repeating: 0, count: nodes.count)
        zoneCap = Array(repeating: topology.replicas, count: regions.count)
        regionWeightMilli = Array(repeating: 0, count: regions.count)
        for part in topology.regions {
            guard let number = ShardMap.place(of: part.name, in: regions) else { continue }
            regionWeightMilli[number] = part.weightMilli
            let zones = Self.ordered(part.nodes.map(\.zone))
            let serving = Self.ordered(part.nodes.filter { $0.weightMilli > 0 }.map(\.zone))
            if !serving.isEmpty {
                zoneCap[number] = Topology.zoneCap(
                    replicas: topology.replicas, zones: serving.count)
            }
            for node in part.nodes {
                guard let place = ShardMap.place(of: node.name, in: nodes) else { continue }
                region[place] = number
                zone[place] = zoneCount + (zones.firstIndex(of: node.zone) ?? 0)
                weightMilli[place] = node.weightMilli
            }
            zoneCount += zones.count
        }
    }

    /// The different ones, ascending.
    private static func ordered(_ names: [String]) -> [String] {
        var ordered: [String] = []
        for name in names.sorted() where ordered.last != name { ordered.append(name) }
        return ordered
    }
}

extension ShardMap {
    /// Checks every hard rule anew, by itself: planner and tests both ask it.
    ///
    /// - Returns: the first violation; nil where the map is legal under `topology`.
    /// - Complexity: O(shards + nodes).
    public func violation(of topology: Topology) -> PlacementViolation? {
        guard owners.count == topology.shards else { return .shardCount }
        let stands = NodeStands(topology, in: self)
        for shard in owners.indices {
            if let violation = violation(of: shard, stands, replicas: topology.replicas) {
                return violation
            }
        }
        for (node, count) in partners().enumerated() where count > Topology.partnerLimit {
            return .partners(node: node)
        }
        return nil
    }

    /// The same for one shard alone, without its nodes' partners.
    func violation(of shard: Int, _ stands: NodeStands, replicas: Int) -> PlacementViolation? {
        let owner = owners[shard]
        guard stands.regionWeightMilli[owner.region] > 0 else { return .region(shard: shard) }
        guard owner.members.count == replicas else { return .replicas(shard: shard) }
        for index in 0..<replicas {
            let node = owner.members[index]
            guard stands.region[node] == owner.region, stands.weightMilli[node] > 0 else {
                return .member(shard: shard, node: node)
            }
            let neighbours = (0..<replicas).filter {
                stands.zone[owner.members[$0]] == stands.zone[node]
            }
            guard neighbours.count <= stands.zoneCap[owner.region] else {
                return .zone(shard: shard)
            }
        }
        return nil
    }
}
