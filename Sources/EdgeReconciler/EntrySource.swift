public import EdgeLedger

/// A place in a lane of the journal. Opaque to stores: they keep it beside the watermarks, so that
/// a restart need not read what has been applied. Nothing depends on it being right: a source that
/// no longer knows it starts at its oldest entry.
public struct SourceCursor: Hashable, Sendable {
    public var segment: UInt64
    public var offset: UInt64

    public init(segment: UInt64, offset: UInt64) {
        self.segment = segment
        self.offset = offset
    }
}

/// Why a source yields nothing.
public enum SourceError: Error, Sendable, Equatable {
    /// Reading failed; trying again may help.
    case io(String)
    /// The journal is damaged before its tail: nothing after it can be had.
    case damaged(String)
    /// An entry that must not follow the one before.
    case refused(WatermarkRefusal)
}

extension SourceError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .io(let text): "the journal cannot be read: \(text)"
        case .damaged(let text): "the journal is damaged: \(text)"
        case .refused(let refusal): "the journal does not continue the store: \(refusal)"
        }
    }
}

/// One lane of committed entries: the journal of one core from one start of its process.
///
/// Used from one thread. Entries of a shard lie in sequence in one lane of each generation, and go
/// on in a lane of a later one.
public protocol EntrySource {
    /// Names the lane for good, at this node: cursors are kept under it.
    var lane: String { get }

    /// Grows with each start of the process. Lanes of earlier generations have ended: they are
    /// read to their end before any of a later one.
    var generation: UInt32 { get }

    /// Where the next read starts. Entries before it have been offered to a batch and not
    /// answered `full`.
    var cursor: SourceCursor { get }

    /// Goes to a place; to the oldest entry where `cursor` is nil or no longer known.
    mutating func seek(_ cursor: SourceCursor?) throws(SourceError)

    /// Offers committed entries to `batch` from `cursor` on, until it is full or there are none.
    ///
    /// Entries that are not committed yet are never offered.
    ///
    /// - Returns: whether it stopped because the batch was full.
    mutating func read(into batch: inout EntryBatch) throws(SourceError) -> Bool

    /// About how many committed entries lie after `cursor`. For gauges.
    func backlog() -> UInt64
}

/// What the reconciler and the audit need of an engine.
///
/// Used from one thread at a time.
public protocol LedgerStore: AnyObject {
    /// How far each shard has been applied.
    func watermarks() throws(StoreError) -> WatermarkTable

    /// The places kept with the last batches.
    func cursor(lane: String) throws(StoreError) -> SourceCursor?

    /// Applies a batch in one transaction: all of it, once, or nothing.
    ///
    /// - Returns: what it has made of the store's rows, for those who follow the store.
    /// - Throws: `refused` unless every shard of the batch is where the batch starts.
    @discardableResult
    func apply(
        _ batch: EntryBatch, cursors: [(lane: String, cursor: SourceCursor)]
    ) throws(StoreError) -> StoreChanges

    /// Gives its files back. Idempotent.
    func close()
}
