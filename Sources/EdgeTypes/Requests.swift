/// What a client asks of a core.
public enum Operation: UInt8, BitwiseCopyable, Sendable, CaseIterable {
    case grab = 0
    case claims
    case reserve
    case orders
    case orderPay
    case orderCancel
    case orderRefund
    case orderInfo
    case poolCreate
    case poolInfo
    case poolWarm
    case poolAlter
    case poolPause
    case poolResume
    case poolClose
    case poolRefill
    case poolList
    /// `quantity`: the raw value of a `Resolution`.
    case poolResolve
}

/// One request, decoded: plain values, nothing allocated. What is longer (definitions, payment
/// ids) waits beside it in the batch's `payloads`.
public struct Request: BitwiseCopyable, Sendable {
    public var ticket: Ticket
    public var operation: Operation
    /// Which names `pool` was hashed from.
    public var family: PoolFamily
    /// Whether the caller may see only what belongs to `user` (phones; not back ends).
    public var ownOnly: Bool
    /// How often it has gone from node to node.
    public var hops: UInt8 = 0
    /// Hash of the home region's name; 0 where none was given.
    public var region: UInt32
    /// Units to reserve, restock or refill; entries to list; a `Resolution`.
    public var quantity: Int64
    /// Fen to pay or refund; −1 where none was given.
    public var amountFen: Fen
    public var pool: PoolKey
    public var user: UserID
    /// The order; or the cursor of a listing.
    public var order: OrderID
    /// Hash of the idempotency key or payment id; 0 where none was given.
    public var requestHash: UInt64
    /// Index into the batch's payloads; −1 where there is none.
    public var payload: Int32

    @inlinable
    public init(
        ticket: Ticket, operation: Operation, family: PoolFamily = .rain,
        pool: PoolKey = PoolKey(rawValue: 0), user: UserID = 0, region: UInt32 = 0,
        quantity: Int64 = 0, amountFen: Fen = -1, order: OrderID = OrderID(rawValue: 0),
        requestHash: UInt64 = 0, payload: Int32 = -1, ownOnly: Bool = false
    ) {
        self.ticket = ticket
        self.operation = operation
        self.family = family
        self.ownOnly = ownOnly
        self.region = region
        self.quantity = quantity
        self.amountFen = amountFen
        self.pool = pool
        self.user = user
        self.order = order
        self.requestHash = requestHash
        self.payload = payload
    }
}

/// The part of a request that has no fixed size.
public enum Payload: Sendable {
    /// `poolCreate`. `slices` 0 asks the core to choose.
    case definition(PoolDefinition, actor: Text64)
    /// `poolAlter`; nil keeps what is.
    case alteration(opensMs: UnixMs?, closesMs: UnixMs?, limit: UInt32?, actor: Text64)
    /// Other operators' commands.
    case actor(Text64)
    /// `orderPay`: the payment id. `orderRefund`: the request id.
    case text(Text64)
    /// The same once more, with what the store says of an order that has left memory.
    case recalled(Text64, RecalledOrder)
    /// `poolList`: names after this one; only pools in this state.
    case listing(after: Text64, state: PoolState?)
}

extension Operation {
    /// Whether a request of this kind can bear the payload.
    public func takes(_ payload: Payload?) -> Bool {
        switch (self, payload) {
        case (.grab, nil), (.claims, nil), (.reserve, nil), (.orders, nil), (.orderCancel, nil),
            (.orderInfo, nil), (.poolInfo, nil), (.poolWarm, nil):
            true
        case (.orderPay, .text), (.orderRefund, .text), (.orderPay, .recalled),
            (.orderRefund, .recalled), (.poolCreate, .definition),
            (.poolAlter, .alteration), (.poolList, .listing):
            true
        case (.poolWarm, .actor), (.poolPause, .actor), (.poolResume, .actor), (.poolClose, .actor),
            (.poolRefill, .actor), (.poolResolve, .actor), (.poolPause, nil), (.poolResume, nil),
            (.poolClose, nil), (.poolRefill, nil), (.poolResolve, nil):
            true
        default: false
        }
    }
}
