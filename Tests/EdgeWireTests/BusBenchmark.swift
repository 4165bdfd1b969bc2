import EdgeMemory
import EdgeTypes
import EdgeWire
import Testing

/// Figures, not checks: `DOWNPOUR_BENCH=1 swift test -c release --filter BusBenchmark`.
@Suite("Bus codec figures", .serialized, .enabled(if: Environment.has("DOWNPOUR_BENCH")))
struct BusBenchmark {
    @Test("nanoseconds per grab and per answer, encoded and decoded")
    func hot() throws {
        var samples = BusSamples(seed: 1)
        let grabs = (0..<1_024).map { _ in samples.grab() }
        let replies = (0..<1_024).map { _ in samples.reply() }
        var sink = ByteSink(capacity: 2_048 * 48)
        var best = [Duration](repeating: .seconds(1), count: 4)
        var sum: UInt64 = 0
        for _ in 0..<5_000 {
            let clock = ContinuousClock()
            sink.removeAll()
            let times = [
                clock.measure {
                    for grab in grabs {
                        BusCodec.encode(grab, id: grab.user, hops: 1, into: &sink)
                    }
                },
                try clock.measure { sum &+= try Self.sum(sink.bytes) },
                clock.measure {
                    sink.removeAll()
                    for reply in replies { BusCodec.encode(reply, id: 5, into: &sink) }
                },
                try clock.measure { sum &+= try Self.sum(sink.bytes) },
            ]
            for index in best.indices { best[index] = min(best[index], times[index]) }
        }
        let ns = best.map { Double($0.components.attoseconds) / 1e9 / Double(grabs.count) }
        print(
            "grab: encode \(ns[0]), decode \(ns[1]); reply: encode \(ns[2]), decode \(ns[3])", sum)
    }

    private static func sum(_ bytes: UnsafeRawBufferPointer) throws -> UInt64 {
        var sum: UInt64 = 0
        var reader = BusReader(bytes)
        while let message = try reader.next() {
            switch message {
            case .request(let id, let hops, let request):
                sum &+= id &+ UInt64(hops) &+ request.user &+ request.requestHash
            case .reply(let id, let reply, let value):
                sum &+= id &+ UInt64(bitPattern: reply.fen) &+ (value == nil ? 1 : 2)
            default: sum &+= 1
            }
        }
        return sum
    }
}
