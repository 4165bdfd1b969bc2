import EdgeTypes
import Testing

@testable import Simulator

@Suite("Fault plans")
struct FaultPlanTests {
    @Test("a kind's draws are named by its name alone")
    func numbers() {
        // Pinned: a kind's place among the others is no part of what a seed means.
        #expect(FaultKind.crash.number == 0x12e9243)
        #expect(FaultKind.retryStorm.number == 0x1b8870d)
        let numbers = Set(FaultKind.allCases.map(\.number))
        #expect(numbers.count == FaultKind.allCases.count)
        // Above what else is drawn from the stream of plans.
        #expect(numbers.allSatisfy { $0 > 100_000 && $0 < 1 << 25 })
    }

    @Test(
        "leaving kinds out changes nothing of the others", arguments: [1, 2, 3, 4, 5] as [UInt64])
    func independence(seed: UInt64) {
        let random = RandomSource(seed: seed)
        var scenario = Scenario()
        scenario.mostFaultsPerKind = 5
        let whole = FaultPlan.draw(scenario, random)
        let some: Set<FaultKind> = [.crash, .clog, .storeSlow, .retryStorm, .clockDrift]
        scenario.without = FaultKind.allCases.filter { !some.contains($0) }
        #expect(
            FaultPlan.draw(scenario, random).faults
                == whole.faults.filter { some.contains($0.kind) })
    }

    @Test("a plan has its limit, and no kind is favoured by its place")
    func limit() {
        var scenario = Scenario()
        scenario.mostFaultsPerKind = 100
        var kinds: Set<FaultKind> = []
        for seed in 1...100 as ClosedRange<UInt64> {
            let plan = FaultPlan.draw(scenario, RandomSource(seed: seed))
            #expect(plan.faults.count <= FaultPlan.most)
            if plan.faults.count == FaultPlan.most { kinds.formUnion(plan.faults.map(\.kind)) }
        }
        #expect(kinds == Set(FaultKind.allCases.filter { scenario.allows($0) }))
    }

    @Test("many faults come while pools are made")
    func early() {
        var early = 0
        var all = 0
        for seed in 1...100 as ClosedRange<UInt64> {
            let faults = FaultPlan.draw(Scenario(), RandomSource(seed: seed)).faults
            all += faults.count
            early += faults.filter { $0.startNs < 1_000_000_000 }.count
        }
        #expect(early * 6 > all && early * 3 < all)
    }

    // MARK: Nesting

    /// Two faults of a kind, the second of which ends last.
    private func overlapping(_ kind: FaultKind, _ first: Double, _ second: Double) -> World {
        var bundle = RunBundle(Scenario(), seed: 1)
        bundle.plan = FaultPlan(
            [first, second].enumerated().map { index, magnitude in
                Fault(
                    kind: kind, startNs: 1, endNs: UInt64(10 + index), node: 0,
                    magnitude: magnitude, id: UInt64(index))
            })
        return bundle.world()
    }

    /// What a kind does to a node, as one number.
    private func effect(_ kind: FaultKind, _ world: World) -> Double {
        let node = world.nodes[0]
        let link = world.network.links[0]
        return switch kind {
        case .misdirectedWrite: node.disk.faults.misdirectsBy == nil ? 0 : 1
        case .diskFull: node.disk.faults.spaceBytes == .max ? 0 : 1
        case .syncError: node.disk.faults.failsSync ? 1 : 0
        case .storeDown: node.store.faults.isDown ? 1 : 0
        case .storeCommitLost: node.store.faults.losesAnswers ? 1 : 0
        case .storeDeadlock: node.store.faults.deadlocks ? 1 : 0
        case .storeSlow: node.store.faults.slowness - 1
        case .slowCPU: node.cpuFactor - 1
        case .diskStall: node.diskFactor - 1
        case .requestLoss: link.requestLoss
        case .replyLoss: link.replyLoss
        case .slowLink: link.slowness - 1
        case .reordering: link.reordering - 1
        case .bandwidth: link.bandwidth
        case .partition: Double(min(link.cutsRequests, link.cutsReplies))
        case .oneWayIn: Double(link.cutsRequests)
        case .oneWayOut: Double(link.cutsReplies)
        case .clog: Double(link.clogs)
        case .crash, .powerLoss, .drain, .resize, .bitRot: Double(node.stops)
        default: .nan
        }
    }

    @Test(
        "a fault goes on when another of its kind ends, and is over when the last ends",
        arguments: [
            .misdirectedWrite, .diskFull, .syncError, .storeDown, .storeCommitLost, .storeDeadlock,
            .storeSlow, .slowCPU, .diskStall, .requestLoss, .replyLoss, .slowLink, .reordering,
            .bandwidth, .partition, .oneWayIn, .oneWayOut, .clog, .crash, .powerLoss, .drain,
            .resize,
        ] as [FaultKind])
    func nesting(kind: FaultKind) {
        let world = overlapping(kind, 3, 2)
        #expect(effect(kind, world) == 0)
        world.begin(0)
        world.begin(1)
        #expect(effect(kind, world) > 0)
        world.end(0)
        #expect(effect(kind, world) > 0, "the first to end ended both")
        world.end(1)
        #expect(effect(kind, world) == 0)
    }

    @Test("clocks drift by the sum of what is active")
    func drift() {
        var bundle = RunBundle(Scenario(), seed: 1)
        func fault(_ ppm: Double, _ startNs: UInt64, _ endNs: UInt64) -> Fault {
            Fault(
                kind: .clockDrift, startNs: startNs, endNs: endNs, node: 0, magnitude: ppm,
                id: startNs)
        }
        bundle.plan = FaultPlan([
            fault(400, 1_000_000_000, 10_000_000_000), fault(-100, 5_000_000_000, 15_000_000_000),
        ])
        let world = bundle.world()
        var rates: [Int: Double] = [:]
        var before: (ns: UInt64, local: UInt64)?
        world.trace = { [unowned world] _, ns, _ in
            let local = world.nodes[0].now.monotonicNs
            if let last = before, ns - last.ns > 100_000_000,
                ns / 1_000_000_000 == last.ns / 1_000_000_000
            {
                let ppm = (Double(local - last.local) / Double(ns - last.ns) - 1) * 1e6
                rates[Int(ns / 1_000_000_000)] = ppm.rounded()
            }
            if before.map({ ns - $0.ns > 100_000_000 }) ?? true { before = (ns, local) }
        }
        world.run()
        #expect(rates[0] == 0 && rates[3] == 400 && rates[7] == 300 && rates[12] == -100)
        #expect(rates[17] == 0)
    }
}
