import EdgeMemory
public import EdgeTypes

/// Units of a pool that spans several regions. Each region's part is a treasury of its own; where
/// one is confirmed to be empty and somebody waits there, units of the others move to it: first what
/// lies in their treasuries, then what their slices give back in a round. So nobody is told that
/// nothing is left while a region whose crowd stayed away holds units.
///
/// Moves are made at the home, between requests: no grab waits for another region's answer but at
/// its very end. The pool is sold out only where rounds in all parts have met a moment at which all of
/// them were empty.
extension Treasury {
    /// Units go from one part to another. Journaled.
    public mutating func apply(_ move: UnitMove) {
        let isTaken = parts[Int(move.from)].unleased.take(move.ranges)
        precondition(isTaken, "a move exceeds the treasury")
        for range in move.ranges { parts[Int(move.to)].unleased.put(range) }
        for part in [Int(move.from), Int(move.to)] { stir(part) }
    }

    /// Whether a move follows from what is here.
    public func canApply(_ move: UnitMove) -> Bool {
        guard move.pool == pool, Int(move.from) < parts.count, Int(move.to) < parts.count,
            move.from != move.to, !move.ranges.isEmpty
        else { return false }
        return parts[Int(move.from)].unleased.follows(move.ranges)
    }

    /// Something has come to a part's treasury or left it: what was found out about it is void.
    mutating func stir(_ part: Int) {
        parts[part].round?.hasMoved = true
        parts[part].empty = nil
    }

    /// Units have come back somewhere: what was found out about the parts is void.
    public mutating func forgetEmpty() {
        for part in parts.indices { parts[part].empty = nil }
    }

    /// A round has found nothing in a part's slices: all were empty when it began.
    mutating func noteEmpty(_ part: Int, atNs: UInt64) {
        let from = parts[part].empty?.lowerBound ?? atNs
        parts[part].empty = min(from, atNs)...atNs
        parts[part].isSought = false
    }

    /// The parts that were found empty and where somebody waits all the same.
    public var starving: [Int] {
        guard parts.count > 1 else { return [] }
        return parts.indices.filter { parts[$0].empty != nil && isAsked($0) }
    }

    /// What comes of a part that was found empty.
    public enum Relief: Hashable, Sendable {
        /// Nobody has more than so many units of the pool, wherever they are.
        case none(left: Int64)
        /// Units of another part are here.
        case move(UnitMove)
        /// The slices of these parts may have some: rounds begin there.
        case seek
    }

    /// What may help a part that was found empty.
    ///
    /// Complexity: O(regions).
    public mutating func relief(of part: Int) -> Relief {
        let own = parts[part].unleased.count
        let all = unleased
        // What the first of those who wait cannot do without; where nobody waits, one unit.
        let waiting = parts[part].asks[parts[part].firstAsk...].filter {
            slices[Int($0)].isAsking
        }
        let least = max(1, waiting.map { slices[Int($0)].least }.min() ?? 1)
        if all >= least, all > own, !waiting.isEmpty {
            let wanted = waiting.reduce(Int64(0)) { sum, slice in
                min(Limits.unitsPerPool, sum + min(Limits.unitsPerPool, slices[Int(slice)].wanted))
            }
            // Whoever has most gives: what is wanted, or half, whatever is more.
            let others = parts.indices.filter { $0 != part }
            let giver = others.max { left, right in
                let (a, b) = (parts[left].unleased.count, parts[right].unleased.count)
                return a == b ? left > right : a < b
            }
            if let giver, parts[giver].unleased.count > 0 {
                let count = parts[giver].unleased.count
                let units = min(count, max(1, wanted - own, count / 2))
                return .move(
                    UnitMove(
                        pool: pool, from: UInt16(giver), to: UInt16(part),
                        ranges: parts[giver].unleased.front(
                            units, most: Limits.rangesPerSlice)))
            }
        }
        // There must be a moment at which all were empty.
        let from = parts.map { $0.empty?.lowerBound ?? .max }.max() ?? 0
        var isSeeking = false
        for other in parts.indices where parts[other].empty?.upperBound ?? 0 < from {
            parts[other].isSought = true
            isSeeking = true
        }
        return isSeeking ? .seek : .none(left: all)
    }

    /// Whether a part's units are wanted: by its own slices, or for the sake of another part.
    public func isWanted(_ part: Int) -> Bool {
        isAsked(part) || (parts[part].isSought && !starving.isEmpty)
    }
}
