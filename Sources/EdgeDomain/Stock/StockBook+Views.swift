import EdgeMemory
public import EdgeTypes

/// What others may see of a book.
extension StockBook {
    // MARK: Orders

    /// The user of an order; nil where there is no such order here.
    public func owner(of order: OrderID) -> UserID? { position(order).map { orders[$0].user } }

    /// The SKU of an order; nil where there is no such order here.
    public func poolKey(of order: OrderID) -> PoolKey? {
        position(order).map { slices[Int(orders[$0].slot)].pool }
    }

    /// The slice of an order, as a slot; nil where there is no such order here.
    public func slot(of order: OrderID) -> Int? { position(order).map { Int(orders[$0].slot) } }

    /// Where an order is in its life; nil where there is no such order here.
    public func state(of order: OrderID) -> OrderState? { position(order).map { orders[$0].state } }

    /// All about an order; nil where there is no such order here. O(1).
    public func info(_ order: OrderID) -> OrderInfo? {
        guard let number = position(order) else { return nil }
        let record = orders[number]
        let slot = Int(record.slot)
        var info = OrderInfo(
            state: record.state, sku: definition(slot: slot).name, pool: slices[slot].pool,
            slice: slices[slot].slice, user: record.user, quantity: UInt32(record.quantity),
            priceFen: slices[slot].priceFen, expiresMs: record.expiresMs, payment: nil,
            refundedFen: 0, restocked: 0)
        if record.payment != OrderRecord.none {
            let payment = ledger[Int(record.payment)]
            info.payment = text(payment)
            info.refundedFen = payment.refundedFen
            info.restocked = UInt32(payment.restocked)
        }
        return info
    }

    /// A user's orders on a slice, newest first, at most `limit`. O(rows).
    public func orders(slot: Int, user: UserID, limit: Int = 1_000) -> [OrderRow] {
        var rows: [OrderRow] = []
        var number = newestOrder(slot, user)
        while number != OrderRecord.none && rows.count < limit {
            let record = orders[Int(number)]
            rows.append(
                OrderRow(
                    order: id(number), state: record.state, quantity: UInt32(record.quantity),
                    expiresMs: record.expiresMs))
            number = record.previous
        }
        return rows
    }

    /// Units that count against a user's limit on a slice: reserved or bought, and not restocked.
    public func unitsOfUser(slot: Int, user: UserID) -> UInt32 {
        let newest = newestOrder(slot, user)
        return newest == OrderRecord.none ? 0 : orders[Int(newest)].userUnits
    }

    /// The user of the order at a position of the log, where it is one of a slice; nil: it is
    /// another's. O(1).
    ///
    /// - Precondition: `position` is below `loggedOrders`.
    public func user(ofOrderAt position: Int, slot: Int) -> UserID? {
        precondition(position >= 0 && position < orders.count)
        return Int(orders[position].slot) == slot ? orders[position].user : nil
    }

    // MARK: Slices

    /// Slots are 0 ..< `sliceCount`, in the order in which slices were opened.
    public var sliceCount: Int { slices.count }

    public func definition(slot: Int) -> PoolDefinition {
        definitions[slot / Self.definitionsPerBlock][slot % Self.definitionsPerBlock]
    }

    public func poolKey(slot: Int) -> PoolKey { slices[slot].pool }

    public func sliceNumber(slot: Int) -> UInt32 { slices[slot].slice }

    public func control(slot: Int) -> PoolControl { slices[slot].control }

    public func durability(slot: Int) -> Durability { definition(slot: slot).durability }

    /// Units that could be reserved from a slice now.
    @inlinable
    public func holdings(slot: Int) -> Int64 { slices[slot].held }

    /// Reservations of a slice that still hold units.
    public func openOrders(slot: Int) -> Int { Int(slices[slot].openOrders) }

    public func isSealed(slot: Int) -> Bool { slices[slot].isSealed }

    public func isQuarantined(slot: Int) -> Bool { slices[slot].isQuarantined }

    public func standing(slot: Int) -> SliceStanding {
        SliceStanding(
            quarantines: slices[slot].quarantines, isLost: slices[slot].isQuarantined,
            isArchived: slices[slot].isArchived)
    }

    /// The last transfer of units a slice took in.
    public func creditNumber(slot: Int) -> UInt32 { slices[slot].creditNumber }

    /// A slice's books. `granted` are units sold and not restocked, `grantedFen` what was paid for
    /// orders less what was refunded of it; `returnedFen` is 0: units have no price of their own.
    public func totals(slot: Int) -> SliceTotals {
        let slice = slices[slot]
        var totals = SliceTotals()
        totals.credited = slice.credited
        totals.held = slice.held
        totals.granted = slice.sold
        totals.grantedFen = slice.paidFen - slice.refundedFen
        totals.pending = slice.pending
        totals.returned = slice.returned
        totals.quarantined = slice.quarantined
        totals.retired = slice.retired
        return totals
    }

    public func money(slot: Int) -> StockMoney {
        StockMoney(paidFen: slices[slot].paidFen, refundedFen: slices[slot].refundedFen)
    }

    // MARK: Sizes

    /// Orders in the log. It shrinks only where a slice is archived: then all of them have moved.
    public var loggedOrders: Int { orders.count }

    /// Time of the last entry applied. The shard's time is not below it.
    public var lastEntryMs: UnixMs { timeMs }

    /// O(tables and slices): not for the hot path.
    public var counts: StockCounts {
        var payments = 0
        for slot in 0..<slices.count { payments += Int(slices[slot].payments) }
        return StockCounts(
            slices: slices.count, orders: orders.count - archivedCount,
            openOrders: holds.count, payments: payments, refused: refusedCount,
            refunds: refundCount,
            allocatedBytes: slices.allocatedBytes + orders.allocatedBytes + ledger.allocatedBytes
                + numbers.allocatedBytes + texts.allocatedBytes + slotIndex.allocatedBytes
                + userIndex.allocatedBytes
                + requestIndex.allocatedBytes + ledgerIndex.allocatedBytes + holds.allocatedBytes)
    }
}
