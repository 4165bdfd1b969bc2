public import EdgeTypes

/// Where an order is in its life, as stores keep it.
public enum OrderState: UInt8, Sendable, CaseIterable {
    case reserved = 0
    case paid = 1
    case cancelled = 2
    case expired = 3
    /// All that was paid has been given back.
    case refunded = 4

    /// The word that stores hold.
    public var word: String {
        switch self {
        case .reserved: "reserved"
        case .paid: "paid"
        case .cancelled: "cancelled"
        case .expired: "expired"
        case .refunded: "refunded"
        }
    }
}

/// An order as its entries have made it.
public struct OrderRecord: Hashable, Sendable {
    public var order: OrderID
    public var pool: PoolKey
    public var slice: UInt32
    public var user: UserID
    public var quantity: UInt32
    public var priceFen: Fen
    public var state: OrderState
    public var reservedMs: UnixMs
    public var expiresMs: UnixMs
    /// 0 until it is paid.
    public var paidMs: UnixMs
    /// When it was cancelled or expired; stays where a late payment revived it. 0: never.
    public var endedMs: UnixMs
    public var payment: Text64
    public var paidFen: Fen
    public var refundedFen: Fen
    public var restocked: UInt32
    /// Keyed hash of the id of the request that made it; 0: it bore none, or a release wrote the row
    /// that did not keep it.
    public var requestHash: UInt64

    /// A new order.
    public init(_ header: EntryHeader, _ reserved: OrderReserved) {
        order = reserved.order
        pool = reserved.pool
        slice = reserved.slice
        user = reserved.user
        quantity = reserved.quantity
        priceFen = reserved.priceFen
        state = .reserved
        reservedMs = header.timeMs
        expiresMs = reserved.expiresMs
        paidMs = 0
        endedMs = 0
        payment = Text64()
        paidFen = 0
        refundedFen = 0
        restocked = 0
        requestHash = reserved.requestHash
    }

    /// Puts together a record that a store holds.
    public init(
        order: OrderID, pool: PoolKey, slice: UInt32, user: UserID, quantity: UInt32,
        priceFen: Fen, state: OrderState, reservedMs: UnixMs, expiresMs: UnixMs, paidMs: UnixMs,
        endedMs: UnixMs, payment: Text64, paidFen: Fen, refundedFen: Fen, restocked: UInt32,
        requestHash: UInt64
    ) {
        self.order = order
        self.pool = pool
        self.slice = slice
        self.user = user
        self.quantity = quantity
        self.priceFen = priceFen
        self.state = state
        self.reservedMs = reservedMs
        self.expiresMs = expiresMs
        self.paidMs = paidMs
        self.endedMs = endedMs
        self.payment = payment
        self.paidFen = paidFen
        self.refundedFen = refundedFen
        self.restocked = restocked
        self.requestHash = requestHash
    }

    /// Units out of play for good: neither held nor back in stock.
    public var soldUnits: Int64 {
        switch state {
        case .paid, .refunded: Int64(quantity) - Int64(restocked)
        case .reserved, .cancelled, .expired: 0
        }
    }

    // Each method is one transition. A fault means that the history breaks the rules: it is a
    // defect of what wrote it, and nothing has changed.

    public mutating func pay(_ header: EntryHeader, _ paid: OrderPaid) throws(HistoryFault) {
        guard state == (paid.late ? .expired : .reserved) else {
            throw HistoryFault(header, .transition("paid", from: state.word))
        }
        state = .paid
        paidMs = header.timeMs
        payment = paid.payment
        paidFen = paid.amountFen
    }

    public mutating func cancel(_ header: EntryHeader) throws(HistoryFault) {
        try end(header, .cancelled)
    }

    public mutating func expire(_ header: EntryHeader) throws(HistoryFault) {
        try end(header, .expired)
    }

    private mutating func end(
        _ header: EntryHeader, _ next: OrderState
    ) throws(HistoryFault) {
        guard state == .reserved else {
            throw HistoryFault(header, .transition(next.word, from: state.word))
        }
        state = next
        endedMs = header.timeMs
    }

    public mutating func refund(
        _ header: EntryHeader, _ refund: OrderRefunded
    ) throws(HistoryFault) {
        guard state == .paid || state == .refunded else {
            throw HistoryFault(header, .transition("refunded", from: state.word))
        }
        guard refund.amountFen >= 0, refund.amountFen <= paidFen - refundedFen else {
            throw HistoryFault(header, .refundAbovePaid)
        }
        guard refund.restock <= quantity - restocked else {
            throw HistoryFault(header, .restockAboveSold)
        }
        refundedFen += refund.amountFen
        restocked += refund.restock
        if refundedFen == paidFen { state = .refunded }
    }
}

/// A history that breaks its own rules, and where.
public struct HistoryFault: Error, Hashable, Sendable {
    public enum Reason: Hashable, Sendable {
        case unknownPool(PoolKey)
        case unknownSlice(PoolKey, UInt32)
        case unknownOrder(OrderID)
        case orderTwice(OrderID)
        case transition(String, from: String)
        case refundAbovePaid
        case restockAboveSold
        case nameTaken(String)
        /// A claim on stock, or an order of a rain.
        case otherFamily(PoolKey)
    }

    public var shard: ShardID
    public var sequence: UInt64
    public var reason: Reason

    public init(_ header: EntryHeader, _ reason: Reason) {
        shard = header.shard
        sequence = header.sequence
        self.reason = reason
    }
}

extension HistoryFault: CustomStringConvertible {
    public var description: String {
        let what =
            switch reason {
            case .unknownPool(let key): "pool \(key.rawValue) was never opened on this shard"
            case .unknownSlice(let key, let slice):
                "slice \(slice) of pool \(key.rawValue) was never opened"
            case .unknownOrder(let order): "order \(order.rawValue) was never reserved"
            case .orderTwice(let order): "order \(order.rawValue) was reserved before"
            case .transition(let next, let from): "an order that is \(from) cannot be \(next)"
            case .refundAbovePaid: "a refund above what was paid"
            case .restockAboveSold: "more units restocked than sold"
            case .nameTaken(let name): "two pools share the key or the name of \(name)"
            case .otherFamily(let key): "pool \(key.rawValue) is of the other family"
            }
        return "shard \(shard), sequence \(sequence): \(what)"
    }
}
