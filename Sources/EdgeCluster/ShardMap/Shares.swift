/// How many replicas each node of a region should hold, exactly, as fractions and as integers.
///
/// Shares are proportional to weights, but for two rules that no weight can break: a node holds
/// a shard at most once, and a zone holds at most `zoneCap` of a shard's replicas. What a capped
/// node or zone cannot take goes to the others in proportion (water-filling).
struct Shares {
    /// A share is `numerator / denominator`.
    struct Share {
        var numerator: Int
        var denominator: Int

        var floor: Int { numerator / denominator }
        var ceiling: Int { (numerator + denominator - 1) / denominator }
        var remainder: Int { numerator % denominator }
    }

    struct Node {
        /// From 0, within the region.
        let zone: Int
        let weightMilli: Int
    }

    /// By node, as given.
    private(set) var exact: [Share]
    /// By node: an integer that is the share rounded down or up; they add up to all replicas,
    /// and those of a zone to its share rounded.
    private(set) var target: [Int]

    /// - Parameters:
    ///   - nodes: of one region; at least `replicas` of them have a weight.
    ///   - zoneCap: most members of a shard in one zone.
    /// - Complexity: O(nodes · (capped nodes + zones)).
    init(shards: Int, replicas: Int, zoneCap: Int, nodes: [Node]) {
        let zoneCount = nodes.reduce(0) { max($0, $1.zone + 1) }
        let zoneLimit = zoneCap * shards
        exact = Array(repeating: Share(numerator: 0, denominator: 1), count: nodes.count)
        target = Array(repeating: 0, count: nodes.count)
        let members = (0..<zoneCount).map { zone in
            nodes.indices.filter { nodes[$0].zone == zone && nodes[$0].weightMilli > 0 }
        }
        var open = (0..<zoneCount).filter { !members[$0].isEmpty }
        var total = shards * replicas
        var filled = Array(repeating: [Share](), count: zoneCount)
        // A zone that overflows is filled to its brim, and the others share what is left.
        while true {
            let everyone = open.flatMap { members[$0] }
            let shares = Self.fill(total, everyone.map { nodes[$0].weightMilli }, limit: shards)
            for (place, node) in everyone.enumerated() { exact[node] = shares[place] }
            let over = open.filter { zone in
                Self.isAbove(zoneLimit, members[zone].map { exact[$0] })
            }
            guard !over.isEmpty else { break }
            for zone in over {
                let weights = members[zone].map { nodes[$0].weightMilli }
                filled[zone] = Self.fill(zoneLimit, weights, limit: shards)
                total -= zoneLimit
            }
            open.removeAll { over.contains($0) }
        }
        for zone in 0..<zoneCount {
            for (place, share) in filled[zone].enumerated() { exact[members[zone][place]] = share }
        }
        let zoneShares = members.map { nodes in Self.sum(nodes.map { exact[$0] }) }
        let zoneTargets = Self.round(zoneShares, total: shards * replicas)
        for zone in 0..<zoneCount {
            let rounded = Self.round(members[zone].map { exact[$0] }, total: zoneTargets[zone])
            for (place, node) in members[zone].enumerated() { target[node] = rounded[place] }
        }
    }

    /// `total` by weight, nobody above `limit`.
    private static func fill(_ total: Int, _ weights: [Int], limit: Int) -> [Share] {
        precondition(total <= limit * weights.count)
        var left = total
        var weightLeft = weights.reduce(0, +)
        var isFull = Array(repeating: false, count: weights.count)
        var changed = true
        while changed {
            changed = false
            let (leftNow, weightNow) = (left, weightLeft)
            for (index, weight) in weights.enumerated()
            where !isFull[index] && leftNow * weight >= limit * weightNow {
                isFull[index] = true
                left -= limit
                weightLeft -= weight
                changed = true
            }
        }
        return weights.indices.map { index in
            isFull[index]
                ? Share(numerator: limit, denominator: 1)
                : Share(numerator: left * weights[index], denominator: weightLeft)
        }
    }

    /// Shares that add up: all fractions but whole ones have the same denominator.
    private static func sum(_ shares: [Share]) -> Share {
        let denominator = shares.first { $0.denominator != 1 }?.denominator ?? 1
        let numerator = shares.reduce(0) { sum, share in
            sum + (share.denominator == 1 ? share.numerator * denominator : share.numerator)
        }
        return Share(numerator: numerator, denominator: denominator)
    }

    private static func isAbove(_ limit: Int, _ shares: [Share]) -> Bool {
        let sum = sum(shares)
        return sum.numerator > limit * sum.denominator
    }

    /// Largest remainder; between equals, the first.
    ///
    /// - Precondition: `total` lies between the sums of the shares rounded down and up.
    static func round(_ shares: [Share], total: Int) -> [Int] {
        var rounded = shares.map(\.floor)
        let missing = total - rounded.reduce(0, +)
        let candidates = shares.indices.filter { shares[$0].remainder > 0 }
        precondition(missing >= 0 && missing <= candidates.count)
        let order = candidates.sorted { a, b in
            let left = shares[a].remainder * shares[b].denominator
            let right = shares[b].remainder * shares[a].denominator
            return left == right ? a < b : left > right
        }
        for index in order.prefix(missing) { rounded[index] += 1 }
        return rounded
    }
}
