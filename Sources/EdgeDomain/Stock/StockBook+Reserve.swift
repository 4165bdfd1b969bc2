public import EdgeMemory
public import EdgeTypes

extension StockBook {
    /// Most fen that all orders of a slice may have cost together: no sum of money overflows.
    @usableFromInline static let orderedFenLimit: Fen = 4_000_000_000_000_000_000

    /// Decides a reservation: the hot path. Changes nothing.
    ///
    /// Of an archived slice only the store knows: `archived`. In this order otherwise: a request seen before is `repeat` (`mismatch` with another quantity), then
    /// `closed`, `early`, `paused`, then `limit`, then `soldOut` (also where fewer units are held
    /// than asked for), then `full`.
    ///
    /// - Parameters:
    ///   - slot: from `slot(of:slice:)`.
    ///   - quantity: 1 … `Limits.unitsPerOrder`, else `badArgument`.
    ///   - requestHash: 0: no request id, nothing to recognise a retry by.
    @inlinable
    public func decideReserve(
        slot: Int, user: UserID, quantity: Int64, requestHash: UInt64, nowMs: UnixMs
    ) -> ReserveDecision {
        guard quantity >= 1, quantity <= Int64(Limits.unitsPerOrder) else {
            return .error(.badArgument)
        }
        if slices[slot].isArchived { return .archived }
        let newest = newestOrder(slot, user)
        var userUnits: UInt32 = 0
        var open = OrderRecord.none
        if newest != OrderRecord.none {
            let earlier = order(ofRequest: requestHash, newest: newest, slot, user)
            if earlier != OrderRecord.none {
                let record = orders[Int(earlier)]
                guard Int64(record.quantity) == quantity else { return .error(.mismatch) }
                return .answer(.repeat, order: id(earlier), timeMs: record.expiresMs)
            }
            userUnits = orders[Int(newest)].userUnits
            open = orders[Int(newest)].userOpen
        }
        if let refusal = refusal(slot, nowMs) { return refusal }
        if Int64(userUnits) + quantity > Int64(min(slices[slot].limit, Limits.perUser)) {
            let expiresMs = open == OrderRecord.none ? 0 : orders[Int(open)].expiresMs
            return .answer(.limit, order: id(open), timeMs: expiresMs)
        }
        if slices[slot].held < quantity {
            return .answer(.soldOut, order: id(OrderRecord.none), timeMs: 0)
        }
        let (fen, overflow) = slices[slot].priceFen.multipliedReportingOverflow(by: quantity)
        guard hasRoom, !overflow, fen <= Limits.amountFen,
            slices[slot].orderedFen <= Self.orderedFenLimit - fen
        else { return .error(.full) }
        return .reserve(
            OrderReserved(
                order: OrderID(shard: shard, number: newNumber), pool: slices[slot].pool,
                slice: slices[slot].slice, user: user, quantity: UInt32(quantity),
                priceFen: slices[slot].priceFen,
                expiresMs: nowMs + slices[slot].holdMs, requestHash: requestHash))
    }

    /// Why nobody may reserve from a slice now; nil where they may.
    @inlinable
    func refusal(_ slot: Int, _ nowMs: UnixMs) -> ReserveDecision? {
        let closesMs = slices[slot].closesMs
        if slices[slot].isClosing || slices[slot].isOver || (closesMs != 0 && nowMs >= closesMs) {
            return .answer(.closed, order: id(OrderRecord.none), timeMs: 0)
        }
        let opensMs = slices[slot].opensMs
        if opensMs != 0 && nowMs < opensMs {
            return .answer(.early, order: id(OrderRecord.none), timeMs: opensMs)
        }
        if slices[slot].isPaused {
            return .answer(.paused, order: id(OrderRecord.none), timeMs: 0)
        }
        return nil
    }

    /// Applies a reservation.
    ///
    /// - Returns: false where it does not follow from the book, which is then unchanged.
    @inlinable
    public mutating func apply(_ entry: OrderReserved, _ header: EntryHeader) -> Bool {
        guard let slot = slot(of: entry.pool, slice: entry.slice),
            entry.order.isWellFormed, entry.order.shard == shard,
            mayHave(entry.order.number, header), hasRoom, !slices[slot].isArchived,
            entry.quantity >= 1, entry.quantity <= Limits.unitsPerOrder,
            entry.priceFen == slices[slot].priceFen
        else { return false }
        let units = Int64(entry.quantity)
        let (fen, overflow) = entry.priceFen.multipliedReportingOverflow(by: units)
        guard !overflow, fen <= Limits.amountFen, slices[slot].held >= units,
            slices[slot].orderedFen <= Self.orderedFenLimit - fen
        else { return false }
        let record = OrderRecord(
            user: entry.user, expiresMs: entry.expiresMs, requestHash: entry.requestHash,
            slot: UInt32(slot), previous: OrderRecord.none, quantity: UInt16(entry.quantity),
            state: .reserved)
        let next = nextNumber
        guard addOrder(record, units: entry.quantity) else { return false }
        if entry.order.number > next { leaveGap(before: entry.order.number) }
        lastOrderEpoch = header.epoch
        note(slot, header)
        openHold(orders.count - 1)
        slices[slot].orders += 1
        slices[slot].held -= units
        slices[slot].pending += units
        slices[slot].orderedFen += fen
        precondition(slices[slot].booksHold)
        return true
    }

    // MARK: Numbers

    /// Orders that this book does not have may have been told of: their numbers are not given again.
    ///
    /// Each epoch leaves out as many more than the one before, so that two that lose what they gave
    /// never give the same, as long as neither loses more than 65,536 orders. Where that would take
    /// half of all numbers, after thousands of such epochs, nothing is left out.
    ///
    /// - Parameters:
    ///   - epoch: the one that begins.
    ///   - isComplete: whether all that was acknowledged in the epoch before is here. Then nothing
    ///     is left out, if an order of that epoch is: it has a number beyond all that were lost.
    public mutating func skipNumbers(epoch: UInt32, isComplete: Bool) {
        // Whoever takes it up again in one epoch has left them out before.
        if lastOrderEpoch >= epoch || (isComplete && UInt64(lastOrderEpoch) + 1 >= epoch) { return }
        let floor = nextNumber + UInt64(epoch) << 16
        if floor < Self.numberLimit / 2 { numberFloor = floor }
    }

    /// Whether a number follows on; the first of an epoch may leave some out.
    @inlinable
    func mayHave(_ number: UInt64, _ header: EntryHeader) -> Bool {
        number == nextNumber || (number > nextNumber && header.epoch > lastOrderEpoch)
    }

    /// The newest order has a number that does not follow on. O(orders).
    @inlinable @inline(never)
    mutating func leaveGap(before number: UInt64) {
        let first = numbers.count
        for position in first..<(orders.count - 1) {
            numbers.append(base + UInt64(position - first))
        }
        base = number
    }

    /// Appends an order and makes it the newest of its user.
    ///
    /// - Parameter units: how many of its units count against the limit.
    /// - Returns: false where its user would hold more than any limit permits.
    @inlinable
    mutating func addOrder(_ record: OrderRecord, units: UInt32) -> Bool {
        var record = record
        record.userUnits = units
        let number = orders.count
        let slot = Int(record.slot)
        let hash = userHash(slot, record.user)
        var probe = userIndex.probe(hash)
        let newest = newestOrder(slot, record.user, &probe)
        if newest == OrderRecord.none {
            userIndex.insert(hash, number)
        } else {
            let before = orders[Int(newest)]
            guard before.userUnits + units <= Limits.perUser else { return false }
            record.previous = newest
            record.userUnits = before.userUnits + units
            record.userOpen = before.userOpen
            userIndex.replace(probe, with: number)
            // The first order of a user is found without this index, until a second one comes.
            if before.previous == OrderRecord.none && before.requestHash != 0 {
                requestIndex.insert(
                    requestKey(before.requestHash, slot, record.user), Int(newest))
            }
            if record.requestHash != 0 {
                requestIndex.insert(requestKey(record.requestHash, slot, record.user), number)
            }
        }
        orders.append(record)
        return true
    }

    /// Makes the newest order of its user an open one: listed, with a deadline.
    @inlinable
    mutating func openHold(_ order: Int) {
        let number = UInt32(truncatingIfNeeded: order)
        let open = orders[order].userOpen
        if open != OrderRecord.none { orders[Int(open)].newerOpen = number }
        orders[order].olderOpen = open
        orders[order].userOpen = number
        slices[Int(orders[order].slot)].openOrders += 1
        if holds.isEmpty { holds.start(atMs: timeMs) }
        holds.insert(number, deadlineMs: orders[order].expiresMs)
    }

    /// Ends an open order's hold. What becomes of its units and its state is the caller's.
    @inlinable
    mutating func endHold(_ number: UInt32) {
        let record = orders[Int(number)]
        precondition(record.state == .reserved)
        if record.newerOpen == OrderRecord.none {
            let newest = newestOrder(Int(record.slot), record.user)
            precondition(newest != OrderRecord.none)
            orders[Int(newest)].userOpen = record.olderOpen
        } else {
            orders[Int(record.newerOpen)].olderOpen = record.olderOpen
        }
        if record.olderOpen != OrderRecord.none {
            orders[Int(record.olderOpen)].newerOpen = record.newerOpen
        }
        orders[Int(number)].newerOpen = OrderRecord.none
        orders[Int(number)].olderOpen = OrderRecord.none
        slices[Int(record.slot)].openOrders -= 1
        let had = holds.remove(number)
        precondition(had)
    }

    @inlinable
    mutating func noteTime(_ header: EntryHeader) {
        if header.timeMs > timeMs { timeMs = header.timeMs }
    }

    /// Notes an entry about an order of a slice, or one that takes its units out of play.
    @inlinable
    mutating func note(_ slot: Int, _ header: EntryHeader) {
        noteTime(header)
        slices[slot].touchedAt = header.sequence
        slices[slot].touchedMs = header.timeMs
    }
}
