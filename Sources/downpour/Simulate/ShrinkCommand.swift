import ArgumentParser
import Foundation
import Simulator

/// A failure, smaller. Candidates run in a process of their own: some of them trap.
struct SimulateShrink: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shrink", abstract: "Leave out of a failure what it does not need.")

    @Argument(help: "The bundle.") var bundle: String
    @Option(help: "Where the smaller one goes; by default beside it.") var output: String?
    @Option(help: "Most runs.") var runs = 20_000
    @Option(help: "Most seconds.") var seconds = 50

    func run() throws {
        let before = try SimulationFiles.bundle(self.bundle)
        // A worker that is gone is an error of the write to it.
        signal(SIGPIPE, SIG_IGN)
        guard let failure = try WorkerSession().failure(of: before) else {
            Console.note("\(self.bundle): everything holds, there is nothing to shrink")
            throw Exit.badInput
        }
        let session = WorkerSession(mostEvents: Shrinker.mostEvents(failure))
        var shrinker = Shrinker(before, mostRuns: runs) { candidate in
            let found = try? session.failure(of: candidate)
            return found?.oracle == failure.oracle && found?.kind == failure.kind
        }
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
        var bundle = shrinker.bundle
        if failure.kind == .crash {
            bundle.failure = failure
        } else {
            bundle.take(bundle.run())
        }
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
