/// Which nodes there are, where they stand and how much each should carry: what a topology file
/// says, as far as placement needs it.
///
/// A value is always sound (see `problem`) and in canonical order: regions by name, nodes by
/// name. So two files that differ in the order of their lists make equal topologies.
public struct Topology: Sendable, Hashable {
    public struct Node: Sendable, Hashable {
        public let name: String
        /// Nodes that fail together. Zones of different regions have nothing in common.
        public let zone: String
        /// In thousandths, 0 ... `Topology.weightLimit`; 0 drains the node.
        public let weightMilli: Int

        public init(name: String, zone: String, weightMilli: Int = 1_000) {
            self.name = name
            self.zone = zone
            self.weightMilli = weightMilli
        }
    }

    public struct Region: Sendable, Hashable {
        public let name: String
        /// In thousandths, 0 ... `Topology.weightLimit`; 0 drains the region.
        public let weightMilli: Int
        public let nodes: [Node]

        public init(name: String, weightMilli: Int = 1_000, nodes: [Node]) {
            self.name = name
            self.weightMilli = weightMilli
            self.nodes = nodes
        }
    }

    /// Who decides between two nodes that both want a shard.
    public enum Arbiter: String, Sendable, CaseIterable {
        /// The store's database.
        case store
        /// Nobody: only an operator moves shards.
        case none
    }

    /// Most nodes of a cluster.
    public static let nodeLimit = 2_048
    /// Most regions of a cluster.
    public static let regionLimit = 16
    /// Most copies of a shard.
    public static let replicaLimit = 3
    /// Largest weight, in thousandths.
    public static let weightLimit = 1_000_000
    /// Most nodes that a node shares shards with: each pair exchanges beacons.
    public static let partnerLimit = 8

    public let cluster: String
    /// A power of two, for good.
    public let shards: Int
    /// Copies of a shard in all, 1 ... `replicaLimit`.
    public let replicas: Int
    public let arbiter: Arbiter
    public let regions: [Region]

    /// - Throws: the first problem, in the order given.
    /// - Complexity: O(n log n) in nodes.
    public init(
        cluster: String, shards: Int, replicas: Int, arbiter: Arbiter = .store, regions: [Region]
    ) throws(Problem) {
        if let problem = Self.problem(
            cluster: cluster, shards: shards, replicas: replicas, regions: regions)
        {
            throw problem
        }
        self.cluster = cluster
        self.shards = shards
        self.replicas = replicas
        self.arbiter = arbiter
        self.regions = regions.sorted { $0.name < $1.name }.map { region in
            Region(
                name: region.name, weightMilli: region.weightMilli,
                nodes: region.nodes.sorted { $0.name < $1.name })
        }
    }

    public var nodeCount: Int { regions.reduce(0) { $0 + $1.nodes.count } }
}

extension Topology {
    /// Why a topology is refused, and at which of its parts.
    public struct Problem: Error, Hashable, CustomStringConvertible {
        public enum Place: Sendable, Hashable {
            case cluster
            case shards
            case replicas
            case regions
            /// Places in the lists as they were given, from 0.
            case region(Int)
            case node(region: Int, Int)
        }

        public let place: Place
        public let reason: String

        public var description: String { reason }
    }

    private static func problem(
        cluster: String, shards: Int, replicas: Int, regions: [Region]
    ) -> Problem? {
        func problem(_ place: Problem.Place, _ reason: String) -> Problem {
            Problem(place: place, reason: reason)
        }
        guard isName(cluster) else { return problem(.cluster, "the cluster's name \(namesAre)") }
        guard shards >= 1, shards <= 16_384, shards & (shards - 1) == 0 else {
            return problem(.shards, "shards must be a power of two, 1 to 16384")
        }
        guard replicas >= 1, replicas <= replicaLimit else {
            return problem(.replicas, "replicas must be 1 to \(replicaLimit)")
        }
        guard !regions.isEmpty, regions.count <= regionLimit else {
            return problem(.regions, "there must be 1 to \(regionLimit) regions")
        }
        guard regions.reduce(0, { $0 + $1.nodes.count }) <= nodeLimit else {
            return problem(.regions, "more than \(nodeLimit) nodes")
        }
        var nodeNames: Set<String> = []
        var regionNames: Set<String> = []
        for (index, region) in regions.enumerated() {
            if let reason = reason(against: region, replicas: replicas) {
                return problem(.region(index), reason)
            }
            guard regionNames.insert(region.name).inserted else {
                return problem(.region(index), "region \(region.name) is given twice")
            }
            for (place, node) in region.nodes.enumerated() {
                if let reason = reason(against: node) {
                    return problem(.node(region: index, place), reason)
                }
                guard nodeNames.insert(node.name).inserted else {
                    return problem(
                        .node(region: index, place), "node \(node.name) is given twice")
                }
            }
        }
        return shareless(regions, shards: shards)
    }

    /// A region has a weight and yet would own no shard.
    private static func shareless(_ regions: [Region], shards: Int) -> Problem? {
        let total = regions.reduce(0) { $0 + $1.weightMilli }
        guard total > 0 else {
            return Problem(place: .regions, reason: "no region has a weight")
        }
        for (index, region) in regions.enumerated()
        where region.weightMilli > 0 && region.weightMilli * shards < total {
            return Problem(
                place: .region(index),
                reason: "region \(region.name) would own less than one of \(shards) shards")
        }
        return nil
    }

    private static func reason(against region: Region, replicas: Int) -> String? {
        guard isName(region.name) else { return "a region's name \(namesAre)" }
        guard region.weightMilli >= 0, region.weightMilli <= weightLimit else {
            return "weight must be 0 to \(weightLimit / 1_000)"
        }
        let serving = region.nodes.filter { $0.weightMilli > 0 }.count
        guard region.weightMilli == 0 || serving >= replicas else {
            return "region \(region.name) has \(serving) nodes with a weight, "
                + "fewer than replicas (\(replicas))"
        }
        return nil
    }

    private static func reason(against node: Node) -> String? {
        guard isName(node.name) else { return "a node's name \(namesAre)" }
        guard isName(node.zone) else { return "a zone's name \(namesAre)" }
        guard node.weightMilli >= 0, node.weightMilli <= weightLimit else {
            return "weight must be 0 to \(weightLimit / 1_000)"
        }
        return nil
    }

    private static let namesAre = "is 1 to 64 of A-Z a-z 0-9 . _ : -"

    /// 1 to 64 of `A-Z a-z 0-9 . _ : -`.
    static func isName(_ text: String) -> Bool {
        guard !text.isEmpty, text.utf8.count <= 64 else { return false }
        return text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: ":"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
    }
}
