public import EdgeTypes

/// Who wants units, who gets them, and the rounds in which slices give back what they hold.
///
/// None of it is journaled: slices ask again until they are answered.
///
/// A part is sold out once two rounds follow each other with nothing in between: every slice was
/// empty when it answered the first, nothing has come to it until it answered the second, and the
/// treasury had nothing on its way when the second began. So at that moment there was no unit but
/// what the treasury has. (The double counting of Mattern, "Algorithms for distributed termination
/// detection", 1987.)
extension Treasury {
    public struct Round: Sendable {
        public let id: UInt64
        public let after: UInt64
        /// Slices that have not answered.
        var missing: Int
        /// All that answered were empty since the round before.
        var isQuiet = true
        /// And none of them has anything out of play.
        var isFinal = true
        /// Units were on their way when it began, or have moved since.
        var hasMoved: Bool
        /// It follows one that brought nothing, at once.
        let isConfirming: Bool
        let beganNs: UInt64
        public var sentNs: UInt64
    }

    /// Rounds of a part begin at most so often, but for the one that confirms an empty one.
    public static let roundNs: UInt64 = 100_000_000
    /// A block that is worth having before anybody waits.
    private static let leastBlock: Int64 = 8

    // MARK: Asking

    /// Notes that a slice wants units.
    ///
    /// - Returns: the lease that answers it at once where nobody waits there, if there is one.
    public mutating func note(_ asked: UnitsAsked) -> Transfer? {
        guard !isClosed, !control.closing, Int(asked.slice) < slices.count else { return nil }
        let slice = Int(asked.slice)
        // Otherwise a lease is under way.
        guard slices[slice].leaseNumber == asked.after, !slices[slice].isFinal else { return nil }
        let part = part(of: asked.slice)
        guard asked.wanted > 0 else {
            let block = parts[part].unleased.count / Int64(parts[part].slices.count)
            guard block >= Self.leastBlock, !isAsked(part) else { return nil }
            return lease(
                asked.slice, parts[part].unleased.front(block, most: Limits.rangesPerSlice))
        }
        slices[slice].wanted = asked.wanted
        slices[slice].least = max(1, asked.least)
        if !slices[slice].isAsking {
            slices[slice].isAsking = true
            parts[part].asks.append(asked.slice)
        }
        return nil
    }

    /// Whether slices wait for units of a part.
    public func isAsked(_ part: Int) -> Bool {
        parts[part].asks[parts[part].firstAsk...].contains { slices[Int($0)].isAsking }
    }

    /// The next lease of a part for whom it has enough, first come first served: what those who
    /// wait there want, or an even share of what is left, if that is more.
    public mutating func nextLease(_ part: Int) -> Transfer? {
        skipServed(part)
        let count = parts[part].unleased.count
        guard count > 0, !isClosed, !control.closing else { return nil }
        var place = parts[part].firstAsk
        while place < parts[part].asks.count {
            let slice = parts[part].asks[place]
            place += 1
            let link = slices[Int(slice)]
            guard link.isAsking, link.least <= count else { continue }
            let block = max(link.wanted, count / Int64(parts[part].slices.count))
            return lease(
                slice,
                parts[part].unleased.front(min(count, block), most: Limits.rangesPerSlice))
        }
        return nil
    }

    private mutating func skipServed(_ part: Int) {
        var first = parts[part].firstAsk
        while first < parts[part].asks.count, !slices[Int(parts[part].asks[first])].isAsking {
            first += 1
        }
        if first == parts[part].asks.count || first > 1_024 {
            parts[part].asks.removeFirst(first)
            first = 0
        }
        parts[part].firstAsk = first
    }

    /// Forgets those who cannot be helped: the certificate that stands says so.
    ///
    /// - Returns: their slices.
    public mutating func dropHopeless(_ part: Int) -> [UInt32] {
        let soldOut = parts[part].soldOut
        guard soldOut.stands else { return [] }
        var dropped: [UInt32] = []
        for slice in parts[part].asks[parts[part].firstAsk...]
        where slices[Int(slice)].isAsking && slices[Int(slice)].least > soldOut.left {
            slices[Int(slice)].isAsking = false
            dropped.append(slice)
        }
        // One that asks again comes at the end.
        parts[part].asks = parts[part].asks[parts[part].firstAsk...].filter {
            slices[Int($0)].isAsking
        }
        parts[part].firstAsk = 0
        return dropped
    }

    // MARK: Rounds

    /// When the next round of a part may begin; nil: nobody needs one, or one is under way.
    public func roundDueNs(_ part: Int) -> UInt64? {
        guard parts[part].round == nil, isWanted(part) else { return nil }
        let isFirst = parts[part].beganNs == 0
        return parts[part].mayConfirm || isFirst ? 0 : parts[part].beganNs &+ Self.roundNs
    }

    /// Begins a round.
    ///
    /// - Parameter id: not 0, and never given before.
    public mutating func beginRound(_ part: Int, id: UInt64, nowNs: UInt64) -> Recall {
        precondition(parts[part].round == nil && id != 0)
        let after = parts[part].lastRound
        parts[part].round = Round(
            id: id, after: after, missing: parts[part].slices.count,
            hasMoved: parts[part].inFlight > 0, isConfirming: parts[part].mayConfirm,
            beganNs: nowNs, sentNs: nowNs)
        if !parts[part].mayConfirm { parts[part].beganNs = max(1, nowNs) }
        parts[part].mayConfirm = false
        return Recall(pool: pool, part: UInt16(part), round: id, after: after)
    }

    /// The round under way, to be sent again.
    public mutating func roundAgain(_ part: Int, nowNs: UInt64) -> Recall? {
        guard let round = parts[part].round else { return nil }
        parts[part].round?.sentNs = nowNs
        return Recall(pool: pool, part: UInt16(part), round: round.id, after: round.after)
    }

    /// When the round under way was sent last; nil: there is none.
    public func roundSentNs(_ part: Int) -> UInt64? { parts[part].round?.sentNs }

    /// What a round has come to.
    public enum RoundResult: Sendable {
        case goesOn
        /// All have answered; units were on their way.
        case over
        /// At a moment during it nothing was left but so many units in the treasury.
        case soldOut(left: Int64)
    }

    /// Takes what a core's slices answered. What came before, or is of another round, changes
    /// nothing.
    public mutating func take(_ sweep: Sweep) -> RoundResult {
        let part = Int(sweep.part)
        guard part < parts.count, var round = parts[part].round, round.id == sweep.round else {
            return .goesOn
        }
        for swept in sweep.slices where parts[part].slices.contains(swept.slice) {
            let slice = Int(swept.slice)
            guard slices[slice].sweptRound != round.id,
                slices[slice].returnNumber == swept.returnNumber
            else { continue }
            slices[slice].sweptRound = round.id
            round.missing -= 1
            round.isQuiet = round.isQuiet && swept.isQuiet
            round.isFinal = round.isFinal && swept.isFinal
        }
        guard round.missing == 0 else {
            parts[part].round = round
            return .goesOn
        }
        parts[part].round = nil
        parts[part].lastRound = round.id
        if round.isQuiet, !round.hasMoved, round.after != 0 {
            noteEmpty(part, atNs: round.beganNs)
            parts[part].isFinal = round.isFinal
            return .soldOut(left: parts[part].unleased.count)
        }
        parts[part].empty = nil
        // The only slice of a pool asks for nobody who waits: it asks again.
        if slices.count == 1, round.isConfirming {
            slices[Int(parts[part].slices.lowerBound)].isAsking = false
        }
        // One that confirmed nothing is not followed at once by another.
        parts[part].mayConfirm = !round.hasMoved && !round.isConfirming
        return .over
    }

    /// The certificate that follows what stands.
    ///
    /// - Parameter mayBeFinal: whether everybody can read one that says so.
    public func nextSoldOut(
        _ part: Int, epoch: UInt32, left: Int64, mayBeFinal: Bool
    ) -> SoldOut {
        SoldOut(
            part: UInt16(part), epoch: epoch, generation: parts[part].soldOut.generation + 1,
            left: left, isFinal: mayBeFinal && isFinal(left: left))
    }

    /// The certificate that stands, as a later home says it.
    public func soldOutAnew(_ part: Int, epoch: UInt32) -> SoldOut {
        var soldOut = parts[part].soldOut
        soldOut.epoch = epoch
        soldOut.generation += 1
        return soldOut
    }

    /// Whether a certificate says more than the one that stands.
    public func isNews(_ part: Int, left: Int64, mayBeFinal: Bool) -> Bool {
        let standing = parts[part].soldOut
        return !standing.stands || standing.left != left
            || mayBeFinal && isFinal(left: left) && !standing.isFinal
    }

    private func isFinal(left: Int64) -> Bool {
        left == 0 && parts.allSatisfy { $0.empty != nil && $0.isFinal }
    }

    /// Everybody is told of a part.
    public mutating func tell(_ part: Int, nowNs: UInt64) { parts[part].toldNs = max(1, nowNs) }

    /// Whether a part's certificate, or that it no longer stands, may be told once more.
    public func mayTell(_ part: Int, nowNs: UInt64) -> Bool {
        !isClosed && parts[part].soldOut.generation > 0
            && (parts[part].toldNs == 0 || nowNs &- parts[part].toldNs >= Self.roundNs)
    }

    /// A closing pool leases nothing more.
    mutating func stopServing() {
        for part in parts.indices {
            parts[part].asks = []
            parts[part].firstAsk = 0
            parts[part].round = nil
        }
        for slice in slices.indices { slices[slice].isAsking = false }
    }
}
