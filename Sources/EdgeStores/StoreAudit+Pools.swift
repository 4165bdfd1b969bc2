import EdgeLedger
import EdgeMemory
import EdgeTypes
import GRDB

extension AuditPass {
    func comparePools() throws {
        var seen = Array(repeating: false, count: fold.pools.count)
        let rows = try HotStatement(
            database, PoolStatements.selectPoolSQL + " ORDER BY family, name")
        while try rows.step() {
            let row = try PoolStatements.pool(rows)
            let key = PoolKey(rawValue: UInt64(bitPattern: rows.integer(19)))
            guard let index = fold.index(of: key),
                fold.pools[index].definition.name == row.name,
                fold.pools[index].definition.kind.family == row.family
            else {
                report.add(
                    .poolExtra, "pool \(row.name)", "row", expected: "none", found: "a row")
                continue
            }
            seen[index] = true
            report.pools += 1
            compare(fold.pools[index], row)
        }
        try compareRains()
        try compareStock()
        for (index, pool) in fold.pools.enumerated() where !seen[index] {
            report.add(
                .poolMissing, "pool \(pool.definition.name)", "row", expected: "a row",
                found: "none")
        }
    }

    private func compare(_ expected: LedgerFold.Pool, _ row: PoolStatements.PoolRow) {
        let name = "pool \(row.name)"
        if row.standing != expected.standing {
            report.add(
                .poolDiffers, name, "terms and state", expected: "\(expected.standing)",
                found: "\(row.standing)")
        } else if row.treasury != expected.treasury {
            report.add(
                .poolDiffers, name, "treasury", expected: "\(expected.treasury)",
                found: "\(row.treasury)")
        } else if row.created != expected.created {
            report.add(
                .poolDiffers, name, "created", expected: "\(expected.created)",
                found: "\(row.created)")
        }
    }

    private func compareRains() throws {
        let rows = try Row.fetchCursor(database, sql: "SELECT * FROM rains ORDER BY pool")
        var count = 0
        while let row = try rows.next() {
            count += 1
            let name: String = row["pool"]
            guard let pool = pool(.rain, name) else { continue }
            let definition = pool.definition
            let closed = pool.standing.closed
            let expected: [(String, DatabaseValue)] =
                [
                    ("kind", PoolStatements.word(definition.kind).databaseValue),
                    ("count", definition.units.databaseValue),
                    ("amount", definition.amountFen.databaseValue),
                    ("min_amount", definition.minFen.databaseValue),
                    ("max_amount", definition.maxFen.databaseValue),
                    ("commitment", definition.commitment.hex.databaseValue),
                    ("seed", closed ? definition.seed.hex.databaseValue : .null),
                ] + terms(pool)
            compare(name, row, expected)
        }
        try expectCount(.rain, count)
    }

    private func compareStock() throws {
        let rows = try Row.fetchCursor(database, sql: "SELECT * FROM stock ORDER BY sku")
        var count = 0
        while let row = try rows.next() {
            count += 1
            let name: String = row["sku"]
            guard let pool = pool(.stock, name) else { continue }
            let units = pool.created ? pool.treasury.funded : pool.definition.units
            let expected: [(String, DatabaseValue)] =
                [
                    ("units", units.databaseValue),
                    ("price", pool.definition.amountFen.databaseValue),
                    ("hold_ms", pool.definition.holdMs.databaseValue),
                ] + terms(pool)
            compare(name, row, expected)
        }
        try expectCount(.stock, count)
    }

    private func terms(_ pool: LedgerFold.Pool) -> [(String, DatabaseValue)] {
        let standing = pool.standing
        func orNull(_ value: Int64) -> DatabaseValue { value == 0 ? .null : value.databaseValue }
        return [
            ("user_limit", Int64(standing.control.terms.limit).databaseValue),
            ("opens_at", orNull(standing.control.terms.opensMs)),
            ("closes_at", orNull(standing.control.terms.closesMs)),
            ("state", standing.word.databaseValue),
            ("durability", PoolStatements.word(pool.definition.durability).databaseValue),
            ("slices", Int64(pool.definition.slices).databaseValue),
            ("created_at", orNull(standing.createdMs)),
            ("closed_at", orNull(standing.closedMs)),
        ]
    }

    private func pool(_ family: PoolFamily, _ name: String) -> LedgerFold.Pool? {
        guard let text = Text64(name.utf8) else { return nil }
        return fold.pool(PoolKey.of(family, text))
    }

    private func compare(_ name: String, _ row: Row, _ expected: [(String, DatabaseValue)]) {
        for (column, value) in expected {
            let found: DatabaseValue = row[column]
            guard found != value else { continue }
            report.add(
                .poolDiffers, "pool \(name)", column, expected: "\(value)", found: "\(found)")
            return
        }
    }

    private func expectCount(_ family: PoolFamily, _ count: Int) throws {
        let expected = fold.pools.count { $0.definition.kind.family == family }
        guard count != expected else { return }
        let table = family == .rain ? "rains" : "stock"
        report.add(
            count < expected ? .poolMissing : .poolExtra, "table \(table)", "rows",
            expected: "\(expected)", found: "\(count)")
    }

    func compareSlices() throws {
        var found = 0
        let rows = try HotStatement(
            database, PoolStatements.selectSliceSQL + " ORDER BY pool_key, slice")
        while try rows.step() {
            let row = try PoolStatements.slice(rows)
            let key = PoolKey(rawValue: UInt64(bitPattern: rows.integer(11)))
            let number = UInt32(truncatingIfNeeded: rows.integer(12))
            let words = "slice \(number) of pool \(fold.name(key))"
            guard let expected = fold.slice(key, number) else {
                report.add(.sliceExtra, words, "row", expected: "none", found: "a row")
                continue
            }
            found += 1
            if row.books != expected.books || row.shard != expected.shard {
                report.add(
                    .sliceDiffers, words, "books of shard \(expected.shard)",
                    expected: "\(expected.books)", found: "\(row.books)")
            }
        }
        report.slices += Int64(found)
        if found < fold.slices.count {
            report.add(
                .sliceMissing, "slices", "rows", expected: "\(fold.slices.count)",
                found: "\(found)")
        }
    }

    // MARK: Users

    private struct UserKey: Hashable {
        var pool: PoolKey
        var user: UserID
    }

    /// No user is above the limit, over all shards: the sketch clears nearly all of them, the rest
    /// are counted, in as many passes over the claims as memory asks for.
    func checkUsers() throws {
        var parts: UInt64 = 1
        var part: UInt64 = 0
        while part < parts {
            guard let counts = try countUsers(part: part, of: parts) else {
                parts *= 2
                continue
            }
            part += 1
            for (key, count) in counts {
                let limit = fold.pool(key.pool)?.standing.highestLimit ?? 0
                guard count > limit else { continue }
                report.add(
                    .userAboveLimit, "pool \(fold.name(key.pool)), user \(key.user)", "claims",
                    expected: "at most \(limit)", found: "\(count)")
            }
        }
    }

    /// - Returns: nil where there are more than fit in memory.
    private func countUsers(part: UInt64, of parts: UInt64) throws -> [(UserKey, UInt32)]? {
        var limits: [PoolKey: UInt32] = [:]
        for pool in fold.pools { limits[pool.key] = pool.standing.highestLimit }
        var index: [UserKey: Int] = [:]
        var counts: [(UserKey, UInt32)] = []
        let rows = try HotStatement(database, "SELECT pool, user FROM claims")
        var last = (key: PoolKey(rawValue: 0), limit: UInt32(0))
        while try rows.step() {
            let pool = PoolKey.of(.rain, bytes: rows.bytes(0))
            guard let user = rows.user(1) else { continue }
            if last.key != pool { last = (pool, limits[pool] ?? 0) }
            let limit = last.limit
            guard sketch.mayExceed(limit, pool, user) else { continue }
            if parts > 1, Hash64.keyed(user, salt: 0x6c69_6d69_7473) % parts != part { continue }
            let key = UserKey(pool: pool, user: user)
            if let known = index[key] {
                counts[known].1 += 1
            } else {
                // The first part tells: users are dealt by a hash, so the others are alike.
                if counts.count == options.usersAtOnce, part == 0 { return nil }
                index[key] = counts.count
                counts.append((key, 1))
            }
        }
        return counts
    }
}
