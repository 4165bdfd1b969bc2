import EdgeMemory
import EdgeTypes

/// Where things live: pool → home shard, slice → shard, user → slice, shard → core.
///
/// All of it follows from names, sizes and what a pool froze at its creation, so every node and
/// every core computes the same. O(1), except where regions are told apart: O(regions).
public struct Placement: Sendable {
    /// A power of two, for good.
    public let shards: Int
    /// Event loops of this node.
    public let cores: Int

    public init(shards: Int, cores: Int) {
        precondition(shards >= 1 && shards <= Limits.shards && shards & (shards - 1) == 0)
        precondition(cores >= 1 && cores <= shards)
        self.shards = shards
        self.cores = cores
    }

    /// The shard that holds a pool's treasury.
    @inlinable
    public func home(of pool: PoolKey) -> ShardID {
        ShardID(truncatingIfNeeded: Hash64.keyed(pool.rawValue, salt: 1) & UInt64(shards - 1))
    }

    /// The shard of one slice: the first beside the treasury, the others by a permutation of all
    /// shards, so that a pool's slices meet on no shard before every shard has one.
    ///
    /// Each pool has its own permutation, and none is regular: nodes that have every third shard,
    /// or a row of them, get their part of every pool.
    @inlinable
    public func shard(of pool: PoolKey, slice: UInt32) -> ShardID {
        if slice == 0 { return home(of: pool) }
        let mask = UInt64(shards - 1)
        let half = UInt64((shards.trailingZeroBitCount + 1) / 2)
        let key = Hash64.keyed(pool.rawValue, salt: 2)
        // Odd factors and shifts by half the bits or more are permutations, and leave 0 in place.
        var place = (UInt64(slice) &* (key | 1)) & mask
        place ^= place >> half
        place = (place &* ((key >> 32) | 1)) & mask
        place ^= place >> half
        place = (place &* ((key >> 16) | 1)) & mask
        return ShardID(truncatingIfNeeded: (UInt64(home(of: pool)) &+ place) & mask)
    }

    @inlinable @inline(__always)
    public func core(of shard: ShardID) -> Int { Int(shard) % cores }

    /// A shard's number among those of its core.
    @inlinable @inline(__always)
    public func localIndex(of shard: ShardID) -> Int { Int(shard) / cores }

    /// How many shards a core has.
    public func shardCount(ofCore core: Int) -> Int { (shards - core + cores - 1) / cores }
}

/// Which slices serve which users of one pool.
public struct SliceMap: Sendable {
    @usableFromInline let salt: UInt64
    @usableFromInline let sliceCount: UInt32
    /// Per region: its key, its slices, and the sum of weights up to and including it.
    @usableFromInline let regions: [Region]

    @usableFromInline
    struct Region: Sendable {
        @usableFromInline let key: UInt32
        @usableFromInline let firstSlice: UInt32
        @usableFromInline let sliceCount: UInt32
        @usableFromInline let weightBelow: UInt64
        @usableFromInline let weight: UInt64
    }

    public init(_ definition: PoolDefinition, pool: PoolKey) {
        salt = Hash64.keyed(pool.rawValue, salt: 3)
        sliceCount = definition.slices
        regions = Self.share(definition.regions, slices: definition.slices)
    }

    /// Every region gets one slice, the rest go by weight (largest remainder first come).
    private static func share(_ shares: [RegionShare], slices: UInt32) -> [Region] {
        guard shares.count > 1 else { return [] }
        precondition(Int(slices) >= shares.count)
        let total = shares.reduce(UInt64(0)) { $0 + UInt64($1.weight) }
        let spare = UInt64(slices) - UInt64(shares.count)
        var regions: [Region] = []
        var below: UInt64 = 0
        var first: UInt32 = 0
        for share in shares {
            let through = below + UInt64(share.weight)
            let extra = (spare * through) / total - (spare * below) / total
            let count = UInt32(1 + extra)
            regions.append(
                Region(
                    key: RegionKey.of(share.name), firstSlice: first, sliceCount: count,
                    weightBelow: below, weight: UInt64(share.weight)))
            below = through
            first += count
        }
        precondition(first == slices)
        return regions
    }

    /// The slice that serves `user`: first the region, then a hash.
    ///
    /// - Parameter region: the key of the user's home region; 0 where none was given: then a
    ///   hash of the user over the pool's weights.
    /// - Returns: nil where the pool has no such region.
    @inlinable
    public func slice(of user: UserID, region: UInt32) -> UInt32? {
        if sliceCount == 1 { return 0 }
        let hash = Hash64.keyed(user, salt: salt)
        if regions.isEmpty {
            return UInt32(truncatingIfNeeded: Hash64.reduce(hash, below: UInt64(sliceCount)))
        }
        return sliceByRegion(of: hash, region: region)
    }

    @usableFromInline
    func sliceByRegion(of hash: UInt64, region key: UInt32) -> UInt32? {
        let last = regions[regions.count - 1]
        let draw = Hash64.reduce(Hash64.mix(hash, salt), below: last.weightBelow + last.weight)
        for region in regions
        where key == 0 ? draw < region.weightBelow + region.weight : key == region.key {
            let offset = Hash64.reduce(hash, below: UInt64(region.sliceCount))
            return region.firstSlice + UInt32(truncatingIfNeeded: offset)
        }
        return nil
    }

    /// The slices of each part, in order: a part is a region, or the whole pool where it tells no
    /// regions apart.
    public var parts: [Range<UInt32>] {
        guard !regions.isEmpty else { return [0..<sliceCount] }
        return regions.map { $0.firstSlice..<($0.firstSlice + $0.sliceCount) }
    }

    /// The units of a pool that go to each part, in order: by region's weight.
    public func shares(of units: Int64) -> [UnitRange] {
        guard !regions.isEmpty else { return [UnitRange(start: 0, count: units)] }
        let last = regions[regions.count - 1]
        let total = Int64(last.weightBelow + last.weight)
        return regions.map { region in
            let low = Self.proportion(units, Int64(region.weightBelow), total)
            let high = Self.proportion(units, Int64(region.weightBelow + region.weight), total)
            return UnitRange(start: low, count: high - low)
        }
    }

    /// Cuts a range into even parts, in order.
    static func split(_ range: UnitRange, into parts: Int) -> [UnitRange] {
        (0..<parts).map { part in
            let low = proportion(range.count, Int64(part), Int64(parts))
            let high = proportion(range.count, Int64(part) + 1, Int64(parts))
            return UnitRange(start: range.start + low, count: high - low)
        }
    }

    /// ⌊units · part / whole⌋ without overflow.
    private static func proportion(_ units: Int64, _ part: Int64, _ whole: Int64) -> Int64 {
        let product = UInt64(units).multipliedFullWidth(by: UInt64(part))
        return Int64(UInt64(whole).dividingFullWidth(product).quotient)
    }
}
