/// What nodes say to each other on a connection, in order. A connection that breaks loses what
/// was under way, and who waits for an answer asks again.
///
/// Entries and copies are raw bytes of any length: they lie beside the message, as payloads lie
/// beside a request, and are never copied on their way.
public enum BusMessage: Sendable {
    /// A client's request for a shard of the receiver. `id` is the sender's, and comes back with
    /// the answer; the ticket stays at home. `hops` counts the nodes it has passed.
    case request(id: UInt64, hops: UInt8, Request)
    /// The same of a request that bears a payload: payments' names and operators' commands.
    indirect case command(id: UInt64, hops: UInt8, Request, Payload)
    /// The answer. It leaves only once it may be told, so it never waits for the journal again.
    case reply(id: UInt64, Reply, Value?)
    /// From a pool's home to one of its slices, or back: the shard that it is for.
    indirect case frame(ShardID, Frame)
    case replica(ShardID, ReplicaMessage)
    /// Journal entries of a shard from `first` on, beside it.
    case entries(ShardID, epoch: UInt32, first: UInt64)
    /// A piece of a shard's copy, beside it.
    case copy(ShardID, BusCopy)
    /// "I am alive": asks for a lease. Whoever sent it remembers when, so no time travels; who
    /// withholds the lease does not answer, and tells why by `ReplicaMessage.stale`.
    case beacon(number: UInt64)
    /// The answer: from when that beacon was sent, the sender's lease runs.
    case beaconAnswer(number: UInt64)
    /// Asks whether a silent connection still stands.
    /// From whoever stops: nothing more should be asked on this link. From whoever was told that:
    /// nothing more is.
    case closing
    case ping
    case pong
}

/// Where a piece belongs in a copy of a shard.
public struct BusCopy: BitwiseCopyable, Hashable, Sendable {
    public var epoch: UInt32
    /// The last entry that the copy holds.
    public var last: UInt64
    /// Where the piece begins, of `totalBytes`.
    public var offset: UInt64
    public var totalBytes: UInt64

    @inlinable
    public init(epoch: UInt32, last: UInt64, offset: UInt64, totalBytes: UInt64) {
        self.epoch = epoch
        self.last = last
        self.offset = offset
        self.totalBytes = totalBytes
    }
}

/// The limits of what nodes say to each other.
public enum BusLimits {
    /// Longest message, its first eight bytes included. What is longer is not encoded: its sender
    /// answers with an error instead.
    public static let messageBytes = 1 << 20
    /// Deepest nesting of an answer's value; 1 is a plain one.
    public static let valueDepth = 16
    /// Most values in an answer, those inside others included.
    public static let values = 65_536
    /// Longest run of entries, or piece of a copy, in one message.
    public static let attachedBytes = messageBytes - 64
}
