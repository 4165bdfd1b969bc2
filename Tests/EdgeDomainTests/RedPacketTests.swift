import EdgeMemory
import EdgeTypes
import Testing

@testable import EdgeDomain

#if DEBUG
    private let large: Int64 = 1_000_000
#else
    private let large: Int64 = 10_000_000
#endif

private func seed(_ number: UInt64) -> Bits256 {
    Bits256(number, number &* 0x9e37_79b9_7f4a_7c15, ~number, 0x0123_4567_89ab_cdef)
}

@Suite("Red packet amounts")
struct RedPacketTests {
    @Test("SipHash-2-4 gives the published value for eight bytes")
    func sipHash() {
        let hash = SipHash(k0: 0x0706_0504_0302_0100, k1: 0x0f0e_0d0c_0b0a_0908)
        #expect(hash(0x0706_0504_0302_0100) == 0x93f5_f579_9a93_2462)
    }

    @Test("the permutation reaches every place once, whatever the count")
    func bijection() {
        for count in Array(1...300) + [1_023, 1_024, 1_025, 4_097, 65_537] {
            let permutation = IndexPermutation(
                count: Int64(count), key: seed(UInt64(count)).key(1))
            var seen = [Bool](repeating: false, count: count)
            for index in 0..<count {
                let place = Int(permutation(Int64(index)))
                #expect(!seen[place])
                seen[place] = true
            }
        }
    }

    @Test(
        "eight packets worked out together hold what each holds alone",
        arguments: [PoolKind.spread, .luck, .equal])
    func runs(kind: PoolKind) {
        for count in [1, 2, 7, 8, 9, 64, 1_023, 4_097] as [Int64] {
            let amounts = PacketAmounts(
                PoolDefinition(
                    name: "r", kind: kind, units: count, amountFen: count * 250 + count / 3,
                    minFen: 1, maxFen: 0, holdMs: 0, slices: 1, regions: [],
                    seed: seed(UInt64(count)), seedWasGiven: true, commitment: .zero,
                    durability: .memory, initial: PoolTerms()))
            let all = (0..<count).reduce(Fen(0)) { $0 + amounts.amount($1) }
            #expect(amounts.sum(0..<count) == all && all == count * 250 + count / 3)
            for first in 0..<count {
                #expect(amounts.sum(first..<count) + amounts.sum(0..<first) == all)
                let run = amounts.run(from: first)
                for lane in 0..<min(8, count - first) {
                    #expect(run[Int(lane)] == amounts.amount(first + lane))
                }
            }
        }
    }

    @Test("the last packets of a small rain are worked out together too, whatever the seed")
    func lastRuns() {
        // Lanes past the last packet must not walk: outside there are cycles that never come in.
        for count in 1...40 as ClosedRange<Int64> {
            for key in 0..<50 as Range<UInt64> {
                let permutation = IndexPermutation(count: count, key: seed(key).key(1))
                for first in max(0, count - 8)..<count {
                    let run = permutation.run(from: first)
                    for lane in 0..<min(8, count - first) {
                        #expect(run[Int(lane)] == permutation(first + lane))
                    }
                }
            }
        }
    }

    @Test("the total is exact and every amount within its bounds, in a large pool")
    func largePool() {
        let total = large * 2_000 + 777
        let amounts = SpreadAmounts(
            count: large, totalFen: total, minFen: 100, maxFen: 3_500, seed: seed(1))
        var sum: Fen = 0
        var outside = 0
        for index in 0..<large {
            let amount = amounts.amount(index)
            sum += amount
            if amount < 100 || amount > 3_500 { outside += 1 }
        }
        #expect(sum == total)
        #expect(outside == 0)
    }

    @Test(
        "small pools are exact and bounded too",
        arguments: [Int64(1), 2, 3, 5, 7, 10, 33, 100, 1_001])
    func smallPools(count: Int64) {
        for number in 0..<UInt64(200) {
            let total = count * 100 + Fen(number % UInt64(count))
            for kind in [PoolKind.spread, .luck, .equal] {
                let amounts = PacketAmounts(rain(kind, count, total, seed(number)))
                let all = (0..<count).map(amounts.amount)
                #expect(all.reduce(0, +) == total)
                #expect(all.allSatisfy { $0 >= 1 })
            }
        }
    }

    private func rain(
        _ kind: PoolKind, _ count: Int64, _ total: Fen, _ seed: Bits256
    ) -> PoolDefinition {
        PoolDefinition(
            name: "rain", kind: kind, units: count, amountFen: total, minFen: 1, maxFen: 0,
            holdMs: 0, slices: 1, regions: [], seed: seed, seedWasGiven: true, commitment: .zero,
            durability: .journal, initial: PoolTerms())
    }

    @Test("every position has the same mean over many seeds", arguments: [Int64(2), 3, 10, 100])
    func positionMeans(count: Int64) {
        let rounds = 4_000
        var sums = [Double](repeating: 0, count: Int(count))
        for number in 0..<rounds {
            let amounts = SpreadAmounts(
                count: count, totalFen: count * 1_000, minFen: 1, maxFen: 0,
                seed: seed(UInt64(number) &+ 77))
            for index in 0..<count { sums[Int(index)] += Double(amounts.amount(index)) }
        }
        // An odd pool's single place holds the mean: its packets vary a little less.
        let deviation = (Double(2 * 999 + 1) * Double(2 * 999 + 1) / 12).squareRoot()
        let error = deviation / Double(rounds).squareRoot()
        for sum in sums {
            #expect(abs(sum / Double(rounds) - 1_000) < 4.9 * error)
        }
    }

    @Test("slices draw their share of the total, within 4.9 standard errors", arguments: [8, 500])
    func sliceTotals(slices: Int64) {
        let amounts = SpreadAmounts(
            count: large, totalFen: large * 2_000, minFen: 1, maxFen: 0, seed: seed(3))
        let deviation = (Double(2 * 1_999 + 1) * Double(2 * 1_999 + 1) / 12).squareRoot()
        var all: Fen = 0
        for slice in 0..<slices {
            let range = (large * slice / slices)..<(large * (slice + 1) / slices)
            let sum = range.reduce(Fen(0)) { $0 + amounts.amount($1) }
            let error = deviation * Double(range.count).squareRoot()
            #expect(abs(Double(sum) - Double(range.count) * 2_000) < 4.9 * error)
            all += sum
        }
        #expect(all == large * 2_000)
    }

    @Test("amounts are uniform (chi-square over 100 bins), uncorrelated, and many")
    func uniformity() {
        // 3,999 values, 1 … 3,999: 40 to a bin and 39 in the last.
        let amounts = SpreadAmounts(
            count: large, totalFen: large * 2_000, minFen: 1, maxFen: 0, seed: seed(4))
        var bins = [Double](repeating: 0, count: 100)
        var seen = [Bool](repeating: false, count: 4_000)
        var products = 0.0
        var previous: Double?
        for index in 0..<large {
            let amount = amounts.amount(index)
            bins[Int(amount - 1) / 40] += 1
            seen[Int(amount)] = true
            let centred = Double(amount) - 2_000
            if let previous { products += previous * centred }
            previous = centred
        }
        var chiSquare = 0.0
        for (bin, count) in bins.enumerated() {
            let expected = Double(large) * (bin == 99 ? 39 : 40) / 3_999
            chiSquare += (count - expected) * (count - expected) / expected
        }
        // The 1e-4 and 1 − 1e-4 quantiles of chi-square with 99 degrees of freedom. Partners mirror
        // each other, so counts of mirrored bins go together: the sum has the distribution of
        // twice a chi-square with half the degrees, whose quantiles lie further out.
        #expect(chiSquare > 41 && chiSquare < 191, "chi-square \(chiSquare)")
        let variance = Double(3_999 * 3_999 - 1) / 12
        let correlation = products / Double(large - 1) / variance
        #expect(abs(correlation) < 4 / Double(large).squareRoot())
        #expect(seen.filter { $0 }.count >= 1_000)
    }

    /// How often each position holds the largest amount, as chi-square against uniform.
    private func luckiest(_ draw: (UInt64) -> [Fen]) -> Double {
        let rounds = 20_000
        var wins = [Double](repeating: 0, count: 10)
        for number in 0..<rounds {
            let list = draw(UInt64(number))
            guard let most = list.max(), let winner = list.firstIndex(of: most) else { continue }
            wins[winner] += 1
        }
        let expected = Double(rounds) / 10
        return wins.reduce(0) { $0 + ($1 - expected) * ($1 - expected) / expected }
    }

    @Test("in a luck rain every position is equally likely the luckiest; plain draws are not")
    func luck() {
        let shuffled = luckiest { number in
            LuckAmounts(
                count: 10, totalFen: 100_000, minFen: 1, maxFen: 0, seed: seed(number)
            ).amounts
        }
        let plain = luckiest { number in
            LuckAmounts.draw(
                count: 10, totalFen: 100_000, minFen: 1, maxFen: 0, key: seed(number).key(3))
        }
        // 33.7 is the 1 − 1e-4 quantile of chi-square with 9 degrees of freedom.
        #expect(shuffled < 33.7, "chi-square \(shuffled)")
        #expect(plain > 33.7, "the test must catch plain double-mean draws: \(plain)")
    }

    @Test("luck keeps to MIN and MAX, and to the total")
    func luckBounds() {
        for number in 0..<UInt64(500) {
            let count = Int64(number % 20) + 1
            let total = count * 50 + Fen(number % 7)
            let list = LuckAmounts(
                count: count, totalFen: total, minFen: 20, maxFen: 90, seed: seed(number)
            ).amounts
            #expect(list.reduce(0, +) == total)
            #expect(list.allSatisfy { $0 >= 20 && $0 <= 90 })
        }
    }

    @Test("other seeds give other amounts")
    func seeds() {
        let pools = (0..<2).map { number in
            SpreadAmounts(
                count: 1_000, totalFen: 1_000_000, minFen: 1, maxFen: 0, seed: seed(number))
        }
        let same = (0..<Int64(1_000)).count { pools[0].amount($0) == pools[1].amount($0) }
        #expect(same < 20)
    }
}
