/// Mending nodes with too many partners: only a map that no plan has made needs it, or one in
/// which partners had run out.
extension Layout {
    /// - Precondition: every group has its `replicas` members: so not all of a node's can be with
    ///   one partner, where it has more of them than a group has room for.
    /// - Complexity: O(shards · groups) at worst.
    mutating func relieve() {
        for node in nodes.indices {
            let hasRoom = makeRoom(beside: node, for: 0)
            precondition(hasRoom, "all that a node holds is with one partner")
        }
    }

    /// A node loses partners until it may get `count` new ones.
    ///
    /// - Returns: false where it cannot lose enough, for there is no other group to go to.
    mutating func makeRoom(beside node: Int, for count: Int) -> Bool {
        while lasting[node] + count > Topology.partnerLimit {
            guard let other = loosest(node), part(node, from: other) else { return false }
        }
        return true
    }

    /// Makes a copyset out of nodes that all have their partners already: those with the fewest
    /// lose some.
    mutating func makeCopyset(in region: Int) -> NodeSet {
        var members = NodeSet()
        let byPartners = serving[region].sorted { a, b in
            lasting[a] == lasting[b] ? a < b : lasting[a] < lasting[b]
        }
        for node in byPartners where members.count < replicas {
            let mates = members.numbers.filter { nodes[$0].zone == nodes[node].zone }
            if mates.count < zoneCap[region] { members = members.adding(node) }
        }
        precondition(members.count == replicas, "a region with fewer nodes than replicas")
        for node in members.numbers where !makeRoom(beside: node, for: replicas - 1) {
            isForced = true
        }
        return members
    }

    /// The partner with the least in common.
    private func loosest(_ node: Int) -> Int? {
        partners[node].filter { isLasting(node, $0.node) }.min { a, b in
            a.shared == b.shared ? a.node < b.node : a.shared < b.shared
        }?.node
    }

    /// Two nodes share nothing any more, and nobody gets a partner for it: `other` leaves each of
    /// their groups for a partner of the rest; where there is none, a shard goes to another group
    /// as a whole.
    ///
    /// - Returns: false where there is none of those either.
    private mutating func part(_ node: Int, from other: Int) -> Bool {
        while let group = groupsOf[node].first(where: { groups[$0].members.contains(other) }) {
            let (members, region) = (groups[group].members, groups[group].region)
            let pair = NodeSet([node, other])
            guard
                let made = substitute(for: other, in: members, region: region)
                    ?? leastLoadedGroup(in: region, without: pair)
                    ?? leastLoadedGroup(in: region, without: pair, strict: false)
            else { return false }
            put(groups[group].shards[0], region: region, members: made)
        }
        return true
    }

    /// The members with the least loaded partner of the rest in a node's place.
    private func substitute(for leaving: Int, in members: NodeSet, region: Int) -> NodeSet? {
        let others = members.removing(leaving)
        let known = serving[region].filter { node in
            node != leaving
                && newPartners(node, with: others, region: region, leaving: leaving) == 0
        }
        return known.min { nodes[$0].load - nodes[$0].high < nodes[$1].load - nodes[$1].high }
            .map { others.adding($0) }
    }
}
