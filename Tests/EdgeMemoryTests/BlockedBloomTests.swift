import EdgeMemory
import Testing

@Suite("Blocked Bloom filters")
struct BlockedBloomTests {
    private static func filled(_ count: Int, seed: UInt64) -> BlockedBloom {
        var filter = BlockedBloom(capacity: count)
        for key in 0..<UInt64(count) { filter.insert(Hash64.keyed(key, salt: seed)) }
        return filter
    }

    @Test("what is in a filter is never denied", arguments: 1...40 as ClosedRange<UInt64>)
    func neverDenied(seed: UInt64) {
        // Sizes about the edges of blocks, and far from them; by twice as many keys as it has room.
        let count = Int(Hash64.reduce(Hash64.mix(seed, 1), below: 3_000)) + Int(seed % 3)
        var filter = BlockedBloom(capacity: seed % 5 == 0 ? count / 2 : count)
        for key in 0..<UInt64(count) { filter.insert(Hash64.keyed(key, salt: seed)) }
        for key in 0..<UInt64(count) {
            #expect(filter.contains(Hash64.keyed(key, salt: seed)), "seed \(seed), key \(key)")
        }
    }

    @Test(
        "at most one in a hundred that is not in it is taken to be",
        arguments: [1, 48, 49, 1_000, 10_000, 200_000], [1, 2] as [UInt64])
    func falsePositives(count: Int, seed: UInt64) {
        let filter = Self.filled(count, seed: seed)
        let tries = 100_000
        let first = UInt64(1) << 40
        let hits = (first..<(first + UInt64(tries))).count {
            filter.contains(Hash64.keyed($0, salt: seed))
        }
        #expect(hits * 100 <= tries, "seed \(seed): \(hits) of \(tries)")
        // Bits per key, where there are enough for whole blocks not to matter.
        if count >= 1_000 { #expect(filter.sizeBytes * 8 <= count * 11) }
    }

    @Test("an empty filter holds nothing, and the same keys make the same words")
    func plain() {
        #expect(!Self.filled(0, seed: 1).contains(Hash64.keyed(7, salt: 1)))
        let filter = Self.filled(500, seed: 3)
        #expect(filter == Self.filled(500, seed: 3))
        #expect(filter.sizeBytes == BlockedBloom.sizeBytes(capacity: 500))
        #expect(BlockedBloom(words: filter.words) == filter)
        #expect(Self.filled(1, seed: 1).words.reduce(0) { $0 ^ $1 } == 0x1400_0008_0100_0200)
    }

    @Test("words that are no whole blocks are no filter")
    func notWhole() {
        #expect(BlockedBloom(words: []) == nil)
        #expect(BlockedBloom(words: [1, 2, 3]) == nil)
        #expect(BlockedBloom(words: Array(repeating: 0, count: 16)) != nil)
    }
}
