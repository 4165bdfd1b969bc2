import ArgumentParser
import EdgeServer
import EdgeTypes
import Foundation
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

    func checkedMutant() throws -> Mutant {
        guard let mutant else { return .none }
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

/// One seed, in this process.
struct SimulateRun: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run one seed of a scenario.")

    @Argument(help: "A scenario or a regression; without one, the default scenario.")
    var scenario: String?
    @Option(help: "The seed; by default a regression's own, or 1.") var seed: UInt64?
    @Flag(help: "Run it twice and name the first event that differs.") var doublecheck = false
    @Flag(help: "Print every event.") var trace = false
    @Flag(help: "Print one JSON document.") var json = false
    @OptionGroup var options: WorldOptions

    func run() throws {
        let pinned = try SimulationFiles.pinned(scenario)
        let seed = self.seed ?? pinned.seed ?? 1
        var bundle = RunBundle(pinned.scenario, seed: seed, mutant: try options.checkedMutant())
        bundle.commit = SimulationFiles.commit
        if let bug = pinned.mutant, options.mutant == nil {
            let broken = RunBundle(pinned.scenario, seed: seed, mutant: bug).run()
            guard broken.failure != nil else {
                Console.say("seed \(seed) no longer catches \(bug.rawValue): pin another")
                throw Exit.failed
            }
        }
        if doublecheck {
            if let difference = DoubleCheck.run(bundle) {
                Console.say("seed \(seed): \(difference)")
                throw SimulatedExit.correctness
            }
            if !json { Console.say("seed \(seed): twice the same") }
        }
        let world = bundle.world()
        if trace { world.trace = TracePrinter.line }
        let began = Date()
        world.run()
        let seconds = Date().timeIntervalSince(began)
        report(world, seed, seconds)
        guard let failure = world.failure else { return }
        bundle.take(world)
        let path = try options.keep(bundle)
        if !json { Console.say("replay: downpour simulate replay \(path)") }
        throw SimulatedExit.of(failure.kind)
    }

    private func report(_ world: World, _ seed: UInt64, _ seconds: Double) {
        let virtual = Double(world.nowNs) / 1e9
        if json {
            return Console.say(
                JSONText.of(
                    .map([
                        .init("seed", .text("\(seed)")),
                        .init("digest", .text(String(world.digest, radix: 16))),
                        .init("events", .integer(Int64(world.events))),
                        .init("virtual_ms", .integer(Int64(world.nowNs / 1_000_000))),
                        .init(
                            "faults", .array(world.plan.faults.map { .text($0.description) })),
                        .init(
                            "probes",
                            .array(world.probes.map(\.rawValue).sorted().map { .text($0) })),
                        .init(
                            "failure", world.failure.map { .text($0.description) } ?? .null),
                    ])))
        }
        let verdict = world.failure.map { "\($0)" } ?? "everything holds"
        Console.say("seed \(seed): \(verdict)")
        let speed = Int(virtual / max(seconds, 1e-6))
        Console.say(
            "digest \(String(world.digest, radix: 16)), \(world.events) events, "
                + "\(world.plan.faults.count) faults, \(Int(virtual)) s simulated in "
                + "\(Int(seconds * 1_000)) ms (\(speed) times as fast as real time)")
    }
}

enum TracePrinter {
    static func line(_ event: UInt64, _ timeNs: UInt64, _ text: String) {
        let us = timeNs / 1_000
        Console.say(
            "\(event)  \(us / 1_000_000).\(String(us % 1_000_000 + 1_000_000).dropFirst()) s  \(text)"
        )
    }
}

/// A failure, again.
struct SimulateReplay: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay", abstract: "Run a failure's bundle again.")

    @Argument(help: "The bundle.") var bundle: String
    @Option(help: "Stop before this event.") var until: UInt64?
    @Flag(help: "Print every event.") var trace = false

    func run() throws {
        let bundle = try SimulationFiles.bundle(self.bundle)
        let world = bundle.world()
        if trace {
            for fault in bundle.plan.faults { Console.say("planned: \(fault)") }
            world.trace = TracePrinter.line
        }
        if let until { world.lastEvent = until }
        world.run()
        if until == nil, let expected = bundle.failure, world.failure != expected {
            let same = zip(bundle.trail, world.trail).prefix { $0 == $1 }.count
            Console.say(
                "this is not what was recorded: runs differ after event "
                    + "\(UInt64(same) * World.trailStep); recorded at commit \(bundle.commit)")
            throw Exit.failed
        }
        guard let failure = world.failure else {
            return Console.say(
                until == nil ? "everything holds" : "stopped at event \(world.events)")
        }
        Console.say("\(failure)")
        throw SimulatedExit.of(failure.kind)
    }
}

/// A failure, smaller.
struct SimulateShrink: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shrink", abstract: "Leave out of a failure what it does not need.")

    @Argument(help: "The bundle.") var bundle: String
    @Option(help: "Where the smaller one goes; by default beside it.") var output: String?
    @Option(help: "Most runs.") var runs = 20_000
    @Option(help: "Most seconds.") var seconds = 50

    func run() throws {
        var bundle = try SimulationFiles.bundle(self.bundle)
        let failure: Failure
        let check: Shrinker.Check
        switch bundle.failure {
        case let known? where known.kind == .crash:
            // What traps is run elsewhere.
            failure = known
            check = { WorkerProcess.traps($0) }
        default:
            guard let found = bundle.run().failure else {
                Console.note("\(self.bundle): everything holds, there is nothing to shrink")
                throw Exit.badInput
            }
            failure = found
            check = Shrinker.inProcess(found)
        }
        let before = bundle
        var shrinker = Shrinker(bundle, mostRuns: runs, check: check)
        let end = Date().addingTimeInterval(Double(seconds))
        shrinker.mayGoOn = { Date() < end }
        shrinker.progress = { left, runs in
            guard Console.isTerminal else { return }
            FileHandle.standardError.write(
                Data(
                    "\r\(runs) runs: \(left.plan.faults.count) faults, \(left.users.count) users "
                        .utf8))
        }
        shrinker.shrink()
        if Console.isTerminal { Console.note("") }
        bundle = shrinker.bundle
        if failure.kind != .crash { bundle.take(bundle.run()) }
        let path =
            output ?? self.bundle.replacingOccurrences(of: ".bundle.json", with: "")
            + ".small.bundle.json"
        try bundle.encoded().write(to: URL(fileURLWithPath: path))
        Console.say(
            "\(before.plan.faults.count) faults and \(before.users.count) users became "
                + "\(bundle.plan.faults.count) and \(bundle.users.count) in \(shrinker.runs) runs")
        for fault in bundle.plan.faults { Console.say("  \(fault)") }
        Console.say("\(bundle.failure ?? failure)")
        Console.say("replay: downpour simulate replay \(path)")
    }
}
