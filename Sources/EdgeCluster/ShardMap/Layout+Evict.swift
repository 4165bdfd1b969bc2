/// What must move whatever it costs: replicas on nodes that do not serve, in the wrong region or
/// zone, missing replicas, and replicas too many.
extension Layout {
    /// Settles everything that breaks a rule, but for partners.
    mutating func evict() {
        for region in groupsIn.indices {
            // Once is enough, but where room had to be made in groups that were settled.
            while let wrong = wrongGroups(in: region) {
                var queue = wrong
                var next = 0
                while next < queue.count {
                    let members = queue[next]
                    next += 1
                    while let group = group(members, region), let change = settle(group) {
                        if !queue[next...].contains(change) { queue.append(change) }
                    }
                }
            }
        }
    }

    /// In order; nil where there are none.
    private func wrongGroups(in region: Int) -> [NodeSet]? {
        let wrong = groupsIn[region].filter { group in
            let members = groups[group].members
            return members.count != replicas || misplaced(members, region: region) != nil
        }
        guard !wrong.isEmpty else { return nil }
        return wrong.sorted { isOrdered(groups[$0], groups[$1]) }.map { groups[$0].members }
    }

    private func isOrdered(_ a: Group, _ b: Group) -> Bool {
        for index in 0..<min(a.members.count, b.members.count)
        where a.members[index] != b.members[index] {
            return a.members[index] < b.members[index]
        }
        return a.members.count < b.members.count
    }

    func group(_ members: NodeSet, _ region: Int) -> Int? {
        groupsOf[members[0]].first {
            groups[$0].members == members && groups[$0].region == region
        }
    }

    /// Makes one wrong thing of some shards of a group right.
    ///
    /// - Returns: the members they have now; nil where nothing is wrong with the group.
    private mutating func settle(_ group: Int) -> NodeSet? {
        let (members, region) = (groups[group].members, groups[group].region)
        let wrong = misplaced(members, region: region)
        if members.count > replicas {
            let leaving = wrong ?? fullestMember(of: members)
            put(groups[group].shards[0], region: region, members: members.removing(leaving))
            nodes[leaving].base -= 1
            return members.removing(leaving)
        }
        guard wrong != nil || members.count < replicas else { return nil }
        let leaving = members.count < replicas ? -1 : wrong ?? -1
        let others = leaving >= 0 ? members.removing(leaving) : members
        guard let (node, room) = receiver(joining: others, region: region, leaving: leaving) else {
            return resettle(group, others)
        }
        // Which of two in one zone goes is for their loads to say, shard by shard.
        let isServing = leaving >= 0 && nodes[leaving].serves
        let most = isServing ? 1 : max(room, portion(of: group, others, to: node))
        var count = 0
        while count < most, let shard = pick(group, members, from: leaving, to: node),
            newPartners(node, with: others, region: region, leaving: leaving) != nil
        {
            put(shard, region: region, members: others.adding(node))
            if isServing { nodes[leaving].base -= 1 }
            count += 1
        }
        return others.adding(node)
    }

    /// How much of a group a new partner must take, so that the room for partners that its other
    /// members have is enough for all groups that need some. What their partners of today can
    /// bear need not be taken.
    private func portion(of group: Int, _ others: NodeSet, to node: Int) -> Int {
        let region = groups[group].region
        var slots = Int.max
        for index in 0..<others.count where shared(node, others[index]) == 0 {
            let other = others[index]
            let waiting = groupsOf[other].filter {
                misplaced(groups[$0].members, region: groups[$0].region) != nil
            }
            slots = min(slots, (Topology.partnerLimit - lasting[other]) / max(1, waiting.count))
        }
        guard slots < Int.max else { return 1 }
        var rest = groups[group].shards.count
        for partner in partners[others[0]] where others.count == 1 {
            guard newPartners(partner.node, with: others, region: region, leaving: -1) == 0 else {
                continue
            }
            rest -= min(2, max(0, nodes[partner.node].high + 1 - nodes[partner.node].load))
        }
        let portion = (rest + max(0, slots - 1)) / max(1, slots)
        return min(portion, nodes[node].high + nodes[node].tolerance - nodes[node].load)
    }

    /// A member that a group must lose; nil where all may stay.
    func misplaced(_ members: NodeSet, region: Int) -> Int? {
        for index in 0..<members.count {
            let node = nodes[members[index]]
            if !node.serves || node.region != region { return members[index] }
        }
        for index in 0..<members.count {
            let zone = nodes[members[index]].zone
            let mates = members.numbers.filter { nodes[$0].zone == zone }
            if mates.count > zoneCap[region] { return fullestMember(of: NodeSet(mates)) }
        }
        return nil
    }

    private func fullestMember(of members: NodeSet) -> Int {
        var fullest = members[0]
        for index in 0..<members.count {
            let node = members[index]
            if nodes[node].load - nodes[node].high > nodes[fullest].load - nodes[fullest].high {
                fullest = node
            }
        }
        return fullest
    }

    /// Nobody may join what is left of a group, for partners are used up: a shard of it goes to a
    /// legal group as a whole, the least loaded one.
    ///
    /// Where there is none yet, which takes a new rule for a cluster full of partners, room for the
    /// first one is made. Where even that is impossible, which takes a map that no plan has made,
    /// the newcomer gets more partners than it may have until `relieve` takes them away: so this
    /// always ends.
    ///
    /// - Returns: the members that the shard has now, or the group's, where it is to be tried anew.
    private mutating func resettle(_ group: Int, _ others: NodeSet) -> NodeSet {
        let (members, region) = (groups[group].members, groups[group].region)
        let shard = groups[group].shards[0]
        if let legal = leastLoadedGroup(in: region) {
            put(shard, region: region, members: legal)
            return legal
        }
        let newcomer = serving[region].filter { node in
            let mates = others.numbers.filter { nodes[$0].zone == nodes[node].zone }
            return !others.contains(node) && mates.count < zoneCap[region]
        }.min { lasting[$0] < lasting[$1] }
        guard let newcomer else { preconditionFailure("a region without a legal copyset") }
        if roomsMade < Self.roomLimit {
            roomsMade += 1
            let hasRoom =
                others.numbers.allSatisfy { makeRoom(beside: $0, for: 1) }
                && makeRoom(beside: newcomer, for: others.count)
            if hasRoom { return members }
        }
        guard groupOf[shard] == group, groups[group].members == members else { return members }
        isForced = true
        put(shard, region: region, members: others.adding(newcomer))
        return others.adding(newcomer)
    }

    /// How often room is made before the bound on partners is broken for a while. What making room
    /// moves may itself have to move again, so that it need not come to an end.
    private static let roomLimit = 64

    /// Where one more shard hurts least among the groups that break no rule.
    ///
    /// - Parameters:
    ///   - pair: two nodes that the group must not both have.
    ///   - strict: whether zones matter.
    func leastLoadedGroup(
        in region: Int, without pair: NodeSet? = nil, strict: Bool = true
    ) -> NodeSet? {
        var best: NodeSet?
        var bestRank = (Int.max, UInt64.max)
        for group in groupsIn[region] {
            let members = groups[group].members
            guard members.count == replicas,
                members.numbers.allSatisfy({ nodes[$0].serves && nodes[$0].region == region }),
                !strict || misplaced(members, region: region) == nil
            else { continue }
            if let pair, members.isSuperset(of: pair) { continue }
            var worst = Int.min
            for index in 0..<members.count {
                worst = max(worst, nodes[members[index]].load - nodes[members[index]].high)
            }
            let rank = (worst, lot(members[0], members.removing(members[0])))
            if rank < bestRank {
                bestRank = rank
                best = members
            }
        }
        return best
    }
}

extension Layout {
    /// Shards that a region should give away: always one whose nodes are fullest.
    ///
    /// - Complexity: O(count · groups).
    func surplus(of region: Int, count: Int) -> [Int] {
        var loads = nodes.map(\.load)
        var left = groups.map(\.shards.count)
        var surplus: [Int] = []
        for _ in 0..<count {
            var best = -1
            var bestRank = (Int.min, UInt64.min)
            for group in groupsIn[region] where left[group] > 0 {
                let members = groups[group].members
                var excess = 0
                for index in 0..<members.count {
                    excess += loads[members[index]] - nodes[members[index]].low
                }
                let rank = (excess, lot(members[0], members.removing(members[0])))
                if rank > bestRank { (best, bestRank) = (group, rank) }
            }
            left[best] -= 1
            surplus.append(groups[best].shards[left[best]])
            let members = groups[best].members
            for index in 0..<members.count { loads[members[index]] -= 1 }
        }
        return surplus
    }
}
