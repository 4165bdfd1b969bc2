public import EdgeTypes

/// Sizes and delays of the journal.
public struct JournalConfiguration: Sendable {
    /// Size of a segment, reserved on disk before it is used; 16 KiB ... 1 GiB.
    public var segmentBytes = 64 << 20
    /// Whether new segments are written full of zeros beforehand, in the background. Measured on
    /// ext4: fdatasync of 4 KiB takes 109 µs then, against 192 µs in merely reserved space.
    public var zeroFills = true
    /// Entries that nobody waits for are written after this time, or when `writeAtBytes` wait.
    public var writeDelayMs: Int64 = 5
    public var writeAtBytes = 1 << 20
    /// And are synced at most this often.
    public var lazySyncMs: Int64 = 100
    /// Idle this long, a lane notes on disk that all before is durable: later damage is then
    /// told from a torn tail.
    public var markDelayMs: Int64 = 50
    /// How often a full disk is tried again.
    public var retryMs: Int64 = 200
    /// Whether shards have replicas on other nodes: their logs may begin anew.
    public var isReplicated = false
    /// A built-in bug; only simulators set one.
    public var mutant = Mutant.none

    public init() {}

    static let smallestSegment = 16 << 10
    static let largestSegment = 1 << 30

    func check() {
        precondition(segmentBytes >= JournalConfiguration.smallestSegment)
        precondition(segmentBytes <= JournalConfiguration.largestSegment)
        precondition(segmentBytes % 4_096 == 0)
        precondition(writeDelayMs >= 0 && lazySyncMs >= 0 && markDelayMs >= 0 && retryMs > 0)
    }
}
