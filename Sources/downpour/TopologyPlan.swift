import EdgeCluster
import EdgeServer
import EdgeTypes
import Foundation
import StrictYAML
import TopologyFiles

/// A cluster as a topology file describes it, for one of its nodes.
enum TopologyPlan {
    struct Refusal: Error, CustomStringConvertible {
        let description: String
    }

    /// - Parameter own: the node's name.
    /// - Throws: what is wrong with the file, or with the node's place in it.
    static func of(_ path: String, own: String) throws -> ClusterPlan {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw Refusal(description: "cannot read \(path)")
        }
        let file = try TopologyFile.read(text, file: path)
        let topology = file.topology
        guard topology.replicas == 1 || topology.arbiter == .store else {
            throw Refusal(
                description: "\(path): arbiter: with several replicas somebody must decide who "
                    + "leads: say `arbiter: store`")
        }
        let map = try ShardMapPlanner.plan(from: nil, to: topology).target
        var nodes: [ClusterPlan.Node] = []
        for name in map.nodes {
            guard let address = file.addresses.first(where: { $0.node == name }),
                let region = topology.regions.first(where: { region in
                    region.nodes.contains { $0.name == name }
                }), let node = region.nodes.first(where: { $0.name == name })
            else { preconditionFailure("a node that the file does not have") }
            nodes.append(
                ClusterPlan.Node(
                    name: name, region: region.name, zone: node.zone, host: address.host,
                    http: Int(address.http), resp: Int(address.resp), bus: Int(address.bus),
                    admin: Int(address.admin)))
        }
        guard let number = map.number(ofNode: own) else {
            let known = map.nodes.joined(separator: ", ")
            throw Refusal(description: "\(path): no node \(own); there are \(known)")
        }
        if topology.replicas > 1 {
            return ClusterPlan(
                name: topology.cluster, nodes: nodes,
                replicas: replicas(map, copies: topology.replicas), own: number)
        }
        return ClusterPlan(
            name: topology.cluster, nodes: nodes,
            owners: map.owners.map { UInt16($0.primary) }, own: number)
    }

    /// Who should hold each shard, and who stands in: the others, from the one after the last.
    private static func replicas(_ map: ShardMap, copies: Int) -> ReplicaPlan {
        ReplicaPlan(
            replicas: copies,
            candidates: map.owners.enumerated().map { shard, owner in
                let members = [owner.primary] + owner.backups
                let others = (0..<map.nodes.count).map { (shard + $0) % map.nodes.count }
                    .filter { !members.contains($0) }
                return (members + others).map { UInt16($0) }
            })
    }
}
