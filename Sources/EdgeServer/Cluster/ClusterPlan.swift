public import EdgeCluster
import EdgeMemory
public import EdgeTypes

/// A cluster as a node is told of it at its start: who its nodes are, where they are, and which of
/// them has each shard.
public struct ClusterPlan: Sendable, Hashable {
    public struct Node: Sendable, Hashable {
        public var name: String
        public var region: String
        public var zone: String
        /// A name or an address, as the other nodes reach it.
        public var host: String
        public var http: Int
        public var resp: Int
        public var bus: Int
        public var admin: Int

        public init(
            name: String, region: String, zone: String, host: String, http: Int, resp: Int,
            bus: Int, admin: Int
        ) {
            self.name = name
            self.region = region
            self.zone = zone
            self.host = host
            self.http = http
            self.resp = resp
            self.bus = bus
            self.admin = admin
        }

        /// `host:port`.
        func address(_ port: Int) -> String {
            host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        }
    }

    public var name: String
    /// A node's number is its place here: the same on all nodes.
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
    /// changed hands without its state would grant everything anew.
    var ownersKey: UInt64 {
        var hash = Hash64.text(Text64(name))
        for node in nodes { hash = Hash64.mix(hash, Hash64.text(Text64(node.name))) }
        for owner in owners { hash = Hash64.mix(hash, UInt64(owner)) }
        if replicas != nil { hash = Hash64.mix(hash, UInt64(shards)) }
        return hash | 1
    }
}
