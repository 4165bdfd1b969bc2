public import EdgeCluster
import EdgeTypes

/// What membership is measured by: each is one world, or a few, and its figures.
public enum GossipMeasures {
    static let secondNs: UInt64 = 1_000_000_000

    /// The digest of a small world in which much goes wrong: the same on every machine.
    public static func reference(seed: UInt64) -> UInt64 {
        var scenario = GossipScenario()
        scenario.nodes = 30
        scenario.loss = 0.1
        scenario.pausing = 0.1
        scenario.pausesFromNs = 5 * secondNs
        scenario.slow = 0.1
        scenario.seals = true
        scenario.replayed = 0.02
        scenario.faults = [(atNs: 20 * secondNs, fault: .crash(node: 3))]
        let world = GossipWorld(scenario, seed: seed)
        world.run()
        return world.report.digest
    }

    /// How long crashes take to be known by everybody: one node every 20 s, `crashes` a world.
    ///
    /// - Returns: for each crash when the first and when the last knew, in ns; nil where somebody
    ///   never heard of it.
    public static func detection(
        nodes: Int, crashes: Int, loss: Double = 0, seed: UInt64,
        configuration: MembershipConfiguration = .lan
    ) -> [CrashReport] {
        precondition(crashes < nodes)
        var scenario = GossipScenario()
        scenario.nodes = nodes
        scenario.loss = loss
        scenario.configuration = configuration
        scenario.durationNs = UInt64(crashes) * 20 * secondNs + 60 * secondNs
        let random = RandomSource(seed: seed)
        var victims = Array(0..<nodes)
        for crash in 0..<crashes {
            let left = UInt64(nodes - crash)
            let pick = crash + Int(random.below(left, .faultTargets, 1, UInt64(crash)))
            victims.swapAt(crash, pick)
            let offsetNs = random.below(secondNs, .faultTimes, 1, UInt64(crash))
            scenario.faults.append(
                (
                    atNs: (20 + UInt64(crash) * 20) * secondNs + offsetNs,
                    fault: .crash(node: victims[crash])
                ))
        }
        let world = GossipWorld(scenario, seed: seed)
        world.run()
        return world.report.crashes
    }

    /// Healthy nodes on a network that loses datagrams.
    public static func lossy(
        nodes: Int, seconds: UInt64, loss: Double, seed: UInt64,
        configuration: MembershipConfiguration = .lan
    ) -> GossipWorld {
        var scenario = GossipScenario()
        scenario.nodes = nodes
        scenario.loss = loss
        scenario.durationNs = seconds * secondNs
        scenario.configuration = configuration
        let world = GossipWorld(scenario, seed: seed)
        world.run()
        return world
    }

    /// Some nodes stand still, or are cut off from their network, in cycles.
    public static func pausing(
        nodes: Int, seconds: UInt64, share: Double = 0.05, loss: Double = 0.01, seed: UInt64,
        configuration: MembershipConfiguration = .lan
    ) -> GossipWorld {
        var scenario = GossipScenario()
        scenario.nodes = nodes
        scenario.pausing = share
        scenario.loss = loss
        scenario.durationNs = seconds * secondNs
        scenario.configuration = configuration
        let world = GossipWorld(scenario, seed: seed)
        world.run()
        return world
    }

    /// Datagrams sent by a node in a second when nothing happens, and their mean size in bytes.
    public static func traffic(
        nodes: Int, seconds: UInt64, seed: UInt64
    ) -> (perNodeAndSecond: Double, bytes: Double) {
        var scenario = GossipScenario()
        scenario.nodes = nodes
        scenario.durationNs = (30 + seconds) * secondNs
        let world = GossipWorld(scenario, seed: seed)
        world.run(untilNs: 30 * secondNs)
        let before = world.report
        world.run()
        let sent = world.report.datagrams - before.datagrams
        let bytes = world.report.datagramBytes - before.datagramBytes
        return (
            Double(sent) / Double(UInt64(nodes) * seconds), Double(bytes) / Double(max(1, sent))
        )
    }

    /// How long after a partition has ended all nodes have one view again; nil: never within two
    /// minutes.
    ///
    /// - Parameter below: how many nodes are on one side.
    public static func healing(
        nodes: Int, below: Int, cutSeconds: UInt64 = 600, loss: Double = 0, seed: UInt64,
        configuration: MembershipConfiguration = .lan
    ) -> UInt64? {
        var scenario = GossipScenario()
        scenario.nodes = nodes
        scenario.loss = loss
        scenario.configuration = configuration
        scenario.durationNs = (20 + cutSeconds + 120) * secondNs
        scenario.faults = [
            (atNs: 20 * secondNs, fault: .cut(below: below)),
            (atNs: (20 + cutSeconds) * secondNs, fault: .heal),
        ]
        let world = GossipWorld(scenario, seed: seed)
        world.run()
        return world.report.agreedNs
    }
}
