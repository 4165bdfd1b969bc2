import EdgeMemory
import EdgeTypes

extension StockBook {
    /// Counts everything anew from the orders and the ledger, and compares: an audit of the memory
    /// itself. O(book).
    ///
    /// What must hold, per slice: credited = held + pending + sold + returned + quarantined +
    /// retired, where pending are the units of reserved orders, and sold those of paid and
    /// refunded ones less what was restocked; paid and refunded fen are the sums over orders and
    /// refunds. Of an archived slice only the first can be seen.
    ///
    /// - Returns: what does not hold, or nil.
    public func checkBooks() -> String? {
        checkSlices() ?? checkLedger() ?? checkUsers() ?? checkNumbers()
    }

    private func isKept(_ position: Int) -> Bool {
        !slices[Int(orders[position].slot)].isArchived
    }

    private func checkNumbers() -> String? {
        var archived = 0
        for position in 0..<orders.count {
            if position > 0, number(position) <= number(position - 1) {
                return "order \(position): its number is not above the one before"
            }
            if !isKept(position) { archived += 1 }
            let found = self.position(OrderID(shard: shard, number: number(position)))
            if found != (isKept(position) ? position : nil) {
                return "order \(position): not found by its number"
            }
        }
        return archived == archivedCount ? nil : "archived orders"
    }

    private func checkSlices() -> String? {
        var counted: [SliceTotals] = []
        var money: [StockMoney] = []
        var open: [UInt32] = []
        for _ in 0..<slices.count {
            counted.append(SliceTotals())
            money.append(StockMoney(paidFen: 0, refundedFen: 0))
            open.append(0)
        }
        for number in 0..<orders.count where isKept(number) {
            let record = orders[number]
            let slot = Int(record.slot)
            switch record.state {
            case .reserved:
                counted[slot].pending += Int64(record.quantity)
                open[slot] += 1
            case .paid, .refunded:
                let payment = ledger[Int(record.payment)]
                counted[slot].granted += Int64(record.quantity) - Int64(payment.restocked)
                money[slot].paidFen += payment.amountFen
                money[slot].refundedFen += payment.refundedFen
            case .cancelled, .expired: break
            }
            if holds.contains(UInt32(number)) != (record.state == .reserved) {
                return "order \(number): deadline against state"
            }
        }
        for slot in 0..<slices.count {
            let slice = slices[slot]
            if !slice.booksHold { return "slot \(slot): credited is not the sum" }
            if slice.isArchived {
                let isEmpty = slice.held == 0 && slice.pending == 0 && slice.openOrders == 0
                if !isEmpty || !slice.isSealed { return "slot \(slot): archived" }
                continue
            }
            if slice.pending != counted[slot].pending { return "slot \(slot): pending" }
            if slice.sold != counted[slot].granted { return "slot \(slot): sold" }
            if slice.openOrders != open[slot] { return "slot \(slot): open orders" }
            if self.money(slot: slot) != money[slot] { return "slot \(slot): money" }
        }
        return open.reduce(0) { $0 + Int($1) } == holds.count ? nil : "deadlines"
    }

    private func checkLedger() -> String? {
        var refundedFen = [Fen](repeating: 0, count: orders.count)
        var restocked = [Int64](repeating: 0, count: orders.count)
        var payments = [Int](repeating: 0, count: orders.count)
        var refused = 0
        var refunds = 0
        for position in 0..<ledger.count where isKept(Int(ledger[position].order)) {
            let record = ledger[position]
            let number = Int(record.order)
            if record.kind == .refused { refused += 1 }
            if record.kind == .refund { refunds += 1 }
            if ledgerRecord(number, text(record), isRefund: record.kind == .refund) != position {
                return "ledger \(position): not found by its id"
            }
            switch record.kind {
            case .payment: payments[number] += 1
            case .refused: if orders[number].state == .reserved { return "order \(number): open" }
            case .refund:
                refundedFen[number] += record.amountFen
                restocked[number] += Int64(record.restocked)
            }
        }
        if refused != refusedCount || refunds != refundCount { return "counts of the ledger" }
        for number in 0..<orders.count where isKept(number) {
            let record = orders[number]
            let isBought = record.state == .paid || record.state == .refunded
            if payments[number] != (isBought ? 1 : 0) { return "order \(number): payments" }
            if !isBought {
                if refundedFen[number] != 0 || restocked[number] != 0 {
                    return "order \(number): refunds"
                }
                continue
            }
            let payment = ledger[Int(record.payment)]
            if payment.amountFen != totalFen(number) { return "order \(number): amount" }
            if payment.refundedFen != refundedFen[number] || refundedFen[number] > payment.amountFen
                || Int64(payment.restocked) != restocked[number]
                || restocked[number] > Int64(record.quantity)
            {
                return "order \(number): refunds"
            }
        }
        return nil
    }

    private func checkUsers() -> String? {
        var reached = 0
        for number in 0..<orders.count where isKept(number) {
            let record = orders[number]
            let slot = Int(record.slot)
            let newest = newestOrder(slot, record.user)
            if newest == OrderRecord.none { return "order \(number): its user is not found" }
            if record.requestHash != 0 {
                let found = order(ofRequest: record.requestHash, newest: newest, slot, record.user)
                if found == OrderRecord.none || orders[Int(found)].requestHash != record.requestHash
                {
                    return "order \(number): its request is not found"
                }
            }
            if Int(newest) != number { continue }
            if let difference = checkUser(number, &reached) { return difference }
        }
        return reached == orders.count - archivedCount ? nil : "orders that no user reaches"
    }

    /// Walks a user's orders on a slice from the newest on.
    private func checkUser(_ newest: Int, _ reached: inout Int) -> String? {
        var units: Int64 = 0
        var open = orders[newest].userOpen
        var newerOpen = OrderRecord.none
        var next = UInt32(newest)
        while next != OrderRecord.none {
            let record = orders[Int(next)]
            reached += 1
            switch record.state {
            case .reserved:
                units += Int64(record.quantity)
                if open != next || record.newerOpen != newerOpen {
                    return "order \(next): list of open orders"
                }
                newerOpen = next
                open = record.olderOpen
            case .paid, .refunded:
                units += Int64(record.quantity) - Int64(ledger[Int(record.payment)].restocked)
            case .cancelled, .expired: break
            }
            if record.previous != OrderRecord.none && record.previous >= next {
                return "order \(next): not after the one before"
            }
            next = record.previous
        }
        if open != OrderRecord.none { return "order \(newest): open orders left over" }
        return units == Int64(orders[newest].userUnits) ? nil : "order \(newest): units of its user"
    }
}
