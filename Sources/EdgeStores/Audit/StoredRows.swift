import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeTypes

struct StoredClaim: EntryRow {
    let id: Int64
    let pool: PoolKey
    /// nil where the column holds no user.
    let user: UserID?
    let packet: Int64
    let amountFen: Fen
    let timeMs: UnixMs
    /// nil: there was none, or a release wrote the row that did not keep it.
    let requestHash: UInt64?

    static let columns = "grant_id, pool, user, packet, amount, granted_at, request_hash"

    init(_ row: any SQLRow) {
        id = row.integer(0)
        pool = PoolKey.of(.rain, bytes: row.bytes(1))
        user = row.user(2)
        packet = row.integer(3)
        amountFen = row.integer(4)
        timeMs = row.integer(5)
        requestHash = row.integerOrNil(6).map { UInt64(bitPattern: $0) }
    }
}

/// A row that one entry makes, and how findings speak of it.
protocol EntryWords: EntryRow, Equatable {
    static var missing: FindingKind { get }
    static var extra: FindingKind { get }
    static var differs: FindingKind { get }
    var words: String { get }
    var amount: String { get }
    /// Whether a row is what is expected here.
    func matches(_ row: Self) -> Bool
}

extension EntryWords {
    func matches(_ row: Self) -> Bool { row == self }
}

struct StoredPayment: EntryWords {
    var id: Int64
    var order: String
    var payment: Text64?
    var fen: Fen
    var outcome: String
    var timeMs: UnixMs

    static let columns = "id, order_id, payment, fen, outcome, at"
    static let missing = FindingKind.paymentMissing
    static let extra = FindingKind.paymentExtra
    static let differs = FindingKind.paymentDiffers
    var words: String { "payment of order \(order)" }
    var amount: String { "\(fen) fen" }
}

extension StoredPayment {
    init(_ row: any SQLRow) {
        self.init(
            id: row.integer(0), order: row.text(1), payment: row.text64(2), fen: row.integer(3),
            outcome: row.text(4), timeMs: row.integer(5))
    }
}

struct StoredRefund: EntryWords {
    var id: Int64
    var order: String
    var request: Text64?
    var fen: Fen
    var restocked: Int64
    var timeMs: UnixMs

    static let columns = "id, order_id, request, fen, restocked, at"
    static let missing = FindingKind.refundMissing
    static let extra = FindingKind.refundExtra
    static let differs = FindingKind.refundDiffers
    var words: String { "refund of order \(order)" }
    var amount: String { "\(fen) fen" }
}

extension StoredRefund {
    init(_ row: any SQLRow) {
        self.init(
            id: row.integer(0), order: row.text(1), request: row.text64(2), fen: row.integer(3),
            restocked: row.integer(4), timeMs: row.integer(5))
    }
}

struct StoredMovement: EntryWords {
    var id: Int64
    var sku: String
    /// Empty where it is the whole SKU's.
    var order: String
    var movement: String
    var units: Int64
    var timeMs: UnixMs

    static let columns = "id, sku, order_id, movement, units, at"
    static let missing = FindingKind.movementMissing
    static let extra = FindingKind.movementExtra
    static let differs = FindingKind.movementDiffers
    var words: String { "movement of \(sku), \(movement)" }

    /// An expected SKU that is empty, or no units, are not known: any will do.
    func matches(_ row: StoredMovement) -> Bool {
        id == row.id && order == row.order && movement == row.movement && timeMs == row.timeMs
            && (sku.isEmpty || sku == row.sku) && (units == 0 || units == row.units)
    }

    var amount: String { "\(units) units" }
}

extension StoredMovement {
    init(_ row: any SQLRow) {
        self.init(
            id: row.integer(0), sku: row.text(1), order: row.text(2), movement: row.text(3),
            units: row.integer(4), timeMs: row.integer(5))
    }
}
