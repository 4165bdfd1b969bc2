public import EdgeTypes

/// How a follower keeps Redis behind the store.
public struct RedisSettings: Sendable {
    /// Shown by `CLIENT LIST`: letters, digits, `-` and `_`.
    public var clientName = "downpour"
    /// Where a pool's home is: the shard that its funding, terms and end are of.
    public var home: @Sendable (PoolKey) -> ShardID = { _ in 0 }
    /// So long changes are gathered before they are sent.
    public var gatherMs = 50
    /// About how many rows one script takes.
    public var rowsAtOnce = 500
    /// Most rows that wait; with more, they are forgotten, and read from the store later.
    public var waitingRows = 50_000
    /// How often marks of Redis and of the store are compared.
    public var lookMs = 2_000
    /// How often the stream is swept and trimmed.
    public var sweepMs = 1_000
    /// Most entries of `downpour:events`: events beyond wait in the outbox.
    public var streamLimit = 1_000_000
    /// Most dead letters: entries beyond stay pending.
    public var deadLimit = 100_000
    public var retries = RetryRules()
    /// Events stay in the outbox so long after they happened, even if everybody has them.
    public var retentionMs: Int64 = 86_400_000
    /// How often the outbox is looked through for older ones.
    public var cleanMs = 60_000
    /// From the first invalidation of a key to the second.
    public var invalidationDelayMs = 1_000
    public var cacheKeys: [CacheKey] = []
    /// First and longest wait after a failure; doubled each time, the last half of it random.
    public var firstBackoffMs = 50
    public var longestBackoffMs = 5_000

    /// Is told, in the follower's thread, what has begun to fail, and nil once it does no more.
    public var report: @Sendable (String?) -> Void = { _ in }

    public init() {}
}

/// What a follower is doing, for gauges and health.
public struct RedisStatus: Sendable {
    public enum State: String, Sendable {
        case idle, running, failing, stopped
    }

    public var state = State.idle
    public var connected = false
    /// Entries that the store has and whose rows or events Redis lacks, as far as this node knows:
    /// of shards that another node serves, or served, by its last look.
    public var lagEntries: UInt64 = 0
    /// How long changes have been waiting, ms; 0 without lag.
    public var lagMs: Int64 = 0
    /// Shards whose rows are read from the store again.
    public var rebuilding = 0
    /// Shards whose events are read from the outbox.
    public var publishing = 0
    /// Shards whose mark in Redis is beyond the store's: the store was restored, and is fed again.
    public var ahead = 0
    /// Shards whose rows were read again, ever.
    public var rebuiltShards: UInt64 = 0
    public var mirroredRows: UInt64 = 0
    public var publishedEvents: UInt64 = 0
    public var trimmedEvents: UInt64 = 0
    public var buriedEvents: UInt64 = 0
    /// Rows of the outbox that were deleted.
    public var deletedEvents: UInt64 = 0
    public var invalidations: UInt64 = 0
    /// Entries of `downpour:events` and of `downpour:dead`.
    public var streamLength: Int64 = 0
    public var deadLetters: Int64 = 0
    /// The stream is at its limit: events wait in the outbox.
    public var streamIsFull = false
    /// What failed last. Stays after it has recovered.
    public var lastError: String?
    public var lastErrorMs: UnixMs = 0
    public var failures: UInt64 = 0
    public var consecutiveFailures = 0

    public init() {}
}
