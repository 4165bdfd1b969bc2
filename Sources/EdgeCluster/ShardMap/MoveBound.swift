/// The least number of replicas that any plan has to copy, computed from loads alone, apart from
/// the planner's choices: so that a plan can be judged.
///
/// A node above its share has to give the difference away, a node below it has to be given it,
/// and what breaks a rule has to go whatever the loads are.
struct MoveBound {
    private let replicas: Int
    /// By node: replicas it has.
    private let before: [Int]
    /// By node: its region's number, of the topology; -1 where it has none.
    private let region: [Int]
    /// By region: shards it owns.
    private var owned: [Int]
    /// By node: replicas that it cannot keep.
    private var leaving: [Int]
    /// Replicas that cannot stay beside the others of their shard, or do not exist.
    private var mustCome = 0
    private var missing = 0
    private var extra = 0

    init(_ start: ShardMap, _ stands: NodeStands, replicas: Int) {
        self.replicas = replicas
        before = start.replicas()
        region = stands.region
        owned = Array(repeating: 0, count: start.regions.count)
        leaving = Array(repeating: 0, count: start.nodes.count)
        for owner in start.owners {
            owned[owner.region] += 1
            var staying = NodeSet()
            for index in 0..<owner.members.count {
                let node = owner.members[index]
                if stands.region[node] == owner.region, stands.weightMilli[node] > 0,
                    stands.regionWeightMilli[owner.region] > 0
                {
                    staying = staying.adding(node)
                } else {
                    leaving[node] += 1
                }
            }
            let kept = Self.legal(staying, stands, cap: stands.zoneCap[owner.region])
            mustCome += max(0, replicas - kept)
            missing += max(0, replicas - owner.members.count)
            extra += max(0, owner.members.count - replicas)
        }
    }

    /// - Parameters:
    ///   - after: by node, the replicas it has in the end.
    ///   - shares: by node, its share rounded down and up.
    ///   - shards: by region, how many it owns in the end.
    /// - Returns: a bound for every map in which no node is further from its share than here.
    func copies(after: [Int], shares: [(low: Int, high: Int)], shards: [Int]) -> Int {
        var arrivals = Array(repeating: 0, count: owned.count)
        var departures = 0
        for node in before.indices {
            let low = min(shares[node].low, after[node])
            let high = max(shares[node].high, after[node])
            if region[node] >= 0 {
                arrivals[region[node]] += max(0, low - (before[node] - leaving[node]))
            }
            departures += max(leaving[node], before[node] - high)
        }
        // What a region gains comes in full.
        let coming = owned.indices.reduce(0) { sum, region in
            sum + max(arrivals[region], replicas * (shards[region] - owned[region]))
        }
        return max(coming, departures + missing - extra, mustCome)
    }

    /// How many of these members may stay together.
    private static func legal(_ members: NodeSet, _ stands: NodeStands, cap: Int) -> Int {
        var count = 0
        for index in 0..<members.count {
            var before = 0
            for other in 0..<index where stands.zone[members[other]] == stands.zone[members[index]]
            {
                before += 1
            }
            if before < cap { count += 1 }
        }
        return count
    }
}
