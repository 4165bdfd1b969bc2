import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeTypes

/// Writes batches inside a transaction that its caller opens and ends, through any engine.
///
/// What several shards share is locked in one order everywhere (watermarks by shard, then pools by
/// key), so that the reconcilers of several nodes wait for each other and never in a circle. A
/// shard's slices and orders need no lock of their own: whoever holds its watermark is alone with
/// them. Locking them, too, would lock what lies between them: all slices of a pool, and the places
/// of orders to come. Claims go in as they are, each shard's run in key order.
final class LedgerWriter {
    private let engine: any SQLEngine
    private let books: BatchBooks
    /// Claims of the batch in key order; kept for its storage.
    private var sorted: [ClaimRecord] = []
    private var starts: [Int] = []

    init(_ engine: any SQLEngine, _ extraEvents: ExtraEvents = []) {
        self.engine = engine
        books = BatchBooks(extraEvents: extraEvents)
    }

    /// - Returns: what is in the store once the transaction is committed.
    func apply(_ batch: EntryBatch) throws -> StoreChanges {
        do {
            try check(batch)
            try read(batch)
            try books.fold(batch)
        } catch let refusal as WatermarkRefusal {
            throw StoreError.refused(refusal)
        } catch let fault as HistoryFault {
            throw StoreError.history(fault)
        }
        try writeClaims(batch)
        try indexArchived(batch)
        try writeOrders()
        try writePools()
        try writeSlices()
        try move(batch)
        return books.changes(of: batch)
    }

    func keep(_ cursors: [(lane: String, cursor: SourceCursor)]) throws {
        try engine.write(LedgerTables.cursors, rows: cursors.count) { index, sink in
            sink.put(cursors[index].lane)
            sink.put(Int64(bitPattern: cursors[index].cursor.segment))
            sink.put(Int64(bitPattern: cursors[index].cursor.offset))
        }
    }

    // MARK: Watermarks

    /// The store is exactly where the batch starts, and stays there until the transaction ends.
    private func check(_ batch: EntryBatch) throws {
        var held = WatermarkTable()
        let shards = batch.ranges.map(\.shard).sorted()
        try eachSome(shards.map { .integer(Int64($0)) }) { marks, values in
            try engine.read(
                "SELECT shard, epoch, sequence, time FROM watermarks WHERE shard IN (\(marks)) "
                    + "ORDER BY shard" + engine.forUpdate, values
            ) { row in
                let (shard, mark) = try LedgerReader.watermark(row)
                held[shard] = mark
            }
        }
        for range in batch.ranges { try WatermarkRule.check(range, store: held[range.shard]) }
    }

    private func move(_ batch: EntryBatch) throws {
        // A shard's first row is refused where another writer was first: nothing locked it.
        for isNew in [true, false] {
            let ranges = batch.ranges.filter { ($0.from == .origin) == isNew }
            let table = isNew ? LedgerTables.newWatermarks : LedgerTables.watermarks
            try engine.write(table, rows: ranges.count) { index, sink in
                sink.put(Int64(ranges[index].shard))
                sink.put(Int64(ranges[index].to.epoch))
                sink.put(Int64(ranges[index].to.sequence))
                sink.put(ranges[index].to.timeMs)
            }
        }
    }

    // MARK: Reading

    private func read(_ batch: EntryBatch) throws {
        let orders = books.begin(batch)
        try eachSome(orders.map { .text(OrderIDText.text($0)) }) { marks, values in
            try engine.read(
                LedgerTables.selectOrders + " WHERE order_id IN (\(marks)) ORDER BY order_id",
                values
            ) { row in
                let found = try LedgerTables.order(row)
                books.take(order: found.record, sku: found.sku)
            }
        }
        let needs = books.needs(of: batch).sorted()
        try readPools(needs.pools, needs.names)
        try readSlices(needs.slices)
    }

    private func readPools(_ keys: [PoolKey], _ names: [PoolKey]) throws {
        try eachSome(keys.map(Self.value)) { marks, values in
            try engine.read(
                LedgerTables.selectPools + " WHERE `key` IN (\(marks)) "
                    + "ORDER BY `key`" + engine.forUpdate, values
            ) { row in books.take(try LedgerTables.pool(row)) }
        }
        try eachSome(names.map(Self.value)) { marks, values in
            try engine.read(
                "SELECT `key`, family, name FROM pools "
                    + "WHERE `key` IN (\(marks))", values
            ) { row in
                guard let name = row.text64(2) else { throw StoreError.badRow("pools") }
                books.take(
                    name: PoolKey(rawValue: UInt64(bitPattern: row.integer(0))),
                    try PoolWords.family(row.text(1)), name)
            }
        }
    }

    private func readSlices(_ keys: [SliceKey]) throws {
        var start = 0
        while start < keys.count {
            let pool = keys[start].pool
            let end = keys[start...].firstIndex { $0.pool != pool } ?? keys.count
            let numbers = keys[start..<end].map { SQLValue.integer(Int64($0.slice)) }
            try eachSome(numbers) { marks, values in
                try engine.read(
                    LedgerTables.selectSlices
                        + " WHERE pool_key = ? AND slice IN (\(marks)) ORDER BY slice",
                    [Self.value(pool)] + values
                ) { row in books.take(try LedgerTables.slice(row)) }
            }
            start = end
        }
    }

    private static func value(_ key: PoolKey) -> SQLValue {
        .integer(Int64(bitPattern: key.rawValue))
    }

    /// Calls `body` with some of the values and as many question marks, until all have had their
    /// turn. The numbers of marks are powers of two, so that few statements are prepared: the last
    /// value is repeated.
    private func eachSome(
        _ values: [SQLValue], _ body: (_ marks: String, _ values: [SQLValue]) throws -> Void
    ) throws {
        var start = 0
        while start < values.count {
            let count = min(values.count - start, 256)
            var size = 1
            while size < count { size *= 2 }
            var some = Array(values[start..<(start + count)])
            while some.count < size { some.append(some[some.count - 1]) }
            try body(Array(repeating: "?", count: size).joined(separator: ","), some)
            start += count
        }
    }

    // MARK: Writing

    private func writePools() throws {
        let new = books.pools.filter { $0.before == nil }
        try engine.write(LedgerTables.newPools, rows: new.count) { index, sink in
            LedgerTables.put(new[index].row, sink)
        }
        let definitions = new.compactMap(\.definition)
        let rains = definitions.filter { $0.kind.family == .rain }
        try engine.write(LedgerTables.rains, rows: rains.count) { index, sink in
            LedgerTables.put(rain: rains[index], sink)
        }
        try engine.write(LedgerTables.secrets, rows: rains.count) { index, sink in
            sink.put(Int64(bitPattern: PoolKey.of(.rain, rains[index].name).rawValue))
            sink.put(rains[index].seed.hex)
        }
        let stock = definitions.filter { $0.kind.family == .stock }
        try engine.write(LedgerTables.stock, rows: stock.count) { index, sink in
            LedgerTables.put(stock: stock[index], sink)
        }
        let changed = books.pools.filter { $0.before != nil && $0.isChanged }
        try engine.write(LedgerTables.pools, rows: changed.count) { index, sink in
            LedgerTables.put(changed[index].row, sink)
        }
        for pool in books.pools where pool.areTermsChanged { try writeTerms(pool.row) }
        for pool in books.pools where pool.isClosedNow && pool.row.family == .rain {
            try reveal(pool.row)
        }
    }

    /// What finance reads of a pool's terms.
    private func writeTerms(_ row: PoolRow) throws {
        let terms = row.standing.control.terms
        func orNull(_ value: Int64) -> SQLValue { value == 0 ? .null : .integer(value) }
        let by = row.standing.createdBy
        var values: [SQLValue] = [
            .integer(Int64(terms.limit)), orNull(terms.opensMs), orNull(terms.closesMs),
            .text(row.standing.word), orNull(row.standing.createdMs),
            by.isEmpty ? .null : .text(by.description), orNull(row.standing.closedMs),
        ]
        let set = """
            user_limit = ?, opens_at = ?, closes_at = ?, state = ?, created_at = ?,
            created_by = ?, closed_at = ?
            """
        switch row.family {
        case .rain:
            try engine.run(
                "UPDATE rains SET \(set) WHERE pool = ?", values + [.text(row.name.description)])
        case .stock:
            // Refills count once the pool's creation is known.
            values.append(row.created ? .integer(row.treasury.funded) : .null)
            try engine.run(
                "UPDATE stock SET \(set), units = coalesce(?, units) WHERE sku = ?",
                values + [.text(row.name.description)])
        }
    }

    /// Publishes a closed rain's seed, which nobody could read in `rains` before.
    private func reveal(_ row: PoolRow) throws {
        let key = Self.value(row.key)
        try engine.run(
            """
            UPDATE rains SET seed = (SELECT seed FROM pool_secrets WHERE `key` = ?)
            WHERE pool = ? AND seed IS NULL
            """, [key, .text(row.name.description)])
        try engine.run("DELETE FROM pool_secrets WHERE `key` = ?", [key])
    }

    private func writeSlices() throws {
        for isNew in [true, false] {
            let slices = books.slices.filter { $0.isNew == isNew }
            let table = isNew ? LedgerTables.newSlices : LedgerTables.slices
            try engine.write(table, rows: slices.count) { index, sink in
                LedgerTables.put(slices[index].row, sink)
            }
        }
    }

    private func writeOrders() throws {
        for isNew in [true, false] {
            let orders = books.orders.filter { $0.isNew == isNew }
            let table = isNew ? LedgerTables.newOrders : LedgerTables.orders
            try engine.write(table, rows: orders.count) { index, sink in
                let record = orders[index].record
                LedgerTables.put(record, sku: books.name(of: record.pool), sink)
                if isNew { sink.put(orNull: Int64(bitPattern: record.requestHash)) }
            }
        }
        let payments = books.payments
        try engine.write(LedgerTables.payments, rows: payments.count) { index, sink in
            sink.put(payments[index].id)
            sink.put(OrderIDText.text(payments[index].order))
            sink.put(payments[index].payment)
            sink.put(payments[index].fen)
            sink.put(payments[index].outcome.rawValue)
            sink.put(payments[index].timeMs)
        }
        let refunds = books.refunds
        try engine.write(LedgerTables.refunds, rows: refunds.count) { index, sink in
            sink.put(refunds[index].id)
            sink.put(OrderIDText.text(refunds[index].order))
            sink.put(refunds[index].request)
            sink.put(refunds[index].fen)
            sink.put(refunds[index].restocked)
            sink.put(refunds[index].timeMs)
        }
        let movements = books.movements
        try engine.write(LedgerTables.movements, rows: movements.count) { index, sink in
            sink.put(movements[index].id)
            sink.put(books.name(of: movements[index].pool))
            if let order = movements[index].order {
                sink.put(OrderIDText.text(order))
            } else {
                sink.putNull()
            }
            sink.put(movements[index].kind.rawValue)
            sink.put(movements[index].units)
            sink.put(movements[index].timeMs)
        }
        let events = books.events
        try engine.write(LedgerTables.outbox, rows: events.count) { index, sink in
            sink.put(events[index].id)
            sink.put(events[index].name)
            sink.put(events[index].type)
            sink.put(events[index].subject)
            sink.put(events[index].timeMs)
            sink.put(events[index].data)
        }
    }

    private func writeClaims(_ batch: EntryBatch) throws {
        sortByKey(batch)
        try engine.write(LedgerTables.claims, rows: sorted.count) { index, sink in
            sink.put(sorted[index].grantID)
            sink.put(stable: try books.name(of: sorted[index]))
            sink.put(user: sorted[index].user)
            sink.put(sorted[index].packet)
            sink.put(sorted[index].amountFen)
            sink.put(sorted[index].timeMs)
            sink.put(orNull: Int64(bitPattern: sorted[index].requestHash))
        }
    }

    /// Indexes the claims of slices that leave memory by their users, where the engine has no such
    /// index: in the order of the index, so that it is written from front to back. O(n log n) of the
    /// shard's claims since the slice was opened, a second for a million.
    private func indexArchived(_ batch: EntryBatch) throws {
        guard !engine.indexesUsers else { return }
        for other in batch.others {
            guard case .sliceArchived(let key, _, let sequence) = other.entry,
                books.family(of: key) == .rain
            else { continue }
            let first = EntryID.of(shard: other.header.shard, sequence: sequence)
            let last = EntryID.of(shard: other.header.shard, sequence: other.header.sequence)
            try engine.run(
                """
                INSERT INTO archived_claims (first_id, user, grant_id)
                SELECT ?, user, grant_id FROM claims
                WHERE grant_id >= ? AND grant_id <= ? AND pool = ? ORDER BY user, grant_id
                """,
                [
                    .integer(first), .integer(first), .integer(last),
                    .text(books.name(of: key).description),
                ])
            try engine.run(
                "INSERT INTO archived_slices (first_id, last_id) VALUES (?, ?)",
                [.integer(first), .integer(last)])
        }
    }

    /// A counting sort by shard: within one, claims come in sequence already.
    private func sortByKey(_ batch: EntryBatch) {
        let shards = (batch.ranges.map { Int($0.shard) }.max() ?? 0) + 1
        starts.removeAll(keepingCapacity: true)
        starts.append(contentsOf: repeatElement(0, count: shards + 1))
        for claim in batch.claims { starts[Int(EntryID.shard(of: claim.grantID)) + 1] += 1 }
        for shard in 0..<shards { starts[shard + 1] += starts[shard] }
        sorted.removeAll(keepingCapacity: true)
        guard let any = batch.claims.first else { return }
        sorted.append(contentsOf: repeatElement(any, count: batch.claims.count))
        for claim in batch.claims {
            let shard = Int(EntryID.shard(of: claim.grantID))
            sorted[starts[shard]] = claim
            starts[shard] += 1
        }
    }
}
