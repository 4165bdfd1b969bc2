import EdgeTypes
import Foundation
import Simulator
import Testing

@Suite("Simulated worlds")
struct WorldTests {
    private static let seeds: ClosedRange<UInt64> = 1...12

    @Test("everything holds, in every seed", arguments: seeds)
    func holds(seed: UInt64) {
        let world = RunBundle(Scenario(), seed: seed).run()
        #expect(world.failure == nil)
        #expect(world.events > 1_000, "a run without events says nothing")
    }

    @Test("the same seed gives the same run, and another seed another")
    func digests() throws {
        let bundle = RunBundle(Scenario(), seed: 3)
        #expect(DoubleCheck.run(bundle) == nil)
        #expect(bundle.run().digest != RunBundle(Scenario(), seed: 4).run().digest)
    }

    /// The debug build's digests, for `Tests/run` to compare with the release build's.
    @Test("digests are written where somebody compares them")
    func digestFile() throws {
        guard let path = ProcessInfo.processInfo.environment["DOWNPOUR_DIGESTS"] else { return }
        let lines = (1...5 as ClosedRange<UInt64>).map { seed in
            String(RunBundle(Scenario(), seed: seed).run().digest, radix: 16)
        }
        try (lines.joined(separator: "\n") + "\n").write(
            toFile: path, atomically: true, encoding: .utf8)
    }

    @Test("what is left out of a plan changes nothing of what stays before it begins")
    func removal() {
        var bundle = RunBundle(Scenario(), seed: 5)
        #expect(bundle.plan.faults.count > 3)
        let whole = trace(bundle)
        let last = bundle.plan.faults.removeLast()
        let part = trace(bundle)
        // A fault's begin and end are events themselves: numbers shift, what happens does not.
        let before = whole.prefix { $0.ns < last.startNs }.filter { !$0.text.contains("fault") }
        let without = part.prefix { $0.ns < last.startNs }.filter { !$0.text.contains("fault") }
        #expect(before.map(\.text) == without.map(\.text))
        #expect(before.count > 20)
    }

    private struct Line {
        var ns: UInt64
        var text: String
    }

    private func trace(_ bundle: RunBundle) -> [Line] {
        let world = bundle.world()
        var lines: [Line] = []
        world.trace = { _, ns, text in lines.append(Line(ns: ns, text: text)) }
        world.run()
        return lines
    }

    @Test("a bundle is the run that it was made of, whatever it went through")
    func bundles() throws {
        let caught = (1...30 as ClosedRange<UInt64>).lazy
            .map { RunBundle(Scenario(), seed: $0, mutant: .mismatchPaid) }
            .first { $0.run().failure != nil }
        var bundle = try #require(caught)
        let world = bundle.run()
        bundle.take(world)
        let read = try RunBundle.decode(bundle.encoded())
        let again = read.run()
        #expect(again.failure == world.failure && again.digest == world.digest)
        #expect(again.trail == bundle.trail)
        #expect(throws: RunBundle.FileError.self) { try RunBundle.decode(Data("{}".utf8)) }
    }

    @Test("a failure shrinks to a few faults and a few users")
    func shrinking() throws {
        let caught = (1...30 as ClosedRange<UInt64>).lazy
            .map { RunBundle(Scenario(), seed: $0, mutant: .refillTwice) }
            .first { $0.run().failure != nil }
        var bundle = try #require(caught)
        bundle.take(bundle.run())
        let failure = try #require(bundle.failure)
        var shrinker = Shrinker(bundle, mostRuns: 300, check: Shrinker.inProcess(failure))
        shrinker.shrink()
        #expect(shrinker.bundle.plan.faults.count <= 10)
        #expect(shrinker.bundle.users.count <= 20)
        #expect(shrinker.bundle.run().failure?.oracle == failure.oracle)
    }

    /// A pool that closed in the millisecond in which it opened; mail that a loop did not see though
    /// it had been posted.
    @Test("seeds that met flaws of the model hold", arguments: [12_395_979_587_829, 77_002_374])
    func formerFlaws(seed: UInt64) {
        let result = RunBundle(Scenario(), seed: seed).run()
        #expect(result.failure == nil)
    }

    @Test("three nodes that are one cluster hold, and go the same way twice")
    func cluster() {
        var scenario = Scenario()
        scenario.nodes = 3
        scenario.isCluster = true
        var probes: Set<Probe> = []
        for seed in 1...4 as ClosedRange<UInt64> {
            let world = World(scenario, seed: seed)
            world.run()
            #expect(world.failure == nil, "seed \(seed)")
            probes.formUnion(world.probes)
            let again = World(scenario, seed: seed)
            again.run()
            #expect(again.digest == world.digest && again.events == world.events)
        }
        #expect(probes.isSuperset(of: [.linked, .linkLost, .forwardedToNode, .forwardRefused]))
    }

    @Test("a plan is drawn from the seed alone, and leaves kinds out")
    func plans() {
        let scenario = Scenario()
        let plan = FaultPlan.draw(scenario, RandomSource(seed: 9))
        #expect(plan == FaultPlan.draw(scenario, RandomSource(seed: 9)))
        var seen: Set<FaultKind> = []
        for seed in 0..<200 as Range<UInt64> {
            let kinds = Set(
                FaultPlan.draw(scenario, RandomSource(seed: seed)).faults.map(\.kind))
            #expect(kinds.count < FaultKind.allCases.count)
            seen.formUnion(kinds)
        }
        let possible = FaultKind.allCases.filter { scenario.allows($0) }
        #expect(seen == Set(possible), "every kind comes in some seed")
        var calm = scenario
        calm.without = FaultKind.allCases
        #expect(FaultPlan.draw(calm, RandomSource(seed: 9)).faults.isEmpty)
    }

    @Test("answers are read as a client reads them")
    func answers() {
        #expect(RESPAnswer.parse(Array("+OK\r\n".utf8)) == .simple("OK"))
        #expect(RESPAnswer.parse(Array("-TRYAGAIN later\r\n".utf8))?.errorCode == "TRYAGAIN")
        let grab = "*4\r\n$7\r\ngranted\r\n:12\r\n:3\r\n:99\r\n"
        #expect(
            RESPAnswer.parse(Array(grab.utf8))
                == .array([.bulk("granted"), .integer(12), .integer(3), .integer(99)]))
        #expect(RESPAnswer.parse(Array("$-1\r\n".utf8)) == .null)
        for cut in 0..<grab.utf8.count {
            #expect(RESPAnswer.parse(Array(grab.utf8.prefix(cut))) == nil)
        }
        #expect(RESPAnswer.parse(Array("+OK\r\n+OK\r\n".utf8)) == nil)
    }
}
