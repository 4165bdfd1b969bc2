import EdgeMemory
import EdgeTypes
import EdgeWire
import Glibc
import Testing

@testable import EdgeJournal

/// Figures, not checks: `DOWNPOUR_BENCH=1 swift test -c release -Xswiftc -enable-testing`.
@Suite("Journal figures", .serialized, .enabled(if: getenv("DOWNPOUR_BENCH") != nil))
struct JournalBenchmark {
    /// A core that appends claims round 64 shards.
    struct Load {
        var sequences = [UInt64](repeating: 0, count: 64)
        var next = 0

        mutating func append(_ count: Int, to sink: inout ByteSink) {
            for _ in 0..<count {
                let shard = next & 63
                sequences[shard] += 1
                next += 1
                let header = EntryHeader(
                    shard: ShardID(shard), epoch: 1, sequence: sequences[shard], timeMs: 1)
                let claim = Claim(
                    pool: PoolKey(rawValue: 7), slice: 0,
                    user: Hash64.keyed(UInt64(next), salt: 1), packet: Int64(next),
                    amountFen: 100, requestHash: 0)
                JournalCodec.encode(claim, header: header, into: &sink)
            }
        }
    }

    static func cpuSeconds() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(0), &usage)
        let seconds = Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
        return seconds + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
    }

    @Test(
        "durable entries a second, submitted so many at a time", arguments: [1, 32, 1_600, 20_000])
    func groupCommit(batch: Int) throws {
        let scratch = Scratch(onDisk: true)
        let directory = try JournalDirectory(path: scratch.data, identity: identity)
        let gate = CommitGate()
        let writer = try WriterTests.writer(directory, gate)
        var load = Load()
        var sink = ByteSink(capacity: 4 << 20)
        let total = batch == 1 ? 10_000 : min(6_000_000, batch * 3_000)
        let cpu = Self.cpuSeconds()
        let time = ContinuousClock().measure {
            // Two submissions under way: one is written while the next is made.
            var previous: UInt64 = 0
            for _ in 0..<(total / batch) {
                load.append(batch, to: &sink)
                let position = writer.submit(&sink, needsSync: true)
                gate.wait(for: previous)
                previous = position
            }
            gate.wait(for: previous)
        }
        let seconds = time / .seconds(1)
        let used = (Self.cpuSeconds() - cpu) / Double(total) * 1e9
        print(
            "FIGURE batch \(batch): \(Int(Double(total) / seconds)) entries/s,",
            "\(Int(Double(writer.syncCount) / seconds)) syncs/s, \(Int(used)) ns CPU an entry")
        writer.stop()
    }

    @Test("entries recovered a second, plain and compressed")
    func recovery() throws {
        let scratch = Scratch(onDisk: true)
        let total = 10_000_000
        do {
            let directory = try JournalDirectory(path: scratch.data, identity: identity)
            let gate = CommitGate()
            let writer = try WriterTests.writer(directory, gate)
            var load = Load()
            var sink = ByteSink(capacity: 4 << 20)
            for _ in 0..<(total / 20_000) {
                load.append(20_000, to: &sink)
                gate.wait(for: writer.submit(&sink, needsSync: true))
            }
            writer.stop()
        }
        for isCompressed in [false, true] {
            let directory = try JournalDirectory(path: scratch.data, identity: identity)
            if isCompressed {
                let time = try ContinuousClock().measure {
                    try directory.compressSegments(sealedBeforeMs: .max)
                }
                let image = try directory.journal.list().reduce(0) {
                    $0 + (try directory.journal.open($1, O_RDONLY).size())
                }
                print("FIGURE compressed in \(time) to \(image >> 20) MiB")
            }
            var best = Duration.seconds(100)
            var sum: Int64 = 0
            for _ in 0..<3 {
                let time = try ContinuousClock().measure {
                    _ = try directory.recover { (frame) throws(JournalError) in
                        if let claim = frame.claim { sum &+= claim.packet }
                    }
                }
                best = min(best, time)
            }
            print(
                "FIGURE recovery, compressed \(isCompressed):",
                "\(Int(Double(total) / (best / .seconds(1)))) entries/s (\(sum))")
        }
    }
}
