public import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeTypes
import GRDB

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
    public static func watermarks(storePath: String) throws -> WatermarkTable {
        let queue = try SQLiteFile.openForReading(path: storePath)
        defer { try? queue.close() }
        return try queue.inDatabase { try SQLiteRows.watermarks($0) }
    }

    /// - Parameters:
    ///   - storePath: the file of the store.
    ///   - sources: every lane of the journal, in any order. They are read from their start,
    ///     possibly again.
    ///   - progress: called now and then with the number of entries read.
    /// - Throws: `StoreError`, `SourceError`. What does not agree is in the report.
    public static func run(
        storePath: String, sources: [any EntrySource], options: AuditOptions = AuditOptions(),
        progress: (Int64) -> Void = { _ in }
    ) throws -> AuditReport {
        let queue = try SQLiteFile.openForReading(path: storePath)
        defer { try? queue.close() }
        return try queue.inDatabase { database in
            try database.execute(sql: "BEGIN DEFERRED")
            defer { try? database.execute(sql: "COMMIT") }
            let pass = try AuditPass(database, sources, options)
            return try pass.run(progress)
        }
    }
}

/// One audit: its state and its main pass.
final class AuditPass {
    let database: Database
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

    init(
        _ database: Database, _ sources: [any EntrySource], _ options: AuditOptions
    ) throws {
        self.database = database
        self.sources = sources.sorted { $0.generation < $1.generation }
        self.options = options
        marks = try SQLiteRows.watermarks(database)
        let rows = try Int.fetchOne(database, sql: "SELECT count(*) FROM claims") ?? 0
        sketch = UserSketch(claims: rows, mostBytes: options.sketchBytes)
        let window = max(16, options.rowsAtOnce / max(1, marks.shards.count))
        claims = try ShardRows(
            database, table: "claims", key: "grant_id", columns: StoredClaim.columns,
            rowsAtOnce: min(window, 1_024)
        ) { row in
            StoredClaim(
                id: row.integer(0), pool: PoolKey.of(.rain, bytes: row.bytes(1)),
                user: row.user(2), packet: row.integer(3), amountFen: row.integer(4),
                timeMs: row.integer(5))
        }
        payments = try ShardRows(
            database, table: "payments", key: "id", columns: StoredPayment.columns,
            rowsAtOnce: 16
        ) { row in
            StoredPayment(
                id: row.integer(0), order: row.text(1), payment: row.text64(2),
                fen: row.integer(3), outcome: row.text(4), timeMs: row.integer(5))
        }
        refunds = try ShardRows(
            database, table: "refunds", key: "id", columns: StoredRefund.columns, rowsAtOnce: 16
        ) { row in
            StoredRefund(
                id: row.integer(0), order: row.text(1), request: row.text64(2),
                fen: row.integer(3), restocked: row.integer(4), timeMs: row.integer(5))
        }
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
        try claims.drain { row throws(StoreError) in self.extra(row) }
        try payments.drain { row throws(StoreError) in self.extra(row) }
        try refunds.drain { row throws(StoreError) in self.extra(row) }
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
            try comparePayment(
                StoredPayment(
                    id: id, order: OrderIDText.text(paid.order), payment: paid.payment,
                    fen: paid.amountFen, outcome: paid.late ? "late" : "captured",
                    timeMs: header.timeMs))
        case .paymentRefused(let refused):
            try comparePayment(
                StoredPayment(
                    id: id, order: OrderIDText.text(refused.order), payment: refused.payment,
                    fen: refused.amountFen, outcome: "refund_due", timeMs: header.timeMs))
        case .orderRefunded(let refund):
            try compareRefund(
                StoredRefund(
                    id: id, order: OrderIDText.text(refund.order), request: refund.request,
                    fen: refund.amountFen, restocked: Int64(refund.restock),
                    timeMs: header.timeMs))
        case .claim, .orderReserved, .orderCancelled, .orderExpired, .poolCreated,
            .poolControlled, .poolFunded, .poolLeased, .poolTookBack, .poolClosed, .poolSoldOut,
            .poolMoved,
            .sliceOpened,
            .sliceControlled, .sliceCredited, .sliceReturned, .sliceQuarantined, .sliceResolved,
            .poolResolved:
            break
        }
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

    private func comparePayment(_ expected: StoredPayment) throws {
        report.payments += 1
        let shard = EntryID.shard(of: expected.id)
        let words = "payment of order \(expected.order) (\(Self.place(expected.id)))"
        while let row = try payments.peek(shard), row.id <= expected.id {
            payments.pop(shard)
            guard row.id == expected.id else {
                extra(row)
                continue
            }
            if row != expected {
                report.add(
                    .paymentDiffers, words, "payment", expected: "\(expected)", found: "\(row)")
            }
            return
        }
        report.add(
            .paymentMissing, words, "row", expected: "\(expected.fen) fen", found: "none")
    }

    private func compareRefund(_ expected: StoredRefund) throws {
        report.refunds += 1
        let shard = EntryID.shard(of: expected.id)
        let words = "refund of order \(expected.order) (\(Self.place(expected.id)))"
        while let row = try refunds.peek(shard), row.id <= expected.id {
            refunds.pop(shard)
            guard row.id == expected.id else {
                extra(row)
                continue
            }
            if row != expected {
                report.add(
                    .refundDiffers, words, "refund", expected: "\(expected)", found: "\(row)")
            }
            return
        }
        report.add(
            .refundMissing, words, "row", expected: "\(expected.fen) fen", found: "none")
    }

    private func extra(_ row: StoredPayment) {
        report.add(
            .paymentExtra, "payment of order \(row.order) (\(Self.place(row.id)))", "row",
            expected: "none", found: "\(row.fen) fen")
    }

    private func extra(_ row: StoredRefund) {
        report.add(
            .refundExtra, "refund of order \(row.order) (\(Self.place(row.id)))", "row",
            expected: "none", found: "\(row.fen) fen")
    }
}
