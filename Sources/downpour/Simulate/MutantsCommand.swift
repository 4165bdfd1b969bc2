import ArgumentParser
import EdgeServer
import EdgeTypes
import Foundation
import Simulator

/// The built-in bugs, and whether the oracles see them.
struct SimulateMutants: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mutants", abstract: "List the built-in bugs, or see that each is caught.",
        discussion: """
            A list of recorded seeds has a line for each mutant: its name, the scenario (- for the \
            default), the first seed of it that catches the mutant, and the oracle.
            """)

    @Option(help: "See that each mutant of this list is caught by its seed, and by no mutant not.")
    var check: String?
    @Option(help: "Find the first seed that catches each, and write the list.") var record: String?
    @Option(help: "Scenarios, tried in this order; without one, the default.")
    var scenario: [String] = []
    @Option(help: "Most seeds for each.") var seeds: UInt64 = 2_000
    @Option(help: "Processes.") var jobs = ProcessInfo.processInfo.activeProcessorCount
    @Flag(help: "Print one JSON document.") var json = false

    func run() throws {
        if let record { return try find(record) }
        if let check { return try verify(check) }
        let mutants = Mutant.allCases.filter { $0 != .none }
        if json {
            return Console.say(
                JSONText.of(
                    .map([
                        .init(
                            "mutants",
                            .array(
                                mutants.map { mutant in
                                    .map([
                                        .init("name", .text(mutant.rawValue)),
                                        .init("bug", .text(mutant.summary)),
                                    ])
                                }))
                    ])))
        }
        for mutant in mutants {
            let name = mutant.rawValue.padding(toLength: 26, withPad: " ", startingAt: 0)
            Console.say("\(name)\(mutant.summary)")
        }
        Console.say("\(mutants.count) mutants")
    }

    private func find(_ path: String) throws {
        var text = ""
        var missed: [String] = []
        for mutant in Mutant.allCases where mutant != .none {
            guard let line = try catching(mutant) else {
                missed.append(mutant.rawValue)
                Console.say("\(mutant.rawValue): not caught within \(seeds) seeds")
                continue
            }
            Console.say(line)
            text += line + "\n"
        }
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        if !missed.isEmpty { throw Exit.failed }
    }

    /// The first seed that catches a mutant, as a line of the list.
    private func catching(_ mutant: Mutant) throws -> String? {
        for path in scenario.isEmpty ? [nil] : scenario.map(Optional.some) {
            let outcome = try Swarm(
                scenarioPath: path, first: 1, seeds: seeds, jobs: 1, mutant: mutant
            ).run()
            guard let result = outcome.failures.first, let failure = result.failure else {
                continue
            }
            let oracle = Self.joined(failure.oracle)
            return "\(mutant.rawValue) \(Self.name(of: path)) \(result.seed) \(oracle)"
        }
        return nil
    }

    private static func joined(_ oracle: String) -> String {
        oracle.split(separator: " ").joined(separator: "-")
    }

    private static func name(of path: String?) -> String {
        path.map { URL(fileURLWithPath: $0).deletingPathExtension().lastPathComponent } ?? "-"
    }

    private struct Clean: Hashable {
        var scenario: String?
        var seed: UInt64
    }

    private func verify(_ path: String) throws {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            Console.note("\(path) cannot be read")
            throw Exit.badInput
        }
        var caught = 0
        var clean: Set<Clean> = []
        var missed: [String] = []
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            let file = scenario.first { Self.name(of: $0) == words.dropFirst().first }
            guard words.count >= 3, let mutant = Mutant(rawValue: words[0]),
                let seed = UInt64(words[2]), file != nil || words[1] == "-"
            else {
                Console.note("\(path): not a mutant, a scenario that is given, and a seed: \(line)")
                throw Exit.badInput
            }
            clean.insert(Clean(scenario: file, seed: seed))
            let outcome = try Swarm(
                scenarioPath: file, first: seed, seeds: 1, jobs: 1, mutant: mutant
            ).run()
            let oracle = outcome.failures.first?.failure?.oracle
            if let oracle, words.count < 4 || words[3] == Self.joined(oracle) {
                caught += 1
            } else {
                missed.append(mutant.rawValue)
            }
        }
        let all = Mutant.allCases.count - 1
        for name in missed {
            Console.say("\(name) is not caught by its recorded seed, or by another oracle")
        }
        // The same seeds without a bug: what is caught is the bug.
        for run in clean {
            let outcome = try Swarm(
                scenarioPath: run.scenario, first: run.seed, seeds: 1, jobs: 1, mutant: .none
            ).run()
            if let failure = outcome.failures.first?.failure {
                Console.say("seed \(run.seed) fails without a mutant: \(failure)")
                throw SimulatedExit.of(failure.kind)
            }
        }
        Console.say("\(caught) of \(all) mutants are caught by their recorded seeds")
        if caught < all { throw Exit.failed }
    }
}
