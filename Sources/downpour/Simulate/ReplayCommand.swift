import ArgumentParser
import Simulator

/// A failure, again, in a process of its own.
struct SimulateReplay: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay", abstract: "Run a failure's bundle again.")

    @Argument(help: "The bundle.") var bundle: String
    @Option(help: "Stop before this event.") var until: UInt64?
    @Flag(help: "Print every event.") var trace = false

    func run() throws {
        let bundle = try SimulationFiles.bundle(self.bundle)
        if GuardedRun.isInside { return try work(bundle) }
        try GuardedRun.run { failure in
            Console.say("seed \(bundle.seed): \(failure)")
            if let expected = bundle.failure, expected.kind != .crash {
                Console.say("this is not what was recorded at commit \(bundle.commit): \(expected)")
            }
            Console.say("replay: downpour simulate replay \(self.bundle)")
        }
    }

    private func work(_ bundle: RunBundle) throws {
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
