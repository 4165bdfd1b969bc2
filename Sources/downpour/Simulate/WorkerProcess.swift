import ArgumentParser
import EdgeTypes
import Foundation
import Simulator
import Synchronization

/// Runs seeds in a process of its own, so that a trap ends one process and is a result. Says on
/// stdout what it does, a line each: `begin SEED`, `end SEED EVENTS VIRTUAL-NS [failure as JSON]`,
/// `probe NAME`.
struct SimulateWorker: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "worker", shouldDisplay: false)

    @Option var scenario: String?
    @Option var bundle: String?
    @Option var first: UInt64 = 1
    @Option var step: UInt64 = 1
    @Option var end: UInt64 = 2
    @OptionGroup var options: WorldOptions

    func run() throws {
        if let bundle { return run(try SimulationFiles.bundle(bundle)) }
        let file = try SimulationFiles.scenario(scenario)
        let mutant = try options.checkedMutant()
        for seed in stride(from: first, to: end, by: Int(step)) {
            run(RunBundle(file, seed: seed, mutant: mutant))
        }
    }

    private func run(_ bundle: RunBundle) {
        Console.say("begin \(bundle.seed)")
        let world = bundle.run()
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
final class WorkerProcess: Sendable {
    private struct State {
        var current: UInt64?
        var events: UInt64 = 0
    }

    let process: Process
    private let output: FileHandle

    init(_ arguments: [String]) throws {
        process = Process()
        let pipe = Pipe()
        process.executableURL = URL(
            fileURLWithPath: "/proc/self/exe"
        ).resolvingSymlinksInPath()
        process.arguments = ["simulate", "worker"] + arguments
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        output = pipe.fileHandleForReading
        try process.run()
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
        for line in LineReader(output) {
            let words = line.split(separator: " ", maxSplits: 4).map(String.init)
            switch words.first {
            case "begin": current = UInt64(words[1])
            case "probe": probe(words[1])
            case "end":
                var failure: Failure?
                if words.count == 5 {
                    failure = try? JSONDecoder().decode(Failure.self, from: Data(words[4].utf8))
                }
                current = nil
                let result = SeedResult(
                    seed: UInt64(words[1]) ?? 0, events: UInt64(words[2]) ?? 0,
                    virtualNs: UInt64(words[3]) ?? 0, failure: failure)
                if !each(result), !isStopped {
                    isStopped = true
                    process.terminate()
                }
            default: break
            }
        }
        process.waitUntilExit()
        return isStopped ? nil : current
    }

    /// Whether a bundle makes the process trap.
    static func traps(_ bundle: RunBundle) -> Bool {
        let path = NSTemporaryDirectory() + "downpour-shrink-\(getpid()).json"
        defer { try? FileManager.default.removeItem(atPath: path) }
        guard (try? bundle.encoded().write(to: URL(fileURLWithPath: path))) != nil,
            let worker = try? WorkerProcess(["--bundle", path])
        else { return false }
        return worker.read({ _ in true }, probe: { _ in }) != nil
    }
}

/// Lines of a file, as they come.
private struct LineReader: Sequence, IteratorProtocol {
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
