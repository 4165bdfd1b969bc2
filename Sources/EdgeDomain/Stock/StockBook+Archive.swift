import EdgeMemory
public import EdgeTypes

/// Where an order is to be looked for.
public enum OrderPlace: Sendable, Equatable {
    /// In this book.
    case here
    /// In the store: its slice is archived.
    case archived
    /// Nowhere: its number was never given, or it is another shard's.
    case nowhere
}

/// The last entry about an archived order.
struct OrderTouch: Sendable {
    var number: UInt64
    var sequence: UInt64
}

/// The end of a closed slice: its orders leave memory once the store has them.
///
/// The entry `sliceArchived` takes a slice's orders, payments and refunds out of reach, whoever
/// applies it; totals and terms stay. What they took is given back by `compact`, which changes how
/// the book lies in memory and nothing else: replicas may compact at different times.
///
/// **Requests about archived orders** are decided from what the store says (`RecalledOrder`). The
/// slice is sealed: nothing of it is reserved, bought or cancelled again, so that only a refused
/// payment or a refund can happen to such an order. Their entries say which slice they are about,
/// move its totals, and leave the order where it is: in the store, which gets the entry as any
/// other. Until it has, the store is not believed about that order: the book remembers the last
/// entry about each (`touches`), and about the rest one that is not below any of theirs
/// (`touchedFloor`). What the store said before that entry is refused by `believes`; so two requests
/// about one order never both count on the same state of it.
extension StockBook {
    // MARK: Leaving

    /// Whether a slice is closed for good and nothing of it is open: its orders may leave. O(1).
    ///
    /// Whether its home has taken the final return, and the store has it all, the caller knows.
    public func canArchive(slot: Int) -> Bool {
        let slice = slices[slot]
        return slice.isSealed && !slice.isArchived && slice.openOrders == 0 && slice.held == 0
            && slice.pending == 0 && slice.quarantined == 0
    }

    public func isArchived(slot: Int) -> Bool { slices[slot].isArchived }

    /// The last entry about an order of a slice, or that took units of it out of play, the last
    /// return among them: what the store must have.
    public func touchedAt(slot: Int) -> UInt64 { slices[slot].touchedAt }

    /// When that was.
    public func touchedMs(slot: Int) -> UnixMs { slices[slot].touchedMs }

    /// Orders of a slice that are in memory.
    public func orders(slot: Int) -> Int { Int(slices[slot].orders) }

    /// The home has taken the slice's last return.
    public func isReturnTaken(slot: Int) -> Bool {
        slices[slot].returnTaken == slices[slot].returnNumber
    }

    /// Takes a slice's orders out of reach.
    ///
    /// - Returns: false where `canArchive` does not hold.
    mutating func applyArchived(_ slot: Int, first: UInt64, _ header: EntryHeader) -> Bool {
        guard first == 0, canArchive(slot: slot) else { return false }
        archive(slot)
        noteTime(header)
        return true
    }

    mutating func archive(_ slot: Int) {
        archivedCount += Int(slices[slot].orders)
        archivedLedger += Int(slices[slot].payments + slices[slot].refused + slices[slot].refunds)
        refusedCount -= Int(slices[slot].refused)
        refundCount -= Int(slices[slot].refunds)
        slices[slot].orders = 0
        slices[slot].payments = 0
        slices[slot].refused = 0
        slices[slot].refunds = 0
        slices[slot].isArchived = true
        touchedFloor = max(touchedFloor, slices[slot].touchedAt)
    }

    // MARK: Compaction

    /// Whether at least half of the orders, or of all records, are of archived slices.
    public var isWorthCompacting: Bool {
        let gone = archivedCount + archivedLedger
        return archivedCount > 0
            && (archivedCount * 2 >= orders.count || gone * 2 >= orders.count + ledger.count)
    }

    /// Orders that a compaction would leave.
    public var liveOrders: Int { orders.count - archivedCount }

    /// Whether as many archived orders lie in memory as there may be others.
    public var isFullOfArchived: Bool { archivedCount >= orderLimit }

    /// Builds the book anew of the orders that are not archived, and lets the memory of the rest go.
    ///
    /// What a snapshot holds stays the same, byte for byte. Positions in the log change.
    ///
    /// Complexity: O(log), in one step, as a snapshot is: 0.3 to 0.7 µs an order that stays
    /// (`bench/engine`), 0.4 s at a million. Called when `isWorthCompacting`, that is O(1) for each
    /// order that ever was.
    ///
    /// - Parameters:
    ///   - forgetsOne: only a built-in bug does (see `Mutant`): the oldest order that stays is lost.
    ///   - reusesNumbers: only a built-in bug does: numbers are given again.
    public mutating func compact(forgetsOne: Bool = false, reusesNumbers: Bool = false) {
        let next = nextNumber
        let dense = forgetsOne ? orders.count : firstDense
        let nextDense = dense < orders.count ? number(dense) : next
        var fresh = empty()
        swap(&fresh.slices, &slices)
        swap(&fresh.definitions, &definitions)
        swap(&fresh.slotIndex, &slotIndex)
        swap(&fresh.touches, &touches)
        fresh.nextTouch = nextTouch
        fresh.touchedFloor = touchedFloor
        fresh.timeMs = timeMs
        fresh.numberFloor = numberFloor
        fresh.lastOrderEpoch = lastOrderEpoch
        fresh.refusedCount = refusedCount
        fresh.refundCount = refundCount
        var forgets = forgetsOne
        var places = [UInt32](repeating: OrderRecord.none, count: orders.count)
        for position in 0..<orders.count
        where !fresh.slices[Int(orders[position].slot)].isArchived {
            if forgets {
                forgets = false
                continue
            }
            places[position] = UInt32(fresh.orders.count)
            if position < dense { fresh.numbers.append(number(position)) }
            move(position, to: &fresh)
        }
        for position in 0..<ledger.count {
            let record = ledger[position]
            let place = places[Int(record.order)]
            if place != OrderRecord.none { move(record, of: Int(place), to: &fresh) }
        }
        fresh.base = reusesNumbers ? UInt64(fresh.numbers.count) : nextDense
        precondition(reusesNumbers || fresh.nextNumber == next)
        release()
        self = fresh
    }

    /// Gives the memory of what grows with orders back to the system.
    private mutating func release() {
        orders.release()
        ledger.release()
        texts.release()
        numbers.release()
        userIndex.release()
        requestIndex.release()
        ledgerIndex.release()
        holds.release()
    }

    /// The first position from which on every order stays and each number is one more than the one
    /// before.
    private var firstDense: Int {
        var first = orders.count
        while first > 0, !slices[Int(orders[first - 1].slot)].isArchived,
            first == orders.count || number(first - 1) + 1 == number(first)
        {
            first -= 1
        }
        // The run has to end right below the next number.
        return first < orders.count && number(orders.count - 1) + 1 == nextNumber
            ? first : orders.count
    }

    private func move(_ position: Int, to fresh: inout StockBook) {
        let old = orders[position]
        let record = OrderRecord(
            user: old.user, expiresMs: old.expiresMs, requestHash: old.requestHash,
            slot: old.slot, previous: OrderRecord.none, quantity: old.quantity, state: old.state)
        let units: UInt32 =
            switch old.state {
            case .reserved: UInt32(old.quantity)
            case .paid, .refunded: UInt32(old.quantity - ledger[Int(old.payment)].restocked)
            case .cancelled, .expired: 0
            }
        let added = fresh.addOrder(record, units: units)
        precondition(added)
        guard old.state == .reserved else { return }
        // It is counted already.
        fresh.slices[Int(old.slot)].openOrders -= 1
        fresh.openHold(fresh.orders.count - 1)
    }

    private func move(_ record: LedgerRecord, of position: Int, to fresh: inout StockBook) {
        let text = text(record)
        let key = fresh.ledgerKey(position, text, isRefund: record.kind == .refund)
        let place = fresh.ledger.count
        fresh.addToLedger(
            record.kind, position, text, record.amountFen, record.restocked, key)
        if record.kind == .payment {
            fresh.orders[position].payment = UInt32(place)
            fresh.ledger[place].refundedFen = record.refundedFen
        }
    }

    // MARK: What is left of an order

    /// Where an order is to be looked for. O(log n) for one that was here before a compaction.
    public func place(of order: OrderID) -> OrderPlace {
        guard order.isWellFormed, order.shard == shard, order.number < nextNumber else {
            return .nowhere
        }
        return position(order) == nil ? .archived : .here
    }

    /// The entry that the store must have come to before it is believed about an archived order.
    /// O(`touchLimit`).
    public func touchedAt(order: OrderID) -> UInt64 {
        var found: UInt64 = 0
        for touch in touches where touch.number == order.number {
            found = max(found, touch.sequence)
        }
        return found > 0 ? found : touchedFloor
    }

    /// Whether what the store says of an archived order can be, is of a slice of this book, and no
    /// entry about the order came after it.
    public func believes(_ recalled: RecalledOrder, _ order: OrderID) -> Bool {
        guard place(of: order) == .archived,
            let slot = slot(of: recalled.place.pool, slice: recalled.place.slice),
            // It comes from other nodes: no sum of it may be more than its entry may say.
            (1...UInt32(Limits.unitsPerOrder)).contains(recalled.quantity),
            recalled.restocked <= recalled.quantity, recalled.refundedFen >= 0,
            recalled.refundedFen <= recalled.paidFen, recalled.paidFen <= Limits.amountFen,
            recalled.priceFen >= 0,
            case let total = recalled.priceFen.multipliedReportingOverflow(
                by: Fen(recalled.quantity)),
            !total.overflow, total.partialValue <= Limits.amountFen
        else { return false }
        let slice = slices[slot]
        return slice.isArchived && slice.priceFen == recalled.priceFen
            && touchedAt(order: order) <= recalled.asOf && slice.bears(recalled)
    }

    private mutating func touch(_ order: OrderID, _ slot: Int, _ header: EntryHeader) {
        note(slot, header)
        let touch = OrderTouch(number: order.number, sequence: header.sequence)
        if touches.count < touchLimit { return touches.append(touch) }
        touchedFloor = max(touchedFloor, touches[nextTouch].sequence)
        touches[nextTouch] = touch
        nextTouch = (nextTouch + 1) % touchLimit
    }

    /// As `touchedFloor` of a book that has no `touches`.
    var snapshotFloor: UInt64 { touches.reduce(touchedFloor) { max($0, $1.sequence) } }

    // MARK: Payments and refunds

    /// Decides a payment for an archived order, as `decidePay` would have. Changes nothing.
    ///
    /// The slice is sealed: a payment that is new buys nothing.
    ///
    /// - Precondition: `believes` holds.
    public func decidePay(
        _ recalled: RecalledOrder, order: OrderID, payment: Text64, amountFen: Fen
    ) -> PayDecision {
        guard !payment.isEmpty else { return .error(.badArgument) }
        let total = Fen(recalled.quantity) * recalled.priceFen
        guard amountFen == -1 || amountFen == total else { return .error(.mismatch) }
        switch recalled.known {
        case .bought: return .answer(.repeat)
        case .refused: return .answer(.refund)
        case .new, .refund: break
        }
        return .refuse(
            PaymentRefused(
                order: order, payment: payment, amountFen: total, archived: recalled.place))
    }

    /// Decides a refund of an archived order, as `decideRefund` would have. Changes nothing.
    ///
    /// - Precondition: `believes` holds.
    public func decideRefund(
        _ recalled: RecalledOrder, order: OrderID, request: Text64, amountFen: Fen, restock: Int64
    ) -> RefundDecision {
        guard !request.isEmpty, amountFen >= 0, restock >= 0 else { return .error(.badArgument) }
        if case .refund(let knownFen, let restocked) = recalled.known {
            let same = knownFen == amountFen && Int64(restocked) == restock
            return same ? .answer(.repeat) : .error(.mismatch)
        }
        let state = OrderState(rawValue: recalled.state)
        guard state == .paid || state == .refunded else { return .error(.badArgument) }
        // Nothing at all is a refund only where the order was free.
        guard amountFen > 0 || restock > 0 || (recalled.paidFen == 0 && state == .paid),
            amountFen <= recalled.paidFen - recalled.refundedFen,
            restock <= Int64(recalled.quantity) - Int64(recalled.restocked)
        else { return .error(.badArgument) }
        return .refund(
            OrderRefunded(
                order: order, request: request, amountFen: amountFen, restock: UInt32(restock),
                archived: recalled.place))
    }

    /// The archived slice that an entry about one of its orders says; nil: it cannot be so.
    private func archivedSlot(_ order: OrderID, _ place: ArchivedSlice) -> Int? {
        guard self.place(of: order) == .archived,
            let slot = slot(of: place.pool, slice: place.slice), slices[slot].isArchived
        else { return nil }
        return slot
    }

    /// Applies a payment for an archived order.
    @usableFromInline
    mutating func applyArchived(
        _ entry: PaymentRefused, _ place: ArchivedSlice, _ header: EntryHeader
    ) -> Bool {
        guard let slot = archivedSlot(entry.order, place), !entry.payment.isEmpty,
            entry.amountFen >= 0, entry.amountFen <= Limits.amountFen
        else { return false }
        touch(entry.order, slot, header)
        return true
    }

    /// Applies a refund of an archived order. What is put back is out of play: the slice is sealed.
    @usableFromInline
    mutating func applyArchived(
        _ entry: OrderRefunded, _ place: ArchivedSlice, _ header: EntryHeader
    ) -> Bool {
        guard let slot = archivedSlot(entry.order, place), !entry.request.isEmpty,
            entry.amountFen >= 0,
            entry.amountFen <= slices[slot].paidFen - slices[slot].refundedFen,
            Int64(entry.restock) <= slices[slot].sold
        else { return false }
        touch(entry.order, slot, header)
        slices[slot].refundedFen += entry.amountFen
        slices[slot].sold -= Int64(entry.restock)
        slices[slot].release(Int64(entry.restock))
        precondition(slices[slot].booksHold)
        return true
    }
}

extension SliceRecord {
    /// Whether an order that was bought can be one of these that make the totals up.
    fileprivate func bears(_ recalled: RecalledOrder) -> Bool {
        let state = OrderState(rawValue: recalled.state)
        guard state == .paid || state == .refunded else { return true }
        return recalled.paidFen - recalled.refundedFen <= paidFen - refundedFen
            && Int64(recalled.quantity) - Int64(recalled.restocked) <= sold
    }
}
