import EdgeMemory
import Testing

@testable import EdgeCluster

@Suite("Shard map planner")
struct ShardMapPlannerTests {
    @Test(
        "wherever operators lead, every step keeps every rule, and a second plan finds nothing",
        arguments: [UInt64(1)...12, 13...24, 25...36])
    func walks(seeds: ClosedRange<UInt64>) throws {
        for seed in seeds {
            var draw = Draw(seed: seed)
            var drawn = DrawnTopology(&draw)
            var map: ShardMap?
            var what = "create"
            for step in 0..<8 {
                if let topology = try? drawn.made() {
                    let context: Comment = "seed \(seed), step \(step): \(what)"
                    let plan = try ShardMapPlanner.plan(from: map, to: topology)
                    try PlanCheck(plan: plan).carryOut(context)
                    let again = try ShardMapPlanner.plan(from: plan.target, to: topology)
                    #expect(again.moves.isEmpty && again.target == plan.target, context)
                    map = plan.target
                }
                what = drawn.change(&draw)
            }
        }
    }

    @Test(
        "nor do any in haste: plans aborted halfway, weights far apart, names and zones exchanged",
        arguments: [UInt64(1)...10, 11...20, 21...30, 6_844...6_844])
    func wildWalks(seeds: ClosedRange<UInt64>) throws {
        for seed in seeds {
            var draw = Draw(seed: seed)
            var drawn = DrawnTopology(&draw, mostNodes: draw.one(of: [1, 3, 24, 40]))
            var map: ShardMap?
            var what = "create"
            for step in 0..<8 {
                if let topology = try? drawn.made() {
                    let context: Comment = "seed \(seed), step \(step): \(what)"
                    let plan = try ShardMapPlanner.plan(from: map, to: topology)
                    try PlanCheck(plan: plan).carryOut(context)
                    map = plan.target
                    if draw.below(3) == 0, var halfway = plan.start {
                        for move in plan.moves.prefix(draw.below(plan.moves.count + 1)) {
                            let isCurrent = halfway.apply(move)
                            #expect(isCurrent, context)
                        }
                        map = halfway
                    }
                }
                what = drawn.changeWildly(&draw)
            }
        }
    }

    /// From 88 on: seeds at which a copyset had nobody to go to; at 62, a replica was in the region
    /// that its shard came to, and need not have been copied.
    @Test(
        "a map that no plan has made becomes legal, too",
        arguments: Array(UInt64(1)...20) + [62, 88, 165, 228, 356, 440])
    func fromAnywhere(seed: UInt64) throws {
        var draw = Draw(seed: seed)
        let topology = try DrawnTopology(&draw, mostNodes: 20, shards: 256).made()
        let names = topology.regions.flatMap { $0.nodes.map(\.name) }.sorted() + ["zz-gone"]
        let owners = (0..<topology.shards).map { _ in
            let members = NodeSet(
                draw.shuffled(Array(names.indices)).prefix(1 + draw.below(3)))
            return ShardMap.Owner(
                region: draw.below(topology.regions.count), epoch: 5, primary: members[0],
                members: members)
        }
        let map = ShardMap(
            nodes: names, regions: topology.regions.map(\.name), owners: owners)
        let plan = try ShardMapPlanner.plan(from: map, to: topology)
        try PlanCheck(plan: plan).carryOut("seed \(seed)", fromLegal: false)
    }

    @Test("the order of lists changes nothing, nor does who computes", arguments: UInt64(1)...10)
    func canonical(seed: UInt64) throws {
        var draw = Draw(seed: seed)
        var drawn = DrawnTopology(&draw, mostNodes: 20, shards: 256)
        func shuffled() throws -> Topology {
            var other = drawn
            other.regions = draw.shuffled(
                drawn.regions.map { region in
                    (region.name, region.weightMilli, draw.shuffled(region.nodes))
                })
            return try other.made()
        }
        let first = try ShardMapPlanner.plan(from: nil, to: drawn.made())
        #expect(try ShardMapPlanner.plan(from: nil, to: shuffled()).description == "\(first)")
        while drawn.change(&draw) == "nothing" {}
        guard let next = try? drawn.made() else { return }
        let second = try ShardMapPlanner.plan(from: first.target, to: next)
        // Another table of names, with one that owns nothing.
        let wider = first.target.renumbered(
            nodes: (first.target.nodes + ["0-nobody"]).sorted(), regions: first.target.regions)
        let again = try ShardMapPlanner.plan(from: wider, to: shuffled())
        #expect(again.hash == second.hash && again.description == "\(second)")
    }

    @Test(
        "plans are the same bytes on every machine, in every build",
        arguments: [
            (1, "09815a9e8e3d215ecb0b659552c9169e"), (2, "c84c362e0eeddaa0814d0050515b7d79"),
            (3, "8371c827dc29138ad615f439636674af"),
        ])
    func pinned(replicas: Int, hash: String) throws {
        let before = try Cluster(nodes: 40, zones: 3, replicas: replicas, shards: 512).made()
        let after = try Cluster(nodes: 43, zones: 3, replicas: replicas, shards: 512).made()
        let first = try ShardMapPlanner.plan(from: nil, to: before)
        let second = try ShardMapPlanner.plan(from: first.target, to: after)
        #expect("\(second.hash)" == hash)
    }

    @Test("a plan is for one map only: epochs, primaries, members")
    func stale() throws {
        let cluster = Cluster(nodes: 6, zones: 3, replicas: 2, shards: 64)
        var grown = cluster
        grown.nodes = 7
        let map = try ShardMapPlanner.plan(from: nil, to: cluster.made()).target
        let plan = try ShardMapPlanner.plan(from: map, to: grown.made())
        #expect(plan.starts(from: map))
        #expect(try ShardMapPlanner.plan(from: map, to: grown.made()).hash == plan.hash)

        var owners = map.owners
        owners[9].epoch += 1
        let later = ShardMap(
            nodes: map.nodes, regions: map.regions, owners: owners, settledFor: map.settledFor)
        #expect(!plan.starts(from: later))
        #expect(try ShardMapPlanner.plan(from: later, to: grown.made()).hash != plan.hash)

        let move = try #require(plan.moves.first)
        owners = map.owners
        owners[Int(move.shard)].epoch += 1
        var moved = ShardMap(nodes: map.nodes, regions: map.regions, owners: owners)
        let isApplied = moved.apply(move)
        #expect(!isApplied && moved.owners == owners)
    }

    @Test("the count of shards is for good")
    func shardsStay() throws {
        let map = try ShardMapPlanner.plan(
            from: nil, to: Cluster(nodes: 3, zones: 3, replicas: 2, shards: 64).made()
        ).target
        let other = try Cluster(nodes: 3, zones: 3, replicas: 2, shards: 128).made()
        #expect(throws: ShardMapPlanner.Refusal.shards(map: 64, topology: 128)) {
            _ = try ShardMapPlanner.plan(from: map, to: other)
        }
    }

    @Test("shards leave a region only where weights say so, and no more of them than that")
    func regions() throws {
        func topology(_ weights: [Int], nodes: Int = 6) throws -> Topology {
            try Topology(
                cluster: "c", shards: 1_024, replicas: 2,
                regions: weights.enumerated().map { index, weight in
                    Topology.Region(
                        name: "r\(index)", weightMilli: weight,
                        nodes: (0..<nodes).map {
                            Topology.Node(name: "r\(index)-\($0)", zone: "z\($0 % 3)")
                        })
                })
        }
        func owned(_ map: ShardMap) -> [Int] {
            map.regions.indices.map { region in
                map.owners.filter { $0.region == region }.count
            }
        }
        let first = try ShardMapPlanner.plan(from: nil, to: topology([60_000, 40_000])).target
        #expect(owned(first) == [614, 410])
        let grown = try ShardMapPlanner.plan(
            from: first, to: topology([60_000, 40_000], nodes: 8))
        #expect(grown.moves.allSatisfy { $0.before.region == $0.after.region })

        let shifted = try ShardMapPlanner.plan(from: first, to: topology([50_000, 50_000]))
        #expect(owned(shifted.target) == [512, 512])
        #expect(shifted.moves.filter { $0.before.region != $0.after.region }.count == 102)
        #expect(shifted.copies <= shifted.bound + shifted.bound / 20)

        let drained = try ShardMapPlanner.plan(from: first, to: topology([60_000, 0]))
        #expect(owned(drained.target) == [1_024, 0])
        #expect(drained.copies == 820 && drained.bound == 820)
    }
}

/// Equal nodes in equal zones.
struct Cluster {
    var nodes: Int
    var zones: Int
    var replicas: Int
    var shards: Int

    var all: [Topology.Node] {
        (0..<nodes).map { Topology.Node(name: "n-\($0)", zone: "z\($0 % zones)") }
    }

    func made(_ nodes: [Topology.Node]? = nil) throws -> Topology {
        try Topology(
            cluster: "c", shards: shards, replicas: replicas,
            regions: [Topology.Region(name: "r", nodes: nodes ?? all)])
    }
}
