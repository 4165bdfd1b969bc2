import EdgeTypes

/// Bringing configurations to what the plan says, step by step: whoever is missing learns, whoever
/// is too many goes, whoever should lead is handed the shard. One change of a shard at a time, a
/// few shards at a time; a node that dies meanwhile only changes what the next step is.
extension ReplicaAgent {
    /// Makes another plan the goal.
    ///
    /// - Parameters:
    ///   - isPaused: nothing is moved for the plan's sake; copies that are lost are replaced.
    ///   - atOnce: shards of this node that are on the move at once.
    public mutating func follow(_ plan: ReplicaPlan, isPaused: Bool, atOnce: Int) {
        precondition(plan.shards == rows.count && atOnce > 0)
        self.plan = plan
        self.isPaused = isPaused
        self.atOnce = atOnce
        partnersAreKnown = false
    }

    /// Whether a shard is where the plan wants it.
    public func isSettled(_ shard: ShardID) -> Bool {
        guard let row = rows[Int(shard)] else { return false }
        let wanted = plan.wanted(shard).map { UInt64($0) }
        return row.primary.node == wanted[0] && row.members.count == wanted.count
            && row.members.allSatisfy { wanted.contains($0.node) }
    }

    mutating func reconcile(_ nowNs: UInt64, _ outputs: inout [AgentOutput]) {
        // Whoever goes is in a hurry.
        var left = isLeaving(me.node) ? rows.count : atOnce
        // From the first on: those that have begun are brought to their end before others begin.
        for shard in rows.indices {
            guard let row = rows[shard] else {
                found(ShardID(shard), nowNs)
                continue
            }
            guard left > 0, row.primary == me, let output = step(row, nowNs) else { continue }
            outputs.append(output)
            left -= 1
        }
    }

    /// A shard that never had a configuration: whoever should lead it founds it, the next one when
    /// that does not come for long. Only the arbiter's first answer counts.
    private mutating func found(_ shard: ShardID, _ nowNs: UInt64) {
        guard lastReadNs != 0, !wantsRead,
            let rank = plan.candidates[Int(shard)].firstIndex(of: UInt16(me.node)),
            nowNs >= beganNs + UInt64(rank) * Self.substituteNs,
            insertions.count < Self.batch
        else { return }
        let first = ShardConfiguration(shard: shard, epoch: 1, primary: me, members: [me])
        if !insertions.contains(first) { insertions.append(first) }
    }

    /// What a shard needs next, by whoever leads it; nil: nothing.
    private func step(_ row: ShardConfiguration, _ nowNs: UInt64) -> AgentOutput? {
        if isLeaving(me.node) { return give(row, nowNs) }
        let goes = row.members.first { isLeaving($0.node) }
        if let goes { return .drop(row.shard, goes) }
        let wanted = isPaused ? [] : plan.wanted(row.shard)
        let waitedNs = nowNs - min(nowNs, changedNs[Int(row.shard)])
        // The missing first: nothing is given up before its successor is there.
        for node in wanted where !row.members.contains(where: { $0.node == UInt64(node) }) {
            if let id = taker(Int(node), nowNs) { return .invite(row.shard, id) }
        }
        let there = row.members.filter { alive(Int($0.node), nowNs) == $0 }
        if there.count < plan.replicas {
            guard waitedNs >= Self.substituteNs else { return nil }
            return stranger(to: row, nowNs).map { .invite(row.shard, $0) }
        }
        guard waitedNs >= Self.settleNs, !isPaused else { return nil }
        let first = row.members.first { $0.node == UInt64(wanted[wanted.startIndex]) }
        if let first, first != me, alive(Int(first.node), nowNs) == first {
            return .handOver(row.shard, to: first)
        }
        // Whoever stands in stays until those who should hold the shard do, and answer.
        let isWhole = wanted.allSatisfy { node in
            row.members.contains { member in
                member.node == UInt64(node)
                    && (member == me || taker(Int(node), nowNs) == member)
            }
        }
        guard isWhole || mutant == .standInDropped else { return nil }
        let extra = row.members.first { member in
            member != me && !wanted.contains { UInt64($0) == member.node }
        }
        return extra.map { .drop(row.shard, $0) }
    }

    /// This node goes: another member leads; where there is none, somebody learns first.
    private func give(_ row: ShardConfiguration, _ nowNs: UInt64) -> AgentOutput? {
        let heir = row.members.first { $0 != me && taker(Int($0.node), nowNs) == $0 }
        if let heir { return .handOver(row.shard, to: heir) }
        return stranger(to: row, nowNs).map { .invite(row.shard, $0) }
    }

    /// Whoever comes first to hold a shard that it does not hold yet.
    private func stranger(to row: ShardConfiguration, _ nowNs: UInt64) -> ReplicaID? {
        for node in plan.candidates[Int(row.shard)]
        where !row.members.contains(where: { $0.node == UInt64(node) }) {
            if let id = taker(Int(node), nowNs) { return id }
        }
        return nil
    }
}
