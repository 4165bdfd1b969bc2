public import EdgeTypes

/// A shard all of whose members have restarted: nobody is left to propose anything. Each tells the
/// others what its disk holds, and once all have told, whoever holds most goes on with it: sealed,
/// unless the journal is known to be complete.
extension ReplicaAgent {
    struct Orphan: Sendable {
        /// What this node has.
        var mine: Claim
        /// What the other members' nodes have told, by node.
        var others: [Claim] = []
    }

    /// Who goes on is the greatest.
    struct Claim: Sendable {
        var node: UInt64
        var boot: UInt64
        var isComplete: Bool
        var logEpoch: UInt32
        var last: UInt64

        func isGreater(than other: Claim) -> Bool {
            if isComplete != other.isComplete { return isComplete }
            if logEpoch != other.logEpoch { return logEpoch > other.logEpoch }
            if last != other.last { return last > other.last }
            return node < other.node
        }
    }

    /// This node's part in a configuration that it was a member of; nil: it was not.
    func orphan(_ row: ShardConfiguration, holding: Held?) -> Orphan? {
        guard let member = row.members.first(where: { $0.node == me.node }), member.boot < me.boot
        else { return nil }
        let held = holding ?? Held(logEpoch: 0, last: 0)
        return Orphan(
            mine: Claim(
                node: me.node, boot: me.boot,
                isComplete: row.primary == member && cleanBoot == member.boot && held.logEpoch > 0,
                logEpoch: held.logEpoch, last: held.last))
    }

    /// What the disk holds of the member's life; nil: nothing. What a later life has learned replaced
    /// it, and may lack entries that the store needs one by one.
    ///
    /// A later life that learned may have done so before the configuration: the member's admission was
    /// asked for while it lived, and decided after others had come and gone. One that was about to go
    /// on with the member's log, and did not get the arbiter's answer, has left a record, too: of the
    /// epoch at which it would have been alone, and of a log that began before.
    func heldByMember(_ row: ShardConfiguration) -> Held? {
        guard let member = row.members.first(where: { $0.node == me.node }),
            Int(row.shard) < held.count
        else { return nil }
        let wasReplaced = sole.contains {
            $0.shard == row.shard && $0.boot > member.boot
                && ($0.hasLearned && mutant != .laterCopyCounts || $0.born >= row.epoch)
        }
        return wasReplaced ? nil : held[Int(row.shard)]
    }

    /// Another process tells what its disk holds.
    public mutating func holding(
        _ shard: ShardID, epoch: UInt32, logEpoch: UInt32, last: UInt64, isComplete: Bool,
        from other: ReplicaID
    ) {
        guard Int(shard) < rows.count, let row = rows[Int(shard)], row.epoch == epoch,
            row.members.contains(where: { $0.node == other.node && $0.boot < other.boot })
        else { return }
        orphans[Int(shard)]?.others.removeAll { $0.node == other.node }
        orphans[Int(shard)]?.others.append(
            Claim(
                node: other.node, boot: other.boot, isComplete: isComplete, logEpoch: logEpoch,
                last: last))
    }

    /// Tells what is here, and goes on with what nobody has more of.
    func reopen(_ nowNs: UInt64, _ outputs: inout [AgentOutput]) {
        for shard in orphans.indices {
            guard let orphan = orphans[shard], let row = rows[shard] else { continue }
            var hasAll = true
            var isGreatest = true
            for member in row.members where member.node != me.node {
                guard let life = alive(Int(member.node), nowNs), life.boot > member.boot else {
                    // Not there yet; or a member still, who goes on by itself.
                    hasAll = false
                    continue
                }
                outputs.append(
                    .send(
                        row.shard,
                        .holding(
                            epoch: row.epoch, logEpoch: orphan.mine.logEpoch,
                            last: orphan.mine.last, isComplete: orphan.mine.isComplete), to: life))
                let told = orphan.others.first { $0.node == life.node && $0.boot == life.boot }
                guard let told else {
                    hasAll = false
                    continue
                }
                if told.isGreater(than: orphan.mine) { isGreatest = false }
            }
            guard hasAll, isGreatest else { continue }
            outputs.append(.reopen(row, isSealed: !orphan.mine.isComplete))
        }
    }
}
