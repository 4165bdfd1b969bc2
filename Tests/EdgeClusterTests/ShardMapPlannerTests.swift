import EdgeMemory
import Testing

@testable import EdgeCluster

@Suite("Shard map planner")
struct ShardMapPlannerTests {
    /// Seeds of the random tests; each prints its own where it fails.
    static let seeds = UInt64(1)...UInt64(200)

    @Test("wherever operators lead, plans keep every rule, step by step", arguments: [seeds])
    func walks(seeds: ClosedRange<UInt64>) throws {
        var worst = 0
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
                    if plan.bound > 0 {
                        let over = (plan.copies - plan.bound) * 100 / plan.bound
                        if over > 5, plan.copies - plan.bound > 2 {
                            print(
                                context, "copies", plan.copies, "bound", plan.bound, "R",
                                topology.replicas, "nodes", topology.nodeCount, "shards",
                                topology.shards)
                            worst = max(worst, over)
                        }
                    }
                    map = plan.target
                }
                what = drawn.change(&draw)
            }
        }
        print("worst", worst)
    }
}
