import EdgeLedger
import EdgeStores
import Foundation
import StoresTestSupport
import Testing

@Suite("Kill -9")
struct KillTests {
    @Test("A reconciler killed again and again leaves, in the end, exactly the history")
    func killed() throws {
        let environment = ProcessInfo.processInfo.environment
        let seed =
            environment["DOWNPOUR_SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 0...UInt64.max)
        print("kill seed \(seed); replay with DOWNPOUR_SEED=\(seed)")
        var random = SplitMix(seed: seed)
        let scratch = try Scratch()
        var kills = 0
        var midway = 0
        while kills < 30 {
            let child = try Child(scratch.file(), seed)
            let lines = 1 + random.below(6)
            guard child.read(lines) == lines else { break }
            kill(child.process.processIdentifier, SIGKILL)
            child.process.waitUntilExit()
            #expect(child.process.terminationReason == .uncaughtSignal)
            kills += 1
            // What is there must be a prefix of the history, rows and watermarks together.
            if kills % 10 == 5 {
                let report = try audit(scratch.file(), Child.lanes(seed))
                #expect(report.isClean, "seed \(seed), after \(kills) kills: \(report)")
                if report.entries < Child.count(seed) { midway += 1 }
            }
        }
        #expect(kills == 30, "the history is long enough for all kills")
        #expect(midway >= 2, "kills came before the end")
        let last = try Child(scratch.file(), seed)
        _ = last.read(.max)
        last.process.waitUntilExit()
        #expect(last.process.terminationStatus == 0)
        let lanes = Child.lanes(seed)
        let report = try audit(scratch.file(), lanes)
        #expect(report.isClean, "seed \(seed): \(report)")
        #expect(report.entries == Child.count(seed))
        #expect(try number(scratch.file(), "SELECT count(*) FROM outbox") == events(lanes))
        #expect(try text(scratch.file(), "PRAGMA integrity_check") == "ok")
    }
}

/// A process that reconciles, line by line.
final class Child {
    let process = Process()
    private let pipe = Pipe()
    private static let steps = 30_000

    init(_ path: String, _ seed: UInt64) throws {
        let me = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let folder = URL(fileURLWithPath: me).deletingLastPathComponent()
        process.executableURL = folder.appendingPathComponent("StoresTestChild")
        process.arguments = [path, String(seed), String(Self.steps), "64"]
        process.standardOutput = pipe
        try process.run()
    }

    /// Reads so many lines; fewer where it ended before.
    func read(_ count: Int) -> Int {
        var lines = 0
        while lines < count {
            let data = pipe.fileHandleForReading.availableData
            if data.isEmpty { return lines }
            lines += data.count { $0 == 10 }
        }
        return min(lines, count)
    }

    static func lanes(_ seed: UInt64) -> [MemoryLane] {
        var shape = History.Shape()
        shape.steps = steps
        return History(seed: seed, shape: shape).sources()
    }

    static func count(_ seed: UInt64) -> Int64 {
        lanes(seed).reduce(0) { $0 + Int64($1.entries.count) }
    }
}
