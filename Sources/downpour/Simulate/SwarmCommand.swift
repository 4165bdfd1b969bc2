import ArgumentParser
import EdgeServer
import EdgeTypes
import Foundation
import Simulator
import Synchronization

/// Many seeds: each leaves out a random part of the faults and draws its own rates.
struct SimulateSwarm: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "swarm", abstract: "Run many seeds of a scenario.")

    @Argument(help: "A scenario; without one, the default.") var scenario: String?
    @Option(help: "How many.") var seeds: UInt64 = 1_000
    @Option(help: "The first seed; decimal, or hexadecimal after 0x.") var first = "1"
    @Option(help: "Processes.") var jobs = ProcessInfo.processInfo.activeProcessorCount
    @Flag(help: "Fail where a state was not reached that some seed must reach.") var probes = false
    @Flag(help: "Print one JSON document.") var json = false
    @OptionGroup var options: WorldOptions

    func run() throws {
        let mutant = try options.checkedMutant()
        let file = try SimulationFiles.scenario(scenario)
        guard let first = Self.number(first), seeds > 0, jobs > 0, jobs <= 256,
            !first.addingReportingOverflow(seeds).overflow
        else {
            throw ValidationError(
                "--first is a number, --seeds and --jobs are at least 1, and seeds end below 2^64")
        }
        try? FileManager.default.createDirectory(
            atPath: options.bundles, withIntermediateDirectories: true)
        guard FileManager.default.isWritableFile(atPath: options.bundles) else {
            throw ValidationError("bundles cannot be written to \(options.bundles)")
        }
        let swarm = Swarm(
            scenarioPath: scenario, first: first, seeds: seeds, jobs: jobs, mutant: mutant)
        let began = Date()
        let outcome = try swarm.run()
        let seconds = Date().timeIntervalSince(began)
        if mutant != .none { return try reportMutant(outcome, first: first) }
        try report(outcome, seconds, file)
    }

    private static func number(_ text: String) -> UInt64? {
        text.hasPrefix("0x") ? UInt64(text.dropFirst(2), radix: 16) : UInt64(text)
    }

    private func reportMutant(_ outcome: Swarm.Outcome, first: UInt64) throws {
        guard let result = outcome.failures.first, let failure = result.failure else {
            Console.say("not caught within \(seeds) seeds")
            throw Exit.failed
        }
        Console.say("caught by seed \(result.seed), number \(result.seed - first + 1): \(failure)")
    }

    private func report(
        _ outcome: Swarm.Outcome, _ seconds: Double, _ file: Scenario
    ) throws {
        let missing = Probe.expected(in: file).map(\.rawValue)
            .filter { !outcome.probes.contains($0) }
        let virtual = Double(outcome.virtualNs) / 1e9
        if json {
            Console.say(
                JSONText.of(
                    .map([
                        .init("seeds", .integer(Int64(outcome.seeds))),
                        .init("failures", .integer(Int64(outcome.failures.count))),
                        .init("events", .integer(Int64(outcome.events))),
                        .init("virtual_ms", .integer(Int64(virtual * 1_000))),
                        .init("elapsed_ms", .integer(Int64(seconds * 1_000))),
                        .init("not_reached", .array(missing.map { .text($0) })),
                    ])))
        } else {
            let speed = Int(virtual / max(seconds, 1e-6))
            Console.say(
                "\(outcome.seeds) seeds, \(outcome.failures.count) failures, "
                    + "\(outcome.events) events, \(Int(virtual)) s simulated in "
                    + "\(Int(seconds)) s (\(speed) times as fast as real time)")
            if !missing.isEmpty { Console.say("not reached: \(missing.joined(separator: ", "))") }
        }
        for result in outcome.failures.prefix(10) {
            guard let failure = result.failure else { continue }
            Console.say("seed \(result.seed): \(failure)")
            var bundle = RunBundle(file, seed: result.seed)
            bundle.commit = SimulationFiles.commit
            if failure.kind == .crash {
                bundle.failure = failure
            } else {
                bundle.take(bundle.run())
            }
            let path = try options.keep(bundle)
            if !json { Console.say("replay: downpour simulate replay \(path)") }
        }
        guard outcome.seeds == seeds else {
            Console.note("only \(outcome.seeds) of \(seeds) seeds were run: a worker failed")
            throw Exit.failed
        }
        if let worst = outcome.failures.first?.failure { throw SimulatedExit.of(worst.kind) }
        if probes, !missing.isEmpty { throw Exit.failed }
    }
}

/// Workers over seeds.
struct Swarm {
    struct Outcome: Sendable {
        var seeds: UInt64 = 0
        var events: UInt64 = 0
        var virtualNs: UInt64 = 0
        var failures: [SeedResult] = []
        var probes: Set<String> = []
        var isStopped = false
    }

    var scenarioPath: String?
    var first: UInt64
    var seeds: UInt64
    var jobs: Int
    var mutant: Mutant

    /// - Returns: failures in the order of their seeds; with a mutant, at least the first.
    func run() throws -> Outcome {
        let outcome = Mutex(Outcome())
        let group = DispatchGroup()
        let bar = ProgressBar(total: seeds)
        for job in 0..<UInt64(min(UInt64(jobs), seeds)) {
            DispatchQueue.global().async(group: group) {
                work(job, outcome, bar)
            }
        }
        group.wait()
        bar.end()
        var result = outcome.withLock { $0 }
        result.failures.sort { $0.seed < $1.seed }
        return result
    }

    private func work(_ job: UInt64, _ outcome: borrowing Mutex<Outcome>, _ bar: ProgressBar) {
        var next = first + job
        let end = first + seeds
        let step = UInt64(jobs)
        while next < end {
            var arguments = ["--first", "\(next)", "--step", "\(step)", "--end", "\(end)"]
            if let scenarioPath { arguments += ["--scenario", scenarioPath] }
            if mutant != .none { arguments += ["--mutant", mutant.rawValue] }
            guard let worker = try? WorkerProcess(arguments) else { return }
            let trapped = worker.read(
                { result in
                    bar.advance()
                    return take(result, outcome)
                }, probe: { probe in outcome.withLock { _ = $0.probes.insert(probe) } })
            guard let trapped else { return }
            let goesOn = take(
                SeedResult(seed: trapped, events: 0, virtualNs: 0, failure: .trap()), outcome)
            guard goesOn else { return }
            next = trapped + step
        }
    }

    /// - Returns: whether to go on.
    private func take(_ result: SeedResult, _ outcome: borrowing Mutex<Outcome>) -> Bool {
        outcome.withLock { outcome in
            outcome.seeds += 1
            outcome.events += result.events
            outcome.virtualNs += result.virtualNs
            if result.failure != nil {
                outcome.failures.append(result)
                if mutant != .none { outcome.isStopped = true }
            }
            return !outcome.isStopped
        }
    }
}

/// Progress on stderr: a bar on a terminal, a line every ten seconds elsewhere.
final class ProgressBar: Sendable {
    private struct State {
        var done: UInt64 = 0
        var shown = Date()
    }

    private let total: UInt64
    private let state = Mutex(State())

    init(total: UInt64) { self.total = total }

    func advance() {
        state.withLock { state in
            state.done += 1
            let now = Date()
            let isTerminal = Console.isTerminal
            guard now.timeIntervalSince(state.shown) >= (isTerminal ? 0.1 : 10) else { return }
            state.shown = now
            let share = Int(state.done * 40 / max(1, total))
            let bar =
                String(repeating: "#", count: share) + String(repeating: "-", count: 40 - share)
            let text = "\(bar) \(state.done) of \(total)"
            FileHandle.standardError.write(Data((isTerminal ? "\r\(text)" : text + "\n").utf8))
        }
    }

    func end() {
        if Console.isTerminal {
            FileHandle.standardError.write(Data("\r\(String(repeating: " ", count: 70))\r".utf8))
        }
    }
}
