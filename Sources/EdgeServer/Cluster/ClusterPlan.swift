public import EdgeCluster
import EdgeMemory
import EdgeStores
public import EdgeTypes

/// A cluster as a node is told of it at its start: who its nodes are, where they are, and which of
/// them has each shard.
public struct ClusterPlan: Sendable, Hashable {
    public typealias Node = ClusterNode

    public var name: String
    /// A node's number is its place here: the same on all nodes. Where there are several copies of
    /// each shard, the arbiter gives numbers, and nodes may come.
    public var nodes: [Node]
    /// By shard: the number of the node that has it, for good; empty where the arbiter says.
    public var owners: [UInt16]
    /// Who should hold each shard, where there are several copies.
    public var replicas: ReplicaPlan?
    /// This node's number.
    public var own: Int

    public var shards: Int { replicas?.shards ?? owners.count }

    /// A cluster with several copies of each shard.
    ///
    /// - Precondition: 1 to `Limits.nodes` nodes, of which `own` is one.
    public init(name: String, nodes: [Node], replicas: ReplicaPlan, own: Int) {
        self.init(name: name, nodes: nodes, owners: [], own: own)
        self.replicas = replicas
    }

    /// A cluster with one copy of each shard.
    ///
    /// - Precondition: 1 to `Limits.nodes` nodes; each owner is one of them, and so is `own`.
    public init(name: String, nodes: [Node], owners: [UInt16], own: Int) {
        precondition(nodes.indices.contains(own) && nodes.count <= Limits.nodes)
        precondition(owners.allSatisfy { Int($0) < nodes.count })
        self.name = name
        self.nodes = nodes
        self.owners = owners
        self.own = own
    }

    public func number(of name: Text64?) -> Int? {
        guard let name else { return nil }
        return nodes.firstIndex { Text64($0.name) == name }
    }

    /// Names the node's journal: another's is refused.
    var nodeKey: UInt64 { Hash64.text(Text64(nodes[own].name)) | 1 }

    /// Names the cluster, and which of its nodes has each shard for good. A journal that was written under
    /// other owners is refused, and so are nodes that have been told of others: a shard that
    /// changed hands without its state would grant everything anew. Where the arbiter says who has
    /// what, it only names the cluster.
    var ownersKey: UInt64 {
        var hash = Hash64.text(Text64(name))
        if replicas != nil { return Hash64.mix(hash, UInt64(shards)) | 1 }
        for node in nodes { hash = Hash64.mix(hash, Hash64.text(Text64(node.name))) }
        for owner in owners { hash = Hash64.mix(hash, UInt64(owner)) }
        return hash | 1
    }

    /// What the cluster begins with, where its arbiter knows of nothing yet.
    func founding(_ replicas: ReplicaPlan) -> ClusterFounding {
        let first = (0..<replicas.shards).map { Array(replicas.wanted(ShardID($0))) }
        return ClusterFounding(
            cluster: name, shards: shards, nodes: nodes,
            target: PlacementTarget(members: first, previous: first))
    }
}

extension ClusterNode {
    /// `host:port`.
    func address(_ port: Int) -> String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}
