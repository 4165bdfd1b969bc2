import EdgeMemory
public import EdgeTypes

/// The life of a slice: opened, controlled, credited, and giving its units back.
extension StockBook {
    /// Most units a slice may ever be credited with: its books never overflow.
    static let creditedLimit = Limits.unitsMoved

    @usableFromInline static let definitionsPerBlock = 64

    // MARK: Frames from the home

    /// Whether to take a frame that opens a slice.
    ///
    /// - Returns: `badArgument` for what is no stock pool, `full` beyond `Limits.pools` slices.
    public func decideOpen(_ definition: PoolDefinition, slice: UInt32) -> FrameDecision {
        if slot(of: PoolKey.of(.stock, definition.name), slice: slice) != nil { return .known }
        guard Self.isSound(definition, slice: slice) else { return .error(.badArgument) }
        return slices.count < Limits.pools ? .take : .error(.full)
    }

    static func isSound(_ definition: PoolDefinition, slice: UInt32) -> Bool {
        definition.kind == .stock && !definition.name.isEmpty
            && definition.amountFen >= 0 && definition.amountFen <= Limits.amountFen
            && definition.holdMs > 0 && definition.holdMs <= Limits.holdMs
            && slice < definition.slices && definition.slices <= UInt32(Limits.slices)
            && definition.regions.count <= Limits.regions
    }

    /// Whether to take a frame with new terms: only a newer version changes anything.
    public func decideControl(slot: Int, _ control: PoolControl) -> FrameDecision {
        control.version > slices[slot].version ? .take : .known
    }

    /// Whether to take a frame with units. Numbers are contiguous: the next is taken, earlier ones
    /// are known, later ones wait.
    public func decideCredit(slot: Int, _ transfer: Transfer) -> FrameDecision {
        guard let units = Self.units(of: transfer), !transfer.final else {
            return .error(.badArgument)
        }
        if transfer.number <= slices[slot].creditNumber { return .known }
        if transfer.number != slices[slot].creditNumber + 1 { return .wait }
        return units <= Self.creditedLimit - slices[slot].credited ? .take : .error(.badArgument)
    }

    /// The units of a transfer of stock: ranges start at 0 and are not negative. nil: malformed.
    static func units(of transfer: Transfer) -> Int64? {
        guard transfer.ranges.count <= Limits.rangesPerSlice else { return nil }
        var units: Int64 = 0
        for range in transfer.ranges {
            guard range.start == 0, range.count > 0, range.count <= creditedLimit else {
                return nil
            }
            units += range.count
            guard units <= creditedLimit else { return nil }
        }
        return units
    }

    // MARK: Returning units

    /// The entry that returns up to `units` of what a slice holds; journal it as `sliceReturned`.
    ///
    /// At most one return is on its way: nil until the one before is acknowledged, and where there
    /// is nothing to return.
    ///
    /// - Parameter units: nil: all it holds.
    public func returning(slot: Int, units: Int64? = nil) -> Transfer? {
        let count = min(units ?? .max, slices[slot].held)
        guard count > 0, slices[slot].returnTaken == slices[slot].returnNumber else { return nil }
        return transfer(slot, count, final: false)
    }

    /// Whether a closing slice may return the last it holds: no reservation is open any more, and
    /// no earlier return is on its way.
    public func canSeal(slot: Int) -> Bool {
        slices[slot].isClosing && !slices[slot].isSealed && slices[slot].openOrders == 0
            && slices[slot].returnTaken == slices[slot].returnNumber
    }

    /// The entry that seals a slice: it returns all it holds, perhaps nothing, and never reserves
    /// again. nil where `canSeal` does not hold.
    public func sealing(slot: Int) -> Transfer? {
        canSeal(slot: slot) ? transfer(slot, slices[slot].held, final: true) : nil
    }

    private func transfer(_ slot: Int, _ units: Int64, final: Bool) -> Transfer {
        Transfer(
            pool: slices[slot].pool, slice: slices[slot].slice,
            number: slices[slot].returnNumber + 1, final: final,
            ranges: units == 0 ? [] : [UnitRange(start: 0, count: units)])
    }

    /// The return that the home has not acknowledged yet: send it again. After a restart this is
    /// the last one ever made, until the home says once more that it took it.
    public func unacknowledgedReturn(slot: Int) -> Transfer? {
        guard slices[slot].returnTaken < slices[slot].returnNumber else { return nil }
        let units = slices[slot].lastReturnUnits
        return Transfer(
            pool: slices[slot].pool, slice: slices[slot].slice,
            number: slices[slot].returnNumber, final: slices[slot].lastReturnWasFinal,
            ranges: units == 0 ? [] : [UnitRange(start: 0, count: units)])
    }

    /// The home took a return. Not journaled: after a restart it is asked again.
    public mutating func acknowledgeReturn(slot: Int, number: UInt32) {
        guard number <= slices[slot].returnNumber else { return }
        slices[slot].returnTaken = max(slices[slot].returnTaken, number)
    }

    // MARK: Running low

    /// Of smaller leases nothing is asked ahead: those who come last wait for theirs.
    private static let leastAhead: Int64 = 256

    /// Whether so few units are left of what the slice was given that it should have more.
    public func isLow(slot: Int) -> Bool { slices[slot].held <= slices[slot].lowMark }

    /// Answers a recall, once what the slice held is given back.
    ///
    /// - Returns: whether it holds nothing, and nothing has come to it since it answered the
    ///   round `after`.
    public mutating func sweep(slot: Int, _ round: UInt64, after: UInt64) -> Bool {
        let holdsNothing = slices[slot].held == 0
        if slices[slot].sweptRound == round {
            slices[slot].wasQuiet =
                slices[slot].wasQuiet && holdsNothing && slices[slot].isUntouched
        } else {
            slices[slot].wasQuiet =
                holdsNothing && slices[slot].isUntouched && slices[slot].sweptRound == after
                && after != 0
            slices[slot].sweptRound = round
            slices[slot].isUntouched = holdsNothing
        }
        return slices[slot].wasQuiet
    }

    /// The last return that a slice has made.
    public func returnNumber(slot: Int) -> UInt32 { slices[slot].returnNumber }

    // MARK: Applying

    mutating func applyOpened(
        _ definition: PoolDefinition, _ slice: UInt32, _ control: PoolControl
    ) -> Bool {
        let pool = PoolKey.of(.stock, definition.name)
        guard Self.isSound(definition, slice: slice) else { return false }
        if slot(of: pool, slice: slice) != nil { return true }
        guard slices.count < Limits.pools else { return false }
        addSlice(definition, slice)
        slices[slices.count - 1].take(control)
        return true
    }

    mutating func addSlice(_ definition: PoolDefinition, _ slice: UInt32) {
        let pool = PoolKey.of(.stock, definition.name)
        // Secret where the pool's seed is: nobody can aim users or requests at one bucket.
        let seed = definition.seed.words
        let salt = Hash64.keyed(
            Hash64.mix(seed.0 ^ seed.2, seed.1 ^ seed.3),
            salt: Hash64.keyed(pool.rawValue, salt: UInt64(slice)))
        slotIndex.insert(Self.slotHash(pool, slice), slices.count)
        slices.append(
            SliceRecord(
                pool: pool, slice: slice, salt: salt, priceFen: definition.amountFen,
                holdMs: definition.holdMs))
        if definitions.last.map({ $0.count == Self.definitionsPerBlock }) ?? true {
            definitions.append([])
            definitions[definitions.count - 1].reserveCapacity(Self.definitionsPerBlock)
        }
        definitions[definitions.count - 1].append(definition)
    }

    mutating func applyControlled(_ slot: Int, _ control: PoolControl) -> Bool {
        if control.version > slices[slot].version { slices[slot].take(control) }
        return true
    }

    mutating func applyCredited(_ slot: Int, _ transfer: Transfer) -> Bool {
        switch decideCredit(slot: slot, transfer) {
        case .known: return true
        case .wait, .error: return false
        case .take: break
        }
        guard let units = Self.units(of: transfer) else { return false }
        slices[slot].creditNumber = transfer.number
        slices[slot].credited += units
        if slices[slot].isQuarantined {
            slices[slot].quarantined += units
        } else {
            slices[slot].held += units
            slices[slot].isUntouched = false
            slices[slot].lowMark = units >= Self.leastAhead ? units / 32 : -1
        }
        precondition(slices[slot].booksHold)
        return true
    }

    mutating func applyReturned(_ slot: Int, _ transfer: Transfer) -> Bool {
        guard let units = Self.units(of: transfer) else { return false }
        if transfer.number <= slices[slot].returnNumber { return true }
        guard transfer.number == slices[slot].returnNumber + 1, units <= slices[slot].held
        else { return false }
        if transfer.final {
            guard units == slices[slot].held, slices[slot].openOrders == 0 else { return false }
            slices[slot].isSealed = true
        }
        // The home sees returns in order, so a later one tells that it took the one before.
        slices[slot].returnTaken = slices[slot].returnNumber
        slices[slot].returnNumber = transfer.number
        slices[slot].lastReturnUnits = units
        slices[slot].lastReturnWasFinal = transfer.final
        slices[slot].held -= units
        slices[slot].returned += units
        precondition(slices[slot].booksHold)
        return true
    }

    mutating func applyQuarantined(_ slot: Int) -> Bool {
        if !slices[slot].isQuarantined { slices[slot].quarantines += 1 }
        slices[slot].isQuarantined = true
        slices[slot].quarantined += slices[slot].held
        slices[slot].held = 0
        precondition(slices[slot].booksHold)
        return true
    }

    // MARK: What operators decide

    /// Whether an operator's decision changes anything. Where it may not: a slice that has
    /// returned for the last time stays out of play.
    public func canResolve(slot: Int, _ resolution: Resolution) -> Bool {
        switch resolution {
        case .release: slices[slot].isQuarantined && !slices[slot].isSealed
        case .retire: slices[slot].quarantined > 0
        }
    }

    /// Units that a decision is about are back on the shelf, or out of the SKU.
    mutating func applyResolved(_ slot: Int, _ resolution: Resolution) -> Bool {
        guard canResolve(slot: slot, resolution) else { return false }
        let units = slices[slot].quarantined
        slices[slot].quarantined = 0
        switch resolution {
        case .release:
            slices[slot].isQuarantined = false
            slices[slot].held += units
            slices[slot].isUntouched = slices[slot].isUntouched && units == 0
        case .retire: slices[slot].retired += units
        }
        precondition(slices[slot].booksHold)
        return true
    }
}
