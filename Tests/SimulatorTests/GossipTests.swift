import EdgeCluster
import EdgeTypes
import Simulator
import Testing

private let second: UInt64 = 1_000_000_000

@Suite("Gossip")
struct GossipTests {
    private func configuration(_ mutant: MembershipMutant) -> MembershipConfiguration {
        var made = MembershipConfiguration.lan
        made.mutant = mutant
        return made
    }

    @Test("the same seed gives the same digest, another seed another")
    func deterministic() {
        let digests = [7, 7, 8].map { (seed: UInt64) in GossipMeasures.reference(seed: seed) }
        #expect(digests[0] == digests[1])
        #expect(digests[0] != digests[2])
        // Debug and release builds, and all machines, agree. Record it anew when rules change:
        // `downpour-gossip digest`.
        #expect(digests[0] == GossipTests.recordedDigest)
    }

    static let recordedDigest: UInt64 = 15_296_284_766_791_404_213

    @Test("nodes that start one after the other find each other, by one seed or another")
    func joining() {
        var scenario = GossipScenario()
        scenario.nodes = 60
        scenario.startsWarm = false
        scenario.loss = 0.05
        scenario.seals = true
        let world = GossipWorld(scenario, seed: 1)
        world.run()
        #expect(world.doAgree)
        #expect(world.report.malformed == 0 && world.report.falseDeathCount == 0)
        #expect(world.report.largestDatagram <= MembershipLimits.datagramBytes)
        #expect(world.report.datagrams > 1_000)
    }

    // MARK: What it must show, in small

    private func detection(_ mutant: MembershipMutant) -> (p50Ns: UInt64, worstNs: UInt64) {
        var times: [UInt64] = []
        for seed in 1...2 as ClosedRange<UInt64> {
            for crash in GossipMeasures.detection(
                nodes: 100, crashes: 10, seed: seed, configuration: configuration(mutant))
            {
                times.append(crash.allNs ?? .max)
            }
        }
        times.sort()
        return (times[9], times[19])
    }

    @Test("a crash is known to all within 5 s mostly, and within 8 s always")
    func crashes() {
        let measured = detection(.none)
        #expect(measured.p50Ns <= 5 * second)
        #expect(measured.worstNs <= 8 * second)
    }

    @Test("nobody dies of losing every tenth datagram")
    func loss() {
        let world = GossipMeasures.lossy(nodes: 100, seconds: 300, loss: 0.1, seed: 1)
        #expect(world.report.falseDeathCount == 0, "\(world.report.falseDeaths)")
        // There was something to refute.
        #expect(world.total(\.refutations) > 10)
        #expect(world.doAgree)
    }

    @Test("nodes that stand still take few healthy ones along: at most 2 % of SWIM's")
    func pausing() {
        let good = GossipMeasures.pausing(nodes: 100, seconds: 150, seed: 1).report
        let bad = GossipMeasures.pausing(
            nodes: 100, seconds: 150, seed: 1, configuration: configuration(.lifeguardOff)
        ).report
        #expect(bad.falseDeathCount > 1_000)
        #expect(good.falseDeathCount * 50 <= bad.falseDeathCount, "\(good.falseDeaths)")
        #expect(good.deathsOfPausing > 0)
    }

    @Test("idle traffic is at most 8 datagrams a second and node, whatever the size")
    func traffic() {
        let small = GossipMeasures.traffic(nodes: 20, seconds: 30, seed: 1).perNodeAndSecond
        let large = GossipMeasures.traffic(nodes: 200, seconds: 30, seed: 1).perNodeAndSecond
        #expect(max(small, large) <= 8)
        #expect(max(small, large) <= 1.1 * min(small, large))
    }

    @Test(
        "after ten minutes of partition all have one view within a minute",
        arguments: [(2, 1, 0.0), (30, 15, 0.0), (30, 15, 0.1), (30, 1, 0.1)])
    func healing(nodes: Int, below: Int, loss: Double) {
        let healedNs = GossipMeasures.healing(nodes: nodes, below: below, loss: loss, seed: 1)
        #expect((healedNs ?? .max) <= 60 * second)
    }

    // MARK: Goings and comings

    /// A cluster of twelve, of which one leaves, one restarts, one's name is borne twice and one
    /// speaks another version.
    private func changes(_ mutant: MembershipMutant = .none, seed: UInt64 = 1) -> GossipWorld {
        var scenario = GossipScenario()
        scenario.nodes = 12
        scenario.emptyPlaces = 2
        scenario.durationNs = 150 * second
        scenario.seals = true
        scenario.replayed = 0.05
        scenario.loss = 0.02
        scenario.configuration = configuration(mutant)
        scenario.faults = [
            (atNs: 20 * second, fault: .leave(node: 5)),
            (atNs: 25 * second, fault: .restart(node: 3)),
            // Again while the others still tell each other of the last start.
            (atNs: 25 * second + second / 10, fault: .restart(node: 3)),
            (atNs: 25 * second + second / 4, fault: .restart(node: 3)),
            (atNs: 30 * second, fault: .impostor(node: 12, of: 4)),
            (
                atNs: 32 * second,
                fault: .stranger(node: 13, versions: ProtocolRange(oldest: 3, newest: 4))
            ),
        ]
        let world = GossipWorld(scenario, seed: seed)
        world.run()
        return world
    }

    /// What is wrong with such a world at its end; empty: nothing.
    private func wrong(_ world: GossipWorld) -> [String] {
        var found: [String] = []
        if world.report.replaysTaken > 0 { found.append("replay") }
        if world.report.oldBootsTaken > 0 { found.append("old boot") }
        if world.report.malformed > 0 { found.append("malformed") }
        for node in 0..<12 where node != 5 {
            let counts = world.withMachine(node) { machine in
                var left = 0
                for slot in 0..<machine.slotCount where machine.state(slot) == .left { left += 1 }
                return [machine.liveCount, left]
            }
            if counts[0] != 11 { found.append("node \(node) knows \(counts[0])") }
            // Who starts later hears nothing of the departed.
            if counts[1] != (node == 3 ? 0 : 1) {
                found.append("node \(node) knows \(counts[1]) departed")
            }
        }
        let reasons = world.report.rejections.map(\.rejection.reason)
        if !reasons.contains(.nameTaken) { found.append("no name was refused") }
        if !reasons.contains(.disjointVersions) { found.append("no version was refused") }
        for node in [4, 12] {
            let isStopped = world.withMachine(node) { $0.isStopped }
            if isStopped != (node == 12) { found.append("the wrong one of two has stopped") }
        }
        // Each start that was heard of took a life of its own.
        let life = world.withMachine(3) { $0.incarnation.life }
        if life < 2 || life > 4 { found.append("life \(life)") }
        return found
    }

    @Test("a member leaves, one restarts thrice, a name's second bearer and a stranger are refused")
    func changing() {
        for seed in 1...3 as ClosedRange<UInt64> {
            let world = changes(seed: seed)
            #expect(wrong(world).isEmpty, "seed \(seed): \(wrong(world))")
            #expect(world.report.replaysSent > 100)
        }
    }

    /// Nodes restart one after the other while half of all datagrams come again, up to a minute
    /// later, and nobody knows them for what they are.
    private func delayed(_ mutant: MembershipMutant = .none) -> GossipWorld {
        var scenario = GossipScenario()
        scenario.nodes = 12
        scenario.durationNs = 180 * second
        scenario.replayed = 0.5
        scenario.configuration = configuration(mutant)
        for node in 0..<10 {
            scenario.faults.append(
                (atNs: UInt64(20 + 5 * node) * second, fault: .restart(node: node)))
        }
        let world = GossipWorld(scenario, seed: 1)
        world.run()
        return world
    }

    @Test("what an earlier process said, however late it comes, changes nothing")
    func late() {
        let world = delayed()
        #expect(world.report.oldBootsTaken == 0)
        #expect(world.total(\.oldBoots) > 0, "some did come")
        #expect(world.doAgree && world.report.falseDeathCount == 0)
    }

    // MARK: Built-in bugs

    /// Whether what should catch a bug does.
    private func catches(_ mutant: MembershipMutant) -> Bool {
        switch mutant {
        case .none:
            return false
        case .refutationIgnored, .incarnationNotRaised, .instantlyDead:
            let world = GossipMeasures.lossy(
                nodes: 60, seconds: 120, loss: 0.2, seed: 1, configuration: configuration(mutant))
            return world.report.falseDeathCount > 0
        case .deadNeverContacted:
            return GossipMeasures.healing(
                nodes: 20, below: 10, cutSeconds: 60, seed: 1,
                configuration: configuration(mutant)) == nil
        case .suspicionNeverEnds, .confirmationsIgnored:
            return detection(mutant).worstNs > 8 * second
        case .lifeguardOff:
            let world = GossipMeasures.pausing(
                nodes: 60, seconds: 120, seed: 1, configuration: configuration(mutant))
            return world.report.falseDeathCount > 0
        case .oldBootAccepted:
            return delayed(mutant).report.oldBootsTaken > 0
        case .replayAccepted, .nameNotChecked, .versionsIgnored,
            .goodbyeForgotten:
            return !wrong(changes(mutant)).isEmpty
        }
    }

    @Test("every built-in bug is caught", arguments: MembershipMutant.allCases)
    func mutants(mutant: MembershipMutant) {
        #expect(catches(mutant) == (mutant != .none), "\(mutant.summary)")
    }

    @Test("without a bug the same runs of the lossy and the pausing world catch nothing")
    func controls() {
        let lossy = GossipMeasures.lossy(nodes: 60, seconds: 120, loss: 0.2, seed: 1)
        #expect(lossy.report.falseDeathCount == 0, "\(lossy.report.falseDeaths)")
        let pausing = GossipMeasures.pausing(nodes: 60, seconds: 120, seed: 1)
        #expect(pausing.report.falseDeathCount == 0, "\(pausing.report.falseDeaths)")
        let healedNs = GossipMeasures.healing(nodes: 20, below: 10, cutSeconds: 60, seed: 1)
        #expect(healedNs != nil)
    }

    @Test("one way of a link cut, and slow links, kill nobody; a fifth in trouble freezes")
    func odd() {
        var scenario = GossipScenario()
        scenario.nodes = 40
        scenario.slow = 0.1
        scenario.slowness = 200
        scenario.durationNs = 240 * second
        scenario.faults = [
            (atNs: 60 * second, fault: .cut(below: 12)), (atNs: 120 * second, fault: .heal),
        ]
        let world = GossipWorld(scenario, seed: 1)
        world.run()
        #expect(world.report.falseDeathCount == 0, "\(world.report.falseDeaths)")
        #expect(world.report.mostFrozen == 40)
        #expect(world.doAgree)
    }
}
