/// All that goes wrong in one run: drawn from a seed, or read from a bundle.
public struct FaultPlan: Sendable, Hashable, Codable {
    public var faults: [Fault]

    public init(_ faults: [Fault]) { self.faults = faults }

    /// Most faults of one plan.
    static let most = 256

    /// Swarm testing (Groce et al., "Swarm Testing", 2012): each seed leaves out a random half or
    /// so of the kinds, and draws its own rates for the others.
    public static func draw(_ scenario: Scenario, _ random: RandomSource) -> FaultPlan {
        var faults: [Fault] = []
        let window = scenario.faultsStartNs..<scenario.faultsEndNs
        let inclusion = 0.15 + 0.7 * RandomSource.unit(random.word(.plan, 0))
        for kind in FaultKind.allCases where scenario.allows(kind) {
            let entity = kind.number
            // What a single node cannot survive ends most of what a run could find.
            let share = kind.isFatalAlone ? inclusion / 8 : inclusion
            guard random.happens(share, .plan, entity) else { continue }
            let times = 1 + random.below(scenario.mostFaultsPerKind, .plan, entity, 1)
            for time in 0..<times {
                faults.append(one(kind, entity << 16 | time, window, scenario, random))
            }
        }
        faults += zoneLoss(window, scenario, random)
        if faults.count > most {
            // Which are too many is drawn: it does not depend on the place of a kind in the list.
            faults.sort { (random.word(.plan, $0.id), $0.id) < (random.word(.plan, $1.id), $1.id) }
            faults.removeLast(faults.count - most)
        }
        faults.sort { ($0.startNs, $0.id) < ($1.startNs, $1.id) }
        return FaultPlan(faults)
    }

    /// Of a cluster whose zones are known: now and then one of them is without power.
    private static func zoneLoss(
        _ window: Range<UInt64>, _ scenario: Scenario, _ random: RandomSource
    ) -> [Fault] {
        guard let topology = scenario.topology, scenario.allows(.powerLoss),
            random.happens(0.5, .plan, Self.zone)
        else { return [] }
        let first = one(.powerLoss, Self.zone << 16, window, scenario, random)
        return topology.zone(of: first.node).map { node in
            var fault = first
            fault.node = node
            fault.id += UInt64(node)
            return fault
        }
    }

    /// Names a zone's losses in draws: no kind of faults has this number.
    private static let zone: UInt64 = 1 << 25

    private static func one(
        _ kind: FaultKind, _ id: UInt64, _ window: Range<UInt64>, _ scenario: Scenario,
        _ random: RandomSource
    ) -> Fault {
        let length = window.upperBound - window.lowerBound
        // Many while pools are made and opened: what comes later finds everything in its place.
        let isEarly = random.happens(0.25, .faultTimes, id, 3)
        let latest = isEarly ? max(1, length / 16) : length
        let start = window.lowerBound + random.below(latest, .faultTimes, id)
        // Short ones are frequent, and some take a good part of the run.
        let unit = RandomSource.unit(random.word(.faultTimes, id, 1))
        let longest = Double(length) / 2
        let duration = UInt64(2_000_000 + longest * unit * unit * unit)
        let end = min(start + duration, window.upperBound)
        let node = Int(random.below(UInt64(scenario.nodes), .faultTargets, id))
        let draw = RandomSource.unit(random.word(.faultTargets, id, 1))
        return Fault(
            kind: kind, startNs: start, endNs: end, node: node,
            magnitude: magnitude(kind, draw), id: id)
    }

    private static func magnitude(_ kind: FaultKind, _ unit: Double) -> Double {
        switch kind {
        case .slowCPU, .slowLink, .diskStall, .busSlow: 2 + 98 * unit * unit
        case .storeSlow, .redisSlow: 10 + 990 * unit
        case .clockForward, .clockBack: 1 + 5_000 * unit * unit
        case .clockDrift: -500 + 1_000 * unit
        case .requestLoss, .replyLoss, .duplication: 0.02 + 0.4 * unit * unit
        case .reordering: 5 + 200 * unit
        case .bandwidth: 2_000 + 200_000 * unit * unit
        case .retryStorm: 0.1 + 0.9 * unit
        case .crash, .powerLoss, .powerLossInFlight, .powerLossAtTransfer, .blackout,
            .shardPowerLoss, .pause, .drain, .resize, .partition, .oneWayOut, .oneWayIn, .clog,
            .brokenConnections, .syncError, .diskFull, .bitRot, .misdirectedWrite, .diskLoss,
            .storeDown, .storeCommitLost, .storeDeadlock, .storeRestored, .configRollback, .busCut,
            .busBroken, .arbiterDown, .arbiterAnswerLost, .redisDown, .redisAnswerLost,
            .redisRepeats, .redisFlushed, .redisKeyDeleted, .redisFailover:
            1
        }
    }
}
