import EdgeMemory
import Testing

/// A log of keys with its index, beside a dictionary that says what it must hold.
private struct IndexModel: ~Copyable {
    var index = ClaimIndex()
    var keys: [UInt64] = []
    var latest: [UInt64: Int] = [:]
    let hash: (UInt64) -> UInt64

    init(_ hash: @escaping (UInt64) -> UInt64) { self.hash = hash }

    func find(_ key: UInt64) -> Int? { index.find(hash(key)) { keys[$0] == key } }

    /// Claims as a slice makes them: a new key is inserted, a known one moved on.
    mutating func claim(_ key: UInt64) {
        let found = find(key)
        #expect(found == latest[key])
        let position = keys.count
        keys.append(key)
        if let found {
            index.update(hash(key), from: found, to: position)
        } else {
            index.insert(hash(key), position: position)
        }
        latest[key] = position
    }

    func check() {
        for (key, position) in latest where find(key) != position {
            Issue.record("key \(key) is not at \(position)")
        }
        #expect(index.count == latest.count)
    }
}

@Suite("The claim index")
struct ClaimIndexTests {
    @Test("agrees with a dictionary, through every growth", arguments: [1, 2, 3] as [UInt64])
    func model(seed: UInt64) {
        var random = TestRandom(seed: seed)
        var model = IndexModel { Hash64.keyed($0, salt: seed) }
        if seed == 3 { model.index.reserve(20_000) }
        var sawGrowth = false
        for step in 0..<60_000 {
            model.claim(random.next() % 40_000)
            sawGrowth = sawGrowth || model.index.isGrowing
            // In the middle of growths too: they go on for thousands of steps.
            if step % 9_973 == 0 { model.check() }
        }
        model.check()
        #expect(sawGrowth)
        for absent in 40_000..<41_000 as Range<UInt64> { #expect(model.find(absent) == nil) }
    }

    @Test("tells keys of one rank apart, as many as can share one")
    func equalRanks() {
        // The 25 highest bits are all that the index knows of a hash.
        var model = IndexModel { Hash64.keyed($0 / 40, salt: 1) & ~0 << 39 }
        for key in 0..<20_000 as Range<UInt64> { model.claim(key) }
        model.check()
    }

    @Test("keeps the highest ranks, which spill past the last home")
    func lastSlots() {
        var model = IndexModel { UInt64.max - ($0 << 45) }
        for key in 0..<5_000 as Range<UInt64> { model.claim(key) }
        model.check()
    }

    @Test("takes ranks in order, backwards and crowded into one part of the table")
    func orders() {
        for spread in [64, 200, 1_000] as [UInt64] {
            var up = IndexModel { ($0 * spread) << 39 }
            var down = IndexModel { (33_554_431 - $0 * spread) << 39 }
            for key in 0..<30_000 as Range<UInt64> {
                up.claim(key)
                down.claim(key)
            }
            up.check()
            down.check()
        }
    }

    @Test("takes at most 12 bytes an entry once it is no longer small, 15 while it grows")
    func memory() {
        var model = IndexModel { Hash64.keyed($0, salt: 9) }
        for key in 0..<300_000 as Range<UInt64> {
            model.claim(key)
            if key > 100_000, key % 1_000 == 0 {
                let bytes = Double(model.index.heldBytes) / Double(model.index.count)
                #expect(bytes <= (model.index.isGrowing ? 18 : 12))
            }
        }
    }
}

@Suite("A list of plain values")
struct PlainListTests {
    @Test("keeps what was appended through growth and is empty when cleared")
    func growth() {
        var list = PlainList<UInt64>(capacity: 1)
        for round in 0..<3 as Range<UInt64> {
            for value in 0..<1_000 as Range<UInt64> { list.append(value * 3 + round) }
            #expect(list.count == 1_000)
            for value in 0..<1_000 { #expect(list[value] == UInt64(value) * 3 + round) }
            list[7] = 5
            let found = (list.contains { $0 == 5 }, list.contains { $0 == .max })
            #expect(list[7] == 5 && found == (true, false))
            list.removeAll()
            let isEmpty = list.isEmpty
            #expect(isEmpty)
        }
    }
}
