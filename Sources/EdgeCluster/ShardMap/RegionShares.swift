/// How many shards each region owns.
enum RegionShares {
    /// In proportion to weights, rounded; a region that owns its share rounded down or up keeps
    /// what it owns, as far as the sum allows.
    ///
    /// - Parameter owned: by region; nil creates a cluster.
    static func wanted(weights: [Int], owned: [Int]?, shards: Int) -> [Int] {
        let total = weights.reduce(0, +)
        let shares = weights.map { Shares.Share(numerator: shards * $0, denominator: total) }
        let ideal = Shares.round(shares, total: shards)
        guard let owned else { return ideal }
        var wanted = weights.indices.map { region in
            min(max(owned[region], shares[region].floor), shares[region].ceiling)
        }
        var missing = shards - wanted.reduce(0, +)
        // Towards the ideal first, then wherever rounding leaves room.
        for towardsIdeal in [true, false] {
            for region in weights.indices {
                let high = towardsIdeal ? ideal[region] : shares[region].ceiling
                let low = towardsIdeal ? ideal[region] : shares[region].floor
                let change = min(
                    max(missing, min(0, low - wanted[region])), max(0, high - wanted[region]))
                wanted[region] += change
                missing -= change
            }
        }
        precondition(missing == 0)
        return wanted
    }
}
