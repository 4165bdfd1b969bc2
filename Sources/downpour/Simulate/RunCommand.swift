import ArgumentParser
import EdgeServer
import EdgeTypes
import Foundation
import ScenarioFiles
import Simulator

/// One seed, in a process of its own.
struct SimulateRun: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run one seed of a scenario.",
        discussion: """
            --topology rehearses a topology file under faults before it is applied: the scenario's
            users and faults come to the cluster that the file describes: its nodes, zones (one of
            them may lose power), weights, shards and copies. With --from the cluster starts as that
            file says and is moved to the other one in mid-run, by the nodes' own protocol. Then it
            is told what moved, how long the slowest shard took and how many answers were to try
            again. What `topology apply` would refuse is
            refused here, too.
            """)

    @Argument(help: "A scenario or a regression; without one, the default scenario.")
    var scenario: String?
    @Option(help: "The seed; by default a regression's own, or 1.") var seed: UInt64?
    @Flag(help: "Run it twice and name the first event that differs.") var doublecheck = false
    @Flag(help: "Print every event.") var trace = false
    @Flag(help: "Print one JSON document.") var json = false
    @OptionGroup var rehearsal: RehearsalOptions
    @OptionGroup var options: WorldOptions

    func run() throws {
        var pinned = try SimulationFiles.pinned(scenario)
        if rehearsal.topology != nil, scenario == nil { pinned.scenario = RehearsalOptions.usual }
        pinned.scenario = try rehearsal.apply(to: pinned.scenario)
        var bundle = RunBundle(
            pinned.scenario, seed: seed ?? pinned.seed ?? 1, mutant: try options.checkedMutant())
        bundle.commit = SimulationFiles.commit
        if GuardedRun.isInside { return try work(bundle) }
        if let bug = pinned.mutant, options.mutant == nil {
            let broken = RunBundle(pinned.scenario, seed: bundle.seed, mutant: bug)
            guard WorkerProcess.failure(of: broken) != nil else {
                Console.say("seed \(bundle.seed) no longer catches \(bug.rawValue): pin another")
                throw Exit.failed
            }
        }
        try GuardedRun.run { failure in
            bundle.failure = failure
            if json {
                Console.say(
                    JSONText.of(
                        .map([
                            .init("seed", .text("\(bundle.seed)")),
                            .init("failure", .text("\(failure)")),
                        ])))
            } else {
                Console.say("seed \(bundle.seed): \(failure)")
            }
            try keep(bundle)
        }
    }

    private func work(_ start: RunBundle) throws {
        var bundle = start
        if doublecheck {
            if let difference = DoubleCheck.run(bundle) {
                Console.say("seed \(bundle.seed): \(difference)")
                throw SimulatedExit.correctness
            }
            if !json { Console.say("seed \(bundle.seed): twice the same") }
        }
        let world = bundle.world()
        if trace { world.trace = TracePrinter.line }
        let began = Date()
        world.run()
        report(world, bundle.seed, Date().timeIntervalSince(began))
        guard let failure = world.failure else { return }
        bundle.take(world)
        try keep(bundle)
        throw SimulatedExit.of(failure.kind)
    }

    private func keep(_ bundle: RunBundle) throws {
        let path = try options.keep(bundle)
        if !json { Console.say("replay: downpour simulate replay \(path)") }
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
                        .init("move", world.moveValue),
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
        if let text = world.moveText { Console.say(text) }
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
