import ArgumentParser
import CapacitySimulator
import ScenarioFiles
import Simulator
import StrictYAML

/// Checks scenario files and runs nothing.
struct ValidateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate",
        abstract: "Check scenario files; exit 65 where one is bad.")

    @Argument(help: "Scenario files, of any kind.") var files: [String]

    func run() throws {
        var isGood = true
        for file in files {
            do {
                Console.say("\(file): \(try Self.check(file))")
            } catch is ExitCode {
                isGood = false
            }
        }
        guard isGood else { throw Exit.badInput }
    }

    /// - Returns: what the file is.
    private static func check(_ file: String) throws -> String {
        let root = try CapacityInput.root(file)
        let kind: ScenarioKind
        do {
            kind = try ScenarioKind.of(root)
        } catch {
            Console.note("downpour: \(error)")
            throw Exit.badInput
        }
        switch kind {
        case .capacity:
            let (scenario, _) = try CapacityInput.scenario(root, path: file)
            return "capacity, \(scenario.users) users, \(scenario.nodes) nodes"
        case .faults, .regression:
            let pinned = try SimulationFiles.pinned(file)
            let what = pinned.seed.map { "regression, seed \($0), of" } ?? "faults,"
            return "\(what) \(pinned.scenario.users) users, \(pinned.scenario.nodes) nodes"
        }
    }
}
