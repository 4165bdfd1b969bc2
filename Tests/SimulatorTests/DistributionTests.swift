import Glibc
import Simulator
import Testing

@Suite struct DistributionTests {
    private static let table = QuantileTable([
        .init(probability: 0.5, ns: 1_000), .init(probability: 0.9, ns: 5_000),
        .init(probability: 0.99, ns: 50_000), .init(probability: 1, ns: 50_000),
    ])

    /// Each with its quantiles at 1, 50 and 99 %, and its standard deviation in means.
    private static let cases: [(Distribution, quantilesNs: [Double], deviation: Double)] = [
        (.constant(ns: 42), [42, 42, 42], 0),
        (.uniform(fromNs: 1_000, toNs: 2_000), [1_010, 1_500.5, 1_991], 0.2),
        (.exponential(meanNs: 1_000_000), [10_050.3, 693_147.2, 4_605_170.2], 1),
        // 2.3263479 standard deviations.
        (
            .logNormal(medianNs: 1_000_000, sigma: 0.5),
            [312_492.8, 1_000_000, 3_200_074.0], 0.533
        ),
        (.pareto(scaleNs: 1_000, shape: 3), [1_003.4, 1_259.9, 4_641.6], 0.578),
        (
            .bimodal(shortNs: 1_000, longNs: 30_000, longProbability: 0.02),
            [1_000, 1_000, 30_000], 2.58
        ),
        (.empirical(table), [1_000, 1_000, 50_000], 4),
    ]

    @Test("quantiles are those of the closed form", arguments: cases.indices)
    func quantiles(index: Int) {
        let (distribution, expected, _) = Self.cases[index]
        for (probability, expectedNs) in zip([0.01, 0.5, 0.99], expected) {
            let ns = Double(distribution.quantileNs(probability))
            #expect((ns - expectedNs).magnitude <= 1 + 1e-6 * expectedNs)
        }
    }

    @Test("samples have the distribution's mean and percentiles", arguments: cases.indices)
    func samples(index: Int) {
        let (distribution, _, deviation) = Self.cases[index]
        let random = RandomSource(seed: 11)
        let draws = 40_000
        var sum = 0.0
        var atMost = [0.1, 0.5, 0.9, 0.99].map { (probability: $0, count: 0) }
        let quantilesNs = atMost.map { distribution.quantileNs($0.probability) }
        for draw in 0..<UInt64(draws) {
            let ns = distribution.sampleNs(random.word(.service, 0, draw))
            sum += Double(ns)
            for place in 0..<4 where ns <= quantilesNs[place] { atMost[place].count += 1 }
        }
        // Five standard deviations, and half a nanosecond for rounding.
        let meanNs = sum / Double(draws)
        let bound = 0.5 + 5 * distribution.meanNs * deviation / Double(draws).squareRoot()
        #expect((meanNs - distribution.meanNs).magnitude <= bound, "mean \(meanNs)")
        for (probability, count) in atMost {
            let spread = (probability * (1 - probability) * Double(draws)).squareRoot()
            let least = probability * Double(draws) - 5 * spread
            #expect(Double(count) >= least, "at \(probability): \(count)")
            // Where times repeat, a quantile's time covers more than its probability.
            if case .constant = distribution { continue }
            if case .bimodal = distribution { continue }
            if case .empirical = distribution { continue }
            #expect(Double(count) <= probability * Double(draws) + 5 * spread)
        }
    }

    @Test("a greater word never gives a shorter time", arguments: cases.indices)
    func monotone(index: Int) {
        let (distribution, _, _) = Self.cases[index]
        var lastNs: UInt64 = 0
        for step in 0...UInt64(4_096) {
            let word = step == 4_096 ? .max : step << 52
            let ns = distribution.sampleNs(word)
            #expect(ns >= lastNs)
            lastNs = ns
        }
    }

    @Test("the ends of what can be drawn are finite")
    func ends() {
        #expect(Distribution.pareto(scaleNs: 1_000, shape: 0.5).sampleNs(.max) == 1 << 62)
        #expect(Distribution.pareto(scaleNs: 1_000, shape: 0.5).sampleNs(0) == 1_000)
        #expect(Distribution.pareto(scaleNs: 1_000, shape: 0.5).meanNs == .infinity)
        #expect(Distribution.constant(ns: .max).sampleNs(7) == 1 << 62)
        #expect(Distribution.exponential(meanNs: 1_000).sampleNs(0) == 0)
        // log(2^53) means.
        #expect(Distribution.exponential(meanNs: 1_000).sampleNs(.max) == 36_737)
        #expect(Distribution.uniform(fromNs: 3, toNs: 5).sampleNs(0) == 3)
        #expect(Distribution.uniform(fromNs: 3, toNs: 5).sampleNs(.max) == 5)
        #expect(Distribution.uniform(fromNs: 3, toNs: 3).sampleNs(.max) == 3)
    }

    @Test("a table of quantiles has straight lines between its points, and none beyond")
    func empirical() {
        #expect(Self.table.points.count == 4)
        let distribution = Distribution.empirical(Self.table)
        #expect(distribution.quantileNs(0.1) == 1_000)
        #expect(distribution.quantileNs(0.7) == 3_000)
        #expect(distribution.quantileNs(0.9) == 5_000)
        #expect(distribution.quantileNs(0.999) == 50_000)
        let single = Distribution.empirical(QuantileTable([.init(probability: 0.5, ns: 9)]))
        #expect(single.quantileNs(0.1) == 9 && single.quantileNs(0.9) == 9)
        #expect(single.meanNs == 9)
    }

    @Test("a table that falls is refused")
    func falling() async {
        await #expect(processExitsWith: .failure) {
            _ = QuantileTable([.init(probability: 0.1, ns: 2), .init(probability: 0.2, ns: 1)])
        }
    }
}
