import EdgeCluster
import EdgeMemory
import EdgeTypes

/// Who follows this core's shards. Partners have few numbers, which are bits of a shard's
/// `followers` and streams of answers; whoever follows nothing any more leaves its number to another.
extension EdgeNode {
    /// The number of a process; nil: an earlier life of one that is known, or all are taken.
    mutating func partner(_ id: ReplicaID) -> Int? {
        guard let known = replicas?.partners else { return nil }
        guard let place = known.firstIndex(where: { $0.id.node == id.node }) else {
            if known.count < Limits.partners {
                replicas?.partners.append(Replicas.Partner(id: id))
                return known.count
            }
            for place in known.indices where isIdle(place) {
                replicas?.partners[place] = Replicas.Partner(id: id)
                return place
            }
            return nil
        }
        if known[place].id.boot > id.boot { return nil }
        if known[place].id.boot < id.boot {
            // Its earlier life is over: nothing is sent to that any more.
            replicas?.partners[place] = Replicas.Partner(id: id)
            for local in 0..<shards.count { shards[local].followers &= ~(1 << UInt16(place)) }
        }
        return place
    }

    /// Whether nothing here has to do with a partner any more: another may have its number.
    private func isIdle(_ partner: Int) -> Bool {
        let stream = CommitStream.firstPartner + UInt8(partner)
        guard replicas?.streams.isEmpty(stream) == true else { return false }
        for local in 0..<shards.count
        where shards[local].followers & 1 << UInt16(partner) != 0
            || shards[local].stream == stream
        {
            return false
        }
        return true
    }

    /// A process is sent this shard's entries as they come.
    ///
    /// - Returns: false where too many are already: it is none of the shard's any more.
    mutating func follows(
        _ local: Int, _ other: ReplicaID, now: Instant, into effects: inout EffectBuffer
    ) -> Bool {
        guard let partner = partner(other) else {
            lose(other, local, now: now, into: &effects)
            return false
        }
        shards[local].followers |= 1 << UInt16(partner)
        return true
    }

    /// A process is to be none of the shard's any more.
    mutating func lose(
        _ other: ReplicaID, _ local: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        run(local, now: now, into: &effects) { $0.lost(other, into: &$1) }
        forgetStrangers(local)
    }

    /// Entries go to nobody who follows the shard no more.
    mutating func forgetStrangers(_ local: Int) {
        guard shards[local].followers != 0, let known = replicas else { return }
        let following = known.shards[local].following
        for place in known.partners.indices where !following.contains(known.partners[place].id) {
            shards[local].followers &= ~(1 << UInt16(place))
        }
    }

    mutating func unfollow(_ local: Int, _ other: ReplicaID) {
        guard let partner = replicas?.partners.firstIndex(where: { $0.id == other }) else { return }
        shards[local].followers &= ~(1 << UInt16(partner))
    }
}
