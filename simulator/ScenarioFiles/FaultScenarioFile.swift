public import EdgeTypes
import Foundation
public import Simulator
public import StrictYAML

/// Scenarios in which faults are looked for, as files.
///
///     kind: faults
///     name: node
///     nodes: 1
///     cluster: false    # whether the nodes are one
///     replicas: 1       # copies of each shard of a cluster
///     redis: false      # whether each store has a Redis behind it
///     cores: 3          # most event loops of a node
///     shards: 16
///     users: 60
///     pools: 4          # of each node
///     opens: 1s
///     crowd: 18s        # users act until then
///     patience: 120s    # without progress for so long, a run is not live
///     snapshots: 2500ms # time between them
///     archive: 500ms    # closed rains leave memory after so long; absent: they stay
///     absence: 40s      # one node is away for so long after the crowd; more than 20s
///     archive-orders: 500ms # likewise the orders of closed SKUs
///     upgrade: true     # nodes begin with the oldest protocol; each restart upgrades its node
///     faults: {from: 500ms, until: 20s, most: 3, only: [crash], without: [bitRot]}
///     links: {users: mobile, back-ends: crossZone, mobile: {log-normal: {median: 30ms, sigma: 1}}}
///
/// A regression is a scenario with the seed that found a bug:
///
///     kind: regression
///     bug: what went wrong
///     scenario: ../faults/node.yaml
///     seed: 20
///     mutant: requestForgottenAtLimitOne   # the bug, built in: with it the seed fails
public enum FaultScenarioFile {
    public struct Pinned: Sendable {
        public var scenario: Scenario
        /// Of a regression.
        public var seed: UInt64?
        public var bug: String?
        /// The bug, built in: with it the seed must fail.
        public var mutant: Mutant?

        public init(scenario: Scenario) { self.scenario = scenario }
    }

    /// - Throws: `StrictYAMLError`, with file and line.
    public static func pinned(_ path: String) throws(StrictYAMLError) -> Pinned {
        try pinned(path, isNested: false)
    }

    private static func pinned(
        _ path: String, isNested: Bool
    ) throws(StrictYAMLError) -> Pinned {
        let value = try root(path)
        return try value.map { map throws(StrictYAMLError) in
            let kind = try map.required("kind")
            switch try kind.word() {
            case "faults":
                return Pinned(scenario: try scenario(&map))
            case "regression" where isNested:
                throw kind.error("a regression's scenario is no regression")
            case "regression":
                let mutant = try map.optional("mutant").map { value throws(StrictYAMLError) in
                    guard let known = Mutant(rawValue: try value.text()) else {
                        throw value.error("no mutant is called so")
                    }
                    return known
                }
                let bug = try map.required("bug").text()
                let other = try map.required("scenario").text()
                let seed = try map.required("seed")
                guard let number = UInt64(try seed.text()) else {
                    throw seed.error("a seed is an unsigned 64-bit integer")
                }
                let folder = (path as NSString).deletingLastPathComponent
                let file = (folder as NSString).appendingPathComponent(other)
                var pinned = try pinned((file as NSString).standardizingPath, isNested: true)
                pinned.seed = number
                pinned.bug = bug
                pinned.mutant = mutant
                return pinned
            default: throw kind.error("faults or regression; capacity has commands of its own")
            }
        }
    }

    private static func root(_ path: String) throws(StrictYAMLError) -> StrictValue {
        let text: String
        do {
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw StrictYAMLError(file: path, line: 1, reason: "the file cannot be read")
        }
        return try StrictYAML.read(text, file: path)
    }

    private static func scenario(
        _ map: inout StrictMap
    ) throws(StrictYAMLError) -> Scenario {
        var scenario = Scenario()
        scenario.name = try map.required("name").word()
        scenario.nodes = try map.required("nodes").count(in: 1...64)
        if let cluster = map.optional("cluster") {
            let text = try cluster.text()
            guard text == "true" || text == "false" else {
                throw cluster.error("true or false is needed")
            }
            scenario.isCluster = text == "true"
        }
        if let redis = map.optional("redis") {
            let text = try redis.text()
            guard text == "true" || text == "false" else {
                throw redis.error("true or false is needed")
            }
            scenario.hasRedis = text == "true"
        }
        if let replicas = map.optional("replicas") {
            scenario.replicas = try replicas.count(in: 1...min(scenario.nodes, Limits.replicas))
            guard scenario.isCluster || scenario.replicas == 1 else {
                throw replicas.error("nodes on their own have one copy")
            }
        }
        scenario.mostCores = try map.required("cores").count(in: 1...8)
        let shards = try map.required("shards")
        scenario.shards = try shards.count(in: 8...1_024)
        guard scenario.shards & (scenario.shards - 1) == 0 else {
            throw shards.error("a power of two is needed")
        }
        scenario.users = try map.required("users").count(in: 1...100_000)
        scenario.poolsPerNode = try map.required("pools").count(in: 1...64)
        scenario.opensNs = try map.required("opens").durationNs()
        let crowd = try map.required("crowd")
        scenario.crowdEndNs = try crowd.durationNs()
        guard scenario.crowdEndNs > scenario.opensNs else {
            throw crowd.error("the crowd ends before pools open")
        }
        if let patience = map.optional("patience") {
            scenario.patienceNs = try patience.durationNs()
        }
        if let snapshots = map.optional("snapshots") {
            scenario.maintenanceNs = try snapshots.durationNs()
            guard scenario.maintenanceNs >= 1_000_000 else {
                throw snapshots.error("at least 1ms is needed")
            }
        }
        if let archive = map.optional("archive") {
            scenario.archiveAfterNs = try archive.durationNs()
            guard scenario.archiveAfterNs >= 1_000_000 else {
                throw archive.error("at least 1ms is needed")
            }
        }
        if let absence = map.optional("absence") {
            scenario.absenceNs = try absence.durationNs()
            guard scenario.absenceNs > World.absenceSettleNs, scenario.replicas > 1 else {
                throw absence.error("more than 20s, and several copies, are needed")
            }
        }
        if let archive = map.optional("archive-orders") {
            scenario.archiveOrdersAfterNs = try archive.durationNs()
            guard scenario.archiveOrdersAfterNs >= 1_000_000 else {
                throw archive.error("at least 1ms is needed")
            }
        }
        if let upgrade = map.optional("upgrade") { scenario.isUpgraded = try upgrade.bool() }
        let faults = try map.required("faults")
        try faults.map { map throws(StrictYAMLError) in
            scenario.faultsStartNs = try map.required("from").durationNs()
            let until = try map.required("until")
            scenario.faultsEndNs = try until.durationNs()
            guard scenario.faultsEndNs > scenario.faultsStartNs else {
                throw until.error("faults end before they begin")
            }
            scenario.mostFaultsPerKind = UInt64(try map.required("most").count(in: 1...100))
            scenario.faults = try kinds(map.optional("only"))
            scenario.without = try kinds(map.optional("without"))
        }
        if let links = map.optional("links") { scenario.links = try Self.links(links) }
        return scenario
    }

    /// Who is how far away, and the delays of each class of links: each may be left out.
    private static func links(_ value: StrictValue) throws(StrictYAMLError) -> ScenarioLinks {
        try value.map { (map) throws(StrictYAMLError) in
            var links = ScenarioLinks()
            links.users = try map.optional("users")?.choice()
            links.backEnds = try map.optional("back-ends")?.choice()
            for kind in LinkClass.allCases {
                guard let value = map.optional(kind.rawValue) else { continue }
                links.shapes[kind] = try value.distribution()
            }
            return links
        }
    }

    private static func kinds(_ value: StrictValue?) throws(StrictYAMLError) -> [FaultKind] {
        guard let value else { return [] }
        return try value.list { item throws(StrictYAMLError) in
            guard let kind = FaultKind(rawValue: try item.text()) else {
                let known = FaultKind.allCases.map(\.rawValue).joined(separator: ", ")
                throw item.error("no such fault; known: \(known)")
            }
            return kind
        }
    }
}
