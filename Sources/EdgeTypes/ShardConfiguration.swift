/// One life of one node's process. A process that starts again is another replica: what it had
/// only in memory is gone.
public struct ReplicaID: BitwiseCopyable, Hashable, Sendable, Comparable {
    /// The node's name, hashed (`NameKey`).
    public var node: UInt64
    /// Drawn at each start of the process, never the same twice.
    public var boot: UInt64

    @inlinable
    public init(node: UInt64, boot: UInt64) {
        self.node = node
        self.boot = boot
    }

    @inlinable
    public static func < (a: ReplicaID, b: ReplicaID) -> Bool {
        (a.node, a.boot) < (b.node, b.boot)
    }
}

/// Who holds a shard, as the arbiter says. Only a compare-and-set of all of it changes it, and
/// every change raises the epoch.
public struct ShardConfiguration: Hashable, Sendable {
    public var shard: ShardID
    public var epoch: UInt32
    public var primary: ReplicaID
    /// Everyone who must hold an entry before it is acknowledged, the primary included, in order.
    public var members: [ReplicaID]
    /// Opened from a journal that may lack what was acknowledged: it answers, and grants nothing
    /// of what it held.
    public var isSealed: Bool

    /// - Precondition: the primary is a member.
    public init(
        shard: ShardID, epoch: UInt32, primary: ReplicaID, members: [ReplicaID],
        isSealed: Bool = false
    ) {
        precondition(members.contains(primary) && members.count <= Limits.replicas)
        self.shard = shard
        self.epoch = epoch
        self.primary = primary
        self.members = members.sorted()
        self.isSealed = isSealed
    }

    public func has(_ replica: ReplicaID) -> Bool { members.contains(replica) }

    /// Its follower: the epoch raised, other members.
    public func next(
        primary: ReplicaID, members: [ReplicaID], isSealed: Bool = false
    ) -> ShardConfiguration {
        ShardConfiguration(
            shard: shard, epoch: epoch + 1, primary: primary, members: members,
            isSealed: isSealed)
    }
}

/// What the arbiter is asked: `next` in the place of `expected`, if that is what it holds, whole.
public struct ConfigurationChange: Hashable, Sendable {
    public var expected: ShardConfiguration
    public var next: ShardConfiguration

    public init(expected: ShardConfiguration, next: ShardConfiguration) {
        precondition(next.epoch == expected.epoch + 1 && next.shard == expected.shard)
        self.expected = expected
        self.next = next
    }
}

/// What the arbiter answered.
public enum ConfigurationOutcome: Hashable, Sendable {
    /// The shard's configuration is now `next`, or already was it.
    case applied
    /// It is another than was expected: this one.
    case refused(ShardConfiguration)
    /// No answer: it may have been applied, or be applied later. Only asking again tells;
    /// reading the old configuration back does not.
    case unknown
}
