public import CapacitySimulator
import EdgeTypes
import Simulator
public import StrictYAML

/// What a scenario file is for: its `kind`.
public enum ScenarioKind: String, Sendable, CaseIterable {
    case capacity
    case faults
    case regression

    /// - Throws: where there is no kind, or an unknown one.
    public static func of(_ root: StrictValue) throws(StrictYAMLError) -> ScenarioKind {
        guard case .map(let fields) = root.content else { throw root.error("a map is needed") }
        guard let kind = fields.first(where: { $0.key == "kind" }) else {
            throw root.error("kind is missing")
        }
        return try kind.value.choice()
    }
}

/// A scenario of kind `capacity`, as a file says it.
public struct CapacityFile: Sendable {
    public var scenario: CapacityScenario
    /// The calibration's path, beside the scenario's; nil where the file names none.
    public var calibration: String?

    /// - Parameter load: the text of a file that the scenario names; nil where it cannot be read.
    public static func read(
        _ root: StrictValue, load: (String) -> String?
    ) throws(StrictYAMLError) -> CapacityFile {
        try root.map { (map) throws(StrictYAMLError) in
            _ = try map.required("kind").choice(ScenarioKind.self)
            let name = try map.required("name").word()
            let nodes = try map.required("nodes").count(in: 1...10_000)
            let shards = try map.optional("shards")?.count(in: 1...Limits.shards) ?? 1_024
            let pools = try map.required("pools").list { (pool) throws(StrictYAMLError) in
                try pool.map { (map) throws(StrictYAMLError) in try readPool(&map, load) }
            }
            var scenario = CapacityScenario(
                name: name, nodes: nodes, shards: shards, pools: pools)
            try readCluster(&map, &scenario)
            if let losses = map.optional("losses") {
                scenario.losses = try losses.list { (loss) throws(StrictYAMLError) in
                    try loss.map(readLoss)
                }
            }
            if let slo = map.optional("slo") { try slo.map(readSLO, into: &scenario) }
            let calibration = try map.optional("calibration")?.text()
            if let problem = scenario.problem { throw map.error(problem) }
            return CapacityFile(scenario: scenario, calibration: calibration)
        }
    }

    private static func readCluster(
        _ map: inout StrictMap, _ scenario: inout CapacityScenario
    ) throws(StrictYAMLError) {
        if let value = map.optional("seed") { scenario.seed = try value.count() }
        if let value = map.optional("replications") {
            scenario.replications = try value.count(in: 1...1_000)
        }
        if let value = map.optional("batch") {
            scenario.batchLimit = try value.count(in: 1...65_536)
        }
        if let value = map.optional("entry") { scenario.entry = try value.choice() }
        if let zones = map.optional("zones") {
            scenario.zones = try zones.list { (zone) throws(StrictYAMLError) in
                try zone.map { (map) throws(StrictYAMLError) in
                    CapacityScenario.Zone(
                        users: try map.required("users").ratio(),
                        nodes: try map.required("nodes").ratio())
                }
            }
        }
        if let links = map.optional("links") {
            scenario.links = try links.map { (map) throws(StrictYAMLError) in
                var links = CapacityScenario.Links()
                if let value = map.optional("client") { links.client = try value.distribution() }
                if let value = map.optional("node") { links.node = try value.distribution() }
                if let value = map.optional("far") { links.far = try value.distribution() }
                return links
            }
        }
        if let journal = map.optional("journal") {
            scenario.sync = try journal.map { (map) throws(StrictYAMLError) in
                .distributed(try map.required("sync").distribution())
            }
        }
        if let store = map.optional("store") {
            scenario.storeRows = try store.map { (map) throws(StrictYAMLError) in
                try map.required("rows").count(in: 1...1_000_000_000)
            }
        }
    }

    private static func readPool(
        _ map: inout StrictMap, _ load: (String) -> String?
    ) throws(StrictYAMLError) -> CapacityScenario.Pool {
        _ = try map.required("kind").choice(PoolWord.self)
        let name = try map.required("name").word()
        let arrivals = try map.required("arrivals")
        let times = try arrivals.map { (map) throws(StrictYAMLError) in
            try readArrivals(&map, load)
        }
        let users = try map.optional("users")?.count(in: 1...CapacityScenario.usersLimit)
        let count: UInt64
        if let known = users ?? recordedUsers(times) {
            count = known
        } else {
            count = try map.required("users").count()
        }
        let packets = try map.required("packets")
        var pool = CapacityScenario.Pool(
            name: name, users: count,
            packets: Int64(try packets.count(in: 1...Int(Limits.unitsPerPool))),
            amountFen: try map.required("amount").fen(),
            slices: UInt32(try map.required("slices").count(in: 1...Limits.slices)),
            arrivals: times)
        if let value = map.optional("limit") {
            pool.limit = UInt32(try value.count(in: 1...Int(Limits.packetsPerUser)))
        }
        if let value = map.optional("durability") {
            pool.durability = try value.choice(DurabilityWord.self) == .memory ? .memory : .journal
        }
        if let value = map.optional("amounts") {
            pool.kind = try value.choice(AmountsWord.self) == .spread ? .spread : .equal
        }
        if let value = map.optional("closes") {
            let closesNs = try value.durationNs()
            guard closesNs >= 1_000_000 else { throw value.error("at least 1ms") }
            pool.closesAfterNs = closesNs
        }
        guard pool.amountFen >= pool.packets else {
            throw map.error("a packet would hold less than a fen")
        }
        guard pool.amountFen <= Limits.amountFen else { throw map.error("amount is too large") }
        return pool
    }

    private static func recordedUsers(_ arrivals: CapacityScenario.Arrivals) -> UInt64? {
        if case .recorded(let histogram) = arrivals { histogram.total } else { nil }
    }

    private static func readArrivals(
        _ map: inout StrictMap, _ load: (String) -> String?
    ) throws(StrictYAMLError) -> CapacityScenario.Arrivals {
        if let recorded = map.optional("recorded") {
            let path = try recorded.text()
            guard let text = load(path) else { throw recorded.error("cannot read \(path)") }
            return .recorded(try ArrivalFile.read(text, file: path))
        }
        let notification = try map.optional("notification")?.distribution() ?? .constant(ns: 0)
        let reaction =
            try map.optional("reaction")?.distribution()
            ?? .logNormal(medianNs: 350_000_000, sigma: 0.5)
        let longestNs = Double(notification.quantileNs(1 - 0x1p-30))
        guard longestNs + Double(reaction.quantileNs(1 - 0x1p-30)) <= 86_400e9 else {
            throw map.error("users who come after more than a day")
        }
        return .notified(notification, reaction: reaction)
    }

    private static func readLoss(
        _ map: inout StrictMap
    ) throws(StrictYAMLError) -> CapacityScenario.Loss {
        var loss = CapacityScenario.Loss(
            nodes: try map.required("nodes").count(in: 1...10_000),
            atNs: try map.required("at").durationNs())
        if let value = map.optional("detected") { loss.detectedAfterNs = try value.durationNs() }
        if let value = map.optional("retry") { loss.retryAfterNs = try value.durationNs() }
        return loss
    }

    private static func readSLO(
        _ map: inout StrictMap, _ scenario: inout CapacityScenario
    ) throws(StrictYAMLError) {
        for key in map.keys() {
            let value = try map.required(key)
            if key == "unserved" {
                scenario.mostUnserved = try value.ratio()
                continue
            }
            if key == "doors" {
                scenario.mostDoorsNs = try value.durationNs()
                continue
            }
            let percentile =
                key == "max" ? 100 : key.first == "p" ? ExactDecimal(key.dropFirst())?.value : nil
            guard let percentile, percentile > 0, percentile <= 100 else {
                throw value.error(
                    "percentiles (p50, p99, p99.9 …), max, unserved or doors are known")
            }
            scenario.objectives.append(
                CapacityScenario.Objective(
                    percentile: percentile, atMostNs: try value.durationNs()))
        }
        scenario.objectives.sort { $0.percentile < $1.percentile }
    }

    private enum PoolWord: String, CaseIterable { case rain }
    private enum DurabilityWord: String, CaseIterable { case memory, journal }
    private enum AmountsWord: String, CaseIterable { case spread, equal }
}

extension StrictValue {
    /// As `map`, for what goes into something that is there already.
    fileprivate func map<Target>(
        _ read: (inout StrictMap, inout Target) throws(StrictYAMLError) -> Void,
        into target: inout Target
    ) throws(StrictYAMLError) {
        var copy = target
        try map { (map) throws(StrictYAMLError) in try read(&map, &copy) }
        target = copy
    }
}
