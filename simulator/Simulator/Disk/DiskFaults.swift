/// What a disk does wrong until it is told otherwise.
public struct DiskFaults: Hashable, Sendable {
    /// Room for all files, in blocks of 4 KiB; beyond it a reservation or a growing write fails
    /// with ENOSPC. May be below what is used already.
    public var spaceBytes = Int.max
    /// Every sync fails with EIO. What it should have made durable never becomes durable: as on
    /// Linux, the pages count as clean from then on, and a later sync that succeeds proves nothing.
    public var failsSync = false
    /// Everything that would change the disk fails with EROFS.
    public var isReadOnly = false
    /// The next write lands so many bytes further on, or back, within its file; then this is nil.
    public var misdirectsBy: Int?
    /// So many calls are done as asked; then each fails with EIO and changes nothing, as if the
    /// process had been killed at that call. For crashes in the middle of a step: follow with
    /// `crash` or `processCrash`.
    public var callsLeft: Int?

    public init() {}
}

/// What a disk has done since it was made: whoever simulates its delays charges by this.
public struct DiskCounts: Hashable, Sendable {
    /// Of every kind, closing left out.
    public var calls: UInt64 = 0
    public var writes: UInt64 = 0
    public var bytesWritten: UInt64 = 0
    public var bytesRead: UInt64 = 0
    /// Of files and directories, failed ones included.
    public var syncs: UInt64 = 0
    /// Bytes that syncs made durable.
    public var bytesSynced: UInt64 = 0
}
