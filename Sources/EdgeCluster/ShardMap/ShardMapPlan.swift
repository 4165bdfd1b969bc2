/// What turns a map into the one that a topology asks for.
public struct ShardMapPlan: Sendable {
    public let topology: Topology
    /// Who owns what now, in the plan's tables of names; nil where the plan creates a cluster.
    public let start: ShardMap?
    /// In an order in which every map on the way is legal. None where a cluster is created.
    public let moves: [ShardMove]
    /// Who owns what in the end, in the same tables of names.
    public let target: ShardMap
    /// By node of the target's table: how many replicas it should hold, rounded down and up; 0 for
    /// those that are emptied.
    public let shares: [ClosedRange<Int>]
    /// No plan copies fewer replicas and leaves every node as near to its share.
    public let bound: Int
    /// Covers the map it starts from, the topology, and where it leads.
    public let hash: ContentHash

    init(
        topology: Topology, start: ShardMap?, moves: [ShardMove], target: ShardMap,
        shares: [ClosedRange<Int>], bound: Int
    ) {
        self.topology = topology
        self.start = start
        self.moves = moves
        self.target = target
        self.shares = shares
        self.bound = bound
        var hash = ContentHash(kind: 5)
        if let start { hash.combine(start.hash) }
        hash.combine(topology.hash)
        hash.combine(target.hash)
        self.hash = hash
    }

    /// Replicas that are copied.
    public var copies: Int { moves.reduce(0) { $0 + $1.joining.count } }

    /// Changes of primary, each a short pause of writes to one shard.
    public var handOvers: Int { moves.reduce(0) { $0 + ($1.handsOver ? 1 : 0) } }

    /// Whether the plan was made for this map: epochs, primaries and members are all as they
    /// were. A stale plan must not be carried out.
    ///
    /// - Complexity: O(shards).
    public func starts(from map: ShardMap) -> Bool { start?.hash == map.hash }
}

extension ShardMapPlan: CustomStringConvertible {
    /// The plan in full, the same bytes on every machine: a line a move, in order.
    public var description: String {
        var text = "downpour plan 1\ncluster \(topology.cluster)\nplan \(hash)\n"
        text += "topology \(topology.hash)\nfrom \(start.map { "\($0.hash)" } ?? "nothing")\n"
        guard start != nil else {
            for (shard, owner) in target.owners.enumerated() {
                text += "shard \(shard) \(describe(owner))\n"
            }
            return text
        }
        for move in moves {
            text += "shard \(move.shard) \(describe(move.before)) -> \(describe(move.after))\n"
        }
        return text
    }

    /// Region, epoch, primary, backups.
    private func describe(_ owner: ShardMap.Owner) -> String {
        let backups = owner.backups.map { " " + target.nodes[$0] }.joined()
        return "\(target.regions[owner.region]) \(owner.epoch) "
            + "\(target.nodes[owner.primary])\(backups)"
    }
}
