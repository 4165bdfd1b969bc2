import EdgeMemory

/// How often each delay occurred, to 1 part in 2,048: exact below 2,048 ns.
///
/// A counter per delay that differs in its leading 11 bits, as in HdrHistogram.
///
/// Memory: 450 kB. Complexity: `record` O(1), `quantileNs` O(counters).
public struct DelayHistogram: ~Copyable {
    private static let bits = 10
    private static let counters = (64 - bits + 1) << bits

    private var counts = PlainList<UInt64>(capacity: counters)
    public private(set) var count: UInt64 = 0
    public private(set) var sumNs: UInt64 = 0

    public init() {
        for _ in 0..<Self.counters { counts.append(0) }
    }

    public var meanNs: Double { count == 0 ? 0 : Double(sumNs) / Double(count) }

    /// - Precondition: the sum of all delays stays below 2^64.
    public mutating func record(_ delayNs: UInt64) {
        counts[Self.index(of: delayNs)] += 1
        count += 1
        sumNs += delayNs
    }

    /// A delay that the given part of all delays does not exceed, in the middle of its counter.
    ///
    /// - Precondition: something was recorded; 0 < `probability` <= 1.
    public func quantileNs(_ probability: Double) -> UInt64 {
        precondition(count > 0)
        precondition(probability > 0 && probability <= 1)
        let target = UInt64((probability * Double(count)).rounded(.up))
        var seen: UInt64 = 0
        for index in 0..<Self.counters {
            seen += counts[index]
            if seen >= target { return Self.middleNs(of: index) }
        }
        preconditionFailure("counts and their sum differ")
    }

    /// Delays below 2^(bits + 1) have a counter each; above, those alike in their first bits + 1.
    private static func index(of delayNs: UInt64) -> Int {
        let shift = max(0, 63 - bits - (delayNs | 1).leadingZeroBitCount)
        return (shift << bits) + Int(delayNs >> UInt64(shift))
    }

    private static func middleNs(of index: Int) -> UInt64 {
        let shift = UInt64(max(0, (index >> bits) - 1))
        let lead = UInt64(index) - (shift << UInt64(bits))
        return (lead << shift) + ((1 << shift) >> 1)
    }
}
