import EdgeMemory
import EdgeTypes
import EdgeWire
import Testing

/// Figures, not checks: `DOWNPOUR_BENCH=1 swift test -c release --filter JournalBenchmark`.
@Suite("Journal codec figures", .serialized, .enabled(if: Environment.has("DOWNPOUR_BENCH")))
struct JournalBenchmark {
    @Test("nanoseconds per claim, encoded and decoded", arguments: [false, true])
    func claims(named: Bool) throws {
        var random = SampleRandom(seed: 1)
        let claims = (0..<4_096).map { _ in random.claim(named: named) }
        var sink = ByteSink(capacity: 4_096 * JournalCodec.claimBytes)
        var sequence: UInt64 = 0
        // The best of many short rounds: the machine is not ours alone.
        var encoding = Duration.seconds(1)
        var decoding = Duration.seconds(1)
        var sum: Int64 = 0
        for _ in 0..<5_000 {
            let encoded = ContinuousClock().measure {
                sink.removeAll()
                for claim in claims {
                    sequence += 1
                    let header = EntryHeader(shard: 3, epoch: 1, sequence: sequence, timeMs: 9)
                    JournalCodec.encode(claim, header: header, into: &sink)
                }
            }
            let decoded = try ContinuousClock().measure {
                var offset = 0
                while offset < sink.count {
                    let frame = try JournalFrame.parse(sink.bytes, at: offset)
                    if let claim = frame.claim { sum &+= claim.amountFen }
                    offset += frame.length
                }
            }
            encoding = min(encoding, encoded)
            decoding = min(decoding, decoded)
        }
        let count = Double(claims.count)
        print(
            "claim, request hash \(named): encode \(encoding / .nanoseconds(1) / count) ns,",
            "decode \(decoding / .nanoseconds(1) / count) ns (\(sum))")
    }
}
