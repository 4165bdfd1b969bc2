public import EdgeTypes

/// What to do about a reservation.
public enum ReserveDecision: Sendable, Equatable {
    /// Journal and apply it; the answer is `reserved` with its order and expiry.
    case reserve(OrderReserved)
    /// Answer at once. `repeat`: the earlier order and its expiry; `limit`: the user's newest open
    /// order on the slice (0: none) and its expiry; `early`: the opening time.
    case answer(Outcome, order: OrderID, timeMs: UnixMs)
    /// The slice's orders have left memory: the answer is `repeat` where the store has the request,
    /// and `closed` otherwise.
    case archived
    case error(ErrorCode)
}

/// What to do about a payment.
public enum PayDecision: Sendable, Equatable {
    /// Journal and apply it; the answer is `paid`, or `late` where the entry says so.
    case pay(OrderPaid)
    /// Journal and apply it; the answer is `refund`.
    case refuse(PaymentRefused)
    /// Answer at once: `repeat`, or `refund` for a payment refused before.
    case answer(Outcome)
    /// The order expired, its user's limit permits it, but the slice lacks so many units. Ask the
    /// treasury, then decide again; with `treasuryIsDry` where it has none.
    case needsUnits(Int64)
    case error(ErrorCode)
}

/// What to do about a cancellation.
public enum CancelDecision: Sendable, Equatable {
    /// Journal and apply `orderCancelled`; the answer is `cancelled`.
    case cancel(OrderID)
    case answer(Outcome)
    case error(ErrorCode)
}

/// What to do about a refund.
public enum RefundDecision: Sendable, Equatable {
    /// Journal and apply it; the answer is `refunded`.
    case refund(OrderRefunded)
    /// The same refund was made before: `repeat`.
    case answer(Outcome)
    case error(ErrorCode)
}

/// What to do about a frame that opens a slice, or brings it units or terms.
public enum FrameDecision: Sendable, Equatable {
    /// Journal and apply its entry, then acknowledge.
    case take
    /// Applied before: acknowledge again.
    case known
    /// Not next in order: no acknowledgement, it will be sent again.
    case wait
    case error(ErrorCode)
}

/// An order as its owner and operators see it.
public struct OrderInfo: Sendable, Equatable {
    public var state: OrderState
    public var sku: Text64
    public var pool: PoolKey
    public var slice: UInt32
    public var user: UserID
    public var quantity: UInt32
    /// Price of one unit.
    public var priceFen: Fen
    public var expiresMs: UnixMs
    /// Id of the payment that bought it; nil where none did.
    public var payment: Text64?
    public var refundedFen: Fen
    public var restocked: UInt32
}

/// One row of a user's orders.
public struct OrderRow: Sendable, Equatable {
    public var order: OrderID
    public var state: OrderState
    public var quantity: UInt32
    public var expiresMs: UnixMs

    public init(order: OrderID, state: OrderState, quantity: UInt32, expiresMs: UnixMs) {
        self.order = order
        self.state = state
        self.quantity = quantity
        self.expiresMs = expiresMs
    }
}

/// Money of a slice: what was captured for goods, and what was given back of that. Payments that
/// bought nothing count in neither.
public struct StockMoney: Sendable, Equatable {
    public var paidFen: Fen
    public var refundedFen: Fen

    public init(paidFen: Fen, refundedFen: Fen) {
        self.paidFen = paidFen
        self.refundedFen = refundedFen
    }
}

/// Sizes of a book, for metrics.
public struct StockCounts: Sendable, Equatable {
    public var slices: Int
    public var orders: Int
    /// Orders that hold units until they are paid, cancelled or expire.
    public var openOrders: Int
    /// Payments that bought, and payments refused.
    public var payments: Int
    public var refused: Int
    public var refunds: Int
    public var allocatedBytes: Int
}
