import EdgeLedger
import EdgeReconciler
import EdgeTypes

/// Changes of some batches as one: of each row the last, of each shard one run.
struct GatheredChanges {
    private(set) var runs: [ShardID: ShardRange] = [:]
    private(set) var pools: [PoolKey: PoolRow] = [:]
    private(set) var slices: [SliceKey: SliceRow] = [:]
    private(set) var orders: Set<OrderID> = []
    private(set) var events: [ShardID: [EventRow]] = [:]
    /// Shards of which something is not here.
    private(set) var broken: Set<ShardID> = []
    private(set) var rows = 0
    /// When the first of them came, by the clock that its owner goes by; nil: nothing is here.
    private(set) var sinceMs: Int64?

    var isEmpty: Bool { sinceMs == nil }

    /// Entries that they stand for.
    var entries: UInt64 {
        runs.values.reduce(0) { $0 &+ ($1.to.sequence &- $1.from.sequence) }
    }

    /// O(rows). Over the limit, all rows go, and their shards are broken.
    mutating func add(_ changes: StoreChanges, nowMs: Int64, limit: Int) {
        guard !changes.ranges.isEmpty else { return }
        sinceMs = sinceMs ?? nowMs
        for range in changes.ranges { take(range) }
        let coming =
            changes.pools.count + changes.slices.count + changes.orders.count
            + changes.events.count
        guard rows + coming <= limit else {
            broken.formUnion(runs.keys)
            pools = [:]
            slices = [:]
            orders = []
            events = [:]
            rows = 0
            return
        }
        for row in changes.pools { pools[row.key] = row }
        for row in changes.slices where !broken.contains(row.shard) { slices[row.key] = row }
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
