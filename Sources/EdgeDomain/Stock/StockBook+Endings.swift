import EdgeMemory
public import EdgeTypes

/// How orders end without being bought, and how what was bought comes back.
extension StockBook {
    /// Decides a cancellation. Changes nothing.
    ///
    /// A reserved order is cancelled. One that is cancelled or expired holds nothing: the answer is
    /// `cancelled`, without an entry, and a payment that comes for it after all is treated as before
    /// (an expired one may still be bought `late`). A paid order stays `paid`, a refunded one
    /// `refunded`.
    public func decideCancel(order: OrderID, nowMs: UnixMs) -> CancelDecision {
        guard let number = position(order) else { return .error(.noOrder) }
        switch orders[number].state {
        case .reserved: return .cancel(order)
        case .cancelled, .expired: return .answer(.cancelled)
        case .paid: return .answer(.paid)
        case .refunded: return .answer(.refunded)
        }
    }

    /// An open order whose hold ended at or before `nowMs`: journal and apply `orderExpired` for
    /// it, then ask again. Until that is applied, it is found again.
    ///
    /// - Parameter nowMs: the shard's time. Orders come up at most 64 ms after their expiry, never
    ///   before it, in no particular order.
    /// - Returns: nil where none is due, or where this call's bounded work is used up: then
    ///   `nextDeadlineMs` lies in the past, and the caller asks again in its next turn.
    public mutating func nextExpired(nowMs: UnixMs) -> OrderID? {
        guard let number = holds.nextExpired(nowMs: nowMs) else { return nil }
        precondition(orders[Int(number)].expiresMs <= nowMs)
        return id(number)
    }

    /// No order comes up before this time. `Int64.max`: none is open; in the past: ask now.
    public var nextDeadlineMs: UnixMs { holds.nextDeadlineMs }

    /// Applies the end of a reservation: `cancelled` or `expired`.
    ///
    /// - Returns: false where the order is not reserved; nothing changed then.
    @usableFromInline
    mutating func applyEnd(_ order: OrderID, _ state: OrderState, _ header: EntryHeader) -> Bool {
        guard let number = position(order), orders[number].state == .reserved else { return false }
        let slot = Int(orders[number].slot)
        note(slot, header)
        endHold(UInt32(number))
        let units = Int64(orders[number].quantity)
        orders[number].state = state
        giveBack(number, UInt32(units))
        slices[slot].pending -= units
        slices[slot].release(units)
        precondition(slices[slot].booksHold)
        return true
    }

    /// Takes units off what counts against the limit of an order's user.
    @usableFromInline
    mutating func giveBack(_ number: Int, _ units: UInt32) {
        let newest = newestOrder(Int(orders[number].slot), orders[number].user)
        precondition(newest != OrderRecord.none)
        orders[Int(newest)].userUnits -= units
    }

    /// Decides a refund. Changes nothing.
    ///
    /// Units that are not restocked stay sold and go on counting against the user's limit, however
    /// much money went back. The order is `refunded` once all money went back; after that, units
    /// may still be restocked with 0 fen.
    ///
    /// - Parameters:
    ///   - request: recognises a retry: the same values are `repeat`, others `mismatch`.
    ///   - amountFen: in total at most what was paid.
    ///   - restock: units to put back on the shelf, in total at most the order's quantity.
    /// - Returns: `noOrder`, `mismatch`, `badArgument` (an order that was never paid, too much, or
    ///   nothing), or `full` (too many refunds on this shard) as errors.
    public func decideRefund(
        order: OrderID, request: Text64, amountFen: Fen, restock: Int64
    ) -> RefundDecision {
        guard let number = position(order) else { return .error(.noOrder) }
        guard !request.isEmpty, amountFen >= 0, restock >= 0 else { return .error(.badArgument) }
        if let known = ledgerRecord(number, request, isRefund: true) {
            let same =
                ledger[known].amountFen == amountFen && Int64(ledger[known].restocked) == restock
            return same ? .answer(.repeat) : .error(.mismatch)
        }
        guard restock <= Int64(Limits.unitsPerOrder) else { return .error(.badArgument) }
        let entry = OrderRefunded(
            order: order, request: request, amountFen: amountFen, restock: UInt32(restock))
        guard permits(entry, number) else { return .error(.badArgument) }
        guard refusedCount + refundCount < ledgerLimit else { return .error(.full) }
        return .refund(entry)
    }

    /// Whether an order's payment and units cover a new refund.
    func permits(_ entry: OrderRefunded, _ number: Int) -> Bool {
        let record = orders[number]
        guard record.state == .paid || record.state == .refunded else { return false }
        let payment = ledger[Int(record.payment)]
        // Nothing at all is a refund only where the order was free.
        let moves = entry.amountFen > 0 || entry.restock > 0
        guard moves || (payment.amountFen == 0 && record.state == .paid) else { return false }
        return entry.amountFen >= 0 && entry.amountFen <= payment.amountFen - payment.refundedFen
            && Int64(entry.restock) <= Int64(record.quantity) - Int64(payment.restocked)
    }

    /// Applies a refund.
    ///
    /// - Returns: false where it does not follow from the book, which is then unchanged.
    @usableFromInline
    mutating func apply(_ entry: OrderRefunded, _ header: EntryHeader) -> Bool {
        if let place = entry.archived { return applyArchived(entry, place, header) }
        guard let number = position(entry.order), !entry.request.isEmpty, permits(entry, number),
            refusedCount + refundCount < ledgerLimit
        else { return false }
        let key = ledgerKey(number, entry.request, isRefund: true)
        guard ledgerRecord(number, entry.request, isRefund: true, key) == nil else { return false }
        let slot = Int(orders[number].slot)
        note(slot, header)
        let payment = Int(orders[number].payment)
        let restocked = UInt16(entry.restock)
        addToLedger(.refund, number, entry.request, entry.amountFen, restocked, key)
        refundCount += 1
        slices[slot].refunds += 1
        ledger[payment].refundedFen += entry.amountFen
        ledger[payment].restocked += restocked
        if ledger[payment].refundedFen == ledger[payment].amountFen {
            orders[number].state = .refunded
        }
        giveBack(number, entry.restock)
        slices[slot].refundedFen += entry.amountFen
        slices[slot].sold -= Int64(restocked)
        slices[slot].release(Int64(restocked))
        precondition(slices[slot].booksHold)
        return true
    }
}
