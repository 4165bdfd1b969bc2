public import EdgeMemory
public import EdgeTypes

/// Every SKU slice and every order of one shard.
///
/// A `decide…` method looks, changes nothing, and returns either an entry to journal or an answer.
/// `apply` is the only thing that changes the book, live and at restart alike: applying the
/// entries of a shard in order gives the same book, byte for byte in its snapshot. Calls for one
/// book come from one thread.
///
/// An order is expired by an `orderExpired` entry and by nothing else: a payment that comes before
/// it pays, whatever the clock says.
///
/// Growth is in bounded steps, so no call takes much longer than its neighbours; reserving and
/// paying take expected O(1) and allocate only when a table grows.
public struct StockBook: ~Copyable {
    public let shard: ShardID
    @usableFromInline let orderLimit: Int
    @usableFromInline let ledgerLimit: Int

    @usableFromInline var slices = RecordLog<SliceRecord>(chunkBits: 4)
    /// The definitions of the slices, 64 to a block.
    @usableFromInline var definitions: [[PoolDefinition]] = []
    @usableFromInline var orders = RecordLog<OrderRecord>(chunkBits: 9)
    @usableFromInline var ledger = RecordLog<LedgerRecord>(chunkBits: 9)
    /// Payment and request ids, in words.
    @usableFromInline var texts = RecordLog<UInt64>(chunkBits: 11)

    /// (pool, slice) → slot.
    @usableFromInline var slotIndex = PositionIndex()
    /// (slot, user) → the user's newest order.
    @usableFromInline var userIndex = PositionIndex()
    /// (slot, user, request) → order; only of users with more than one order on the slice.
    @usableFromInline var requestIndex = PositionIndex()
    /// (order, kind, id) → ledger record.
    @usableFromInline var ledgerIndex = PositionIndex()

    @usableFromInline var holds = TimingWheel()
    /// Time of the last entry applied.
    @usableFromInline var timeMs: UnixMs = 0
    @usableFromInline var refusedCount = 0
    @usableFromInline var refundCount = 0

    /// - Parameters:
    ///   - orderLimit: most orders; beyond it reserving answers `full`. Live and replay take the same.
    ///   - ledgerLimit: most refused payments and refunds together.
    public init(
        shard: ShardID, orderLimit: Int = Limits.ordersPerShard,
        ledgerLimit: Int = Limits.paymentsPerShard - Limits.ordersPerShard
    ) {
        // Every order may be paid once whatever else the ledger holds.
        precondition(orderLimit >= 0 && orderLimit <= Limits.ordersPerShard)
        precondition(ledgerLimit >= 0 && ledgerLimit <= Limits.paymentsPerShard - orderLimit)
        self.shard = shard
        self.orderLimit = orderLimit
        self.ledgerLimit = ledgerLimit
    }

    // MARK: Lookup

    @inlinable
    static func slotHash(_ pool: PoolKey, _ slice: UInt32) -> UInt64 {
        Hash64.keyed(pool.rawValue, salt: UInt64(slice))
    }

    /// Where a slice of a SKU is in this book; nil where it was never opened here. O(1).
    @inlinable
    public func slot(of pool: PoolKey, slice: UInt32) -> Int? {
        var probe = slotIndex.probe(Self.slotHash(pool, slice))
        while let slot = slotIndex.next(&probe) {
            if slices[slot].pool == pool && slices[slot].slice == slice { return slot }
        }
        return nil
    }

    @inlinable @inline(__always)
    func userHash(_ slot: Int, _ user: UserID) -> UInt64 {
        Hash64.keyed(user, salt: slices[slot].salt)
    }

    /// The user's newest order on a slice; `OrderRecord.none` where there is none. The probe then
    /// tells where the index holds it.
    @inlinable @inline(__always)
    func newestOrder(_ slot: Int, _ user: UserID, _ probe: inout PositionIndex.Probe) -> UInt32 {
        while let number = userIndex.next(&probe) {
            if orders[number].user == user && Int(orders[number].slot) == slot {
                return UInt32(truncatingIfNeeded: number)
            }
        }
        return OrderRecord.none
    }

    @inlinable
    func newestOrder(_ slot: Int, _ user: UserID) -> UInt32 {
        var probe = userIndex.probe(userHash(slot, user))
        return newestOrder(slot, user, &probe)
    }

    /// The order that a request of a user made; `none` where it made none.
    ///
    /// - Parameter newest: the user's newest order on the slice, not `none`.
    @inlinable
    func order(
        ofRequest requestHash: UInt64, newest: UInt32, _ slot: Int, _ user: UserID
    ) -> UInt32 {
        if requestHash == 0 { return OrderRecord.none }
        if orders[Int(newest)].requestHash == requestHash { return newest }
        if orders[Int(newest)].previous == OrderRecord.none { return OrderRecord.none }
        var probe = requestIndex.probe(requestKey(requestHash, slot, user))
        while let number = requestIndex.next(&probe) {
            let found = orders[number]
            if found.requestHash == requestHash && found.user == user && Int(found.slot) == slot {
                return UInt32(truncatingIfNeeded: number)
            }
        }
        return OrderRecord.none
    }

    @inlinable
    func requestKey(_ requestHash: UInt64, _ slot: Int, _ user: UserID) -> UInt64 {
        Hash64.keyed(requestHash, salt: userHash(slot, user))
    }

    /// An order's number; nil where it is not an order of this book.
    @inlinable
    func number(_ order: OrderID) -> Int? {
        guard order.isWellFormed, order.shard == shard else { return nil }
        let number = Int(order.number)
        return number < orders.count ? number : nil
    }

    @inlinable
    func id(_ number: UInt32) -> OrderID {
        number == OrderRecord.none
            ? OrderID(rawValue: 0) : OrderID(shard: shard, number: UInt64(number))
    }

    /// What an order costs. Below `Limits.amountFen`: checked when it was reserved.
    @inlinable
    func totalFen(_ number: Int) -> Fen {
        Fen(orders[number].quantity) * slices[Int(orders[number].slot)].priceFen
    }

    /// Asks the processor to fetch what a reservation of this user will touch first.
    public func prefetchReserve(slot: Int, user: UserID) {
        userIndex.prefetch(userHash(slot, user))
    }
}

extension StockBook: @unchecked Sendable {
    // SAFETY: noncopyable, and all it owns is Sendable: whoever holds it is alone with it.
}
