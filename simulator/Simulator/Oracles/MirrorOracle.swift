import EdgeLedger
import EdgeReconciler
import EdgeTypes

/// What Redis shows is what the store had at the version that goes with it; versions never go back;
/// and in the end the totals are those of the history.
final class MirrorOracle: Oracle {
    let name = "mirror"

    /// A slice's part of its pool's totals.
    private typealias Counts = [Int64]
    private typealias Version = RedisKeyspace.Version

    private struct PartID: Comparable {
        var store: Int
        var key: String
        var slice: UInt32

        static func < (one: PartID, other: PartID) -> Bool {
            (one.store, one.key, one.slice) < (other.store, other.key, other.slice)
        }
    }

    /// What stores have had of each slice, by its shard's version.
    private var had = SortedTable<PartID, SortedTable<Version, Counts>>()
    /// How far stores have ever been.
    private var furthest: [Int: WatermarkTable] = [:]
    /// Pools of which somebody has deleted a key, by Redis and key: whether they have changed since.
    /// They come back with their next change.
    private var injured = SortedTable<String, Bool>()

    func lost(_ world: World, _ redis: RedisModel, pool: String?) {
        if let pool { injured["\(redis.index) \(pool)"] = false }
    }

    private func change(_ server: Int, _ pool: PoolRow) {
        let id = "\(server) \(RedisKeys.pool(pool.family, pool.name))"
        if injured[id] != nil { injured[id] = true }
    }

    func stored(_ world: World, _ store: StoreModel, _ changes: StoreChanges) {
        guard let rows = store.rows, let server = world.server(of: store) else { return }
        for range in changes.ranges {
            var marks = furthest[server] ?? WatermarkTable()
            if marks[range.shard].sequence < range.to.sequence { marks[range.shard] = range.to }
            furthest[server] = marks
        }
        for row in changes.pools { change(server, row) }
        for row in changes.slices {
            guard let pool = rows.pool(row.key.pool)?.row,
                let range = changes.ranges.first(where: { $0.shard == row.shard })
            else { continue }
            change(server, pool)
            let id = PartID(
                store: server, key: RedisKeys.pool(pool.family, pool.name), slice: row.key.slice)
            var versions = had[id] ?? SortedTable()
            versions[Version(epoch: UInt64(range.to.epoch), sequence: range.to.sequence)] =
                Self.counts(row.books, pool.family)
            had[id] = versions
        }
    }

    private static func counts(_ books: SliceBooks, _ family: PoolFamily) -> Counts {
        switch family {
        case .rain: [books.granted, books.grantedFen, books.quarantined, books.retired]
        case .stock: [books.pending, books.sold, books.quarantined, books.retired]
        }
    }

    // MARK: Each write

    func executed(
        _ world: World, _ redis: RedisModel, _ work: RedisWork, before: RedisKeyspace
    ) {
        guard work.script == .mirror else { return }
        for element in redis.keyspace.hashes.elements {
            if element.key == RedisKeys.marks {
                checkMarks(world, redis, before)
            } else if Self.isPool(element.key) {
                checkPool(world, redis, element.key, before)
            }
        }
        for element in before.hashes.elements
        where Self.isPool(element.key) && redis.keyspace.hashes[element.key] == nil {
            if Self.isWhole(element.key, before) {
                world.fail(name, "\(element.key) was whole, and was deleted")
            }
        }
    }

    private static func isPool(_ key: String) -> Bool {
        key.hasPrefix("downpour:rain:") || key.hasPrefix("downpour:stock:")
    }

    /// Whether a pool's hash has as many parts as it says.
    private static func isWhole(_ key: String, _ keyspace: RedisKeyspace) -> Bool {
        keyspace.field(key, "parts")
            == "\(keyspace.hashes[RedisKeyspace.parts(key)]?.count ?? 0)"
    }

    private func checkMarks(_ world: World, _ redis: RedisModel, _ before: RedisKeyspace) {
        let marks = furthest[redis.index] ?? WatermarkTable()
        for element in redis.keyspace.hashes[RedisKeys.marks]?.elements ?? [] {
            guard let shard = ShardID(element.key) else { continue }
            let mark = Version(element.value)
            if let known = before.field(RedisKeys.marks, element.key), mark < Version(known) {
                world.fail(
                    name, "the mark of shard \(shard) went from \(known) to \(element.value)")
            }
            if mark.sequence > marks[shard].sequence {
                world.fail(
                    name, "shard \(shard): the mark is \(element.value), the store never was")
            }
        }
    }

    private func checkPool(
        _ world: World, _ redis: RedisModel, _ key: String, _ before: RedisKeyspace
    ) {
        let keyspace = redis.keyspace
        let parts = keyspace.hashes[RedisKeyspace.parts(key)]?.elements ?? []
        let wasWhole = Self.isWhole(key, before)
        guard Self.isWhole(key, keyspace) else {
            if wasWhole { world.fail(name, "\(key) is whole no more") }
            return
        }
        var sums = Counts(repeating: 0, count: 4)
        for part in parts {
            let words = part.value.split(separator: " ").map(String.init)
            let version = Version(words[0] + "-" + words[1])
            let counts = words[2...].map { RedisKeyspace.number($0) }
            for index in 0..<4 { sums[index] += counts[index] }
            if wasWhole, let known = before.field(RedisKeyspace.parts(key), part.key) {
                let old = known.split(separator: " ").map(String.init)
                if version < Version(old[0] + "-" + old[1]) {
                    world.fail(name, "\(key), slice \(part.key): \(part.value) after \(known)")
                }
            }
            check(world, redis, key, part.key, version, counts)
        }
        for (index, field) in RedisKeyspace.fields(key).enumerated()
        where keyspace.field(key, field) != "\(sums[index])" {
            world.fail(
                name,
                "\(key): \(field) is \(keyspace.field(key, field) ?? "none"), its parts add up to "
                    + "\(sums[index])")
        }
        let (old, new) = (before.field(key, "version"), keyspace.field(key, "version"))
        if let old, let new, RedisKeyspace.number(new) < RedisKeyspace.number(old) {
            world.fail(name, "\(key): terms of version \(new) after \(old)")
        }
        if before.field(key, "closed") == "1", keyspace.field(key, "closed") != "1" {
            world.fail(name, "\(key) is open again")
        }
    }

    /// A part is what the store had at that version: the last change up to it.
    private func check(
        _ world: World, _ redis: RedisModel, _ key: String, _ slice: String, _ version: Version,
        _ counts: Counts
    ) {
        guard let number = UInt32(slice) else { return }
        let versions = had[PartID(store: redis.index, key: key, slice: number)]?.elements ?? []
        let expected = versions.last { $0.key <= version }?.value ?? [0, 0, 0, 0]
        if counts != expected {
            world.fail(
                name,
                "\(key), slice \(slice) at \(version.epoch)-\(version.sequence) is \(counts), the "
                    + "store had \(expected)")
        }
    }

    // MARK: The end

    func ended(_ world: World) {
        for node in world.nodes {
            let history = world.histories[node.index]
            guard let redis = node.redis, redis.index == node.index, !history.isGone,
                !history.isShippingStopped
            else { continue }
            for pool in history.fold.pools where pool.created {
                compare(world, redis, pool, history.fold)
            }
        }
    }

    private func compare(
        _ world: World, _ redis: RedisModel, _ pool: LedgerFold.Pool, _ fold: LedgerFold
    ) {
        let family = pool.definition.kind.family
        let key = RedisKeys.pool(family, pool.definition.name)
        if injured["\(redis.index) \(key)"] == false { return }
        var sums = Counts(repeating: 0, count: 4)
        for slice in fold.slices where slice.pool == pool.key {
            let counts = Self.counts(slice.books, family)
            for index in 0..<4 { sums[index] += counts[index] }
        }
        let control = pool.standing.control
        // Of a rain, fen are not units.
        let taken = sums[0] + (family == .stock ? sums[1] : 0) + sums[2] + sums[3]
        let left = pool.treasury.funded - taken
        var expected: [(String, String)] = [
            (family == .rain ? "count" : "units", "\(pool.treasury.funded)"),
            (family == .rain ? "amount" : "price", "\(pool.definition.amountFen)"),
            (family == .rain ? "remaining" : "available", "\(left)"),
            ("state", pool.standing.word), ("slices", "\(pool.definition.slices)"),
            ("opens", "\(control.terms.opensMs)"), ("closes", "\(control.terms.closesMs)"),
            ("limit", "\(control.terms.limit)"), ("created_at", "\(pool.standing.createdMs)"),
            ("closed_at", "\(pool.standing.closedMs)"),
        ]
        expected += zip(RedisKeyspace.fields(key), sums).map { ($0, "\($1)") }
        for (field, value) in expected where redis.keyspace.field(key, field) != value {
            world.fail(
                name,
                "\(key): \(field) is \(redis.keyspace.field(key, field) ?? "none"), and should be "
                    + value)
        }
    }
}
