/// Evening out: replicas go from nodes above their share to nodes below it, each in one move.
extension Layout {
    /// One replica's way: a shard of `group` leaves `from` for `to`.
    struct Hop {
        var group: Int
        var from: Int
        var to: Int
    }

    /// Moves up to `most` shards of the hop's group.
    ///
    /// - Returns: how many went; fewer than asked where a rule would break halfway.
    @discardableResult
    mutating func take(_ hop: Hop, most: Int) -> Int {
        let (members, region) = (groups[hop.group].members, groups[hop.group].region)
        let others = members.removing(hop.from)
        var count = 0
        while count < most, let shard = pick(hop.group, members, from: hop.from, to: hop.to),
            newPartners(hop.to, with: others, region: region, leaving: hop.from) != nil
        {
            put(shard, region: region, members: others.adding(hop.to))
            count += 1
        }
        return count
    }

    /// A shard of a group to go from one node to another, if there is one: rather one whose going
    /// costs no copy.
    func pick(_ group: Int, _ members: NodeSet, from: Int, to: Int) -> Int? {
        guard groups[group].members == members else { return nil }
        return free(group, from: from, to: to) ?? groups[group].shards.first
    }

    /// A shard of a group that `from` was only given by this plan, or that `to` began with: it
    /// goes there without another copy.
    func free(_ group: Int, from: Int, to: Int) -> Int? {
        groups[group].shards.first { !origin[$0].contains(from) || origin[$0].contains(to) }
    }

    // MARK: Pulling

    /// Nodes below their share take from nodes above theirs, the neediest first.
    ///
    /// - Parameter deep: they also take from nodes within their share, down to its tolerance.
    mutating func pull(deep: Bool) {
        var isStuck = Array(repeating: false, count: nodes.count)
        while let node = neediest(isStuck) {
            guard let (hop, most) = giver(to: node, deep: deep), take(hop, most: most) > 0 else {
                isStuck[node] = true
                continue
            }
        }
    }

    private func neediest(_ isStuck: [Bool]) -> Int? {
        var best: Int?
        for node in nodes.indices
        where !isStuck[node] && nodes[node].serves && !nodes[node].hasGiven {
            let need = nodes[node].low - nodes[node].load
            if need > 0, need > (best.map { nodes[$0].low - nodes[$0].load } ?? 0) { best = node }
        }
        return best
    }

    /// How many replicas a node can give away.
    private func spare(_ node: Int, deep: Bool) -> Int {
        let state = nodes[node]
        guard state.serves else { return state.load }
        guard !state.hasTaken else { return 0 }
        return state.load - (deep ? state.low - state.tolerance : state.low)
    }

    private func giver(to node: Int, deep: Bool) -> (Hop, most: Int)? {
        let region = nodes[node].region
        var best: (Hop, most: Int)?
        var bestRank = (Int.max, Int.max, Int.max, UInt64.max)
        func consider(_ group: Int, wantsNew: Bool) {
            let members = groups[group].members
            for index in 0..<members.count {
                let from = members[index]
                guard from != node, spare(from, deep: deep) > 0 else { continue }
                let rest = members.removing(from)
                guard let (bond, new) = bond(node, with: rest, region: region, leaving: from),
                    (new > 0) == wantsNew, bond.rawValue <= bestRank.0,
                    let most = amount(to: node, from: from, rest, bond, deep: deep)
                else { continue }
                let worth = new > 0 ? -supply(rest, besides: node, deep: deep) : 0
                let surplus = nodes[from].high - nodes[from].load
                let rank = (bond.rawValue, worth, surplus, lot(from, rest))
                if rank < bestRank {
                    bestRank = rank
                    best = (
                        Hop(group: group, from: from, to: node),
                        min(most, groups[group].shards.count)
                    )
                }
            }
        }
        for partner in partners[node] {
            for group in groupsOf[partner.node] where groups[group].region == region {
                consider(group, wantsNew: false)
            }
        }
        if replicas == 1 {
            for group in groupsIn[region] { consider(group, wantsNew: false) }
        }
        if bestRank.0 == Bond.known.rawValue || lasting[node] >= Topology.partnerLimit {
            return best
        }
        for group in groupsIn[region] { consider(group, wantsNew: true) }
        return best
    }

    /// How many replicas to take at a time; nil where taking one makes nothing better.
    private func amount(
        to node: Int, from: Int, _ rest: NodeSet, _ bond: Bond, deep: Bool
    ) -> Int? {
        let need = nodes[node].low - nodes[node].load
        if deep, nodes[from].serves {
            return need > nodes[from].low - nodes[from].load + 1 ? 1 : nil
        }
        // First down to the share rounded up; the last one only where nobody is above that.
        let excess = nodes[from].serves ? nodes[from].load - nodes[from].high : nodes[from].load
        var most = min(need, excess)
        if bond == .known || bond == .new {
            for index in 0..<rest.count {
                most = min(most, part(node, rest[index]) - shared(node, rest[index]))
            }
        }
        return max(most, 1)
    }

    /// What a new partner would open: replicas that could be taken beside `others`.
    private func supply(_ others: NodeSet, besides node: Int, deep: Bool) -> Int {
        guard others.count > 0 else { return 0 }
        var supply = 0
        for group in groupsOf[others[0]] where groups[group].members.isSuperset(of: others) {
            let from = groups[group].members.subtracting(others)
            guard from.count == 1, from[0] != node else { continue }
            let count = groups[group].shards.count
            supply += 8 * min(count, max(0, spare(from[0], deep: false)))
            supply += min(count, max(0, spare(from[0], deep: true)))
        }
        return supply
    }

    // MARK: Pushing

    /// Nodes above their share give to nodes below theirs, the fullest first.
    ///
    /// - Parameter deep: they also give to nodes within their share, up to its tolerance.
    mutating func push(deep: Bool) {
        var isStuck = Array(repeating: false, count: nodes.count)
        while let node = fullest(isStuck) {
            guard let (hop, most) = taker(from: node, deep: deep), take(hop, most: most) > 0 else {
                isStuck[node] = true
                continue
            }
        }
    }

    private func fullest(_ isStuck: [Bool]) -> Int? {
        var best: Int?
        for node in nodes.indices
        where !isStuck[node] && nodes[node].serves && !nodes[node].hasTaken {
            let excess = nodes[node].load - nodes[node].high
            if excess > 0, excess > (best.map { nodes[$0].load - nodes[$0].high } ?? 0) {
                best = node
            }
        }
        return best
    }

    private func taker(from node: Int, deep: Bool) -> (Hop, most: Int)? {
        var best: (Hop, most: Int)?
        var bestRank = (Int.max, Int.max, UInt64.max)
        let excess = nodes[node].load - nodes[node].high
        for group in groupsOf[node] where groups[group].region == nodes[node].region {
            let others = groups[group].members.removing(node)
            for to in serving[nodes[node].region] {
                let over = nodes[to].load - nodes[to].high
                guard !nodes[to].hasGiven,
                    deep ? over < nodes[to].tolerance && excess > over + 1 : over < 0,
                    let (bond, new) = bond(
                        to, with: others, region: nodes[node].region, leaving: node)
                else { continue }
                let rank = (bond.rawValue + new, over, lot(to, others))
                if rank < bestRank {
                    bestRank = rank
                    best = (Hop(group: group, from: node, to: to), deep ? 1 : min(-over, excess))
                }
            }
        }
        return best
    }
}
