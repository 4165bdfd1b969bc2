import ArgumentParser
import EdgeCluster
import Foundation
import StrictYAML
import TopologyFiles

/// Operators' work on topology files.
struct TopologyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "topology",
        abstract: "Which nodes hold which shards: check a file, plan the way to it, carry it out.",
        subcommands: [
            Check.self, Plan.self, Apply.self, Status.self, Pause.self, Resume.self, Abort.self,
        ])

    /// Reads a file; problems are told, with their line, and end with 65.
    static func read(_ path: String) throws -> TopologyFile {
        guard let data = FileManager.default.contents(atPath: path),
            let text = String(data: data, encoding: .utf8)
        else {
            Console.note("downpour topology: cannot read \(path)")
            throw Exit.badInput
        }
        do {
            return try TopologyFile.read(text, file: path)
        } catch {
            Console.note("downpour topology: \(error)")
            throw Exit.badInput
        }
    }

    /// Plans, and tells how long that took.
    static func plan(from map: ShardMap?, to topology: Topology) throws -> ShardMapPlan {
        let clock = ContinuousClock()
        let began = clock.now
        do {
            let plan = try ShardMapPlanner.plan(from: map, to: topology)
            let time = began.duration(to: clock.now)
            let ms =
                time.components.seconds * 1_000
                + time.components.attoseconds / 1_000_000_000_000_000
            Console.note("planned in \(ms) ms")
            return plan
        } catch {
            Console.note("downpour topology: \(error)")
            throw Exit.badInput
        }
    }

    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Validate a topology file, and see how it would spread its shards.",
            discussion: """
                Exit 0: the file is sound; 65: it is not, with line and reason. Notes tell what a
                sound file cannot have, such as a share that eight partners cannot bear.
                """)

        @Argument(help: "The topology file.") var file: String
        @Flag(help: "Print one JSON document.") var json = false
        @Flag(help: "List every node.") var nodes = false

        func run() throws {
            let topology = try TopologyCommand.read(file).topology
            let plan = try TopologyCommand.plan(from: nil, to: topology)
            let report = TopologyReport(plan: plan, cost: nil)
            if json {
                Console.say(try CapacityInput.json(report.document(withMoves: false)))
            } else {
                Console.say("\(file): sound\n\n" + report.text(allNodes: nodes))
            }
        }
    }

    struct Plan: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Plan the moves to a topology file; nothing is carried out.",
            discussion: """
                With --from, the way from the cluster that this file would create; with --admin, from
                the cluster that runs; without them, the new cluster itself. The same files give the same bytes everywhere. Beside the
                copies stands a lower bound: no plan that leaves every node as near to its share
                copies less.
                """)

        @Argument(help: "The topology file to reach.") var file: String
        @Option(help: "The topology file to start from.") var from: String?
        @Option(help: "The admin API of a node of the cluster to start from.") var admin: String?
        @Option(help: "Bytes of a shard: 64M.") var shardBytes: ByteCount?
        @Option(help: "Bytes a second that may be copied, in all: 50M.") var rate: ByteCount?
        @Flag(help: "Print one JSON document.") var json = false
        @Flag(help: "List every node.") var nodes = false
        @Flag(help: "List every move, step by step.") var moves = false

        func validate() throws {
            guard from == nil || admin == nil else {
                throw ValidationError("--from and --admin: one of them")
            }
            guard rate == nil || shardBytes != nil else {
                throw ValidationError("--rate needs --shard-bytes")
            }
            guard rate?.bytes != 0 else { throw ValidationError("--rate: more than 0") }
        }

        func run() async throws {
            let target = try TopologyCommand.read(file).topology
            var map = try from.map { path in
                try TopologyCommand.plan(from: nil, to: TopologyCommand.read(path).topology).target
            }
            if let admin { map = try await RunningCluster(admin).map }
            let plan = try TopologyCommand.plan(from: map, to: target)
            let cost = shardBytes.map { TopologyReport.Cost(shard: $0.bytes, rate: rate?.bytes) }
            let report = TopologyReport(plan: plan, cost: cost)
            if json {
                Console.say(try CapacityInput.json(report.document(withMoves: true)))
                return
            }
            var text = report.text(allNodes: nodes)
            if moves { text += "\n\n" + report.moves }
            Console.say(text)
        }
    }
}

/// A size as an option says it: `4096`, `64k`, `64M`, `2G` (powers of ten).
struct ByteCount: ExpressibleByArgument {
    let bytes: UInt64

    init?(argument: String) {
        let factors: [Character: UInt64] = ["k": 1_000, "M": 1_000_000, "G": 1_000_000_000]
        let factor = argument.last.flatMap { factors[$0] }
        let digits = factor == nil ? argument[...] : argument.dropLast()
        guard let bytes = ExactDecimal(digits)?.whole(times: factor ?? 1), bytes <= 1 << 50 else {
            return nil
        }
        self.bytes = bytes
    }
}
