import EdgeCluster
import EdgeMemory
import EdgeTypes
import Simulator
import Testing

@testable import CapacitySimulator

@Suite("Capacity")
struct CapacityTests {
    static func scenario(
        users: UInt64, nodes: Int, slices: UInt32, spreadNs: UInt64 = 1_000_000_000
    ) -> CapacityScenario {
        CapacityScenario(
            name: "test", nodes: nodes, shards: 64,
            pools: [
                CapacityScenario.Pool(
                    name: "rain", users: users, packets: Int64(users),
                    amountFen: Int64(users) * 2_000, slices: slices,
                    arrivals: .notified(
                        .uniform(fromNs: 0, toNs: spreadNs),
                        reaction: .logNormal(medianNs: 350_000_000, sigma: 0.5)))
            ])
    }

    @Test("a seed gives one digest, another seed another, and the heap the ladder's")
    func digests() {
        let scenario = Self.scenario(users: 20_000, nodes: 8, slices: 16)
        let first = scenario.run(seed: 7, calibration: .constant())
        let again = scenario.run(seed: 7, calibration: .constant())
        let heap = scenario.run(seed: 7, calibration: .constant(), queue: .heap)
        let other = scenario.run(seed: 8, calibration: .constant())
        #expect(first.digest == again.digest)
        #expect(first.digest == heap.digest)
        #expect(first.events == heap.events)
        #expect(first.digest != other.digest)
        #expect(first.contradictions.isEmpty)
        #expect(heap.contradictions.isEmpty)
    }

    @Test(
        "slices strand nothing, and nobody goes without, for a few messages",
        arguments: [50, 1_000] as [UInt32])
    func stranding(slices: UInt32) {
        let result = Self.scenario(users: 100_000, nodes: 10, slices: slices)
            .run(seed: 3, calibration: .constant())
        #expect(result.stranded == 0)
        #expect(result.unserved == 0)
        #expect(result.contradictions.isEmpty)
        #expect(result.pools[0].waited > 0)
        #expect(result.pools[0].waitP99Ns < 1_000_000_000)
        #expect(result.frames < UInt64(slices) * 40)
    }

    @Test(
        "ten million users over 500 fixed slices of 20,000 would strand 28,200 units",
        .timeLimit(.minutes(5)))
    func strandingOfTheLargeRain() {
        let slices = 500
        var total: Int64 = 0
        let draws = 2
        for draw in 0..<UInt64(draws) {
            let definition = PoolDefinition(
                name: "rain", kind: .spread, units: 10_000_000, amountFen: 20_000_000_000,
                minFen: 1, maxFen: 0, holdMs: 0, slices: UInt32(slices), regions: [],
                seed: .zero, seedWasGiven: true, commitment: .zero, durability: .memory,
                initial: PoolTerms())
            let map = SliceMap(definition, pool: PoolKey(rawValue: 0x1234_5678 &+ draw &* 977))
            var taken = [Int64](repeating: 0, count: slices)
            for user in 0..<UInt64(10_000_000) {
                guard let slice = map.slice(of: user &* 0x9e37_79b9_7f4a_7c15, region: 0) else {
                    continue
                }
                taken[Int(slice)] += 1
            }
            total += taken.reduce(0) { $0 + max(0, 20_000 - $1) }
        }
        // The standard deviation of one draw is 950.
        let mean = Double(total) / Double(draws)
        let difference = (mean - 28_200).magnitude
        #expect(difference < 3_000, "\(mean)")
    }

    @Test(
        "Little's law holds at every node: present over time is the sum of sojourns",
        arguments: [1, 5, 1_024])
    func littlesLaw(batchLimit: Int) {
        var scenario = Self.scenario(users: 30_000, nodes: 4, slices: 8, spreadNs: 50_000_000)
        scenario.batchLimit = batchLimit
        // Slow enough that queues build up.
        let result = scenario.run(seed: 5, calibration: .constant(messageNs: 20_000))
        #expect(result.contradictions.isEmpty)
        let waiting = result.nodes.map(\.peakWaiting).max() ?? 0
        #expect(waiting > 100)
        for node in result.nodes {
            let rate = Double(node.served) / Double(result.endNs)
            let difference = (node.meanPresent - rate * node.meanSojournNs).magnitude
            #expect(difference <= 1e-6 * node.meanPresent)
        }
    }

    @Test("batches change latencies and no grant")
    func batches() {
        var scenario = Self.scenario(users: 20_000, nodes: 4, slices: 8, spreadNs: 50_000_000)
        let large = scenario.run(seed: 5, calibration: .constant(messageNs: 10_000))
        scenario.batchLimit = 1
        let small = scenario.run(seed: 5, calibration: .constant(messageNs: 10_000))
        #expect(large.pools[0].granted == small.pools[0].granted)
        #expect(large.digest != small.digest)
    }

    @Test("a journal pool's answers wait for the sync, and syncs are shared")
    func groupCommit() {
        var scenario = Self.scenario(users: 20_000, nodes: 4, slices: 8)
        let memory = scenario.run(seed: 5, calibration: .constant(syncNs: 5_000_000))
        scenario.pools[0].durability = .journal
        let journal = scenario.run(seed: 5, calibration: .constant(syncNs: 5_000_000))
        let added = Int64(journal.percentileNs(50)) - Int64(memory.percentileNs(50))
        // One sync and the rest of the one that is going on: 5 to 10 ms.
        #expect(added > 4_500_000 && added < 10_500_000, "\(added)")
        #expect(journal.contradictions.isEmpty)
        #expect(journal.nodes.allSatisfy { $0.syncUtilisation <= 1 })
        #expect(journal.pools[0].granted == memory.pools[0].granted)
        // Leases follow demand, whose order is another.
        let difference = Int64(journal.journalBytes) - Int64(memory.journalBytes)
        #expect(difference.magnitude < UInt64(memory.journalBytes) / 100)
    }

    @Test("lost nodes take their packets along, everybody is answered, and books still balance")
    func losses() {
        var scenario = Self.scenario(users: 20_000, nodes: 10, slices: 20)
        scenario.losses = [CapacityScenario.Loss(nodes: 2, atNs: 500_000_000)]
        let result = scenario.run(seed: 5, calibration: .constant())
        let heap = scenario.run(seed: 5, calibration: .constant(), queue: .heap)
        #expect(result.contradictions.isEmpty)
        #expect(result.digest == heap.digest)
        #expect(result.nodes.filter(\.isLost).count == 2)
        #expect(result.quarantined > 0)
        #expect(result.retries > 0)
        let lost = result.pools[0].answers.first { $0.outcome == "lost" }
        #expect(lost != nil)
    }

    @Test("a rain that closes gives everything back at its time")
    func closes() {
        var scenario = Self.scenario(users: 20_000, nodes: 10, slices: 20)
        scenario.pools[0].closesAfterNs = 600_000_000
        let result = scenario.run(seed: 5, calibration: .constant())
        #expect(result.contradictions.isEmpty)
        let closed = result.pools[0].answers.first { $0.outcome == "closed" }?.count ?? 0
        #expect(closed > 1_000 && closed < 19_000)
        #expect(result.pools[0].granted + closed >= 19_000)
    }

    @Test("recorded arrivals are scaled so that they add up")
    func recorded() {
        let histogram = ArrivalHistogram([
            .init(fromNs: 0, count: 1), .init(fromNs: 1_000, count: 2),
            .init(fromNs: 3_000, count: 4),
        ])
        let plan = ArrivalPlan(histogram, users: 100)
        #expect(plan.counts == [14, 29, 57])
        #expect(plan.edgesNs == [0, 1_000, 3_000, 5_000])
        var scenario = Self.scenario(users: 5_000, nodes: 4, slices: 8)
        scenario.pools[0].arrivals = .recorded(histogram)
        let result = scenario.run(seed: 1, calibration: .constant())
        #expect(result.contradictions.isEmpty)
        #expect(result.arrivals == [5_000])
    }

    @Test("tabulated quantiles follow their distribution")
    func quantiles() {
        let exact = Distribution.logNormal(medianNs: 350_000_000, sigma: 0.5)
        let fast = FastQuantiles(exact)
        var before: UInt64 = 0
        for step in stride(from: UInt64(0), to: 1 << 32, by: 1_048_573) {
            let fraction = UInt32(step)
            let sample = fast.sampleNs(fraction)
            let wanted = exact.quantileNs((Double(fraction) + 0.5) * 0x1p-32)
            #expect(sample >= before)
            let difference = (Double(sample) - Double(wanted)).magnitude
            #expect(difference < 0.01 * Double(wanted))
            before = sample
        }
    }

    @Test("more users at nearer nodes, and far links, are seen")
    func zones() {
        var scenario = Self.scenario(users: 20_000, nodes: 10, slices: 20)
        scenario.zones = [
            CapacityScenario.Zone(users: 0.8, nodes: 0.5),
            CapacityScenario.Zone(users: 0.2, nodes: 0.5),
        ]
        scenario.links.far = .constant(ns: 10_000_000)
        scenario.entry = .nearest
        let near = scenario.run(seed: 1, calibration: .constant())
        scenario.entry = .random
        let random = scenario.run(seed: 1, calibration: .constant())
        let first = near.nodes.prefix(5).reduce(0) { $0 + $1.served }
        let second = near.nodes.suffix(5).reduce(0) { $0 + $1.served }
        #expect(first > second)
        #expect(random.percentileNs(50) > near.percentileNs(50))
        #expect(near.contradictions.isEmpty && random.contradictions.isEmpty)
    }
}

@Suite("Capacity statistics")
struct StatisticsTests {
    @Test("the interval of a known sample")
    func interval() {
        let interval = ConfidenceInterval([1, 2, 3, 4, 5])
        #expect(interval.mean == 3)
        // 2.7764 · sqrt(2.5 / 5)
        let difference = ((interval.halfWidth ?? 0) - 1.9632).magnitude
        #expect(difference < 1e-4)
        #expect(ConfidenceInterval([4]).halfWidth == nil)
    }

    @Test(
        "Student's quantiles", arguments: [(1, 12.7062), (30, 2.0423), (40, 2.0211), (120, 1.9799)])
    func student(degrees: Int, quantile: Double) {
        let difference = (ConfidenceInterval.student(degrees: degrees) - quantile).magnitude
        #expect(difference < 1e-4)
    }

    @Test("an SLO is judged by the interval's upper end")
    func judgement() {
        var scenario = CapacityTests.scenario(users: 5_000, nodes: 4, slices: 8)
        let results = [1, 2, 3].map { scenario.run(seed: $0, calibration: .constant()) }
        let values = results.map { Double($0.percentileNs(99)) / 1e6 }
        let highest = values.max() ?? 0
        scenario.objectives = [
            CapacityScenario.Objective(percentile: 99, atMostNs: UInt64(highest * 1.2e6))
        ]
        let holds = CapacityJudgement(scenario, results)
        #expect(holds.holds)
        #expect(holds.sentence.hasPrefix("The SLO holds: p99 is "))
        scenario.objectives[0].atMostNs = 1_000_000
        let fails = CapacityJudgement(scenario, results)
        #expect(!fails.holds)
        #expect(fails.sentence.hasPrefix("The SLO does not hold: p99 is "))
        let report = CapacityReport(
            scenario, file: "a.yaml", calibration: .constant(), results: results)
        #expect(report.text.contains("replay: downpour simulate capacity a.yaml --seed 1"))
        #expect(report.html.contains("<svg"))
        #expect(report.overReplications.allSatisfy { $0.interval.halfWidth != nil })
    }

    @Test("fewer nodes than needed do not hold, as many do")
    func plan() {
        var scenario = CapacityTests.scenario(
            users: 20_000, nodes: 4, slices: 16, spreadNs: 100_000_000)
        scenario.objectives = [
            CapacityScenario.Objective(percentile: 99, atMostNs: 200_000_000)
        ]
        let calibration = Calibration.constant(messageNs: 20_000)
        let need = CapacityPlan(scenario, calibration: calibration, seed: 1).need(losses: 0)
        guard let nodes = need.nodes else {
            Issue.record("no count of nodes is enough")
            return
        }
        for (count, expected) in [(nodes, true), (nodes - 1, false)] where count >= 1 {
            scenario.nodes = count
            let result = scenario.run(seed: 1, calibration: calibration)
            #expect(CapacityJudgement(scenario, [result]).holds == expected)
        }
    }
}
