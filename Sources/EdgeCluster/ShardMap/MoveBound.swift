/// The least number of replicas that any plan has to copy, computed from loads and zones alone,
/// apart from the planner's choices: so that a plan can be judged.
///
/// A node above its share has to give the difference away, a node below it has to be given it,
/// and what breaks a rule has to go whatever the loads are. What has to go is not always what
/// another node lacks: a shard may already have its members in that node's zone. Then both count.
struct MoveBound {
    /// A shard that lacks members when all that cannot stay are gone.
    private struct Gap {
        let lacking: Int
        let staying: NodeSet
    }

    private let replicas: Int
    private let stands: NodeStands
    /// By node: replicas it has.
    private let before: [Int]
    /// By region: shards it gains; below 0 where it loses some.
    private let gains: [Int]
    /// By region: of the shards it owns.
    private var gaps: [[Gap]]
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
        self.stands = stands
        before = start.replicas()
        var gains = shards
        for owner in start.owners { gains[owner.region] -= 1 }
        self.gains = gains
        gaps = Array(repeating: [], count: gains.count)
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
            let lacking = max(0, replicas - Self.legal(staying, stands))
            if lacking > 0 {
                gaps[owner.region].append(Gap(lacking: lacking, staying: staying))
            }
            mustCome += lacking
            missing += max(0, replicas - owner.members.count)
            extra += max(0, owner.members.count - replicas)
        }
    }

    /// - Parameters:
    ///   - after: by node, the replicas it has in the end.
    ///   - shares: by node, its share rounded down and up.
    /// - Returns: a bound for every map in which no node is further from its share than here, and no
    ///   two regions exchange shards whose members have changed sides.
    /// - Complexity: O(nodes + (shards that lack members, or change regions) · needy zones).
    func copies(after: [Int], shares: [(low: Int, high: Int)]) -> Int {
        // By region and zone: what nodes need beyond the replicas that can stay with them.
        var needs = gains.map { _ in Array(repeating: 0, count: stands.zoneCount) }
        var departures = 0
        for node in before.indices {
            let low = min(shares[node].low, after[node])
            let high = max(shares[node].high, after[node])
            if stands.region[node] >= 0 {
                needs[stands.region[node]][stands.zone[node]] +=
                    max(0, low - (before[node] - leaving[node]))
            }
            departures += max(leaving[node], before[node] - high)
        }
        let coming = gains.indices.reduce(0) { $0 + arrivals(in: $1, needs: needs[$1]) }
        return max(coming, departures + missing - extra, mustCome)
    }

    /// Replicas that have to come to a region's nodes.
    private func arrivals(in region: Int, needs: [Int]) -> Int {
        let needed = needs.reduce(0, +)
        guard gains[region] >= 0, guests.allSatisfy({ $0 == 0 }) else {
            // What a region gains comes in full.
            return max(needed, replicas * gains[region] - guests[region])
        }
        // A shard that comes lacks all members. Where one leaves in exchange for another, the
        // other fills its gap, and moves what could have stayed.
        let newcomer = Gap(lacking: replicas, staying: NodeSet())
        let gaps = gaps[region] + Array(repeating: newcomer, count: gains[region])
        return gaps.reduce(0) { $0 + $1.lacking } + unfilled(needs, by: gaps, region)
    }

    /// What zones need beyond all that fits into gaps.
    ///
    /// Of the replicas that come to a shard, at most as many as it lacks find room beside all
    /// that could have stayed; each other one takes the place of one of those, so it is a copy
    /// more. What fits is a flow from gaps through zones to needs, and each set of zones a cut of
    /// it. Tried are the sets of the neediest, from one zone to all.
    private func unfilled(_ needs: [Int], by gaps: [Gap], _ region: Int) -> Int {
        let zones = needs.indices.filter { needs[$0] > 0 }.map { zone in
            let fits = gaps.reduce(0) { $0 + min($1.lacking, room(in: zone, beside: $1, region)) }
            return (zone: zone, unfilled: needs[zone] - fits)
        }
        var rooms = Array(repeating: 0, count: gaps.count)
        var (needed, most) = (0, 0)
        for (zone, _) in zones.sorted(by: { ($1.unfilled, $0.zone) < ($0.unfilled, $1.zone) }) {
            needed += needs[zone]
            var fits = 0
            for (place, gap) in gaps.enumerated() {
                rooms[place] += room(in: zone, beside: gap, region)
                fits += min(gap.lacking, rooms[place])
            }
            most = max(most, needed - fits)
        }
        return most
    }

    /// How many members a zone may be given while all that can stay do.
    private func room(in zone: Int, beside gap: Gap, _ region: Int) -> Int {
        var room = stands.zoneCap[region]
        for index in 0..<gap.staying.count where stands.zone[gap.staying[index]] == zone {
            room -= 1
        }
        return max(0, room)
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
