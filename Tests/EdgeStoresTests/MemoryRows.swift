import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeStores
import EdgeTypes
import Foundation
import Synchronization

/// What a store would hold, in memory: each call commits one batch and tells of it.
final class MemoryRows: Sendable {
    struct Content {
        var pools: [PoolKey: MirroredPool] = [:]
        var slices: [SliceKey: SliceRow] = [:]
        var events: [Int64: EventRow] = [:]
        var marks = WatermarkTable()
    }

    let content = Mutex(Content())
    private let name = UUID().uuidString

    /// Slice i of a pool lies on shard i, its home is shard 0.
    @discardableResult
    func create(
        _ name: Text64, _ family: PoolFamily, units: Int64, amountFen: Fen, slices: UInt32
    ) -> StoreChanges {
        let key = PoolKey.of(family, name)
        return content.withLock { content in
            let standing = PoolStanding(
                control: PoolControl(version: 0, terms: PoolTerms(opensMs: 5, limit: 2)),
                closed: false, createdMs: 7, closedMs: 0, createdBy: "", highestLimit: 2)
            var treasury = TreasuryBooks()
            treasury.fund(units)
            let row = PoolRow(
                key: key, family: family, name: name, created: true, standing: standing,
                treasury: treasury)
            content.pools[key] = MirroredPool(
                row: row, units: units, amountFen: amountFen, slices: slices)
            var changes = StoreChanges()
            changes.pools = [row]
            for slice in 0..<slices {
                let made = SliceRow(
                    key: SliceKey(pool: key, slice: slice), shard: ShardID(slice),
                    books: SliceBooks())
                content.slices[made.key] = made
                changes.slices.append(made)
                Self.advance(&content, ShardID(slice), 1, &changes)
            }
            return changes
        }
    }

    private static func advance(
        _ content: inout Content, _ shard: ShardID, _ entries: UInt64, _ changes: inout StoreChanges
    ) {
        let from = content.marks[shard]
        let to = Watermark(
            epoch: max(from.epoch, 1), sequence: from.sequence + entries,
            timeMs: from.timeMs + 1_000)
        content.marks[shard] = to
        changes.ranges.append(ShardRange(shard: shard, from: from, to: to))
    }

    /// Grants packets of a rain.
    func claim(_ name: Text64, slice: UInt32, packets: Int64, fen: Fen) -> StoreChanges {
        change(PoolKey.of(.rain, name), slice, entries: UInt64(packets)) { books in
            books.granted += packets
            books.grantedFen += fen
        }
    }

    /// Reserves a unit: an event, in the same commit.
    func reserve(_ sku: Text64, slice: UInt32) -> StoreChanges {
        change(
            PoolKey.of(.stock, sku), slice, entries: 1,
            { $0.pending += 1 },
            event: { range in
                EventRow(
                    id: EntryID.of(shard: range.shard, sequence: range.to.sequence),
                    type: "order.reserved", subject: Text64("order-\(range.to.sequence)"),
                    timeMs: range.to.timeMs, data: #"{"qty":1}"#)
            })
    }

    private func change(
        _ pool: PoolKey, _ slice: UInt32, entries: UInt64, _ body: (inout SliceBooks) -> Void,
        event: (ShardRange) -> EventRow? = { _ in nil }
    ) -> StoreChanges {
        let key = SliceKey(pool: pool, slice: slice)
        return content.withLock { content in
            var changes = StoreChanges()
            guard var row = content.slices[key] else { preconditionFailure("no such slice") }
            body(&row.books)
            content.slices[key] = row
            changes.slices = [row]
            Self.advance(&content, row.shard, entries, &changes)
            if let made = event(changes.ranges[0]) {
                content.events[made.id] = made
                changes.events = [made]
            }
            return changes
        }
    }

    /// Changes the pool itself, by an entry of its home.
    func alter(
        _ name: Text64, _ family: PoolFamily, _ body: (inout PoolRow) -> Void
    ) -> StoreChanges {
        let key = PoolKey.of(family, name)
        return content.withLock { content in
            guard var pool = content.pools[key] else { preconditionFailure("no such pool") }
            body(&pool.row)
            content.pools[key] = pool
            var changes = StoreChanges()
            changes.pools = [pool.row]
            Self.advance(&content, 0, 1, &changes)
            return changes
        }
    }

    var eventIDs: [String] {
        content.withLock { $0.events.values.sorted { $0.id < $1.id }.map(\.name) }
    }

    func total(_ name: Text64, _ family: PoolFamily, _ body: (SliceBooks) -> Int64) -> Int64 {
        let pool = PoolKey.of(family, name)
        return content.withLock { content in
            content.slices.values.reduce(0) { sum, row in
                row.key.pool == pool ? sum + body(row.books) : sum
            }
        }
    }

    func source() -> any RowsSource { Source(self) }

    private final class Source: RowsSource {
        let rows: MemoryRows
        init(_ rows: MemoryRows) { self.rows = rows }

        func identity() -> String { rows.name }

        func watermarks() -> WatermarkTable { rows.content.withLock { $0.marks } }

        func pools(_ keys: [PoolKey]) -> [MirroredPool] {
            rows.content.withLock { content in keys.compactMap { content.pools[$0] } }
        }

        func pools(after: PoolKey?, limit: Int) -> [MirroredPool] {
            rows.content.withLock { content in
                Array(
                    content.pools.values.filter { pool in
                        after.map { pool.row.key.rawValue > $0.rawValue } ?? true
                    }.sorted { $0.row.key.rawValue < $1.row.key.rawValue }.prefix(limit))
            }
        }

        func slices(ofShards shards: [ShardID]) -> ShardSlices {
            rows.content.withLock { content in
                ShardSlices(
                    rows: content.slices.values.filter { shards.contains($0.shard) },
                    watermarks: content.marks)
            }
        }

        func events(ofShard shard: ShardID, after: Int64, limit: Int) -> [EventRow] {
            rows.content.withLock { content in
                Array(
                    content.events.values.filter { event in
                        EntryID.shard(of: event.id) == shard && event.id > after
                    }.sorted { $0.id < $1.id }.prefix(limit))
            }
        }

        func deleteEvents(
            ofShard shard: ShardID, after: Int64, upTo: Int64, olderThanMs: UnixMs
        ) -> Int {
            rows.content.withLock { content in
                let gone = content.events.values.filter { event in
                    EntryID.shard(of: event.id) == shard && event.id > after
                        && event.id <= upTo && event.timeMs < olderThanMs
                }
                for event in gone { content.events[event.id] = nil }
                return gone.count
            }
        }

        func close() {}
    }
}
