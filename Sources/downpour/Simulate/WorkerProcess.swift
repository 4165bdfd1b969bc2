import ArgumentParser
import EdgeTypes
import Foundation
import Simulator

/// Runs seeds in a process of its own, so that a trap ends one process and is a result. Says on
/// stdout what it does, a line each: `begin SEED`, `end SEED EVENTS VIRTUAL-NS [failure as JSON]`,
/// `probe NAME`.
struct SimulateWorker: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "worker", shouldDisplay: false)

    @Option var scenario: String?
    /// Bundles come on stdin, a line of JSON each.
    @Flag var bundles = false
    /// A run ends here, with nothing found.
    @Option var mostEvents = UInt64.max
    @Option var first: UInt64 = 1
    @Option var step: UInt64 = 1
    @Option var end: UInt64 = 2
    @Option var mutant: String?

    func run() throws {
        if bundles {
            while let line = readLine() { run(try RunBundle.decode(Data(line.utf8))) }
            return
        }
        let file = try SimulationFiles.scenario(scenario)
        let mutant = try WorldOptions.mutant(mutant)
        for seed in stride(from: first, to: end, by: Int(step)) {
            run(RunBundle(file, seed: seed, mutant: mutant))
        }
    }

    private func run(_ bundle: RunBundle) {
        Console.say("begin \(bundle.seed)")
        let world = bundle.world()
        world.lastEvent = mostEvents
        world.run()
        for probe in world.probes.map(\.rawValue).sorted() { Console.say("probe \(probe)") }
        var failure = ""
        if let found = world.failure, let data = try? JSONEncoder().encode(found) {
            failure = " " + String(decoding: data, as: UTF8.self)
        }
        Console.say("end \(bundle.seed) \(world.events) \(world.nowNs)\(failure)")
    }
}

/// What became of a seed.
struct SeedResult: Sendable {
    var seed: UInt64
    var events: UInt64
    var virtualNs: UInt64
    var failure: Failure?
}

/// A worker and what it says.
final class WorkerProcess {
    enum Line {
        case begin(UInt64)
        case probe(String)
        case end(SeedResult)
    }

    let process: Process
    private let input: FileHandle?
    private var lines: LineReader

    static var executable: URL {
        URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    }

    /// - Parameter hearsBundles: whether `send` is going to be called.
    init(_ arguments: [String], hearsBundles: Bool = false) throws {
        process = Process()
        let output = Pipe()
        process.executableURL = Self.executable
        process.arguments = ["simulate", "worker"] + arguments
        // A trap is told by the signal: finding out where it was would take seconds each time.
        process.environment = ProcessInfo.processInfo.environment
            .merging(["SWIFT_BACKTRACE": "enable=no"]) { _, new in new }
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        let pipe = hearsBundles ? Pipe() : nil
        if let pipe { process.standardInput = pipe }
        input = pipe?.fileHandleForWriting
        lines = LineReader(output.fileHandleForReading)
        try process.run()
    }

    /// Gives the worker a bundle to run.
    ///
    /// - Throws: where it is no more.
    func send(_ bundle: RunBundle) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes]
        try input?.write(contentsOf: try encoder.encode(bundle) + Data([10]))
    }

    /// What it says next; nil where it has ended.
    func next() -> Line? {
        while let line = lines.next() {
            let words = line.split(separator: " ", maxSplits: 4).map(String.init)
            switch words.first {
            case "begin": return .begin(UInt64(words[1]) ?? 0)
            case "probe": return .probe(words[1])
            case "end":
                var failure: Failure?
                if words.count == 5 {
                    failure = try? JSONDecoder().decode(Failure.self, from: Data(words[4].utf8))
                }
                return .end(
                    SeedResult(
                        seed: UInt64(words[1]) ?? 0, events: UInt64(words[2]) ?? 0,
                        virtualNs: UInt64(words[3]) ?? 0, failure: failure))
            default: break
            }
        }
        process.waitUntilExit()
        return nil
    }

    /// Reads until the worker ends.
    ///
    /// - Parameter each: is given every result and every probe; false ends the worker.
    /// - Returns: the seed at which it trapped, if it did.
    func read(
        _ each: (SeedResult) -> Bool, probe: (String) -> Void
    ) -> UInt64? {
        var current: UInt64?
        var isStopped = false
        while let line = next() {
            switch line {
            case .begin(let seed): current = seed
            case .probe(let name): probe(name)
            case .end(let result):
                current = nil
                if !each(result), !isStopped {
                    isStopped = true
                    process.terminate()
                }
            }
        }
        return isStopped ? nil : current
    }

    /// What became of one bundle; nil where everything held.
    static func failure(of bundle: RunBundle) -> Failure? {
        try? WorkerSession().failure(of: bundle)
    }
}

/// Runs one bundle after the other in a worker; where that traps, in another.
final class WorkerSession {
    private var worker: WorkerProcess?
    private let mostEvents: UInt64

    /// - Parameter mostEvents: a run that has not failed by then is taken to hold.
    init(mostEvents: UInt64 = .max) { self.mostEvents = mostEvents }

    deinit { worker?.process.terminate() }

    /// - Returns: what did not hold, a trap included; nil where everything did.
    /// - Throws: where no worker can be started, or it takes no bundle.
    func failure(of bundle: RunBundle) throws -> Failure? {
        let worker =
            try worker
            ?? WorkerProcess(["--bundles", "--most-events", "\(mostEvents)"], hearsBundles: true)
        self.worker = worker
        try worker.send(bundle)
        while let line = worker.next() {
            if case .end(let result) = line { return result.failure }
        }
        self.worker = nil
        guard worker.process.terminationReason == .uncaughtSignal else {
            throw Refused(status: worker.process.terminationStatus)
        }
        return .trap(signal: worker.process.terminationStatus)
    }

    /// The worker ended by itself: the bundle cannot be run.
    struct Refused: Error {
        var status: Int32
    }
}

/// Lines of a file, as they come.
private struct LineReader {
    private let file: FileHandle
    private var rest = Data()
    private var isAtEnd = false

    init(_ file: FileHandle) { self.file = file }

    mutating func next() -> String? {
        while true {
            if let end = rest.firstIndex(of: 10) {
                let line = String(decoding: rest[rest.startIndex..<end], as: UTF8.self)
                rest.removeSubrange(rest.startIndex...end)
                return line
            }
            if isAtEnd { return nil }
            let data = file.availableData
            if data.isEmpty { isAtEnd = true } else { rest.append(data) }
        }
    }
}
