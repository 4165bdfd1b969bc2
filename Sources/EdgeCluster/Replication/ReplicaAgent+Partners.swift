import EdgeTypes

/// Whom a node exchanges beacons with: its partners. Those are the nodes that share a shard with it
/// or are to, at most `Topology.partnerLimit` by what is planned, however many nodes the cluster has;
/// and, while it has too few copies of something, a few that could stand in.
///
/// A beacon is answered whoever sends it, so one side alone gets the other's lease, and an answer shows
/// that it is there: that is how those are asked who have no reason yet to send beacons themselves.
extension ReplicaAgent {
    /// How many are asked at once whether they could stand in, for a shard that is short of copies.
    static let probedAtOnce = 2
    /// So long is waited for an answer before others are asked.
    static let probeNs: UInt64 = 1_000_000_000
    /// Whoever did not answer is not asked again for so long, for twice as long when that happens
    /// again, and so on: however many of those who come first are dead, the others get their turn.
    static let probeAgainAfterNs: UInt64 = 10_000_000_000
    static let mostDoublings = 6

    /// The nodes that are sent beacons.
    public var partners: [Int] { pairs.indices.filter { pairs[$0]?.isPartner == true } }

    /// Whether a node was asked a moment ago whether it is there, and may still answer.
    func isUndecided(_ node: Int, _ nowNs: UInt64) -> Bool {
        guard let pair = pairs[node], !leaving[node], pair.isPartner else { return false }
        if pair.probedNs != 0 { return nowNs < pair.probedNs + Self.probeNs }
        // A partner by what it holds that was met just now.
        return pair.lease.leaseUntilNs == 0 && nowNs < pair.sinceNs + Self.probeNs
    }

    /// Complexity: O(shards · replicas), where something may have changed.
    mutating func findPartners(_ nowNs: UInt64) {
        guard !partnersAreKnown else { return }
        partnersAreKnown = true
        var shares = Array(repeating: false, count: pairs.count)
        var isAsked = Array(repeating: false, count: pairs.count)
        for shard in rows.indices {
            let wanted = plan.wanted(ShardID(shard))
            let members = rows[shard]?.members ?? []
            guard
                wanted.contains(UInt16(me.node)) || members.contains(where: { $0.node == me.node })
            else { continue }
            for node in wanted where Int(node) < pairs.count { shares[Int(node)] = true }
            for member in members where Int(member.node) < pairs.count {
                shares[Int(member.node)] = true
            }
        }
        for shard in rows.indices {
            if let row = rows[shard], row.primary == me { probe(row, nowNs, shares, &isAsked) }
        }
        for place in pairs.indices where pairs[place] != nil {
            settle(place, shares[place], isAsked[place], nowNs)
        }
    }

    private mutating func settle(
        _ place: Int, _ shares: Bool, _ isAsked: Bool, _ nowNs: UInt64
    ) {
        if isAsked {
            if pairs[place]?.probedNs == 0 { pairs[place]?.probedNs = nowNs }
        } else {
            pairs[place]?.probedNs = 0
        }
        let isPartner = shares || isAsked
        // It had no reason to be heard before: its silence counts from now on.
        if isPartner, pairs[place]?.isPartner == false { pairs[place]?.lease.heard(nowNs: nowNs) }
        pairs[place]?.isPartner = isPartner
    }

    /// Who could stand in for what a shard lacks is asked whether it is there. Whoever goes asks
    /// everybody: that does not take long.
    private mutating func probe(
        _ row: ShardConfiguration, _ nowNs: UInt64, _ shares: [Bool], _ isAsked: inout [Bool]
    ) {
        let others = row.members.filter { $0 != me }
        let goes = isLeaving(me.node)
        if goes {
            guard !others.contains(where: { taker(Int($0.node), nowNs) == $0 }) else { return }
        } else {
            let there = others.count { alive(Int($0.node), nowNs) == $0 }
            guard there + 1 < plan.replicas else { return }
        }
        var left = goes ? pairs.count : Self.probedAtOnce
        for node in plan.candidates[Int(row.shard)].lazy.map(Int.init) {
            guard left > 0 else { return }
            guard node < pairs.count, let pair = pairs[node], !leaving[node], !shares[node],
                nowNs >= pair.probeAgainNs
            else { continue }
            if pair.probedNs != 0, nowNs >= pair.probedNs + Self.probeNs,
                !pair.lease.holdsLease(nowNs: nowNs)
            {
                let doublings = UInt64(min(pair.unanswered, Self.mostDoublings))
                pairs[node]?.probeAgainNs = nowNs + (Self.probeAgainAfterNs << doublings)
                pairs[node]?.unanswered += 1
                continue
            }
            isAsked[node] = true
            left -= 1
        }
    }
}
