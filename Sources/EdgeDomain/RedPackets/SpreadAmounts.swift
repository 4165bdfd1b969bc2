import EdgeMemory
import EdgeTypes

/// The amounts of a `spread` rain as a function of the packet's number.
///
/// A secret permutation sends packet k to place p. Places 2j and 2j + 1 are partners: one holds
/// mean + d, the other mean − d, with d uniform in −D ... D and drawn from the seed. Hence
/// - the total is exact to the fen (fen that do not divide go to the first places, one each),
/// - every amount lies in `minFen ... maxFen`,
/// - every packet has the same mean and variance whatever its number, and
/// - nothing is stored: any node computes any packet, on 1 slice or 16,384.
///
/// Complexity: O(1) a packet.
public struct SpreadAmounts: Sendable {
    @usableFromInline let permutation: IndexPermutation
    @usableFromInline let offsets: SipHash
    @usableFromInline let count: Int64
    /// The mean, rounded down; the first `remainder` places get one fen more.
    @usableFromInline let mean: Fen
    @usableFromInline let remainder: Int64
    /// D: how far an amount may lie from the mean.
    @usableFromInline let reach: Fen

    /// - Precondition: `AmountRules.check` passed for these values.
    public init(count: Int64, totalFen: Fen, minFen: Fen, maxFen: Fen, seed: Bits256) {
        precondition(count >= 1 && totalFen >= 0)
        self.count = count
        mean = totalFen / count
        remainder = totalFen % count
        let most = remainder > 0 ? mean + 1 : mean
        let above = maxFen == 0 ? Fen.max : maxFen - most
        reach = min(mean - minFen, above)
        precondition(reach >= 0)
        permutation = IndexPermutation(count: count, key: seed.key(1))
        offsets = seed.key(2)
    }

    /// What packet `index` holds, in fen.
    ///
    /// - Precondition: `0 <= index < count`.
    @inlinable
    public func amount(_ index: Int64) -> Fen { amount(at: permutation(index)) }

    /// What the packets `first ..< first + 8` hold; past the last packet, anything.
    @inlinable
    public func run(from first: Int64) -> PacketRun {
        var run = permutation.run(from: first)
        for lane in 0..<8 { run[lane] = amount(at: run[lane]) }
        return run
    }

    @inlinable @inline(__always)
    func amount(at place: Int64) -> Fen {
        let base = place < remainder ? mean + 1 : mean
        // The last place of an odd pool has no partner.
        if place == count &- 1 && (count & 1) == 1 { return base }
        let draw = offsets(UInt64(bitPattern: place &>> 1))
        let width = UInt64(bitPattern: reach) &* 2 &+ 1
        let offset = Int64(bitPattern: draw.multipliedFullWidth(by: width).high) &- reach
        // Even places get the offset, odd ones its negation: which is which, no branch foresees.
        return base + offset &* (1 &- 2 &* (place & 1))
    }
}
