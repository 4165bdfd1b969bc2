public import EdgeLedger
import EdgeMemory
public import EdgeReconciler
public import EdgeTypes

/// A store as the reconciler sees it: transactions, watermarks, and the ways in which a database
/// fails its client.
///
/// It models what is promised, not an engine: a transaction is applied whole or not at all, and an
/// error may come before or after it took effect. Rows are what they add up to (`LedgerFold`). It
/// outlives its node, as a database would.
public final class StoreModel: LedgerStore {
    public struct Faults: Sendable {
        public var isDown = false
        /// Transactions commit and their connection breaks.
        public var losesAnswers = false
        public var deadlocks = false
        /// How many times as long everything takes.
        public var slowness = 1.0
        public init() {}
    }

    public var faults = Faults()
    /// A built-in bug of the reconciliation.
    let mutant: Mutant
    public private(set) var fold = LedgerFold()
    public private(set) var marks = WatermarkTable()
    private var cursors: [(lane: String, cursor: SourceCursor)] = []
    public private(set) var transactions = 0
    /// A transaction under way whose client is gone.
    private var late: EntryBatch?
    public private(set) var lostAnswers = 0
    /// What the history's own rules refused: the end of the run.
    public private(set) var fault: HistoryFault?
    /// Payments that are to be given back, and payments that bought, as (order, payment).
    public private(set) var payments: [Payment] = []
    /// What followers read; nil: nobody follows this store.
    var rows: RowsModel?
    private var books = BatchBooks()
    /// Watches what is committed, whoever is told of it.
    var committed: (StoreChanges) -> Void = { _ in }

    /// Claims by their user, where they are asked for.
    private var claims: [ClaimKey: [ClaimRecord]] = [:]
    private let keepsClaims: Bool
    /// The highest that each shard ever stood at, also before a backup was restored.
    public private(set) var highest = WatermarkTable()

    /// What orders do not say themselves: the request that made each, and its refunds.
    private var requests: [OrderID: UInt64] = [:]
    private var refunds: [OrderID: [OrderRefunded]] = [:]

    private struct ClaimKey: Hashable {
        var pool: PoolKey
        var user: UserID
    }

    private struct Backup {
        var id: UInt64
        var claims: [ClaimKey: [ClaimRecord]]
        var requests: [OrderID: UInt64]
        var refunds: [OrderID: [OrderRefunded]]
        var fold: LedgerFold
        var marks: WatermarkTable
        var cursors: [(lane: String, cursor: SourceCursor)]
        var payments: [Payment]
        var rows: RowsModel?
    }

    private var backups: [Backup] = []

    public struct Payment: Hashable, Sendable {
        public var order: OrderID
        public var payment: Text64
        public var bought: Bool
    }

    /// - Parameter keepsClaims: whether it is asked for users' claims (`claims`).
    public init(mutant: Mutant, keepsClaims: Bool = false) {
        self.mutant = mutant
        self.keepsClaims = keepsClaims
    }

    /// What a question about an archived slice finds.
    func claims(_ question: ArchivedQuestion) -> [ArchivedClaim] {
        let key = ClaimKey(pool: .of(.rain, question.pool), user: question.user)
        return (claims[key] ?? []).filter { (question.first...question.last).contains($0.grantID) }
            .sorted { $0.grantID < $1.grantID }
            .map {
                ArchivedClaim(
                    packet: $0.packet, amountFen: $0.amountFen, timeMs: $0.timeMs,
                    requestHash: $0.requestHash)
            }
    }

    /// What a question about an archived slice's orders finds.
    func orders(_ question: ArchivedOrders) -> [StoredOrder] {
        switch question.operation {
        case .orders, .reserve:
            let key = PoolKey.of(.stock, question.sku)
            return fold.orders.filter {
                $0.pool == key && $0.slice == question.slice && $0.user == question.user
                    && (question.operation == .orders
                        || requests[$0.order] == question.requestHash)
            }
            .sorted { $0.order.rawValue > $1.order.rawValue }
            .map { StoredOrder(record: $0, sku: question.sku) }
        default:
            guard let record = fold.order(question.order),
                let sku = Text64(fold.name(record.pool).utf8)
            else { return [] }
            return [StoredOrder(record: record, sku: sku, known: known(question))]
        }
    }

    private func known(_ question: ArchivedOrders) -> RecalledOrder.Known {
        if question.operation == .orderRefund {
            let refund = refunds[question.order]?.first { $0.request == question.text }
            return refund.map { .refund(amountFen: $0.amountFen, restocked: $0.restock) } ?? .new
        }
        let payment = payments.first {
            $0.order == question.order && $0.payment == question.text
        }
        return payment.map { $0.bought ? .bought : .refused } ?? .new
    }

    private func note(_ record: ClaimRecord) {
        guard keepsClaims else { return }
        claims[ClaimKey(pool: record.pool, user: record.user), default: []].append(record)
    }

    private func reached(_ range: ShardRange) {
        marks[range.shard] = range.to
        if range.to.sequence > highest[range.shard].sequence { highest[range.shard] = range.to }
    }

    public func watermarks() throws(StoreError) -> WatermarkTable {
        if faults.isDown { throw .cannotOpen("the store is down") }
        return marks
    }

    public func cursor(lane: String) throws(StoreError) -> SourceCursor? {
        if faults.isDown { throw .cannotOpen("the store is down") }
        return cursors.first { $0.lane == lane }?.cursor
    }

    /// The segment of a lane that it has come to; nil: none of it yet.
    func segment(ofLane lane: String) -> UInt64? {
        cursors.first { $0.lane == lane }?.cursor.segment
    }

    public func apply(
        _ batch: EntryBatch, cursors moved: [(lane: String, cursor: SourceCursor)]
    ) throws(StoreError) -> StoreChanges {
        if faults.isDown { throw .io("the connection was refused") }
        if let late { commitLate(late) }
        if faults.deadlocks, transactions % 2 == 0 {
            transactions += 1
            if mutant == .halfOfATransaction {
                for claim in batch.claims.prefix((batch.claims.count + 1) / 2) {
                    try? fold.apply(claim)
                }
            }
            if mutant == .rowsLostInDeadlock {
                for range in batch.ranges { marks[range.shard] = range.to }
            }
            throw .engine(code: 1213, "deadlock found when trying to get lock")
        }
        try check(batch)
        transactions += 1
        if faults.losesAnswers, transactions % 3 == 1 {
            // The connection breaks while the server goes on: it commits when nobody looks.
            late = batch
            throw .io("the connection was lost")
        }
        let changes: StoreChanges
        do throws(HistoryFault) {
            changes = try insert(batch)
        } catch {
            fault = error
            throw .history(error)
        }
        let breaks = faults.losesAnswers && transactions % 3 == 0
        if !(mutant == .watermarkOutside && breaks) {
            for range in batch.ranges { reached(range) }
            for move in moved { keep(move) }
        }
        if breaks {
            lostAnswers += 1
            throw .io("the connection was lost while committing")
        }
        return changes
    }

    private func check(_ batch: EntryBatch) throws(StoreError) {
        for range in batch.ranges {
            if mutant == .watermarkOlder, range.to.sequence > marks[range.shard].sequence {
                continue
            }
            do throws(WatermarkRefusal) {
                try WatermarkRule.check(range, store: marks[range.shard])
            } catch { throw .refused(error) }
        }
    }

    /// A transaction that its client gave up commits after all, if it still may.
    private func commitLate(_ batch: EntryBatch) {
        late = nil
        guard (try? check(batch)) != nil else { return }
        do throws(HistoryFault) {
            _ = try insert(batch)
        } catch {
            fault = error
            return
        }
        for range in batch.ranges { reached(range) }
        lostAnswers += 1
    }

    private func keep(_ move: (lane: String, cursor: SourceCursor)) {
        if let index = cursors.firstIndex(where: { $0.lane == move.lane }) {
            cursors[index] = move
        } else {
            cursors.append(move)
        }
    }

    private func insert(_ batch: EntryBatch) throws(HistoryFault) -> StoreChanges {
        var changes = StoreChanges()
        if let applied = try rows?.apply(batch, books) { changes = applied }
        var claim = 0
        for other in batch.others {
            while claim < other.claimsBefore {
                try fold.apply(batch.claims[claim])
                note(batch.claims[claim])
                claim += 1
            }
            try fold.apply(other.header, other.entry)
            switch other.entry {
            case .orderPaid(let paid):
                payments.append(Payment(order: paid.order, payment: paid.payment, bought: true))
            case .paymentRefused(let refused):
                payments.append(
                    Payment(order: refused.order, payment: refused.payment, bought: false))
            case .orderReserved(let reserved):
                if keepsClaims { requests[reserved.order] = reserved.requestHash }
            case .orderRefunded(let refund):
                if keepsClaims { refunds[refund.order, default: []].append(refund) }
            case .claim, .orderCancelled, .orderExpired, .poolCreated, .poolControlled, .poolFunded,
                .poolLeased, .poolTookBack,
                .poolClosed, .poolSoldOut, .poolMoved, .sliceOpened, .sliceControlled,
                .sliceCredited,
                .sliceReturned,
                .sliceQuarantined, .sliceResolved, .sliceArchived, .poolResolved:
                break
            }
        }
        while claim < batch.claims.count {
            try fold.apply(batch.claims[claim])
            note(batch.claims[claim])
            claim += 1
        }
        committed(changes)
        return changes
    }

    public func close() {}

    // MARK: Backups

    /// Keeps what it holds now.
    func backUp(_ id: UInt64) {
        backups.append(
            Backup(
                id: id, claims: claims, requests: requests, refunds: refunds, fold: fold,
                marks: marks, cursors: cursors,
                payments: payments, rows: rows))
    }

    /// Holds what it held when the backup was made.
    ///
    /// - Returns: whether that is less than it holds now.
    func restore(_ id: UInt64) -> Bool {
        guard let index = backups.firstIndex(where: { $0.id == id }) else { return false }
        let backup = backups.remove(at: index)
        late = nil
        let isLess = marks.shards.contains { marks[$0] != backup.marks[$0] }
        claims = backup.claims
        requests = backup.requests
        refunds = backup.refunds
        fold = backup.fold
        marks = backup.marks
        cursors = backup.cursors
        payments = backup.payments
        rows = backup.rows
        // It knows pools by name that may be gone.
        books = BatchBooks()
        return isLess
    }

    /// Where a shard is in the oldest backup that may be restored yet: journals are kept from there.
    func oldestBackup(of shard: ShardID) -> UInt64? {
        backups.map { $0.marks[shard].sequence }.min()
    }
}
