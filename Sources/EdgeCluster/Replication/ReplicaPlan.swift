public import EdgeTypes

/// Who should hold each shard: what the topology file comes to.
public struct ReplicaPlan: Hashable, Sendable {
    /// Copies of each shard.
    public let replicas: Int
    /// By shard: node numbers, whoever should lead first. Those after the first `replicas` stand in
    /// for others that are not there.
    public let candidates: [[UInt16]]

    public init(replicas: Int, candidates: [[UInt16]]) {
        precondition(replicas >= 1 && replicas <= Limits.replicas)
        precondition(candidates.allSatisfy { !$0.isEmpty })
        self.replicas = replicas
        self.candidates = candidates
    }

    public var shards: Int { candidates.count }

    /// Who should hold the shard, whoever should lead first.
    public func wanted(_ shard: ShardID) -> ArraySlice<UInt16> {
        candidates[Int(shard)].prefix(replicas)
    }
}
