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
    /// By region: shards it gains; below 0 where it loses some.
    private let gains: [Int]
    /// By region: replicas that its nodes have of others' shards. They may stay where the shard
    /// comes to them, which takes a map that no plan has made, or a node that changed regions.
    private var guests: [Int]
    /// By node: replicas that it cannot keep.
    private var leaving: [Int]
    /// Replicas that cannot stay beside the others of their shard, or do not exist.
    private var mustCome = 0
    private var missing = 0
    private var extra = 0

    /// - Parameter shards: by region, how many it owns in the end.
    init(_ start: ShardMap, _ stands: NodeStands, replicas: Int, shards: [Int]) {
        self.replicas = replicas
        before = start.replicas()
        region = stands.region
        var gains = shards
        for owner in start.owners { gains[owner.region] -= 1 }
        self.gains = gains
        guests = Array(repeating: 0, count: gains.count)
        leaving = Array(repeating: 0, count: start.nodes.count)
        for owner in start.owners {
            var staying = NodeSet()
            for index in 0..<owner.members.count {
                let node = owner.members[index]
                let region = stands.region[node]
                if region >= 0, stands.weightMilli[node] > 0, stands.regionWeightMilli[region] > 0,
                    region == owner.region || gains[region] > 0
                {
                    staying = staying.adding(node)
                    if region != owner.region { guests[region] += 1 }
                } else {
                    leaving[node] += 1
                }
            }
            mustCome += max(0, replicas - Self.legal(staying, stands))
            missing += max(0, replicas - owner.members.count)
            extra += max(0, owner.members.count - replicas)
        }
    }

    /// - Parameters:
    ///   - after: by node, the replicas it has in the end.
    ///   - shares: by node, its share rounded down and up.
    /// - Returns: a bound for every map in which no node is further from its share than here.
    func copies(after: [Int], shares: [(low: Int, high: Int)]) -> Int {
        var arrivals = Array(repeating: 0, count: gains.count)
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
        let coming = gains.indices.reduce(0) { sum, region in
            sum + max(arrivals[region], replicas * gains[region] - guests[region])
        }
        return max(coming, departures + missing - extra, mustCome)
    }

    /// How many of these members may stay together, in the region where most may.
    private static func legal(_ members: NodeSet, _ stands: NodeStands) -> Int {
        var most = 0
        for index in 0..<members.count {
            let region = stands.region[members[index]]
            let locals = members.numbers.filter { stands.region[$0] == region }
            var count = 0
            for (place, node) in locals.enumerated() {
                let mates = locals[..<place].filter { stands.zone[$0] == stands.zone[node] }
                if mates.count < stands.zoneCap[region] { count += 1 }
            }
            most = max(most, count)
        }
        return most
    }
}
