import EdgeDomain
import EdgeMemory
import EdgeTypes

/// How long it takes a shard's book to let archived orders go, and to be copied: each is one step
/// of its core, in which nobody else is served.
///
/// Two SKUs sell in turns, every order is paid; one of them is archived.
enum Compaction {
    /// - Parameter kept: orders that stay; as many go.
    static func measure(kept: Int) -> String {
        var shop = Shop()
        let old = shop.open("old", units: Int64(kept))
        let open = shop.open("open", units: Int64(kept))
        for user in 0..<kept {
            shop.sell(old, UserID(user))
            shop.sell(open, UserID(user))
        }
        shop.archive(old)
        var sink = ByteSink()
        shop.book.writeSnapshot(into: &sink)
        sink.removeAll()
        var start = monotonicNs()
        shop.book.writeSnapshot(into: &sink)
        let snapshotNs = monotonicNs() - start
        let before = shop.book.counts.allocatedBytes
        start = monotonicNs()
        shop.book.compact()
        let compactNs = monotonicNs() - start
        let after = shop.book.counts.allocatedBytes
        precondition(shop.book.loggedOrders == kept)
        return "{\"orders_kept\":\(kept),\"orders_gone\":\(kept)"
            + ",\"compact_ms\":\(compactNs / 1_000_000)"
            + ",\"ns_per_order_kept\":\(Int(compactNs) / kept)"
            + ",\"snapshot_ms\":\(snapshotNs / 1_000_000)"
            + ",\"bytes_before\":\(before),\"bytes_after\":\(after)}"
    }
}

/// A book and the entries that make it.
private struct Shop: ~Copyable {
    var book = StockBook(shard: 0)
    var sequence: UInt64 = 0
    var orders: UInt64 = 0

    mutating func commit(_ entry: Entry) {
        sequence += 1
        let header = EntryHeader(
            shard: 0, epoch: 1, sequence: sequence, timeMs: 1_700_000_000_000)
        let applied = book.apply(entry, header)
        precondition(applied)
    }

    mutating func open(_ name: Text64, units: Int64) -> Int {
        let definition = PoolDefinition(
            name: name, kind: .stock, units: units, amountFen: 100, minFen: 0, maxFen: 0,
            holdMs: 1_800_000, slices: 1, regions: [], seed: Bits256(1, 2, 3, 4),
            seedWasGiven: false, commitment: Bits256(5, 6, 7, 8), durability: .journal,
            initial: PoolTerms(limit: 1))
        let key = PoolKey.of(.stock, name)
        commit(
            .sliceOpened(definition, slice: 0, PoolControl(version: 1, terms: PoolTerms(limit: 1))))
        commit(
            .sliceCredited(
                Transfer(
                    pool: key, slice: 0, number: 1, final: false,
                    ranges: [UnitRange(start: 0, count: units)])))
        return book.sliceCount - 1
    }

    mutating func sell(_ slot: Int, _ user: UserID) {
        let order = OrderID(shard: 0, number: orders)
        orders += 1
        commit(
            .orderReserved(
                OrderReserved(
                    order: order, pool: book.poolKey(slot: slot), slice: 0, user: user,
                    quantity: 1, priceFen: 100, expiresMs: 1_700_001_800_000,
                    requestHash: user &* 0x9e37_79b9_7f4a_7c15)))
        commit(
            .orderPaid(
                OrderPaid(
                    order: order, payment: Text64("payment-\(orders)"), amountFen: 100, late: false)
            ))
    }

    mutating func archive(_ slot: Int) {
        let key = book.poolKey(slot: slot)
        commit(
            .sliceControlled(
                key, slice: 0, PoolControl(version: 2, terms: PoolTerms(limit: 1), closing: true)))
        if let transfer = book.sealing(slot: slot) { commit(.sliceReturned(transfer)) }
        commit(.sliceArchived(key, slice: 0, first: 0))
    }
}
