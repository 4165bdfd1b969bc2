/// Placing shards that have no place in a region yet: all of them when a cluster is created, and
/// those that come from another region.
extension Layout {
    /// Puts shards on copysets in blocks: always the neediest node first, beside the neediest
    /// ones that may be its partners.
    ///
    /// - Parameter target: by node, the replicas it should hold in the end.
    /// - Complexity: O(blocks · replicas · nodes), with about 3 blocks a node.
    mutating func fill(_ shards: [Int], region: Int, target: [Int]) {
        var next = 0
        while next < shards.count {
            guard
                let (members, most) = copyset(
                    in: region, left: shards.count - next, target: target)
            else {
                let members = leastLoadedGroup(in: region) ?? makeCopyset(in: region)
                put(shards[next], region: region, members: members)
                next += 1
                continue
            }
            for shard in shards[next..<(next + most)] {
                put(shard, region: region, members: members)
            }
            next += most
        }
    }

    /// What is still to be placed in a region.
    private struct Demand {
        let left: Int
        /// By node, none below 0.
        var need: [Int]
        /// By zone.
        var zoneNeed: [Int]
    }

    private func demand(in region: Int, left: Int, target: [Int]) -> Demand {
        let zones = serving[region].reduce(0) { max($0, nodes[$1].zone + 1) }
        var demand = Demand(
            left: left, need: Array(repeating: 0, count: nodes.count),
            zoneNeed: Array(repeating: 0, count: zones))
        for node in serving[region] {
            let need = max(0, target[node] - nodes[node].load)
            demand.need[node] = need
            demand.zoneNeed[nodes[node].zone] += need
        }
        return demand
    }

    private func copyset(in region: Int, left: Int, target: [Int]) -> (NodeSet, most: Int)? {
        let demand = demand(in: region, left: left, target: target)
        var members = NodeSet()
        var most = left
        while members.count < replicas {
            guard let (node, bond) = candidate(beside: members, in: region, demand) else {
                return nil
            }
            if bond == .known || bond == .new {
                for index in 0..<members.count {
                    let other = members[index]
                    most = min(most, max(1, part(node, other) - shared(node, other)))
                }
            }
            most = min(most, max(1, demand.need[node]))
            members = members.adding(node)
        }
        if replicas > 2 { most = min(most, max(1, nodes[members[0]].high / 4)) }
        return (members, max(1, min(most, slack(of: members, in: region, demand))))
    }

    /// The next member of a copyset: whoever must be in it, or every shard to come could not be
    /// placed; then the best bond, then the greatest need.
    private func candidate(
        beside members: NodeSet, in region: Int, _ demand: Demand
    ) -> (node: Int, Bond)? {
        var best: (node: Int, Bond)?
        var bestRank = (Int.max, Int.max, Int.max, Int.max, UInt64.max)
        for node in serving[region] where demand.need[node] > 0 {
            guard let (bond, new) = bond(node, with: members, region: region, leaving: -1),
                fits(node, members)
            else { continue }
            let isUrgent =
                demand.need[node] >= demand.left
                || isUrgent(nodes[node].zone, members, region, demand)
            let rank = (
                (isUrgent ? 0 : 8) + (members.count == 0 ? 0 : bond.rawValue), new,
                replicas > 2 && members.count > 0 ? -lasting[node] : 0,
                -demand.need[node], lot(node, members)
            )
            if rank < bestRank {
                bestRank = rank
                best = (node, bond)
            }
        }
        if best == nil, members.count > 0,
            let (node, _) = receiver(joining: members, region: region, leaving: -1),
            fits(node, members)
        {
            return (node, .crowded)
        }
        return best
    }

    /// Whether all members have room for the partners that this copyset brings them together.
    private func fits(_ node: Int, _ members: NodeSet) -> Bool {
        for index in 0..<members.count {
            let member = members[index]
            var new = shared(member, node) == 0 ? 1 : 0
            for other in 0..<members.count
            where other != index && shared(member, members[other]) == 0 {
                new += 1
            }
            if new > 0, lasting[member] + new > Topology.partnerLimit { return false }
        }
        return true
    }

    private func count(of members: NodeSet, in zone: Int) -> Int {
        var count = 0
        for index in 0..<members.count where nodes[members[index]].zone == zone { count += 1 }
        return count
    }

    /// Whether a zone needs another place in this very copyset.
    private func isUrgent(_ zone: Int, _ members: NodeSet, _ region: Int, _ demand: Demand) -> Bool
    {
        let spare = zoneCap[region] * demand.left - demand.zoneNeed[zone]
        return spare < zoneCap[region] - count(of: members, in: zone)
    }

    /// How many shards may go to a copyset before those left out could no longer be served.
    private func slack(of members: NodeSet, in region: Int, _ demand: Demand) -> Int {
        var slack = demand.left
        for zone in demand.zoneNeed.indices where demand.zoneNeed[zone] > 0 {
            let missing = zoneCap[region] - count(of: members, in: zone)
            guard missing > 0 else { continue }
            slack = min(
                slack, (zoneCap[region] * demand.left - demand.zoneNeed[zone]) / missing)
        }
        for node in serving[region] where !members.contains(node) {
            slack = min(slack, demand.left - demand.need[node])
        }
        return slack
    }
}
