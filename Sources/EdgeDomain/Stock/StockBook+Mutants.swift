import EdgeMemory
public import EdgeTypes

/// What only built-in bugs do: see `Mutant`.
extension StockBook {
    /// Units from nowhere.
    public mutating func conjure(_ units: Int64, slot: Int) {
        slices[slot].credited += units
        slices[slot].held += units
    }

    /// Archives a slice whatever is open.
    public mutating func archiveAnyway(slot: Int) { archive(slot) }

    /// Forgets, of the archived orders that have changed, whose turn it is; without a trace.
    public mutating func forgetOldestTouch() {
        if touches.count == touchLimit { touches[nextTouch].sequence = 0 }
    }

    /// Lets every hold run on for good.
    public mutating func forgetHolds() {
        for number in 0..<orders.count where orders[number].state == .reserved {
            holds.remove(UInt32(number))
        }
    }

    /// A reservation that asks neither limit nor stock; what is missing is conjured.
    public mutating func reserveAnyway(
        slot: Int, user: UserID, quantity: Int64, requestHash: UInt64, nowMs: UnixMs
    ) -> OrderReserved {
        if slices[slot].held < quantity { conjure(quantity, slot: slot) }
        return OrderReserved(
            order: OrderID(shard: shard, number: newNumber),
            pool: slices[slot].pool, slice: slices[slot].slice, user: user,
            quantity: UInt32(quantity), priceFen: slices[slot].priceFen,
            expiresMs: nowMs + slices[slot].holdMs, requestHash: requestHash)
    }
}
