import EdgeMemory
import EdgeTypes

/// A value for each of eight consecutive packets, which are worked out together.
public typealias PacketRun = InlineArray<8, Int64>

/// A secret permutation of `0 ..< count` that is computed, not stored.
///
/// A generalised Feistel network over ℤa × ℤb with a = ⌈√count⌉ and b = ⌈count / a⌉, walked along
/// its cycle until it lands inside (Black & Rogaway, "Ciphers with arbitrary finite domains",
/// 2002, sections 4 and 5; six rounds after Patarin). a · b exceeds `count` by less than a, so a
/// walk has a second step once in √count numbers, whatever the count: a network over whole bits
/// walks up to four times, and its unforeseeable branch costs more than the rounds do. The round
/// function is a pseudo-random function of fewer than 2^15 values, so each round is a table made
/// once from the key: 6 · a entries of 2 bytes, 38 KiB for 10 million.
///
/// Complexity: O(1). Init: O(√count).
public struct IndexPermutation: Sendable {
    @usableFromInline let count: UInt32
    /// a and b: how many values the high and the low part have.
    @usableFromInline let highs: UInt32
    @usableFromInline let lows: UInt32
    /// Six tables of `highs` entries, alternately indexed by the low and the high part.
    @usableFromInline let rounds: [UInt16]

    static let roundCount = 6

    /// - Parameter count: 1 to 2^30.
    public init(count: Int64, key: SipHash) {
        precondition(count >= 1 && count <= 1 << 30)
        var root: Int64 = 1
        while root * root < count { root += 1 }
        self.count = UInt32(count)
        highs = UInt32(root)
        lows = UInt32((count + root - 1) / root)
        var tables: [UInt16] = []
        tables.reserveCapacity(Self.roundCount * Int(root))
        for round in 0..<UInt64(Self.roundCount) {
            let values = UInt64(round & 1 == 0 ? highs : lows)
            for part in 0..<UInt64(highs) {
                let draw = Hash64.reduce(key((round << 32) | part), below: values)
                tables.append(UInt16(draw))
            }
        }
        rounds = tables
    }

    /// Where `index` goes.
    ///
    /// - Precondition: `0 <= index < count`.
    @inlinable @inline(__always)
    public func callAsFunction(_ index: Int64) -> Int64 {
        precondition(index >= 0 && index < Int64(count))
        var value = UInt32(truncatingIfNeeded: index)
        repeat { value = encipher(value) } while value >= count
        return Int64(value)
    }

    /// Where `first` and the numbers after it go; those not below `count` go to 0.
    ///
    /// One number's rounds wait for one another; eight side by side keep the loads busy.
    @inlinable
    public func run(from first: Int64) -> PacketRun {
        precondition(first >= 0 && first < Int64(count))
        var highParts = InlineArray<8, UInt32>(repeating: 0)
        var lowParts = InlineArray<8, UInt32>(repeating: 0)
        // The parts of the next number follow from this one's, without another division.
        var high = UInt32(truncatingIfNeeded: first) / lows
        var low = UInt32(truncatingIfNeeded: first) &- high &* lows
        for lane in 0..<8 {
            highParts[lane] = high
            lowParts[lane] = low
            let carries = low &+ 1 == lows
            low = carries ? 0 : low &+ 1
            high = carries && high &+ 1 < highs ? high &+ 1 : high
        }
        for round in [0 as UInt32, 2, 4] {
            for lane in 0..<8 {
                highParts[lane] = Self.add(
                    look(round, lowParts[lane]), highParts[lane], below: highs)
            }
            for lane in 0..<8 {
                lowParts[lane] = Self.add(
                    look(round &+ 1, highParts[lane]), lowParts[lane], below: lows)
            }
        }
        var places = PacketRun(repeating: 0)
        // A walk comes back inside only if it began there: numbers outside may have cycles of
        // their own.
        let inside = min(8, Int(Int64(count) &- first))
        for lane in 0..<inside {
            var value = highParts[lane] &* lows &+ lowParts[lane]
            while value >= count { value = encipher(value) }
            places[lane] = Int64(value)
        }
        return places
    }

    @inlinable @inline(__always)
    func encipher(_ value: UInt32) -> UInt32 {
        var high = value / lows
        var low = value &- high &* lows
        high = Self.add(look(0, low), high, below: highs)
        low = Self.add(look(1, high), low, below: lows)
        high = Self.add(look(2, low), high, below: highs)
        low = Self.add(look(3, high), low, below: lows)
        high = Self.add(look(4, low), high, below: highs)
        low = Self.add(look(5, high), low, below: lows)
        return high &* lows &+ low
    }

    @inlinable @inline(__always)
    func look(_ round: UInt32, _ part: UInt32) -> UInt32 {
        UInt32(rounds[Int(round &* highs &+ part)])
    }

    /// Sum of two numbers below `bound`, modulo `bound`; without a branch.
    @inlinable @inline(__always)
    static func add(_ a: UInt32, _ b: UInt32, below bound: UInt32) -> UInt32 {
        let sum = a &+ b
        return min(sum, sum &- bound)
    }
}
