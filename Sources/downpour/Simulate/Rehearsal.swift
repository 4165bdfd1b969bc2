import ArgumentParser
import EdgeCluster
import EdgeServer
import EdgeTypes
import Foundation
import Simulator
import TopologyFiles

/// A topology file, before it is applied: a scenario's users and faults come to the cluster that it
/// describes, or to another one that is moved to it meanwhile.
struct RehearsalOptions: ParsableArguments {
    @Option(help: "A topology file: the world is the cluster that it describes.")
    var topology: String?
    @Option(help: "The topology file that the cluster starts from, to be moved to the other.")
    var from: String?
    @Option(help: "Shards of a node that are on the move at once: 1 to 1024.")
    var shardsAtOnce = ReplicaAgent.usualAtOnce

    /// Largest worlds: what a run takes grows with nodes × shards.
    static let mostNodes = 64
    static let leastShards = 8
    static let mostShards = 1_024

    func validate() throws {
        guard topology != nil || from == nil else {
            throw ValidationError("--from needs --topology: the file that is moved to")
        }
        guard (1...1_024).contains(shardsAtOnce) else {
            throw ValidationError("--shards-at-once is 1 to 1024")
        }
    }

    /// What is run where no scenario is named.
    static var usual: Scenario {
        var scenario = Scenario()
        scenario.name = "rehearsal"
        scenario.mostCores = 2
        scenario.poolsPerNode = 2
        return scenario
    }

    /// A scenario on the cluster of the files.
    ///
    /// - Throws: `ExitCode`, once it has said what is wrong with them.
    func apply(to scenario: Scenario) throws -> Scenario {
        guard let topology else { return scenario }
        let target = try Self.read(topology)
        let start = try from.map { try Self.read($0) } ?? target
        let first = try Self.plan(from: nil, to: start).target
        var world = scenario
        world.isCluster = true
        world.nodes = first.nodes.count
        world.shards = start.shards
        world.replicas = start.replicas
        var described = ScenarioTopology(
            nodes: first.nodes.map { Self.node($0, start) }, members: Self.members(first))
        if let from {
            described.move = try move(first, from, start, topology, target, scenario)
        }
        world.topology = described
        return world
    }

    private static func read(_ path: String) throws -> Topology {
        let topology = try TopologyCommand.read(path).topology
        let world =
            "a world has \(leastShards) to \(mostShards) shards and at most \(mostNodes) nodes"
        guard topology.nodeCount <= mostNodes,
            (leastShards...mostShards).contains(topology.shards)
        else {
            throw refusal(
                "\(path) has \(topology.shards) shards and \(topology.nodeCount) nodes, and "
                    + "\(world): rehearse a smaller cluster of the same shape")
        }
        guard topology.replicas == 1 || topology.arbiter == .store else {
            throw refusal(
                "\(path): with several replicas somebody must decide who leads: say "
                    + "`arbiter: store`")
        }
        return topology
    }

    /// What applying the file would decide, and be refused for.
    private func move(
        _ first: ShardMap, _ from: String, _ start: Topology, _ path: String, _ target: Topology,
        _ scenario: Scenario
    ) throws -> ScenarioTopology.Move {
        guard start.replicas > 1, target.replicas > 1 else {
            throw Self.refusal("shards with one copy do not move: both files need replicas: 2 or 3")
        }
        guard start.cluster == target.cluster else {
            throw Self.refusal("\(path) is of \(target.cluster), \(from) of \(start.cluster)")
        }
        let names = target.regions.flatMap(\.nodes).map(\.name)
        if let unknown = names.first(where: { first.number(ofNode: $0) == nil }) {
            throw Self.refusal(
                "\(unknown) is none of the nodes of \(from): a cluster moves shards among the nodes "
                    + "that it was started with; one that waits for shards has weight 0 there")
        }
        let plan = try Self.plan(from: first, to: target)
        let numbers = plan.target.nodes.map { first.number(ofNode: $0) ?? 0 }
        // While users come, and most faults.
        let span = scenario.crowdEndNs - scenario.opensNs
        return ScenarioTopology.Move(
            members: Self.members(plan.target).map { $0.map { UInt16(numbers[Int($0)]) } },
            atNs: scenario.opensNs + span / 4, atOnce: shardsAtOnce, copies: plan.copies,
            handOvers: plan.handOvers)
    }

    private static func plan(
        from map: ShardMap?, to topology: Topology
    ) throws -> ShardMapPlan {
        do { return try ShardMapPlanner.plan(from: map, to: topology) } catch {
            throw refusal("\(error)")
        }
    }

    private static func refusal(_ text: String) -> ExitCode {
        Console.note("downpour simulate: \(text)")
        return Exit.badInput
    }

    private static func node(_ name: String, _ topology: Topology) -> ScenarioTopology.Node {
        for region in topology.regions {
            if let node = region.nodes.first(where: { $0.name == name }) {
                return ScenarioTopology.Node(name: name, region: region.name, zone: node.zone)
            }
        }
        preconditionFailure("a node that the file does not have")
    }

    private static func members(_ map: ShardMap) -> [[UInt16]] {
        map.owners.map { ([$0.primary] + $0.backups).map { UInt16($0) } }
    }
}

/// How a move went, in words and for programs.
extension World {
    var moveText: String? {
        guard let move = scenario.topology?.move, let report = moveReport else { return nil }
        func ms(_ ns: UInt64) -> String { "\((ns + 500_000) / 1_000_000) ms" }
        let planned = "\(move.copies) copies, \(move.handOvers) hand-overs planned"
        let all = "\(report.done) of \(report.shards) shards moved (\(planned))"
        let took = report.tookNs.map { " in \(ms($0))" } ?? ", which was not all"
        let slowest = report.slowest.map {
            "; the slowest, shard \($0), took \(ms(report.slowestNs))"
        }
        return all + took + (slowest ?? "")
            + "; \(report.triedAgain) of \(report.answers) answers meanwhile: try again"
    }

    var moveValue: Value {
        guard let move = scenario.topology?.move, let report = moveReport else { return .null }
        return .map([
            .init("shards", .integer(Int64(report.shards))),
            .init("done", .integer(Int64(report.done))),
            .init("copies", .integer(Int64(move.copies))),
            .init("hand_overs", .integer(Int64(move.handOvers))),
            .init("took_ms", report.tookNs.map { .integer(Int64($0 / 1_000_000)) } ?? .null),
            .init("slowest", report.slowest.map { .integer(Int64($0)) } ?? .null),
            .init("slowest_ms", .integer(Int64(report.slowestNs / 1_000_000))),
            .init("tried_again", .integer(Int64(report.triedAgain))),
            .init("answers", .integer(Int64(report.answers))),
        ])
    }
}
