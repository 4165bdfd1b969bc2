public import EdgeLedger
import EdgeReconciler
import EdgeTypes
import Glibc

/// Compares what Redis shows with the store that it follows, to the fen.
public enum MirrorAudit {
    private static let shardsAtOnce = 64
    private static let poolsAtOnce = 500
    private static let tries = 10
    private static let pauseMicroseconds: UInt32 = 300_000

    /// Reads all pools and slices. Pools with a shard that is still on its way are looked at again, a
    /// few times; where it stays so, they are counted as lagging, and that is no finding.
    ///
    /// - Throws: `RedisError`, `StoreError`.
    public static func run(_ address: RedisAddress, _ source: any RowsSource) throws -> AuditReport
    {
        let connection = try RedisConnection(address, name: "downpour-audit")
        defer { connection.close() }
        var report = AuditReport()
        guard let owner = try connection.call("GET", RedisKeys.store).text else {
            // Nobody has written there; a store without a pool needs nobody to.
            if let pool = try source.pools(after: nil, limit: 1).first {
                report.add(
                    .mirrorMissing, subject(pool), "hash", expected: "there", found: "nothing")
            }
            return report
        }
        guard try owner == source.identity() else {
            report.add(
                .mirrorDiffers, "Redis", RedisKeys.store, expected: "this store's",
                found: "another store's")
            return report
        }
        for attempt in 1...tries {
            report = AuditReport()
            try compare(connection, source, &report)
            if report.lagging == 0 || attempt == tries { break }
            usleep(pauseMicroseconds)
        }
        return report
    }

    /// What slices make of a pool, and on which shards they lie.
    private struct Sums {
        var books = SliceBooks()
        var shards: Set<ShardID> = []

        mutating func add(_ row: SliceRow) {
            books.granted += row.books.granted
            books.grantedFen += row.books.grantedFen
            books.pending += row.books.pending
            books.sold += row.books.sold
            books.quarantined += row.books.quarantined
            books.retired += row.books.retired
            shards.insert(row.shard)
        }
    }

    private static func compare(
        _ connection: RedisConnection, _ source: any RowsSource, _ report: inout AuditReport
    ) throws {
        let marks = try connection.call("HGETALL", RedisKeys.marks)
        let store = try source.watermarks()
        var pools: [MirroredPool] = []
        while true {
            let page = try source.pools(after: pools.last?.row.key, limit: poolsAtOnce)
            pools += page
            guard page.count == poolsAtOnce else { break }
        }
        // Shards of which Redis and the store said the same all the time.
        var still: Set<ShardID> = []
        var sums: [PoolKey: Sums] = [:]
        let shards = store.shards
        for start in stride(from: 0, to: shards.count, by: shardsAtOnce) {
            let some = Array(shards[start..<min(start + shardsAtOnce, shards.count)])
            let found = try source.slices(ofShards: some)
            for row in found.rows { sums[row.key.pool, default: Sums()].add(row) }
            for shard in some where found.watermarks[shard] == store[shard] { still.insert(shard) }
        }
        var hashes: [RedisValue] = []
        for pool in pools {
            hashes.append(
                try connection.call("HGETALL", RedisKeys.pool(pool.row.family, pool.row.name)))
        }
        let after = try connection.call("HGETALL", RedisKeys.marks)
        let (before, then) = (marks.pairs, after.pairs)
        still = still.filter { shard in
            let wanted = RedisMirror.text(store[shard])
            return before["\(shard)"]?.text == wanted && then["\(shard)"]?.text == wanted
        }
        for (pool, hash) in zip(pools, hashes) {
            let sum = sums[pool.row.key] ?? Sums()
            // One without slices says nothing of how far its home has come.
            guard sum.shards.isSubset(of: still), !sum.shards.isEmpty || !hash.array.isEmpty else {
                report.lagging += 1
                continue
            }
            report.mirrored += 1
            check(pool, sum.books, hash.pairs, &report)
        }
    }

    private static func subject(_ pool: MirroredPool) -> String {
        RedisKeys.subject(pool.row.family, pool.row.name)
    }

    private static func check(
        _ pool: MirroredPool, _ books: SliceBooks, _ hash: [String: RedisValue],
        _ report: inout AuditReport
    ) {
        guard !hash.isEmpty else {
            report.add(.mirrorMissing, subject(pool), "hash", expected: "there", found: "nothing")
            return
        }
        let units = max(pool.units, pool.row.treasury.funded)
        let gone = books.quarantined + books.retired
        var wanted: [(String, String)] = [
            ("state", pool.row.standing.word), ("quarantined", "\(books.quarantined)"),
            ("retired", "\(books.retired)"), ("limit", "\(pool.row.standing.control.terms.limit)"),
            ("opens", "\(pool.row.standing.control.terms.opensMs)"),
            ("closes", "\(pool.row.standing.control.terms.closesMs)"),
        ]
        switch pool.row.family {
        case .rain:
            wanted += [
                ("granted", "\(books.granted)"), ("granted_fen", "\(books.grantedFen)"),
                ("count", "\(units)"), ("amount", "\(pool.amountFen)"),
                ("remaining", "\(units - books.granted - gone)"),
            ]
        case .stock:
            wanted += [
                ("pending", "\(books.pending)"), ("sold", "\(books.sold)"),
                ("units", "\(units)"), ("price", "\(pool.amountFen)"),
                ("available", "\(units - books.pending - books.sold - gone)"),
            ]
        }
        for (field, value) in wanted where hash[field]?.text != value {
            report.add(
                .mirrorDiffers, subject(pool), field, expected: value,
                found: hash[field]?.text ?? "nothing")
        }
    }
}
