import EdgeMemory

/// Whom a replica goes to: the rules about partners and the reasons to prefer one node.
extension Layout {
    /// What a node in `others`' company costs in partners, the less the better.
    enum Bond: Int {
        /// All are partners already, and not yet for more than their part.
        case known
        /// Some become partners, and nobody has more than is wanted.
        case new
        /// All are partners already.
        case crowded
        /// Some become partners, and somebody then has all that are allowed.
        case last
    }

    /// - Returns: nil where a rule forbids it.
    func bond(_ node: Int, with others: NodeSet, region: Int, leaving: Int) -> (Bond, new: Int)? {
        guard let new = newPartners(node, with: others, region: region, leaving: leaving) else {
            return nil
        }
        guard new > 0 else {
            for index in 0..<others.count
            where shared(node, others[index]) >= part(node, others[index]) {
                return (.crowded, 0)
            }
            return (.known, 0)
        }
        var isWanted = lasting[node] + new <= mostWanted[region]
        for index in 0..<others.count where shared(node, others[index]) == 0 {
            if lasting[others[index]] >= mostWanted[region] { isWanted = false }
        }
        return (isWanted ? .new : .last, new)
    }

    /// Shards that two nodes have in common when both have as many partners as wanted.
    func part(_ node: Int, _ other: Int) -> Int {
        let share = min(nodes[node].high, nodes[other].high)
        let region = nodes[node].region
        let wanted = min(wantedPartners[region], max(1, serving[region].count - 1))
        return max(1, (replicas - 1) * share / wanted)
    }

    /// A number for choosing between equals.
    func lot(_ node: Int, _ others: NodeSet) -> UInt64 {
        var lot = nodes[node].lot
        for index in 0..<others.count { lot = Hash64.mix(lot, nodes[others[index]].lot) }
        return lot
    }

    /// The node that should join `others` on shards of `region`.
    ///
    /// First those that lack replicas, then those that have room, then those that can bear one
    /// more; within these, whoever is a partner already.
    ///
    /// - Returns: nil where no node may.
    func receiver(joining others: NodeSet, region: Int, leaving: Int) -> (node: Int, most: Int)? {
        var best: (node: Int, most: Int)?
        var bestRank = (Int.max, Int.max, Int.max, UInt64.max)
        for node in serving[region] where node != leaving {
            guard let (bond, new) = bond(node, with: others, region: region, leaving: leaving)
            else { continue }
            let (tier, most) = tier(of: node, bond, others)
            guard tier <= bestRank.0 else { continue }
            let rank = (tier, new, nodes[node].load - nodes[node].low, lot(node, others))
            if rank < bestRank {
                bestRank = rank
                best = (node, most)
            }
        }
        return best
    }

    /// A receiver's rank, and how many replicas it may be given at that rank.
    ///
    /// 0 to 3: it lacks replicas, by bond. 4 to 7: it stays within one of its share, partners
    /// before new ones, room before one too many. 8 to 10: it stays within its tolerance, or
    /// gets its last partner. 11 and 12: anybody.
    private func tier(of node: Int, _ bond: Bond, _ others: NodeSet) -> (Int, most: Int) {
        let state = nodes[node]
        if state.load < state.low {
            var most = state.low - state.load
            if bond == .known || bond == .new {
                for index in 0..<others.count {
                    let other = others[index]
                    most = min(most, part(node, other) - shared(node, other))
                }
            }
            return (bond.rawValue, max(most, 1))
        }
        let isPartner = bond == .known || bond == .crowded
        let over = state.load - state.high
        if over < 0 { return (isPartner ? 4 : bond == .new ? 6 : 9, 1) }
        if over == 0, bond != .last { return (isPartner ? 5 : 7, 1) }
        if over < state.tolerance { return (isPartner ? 8 : 10, 1) }
        return (isPartner ? 11 : 12, 1)
    }
}
