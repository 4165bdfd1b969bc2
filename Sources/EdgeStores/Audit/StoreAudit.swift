public import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeTypes

/// How an audit spends memory.
public struct AuditOptions: Sendable {
    /// Orders folded at a time: some 250 bytes each. More are taken in further passes over the
    /// journal.
    public var ordersAtOnce = 1_000_000
    /// Rows of the store held at a time, over all shards.
    public var rowsAtOnce = 262_144
    /// Entries of the journal held at a time.
    public var batchEntries = 16_384
    /// Bytes of the sketch that clears users of exceeding their limit.
    public var sketchBytes = 1 << 27
    /// Users counted exactly at a time: some 60 bytes each.
    public var usersAtOnce = 2_000_000

    public init() {}
}

/// Compares what the journal says with what the store holds, row by row, to the fen.
///
/// The journal is read up to the store's watermarks and merged with the store in key order: memory
/// depends on the options, the number of pools and slices, and n / 8 bytes for n packets granted
/// in the worst order, not on the number of claims. The store is read in one transaction: a
/// reconciler may go on, and its write-ahead log grows until the audit ends.
public enum StoreAudit {
    /// How far a store has applied each shard.
    ///
    /// - Throws: `StoreError`.
    public static func watermarks(store: StoreURL) throws -> WatermarkTable {
        let engine = try store.openForReading()
        defer { engine.close() }
        return try LedgerReader(engine: engine).watermarks()
    }

    /// - Parameters:
    ///   - sources: every lane of the journal, in any order. They are read from their start,
    ///     possibly again.
    ///   - progress: called now and then with the number of entries read.
    /// - Throws: `StoreError`, `SourceError`. What does not agree is in the report.
    public static func run(
        store: StoreURL, sources: [any EntrySource], options: AuditOptions = AuditOptions(),
        progress: (Int64) -> Void = { _ in }
    ) throws -> AuditReport {
        try run(store: store, options: options, progress: progress) { _ in sources }
    }

    /// - Parameter openSources: is told how far the store was at the moment that is compared.
    public static func run(
        store: StoreURL, options: AuditOptions = AuditOptions(),
        progress: (Int64) -> Void = { _ in },
        openSources: (WatermarkTable) throws -> [any EntrySource]
    ) throws -> AuditReport {
        let engine = try store.openForReading()
        defer { engine.close() }
        return try engine.transaction(.snapshot) {
            let marks = try LedgerReader(engine: engine).watermarks()
            return try AuditPass(engine, try openSources(marks), options).run(progress)
        }
    }
}

/// One audit: its state and its main pass.
final class AuditPass {
    let engine: any SQLEngine
    let options: AuditOptions
    var sources: [any EntrySource]
    let marks: WatermarkTable
    var report = AuditReport()
    var fold = LedgerFold(keepsUsers: false)
    var sketch: UserSketch
    /// Packets in the store, by pool: a row more for one of them shows.
    var stored: [PoolKey: PacketSet] = [:]
    /// The journal holds every shard from its first entry: folds are worth comparing.
    private(set) var isComplete = true
    private let claims: ShardRows<StoredClaim>
    private let payments: ShardRows<StoredPayment>
    private let refunds: ShardRows<StoredRefund>
    private let movements: ShardRows<StoredMovement>

    init(
        _ engine: any SQLEngine, _ sources: [any EntrySource], _ options: AuditOptions
    ) throws {
        self.engine = engine
        self.sources = sources.sorted { $0.generation < $1.generation }
        self.options = options
        marks = try LedgerReader(engine: engine).watermarks()
        var rows = 0
        try engine.read("SELECT count(*) FROM claims", []) { row in rows = Int(row.integer(0)) }
        sketch = UserSketch(claims: rows, mostBytes: options.sketchBytes)
        let window = max(16, options.rowsAtOnce / max(1, marks.shards.count))
        claims = ShardRows(
            engine, table: "claims", key: "grant_id", columns: StoredClaim.columns,
            rowsAtOnce: min(window, 1_024), parse: StoredClaim.init)
        payments = ShardRows(
            engine, table: "payments", key: "id", columns: StoredPayment.columns,
            rowsAtOnce: 16, parse: StoredPayment.init)
        refunds = ShardRows(
            engine, table: "refunds", key: "id", columns: StoredRefund.columns, rowsAtOnce: 16,
            parse: StoredRefund.init)
        movements = ShardRows(
            engine, table: "stock_movements", key: "id", columns: StoredMovement.columns,
            rowsAtOnce: 16, parse: StoredMovement.init)
    }

    func run(_ progress: (Int64) -> Void) throws -> AuditReport {
        let parts = try orderParts()
        fold.startOrderPart(parts[0])
        let reached = try readJournal(progress) { try self.take($0) }
        for shard in marks.shards where reached[shard].sequence < marks[shard].sequence {
            report.add(
                .journalShort, "shard \(shard)", "last sequence",
                expected: "the store's \(marks[shard].sequence)",
                found: "\(reached[shard].sequence)")
        }
        try claims.drain { row in self.extra(row) }
        try payments.drain { row in self.extra(row) }
        try refunds.drain { row in self.extra(row) }
        try movements.drain { row in self.extra(row) }
        try compareOrders(parts[0])
        for part in parts.dropFirst() {
            fold.startOrderPart(part)
            _ = try readJournal(progress) { try self.takeOrders($0) }
            try compareOrders(part)
        }
        fold.endOrderPart()
        if isComplete {
            try comparePools()
            try compareSlices()
            try checkUsers()
            report.merge(fold.checkEnd())
        }
        return report
    }

    /// Reads every lane from its start as far as the store has it.
    ///
    /// - Returns: where each shard's journal ends, at most at the store's watermark.
    private func readJournal(
        _ progress: (Int64) -> Void, _ body: (EntryBatch) throws -> Void
    ) throws -> WatermarkTable {
        var batch = EntryBatch(capacity: options.batchEntries, adoptsStarts: true)
        var read: Int64 = 0
        for index in sources.indices {
            try sources[index].seek(nil)
            var more = true
            while more {
                batch.next()
                more = try sources[index].read(into: &batch)
                if batch.isEmpty { break }
                try body(batch)
                read += Int64(batch.count)
                progress(read)
            }
        }
        return batch.marks
    }

    private func take(_ batch: EntryBatch) throws {
        for range in batch.ranges {
            let first = range.from.sequence + 1
            if first > 1, !isOpen(range.shard) { isComplete = false }
            try open(range.shard, at: first)
            let mark = marks[range.shard]
            if range.to.sequence == mark.sequence, range.to != mark { otherHistory(range, mark) }
        }
        var next = 0
        for other in batch.others {
            while next < other.claimsBefore {
                try take(batch.claims[next])
                next += 1
            }
            try take(other.header, other.entry)
        }
        while next < batch.claims.count {
            try take(batch.claims[next])
            next += 1
        }
    }

    private var openShards: Set<ShardID> = []

    private func isOpen(_ shard: ShardID) -> Bool { openShards.contains(shard) }

    private func open(_ shard: ShardID, at sequence: UInt64) throws {
        guard openShards.insert(shard).inserted else { return }
        report.beyondJournal += try claims.open(shard, at: sequence)
        report.beyondJournal += try payments.open(shard, at: sequence)
        report.beyondJournal += try refunds.open(shard, at: sequence)
        report.beyondJournal += try movements.open(shard, at: sequence)
    }

    private func otherHistory(_ range: ShardRange, _ mark: Watermark) {
        report.add(
            .journalShort, "shard \(range.shard)", "entry at sequence \(mark.sequence)",
            expected: "epoch \(mark.epoch), time \(mark.timeMs)",
            found: "epoch \(range.to.epoch), time \(range.to.timeMs)")
    }

    // MARK: Claims

    private func take(_ record: ClaimRecord) throws {
        let shard = EntryID.shard(of: record.grantID)
        guard EntryID.sequence(of: record.grantID) <= marks[shard].sequence else { return }
        report.entries += 1
        report.claims += 1
        report.claimsFen += record.amountFen
        folding { fold throws(HistoryFault) in try fold.apply(record) }
        sketch.add(record.pool, record.user)
        while let row = try claims.peek(shard) {
            if row.id > record.grantID { break }
            claims.pop(shard)
            if row.id == record.grantID {
                compare(record, row)
                return
            }
            extra(row)
        }
        report.add(
            .claimMissing, words(record), "row", expected: "\(record.amountFen) fen",
            found: "none")
    }

    private func compare(_ record: ClaimRecord, _ row: StoredClaim) {
        keep(row)
        func differs(_ field: String, _ expected: String, _ found: String) {
            report.add(
                .claimDiffers, words(record), field, expected: expected, found: found)
        }
        if row.amountFen != record.amountFen {
            differs("amount", "\(record.amountFen)", "\(row.amountFen)")
        } else if row.pool != record.pool {
            differs("pool", fold.name(record.pool), fold.name(row.pool))
        } else if row.user != record.user {
            differs("user", "\(record.user)", row.user.map { "\($0)" } ?? "no user")
        } else if row.packet != record.packet {
            differs("packet", "\(record.packet)", "\(row.packet)")
        } else if row.timeMs != record.timeMs {
            differs("granted_at", "\(record.timeMs)", "\(row.timeMs)")
        } else if let hash = row.requestHash, hash != record.requestHash {
            differs("request_hash", "\(record.requestHash)", "\(hash)")
        }
    }

    private func extra(_ row: StoredClaim) {
        keep(row)
        if let user = row.user { sketch.add(row.pool, user) }
        report.add(
            .claimExtra, words(row), "row", expected: "none", found: "\(row.amountFen) fen")
    }

    /// Notes a row of the store: no packet has two.
    private func keep(_ row: StoredClaim) {
        guard row.packet >= 0, row.packet < Limits.unitsPerPool else { return }
        if !stored[row.pool, default: PacketSet()].insert(row.packet) {
            report.add(
                .claimDoubled, words(row), "rows of packet \(row.packet)", expected: "one",
                found: "another")
        }
    }

    private func words(_ row: StoredClaim) -> String {
        "claim of pool \(fold.name(row.pool)), packet \(row.packet), "
            + "user \(row.user.map { "\($0)" } ?? "?") (\(Self.place(row.id)))"
    }

    private func words(_ record: ClaimRecord) -> String {
        "claim of pool \(fold.name(record.pool)), packet \(record.packet), user \(record.user) "
            + "(\(Self.place(record.grantID)))"
    }

    static func place(_ id: Int64) -> String {
        "shard \(EntryID.shard(of: id)), sequence \(EntryID.sequence(of: id))"
    }

    // MARK: Other entries

    private func take(_ header: EntryHeader, _ entry: Entry) throws {
        guard header.sequence <= marks[header.shard].sequence else { return }
        report.entries += 1
        folding { fold throws(HistoryFault) in try fold.apply(header, entry) }
        let id = EntryID.of(shard: header.shard, sequence: header.sequence)
        switch entry {
        case .orderPaid(let paid):
            report.payments += 1
            try compare(
                StoredPayment(
                    id: id, order: OrderIDText.text(paid.order), payment: paid.payment,
                    fen: paid.amountFen, outcome: paid.late ? "late" : "captured",
                    timeMs: header.timeMs), payments)
        case .paymentRefused(let refused):
            report.payments += 1
            try compare(
                StoredPayment(
                    id: id, order: OrderIDText.text(refused.order), payment: refused.payment,
                    fen: refused.amountFen, outcome: "refund_due", timeMs: header.timeMs),
                payments)
        case .orderRefunded(let refund):
            report.refunds += 1
            try compare(
                StoredRefund(
                    id: id, order: OrderIDText.text(refund.order), request: refund.request,
                    fen: refund.amountFen, restocked: Int64(refund.restock),
                    timeMs: header.timeMs), refunds)
        case .claim, .orderReserved, .orderCancelled, .orderExpired, .poolCreated,
            .poolControlled, .poolFunded, .poolLeased, .poolTookBack, .poolClosed, .poolSoldOut,
            .poolMoved, .sliceOpened, .sliceControlled, .sliceCredited, .sliceReturned,
            .sliceQuarantined, .sliceResolved, .sliceArchived, .poolResolved:
            break
        }
        if let movement = movement(of: entry) {
            try compare(
                StoredMovement(
                    id: id,
                    sku: movement.pool.flatMap { fold.pool($0) }.map { "\($0.definition.name)" }
                        ?? "",
                    order: movement.order.map { OrderIDText.text($0) } ?? "",
                    movement: movement.kind.rawValue, units: movement.units,
                    timeMs: header.timeMs), movements)
        }
    }

    private typealias Movement = (
        pool: PoolKey?, order: OrderID?, kind: StockMovement.Kind, units: Int64
    )

    /// What the entry moved.
    private func movement(of entry: Entry) -> Movement? {
        switch entry {
        case .poolCreated(let definition, _):
            guard definition.kind == .stock else { return nil }
            return (PoolKey.of(.stock, definition.name), nil, .funded, definition.units)
        case .poolFunded(let pool, let units, _, _): return (pool, nil, .funded, units)
        case .orderReserved(let order):
            return (order.pool, order.order, .reserved, Int64(order.quantity))
        case .orderPaid(let paid):
            return of(paid.order, paid.late ? .paidLate : .paid)
        case .orderCancelled(let order): return of(order, .cancelled)
        case .orderExpired(let order): return of(order, .expired)
        case .orderRefunded(let refund):
            return refund.restock > 0
                ? of(refund.order, .restocked, Int64(refund.restock)) : nil
        case .claim, .paymentRefused, .poolControlled, .poolLeased, .poolTookBack, .poolClosed,
            .poolSoldOut, .poolMoved, .sliceOpened, .sliceControlled, .sliceCredited,
            .sliceReturned, .sliceQuarantined, .sliceResolved, .sliceArchived, .poolResolved:
            return nil
        }
    }

    private func of(
        _ order: OrderID, _ kind: StockMovement.Kind, _ units: Int64? = nil
    ) -> Movement {
        // Orders that are folded in a later pass are not known yet.
        guard let index = fold.index(of: order) else { return (nil, order, kind, units ?? 0) }
        let record = fold.orders[index]
        return (record.pool, order, kind, units ?? Int64(record.quantity))
    }

    private func takeOrders(_ batch: EntryBatch) throws {
        for other in batch.others {
            guard other.header.sequence <= marks[other.header.shard].sequence else { continue }
            folding { fold throws(HistoryFault) in
                try fold.applyOrders(other.header, other.entry)
            }
        }
    }

    /// A fault is a finding where the journal is whole; else the beginning is what is missing.
    private func folding(_ body: (inout LedgerFold) throws(HistoryFault) -> Void) {
        do {
            try body(&fold)
        } catch {
            guard isComplete else { return }
            report.add(
                .history, "shard \(error.shard), sequence \(error.sequence)", "entry",
                expected: "one that the rules allow", found: "\(error)")
        }
    }

    /// Finds the row of an entry among those of its shard; what comes before it is too much.
    private func compare<Row: EntryWords>(_ expected: Row, _ rows: ShardRows<Row>) throws {
        let shard = EntryID.shard(of: expected.id)
        while let row = try rows.peek(shard), row.id <= expected.id {
            rows.pop(shard)
            guard row.id == expected.id else {
                extra(row)
                continue
            }
            if !expected.matches(row) {
                report.add(
                    Row.differs, words(expected), "row", expected: "\(expected)", found: "\(row)")
            }
            return
        }
        report.add(
            Row.missing, words(expected), "row", expected: expected.amount, found: "none")
    }

    private func extra<Row: EntryWords>(_ row: Row) {
        report.add(Row.extra, words(row), "row", expected: "none", found: row.amount)
    }

    private func words<Row: EntryWords>(_ row: Row) -> String {
        "\(row.words) (\(Self.place(row.id)))"
    }
}
