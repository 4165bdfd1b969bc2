import ArgumentParser
import Dispatch
import Foundation
import Simulator

/// Does a command's work in a process of its own, so that a trap of the code under test ends that
/// process and is a result here. What it prints goes where this process prints.
enum GuardedRun {
    private static let mark = "DOWNPOUR_SIMULATE_GUARDED"

    /// Whether this process is the one that does the work.
    static var isInside: Bool { ProcessInfo.processInfo.environment[mark] != nil }

    /// Runs this program with the same arguments once more, and ends as it does.
    ///
    /// - Parameter trapped: is told of a trap, before the exit code for one is thrown.
    /// - Throws: `ExitCode`, where it ends with another than 0.
    static func run(trapped: (Failure) throws -> Void) throws {
        let process = Process()
        process.executableURL = WorkerProcess.executable
        process.arguments = Array(CommandLine.arguments.dropFirst())
        process.environment = ProcessInfo.processInfo.environment
            .merging([mark: "1"]) { _, new in new }
        do {
            try process.run()
        } catch {
            Console.note("cannot start a process to run in: \(error)")
            throw Exit.failed
        }
        let sources = passSignals(to: process.processIdentifier)
        process.waitUntilExit()
        for source in sources { source.cancel() }
        let status = process.terminationStatus
        guard process.terminationReason == .uncaughtSignal else {
            if status != 0 { throw ExitCode(status) }
            return
        }
        // Somebody wanted it to end.
        if asked.contains(status) || status == SIGPIPE { throw ExitCode(128 + status) }
        try trapped(.trap(signal: status))
        throw SimulatedExit.crash
    }

    private static let asked = [SIGINT, SIGTERM, SIGHUP]

    /// What asks this process to end asks the other: it may be in another process group.
    private static func passSignals(to other: pid_t) -> [any DispatchSourceSignal] {
        asked.map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { kill(other, number) }
            source.resume()
            return source
        }
    }
}

extension Failure {
    static func trap(signal: Int32? = nil) -> Failure {
        Failure(
            oracle: "trap", kind: .crash,
            detail: "the process ended by " + (signal.map { "signal \($0)" } ?? "a signal"),
            event: 0, timeNs: 0, digest: 0)
    }
}
