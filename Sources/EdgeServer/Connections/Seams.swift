public import EdgeMemory
public import EdgeTypes
import Glibc

/// The deterministic core that a server loop drives: one call a tick.
public protocol SteppingCore: ~Copyable {
    /// Applies the batch. Requests and frames of the batch are answered in `effects`, now or in
    /// a later step; each request exactly once.
    mutating func step(
        _ batch: borrowing RequestBatch, now: Instant, into effects: inout EffectBuffer)
}

/// Where a server loop's entries become durable. Called on the loop that owns it, only.
///
/// The other direction is `ServerLoop.journalCommitted(upTo:)`.
public protocol LoopJournal: AnyObject, Sendable {
    /// Takes the entries of one step over and empties `entries`. Never blocks.
    ///
    /// - Parameter needsSync: whether an answer waits for everything submitted so far; otherwise
    ///   it may become durable lazily. `entries` may be empty to say so later.
    /// - Returns: the position that is committed once these are: it only grows, and is above 0.
    func submit(_ entries: inout ByteSink, needsSync: Bool) -> UInt64
    /// Whether so much waits to be written that clients should not be read from. It must fall
    /// by commits alone: each commit looks again.
    var isOverBacklog: Bool { get }
    /// Whether there is no room for new grants.
    var isFull: Bool { get }
}

/// Facts about the node that its listeners tell.
public struct NodeProfile: Sendable {
    public var name: String
    public var version: String
    public var shards = 64
    public var startedMs: UnixMs = 0
    /// What a pool gets whose creator does not say.
    public var durability = Durability.journal
    /// Whether there are other nodes.
    public var isClustered = false
    /// Whether shards have backups: only then can a pool be `replicated`.
    public var replicates = false

    /// - Precondition: the name is 1–64 of `A-Z a-z 0-9 . _ : -` (it goes into headers as it is).
    public init(name: String, version: String) {
        precondition(!name.isEmpty && name.utf8.count <= 64)
        self.name = name
        self.version = version
    }
}

/// Reads both clocks.
public enum SystemClock {
    public static func now() -> Instant {
        Instant(
            wallMs: read(CLOCK_REALTIME) / 1_000_000, monotonicNs: UInt64(read(CLOCK_MONOTONIC)))
    }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        let result = clock_gettime(clock, &time)
        precondition(result == 0)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
