import EdgeMemory
import Testing

@Suite("Chunked logs and position indexes")
struct TableTests {
    @Test("a log keeps every record across chunks, and addresses do not move")
    func log() {
        var log = RecordLog<UInt64>(chunkBits: 2)
        for index in 0..<10_000 { log.append(UInt64(index) * 3) }
        for index in 0..<10_000 where index % 7 == 0 { log[index] += 1 }
        var wrong = 0
        for index in 0..<10_000 {
            if log[index] != UInt64(index) * 3 + (index % 7 == 0 ? 1 : 0) { wrong += 1 }
        }
        let count = log.count
        #expect(count == 10_000 && wrong == 0)
    }

    /// Finds by comparing keys, as owners of an index do; nil also where it is found twice.
    static func find(
        _ index: borrowing PositionIndex, _ hash: UInt64, _ hashes: [UInt64]
    ) -> Int? {
        var probe = index.probe(hash)
        var found: Int?
        while let position = index.next(&probe) {
            if hashes[position] == hash {
                if found != nil { return nil }
                found = position
            }
        }
        return found
    }

    @Test(
        "an index finds every key at every size, once, and no other", arguments: [1, 2] as [UInt64])
    func index(seed: UInt64) {
        print("TableTests.index seed \(seed)")
        var random = TestRandom(seed: seed)
        var index = PositionIndex()
        var hashes: [UInt64] = []
        var missing = 0
        var invented = 0
        for position in 0..<200_000 {
            hashes.append(random.next())
            index.insert(hashes[position], position)
            // Often enough to meet every stage of every move.
            for _ in 0..<3 {
                let known = Int(random.next(below: UInt64(hashes.count)))
                if Self.find(index, hashes[known], hashes) != known { missing += 1 }
            }
            if Self.find(index, random.next(), hashes) != nil { invented += 1 }
        }
        for position in 0..<hashes.count {
            if Self.find(index, hashes[position], hashes) != position { missing += 1 }
        }
        let count = index.count
        #expect(missing == 0 && invented == 0 && count == 200_000)
    }

    @Test("a replaced position is found, whichever table holds it")
    func replacing() {
        var random = TestRandom(seed: 9)
        var index = PositionIndex()
        var keys: [UInt64] = []
        var current: [Int] = []
        var keyOf: [Int] = []
        var wrong = 0
        for step in 0..<100_000 {
            if keys.isEmpty || random.next(below: 2) == 0 {
                keys.append(random.next())
                current.append(step)
                keyOf.append(keys.count - 1)
                index.insert(keys[keys.count - 1], step)
            } else {
                let key = Int(random.next(below: UInt64(keys.count)))
                var probe = index.probe(keys[key])
                var found = false
                while let position = index.next(&probe) {
                    if keyOf[position] == key {
                        if position != current[key] { wrong += 1 }
                        found = true
                        break
                    }
                }
                if !found {
                    wrong += 1
                    break
                }
                keyOf.append(key)
                current[key] = step
                index.replace(probe, with: step)
            }
        }
        #expect(wrong == 0)
    }

    @Test("keys of one hash are all found, also through a wrap and while moving")
    func collisions() {
        var index = PositionIndex()
        // Upper bits all ones: their run crosses the end of the table.
        let hash = UInt64.max
        for position in 0..<40 { index.insert(hash, position) }
        var random = TestRandom(seed: 3)
        for position in 40..<5_000 {
            index.insert(random.next(), position)
            var probe = index.probe(hash)
            var seen = Set<Int>()
            while let found = index.next(&probe) { if found < 40 { seen.insert(found) } }
            #expect(seen.count == 40)
        }
    }
}
