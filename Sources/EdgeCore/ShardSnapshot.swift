import EdgeDomain
public import EdgeMemory
public import EdgeTypes

/// A shard's snapshot on its way out of the core: what changes was copied when it began, logs
/// that only grow follow piece by piece.
public struct ShardSnapshot: ~Copyable, Sendable {
    /// What it stands for: everything up to this entry and nothing after it.
    public let header: EntryHeader
    /// What is copied so far; the snapshot once `EdgeNode.continueSnapshot` says so.
    public internal(set) var content: ByteSink
    let parts: [Part]
    private let fixed: ByteSink
    /// The part being copied, and how far.
    var part = 0
    var offset = 0
    /// A slice was archived before its claims were copied: the snapshot is of no use.
    public internal(set) var isBroken = false
    private(set) var fixedDone = 0

    enum Part: Sendable {
        /// Bytes of `fixed` up to `end`.
        case fixed(end: Int)
        /// The first `count` elements of a rain slice's log.
        case log(slot: Int, RainSlice.Log, count: Int)

        var logBytes: Int {
            guard case .log(_, let log, let count) = self else { return 0 }
            return count * log.elementBytes
        }
    }

    init(header: EntryHeader, fixed: consuming ByteSink, parts: [Part]) {
        self.header = header
        let bytes = parts.reduce(fixed.count) { $0 + $1.logBytes }
        content = ByteSink(capacity: max(1, bytes))
        self.parts = parts
        self.fixed = fixed
    }

    mutating func copyFixed(_ count: Int) {
        content.append(UnsafeRawBufferPointer(rebasing: fixed.bytes[fixedDone..<fixedDone + count]))
        fixedDone += count
    }
}
