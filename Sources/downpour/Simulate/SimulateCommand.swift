import ArgumentParser
import EdgeServer
import EdgeTypes
import Foundation
import ScenarioFiles
import Simulator

/// The simulator: the same node code under virtual clocks, networks, disks and stores.
struct SimulateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Run the node's code under virtual time: faults, crowds, millions of users.",
        subcommands: [
            SimulateRun.self, SimulateSwarm.self, SimulateMutants.self, SimulateReplay.self,
            SimulateShrink.self, CapacityCommand.self, SweepCommand.self,
            CalibrateCommand.self, ValidateCommand.self, SimulateWorker.self,
        ])
}

/// How a simulated run ends the process.
enum SimulatedExit {
    static let correctness = ExitCode(2)
    static let liveness = ExitCode(3)
    static let crash = ExitCode(4)

    static func of(_ kind: Failure.Kind) -> ExitCode {
        switch kind {
        case .correctness: correctness
        case .liveness: liveness
        case .crash: crash
        }
    }
}

/// What the commands that run worlds have in common.
struct WorldOptions: ParsableArguments {
    @Option(help: "A built-in bug: see `downpour simulate mutants`.") var mutant: String?
    @Option(help: "Where bundles of failures are written.") var bundles = "."

    func checkedMutant() throws -> Mutant { try Self.mutant(mutant) }

    static func mutant(_ name: String?) throws -> Mutant {
        guard let mutant = name else { return .none }
        guard let known = Mutant(rawValue: mutant) else {
            Console.note("no mutant is called \(mutant); `downpour simulate mutants` lists them")
            throw ExitCode.validationFailure
        }
        return known
    }

    /// Writes a failure where it can be replayed from.
    ///
    /// - Returns: the file.
    func keep(_ bundle: RunBundle) throws -> String {
        let suffix = bundle.mutant == Mutant.none.rawValue ? "" : "-\(bundle.mutant)"
        let name = "\(bundle.scenario.name)-\(bundle.seed)\(suffix).bundle.json"
        let path = bundles + "/" + name
        do {
            try FileManager.default.createDirectory(
                atPath: bundles, withIntermediateDirectories: true)
            try bundle.encoded().write(to: URL(fileURLWithPath: path))
        } catch {
            Console.note("cannot write \(path): \(error)")
            throw Exit.failed
        }
        return path
    }
}

/// Scenarios and bundles from files.
enum SimulationFiles {
    static func scenario(_ path: String?) throws -> Scenario { try pinned(path).scenario }

    static func pinned(_ path: String?) throws -> FaultScenarioFile.Pinned {
        guard let path else { return FaultScenarioFile.Pinned(scenario: Scenario()) }
        do {
            return try FaultScenarioFile.pinned(path)
        } catch {
            Console.note("\(error)")
            throw Exit.badInput
        }
    }

    static func bundle(_ path: String) throws -> RunBundle {
        do {
            return try RunBundle.decode(try Data(contentsOf: URL(fileURLWithPath: path)))
        } catch {
            Console.note("\(path): \(error)")
            throw Exit.badInput
        }
    }

    /// The commit that this program's sources are at, where it runs inside of them.
    static var commit: String {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["git", "rev-parse", "HEAD"]
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return "" }
        let data = (try? pipe.fileHandleForReading.readToEnd()) ?? Data()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { return "" }
        return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
