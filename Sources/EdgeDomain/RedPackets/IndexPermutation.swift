import EdgeTypes

/// A secret permutation of `0 ..< count` that is computed, not stored.
///
/// An alternating Feistel network over ⌈log₂ count⌉ bits whose halves differ by at most one bit
/// (Luby & Rackoff 1988; six rounds after Patarin), walked along its cycle until it lands inside
/// (Black & Rogaway, "Ciphers with arbitrary finite domains", 2002). The round function is a
/// pseudo-random function of at most 15 bits, so each round is a table made once from the key:
/// 6 · 2^⌈bits/2⌉ entries of 2 bytes, 48 KiB for 10 million.
///
/// Complexity: O(1), at most 2 walks expected, whatever the count. Init: O(√count).
public struct IndexPermutation: Sendable {
    @usableFromInline let count: UInt64
    @usableFromInline let lowBits: UInt64
    @usableFromInline let lowMask: UInt64
    /// Six tables, alternately indexed by the low and the high half.
    @usableFromInline let rounds: [UInt16]
    @usableFromInline let tableShift: UInt64

    static let roundCount = 6

    /// - Parameter count: 1 to 2^30.
    public init(count: Int64, key: SipHash) {
        precondition(count >= 1 && count <= 1 << 30)
        self.count = UInt64(count)
        let bits = count == 1 ? 0 : UInt64(64 - (count - 1).leadingZeroBitCount)
        // The low half is the wider one.
        lowBits = (bits + 1) / 2
        let highBits = bits / 2
        lowMask = (1 << lowBits) - 1
        tableShift = lowBits
        var tables: [UInt16] = []
        tables.reserveCapacity(Self.roundCount << lowBits)
        for round in 0..<Self.roundCount {
            let mask = (UInt64(1) << (round & 1 == 0 ? highBits : lowBits)) - 1
            for half in 0..<(UInt64(1) << lowBits) {
                let word = (UInt64(round) << 32) | half
                tables.append(UInt16(truncatingIfNeeded: key(word) & mask))
            }
        }
        rounds = tables
    }

    /// Where `index` goes.
    ///
    /// - Precondition: `0 <= index < count`.
    @inlinable
    public func callAsFunction(_ index: Int64) -> Int64 {
        var value = UInt64(bitPattern: index)
        precondition(value < count)
        repeat {
            value = rounds.withUnsafeBufferPointer { encipher(value, $0) }
        } while value >= count
        return Int64(bitPattern: value)
    }

    @inlinable @inline(__always)
    func encipher(_ value: UInt64, _ tables: UnsafeBufferPointer<UInt16>) -> UInt64 {
        var high = value &>> lowBits
        var low = value & lowMask
        high ^= Self.look(tables, low)
        low ^= Self.look(tables, (1 &<< tableShift) | high)
        high ^= Self.look(tables, (2 &<< tableShift) | low)
        low ^= Self.look(tables, (3 &<< tableShift) | high)
        high ^= Self.look(tables, (4 &<< tableShift) | low)
        low ^= Self.look(tables, (5 &<< tableShift) | high)
        return (high &<< lowBits) | low
    }

    @inlinable @inline(__always)
    static func look(_ tables: UnsafeBufferPointer<UInt16>, _ index: UInt64) -> UInt64 {
        UInt64(tables[Int(truncatingIfNeeded: index)])
    }
}
