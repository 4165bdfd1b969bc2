public import EdgeTypes

extension LedgerFold {
    /// Checks what must hold when entries end, whatever the cut between shards.
    ///
    /// Every slice's `held` is at least 0, amounts stay within the total, and are the total where
    /// everything was granted. Where a pool is closed and its home and slices have seen the same
    /// transfers: funded = granted + sold + pending + quarantined + retired + in the treasury.
    public func checkEnd() -> AuditReport {
        var report = report
        var sums = Array(repeating: Sums(), count: pools.count)
        for slice in slices {
            if slice.books.held < 0 || slice.books.quarantined < 0 {
                report.add(
                    .sliceOverdrawn, "slice \(slice.slice) of pool \(name(slice.pool))", "held",
                    expected: "at least 0",
                    found: "\(slice.books.held), \(slice.books.quarantined) quarantined")
            }
            guard let index = index(of: slice.pool) else { continue }
            sums[index].add(slice.books)
        }
        for (pool, sum) in zip(pools, sums) { check(pool, sum, &report) }
        return report
    }

    private struct Sums {
        var granted: Int64 = 0
        var fen: Fen = 0
        var outside: Int64 = 0
        var credits: Int64 = 0
        var returns: Int64 = 0
        var held: Int64 = 0

        mutating func add(_ books: SliceBooks) {
            granted += books.granted
            fen += books.grantedFen
            outside +=
                books.granted + books.sold + books.pending + books.quarantined + books.retired
            credits += Int64(books.credits)
            returns += Int64(books.returns)
            held += books.held
        }
    }

    private func check(_ pool: Pool, _ sum: Sums, _ report: inout AuditReport) {
        let name = pool.definition.name
        if pool.definition.kind.family == .rain {
            if sum.fen > pool.definition.amountFen {
                report.add(
                    .amountAboveFunded, "pool \(name)", "fen granted",
                    expected: "at most \(pool.definition.amountFen)", found: "\(sum.fen)")
            }
            if sum.granted == pool.definition.units, sum.fen != pool.definition.amountFen {
                report.add(
                    .amountNotExact, "pool \(name)", "fen granted",
                    expected: "\(pool.definition.amountFen)", found: "\(sum.fen)")
            }
        }
        let settled =
            pool.standing.closed && sum.credits == pool.treasury.leases
            && sum.returns == pool.treasury.takeBacks
        if settled, pool.treasury.inTreasury + sum.outside + sum.held != pool.treasury.funded {
            report.add(
                .unitsLost, "pool \(name)", "units", expected: "\(pool.treasury.funded)",
                found: "\(pool.treasury.inTreasury + sum.outside + sum.held)")
        }
    }

    /// A pool's name, or its key where it is not known.
    public func name(_ key: PoolKey) -> String {
        pool(key)?.definition.name.description ?? "\(key.rawValue)"
    }

    /// What differs first between this fold, which is right, and another, by kind.
    ///
    /// For small histories and the simulator: O(everything).
    public func differences(to other: LedgerFold) -> AuditReport {
        var report = AuditReport()
        for pool in pools { compare(pool, other.pool(pool.key), &report) }
        if other.pools.count > pools.count {
            report.add(
                .poolExtra, "pools", "count", expected: "\(pools.count)",
                found: "\(other.pools.count)")
        }
        for slice in slices {
            let found = other.slice(slice.pool, slice.slice)?.books
            if found != slice.books {
                report.add(
                    .sliceDiffers, "slice \(slice.slice) of pool \(name(slice.pool))", "books",
                    expected: "\(slice.books)", found: "\(String(describing: found))")
            }
        }
        for order in orders where other.order(order.order) != order {
            report.add(
                .orderDiffers, "order \(order.order.rawValue)", "record", expected: "\(order)",
                found: "\(String(describing: other.order(order.order)))")
        }
        for user in users where other.user(user.user, of: user.pool) != user {
            report.add(
                .claimDiffers, "pool \(name(user.pool)), user \(user.user)", "totals",
                expected: "\(user)",
                found: "\(String(describing: other.user(user.user, of: user.pool)))")
        }
        if other.orders.count > orders.count || other.users.count > users.count {
            report.add(
                .orderExtra, "orders and users", "count",
                expected: "\(orders.count), \(users.count)",
                found: "\(other.orders.count), \(other.users.count)")
        }
        return report
    }

    private func compare(_ pool: Pool, _ found: Pool?, _ report: inout AuditReport) {
        guard let found else {
            report.add(
                .poolMissing, "pool \(pool.definition.name)", "pool", expected: "present",
                found: "absent")
            return
        }
        if found.standing != pool.standing || found.treasury != pool.treasury {
            report.add(
                .poolDiffers, "pool \(pool.definition.name)", "standing and treasury",
                expected: "\(pool.standing) \(pool.treasury)",
                found: "\(found.standing) \(found.treasury)")
        }
    }
}
