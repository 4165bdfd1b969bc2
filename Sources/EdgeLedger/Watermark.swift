public import EdgeTypes

/// How far a shard's history has been taken: up to and including `sequence`.
public struct Watermark: Hashable, Sendable {
    /// The epoch of the entry at `sequence`; 0 before the first.
    public var epoch: UInt32
    /// 0 before the first entry.
    public var sequence: UInt64
    /// The time of the entry at `sequence`; with the epoch it tells one history from another.
    public var timeMs: UnixMs

    @inlinable
    public init(epoch: UInt32, sequence: UInt64, timeMs: UnixMs) {
        self.epoch = epoch
        self.sequence = sequence
        self.timeMs = timeMs
    }

    /// Before the first entry of a shard.
    public static let origin = Watermark(epoch: 0, sequence: 0, timeMs: 0)
}

/// A run of one shard's entries `(from, to]`.
public struct ShardRange: Hashable, Sendable {
    public var shard: ShardID
    public var from: Watermark
    public var to: Watermark

    public init(shard: ShardID, from: Watermark, to: Watermark) {
        self.shard = shard
        self.from = from
        self.to = to
    }
}

/// Why entries are not taken. Nothing of the batch has been applied.
public enum WatermarkRefusal: Error, Hashable, Sendable {
    /// The store is not where the batch starts: it is behind (it was restored), or ahead (somebody
    /// else has applied these entries).
    case startsElsewhere(shard: ShardID, batchFrom: Watermark, store: Watermark)
    /// Entries between the two are missing.
    case gap(shard: ShardID, expected: UInt64, found: UInt64)
    /// A deposed primary's entries: epochs only grow.
    case epochWentBack(shard: ShardID, sequence: UInt64, known: UInt32, found: UInt32)
    /// A shard's time never goes back.
    case timeWentBack(shard: ShardID, sequence: UInt64, known: UnixMs, found: UnixMs)
    /// The entry at the store's watermark is not the one the store has applied.
    case otherHistory(shard: ShardID, store: Watermark, found: Watermark)
}

extension WatermarkRefusal: CustomStringConvertible {
    public var description: String {
        switch self {
        case .startsElsewhere(let shard, let from, let store):
            "shard \(shard): the batch starts after \(from.epoch)/\(from.sequence), "
                + "the store is at \(store.epoch)/\(store.sequence)"
        case .gap(let shard, let expected, let found):
            "shard \(shard): expected sequence \(expected), found \(found)"
        case .epochWentBack(let shard, let sequence, let known, let found):
            "shard \(shard), sequence \(sequence): epoch \(found) after epoch \(known)"
        case .timeWentBack(let shard, let sequence, let known, let found):
            "shard \(shard), sequence \(sequence): time \(found) after \(known)"
        case .otherHistory(let shard, let store, let found):
            "shard \(shard): sequence \(store.sequence) is of epoch \(store.epoch) and time "
                + "\(store.timeMs) in the store, of epoch \(found.epoch) and time "
                + "\(found.timeMs) in the journal: these are two histories"
        }
    }
}

/// What a store accepts. The simulator's stores and the real ones obey the same rule.
public enum WatermarkRule {
    /// Whether `range` may be applied to a store that is at `store`.
    ///
    /// - Throws: `startsElsewhere` unless the store is exactly at `range.from`.
    public static func check(
        _ range: ShardRange, store: Watermark
    ) throws(WatermarkRefusal) {
        precondition(range.to.sequence > range.from.sequence, "an empty range")
        guard store == range.from else {
            throw .startsElsewhere(shard: range.shard, batchFrom: range.from, store: store)
        }
    }

    /// Whether `header` is the entry that follows `mark`.
    @inlinable
    public static func check(
        _ header: EntryHeader, follows mark: Watermark
    ) throws(WatermarkRefusal) {
        guard header.sequence == mark.sequence &+ 1 else {
            throw .gap(
                shard: header.shard, expected: mark.sequence &+ 1, found: header.sequence)
        }
        guard header.epoch >= mark.epoch else {
            throw .epochWentBack(
                shard: header.shard, sequence: header.sequence, known: mark.epoch,
                found: header.epoch)
        }
        guard header.timeMs >= mark.timeMs else {
            throw .timeWentBack(
                shard: header.shard, sequence: header.sequence, known: mark.timeMs,
                found: header.timeMs)
        }
    }
}

/// One watermark for each shard, in a flat array.
public struct WatermarkTable: Hashable, Sendable {
    @usableFromInline var marks: [Watermark] = []

    public init() {}

    /// The mark of a shard; `origin` where none was set. O(1).
    @inlinable
    public subscript(shard: ShardID) -> Watermark {
        get { Int(shard) < marks.count ? marks[Int(shard)] : .origin }
        set {
            while marks.count <= Int(shard) { marks.append(.origin) }
            marks[Int(shard)] = newValue
        }
    }

    /// Shards that have a mark, ascending.
    public var shards: [ShardID] {
        marks.indices.compactMap { marks[$0].sequence > 0 ? ShardID($0) : nil }
    }

    public static func == (a: WatermarkTable, b: WatermarkTable) -> Bool {
        let count = max(a.marks.count, b.marks.count)
        return (0..<count).allSatisfy { a[ShardID($0)] == b[ShardID($0)] }
    }

    public func hash(into hasher: inout Hasher) {
        for shard in shards {
            hasher.combine(shard)
            hasher.combine(self[shard])
        }
    }
}
