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
    /// Rains: the least and the most that a packet may hold; 0: it is not said.
    public var minFen: Fen = 0
    public var maxFen: Fen = 0
    public var limit: UInt32
    public var holdMs: Int64
    /// 0: as many as suit the node.
    public var slices: UInt32 = 0
    public var regions: [RegionShare] = []
    public var durability: Durability
    /// Offsets to the scenario's opening; nil: open from the beginning, no end.
    public var opensAfterNs: UInt64?
    public var closesAfterNs: UInt64?
    /// nil: the node draws it.
    public var seed: Bits256?

    /// Whether its users name their requests; where not, LIMIT is 1 for good.
    public var usesRequests: Bool

    public var isStock: Bool { kind == .stock }
    public var family: PoolFamily { kind.family }
    public var key: PoolKey { .of(family, Text64(name)) }

    /// What a node on its own makes of it: where nothing is said, one slice, or one a region.
    public var slicesMade: UInt32 { slices > 0 ? slices : UInt32(max(1, regions.count)) }
    public var minFenMade: Fen { isStock ? 0 : max(1, minFen) }

    /// The definition that a node must have made of it.
    ///
    /// - Parameter drawn: the pool's seed, where the plan names none.
    public func definition(
        opensMs: UnixMs, closesMs: UnixMs, seed drawn: Bits256 = .zero
    ) -> PoolDefinition {
        PoolDefinition(
            name: Text64(name), kind: kind, units: units, amountFen: amountFen,
            minFen: minFenMade, maxFen: maxFen, holdMs: isStock ? holdMs : 0,
            slices: slicesMade, regions: regions, seed: seed ?? drawn, seedWasGiven: seed != nil,
            commitment: Self.commitment(to: seed ?? drawn), durability: durability,
            initial: PoolTerms(opensMs: opensMs, closesMs: closesMs, limit: limit))
    }

    /// Stands for the SHA-256 that a server commits with: a function of the seed alone.
    public static func commitment(to seed: Bits256) -> Bits256 {
        func word(_ salt: UInt64) -> UInt64 {
            Hash64.mix(
                Hash64.mix(seed.words.0 ^ salt, seed.words.1),
                Hash64.mix(seed.words.2 ^ salt, seed.words.3))
        }
        return Bits256(word(1), word(2), word(3), word(4))
    }

    // MARK: Regions

    /// The region that all commands of a user name; nil: none, and the node takes one.
    ///
    /// Some name one that a pool does not have: a node refuses them where the pool tells regions
    /// apart.
    func region(of user: Int, _ random: RandomSource) -> String? {
        let entity = UInt64(index) << 32 | UInt64(user)
        let draw = random.below(100, .regions, entity)
        if draw < 3 { return "elsewhere" }
        if regions.isEmpty { return draw < 10 ? "r0" : nil }
        guard draw < 55 else { return nil }
        return regions[Int(random.below(UInt64(regions.count), .regions, entity, 1))]
            .name.description
    }

    /// Whether a user names a region that the pool does not have.
    func isForeign(_ user: Int, _ random: RandomSource) -> Bool {
        guard regions.count > 1, let region = region(of: user, random) else { return false }
        return !regions.contains { $0.name.description == region }
    }

    // MARK: What operators are told

    /// What INFO says otherwise than the plan; nil where it agrees.
    ///
    /// - Parameter seed: the pool's.
    func difference(from answer: RESPAnswer, seed: Bits256?) -> String? {
        var expected: [(String, RESPAnswer)] = [
            ("slices", .integer(Int64(slicesMade))), ("durability", .bulk("\(durability)")),
        ]
        if isStock {
            expected += [("price", .integer(amountFen)), ("hold", .integer(holdMs / 1_000))]
        } else {
            expected += [
                ("amount", .integer(amountFen)), ("count", .integer(units)),
                ("min", .integer(minFenMade)), ("max", .integer(maxFen)),
            ]
            if let seed {
                expected.append(("commitment", .bulk(Self.commitment(to: seed).digits)))
                if answer["seed"] != .null { expected.append(("seed", .bulk(seed.digits))) }
            }
        }
        for (key, value) in expected where answer[key] != value {
            return "\(key) is \(answer[key]?.description ?? "missing"), not \(value)"
        }
        return nil
    }
}

extension Bits256 {
    /// 64 hexadecimal digits, the first byte first.
    var digits: String {
        [words.0, words.1, words.2, words.3].map { word in
            (0..<8).map { byte -> String in
                let value = (word >> (byte * 8)) & 255
                return String(value >> 4, radix: 16) + String(value & 15, radix: 16)
            }.joined()
        }.joined()
    }
}
