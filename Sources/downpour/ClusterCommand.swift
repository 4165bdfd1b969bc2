import ArgumentParser
import Foundation

/// What a node knows of its cluster.
struct ClusterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster", abstract: "The cluster as one of its nodes sees it.",
        subcommands: [ClusterStatus.self, ArbiterCommand.self])
}

/// The members at a glance.
struct ClusterStatus: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Members, their state, links and shards.",
        discussion: "Exit code 0: every member is alive and linked; 1: some are not.")

    @OptionGroup var options: AdminOptions

    func run() async throws {
        let answer = try await options.client.require("GET", "/v1/cluster")
        let members = answer["nodes"] as? [[String: Any]] ?? []
        if options.json {
            Console.say(answer.text)
        } else {
            show(answer, members)
        }
        if !members.allSatisfy(Self.isWell) { throw Exit.failed }
    }

    static func isWell(_ member: [String: Any]) -> Bool {
        member["state"] as? String == "alive" && (member["linked"] as? NSNumber)?.intValue == 1
    }

    private func show(_ answer: AdminClient.Answer, _ members: [[String: Any]]) {
        let well = members.filter(Self.isWell).count
        Console.say(
            "cluster \(answer.string("cluster") ?? ""), \(answer.integer("shards") ?? 0) shards, "
                + "\(well) of \(members.count) nodes are well, as \(answer.string("node") ?? "") "
                + "sees it")
        var rows = [
            [
                "node", "state", "linked", "shards", "region", "zone", "protocol", "resp", "http",
                "bus",
            ]
        ]
        for member in members {
            rows.append(
                rows[0].map { column in
                    switch column {
                    case "node": member["name"] as? String ?? ""
                    case "linked": (member["linked"] as? NSNumber)?.intValue == 1 ? "yes" : "no"
                    default: member[column].flatMap { $0 is NSNull ? nil : "\($0)" } ?? ""
                    }
                })
        }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        for row in rows {
            let line = zip(row, widths).map { text, width in
                text.padding(toLength: width, withPad: " ", startingAt: 0)
            }.joined(separator: "  ")
            Console.say(String(line.reversed().drop { $0 == " " }.reversed()))
        }
        let newest = members.compactMap { ($0["protocol"] as? NSNumber)?.intValue }.max()
        if let spoken = answer.integer("protocol"), let newest, newest > spoken {
            Console.say(
                "all nodes together speak protocol \(spoken): what \(newest) adds is not used before "
                    + "every node speaks it")
        }
        let away = members.filter { ($0["linked"] as? NSNumber)?.intValue != 1 }
        let shards = away.reduce(0) { $0 + (($1["shards"] as? NSNumber)?.intValue ?? 0) }
        if shards > 0 {
            let names = away.compactMap { $0["name"] as? String }.joined(separator: ", ")
            Console.say(
                "\(shards) of \(answer.integer("shards") ?? 0) shards cannot be reached from here "
                    + "(\(names)): whoever needs them is told to try again")
        }
    }
}
