import EdgeMemory
import EdgeTypes

/// The amounts of a `luck` rain: small group packets with a wide spread.
///
/// Each draw is uniform between the minimum and twice the mean of what is left ("double mean");
/// the last takes the rest. Drawn in order, early packets and late ones differ in variance, so
/// the list is shuffled (Fisher & Yates): every position is equally likely to be the luckiest.
///
/// Complexity: init O(count), 8 bytes a packet; a look-up O(1).
public struct LuckAmounts: Sendable {
    public let amounts: [Fen]

    /// - Precondition: `AmountRules.check` passed for these values.
    public init(count: Int64, totalFen: Fen, minFen: Fen, maxFen: Fen, seed: Bits256) {
        var list = Self.draw(
            count: count, totalFen: totalFen, minFen: minFen, maxFen: maxFen, key: seed.key(3))
        let key = seed.key(4)
        for index in stride(from: list.count - 1, to: 0, by: -1) {
            let other = Hash64.reduce(key(UInt64(index)), below: UInt64(index) + 1)
            list.swapAt(index, Int(other))
        }
        amounts = list
    }

    /// The draws before the shuffle.
    static func draw(
        count: Int64, totalFen: Fen, minFen: Fen, maxFen: Fen, key: SipHash
    ) -> [Fen] {
        precondition(count >= 1 && count <= Limits.luckPackets)
        let most = maxFen == 0 ? totalFen : min(maxFen, totalFen)
        var rest = totalFen
        var list: [Fen] = []
        list.reserveCapacity(Int(count))
        for index in 0..<count {
            let left = count - index
            // Whatever is drawn, the packets after it must be able to take the rest.
            let (mostAfter, overflow) = most.multipliedReportingOverflow(by: left - 1)
            let low = max(minFen, overflow ? minFen : rest - mostAfter)
            let high = min(most, rest - minFen * (left - 1), max(low, (2 * (rest / left)) - minFen))
            let upper = max(low, high)
            let width = UInt64(upper - low) + 1
            let amount =
                left == 1 ? rest : low + Fen(Hash64.reduce(key(UInt64(index)), below: width))
            list.append(amount)
            rest -= amount
        }
        return list
    }
}
