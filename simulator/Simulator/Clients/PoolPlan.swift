import EdgeMemory
public import EdgeTypes

/// A pool as its operator wants it, and as the oracles know it.
public struct PoolPlan: Sendable {
    public var index: Int
    public var node: Int
    public var name: String
    public var kind: PoolKind
    public var units: Int64
    /// Rains: the total; stock: the price.
    public var amountFen: Fen
    public var limit: UInt32
    public var holdMs: Int64
    public var slices: UInt32
    public var durability: Durability
    /// Offsets to the scenario's opening; nil: open from the beginning, no end.
    public var opensAfterNs: UInt64?
    public var closesAfterNs: UInt64?
    public var seed: Bits256

    /// Whether its users name their requests; where not, LIMIT is 1 for good.
    public var usesRequests: Bool
    /// The seed as 64 hexadecimal digits.
    public var seedText: String {
        let words = [seed.words.0, seed.words.1, seed.words.2, seed.words.3]
        let digits = Array("0123456789abcdef")
        return String(
            words.flatMap { word in
                (0..<8).flatMap { byte -> [Character] in
                    let value = Int((word >> (UInt64(byte) * 8)) & 255)
                    return [digits[value >> 4], digits[value & 15]]
                }
            })
    }

    public var isStock: Bool { kind == .stock }
    public var family: PoolFamily { kind.family }
    public var key: PoolKey { .of(family, Text64(name)) }

    /// The definition that a node must have made of it.
    public func definition(opensMs: UnixMs, closesMs: UnixMs) -> PoolDefinition {
        PoolDefinition(
            name: Text64(name), kind: kind, units: units, amountFen: amountFen,
            minFen: isStock ? 0 : 1, maxFen: 0, holdMs: isStock ? holdMs : 0, slices: slices,
            regions: [], seed: seed, seedWasGiven: true, commitment: .zero,
            durability: durability,
            initial: PoolTerms(opensMs: opensMs, closesMs: closesMs, limit: limit))
    }

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
        let units = Int64(1 + below(UInt64(scenario.users), 1))
        var plan = PoolPlan(
            index: index, node: node, name: "pool-\(index)", kind: kind, units: units,
            amountFen: kind == .stock ? Int64(below(5_000, 2)) : units * Int64(1 + below(900, 2)),
            limit: below(3, 3) == 0 ? 1 : UInt32(1 + below(4, 4)),
            holdMs: 1_000 * Int64(1 + below(8, 5)), slices: 1, durability: .journal,
            opensAfterNs: nil, closesAfterNs: nil,
            seed: Bits256(
                random.word(.pools, id, 100), random.word(.pools, id, 101),
                random.word(.pools, id, 102), random.word(.pools, id, 103)),
            usesRequests: true)
        plan.usesRequests = kind == .stock || plan.limit > 1 || below(2, 13) == 0
        if below(2, 6) == 0 { plan.slices = UInt32(1 + below(UInt64(min(units, 6)), 7)) }
        if kind != .stock, below(4, 8) == 0 { plan.durability = .memory }
        if below(4, 9) == 0 { plan.opensAfterNs = below(3_000_000_000, 10) }
        if below(5, 11) == 0 {
            plan.closesAfterNs = (plan.opensAfterNs ?? 0) + 1 + below(12_000_000_000, 12)
        }
        return plan
    }
}
