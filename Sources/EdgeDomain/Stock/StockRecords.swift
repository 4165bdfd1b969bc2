public import EdgeTypes

/// Where an order is in its life.
///
/// `reserved → paid | cancelled | expired`, `paid → refunded`, and `expired → paid` where a late
/// payment found units again.
public enum OrderState: UInt8, Sendable, CaseIterable, BitwiseCopyable {
    case reserved = 0
    case paid = 1
    case cancelled = 2
    case expired = 3
    /// All that was paid was given back.
    case refunded = 4
}

/// One order, 56 bytes. Other orders are named by their positions in the log.
@usableFromInline
struct OrderRecord: BitwiseCopyable {
    @usableFromInline var user: UserID
    @usableFromInline var expiresMs: UnixMs
    /// 0 where the request had no id.
    @usableFromInline var requestHash: UInt64
    @usableFromInline var slot: UInt32
    /// The order that the same user made before on the same slice.
    @usableFromInline var previous: UInt32
    /// The user's open orders on the slice, a doubly linked list.
    @usableFromInline var newerOpen: UInt32
    @usableFromInline var olderOpen: UInt32
    /// Units that count against the user's limit. In the user's newest order only.
    @usableFromInline var userUnits: UInt32
    /// The user's newest open order. In the user's newest order only.
    @usableFromInline var userOpen: UInt32
    /// The payment that bought it, in the ledger.
    @usableFromInline var payment: UInt32
    @usableFromInline var quantity: UInt16
    @usableFromInline var state: OrderState

    /// No order, no ledger record.
    @usableFromInline static let none = UInt32.max

    @inlinable
    init(
        user: UserID, expiresMs: UnixMs, requestHash: UInt64, slot: UInt32, previous: UInt32,
        quantity: UInt16, state: OrderState
    ) {
        self.user = user
        self.expiresMs = expiresMs
        self.requestHash = requestHash
        self.slot = slot
        self.previous = previous
        self.quantity = quantity
        self.state = state
        newerOpen = Self.none
        olderOpen = Self.none
        userUnits = 0
        userOpen = Self.none
        payment = Self.none
    }
}

/// What a ledger record tells.
@usableFromInline
enum LedgerKind: UInt8, BitwiseCopyable {
    /// The payment that bought the order.
    case payment = 0
    /// A payment that bought nothing: its refund is due.
    case refused = 1
    /// Part of a payment given back.
    case refund = 2
}

/// A payment or a refund, 32 bytes; its id is in the book's `texts`.
@usableFromInline
struct LedgerRecord: BitwiseCopyable {
    @usableFromInline var amountFen: Fen
    /// Payments that bought: the sum of their refunds.
    @usableFromInline var refundedFen: Fen
    @usableFromInline var order: UInt32
    /// First word of the id; the id's last word is padded with zeros.
    @usableFromInline var text: UInt32
    /// Refunds: units put back. Payments that bought: the sum over their refunds.
    @usableFromInline var restocked: UInt16
    @usableFromInline var textCount: UInt8
    @usableFromInline var kind: LedgerKind

    @inlinable
    init(
        kind: LedgerKind, order: UInt32, amountFen: Fen, restocked: UInt16, text: UInt32,
        textCount: UInt8
    ) {
        self.kind = kind
        self.order = order
        self.amountFen = amountFen
        self.restocked = restocked
        self.text = text
        self.textCount = textCount
        refundedFen = 0
    }
}

/// The hot part of a slice of a SKU: terms and books.
///
/// `credited = held + pending + sold + returned + quarantined + retired` after every entry.
@usableFromInline
struct SliceRecord: BitwiseCopyable {
    @usableFromInline var poolRaw: UInt64
    @usableFromInline var slice: UInt32
    /// Keys the hashes of this slice's users and requests.
    @usableFromInline var salt: UInt64
    @usableFromInline var priceFen: Fen
    @usableFromInline var holdMs: Int64

    @usableFromInline var version: UInt32 = 0
    @usableFromInline var limit: UInt32 = 0
    @usableFromInline var opensMs: UnixMs = 0
    @usableFromInline var closesMs: UnixMs = 0
    @usableFromInline var isPaused = false
    @usableFromInline var isClosing = false
    /// Returned its last units: never reserves again.
    @usableFromInline var isSealed = false
    /// What it held is out of play: reserves nothing until an operator releases it.
    @usableFromInline var isQuarantined = false
    /// How often that has happened.
    @usableFromInline var quarantines: UInt32 = 0

    @usableFromInline var credited: Int64 = 0
    @usableFromInline var held: Int64 = 0
    @usableFromInline var pending: Int64 = 0
    @usableFromInline var sold: Int64 = 0
    @usableFromInline var returned: Int64 = 0
    @usableFromInline var quarantined: Int64 = 0
    /// Once quarantined, and taken out of the pool by an operator.
    @usableFromInline var retired: Int64 = 0
    /// Fen of the payments that bought, and of the refunds made of them.
    @usableFromInline var paidFen: Fen = 0
    @usableFromInline var refundedFen: Fen = 0
    /// Price of every order ever reserved: bounds all sums of money here.
    @usableFromInline var orderedFen: Fen = 0
    @usableFromInline var openOrders: UInt32 = 0

    /// Its orders, payments, refused payments and refunds that are in memory.
    @usableFromInline var orders: UInt32 = 0
    @usableFromInline var payments: UInt32 = 0
    @usableFromInline var refused: UInt32 = 0
    @usableFromInline var refunds: UInt32 = 0
    /// The last entry about one of its orders, or that took its units out of play; and when that was.
    @usableFromInline var touchedAt: UInt64 = 0
    @usableFromInline var touchedMs: UnixMs = 0
    /// Its orders have left memory.
    @usableFromInline var isArchived = false

    /// Number of the last transfer taken in, and of the last sent back.
    @usableFromInline var creditNumber: UInt32 = 0
    @usableFromInline var returnNumber: UInt32 = 0
    @usableFromInline var lastReturnUnits: Int64 = 0
    @usableFromInline var lastReturnWasFinal = false
    /// Not part of the state that entries make: the home's answer, which is asked for again
    /// after a restart.
    @usableFromInline var returnTaken: UInt32 = 0
    // Nor these: below how many units it asks for more, the last recall that it answered, and
    // whether anything has come to it since the one before or since.
    @usableFromInline var lowMark: Int64 = 0
    @usableFromInline var sweptRound: UInt64 = 0
    @usableFromInline var wasQuiet = false
    @usableFromInline var isUntouched = false

    @usableFromInline
    init(pool: PoolKey, slice: UInt32, salt: UInt64, priceFen: Fen, holdMs: Int64) {
        poolRaw = pool.rawValue
        self.slice = slice
        self.salt = salt
        self.priceFen = priceFen
        self.holdMs = holdMs
    }

    @inlinable var pool: PoolKey { PoolKey(rawValue: poolRaw) }

    @inlinable var booksHold: Bool {
        // Wrapping: the terms are bounded where they come in, and no order of adding may trap.
        credited == held &+ pending &+ sold &+ returned &+ quarantined &+ retired && held >= 0
            && pending >= 0 && sold >= 0
    }

    @inlinable var isOver: Bool { isSealed || isQuarantined }

    /// Where units go that an order no longer needs: back on the shelf, or, where nothing is
    /// reserved from this slice, out of play, for an operator to resolve.
    @inlinable
    mutating func release(_ units: Int64) {
        if isOver {
            quarantined += units
        } else {
            held += units
            isUntouched = isUntouched && units == 0
        }
    }

    @usableFromInline
    mutating func take(_ control: PoolControl) {
        version = control.version
        limit = control.terms.limit
        opensMs = control.terms.opensMs
        closesMs = control.terms.closesMs
        isPaused = control.paused
        isClosing = control.closing
    }

    @usableFromInline
    var control: PoolControl {
        PoolControl(
            version: version,
            terms: PoolTerms(opensMs: opensMs, closesMs: closesMs, limit: limit),
            paused: isPaused, closing: isClosing)
    }
}
