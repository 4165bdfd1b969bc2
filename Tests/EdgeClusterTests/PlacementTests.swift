import EdgeMemory
import EdgeTypes
import Testing

@testable import EdgeCluster

private func definition(slices: UInt32, regions: [RegionShare] = []) -> PoolDefinition {
    PoolDefinition(
        name: "rain", kind: .spread, units: 1_000_003, amountFen: 10_000_000, minFen: 1, maxFen: 0,
        holdMs: 0, slices: slices, regions: regions, seed: .zero, seedWasGiven: false,
        commitment: .zero, durability: .journal, initial: PoolTerms())
}

@Suite("Placement")
struct PlacementTests {
    @Test("whichever way shards are dealt to nodes, each node has its part of every pool")
    func slicesSpreadOverNodes() {
        let placement = Placement(shards: 64, cores: 1)
        for number in 0..<500 {
            let pool = PoolKey.of(.rain, Text64("pool-\(number)"))
            var byTurns = [0, 0, 0]
            var inRows = [0, 0, 0]
            for slice in 0..<UInt32(32) {
                let shard = Int(placement.shard(of: pool, slice: slice))
                byTurns[shard % 3] += 1
                inRows[shard * 3 / 64] += 1
            }
            // 11 is a fair share; multiples of one stride give some nodes none.
            #expect(
                (byTurns + inRows).allSatisfy { $0 >= 3 }, "pool \(number): \(byTurns) \(inRows)")
        }
    }

    @Test("a pool's slices meet on no shard before every shard has one", arguments: [1, 64, 1_024])
    func spread(shards: Int) {
        let placement = Placement(shards: shards, cores: 1)
        for key in 0..<50 {
            let pool = PoolKey(rawValue: Hash64.keyed(UInt64(key), salt: 9))
            let seen = Set((0..<UInt32(shards)).map { placement.shard(of: pool, slice: $0) })
            #expect(seen.count == shards)
            #expect(placement.shard(of: pool, slice: 0) == placement.home(of: pool))
        }
    }

    @Test("every shard is one core's, under one number", arguments: [1, 2, 3, 7])
    func cores(cores: Int) {
        let placement = Placement(shards: 64, cores: cores)
        var seen = Set<[Int]>()
        for shard in 0..<ShardID(64) {
            let core = placement.core(of: shard)
            let local = placement.localIndex(of: shard)
            #expect(core < cores && local < placement.shardCount(ofCore: core))
            seen.insert([core, local])
        }
        #expect(seen.count == 64)
        #expect((0..<cores).reduce(0) { $0 + placement.shardCount(ofCore: $1) } == 64)
    }

    @Test("shares cover the pool once, in order, by weight", arguments: [UInt32(2), 3, 8, 500])
    func shares(slices: UInt32) {
        let regions = [RegionShare(name: "a", weight: 60), RegionShare(name: "b", weight: 40)]
        for regions in [[], regions] {
            let made = definition(slices: slices, regions: regions)
            let map = SliceMap(made, pool: PoolKey.of(.rain, made.name))
            let shares = map.shares(of: made.units)
            #expect(shares.count == max(1, regions.count))
            #expect(map.parts.count == shares.count)
            #expect(map.parts.reduce(0) { $0 + $1.count } == Int(slices))
            var next: Int64 = 0
            for share in shares {
                #expect(share.start == next)
                next += share.count
            }
            #expect(next == made.units)
        }
    }

    @Test("a user's slice lies in the region asked for; without one, regions go by weight")
    func regions() throws {
        let regions = [RegionShare(name: "a", weight: 3), RegionShare(name: "b", weight: 1)]
        let made = definition(slices: 8, regions: regions)
        let map = SliceMap(made, pool: PoolKey.of(.rain, made.name))
        let first = map.regions[0]
        var inFirst = 0
        for user in 0..<UserID(40_000) {
            let asked = try #require(map.slice(of: user, region: RegionKey.of("b")))
            #expect(asked >= first.sliceCount)
            if try #require(map.slice(of: user, region: 0)) < first.sliceCount { inFirst += 1 }
        }
        // 30,000 expected, standard error 87.
        #expect(abs(inFirst - 30_000) < 430)
        #expect(map.slice(of: 1, region: RegionKey.of("c")) == nil)
    }
}
