/// What the replicas of one shard say to each other. In order on one connection; a connection
/// that breaks loses what was under way.
public enum ReplicaMessage: Hashable, Sendable {
    // Primary → follower.
    /// "This is the configuration, and I hold entries up to `last`." First of all at each epoch
    /// and on each connection. `greeting` numbers it: what answers an earlier one is void.
    case begin(ShardConfiguration, last: UInt64, asLearner: Bool, greeting: UInt32)
    /// A learner's copy of the whole shard as of `last`.
    case copy(epoch: UInt32, last: UInt64)
    /// Entries `first ..< first + count` follow.
    case entries(epoch: UInt32, first: UInt64, count: UInt64)

    // Follower → primary.
    /// "I hold entries up to `last`, and all of them are yours."
    case position(epoch: UInt32, last: UInt64, greeting: UInt32)
    /// "I hold more than you begin with."
    case diverged(epoch: UInt32)

    // Either way.
    /// "Your epoch is over: this is the configuration."
    case stale(ShardConfiguration)
    /// "I know of that one."
    case noted(epoch: UInt32)
    /// "My process before was a member of the configuration of this epoch; this is what its disk
    /// holds." `logEpoch` is that of the last entry or later; `isComplete`: it led, and ended in good
    /// order.
    case holding(epoch: UInt32, logEpoch: UInt32, last: UInt64, isComplete: Bool)
}

/// What a replica wants done. A value in a reused buffer.
public enum ReplicaEffect: Hashable, Sendable {
    case send(ReplicaMessage, to: ReplicaID)
    /// Send entries after `last` to a follower, and all that come.
    case stream(to: ReplicaID, after: UInt64)
    /// Send a learner a copy, and all that comes after it.
    case copy(to: ReplicaID)
    case propose(ConfigurationChange)
    /// Make all that the shard holds durable and say so (`flushed`).
    case flush
    /// The same, and with it that this process is the only member from `epoch` on (`secured`).
    case secure(epoch: UInt32)
    case readConfiguration
    /// The shard was taken from this primary: no lease for it before it has `noted` that.
    case depose(ReplicaID)
    /// Drop the shard's whole state: it is not a member's any more.
    case discard
    /// Answer requests, from now on.
    case serve
    /// Answer nothing any more; who waits hears that the outcome is not known.
    case stop
}
