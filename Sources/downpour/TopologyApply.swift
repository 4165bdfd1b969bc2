import ArgumentParser
import EdgeCluster
import Foundation
import TopologyFiles

/// Carrying a plan out: the nodes do, also when nobody looks. What an operator decides is held by
/// the arbiter.
extension TopologyCommand {
    struct Apply: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move the shards of a running cluster to where a topology file wants them.",
            discussion: """
                The plan is made from where the shards are now. The nodes carry it out shard by
                shard, and go on when this command is killed; progress is shown until it is done.
                With --expect, a plan that is not the one that `topology plan --admin` has shown is
                refused. Exit code 0: done; 1: refused, or paused or replaced meanwhile.
                """)

        @Argument(help: "The topology file to reach.") var file: String
        @Option(help: "Only this plan: the hash that `topology plan --admin` has shown.")
        var expect: String?
        @Option(help: "Shards of a node that are on the move at once: 1 to 1024.")
        var shardsAtOnce = 8
        @Option(help: "Bytes a second that each event loop copies at most: 50M.")
        var rate: ByteCount?
        @Flag(help: "Do not wait for the end.") var noWait = false
        @OptionGroup var options: AdminOptions

        func run() async throws {
            let topology = try TopologyCommand.read(file).topology
            let cluster = try await RunningCluster(options.client)
            let plan = try cluster.plan(to: topology)
            if let expect, expect != "\(plan.hash)" {
                Console.note(
                    "downpour topology: the plan is \(plan.hash) now: the cluster has changed")
                throw Exit.failed
            }
            Console.note(
                "plan \(plan.hash): \(plan.copies) copies, \(plan.handOvers) hand-overs")
            let names = plan.target.nodes
            let members = plan.target.owners.map { owner in
                ([owner.primary] + owner.backups).map { names[$0] }
            }
            var body: [String: Any] = [
                "version": cluster.version, "members": members, "shardsAtOnce": shardsAtOnce,
                "nodes": topology.regions.flatMap(\.nodes).map(\.name),
            ]
            if let rate { body["bytesPerSecond"] = Int64(clamping: rate.bytes) }
            let answer = try await options.client.require("POST", "/v1/topology", body)
            let decided = try RunningCluster(options.client, answer)
            if noWait { return tell(decided, options) }
            try await follow(decided)
        }

        /// Shows progress until all shards are where they should be.
        private func follow(_ decided: RunningCluster) async throws {
            var shown = ""
            while true {
                let now = try await RunningCluster(options.client)
                if now.progress != shown { Console.note(now.progress) }
                shown = now.progress
                guard now.version == decided.version else {
                    Console.note("downpour topology: it was paused, resumed or replaced meanwhile")
                    throw Exit.failed
                }
                if now.state == "settled" { return tell(now, options) }
                try await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "How far the moves have come.",
            discussion: "Exit code 0: all shards are where they should be; 1: not yet.")

        @Argument(help: "A topology file: is it what the shards are on the way to?")
        var file: String?
        @OptionGroup var options: AdminOptions

        func run() async throws {
            let cluster = try await RunningCluster(options.client)
            tell(cluster, options)
            if let file {
                let plan = try cluster.plan(to: TopologyCommand.read(file).topology)
                Console.note("to \(file): \(plan.copies) copies, \(plan.handOvers) hand-overs")
            }
            if cluster.state != "settled" { throw Exit.failed }
        }
    }

    struct Pause: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Begin no more moves; copies that are lost are still replaced.")
        @Argument(help: "The topology file (not needed).") var file: String?
        @OptionGroup var options: AdminOptions

        func run() async throws { try await act("pause", options) }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Go on after a pause.")
        @Argument(help: "The topology file (not needed).") var file: String?
        @OptionGroup var options: AdminOptions

        func run() async throws { try await act("resume", options) }
    }

    struct Abort: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Go back to where the shards should have been before the last apply.")
        @Argument(help: "The topology file (not needed).") var file: String?
        @OptionGroup var options: AdminOptions

        func run() async throws { try await act("abort", options) }
    }
}

private func act(_ action: String, _ options: AdminOptions) async throws {
    let answer = try await options.client.require("POST", "/v1/topology/\(action)")
    tell(try RunningCluster(options.client, answer), options)
}

private func tell(_ cluster: RunningCluster, _ options: AdminOptions) {
    guard options.json else { return Console.say(cluster.progress) }
    let document: [String: Any] = [
        "cluster": cluster.name, "version": cluster.version, "state": cluster.state,
        "settled": cluster.settled, "shards": cluster.map.owners.count,
    ]
    let data = try? JSONSerialization.data(withJSONObject: document, options: [.sortedKeys])
    Console.say(String(decoding: data ?? Data(), as: UTF8.self))
}
