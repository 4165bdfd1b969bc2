import EdgeTypes

/// Plans drawn from a seed, and the commands that make them.
extension PoolPlan {
    static func draw(
        index: Int, node: Int, _ scenario: Scenario, _ random: RandomSource
    ) -> PoolPlan {
        let id = UInt64(index) + 1
        func below(_ bound: UInt64, _ what: UInt64) -> UInt64 {
            random.below(bound, .pools, id, what)
        }
        // By turns, so that every run has both families.
        let kind: PoolKind =
            index % 2 == 1 ? .stock : [.spread, .spread, .luck, .equal][Int(below(4, 0))]
        var plan = PoolPlan(
            index: index, node: node, name: "pool-\(index)", kind: kind,
            units: Int64(1 + below(UInt64(scenario.users), 1)), amountFen: Int64(below(5_000, 2)),
            limit: below(3, 3) == 0 ? 1 : UInt32(1 + below(4, 4)),
            holdMs: 1_000 * Int64(1 + below(8, 5)), durability: .journal, usesRequests: true)
        plan.usesRequests = kind == .stock || plan.limit > 1 || below(2, 13) == 0
        if kind != .stock {
            plan.drawAmounts(below)
            if below(4, 8) == 0 { plan.durability = .memory }
            if below(2, 14) == 0 {
                plan.seed = Bits256(
                    random.word(.pools, id, 100), random.word(.pools, id, 101),
                    random.word(.pools, id, 102), random.word(.pools, id, 103))
            }
        }
        if scenario.replicas > 1, plan.durability == .journal, below(4, 20) != 0 {
            plan.durability = .replicated
        }
        plan.drawSlices(below)
        if below(4, 9) == 0 { plan.opensAfterNs = below(3_000_000_000, 10) }
        if below(5, 11) == 0 {
            var closesAfterNs = (plan.opensAfterNs ?? 0) + 1 + below(12_000_000_000, 12)
            // Commands say it in milliseconds.
            if let opensAfterNs = plan.opensAfterNs,
                opensAfterNs / 1_000_000 == closesAfterNs / 1_000_000
            {
                closesAfterNs += 1_000_000
            }
            plan.closesAfterNs = closesAfterNs
        }
        return plan
    }

    /// A rain's total, and bounds that its mean lies between, often close to it.
    private mutating func drawAmounts(_ below: (UInt64, UInt64) -> UInt64) {
        let mean = Int64(1 + below(900, 2))
        // Some totals leave fen over when they are divided.
        let rest = below(2, 15) == 0 ? Int64(below(UInt64(units), 16)) : 0
        amountFen = units * mean + rest
        if below(3, 17) == 0 { minFen = 1 + Int64(below(UInt64(mean), 18)) }
        if below(3, 19) == 0 {
            maxFen = mean + (rest > 0 ? 1 : 0) + Int64(below(UInt64(2 * mean), 20))
        }
    }

    /// Up to three regions, and slices that are given or left to the node.
    private mutating func drawSlices(_ below: (UInt64, UInt64) -> UInt64) {
        if below(3, 21) == 0 {
            regions = (0...below(3, 22)).map { number in
                RegionShare(name: Text64("r\(number)"), weight: UInt32(1 + below(9, 30 + number)))
            }
        }
        // Not fewer than regions, not more than units.
        let least = Int64(max(1, regions.count))
        guard below(2, 6) == 0, least <= units else { return }
        let span: Int64 = below(3, 23) == 0 ? 20 : 6
        slices = UInt32(least + Int64(below(UInt64(min(units - least + 1, span)), 7)))
    }

    // MARK: Commands

    /// The words of the command that creates it, after its name.
    ///
    /// - Parameter isBrief: what a node takes as it is there where nothing is said, is not said:
    ///   the same pool, in other words.
    func creation(openingMs: UnixMs, isBrief: Bool = false) -> [String] {
        var words: [String]
        if isStock {
            words = ["UNITS", "\(units)", "PRICE", "\(amountFen)", "HOLD", "\(holdMs / 1_000)"]
        } else {
            words = ["AMOUNT", "\(amountFen)", "COUNT", "\(units)", "KIND", "\(kind)"]
            if minFen > 0 { words += ["MIN", "\(minFen)"] }
            if maxFen > 0 { words += ["MAX", "\(maxFen)"] }
            if let seed, !isBrief { words += ["SEED", seed.digits] }
        }
        words += ["LIMIT", "\(limit)", "DURABILITY", "\(durability)"]
        if slices > 0, !isBrief {
            words += ["SLICES", "\(slices)"]
        } else if index % 4 < 2 {
            words += ["SLICES", "auto"]
        }
        if !regions.isEmpty {
            words += ["REGIONS", regions.map { "\($0.name)=\($0.weight)" }.joined(separator: ",")]
        }
        for (keyword, after) in [("OPENS", opensAfterNs), ("CLOSES", closesAfterNs)] {
            if let after { words += [keyword, "\(openingMs + Int64(after / 1_000_000))"] }
        }
        return words
    }

    /// What one creation can have otherwise than another of the same name.
    private enum Value: CaseIterable {
        case units, amount, limit, slices, region, weight, opens, closes
        // Of stock.
        case hold
        // Of rains.
        case kind, least, most, durability, seed
    }

    /// Another pool under its name: a single value differs, drawn from all there are.
    func other(_ random: RandomSource) -> PoolPlan {
        let values = Value.allCases.filter { value in
            switch value {
            case .units, .amount, .limit, .slices, .region, .weight, .opens, .closes: true
            case .hold: isStock
            case .kind, .least, .most, .durability, .seed: !isStock
            }
        }
        let draw = random.below(UInt64(values.count), .operators, UInt64(index), 91)
        return other(in: values[Int(draw)])
    }

    private func other(in value: Value) -> PoolPlan {
        var other = self
        switch value {
        case .units: other.units += 1
        case .amount: other.amountFen += 1
        case .limit: other.limit += 1
        case .slices: other.slices = slicesMade + 1
        case .region: other.regions.append(RegionShare(name: "new", weight: 1))
        case .weight:
            // Where there is none, a single one: nobody is told apart, and it is another pool.
            if regions.isEmpty {
                other.regions = [RegionShare(name: "r0", weight: 1)]
            } else {
                other.regions[0].weight += 1
            }
        case .opens: other.opensAfterNs = (opensAfterNs ?? 0) + 1_000_000
        case .closes: other.closesAfterNs = (closesAfterNs ?? 60_000_000_000) + 1_000_000
        case .hold: other.holdMs += 1_000
        case .kind: other.kind = kind == .spread ? .luck : .spread
        case .least: other.minFen = minFenMade + 1
        case .most: other.maxFen = maxFen == 0 ? amountFen : maxFen + 1
        case .durability: other.durability = durability == .memory ? .journal : .memory
        case .seed: other.seed = Bits256((seed ?? .zero).words.0 ^ 1, 2, 3, 4)
        }
        return other
    }
}
