public import EdgeTypes

/// One shard's change of owners: a single compare-and-set at the arbiter, once its learners have
/// caught up. There are as many members before as after, or the plan says why not.
public struct ShardMove: Sendable, Hashable {
    public let shard: ShardID
    public let before: ShardMap.Owner
    public let after: ShardMap.Owner

    init(shard: ShardID, before: ShardMap.Owner, after: ShardMap.Owner) {
        precondition(after.epoch == before.epoch + 1)
        self.shard = shard
        self.before = before
        self.after = after
    }

    /// Nodes that copy the shard.
    public var joining: NodeSet { after.members.subtracting(before.members) }
    /// Nodes that give it up.
    public var leaving: NodeSet { before.members.subtracting(after.members) }
    /// Whether the primary changes: writes to the shard pause while it is handed over.
    public var handsOver: Bool { before.primary != after.primary }

    public enum Step: Sendable, Hashable {
        /// The node copies the shard: snapshot, then tail. It is not a member.
        case addLearner(Int)
        /// A member becomes primary; the old one seals itself first and stays until dropped.
        case handOver(to: Int)
        /// The learner becomes a member in place of `leaving`, its role included: so members are
        /// never fewer, never more, and never two of one zone. All promotions of a move are one
        /// compare-and-set.
        case promote(Int, replacing: Int?)
        /// The node, no member any more, forgets its copy.
        case drop(Int)
    }

    /// What is done, in order.
    public var steps: [Step] {
        let (joining, leaving) = (self.joining, self.leaving)
        var steps = joining.numbers.map(Step.addLearner)
        if handsOver, before.members.contains(after.primary) {
            steps.append(.handOver(to: after.primary))
        }
        // Whoever takes over from the old primary takes its place.
        let takesOver = joining.contains(after.primary) && leaving.contains(before.primary)
        var places = leaving.numbers
        var learners = joining.numbers
        if takesOver {
            places = [before.primary] + leaving.removing(before.primary).numbers
            learners = [after.primary] + joining.removing(after.primary).numbers
        }
        for (index, node) in learners.enumerated() {
            steps.append(
                .promote(node, replacing: index < places.count ? places[index] : nil))
        }
        if handsOver, joining.contains(after.primary), !takesOver {
            steps.append(.handOver(to: after.primary))
        }
        return steps + leaving.numbers.map(Step.drop)
    }
}
