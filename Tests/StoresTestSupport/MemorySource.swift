public import EdgeLedger
public import EdgeReconciler
public import EdgeTypes
import Synchronization

/// An entry with its header, as a lane holds it.
public struct LaneEntry: Sendable, Hashable {
    public var header: EntryHeader
    public var entry: Entry

    public init(_ header: EntryHeader, _ entry: Entry) {
        self.header = header
        self.entry = entry
    }
}

/// A lane in memory, of which so many entries are committed: tests commit more as they go.
public final class MemoryLane: Sendable {
    public let name: String
    public let entries: [LaneEntry]
    public let generation: UInt32
    private let state: Mutex<Int>

    public init(
        name: String, entries: [LaneEntry], committed: Int? = nil, generation: UInt32 = 1
    ) {
        self.name = name
        self.generation = generation
        self.entries = entries
        state = Mutex(committed ?? entries.count)
    }

    public var committed: Int { state.withLock { $0 } }

    public func commit(upTo count: Int) {
        state.withLock { $0 = min(max($0, count), entries.count) }
    }
}

extension [MemoryLane] {
    /// Where each shard is once everything committed is applied.
    public var marks: WatermarkTable {
        var table = WatermarkTable()
        for lane in self {
            for item in lane.entries.prefix(lane.committed) {
                table[item.header.shard] = Watermark(
                    epoch: item.header.epoch, sequence: item.header.sequence,
                    timeMs: item.header.timeMs)
            }
        }
        return table
    }
}

/// Reads a `MemoryLane` as a reconciler would read a journal.
public struct MemorySource: EntrySource {
    private let source: MemoryLane
    private var position = 0
    /// The oldest entry that is still there.
    private let oldest: Int

    public init(_ lane: MemoryLane, oldest: Int = 0) {
        source = lane
        self.oldest = oldest
        position = oldest
    }

    public var lane: String { source.name }
    public var generation: UInt32 { source.generation }
    public var cursor: SourceCursor { SourceCursor(segment: 0, offset: UInt64(position)) }

    public mutating func seek(_ cursor: SourceCursor?) throws(SourceError) {
        position = max(oldest, Int(cursor?.offset ?? 0))
    }

    public mutating func read(into batch: inout EntryBatch) throws(SourceError) -> Bool {
        let end = source.committed
        while position < end {
            do {
                let next = source.entries[position]
                if case .full = try batch.append(next.header, next.entry) { return true }
            } catch {
                throw .refused(error)
            }
            position += 1
        }
        return false
    }

    public func backlog() -> UInt64 { UInt64(max(0, source.committed - position)) }
}
