/// What the disk tells of a replica beside its entries: where its log began, and that its process
/// was the shard's only member from an epoch on. Only such a process may go on from its disk by
/// itself after a restart.
public struct SoleRecord: Hashable, Sendable {
    public var shard: ShardID
    /// Of the configuration; 0: it was one of several, and had learned what it held.
    public var epoch: UInt32
    public var boot: UInt64
    /// The epoch at which this replica's log began: entries of earlier ones that the journal holds
    /// are of logs that were dropped.
    public var born: UInt32

    public init(shard: ShardID, epoch: UInt32, boot: UInt64, born: UInt32) {
        self.shard = shard
        self.epoch = epoch
        self.boot = boot
        self.born = born
    }

    /// Whether what the disk held before was replaced by a copy.
    public var hasLearned: Bool { epoch == 0 }
}
