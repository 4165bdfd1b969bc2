/// What the store says of an order that has left memory, for one request about it: of fixed size,
/// however many payments and refunds the order has.
///
/// It goes with the request to the order's owner, which believes it where nothing has happened to
/// the order since `asOf`.
public struct RecalledOrder: BitwiseCopyable, Hashable, Sendable {
    /// Whether the request's own id, a payment's or a refund's, was met before, and how that ended.
    public enum Known: BitwiseCopyable, Hashable, Sendable {
        case new
        /// The payment bought the order.
        case bought
        /// The payment was refused: its refund is due.
        case refused
        case refund(amountFen: Fen, restocked: UInt32)
    }

    public var place: ArchivedSlice
    public var user: UserID
    public var quantity: UInt32
    /// Price of one unit.
    public var priceFen: Fen
    /// Raw value of an order's state.
    public var state: UInt8
    public var paidFen: Fen
    /// In total, of what was paid.
    public var refundedFen: Fen
    public var restocked: UInt32
    public var known: Known
    /// The shard's entries up to this one are in it.
    public var asOf: UInt64

    public init(
        place: ArchivedSlice, user: UserID, quantity: UInt32, priceFen: Fen, state: UInt8,
        paidFen: Fen, refundedFen: Fen, restocked: UInt32, known: Known, asOf: UInt64
    ) {
        self.place = place
        self.user = user
        self.quantity = quantity
        self.priceFen = priceFen
        self.state = state
        self.paidFen = paidFen
        self.refundedFen = refundedFen
        self.restocked = restocked
        self.known = known
        self.asOf = asOf
    }
}
