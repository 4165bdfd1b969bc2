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
/// paying take expected O(1) and allocate only when a table grows. The one exception is the entry
/// that archives a slice: see `StockBook+Archive.swift`.
///
/// Orders are told apart by numbers, which are for good; inside the book they go by their position
/// in the log, which is the number until orders have left it.
public struct StockBook: ~Copyable {
    public let shard: ShardID
    @usableFromInline let orderLimit: Int
    @usableFromInline let ledgerLimit: Int
    /// So many archived orders are told apart by the last entry about them.
    let touchLimit: Int

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
    // Of orders that have not been archived.
    @usableFromInline var refusedCount = 0
    @usableFromInline var refundCount = 0

    // What orders that have left the log leave behind: see `StockBook+Archive.swift`.
    /// Orders in the log whose slice is archived.
    @usableFromInline var archivedCount = 0
    /// Likewise of the ledger.
    var archivedLedger = 0
    /// The numbers of the first orders in the log, ascending; those after them follow on from
    /// `base`.
    @usableFromInline var numbers = RecordLog<UInt64>(chunkBits: 9)
    @usableFromInline var base: UInt64 = 0
    /// Numbers below are not given any more: see `skipNumbers`. Not journaled: the next order says it.
    @usableFromInline var numberFloor: UInt64 = 0
    /// The epoch of the newest order; 0: there is none, or only a snapshot has it.
    @usableFromInline var lastOrderEpoch: UInt32 = 0
    /// The store must have come to this entry before it is believed about an archived order that
    /// is not in `touches`.
    var touchedFloor: UInt64 = 0
    /// The latest entries about archived orders, oldest first from `nextTouch` on, around the end.
    var touches: [OrderTouch] = []
    var nextTouch = 0

    /// - Parameters:
    ///   - orderLimit: most orders; beyond it reserving answers `full`. Live and replay take the same.
    ///   - ledgerLimit: most refused payments and refunds together.
    ///   - touchLimit: archived orders with late payments and refunds that are told apart. Beyond it
    ///     they wait for the store longer than they need.
    public init(
        shard: ShardID, orderLimit: Int = Limits.ordersPerShard,
        ledgerLimit: Int = Limits.paymentsPerShard - Limits.ordersPerShard,
        touchLimit: Int = Limits.touchedOrders
    ) {
        precondition(touchLimit > 0)
        // Every order may be paid once whatever else the ledger holds.
        precondition(orderLimit >= 0 && orderLimit <= Limits.ordersPerShard)
        precondition(ledgerLimit >= 0 && ledgerLimit <= Limits.paymentsPerShard - orderLimit)
        self.shard = shard
        self.orderLimit = orderLimit
        self.ledgerLimit = ledgerLimit
        self.touchLimit = touchLimit
    }

    /// One of the same shard and limits that holds nothing.
    func empty() -> StockBook {
        StockBook(
            shard: shard, orderLimit: orderLimit, ledgerLimit: ledgerLimit, touchLimit: touchLimit)
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

    /// Where an order lies in the log; nil where it is not an order of this book, or archived.
    @inlinable
    func position(_ order: OrderID) -> Int? {
        guard order.isWellFormed, order.shard == shard else { return nil }
        let position: Int
        if order.number >= base {
            position = numbers.count + Int(order.number - base)
            guard position < orders.count else { return nil }
        } else {
            guard let found = earlierPosition(order.number) else { return nil }
            position = found
        }
        return slices[Int(orders[position].slot)].isArchived ? nil : position
    }

    /// As above, for a number below `base`. O(log n).
    @inlinable @inline(never)
    func earlierPosition(_ number: UInt64) -> Int? {
        var low = 0
        var high = numbers.count
        while low < high {
            let middle = (low + high) / 2
            if numbers[middle] < number { low = middle + 1 } else { high = middle }
        }
        return low < numbers.count && numbers[low] == number ? low : nil
    }

    @inlinable
    func id(_ position: UInt32) -> OrderID {
        position == OrderRecord.none
            ? OrderID(rawValue: 0) : OrderID(shard: shard, number: number(Int(position)))
    }

    /// The number of an order in the log.
    @inlinable
    func number(_ position: Int) -> UInt64 {
        position < numbers.count ? numbers[position] : base + UInt64(position - numbers.count)
    }

    /// The number of the next order.
    @inlinable var nextNumber: UInt64 { base + UInt64(orders.count - numbers.count) }

    /// The number that the next order is given: none that an order had which was lost.
    @inlinable var newNumber: UInt64 { max(nextNumber, numberFloor) }

    /// Whether one more order may be kept, and has a number.
    @inlinable
    var hasRoom: Bool {
        orders.count - archivedCount < orderLimit && newNumber < Self.numberLimit
    }

    /// As `OrderID` has it.
    @usableFromInline static let numberLimit: UInt64 = 1 << 40

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
