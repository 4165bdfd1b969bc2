/// What a core is told about the replicas of its shards: by other nodes, and by its own node's
/// agent, which hears the arbiter and the beacons.
public enum ReplicaInput: Sendable {
    /// What the arbiter holds.
    case configuration(ShardConfiguration)
    /// What the arbiter answered to a proposal of this core.
    case decided(ConfigurationChange, ConfigurationOutcome)
    /// The disk tells that this node's process `boot` was the shard's only member at `epoch`, and
    /// that its log began at the epoch `born`.
    case resume(ShardConfiguration, boot: UInt64, epoch: UInt32, born: UInt32)
    /// All members have restarted, and nobody's disk holds more than this one's.
    case reopen(ShardConfiguration, isSealed: Bool, born: UInt32)
    /// What this core holds of a shard from before its start is of no use: others have it.
    case forget(ShardID)

    case message(ShardID, ReplicaMessage, from: ReplicaID)
    /// Entries as their primaries make them, of any of this core's shards.
    case live([UInt8], from: ReplicaID)
    /// Entries of one shard that are missing here.
    case tail(ShardID, epoch: UInt32, first: UInt64, [UInt8], from: ReplicaID)
    case copy(ShardID, epoch: UInt32, last: UInt64, [UInt8], from: ReplicaID)
    /// The connection to another process is new: what was under way on the one before is lost.
    case connected(ReplicaID)

    /// A process has been silent for too long for its primaries to wait for it.
    case lost(ReplicaID)
    /// The lease of a process on this one is surely over.
    case graceIsOver(ReplicaID)
    /// Another process has promised not to take over before `untilNs` of the monotonic clock.
    case lease(ReplicaID, untilNs: UInt64)
    /// The store holds a shard's entries up to `sequence`.
    case stored(ShardID, UInt64)
    /// A process is to become a member.
    case invite(ShardID, ReplicaID)
    /// A member is to be one no longer.
    case drop(ShardID, ReplicaID)
    /// A member is to lead.
    case handOver(ShardID, ReplicaID)
    /// The cluster has so many nodes now: numbers are never given up.
    case nodes(Int)
    /// Some time has passed: what is open is asked again.
    case remind
    /// The lane is durable up to here.
    case durable(position: UInt64)
    /// A snapshot of a shard that was learned is durable.
    case based(ShardID, incarnation: UInt32)
    /// The disk tells that this process is the shard's only member from `epoch` on, and holds all
    /// up to `last`.
    case secured(ShardID, epoch: UInt32, last: UInt64, incarnation: UInt32)
}

/// What a core wants done about the replicas of its shards.
public enum ReplicaOutput: Sendable {
    case send(ShardID, ReplicaMessage, to: ReplicaID)
    /// Entries of this step, for whoever follows their shards.
    case live([UInt8], to: ReplicaID)
    case tail(ShardID, epoch: UInt32, first: UInt64, [UInt8], to: ReplicaID)
    /// The whole shard as of `last`.
    case copy(ShardID, epoch: UInt32, last: UInt64, [UInt8], to: ReplicaID)
    /// The arbiter is to be asked.
    case propose(ConfigurationChange)
    /// The configuration is not known well enough: the arbiter is to be read.
    case read(ShardID)
    /// All that the shard holds is to be made durable, and that this process is its only member
    /// from `epoch` on; then `ReplicaInput.secured`.
    case secure(
        ShardID, epoch: UInt32, born: UInt32, last: UInt64, incarnation: UInt32)
    /// The shard was taken from this process: no lease for it before it has said that it knows.
    case depose(ShardID, ReplicaID)
    /// It does.
    case noted(ShardID, ReplicaID)
    /// A shard was learned: a snapshot of it is to be made durable (`ReplicaInput.based`).
    case learned(ShardID, incarnation: UInt32)
    /// What is on the disk of this shard is of no use any more.
    case discarded(ShardID)
    /// Requests are answered at an epoch; before, the log reached to `last`. Where they were answered
    /// already, the shard's other members have changed.
    case serves(ShardID, epoch: UInt32, last: UInt64, isNew: Bool, isSealed: Bool)
    /// No longer; whoever waits on one of these streams (bits by their number) hears that the outcome
    /// is not known.
    case stops(ShardID, streams: UInt16)
}

/// On what an answer waits: see `Reply.stream`.
public enum CommitStream {
    /// The disk of this node.
    public static let disk: UInt8 = 0
    /// Shards whose only member is this process.
    public static let alone: UInt8 = 1
    /// Shards that the first partner follows; the others come after it.
    public static let firstPartner: UInt8 = 2
    public static let count = 16
    /// Added to another: and the disk of this node, too.
    public static let andDisk: UInt8 = 0x40
    /// Whatever was appended so far, by all of them.
    public static let all: UInt8 = 0xbf

    @inlinable
    public static func isAll(_ stream: UInt8) -> Bool { stream & ~andDisk == all }

    @inlinable
    public static func needsDisk(_ stream: UInt8) -> Bool {
        stream == disk || stream & andDisk != 0
    }
}
