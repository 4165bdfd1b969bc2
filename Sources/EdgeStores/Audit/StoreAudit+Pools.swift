import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeTypes

extension AuditPass {
    func comparePools() throws {
        var seen = Array(repeating: false, count: fold.pools.count)
        try engine.read(LedgerTables.selectPools + " ORDER BY family, name", []) { found in
            let row = try LedgerTables.pool(found)
            guard let index = fold.index(of: row.key),
                fold.pools[index].definition.name == row.name,
                fold.pools[index].definition.kind.family == row.family
            else {
                report.add(
                    .poolExtra, "pool \(row.name)", "row", expected: "none", found: "a row")
                return
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

    private func compare(_ expected: LedgerFold.Pool, _ row: PoolRow) {
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

    /// A column as it is read, and what it should be: nil for null.
    private typealias Expected = (column: String, value: String?)

    private func compareRains() throws {
        try compareTerms(.rain, table: "rains", name: "pool") { pool in
            let definition = pool.definition
            return [
                ("kind", PoolWords.word(definition.kind)),
                ("count", String(definition.units)),
                ("amount", String(definition.amountFen)),
                ("min_amount", String(definition.minFen)),
                ("max_amount", String(definition.maxFen)),
                ("commitment", definition.commitment.hex),
                ("seed", pool.standing.closed ? definition.seed.hex : nil),
            ] + terms(pool)
        }
    }

    private func compareStock() throws {
        try compareTerms(.stock, table: "stock", name: "sku") { pool in
            let units = pool.created ? pool.treasury.funded : pool.definition.units
            return [
                ("units", String(units)), ("price", String(pool.definition.amountFen)),
                ("hold_ms", String(pool.definition.holdMs)),
            ] + terms(pool)
        }
    }

    private func terms(_ pool: LedgerFold.Pool) -> [Expected] {
        let standing = pool.standing
        func orNull(_ value: Int64) -> String? { value == 0 ? nil : String(value) }
        return [
            ("user_limit", String(standing.control.terms.limit)),
            ("opens_at", orNull(standing.control.terms.opensMs)),
            ("closes_at", orNull(standing.control.terms.closesMs)),
            ("state", standing.word),
            ("durability", PoolWords.word(pool.definition.durability)),
            ("slices", String(pool.definition.slices)),
            ("created_at", orNull(standing.createdMs)),
            ("closed_at", orNull(standing.closedMs)),
        ]
    }

    private func compareTerms(
        _ family: PoolFamily, table: String, name column: String,
        _ expect: (LedgerFold.Pool) -> [Expected]
    ) throws {
        // Which columns there are does not depend on the pool.
        guard let any = fold.pools.first(where: { $0.definition.kind.family == family }) else {
            return try expectCount(family, rows(of: table))
        }
        let columns = expect(any).map { "`\($0.column)`" }.joined(separator: ", ")
        var count = 0
        try engine.read("SELECT \(column), \(columns) FROM \(table) ORDER BY \(column)", []) {
            row in
            count += 1
            let name = row.text(0)
            guard let pool = pool(family, name) else { return }
            for (index, expected) in expect(pool).enumerated() {
                let found = row.isNull(index + 1) ? nil : row.text(index + 1)
                guard found != expected.value else { continue }
                report.add(
                    .poolDiffers, "pool \(name)", expected.column,
                    expected: expected.value ?? "null", found: found ?? "null")
                return
            }
        }
        try expectCount(family, count)
    }

    private func rows(of table: String) throws -> Int {
        var count = 0
        try engine.read("SELECT count(*) FROM \(table)", []) { row in
            count = Int(row.integer(0))
        }
        return count
    }

    private func pool(_ family: PoolFamily, _ name: String) -> LedgerFold.Pool? {
        guard let text = Text64(name.utf8) else { return nil }
        return fold.pool(PoolKey.of(family, text))
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
        try engine.read(LedgerTables.selectSlices + " ORDER BY pool_key, slice", []) { columns in
            let row = try LedgerTables.slice(columns)
            let words = "slice \(row.key.slice) of pool \(fold.name(row.key.pool))"
            guard let expected = fold.slice(row.key.pool, row.key.slice) else {
                report.add(.sliceExtra, words, "row", expected: "none", found: "a row")
                return
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
        var last = (key: PoolKey(rawValue: 0), limit: UInt32(0))
        var isTooMany = false
        try engine.read("SELECT pool, user FROM claims", []) { rows in
            let pool = PoolKey.of(.rain, bytes: rows.bytes(0))
            guard !isTooMany, let user = rows.user(1) else { return }
            if last.key != pool { last = (pool, limits[pool] ?? 0) }
            let limit = last.limit
            guard sketch.mayExceed(limit, pool, user) else { return }
            if parts > 1, Hash64.keyed(user, salt: 0x6c69_6d69_7473) % parts != part { return }
            let key = UserKey(pool: pool, user: user)
            if let known = index[key] {
                counts[known].1 += 1
            } else {
                // The first part tells: users are dealt by a hash, so the others are alike.
                if counts.count == options.usersAtOnce, part == 0 {
                    isTooMany = true
                    return
                }
                index[key] = counts.count
                counts.append((key, 1))
            }
        }
        return isTooMany ? nil : counts
    }
}
