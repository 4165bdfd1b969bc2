public import EdgeMemory
public import EdgeTypes

extension StockBook {
    /// Decides a payment. Changes nothing.
    ///
    /// Every captured payment ends in goods or in a refund that is due, exactly once:
    ///
    /// | the order is | this payment | decision |
    /// |---|---|---|
    /// | any | bought it before | `repeat` |
    /// | any | was refused before | `refund` again, no entry |
    /// | reserved | is new | pay: `paid`, even past `expiresMs` until it is expired |
    /// | expired | is new | pay: `late` where limit and units permit, else refuse: `refund` |
    /// | paid, cancelled, refunded | is new | refuse: `refund` |
    ///
    /// - Parameters:
    ///   - amountFen: what was captured; −1: not told, taken for the price. Anything but quantity
    ///     × price is `mismatch`, so the same payment with another amount is too.
    ///   - treasuryIsDry: whether more units are known not to come. Otherwise a late payment
    ///     that lacks units asks for them first.
    /// - Returns: `noOrder`, `mismatch`, `badArgument` (an empty payment id), or `full` (too many
    ///   refused payments and refunds on this shard) as errors.
    @inlinable
    public func decidePay(
        order: OrderID, payment: Text64, amountFen: Fen, nowMs: UnixMs, treasuryIsDry: Bool = true
    ) -> PayDecision {
        guard let number = position(order) else { return .error(.noOrder) }
        guard !payment.isEmpty else { return .error(.badArgument) }
        let total = totalFen(number)
        guard amountFen == -1 || amountFen == total else { return .error(.mismatch) }
        if let known = ledgerRecord(number, payment, isRefund: false) {
            return .answer(ledger[known].kind == .payment ? .repeat : .refund)
        }
        switch orders[number].state {
        case .reserved:
            return .pay(OrderPaid(order: order, payment: payment, amountFen: total, late: false))
        case .expired:
            let units = Int64(orders[number].quantity)
            let slot = Int(orders[number].slot)
            if permitsLate(number) {
                if slices[slot].held >= units {
                    return .pay(
                        OrderPaid(order: order, payment: payment, amountFen: total, late: true))
                }
                if !treasuryIsDry { return .needsUnits(units - slices[slot].held) }
            }
        case .paid, .cancelled, .refunded: break
        }
        guard refusedCount + refundCount < ledgerLimit else { return .error(.full) }
        return .refuse(PaymentRefused(order: order, payment: payment, amountFen: total))
    }

    /// Whether an expired order may take units again. A closing sale still serves it; one that is
    /// sealed holds nothing for good.
    @inlinable
    func permitsLate(_ number: Int) -> Bool {
        let record = orders[number]
        let slot = Int(record.slot)
        if slices[slot].isOver { return false }
        let newest = newestOrder(slot, record.user)
        precondition(newest != OrderRecord.none)
        let units = orders[Int(newest)].userUnits + UInt32(record.quantity)
        return units <= min(slices[slot].limit, Limits.perUser)
    }

    /// Applies a payment that buys.
    ///
    /// - Returns: false where it does not follow from the book, which is then unchanged.
    @inlinable
    public mutating func apply(_ entry: OrderPaid, _ header: EntryHeader) -> Bool {
        guard let number = position(entry.order), !entry.payment.isEmpty,
            orders[number].state == (entry.late ? .expired : .reserved),
            entry.amountFen == totalFen(number)
        else { return false }
        let key = ledgerKey(number, entry.payment, isRefund: false)
        guard ledgerRecord(number, entry.payment, isRefund: false, key) == nil else {
            return false
        }
        let slot = Int(orders[number].slot)
        let units = Int64(orders[number].quantity)
        if entry.late {
            let newest = newestOrder(slot, orders[number].user)
            precondition(newest != OrderRecord.none)
            let userUnits = orders[Int(newest)].userUnits + UInt32(units)
            guard slices[slot].held >= units, !slices[slot].isOver, userUnits <= Limits.perUser
            else { return false }
            orders[Int(newest)].userUnits = userUnits
            slices[slot].held -= units
        } else {
            endHold(UInt32(number))
            slices[slot].pending -= units
        }
        note(slot, header)
        slices[slot].payments += 1
        slices[slot].sold += units
        slices[slot].paidFen += entry.amountFen
        orders[number].state = .paid
        orders[number].payment = UInt32(ledger.count)
        addToLedger(.payment, number, entry.payment, entry.amountFen, 0, key)
        precondition(slices[slot].booksHold)
        return true
    }

    /// Applies a payment that buys nothing.
    ///
    /// - Returns: false where it does not follow from the book, which is then unchanged.
    @inlinable
    public mutating func apply(_ entry: PaymentRefused, _ header: EntryHeader) -> Bool {
        if let place = entry.archived { return applyArchived(entry, place, header) }
        guard let number = position(entry.order), !entry.payment.isEmpty,
            orders[number].state != .reserved, entry.amountFen == totalFen(number),
            refusedCount + refundCount < ledgerLimit
        else { return false }
        let key = ledgerKey(number, entry.payment, isRefund: false)
        guard ledgerRecord(number, entry.payment, isRefund: false, key) == nil else {
            return false
        }
        let slot = Int(orders[number].slot)
        note(slot, header)
        addToLedger(.refused, number, entry.payment, entry.amountFen, 0, key)
        refusedCount += 1
        slices[slot].refused += 1
        return true
    }

    // MARK: The ledger of payments and refunds

    /// Hash of an id of an order: the chain has one multiplication a word.
    @inlinable
    func ledgerKey(_ number: Int, _ text: Text64, isRefund: Bool) -> UInt64 {
        let salt = slices[Int(orders[number].slot)].salt
        var hash = Hash64.keyed((UInt64(number) << 1) | (isRefund ? 1 : 0), salt: salt)
        let count = Self.wordCount(text.count)
        hash = Hash64.mix(hash, text.words.0)
        if count > 1 { hash = Hash64.mix(hash, text.words.1) }
        if count > 2 { hash = Hash64.mix(hash, text.words.2) }
        if count > 3 { hash = Hash64.mix(hash, text.words.3) }
        if count > 4 { hash = Hash64.mix(hash, text.words.4) }
        if count > 5 { hash = Hash64.mix(hash, text.words.5) }
        if count > 6 { hash = Hash64.mix(hash, text.words.6) }
        if count > 7 { hash = Hash64.mix(hash, text.words.7) }
        return Hash64.keyed(hash, salt: UInt64(text.count))
    }

    @inlinable
    static func wordCount(_ bytes: UInt8) -> Int { (Int(bytes) + 7) >> 3 }

    /// The record of a payment or a refund of an order, by its id; nil where there is none.
    @inlinable
    func ledgerRecord(_ number: Int, _ text: Text64, isRefund: Bool) -> Int? {
        ledgerRecord(number, text, isRefund: isRefund, ledgerKey(number, text, isRefund: isRefund))
    }

    /// As above, where the caller has the key already.
    @inlinable
    func ledgerRecord(
        _ number: Int, _ text: Text64, isRefund: Bool, _ key: UInt64
    ) -> Int? {
        var probe = ledgerIndex.probe(key)
        while let position = ledgerIndex.next(&probe) {
            let record = ledger[position]
            if Int(record.order) == number && (record.kind == .refund) == isRefund
                && isText(record, text)
            {
                return position
            }
        }
        return nil
    }

    @inlinable
    func isText(_ record: LedgerRecord, _ text: Text64) -> Bool {
        guard record.textCount == text.count else { return false }
        let count = Self.wordCount(text.count)
        let first = Int(record.text)
        if count > 0 && texts[first] != text.words.0 { return false }
        if count > 1 && texts[first + 1] != text.words.1 { return false }
        if count > 2 && texts[first + 2] != text.words.2 { return false }
        if count > 3 && texts[first + 3] != text.words.3 { return false }
        if count > 4 && texts[first + 4] != text.words.4 { return false }
        if count > 5 && texts[first + 5] != text.words.5 { return false }
        if count > 6 && texts[first + 6] != text.words.6 { return false }
        if count > 7 && texts[first + 7] != text.words.7 { return false }
        return true
    }

    @inlinable
    mutating func addToLedger(
        _ kind: LedgerKind, _ number: Int, _ text: Text64, _ amountFen: Fen, _ restocked: UInt16,
        _ key: UInt64
    ) {
        let first = UInt32(texts.count)
        let count = Self.wordCount(text.count)
        if count > 0 { texts.append(text.words.0) }
        if count > 1 { texts.append(text.words.1) }
        if count > 2 { texts.append(text.words.2) }
        if count > 3 { texts.append(text.words.3) }
        if count > 4 { texts.append(text.words.4) }
        if count > 5 { texts.append(text.words.5) }
        if count > 6 { texts.append(text.words.6) }
        if count > 7 { texts.append(text.words.7) }
        ledgerIndex.insert(key, ledger.count)
        ledger.append(
            LedgerRecord(
                kind: kind, order: UInt32(number), amountFen: amountFen, restocked: restocked,
                text: first, textCount: text.count))
    }

    /// The id of a ledger record.
    func text(_ record: LedgerRecord) -> Text64 {
        let count = Self.wordCount(record.textCount)
        func word(_ index: Int) -> UInt64 {
            index < count ? texts[Int(record.text) + index] : 0
        }
        return Text64(
            words: (word(0), word(1), word(2), word(3), word(4), word(5), word(6), word(7)),
            count: record.textCount)
    }
}
