/// What precedes every journal entry.
public struct EntryHeader: BitwiseCopyable, Hashable, Sendable {
    public var shard: ShardID
    public var epoch: UInt32
    /// One sequence per shard, from 1, without gaps, running on through its epochs.
    public var sequence: UInt64
    /// The shard's time: never below the entry before.
    public var timeMs: UnixMs

    @inlinable
    public init(shard: ShardID, epoch: UInt32, sequence: UInt64, timeMs: UnixMs) {
        self.shard = shard
        self.epoch = epoch
        self.sequence = sequence
        self.timeMs = timeMs
    }
}

/// Something that happened to a shard. Applying the entries of a shard in order gives its state:
/// restart, replication, reconciliation and audit all read them and nothing else.
public enum Entry: Hashable, Sendable {
    // Hot: fixed size.
    case claim(Claim)
    case orderReserved(OrderReserved)
    case orderPaid(OrderPaid)
    case orderCancelled(OrderID)
    case orderExpired(OrderID)
    case orderRefunded(OrderRefunded)
    case paymentRefused(PaymentRefused)

    // A pool's home: its treasury and what operators did.
    case poolCreated(PoolDefinition, actor: Text64)
    case poolControlled(PoolKey, PoolControl, requestHash: UInt64, value: Int64, actor: Text64)
    case poolFunded(PoolKey, units: Int64, requestHash: UInt64, actor: Text64)
    case poolLeased(Transfer)
    case poolTookBack(Transfer)
    /// Nothing is left but what it says; or units have come back.
    case poolSoldOut(PoolKey, SoldOut)
    /// Units of one region go to another.
    case poolMoved(UnitMove)
    case poolClosed(PoolKey)
    /// An operator resolves what is quarantined: once before the slices are told, and once all of
    /// them have done it.
    case poolResolved(
        PoolKey, Resolution, isDone: Bool, requestHash: UInt64, actor: Text64)

    // A pool's slices.
    case sliceOpened(PoolDefinition, slice: UInt32, PoolControl)
    case sliceControlled(PoolKey, slice: UInt32, PoolControl)
    case sliceCredited(Transfer)
    case sliceReturned(Transfer)
    /// A crash took a `memory` slice's tail along: what it held is out of play.
    case sliceQuarantined(PoolKey, slice: UInt32)
    /// An operator has decided what becomes of what is quarantined there.
    case sliceResolved(PoolKey, slice: UInt32, Resolution, actor: Text64)
    /// A slice that is closed for good, and that the store has: its claims or orders leave memory,
    /// its totals stay. A rain's claims are all between the shard's entry `first`, which opened it,
    /// and this one; of a SKU it is 0, since orders are found by their users.
    case sliceArchived(PoolKey, slice: UInt32, first: UInt64)
}

/// What becomes of quarantined units: nobody knows whether somebody was told that they are theirs.
public enum Resolution: UInt8, Sendable, CaseIterable {
    /// The slice is back in play and may grant them, perhaps for the second time.
    case release = 0
    /// They are out of the pool for good, for whoever funded it. The slice stays out of play.
    case retire = 1
}

/// A red packet granted.
public struct Claim: BitwiseCopyable, Hashable, Sendable {
    public var pool: PoolKey
    public var slice: UInt32
    public var user: UserID
    public var packet: Int64
    public var amountFen: Fen
    /// 0 where the limit is 1: then the user alone identifies the claim.
    public var requestHash: UInt64

    @inlinable
    public init(
        pool: PoolKey, slice: UInt32, user: UserID, packet: Int64, amountFen: Fen,
        requestHash: UInt64
    ) {
        self.pool = pool
        self.slice = slice
        self.user = user
        self.packet = packet
        self.amountFen = amountFen
        self.requestHash = requestHash
    }
}

/// Units reserved for a user until `expiresMs`.
public struct OrderReserved: Hashable, Sendable {
    public var order: OrderID
    public var pool: PoolKey
    public var slice: UInt32
    public var user: UserID
    public var quantity: UInt32
    public var priceFen: Fen
    public var expiresMs: UnixMs
    public var requestHash: UInt64

    @inlinable
    public init(
        order: OrderID, pool: PoolKey, slice: UInt32, user: UserID, quantity: UInt32,
        priceFen: Fen, expiresMs: UnixMs, requestHash: UInt64
    ) {
        self.order = order
        self.pool = pool
        self.slice = slice
        self.user = user
        self.quantity = quantity
        self.priceFen = priceFen
        self.expiresMs = expiresMs
        self.requestHash = requestHash
    }
}

/// An order paid; `reserved` again first where it had expired.
public struct OrderPaid: Hashable, Sendable {
    public var order: OrderID
    public var payment: Text64
    public var amountFen: Fen
    /// The order had expired and its units were taken anew, in this same entry.
    public var late: Bool

    public init(order: OrderID, payment: Text64, amountFen: Fen, late: Bool) {
        self.order = order
        self.payment = payment
        self.amountFen = amountFen
        self.late = late
    }
}

/// A payment captured that buys nothing: its refund is due.
public struct PaymentRefused: Hashable, Sendable {
    public var order: OrderID
    public var payment: Text64
    public var amountFen: Fen
    /// Of an order that has left memory: where it was. Nobody who applies the entry has it.
    public var archived: ArchivedSlice?

    public init(
        order: OrderID, payment: Text64, amountFen: Fen, archived: ArchivedSlice? = nil
    ) {
        self.order = order
        self.payment = payment
        self.amountFen = amountFen
        self.archived = archived
    }
}

/// Part or all of an order's payment given back, with some of its units.
public struct OrderRefunded: Hashable, Sendable {
    public var order: OrderID
    public var request: Text64
    public var amountFen: Fen
    public var restock: UInt32
    /// As in `PaymentRefused`.
    public var archived: ArchivedSlice?

    public init(
        order: OrderID, request: Text64, amountFen: Fen, restock: UInt32,
        archived: ArchivedSlice? = nil
    ) {
        self.order = order
        self.request = request
        self.amountFen = amountFen
        self.restock = restock
        self.archived = archived
    }
}

/// A SKU's slice whose orders have left memory.
public struct ArchivedSlice: BitwiseCopyable, Hashable, Sendable {
    public var pool: PoolKey
    public var slice: UInt32

    @inlinable
    public init(pool: PoolKey, slice: UInt32) {
        self.pool = pool
        self.slice = slice
    }
}

/// Units on their way between a pool's treasury and one of its slices. Numbers are contiguous
/// from 1 per (slice, direction), so a frame that comes twice is known.
public struct Transfer: Hashable, Sendable {
    public var pool: PoolKey
    public var slice: UInt32
    public var number: UInt32
    /// Returns only: the slice holds nothing and will never grant again.
    public var final: Bool
    public var ranges: [UnitRange]

    public init(pool: PoolKey, slice: UInt32, number: UInt32, final: Bool, ranges: [UnitRange]) {
        self.pool = pool
        self.slice = slice
        self.number = number
        self.final = final
        self.ranges = ranges
    }

    public var units: Int64 { ranges.reduce(0) { $0 + $1.count } }
}
