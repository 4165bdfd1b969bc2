import EdgeCluster
import EdgeTypes

/// A cluster as a topology file describes it: where its nodes stand, and who should hold each
/// shard; and, where another file is applied in mid-run, who should afterwards.
public struct ScenarioTopology: Sendable, Hashable, Codable {
    public struct Node: Sendable, Hashable, Codable {
        public var name: String
        public var region: String
        public var zone: String

        public init(name: String, region: String, zone: String) {
            self.name = name
            self.region = region
            self.zone = zone
        }
    }

    /// What an operator decides in mid-run.
    public struct Move: Sendable, Hashable, Codable {
        /// By shard: numbers of nodes, whoever should lead first.
        public var members: [[UInt16]]
        public var atNs: UInt64
        /// Shards of a node that are on the move at once.
        public var atOnce: Int
        /// What the plan says it takes.
        public var copies: Int
        public var handOvers: Int

        public init(
            members: [[UInt16]], atNs: UInt64, atOnce: Int, copies: Int, handOvers: Int
        ) {
            self.members = members
            self.atNs = atNs
            self.atOnce = atOnce
            self.copies = copies
            self.handOvers = handOvers
        }
    }

    /// By number.
    public var nodes: [Node]
    /// By shard: numbers of nodes, whoever should lead first; the same count for all.
    public var members: [[UInt16]]
    public var move: Move?

    public init(nodes: [Node], members: [[UInt16]], move: Move? = nil) {
        self.nodes = nodes
        self.members = members
        self.move = move
    }

    /// Who should hold each shard, and who stands in: as a running node makes it of a target.
    func plan(_ members: [[UInt16]]) -> ReplicaPlan {
        ReplicaPlan(
            replicas: members[0].count,
            candidates: members.enumerated().map { shard, holders in
                holders
                    + nodes.indices.map { UInt16((shard + $0) % nodes.count) }
                    .filter { !holders.contains($0) }
            })
    }

    /// How far two nodes are from each other.
    func link(_ a: Int, _ b: Int) -> LinkClass {
        if nodes[a].region != nodes[b].region { return .crossRegion }
        return nodes[a].zone == nodes[b].zone ? .sameZone : .crossZone
    }

    /// Nodes that fail together with one.
    func zone(of node: Int) -> [Int] { nodes.indices.filter { link(node, $0) == .sameZone } }

    /// Why a world cannot be made of it; nil where it can.
    func problem(_ scenario: Scenario) -> String? {
        guard scenario.isCluster, nodes.count == scenario.nodes else {
            return "the scenario has other nodes"
        }
        for (members, copies) in [(members, scenario.replicas)]
            + (move.map { [($0.members, $0.members.first?.count ?? 0)] } ?? [])
        {
            guard members.count == scenario.shards, (1...nodes.count).contains(copies),
                copies <= Limits.replicas,
                members.allSatisfy({ holders in
                    holders.count == copies && Set(holders).count == copies
                        && holders.allSatisfy { Int($0) < nodes.count }
                })
            else { return "who should hold each shard makes no sense" }
        }
        guard let move else { return nil }
        guard scenario.replicas > 1, move.members[0].count > 1 else {
            return "shards with one copy do not move"
        }
        return move.atOnce > 0 && move.atNs < 1 << 50 ? nil : "the move is out of range"
    }
}
