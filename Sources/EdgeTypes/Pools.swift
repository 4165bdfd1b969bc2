/// What a pool holds and how its units are drawn.
public enum PoolKind: UInt8, Sendable, CaseIterable {
    /// Red packets: pairs of mean ± d behind a keyed permutation. For pools of any size.
    case spread = 0
    /// Red packets: double-mean draws, materialised and shuffled. For small groups.
    case luck = 1
    /// Red packets of equal amounts (they differ by at most one fen).
    case equal = 2
    /// Units of a SKU, sold through orders.
    case stock = 3

    @inlinable public var family: PoolFamily { self == .stock ? .stock : .rain }
}

/// Rains and SKUs have separate names.
public enum PoolFamily: UInt8, BitwiseCopyable, Sendable {
    case rain = 0
    case stock = 1
}

/// What an acknowledgement of a pool means.
public enum Durability: UInt8, Sendable, CaseIterable {
    /// Applied in memory. A crash seals the slice: its units are never granted again.
    case memory = 0
    /// fdatasync'd by the local journal.
    case journal = 1
    /// Applied by every replica. Needs a cluster.
    case replicated = 2
}

/// One region's share of a pool, frozen when the pool is created.
public struct RegionShare: Hashable, Sendable {
    public var name: Text64
    public var weight: UInt32

    public init(name: Text64, weight: UInt32) {
        self.name = name
        self.weight = weight
    }
}

/// 256 bits: a pool's secret seed, or the SHA-256 that commits to it (little-endian words).
public struct Bits256: Hashable, Sendable {
    public var words: (UInt64, UInt64, UInt64, UInt64)

    public init(_ a: UInt64, _ b: UInt64, _ c: UInt64, _ d: UInt64) { words = (a, b, c, d) }

    public static let zero = Bits256(0, 0, 0, 0)

    public static func == (a: Bits256, b: Bits256) -> Bool { a.words == b.words }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(words.0)
        hasher.combine(words.1)
        hasher.combine(words.2)
        hasher.combine(words.3)
    }
}

/// What never changes in a pool.
public struct PoolDefinition: Hashable, Sendable {
    public var name: Text64
    public var kind: PoolKind
    /// Packets, or units of stock at creation (refills come on top).
    public var units: Int64
    /// Rains: the total. Stock: the price of one unit.
    public var amountFen: Fen
    /// Rains: the least and most one packet may hold.
    public var minFen: Fen
    public var maxFen: Fen
    /// Stock: how long a reservation holds its units.
    public var holdMs: Int64
    public var slices: UInt32
    /// Empty where the pool does not tell regions apart.
    public var regions: [RegionShare]
    public var seed: Bits256
    /// Whether the creator chose the seed: only then does a repeated creation compare it.
    public var seedWasGiven: Bool
    /// SHA-256 of the seed's 32 bytes.
    public var commitment: Bits256
    public var durability: Durability
    /// Times and limit as first given: what a repeated creation is compared with.
    public var initial: PoolTerms

    public init(
        name: Text64, kind: PoolKind, units: Int64, amountFen: Fen, minFen: Fen, maxFen: Fen,
        holdMs: Int64, slices: UInt32, regions: [RegionShare], seed: Bits256, seedWasGiven: Bool,
        commitment: Bits256, durability: Durability, initial: PoolTerms
    ) {
        self.name = name
        self.kind = kind
        self.units = units
        self.amountFen = amountFen
        self.minFen = minFen
        self.maxFen = maxFen
        self.holdMs = holdMs
        self.slices = slices
        self.regions = regions
        self.seed = seed
        self.seedWasGiven = seedWasGiven
        self.commitment = commitment
        self.durability = durability
        self.initial = initial
    }
}

/// The terms an operator may alter.
public struct PoolTerms: Hashable, Sendable {
    /// Nobody grabs before this time. 0: open from creation.
    public var opensMs: UnixMs
    /// Nobody grabs from this time on. 0: no end.
    public var closesMs: UnixMs
    /// Most packets or units one user may take.
    public var limit: UInt32

    public init(opensMs: UnixMs = 0, closesMs: UnixMs = 0, limit: UInt32 = 1) {
        self.opensMs = opensMs
        self.closesMs = closesMs
        self.limit = limit
    }
}

/// What operators did to a pool. Versions grow by one with each change.
public struct PoolControl: Hashable, Sendable {
    public var version: UInt32
    public var terms: PoolTerms
    public var paused: Bool
    /// An operator closed it, or it was closed at `closesMs`: nothing is granted any more.
    public var closing: Bool

    public init(version: UInt32, terms: PoolTerms, paused: Bool = false, closing: Bool = false) {
        self.version = version
        self.terms = terms
        self.paused = paused
        self.closing = closing
    }
}

/// Where a pool is in its life, as INFO shows it.
public enum PoolState: UInt8, Sendable {
    /// Before `opensMs`.
    case scheduled = 0
    case open = 1
    case paused = 2
    /// Slices are sealing and returning what they hold; open holds still run.
    case closing = 3
    case closed = 4
}

/// A run of units: packets `start ..< start + count`. Stock units have no numbers: `start` is 0.
public struct UnitRange: Hashable, Sendable {
    public var start: Int64
    public var count: Int64

    @inlinable
    public init(start: Int64, count: Int64) {
        self.start = start
        self.count = count
    }
}
