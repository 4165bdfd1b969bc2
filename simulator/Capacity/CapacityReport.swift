import EdgeMemory
import Simulator

/// What a run's replications say together, as JSON has it and people read it.
///
/// Percentiles are a replication's own; over replications there are means of per-replication
/// values with their confidence interval, never percentiles of averages.
public struct CapacityReport: Codable, Sendable {
    public var scenario: String
    /// The file, as it was named.
    public var file: String
    public var nodes: Int
    public var users: UInt64
    public var calibration: Source
    public var holds: Bool
    /// One sentence.
    public var verdict: String
    public var objectives: [Judged]
    public var replications: [Replication]
    public var overReplications: [Figure]
    public var pools: [Pool]
    public var bottleneck: String
    public var utilisations: [Utilisation]
    /// Of the first replication.
    public var latencyCurve: [CurvePoint]
    public var timeline: [Interval]
    public var heatMap: [Node]
    public var replay: String
    /// Nodes needed, where that was asked for.
    public var plan: [CapacityPlan.Need]?

    public struct Source: Codable, Sendable {
        public var name: String
        public var cpu: String
        public var date: String
        public var commit: String
    }

    public struct Judged: Codable, Sendable {
        public var name: String
        public var value: Double
        public var limit: Double
        public var unit: String
        public var holds: Bool
        /// What is left to the limit, in parts of it; below 0 where it is passed.
        public var margin: Double
    }

    public struct Replication: Codable, Sendable {
        public var seed: UInt64
        public var digest: String
        public var events: UInt64
        public var p50Ms: Double
        public var p90Ms: Double
        public var p99Ms: Double
        public var p999Ms: Double
        public var maxMs: Double
        public var unserved: UInt64
        public var stranded: Int64
        public var quarantined: Int64
        public var retries: UInt64
        /// Frames between pools' homes and slices while pools were open.
        public var frames: UInt64
        /// Requests passed on to another node, and those refused by the node that they reached.
        public var forwards: UInt64
        public var refusedAtDoor: UInt64
        /// From the last grant until 99 % of the nodes refused so; nil: fewer ever did.
        public var doorsMs: Double?
        public var seconds: Double
        public var storeDrainSeconds: Double
        public var storeLongestLagSeconds: Double
        public var journalBytes: UInt64
        public var contradictions: [String]
    }

    public struct Figure: Codable, Sendable {
        public var name: String
        public var unit: String
        public var interval: ConfidenceInterval
    }

    /// Of the first replication.
    public struct Pool: Codable, Sendable {
        public var name: String
        public var users: UInt64
        public var packets: Int64
        public var granted: UInt64
        public var grantedFen: Int64
        /// Who waited until others gave units back and was granted one, and how long.
        public var waited: UInt64
        public var waitP99Ms: Double
        public var waitMostMs: Double
        public var stranded: Int64
        public var quarantined: Int64
        public var unserved: UInt64
        public var unservedPart: Double
        public var answers: [String: UInt64]
    }

    public struct Utilisation: Codable, Sendable {
        public var resource: String
        public var value: Double
    }

    public struct CurvePoint: Codable, Sendable {
        public var percentile: Double
        public var ms: Double
    }

    /// A tenth of a second.
    public struct Interval: Codable, Sendable {
        public var seconds: Double
        public var arrivals: UInt64
        public var meanUtilisation: Double
        public var highestUtilisation: Double
    }

    public struct Node: Codable, Sendable {
        public var node: Int
        /// Of all requests that nodes served.
        public var share: Double
        public var utilisation: Double
        public var peakUtilisation: Double
        public var peakWaiting: Int
        public var isLost: Bool
    }
}

extension CapacityReport {
    /// - Precondition: there are results.
    public init(
        _ scenario: CapacityScenario, file: String, calibration: Calibration,
        results: [CapacityResult], plan: [CapacityPlan.Need]? = nil
    ) {
        precondition(!results.isEmpty)
        let first = results[0]
        self.scenario = scenario.name
        self.file = file
        nodes = scenario.nodes
        users = scenario.users
        self.calibration = Source(
            name: calibration.name, cpu: calibration.cpu, date: calibration.date,
            commit: calibration.commit)
        let judgement = CapacityJudgement(scenario, results)
        holds = judgement.holds
        objectives = judgement.objectives
        replications = results.map(Replication.init)
        overReplications = Self.figures(results)
        pools = first.pools.map(Pool.init)
        utilisations = Self.utilisations(first)
        let most = utilisations.max { $0.value < $1.value }
        bottleneck = most?.resource ?? "none"
        latencyCurve = Self.percentiles.map {
            CurvePoint(percentile: $0, ms: Self.ms(first.percentileNs($0)))
        }
        timeline = Self.timeline(first)
        heatMap = Self.heatMap(first)
        let seeds = results.count > 1 ? " --replications \(results.count)" : ""
        replay = "downpour simulate capacity \(file) --seed \(first.seed)\(seeds)"
        self.plan = plan
        verdict = judgement.sentence
    }

    static let percentiles: [Double] = [
        1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.999, 100,
    ]

    static func ms(_ ns: UInt64) -> Double { Double(ns / 1_000) / 1_000 }

    private static func figures(_ results: [CapacityResult]) -> [Figure] {
        func figure(_ name: String, _ unit: String, _ value: (CapacityResult) -> Double) -> Figure {
            Figure(name: name, unit: unit, interval: ConfidenceInterval(results.map(value)))
        }
        return [
            figure("p50", "ms") { ms($0.percentileNs(50)) },
            figure("p90", "ms") { ms($0.percentileNs(90)) },
            figure("p99", "ms") { ms($0.percentileNs(99)) },
            figure("p99.9", "ms") { ms($0.percentileNs(99.9)) },
            figure("max", "ms") { ms($0.percentileNs(100)) },
            figure("unserved", "users") { Double($0.unserved) },
            figure("stranded", "units") { Double($0.stranded) },
        ]
    }

    private static func utilisations(_ result: CapacityResult) -> [Utilisation] {
        [
            Utilisation(
                resource: "node CPU, all nodes' busiest 100 ms",
                value: result.load.map(\.mean).max() ?? 0),
            Utilisation(
                resource: "hottest node's CPU, its busiest 100 ms",
                value: result.nodes.map(\.peakUtilisation).max() ?? 0),
            Utilisation(
                resource: "journal sync, busiest node",
                value: result.nodes.map(\.syncUtilisation).max() ?? 0),
            Utilisation(
                resource: "store, offered while rows came", value: result.store.utilisation),
        ]
    }

    private static func timeline(_ result: CapacityResult) -> [Interval] {
        (0..<max(result.load.count, result.arrivals.count)).map { index in
            let load = index < result.load.count ? result.load[index] : (mean: 0, highest: 0)
            return Interval(
                seconds: Double(index) * Double(LoadMap.intervalNs) / 1e9,
                arrivals: index < result.arrivals.count ? result.arrivals[index] : 0,
                meanUtilisation: load.mean, highestUtilisation: load.highest)
        }
    }

    private static func heatMap(_ result: CapacityResult) -> [Node] {
        let all = max(1, result.nodes.reduce(0) { $0 + $1.served })
        return result.nodes.enumerated().map { index, node in
            Node(
                node: index, share: Double(node.served) / Double(all),
                utilisation: node.utilisation, peakUtilisation: node.peakUtilisation,
                peakWaiting: node.peakWaiting, isLost: node.isLost)
        }
    }

    /// Whether the simulator found no contradiction in any replication.
    public var isClean: Bool { replications.allSatisfy(\.contradictions.isEmpty) }
}

extension CapacityReport.Replication {
    init(_ result: CapacityResult) {
        seed = result.seed
        let digits = String(result.digest, radix: 16)
        digest = String(repeating: "0", count: 16 - digits.count) + digits
        events = result.events
        p50Ms = CapacityReport.ms(result.percentileNs(50))
        p90Ms = CapacityReport.ms(result.percentileNs(90))
        p99Ms = CapacityReport.ms(result.percentileNs(99))
        p999Ms = CapacityReport.ms(result.percentileNs(99.9))
        maxMs = CapacityReport.ms(result.percentileNs(100))
        unserved = result.unserved
        stranded = result.stranded
        quarantined = result.quarantined
        retries = result.retries
        frames = result.frames
        forwards = result.forwards
        refusedAtDoor = result.refusedAtDoor
        doorsMs = result.doorsNs.map(CapacityReport.ms)
        seconds = Double(result.endNs) / 1e9
        storeDrainSeconds = Double(result.store.drainNs) / 1e9
        storeLongestLagSeconds = Double(result.store.longestLagNs) / 1e9
        journalBytes = result.journalBytes
        contradictions = Array(result.contradictions.prefix(20))
    }
}

extension CapacityReport.Pool {
    init(_ pool: CapacityResult.PoolResult) {
        name = pool.name
        users = pool.users
        packets = pool.packets
        granted = pool.granted
        grantedFen = pool.grantedFen
        waited = pool.waited
        waitP99Ms = CapacityReport.ms(pool.waitP99Ns)
        waitMostMs = CapacityReport.ms(pool.waitMostNs)
        stranded = pool.stranded
        quarantined = pool.quarantined
        unserved = pool.unserved
        unservedPart = pool.unservedPart
        answers = [:]
        for answer in pool.answers { answers[answer.outcome, default: 0] += answer.count }
    }
}

/// Whether a scenario's SLO holds over all replications.
///
/// Of several replications the upper end of the confidence interval counts: what one run happens
/// to reach is no promise.
public struct CapacityJudgement: Sendable {
    public var objectives: [CapacityReport.Judged] = []

    public init(_ scenario: CapacityScenario, _ results: [CapacityResult]) {
        for objective in scenario.objectives {
            let values = results.map { CapacityReport.ms($0.percentileNs(objective.percentile)) }
            let name = Text.number(objective.percentile)
            add(
                objective.percentile >= 100 ? "max" : "p\(name)", ConfidenceInterval(values).upper,
                limit: CapacityReport.ms(objective.atMostNs), "ms")
        }
        if let most = scenario.mostUnserved {
            let values = results.map { $0.unservedPart * 100 }
            add("unserved", ConfidenceInterval(values).upper, limit: most * 100, "%")
        }
        if let mostNs = scenario.mostDoorsNs {
            // Never is as long as the run.
            let values = results.map { CapacityReport.ms($0.doorsNs ?? $0.endNs) }
            add(
                "doors", ConfidenceInterval(values).upper, limit: CapacityReport.ms(mostNs), "ms")
        }
    }

    private mutating func add(_ name: String, _ value: Double, limit: Double, _ unit: String) {
        objectives.append(
            CapacityReport.Judged(
                name: name, value: value, limit: limit, unit: unit, holds: value <= limit,
                margin: limit > 0 ? (limit - value) / limit : value > 0 ? -1 : 0))
    }

    public var holds: Bool { objectives.allSatisfy(\.holds) }

    public var sentence: String {
        guard let worst = objectives.min(by: { $0.margin < $1.margin }) else {
            return "There is no SLO in this scenario, so there is none to break."
        }
        let value = "\(worst.name) is \(Text.number(worst.value)) \(worst.unit)"
        let limit = "\(Text.number(worst.limit)) \(worst.unit)"
        let margin = Text.number(worst.margin.magnitude * 100, digits: 3)
        return holds
            ? "The SLO holds: \(value) of \(limit), \(margin) % to spare where it is tightest."
            : "The SLO does not hold: \(value), \(margin) % over its limit of \(limit)."
    }
}
