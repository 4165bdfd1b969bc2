public import EdgeLedger

/// What a reconciler is doing, for gauges and health.
public struct ReconcilerStatus: Sendable {
    public enum State: String, Sendable {
        /// Not started.
        case idle
        /// Everything committed is in the store, or on its way.
        case running
        /// The store or the journal failed: it tries again, and lag grows.
        case failing
        case stopped
    }

    public var state = State.idle
    /// Committed entries that the store does not have yet.
    public var lagEntries: UInt64 = 0
    /// Age of the oldest of them, ms; 0 without lag.
    public var lagMs: Int64 = 0
    /// What failed last, and when (Unix ms). Stays after it has recovered.
    public var lastError: String?
    public var lastErrorMs: Int64 = 0
    /// Failures since the last batch that was applied.
    public var consecutiveFailures = 0
    public var failures: UInt64 = 0
    public var appliedEntries: UInt64 = 0
    public var appliedBatches: UInt64 = 0
    /// Entries passed over because the store had them.
    public var skippedEntries: UInt64 = 0
    /// How often the store was found to be behind what it had said.
    public var wentBack: UInt64 = 0
    /// Where the store is, as of the last batch.
    public var watermarks = WatermarkTable()

    public init() {}
}

/// How a reconciler paces itself.
public struct ReconcilerConfiguration: Sendable {
    /// Most entries of one transaction: the memory it holds, 130 bytes a claim, some 400 for
    /// others. Few reach it unless the store lags; then a page of the file is written once for
    /// many claims (1,024 shards: 1.6 µs of CPU a claim, against 2.9 at 16,384).
    public var batchEntries = 65_536
    /// After a wake-up it waits so long for more entries, so that the store syncs its disk for
    /// many at once. A batch that is full goes at once.
    public var gatherMs = 100
    /// Without wake-ups it looks for entries as often.
    public var pollMs = 250
    /// Without anything to apply it compares the store's watermarks with its own as often: a store
    /// that was restored, or a replica that was promoted too early, is fed again.
    public var verifyMs = 5_000
    /// First and longest wait after a failure; doubled each time, the last half of it random.
    public var firstBackoffMs = 50
    public var longestBackoffMs = 5_000

    public init() {}
}
