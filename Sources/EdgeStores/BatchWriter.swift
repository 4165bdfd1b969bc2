import EdgeLedger
import EdgeReconciler
import EdgeTypes
import GRDB

/// Writes batches inside a transaction that its caller opens and ends.
///
/// Pools, slices and orders that a batch touches are read once, changed by the ledger's rules and
/// written once; claims go in as they are, many a statement, each shard's run in key order.
final class BatchWriter {
    private static let claimsAtOnce = 32

    private let insertClaims: HotStatement
    private let insertClaim: HotStatement
    private let selectWatermark: HotStatement
    private let upsertWatermark: HotStatement
    private let upsertCursor: HotStatement
    let pools: PoolWriter
    let orders: OrderWriter

    /// Claims of the batch in key order; kept for its storage.
    private var sorted: [ClaimRecord] = []
    private var starts: [Int] = []

    init(_ database: Database) throws(StoreError) {
        let row = "(?, ?, ?, ?, ?, ?)"
        let insert = "INSERT INTO claims (grant_id, pool, user, packet, amount, granted_at) VALUES "
        insertClaim = try HotStatement(database, insert + row)
        insertClaims = try HotStatement(
            database,
            insert + Array(repeating: row, count: Self.claimsAtOnce).joined(separator: ","))
        selectWatermark = try HotStatement(
            database, "SELECT epoch, sequence, time FROM watermarks WHERE shard = ?")
        upsertWatermark = try HotStatement(
            database,
            """
            INSERT INTO watermarks (shard, epoch, sequence, time) VALUES (?, ?, ?, ?)
            ON CONFLICT (shard) DO UPDATE SET
                epoch = excluded.epoch, sequence = excluded.sequence, time = excluded.time
            """)
        upsertCursor = try HotStatement(
            database,
            """
            INSERT INTO cursors (lane, segment, offset) VALUES (?, ?, ?)
            ON CONFLICT (lane) DO UPDATE SET
                segment = excluded.segment, offset = excluded.offset
            """)
        pools = try PoolWriter(database)
        orders = try OrderWriter(database, pools)
    }

    func apply(_ batch: EntryBatch) throws {
        for range in batch.ranges {
            do {
                try WatermarkRule.check(range, store: try watermark(range.shard))
            } catch let refusal as WatermarkRefusal {
                throw StoreError.refused(refusal)
            }
        }
        do {
            try fold(batch)
        } catch let fault as HistoryFault {
            throw StoreError.history(fault)
        }
        try writeClaims(batch)
        try orders.writeBack()
        try pools.writeBack()
        for range in batch.ranges { try move(range) }
    }

    /// Once the transaction is committed: what it read need not be kept.
    func finish() {
        orders.finish()
        pools.finish()
    }

    func keep(_ cursor: SourceCursor, lane: String) throws(StoreError) {
        upsertCursor.bind(1, lane)
        upsertCursor.bind(2, Int64(bitPattern: cursor.segment))
        upsertCursor.bind(3, Int64(bitPattern: cursor.offset))
        try upsertCursor.run()
    }

    private func watermark(_ shard: ShardID) throws(StoreError) -> Watermark {
        selectWatermark.bind(1, Int64(shard))
        guard try selectWatermark.step() else { return .origin }
        defer { selectWatermark.reset() }
        guard let epoch = UInt32(exactly: selectWatermark.integer(0)),
            let sequence = UInt64(exactly: selectWatermark.integer(1))
        else { throw .badRow("watermark of shard \(shard)") }
        return Watermark(
            epoch: epoch, sequence: sequence, timeMs: selectWatermark.integer(2))
    }

    private func move(_ range: ShardRange) throws(StoreError) {
        upsertWatermark.bind(1, Int64(range.shard))
        upsertWatermark.bind(2, Int64(range.to.epoch))
        upsertWatermark.bind(3, Int64(range.to.sequence))
        upsertWatermark.bind(4, range.to.timeMs)
        try upsertWatermark.run()
    }

    /// Takes the entries in order: claims move their slice's books, the rest what it touches.
    private func fold(_ batch: EntryBatch) throws {
        var next = 0
        for other in batch.others {
            while next < other.claimsBefore {
                try pools.claim(batch.claims[next])
                next += 1
            }
            switch other.entry {
            case .claim: preconditionFailure("claims lie apart")
            case .orderReserved, .orderPaid, .orderCancelled, .orderExpired, .orderRefunded,
                .paymentRefused:
                try orders.apply(other.header, other.entry)
            case .poolCreated, .poolControlled, .poolFunded, .poolLeased, .poolTookBack,
                .poolClosed, .poolSoldOut, .poolMoved, .sliceOpened, .sliceControlled,
                .sliceCredited,
                .sliceReturned,
                .sliceQuarantined, .sliceResolved, .poolResolved:
                try pools.apply(other.header, other.entry, events: orders.events)
            }
        }
        while next < batch.claims.count {
            try pools.claim(batch.claims[next])
            next += 1
        }
    }

    private func writeClaims(_ batch: EntryBatch) throws {
        sortByKey(batch)
        var next = 0
        while sorted.count - next >= Self.claimsAtOnce {
            for row in 0..<Self.claimsAtOnce {
                try bind(insertClaims, Int32(row * 6), sorted[next + row])
            }
            try insertClaims.run()
            next += Self.claimsAtOnce
        }
        while next < sorted.count {
            try bind(insertClaim, 0, sorted[next])
            try insertClaim.run()
            next += 1
        }
    }

    @inline(__always)
    private func bind(
        _ statement: HotStatement, _ base: Int32, _ record: ClaimRecord
    ) throws {
        statement.bind(base + 1, record.grantID)
        statement.bind(base + 2, stable: try pools.name(of: record))
        statement.bind(base + 3, user: record.user)
        statement.bind(base + 4, record.packet)
        statement.bind(base + 5, record.amountFen)
        statement.bind(base + 6, record.timeMs)
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
