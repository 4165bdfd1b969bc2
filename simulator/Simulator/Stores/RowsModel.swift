import EdgeLedger
import EdgeReconciler
import EdgeTypes

/// The rows of a simulated store that followers read, made by the books that real stores are
/// written from.
struct RowsModel: Sendable {
    struct SliceID: Comparable {
        var pool: UInt64
        var slice: UInt32

        init(_ key: SliceKey) {
            pool = key.pool.rawValue
            slice = key.slice
        }

        static func < (one: SliceID, other: SliceID) -> Bool {
            (one.pool, one.slice) < (other.pool, other.slice)
        }
    }

    private(set) var pools = SortedTable<UInt64, MirroredPool>()
    private(set) var slices = SortedTable<SliceID, SliceRow>()
    private var orders = SortedTable<UInt64, OrderRecord>()
    /// The outbox.
    private(set) var events = SortedTable<Int64, EventRow>()
    /// Ids of all events that it has had.
    private(set) var made: [Int64] = []

    func pool(_ key: PoolKey) -> MirroredPool? { pools[key.rawValue] }

    /// Applies a batch, whole or not at all.
    mutating func apply(
        _ batch: EntryBatch, _ books: BatchBooks
    ) throws(HistoryFault) -> StoreChanges {
        for order in books.begin(batch) {
            guard let record = orders[order.rawValue], let pool = pool(record.pool) else {
                continue
            }
            books.take(order: record, sku: pool.row.name)
        }
        let needs = books.needs(of: batch).sorted()
        for key in needs.names {
            if let row = pool(key)?.row { books.take(name: key, row.family, row.name) }
        }
        for key in needs.pools { if let pool = pool(key) { books.take(pool.row) } }
        for key in needs.slices { if let row = slices[SliceID(key)] { books.take(row) } }
        try books.fold(batch)
        for work in books.pools { keep(work) }
        for work in books.slices { slices[SliceID(work.row.key)] = work.row }
        for work in books.orders { orders[work.record.order.rawValue] = work.record }
        for event in books.events {
            events[event.id] = event
            made.append(event.id)
        }
        return books.changes(of: batch)
    }

    private mutating func keep(_ work: BatchBooks.PoolWork) {
        let key = work.row.key.rawValue
        if let definition = work.definition {
            pools[key] = MirroredPool(
                row: work.row, units: definition.units, amountFen: definition.amountFen,
                slices: definition.slices)
        } else if var known = pools[key] {
            known.row = work.row
            pools[key] = known
        }
    }

    mutating func deleteEvents(
        ofShard shard: ShardID, after: Int64, upTo: Int64, olderThanMs: UnixMs
    ) -> Int {
        let gone = events.elements.map(\.value).filter { event in
            EntryID.shard(of: event.id) == shard && event.id > after && event.id <= upTo
                && event.timeMs < olderThanMs
        }
        for event in gone { events[event.id] = nil }
        return gone.count
    }
}

/// What a follower reads of a simulated store.
final class RowsModelSource: RowsSource {
    private let store: StoreModel

    init(_ store: StoreModel) { self.store = store }

    private func rows() throws(StoreError) -> RowsModel {
        if store.faults.isDown { throw .io("the connection was refused") }
        guard let rows = store.rows else { throw .cannotOpen("no rows are kept") }
        return rows
    }

    func identity() -> String { "store" }

    func watermarks() throws(StoreError) -> WatermarkTable { try store.watermarks() }

    func pools(_ keys: [PoolKey]) throws(StoreError) -> [MirroredPool] {
        let rows = try rows()
        return keys.compactMap { rows.pool($0) }
    }

    func pools(after: PoolKey?, limit: Int) throws(StoreError) -> [MirroredPool] {
        Array(
            try rows().pools.elements.lazy.filter { $0.key > after?.rawValue ?? 0 || after == nil }
                .map(\.value).prefix(limit))
    }

    func slices(ofShards shards: [ShardID]) throws(StoreError) -> ShardSlices {
        ShardSlices(
            rows: try rows().slices.elements.map(\.value).filter { shards.contains($0.shard) },
            watermarks: try store.watermarks())
    }

    func events(
        ofShard shard: ShardID, after: Int64, limit: Int
    ) throws(StoreError) -> [EventRow] {
        Array(
            try rows().events.elements.lazy.map(\.value).filter { event in
                EntryID.shard(of: event.id) == shard && event.id > after
            }.prefix(limit))
    }

    func deleteEvents(
        ofShard shard: ShardID, after: Int64, upTo: Int64, olderThanMs: UnixMs
    ) throws(StoreError) -> Int {
        _ = try rows()
        return store.rows?.deleteEvents(
            ofShard: shard, after: after, upTo: upTo, olderThanMs: olderThanMs) ?? 0
    }

    func close() {}
}
