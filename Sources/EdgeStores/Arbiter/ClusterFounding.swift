public import EdgeTypes

/// What a cluster is when its first node begins.
public struct ClusterFounding: Hashable, Sendable {
    public var cluster: String
    /// For good.
    public var shards: Int
    /// By number.
    public var nodes: [ClusterNode]
    /// Who should hold each shard.
    public var target: PlacementTarget

    public init(cluster: String, shards: Int, nodes: [ClusterNode], target: PlacementTarget) {
        self.cluster = cluster
        self.shards = shards
        self.nodes = nodes
        self.target = target
    }
}
