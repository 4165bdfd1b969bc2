import EdgeCore
import EdgeJournal
import EdgeMemory
import EdgeRecovery
import EdgeTypes
import EdgeWire
import Glibc
import Simulator
import Testing

/// Figures, not checks: `DOWNPOUR_BENCH=1 swift test -c release -Xswiftc -enable-testing`.
@Suite("Virtual disk figures", .serialized, .enabled(if: getenv("DOWNPOUR_BENCH") != nil))
struct VirtualDiskBenchmark {
    /// The directory is opened, recovered and written by so many cores, over and over.
    @Test("a restart", arguments: [1, 2, 3])
    func restart(cores: Int) throws {
        let rounds = 500
        var parts = [Duration](repeating: .zero, count: 5)
        let clock = ContinuousClock()
        var calls: UInt64 = 0
        for round in 0..<rounds {
            let disk = VirtualDisk(number: 1)
            var lane = try DiskLane(disk)
            try lane.append(200)
            try lane.writer.sync()
            if round % 2 == 0 { disk.crash(RandomSource(seed: 1), UInt64(round)) }
            disk.processCrash()
            let before = disk.counts.calls
            let start = clock.now
            let directory = try DiskLane.open(disk)
            let opened = clock.now
            let report = try directory.recover { (_) throws(JournalError) in }
            let recovered = clock.now
            let boot = try directory.beginBoot()
            let begun = clock.now
            var writers: [SteppedWriter] = []
            for core in 0..<cores {
                writers.append(
                    try directory.makeSteppedWriter(
                        boot: boot, core: UInt16(core), cores: UInt16(cores),
                        resuming: report.sequences))
            }
            let made = clock.now
            _ = NodeRecovery(shards: 64, cores: cores)
            let nodes = clock.now
            parts[0] += opened - start
            parts[1] += recovered - opened
            parts[2] += begun - recovered
            parts[3] += made - begun
            parts[4] += nodes - made
            calls += disk.counts.calls - before
        }
        let text = parts.map { String(Int($0 / .nanoseconds(1)) / rounds / 1_000) }
        print(
            "FIGURE restart of \(cores): open, recover, begin, writers, empty cores:",
            text.joined(separator: ", "), "µs;", calls / UInt64(rounds), "calls")
    }

    @Test("a commit of one entry")
    func commit() throws {
        let disk = VirtualDisk(number: 1)
        var lane = try DiskLane(disk)
        let count = 100_000
        let time = try ContinuousClock().measure {
            for _ in 0..<count {
                try lane.append(1)
                try lane.writer.sync()
            }
        }
        print("FIGURE commit:", Int(time / .nanoseconds(count)), "ns")
    }
}
