import EdgeLedger
import EdgeTypes

/// Changes of some batches as one: of each row the last, of each shard one run.
package struct GatheredChanges {
    private(set) var runs: [ShardID: ShardRange] = [:]
    private var poolsByKey: [PoolKey: PoolRow] = [:]
    private var slicesByKey: [SliceKey: SliceRow] = [:]
    private(set) var orders: Set<OrderID> = []
    private(set) var events: [ShardID: [EventRow]] = [:]
    /// Shards of which something is not here.
    private(set) var broken: Set<ShardID> = []
    private(set) var rows = 0
    /// When the first of them came, by the clock that its owner goes by; nil: nothing is here.
    package private(set) var sinceMs: Int64?

    package init() {}

    package var isEmpty: Bool { sinceMs == nil }

    /// Rows of pools and of slices, and runs, in the order of their keys. O(n log n).
    var pools: [PoolRow] { poolsByKey.values.sorted { $0.key.rawValue < $1.key.rawValue } }
    var slices: [SliceRow] {
        slicesByKey.values.sorted {
            ($0.key.pool.rawValue, $0.key.slice) < ($1.key.pool.rawValue, $1.key.slice)
        }
    }
    var ranges: [ShardRange] { runs.values.sorted { $0.shard < $1.shard } }

    /// Entries that they stand for.
    package var entries: UInt64 {
        runs.values.reduce(0) { $0 &+ ($1.to.sequence &- $1.from.sequence) }
    }

    /// O(rows). Over the limit, all rows go, and their shards are broken.
    package mutating func add(_ changes: StoreChanges, nowMs: Int64, limit: Int) {
        guard !changes.ranges.isEmpty else { return }
        sinceMs = sinceMs ?? nowMs
        for range in changes.ranges { take(range) }
        let coming =
            changes.pools.count + changes.slices.count + changes.orders.count
            + changes.events.count
        guard rows + coming <= limit else {
            broken.formUnion(runs.keys)
            poolsByKey = [:]
            slicesByKey = [:]
            orders = []
            events = [:]
            rows = 0
            return
        }
        for row in changes.pools { poolsByKey[row.key] = row }
        for row in changes.slices where !broken.contains(row.shard) {
            slicesByKey[row.key] = row
        }
        for record in changes.orders { orders.insert(record.order) }
        for event in changes.events {
            let shard = EntryID.shard(of: event.id)
            if !broken.contains(shard) { events[shard, default: []].append(event) }
        }
        rows += coming
    }

    private mutating func take(_ range: ShardRange) {
        guard var known = runs[range.shard] else {
            runs[range.shard] = range
            return
        }
        if known.to != range.from { broken.insert(range.shard) }
        known.to = range.to
        runs[range.shard] = known
        if broken.contains(range.shard) { events[range.shard] = nil }
    }
}
