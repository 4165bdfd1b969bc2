public import EdgeLedger
import EdgeReconciler
import EdgeTypes
import Foundation

/// Compares what Redis shows with what the store holds, while both go on.
///
/// The store is read as of one moment. Once Redis has come as far, a slice whose part there is not
/// of a later change than that moment must be the same; and a pool's totals must be the sums of its
/// parts, which are read together. What is not of slices (terms, state, what was funded, times) must
/// come to be what the store has: where it differs, both are read again for some seconds.
public enum MirrorAudit {
    /// Longest wait for Redis to come as far as the store was.
    private static let patience = Duration.seconds(20)

    /// - Parameter differsForMs: longest time for which a pool may differ, as both go on.
    /// - Returns: what does not agree.
    /// - Throws: `StoreError`, `RedisError`.
    public static func run(
        store: StoreURL, redis: RedisAddress, differsForMs: Int = 5_000
    ) throws -> AuditReport {
        let engine = try store.openForReading()
        defer { engine.close() }
        let connection = try RedisConnection(redis, name: "downpour-audit")
        defer { connection.close() }
        var audit = try engine.transaction(.snapshot) {
            try Pass(engine, connection, .milliseconds(differsForMs))
        }
        try audit.waitUntilReached()
        try audit.compare()
        return audit.report
    }

    private struct Pass {
        let engine: any SQLEngine
        let connection: RedisConnection
        let differsFor: Duration
        let marks: WatermarkTable
        var pools: [MirroredPool] = []
        /// By pool, in order of slices.
        var slices: [PoolKey: [SliceRow]] = [:]
        var report = AuditReport()

        init(
            _ engine: any SQLEngine, _ connection: RedisConnection, _ differsFor: Duration
        ) throws {
            self.differsFor = differsFor
            self.engine = engine
            self.connection = connection
            marks = try LedgerReader(engine: engine).watermarks()
            try engine.read(SQLRowsSource.selectPools + " ORDER BY family, name", []) { row in
                pools.append(try SQLRowsSource.pool(row))
            }
            try engine.read(LedgerTables.selectSlices + " ORDER BY pool_key, slice", []) { row in
                let slice = try LedgerTables.slice(row)
                slices[slice.key.pool, default: []].append(slice)
            }
        }

        mutating func waitUntilReached() throws {
            let deadline = ContinuousClock.now + MirrorAudit.patience
            while true {
                let told = try connection.call("HGETALL", RedisKeys.marks).pairs
                let behind = marks.shards.filter { shard in
                    let text = told["\(shard)"]?.text ?? "0-0"
                    return (RedisMirror.mark(text)?.sequence ?? 0) < marks[shard].sequence
                }
                if behind.isEmpty { return }
                guard ContinuousClock.now < deadline else {
                    for shard in behind {
                        report.add(
                            .mirrorBehind, "shard \(shard)", "mark",
                            expected: "\(marks[shard].sequence)",
                            found: told["\(shard)"]?.text ?? "none")
                    }
                    return
                }
                Thread.sleep(forTimeInterval: 0.05)
            }
        }

        mutating func compare() throws {
            for pool in pools where pool.row.created { try compare(pool) }
        }

        private mutating func compare(_ mirrored: MirroredPool) throws {
            let pool = mirrored.row
            let key = RedisKeys.pool(pool.family, pool.name)
            let answers = try connection.send([
                RedisCommand("MULTI"), RedisCommand("HGETALL", key),
                RedisCommand("HGETALL", RedisKeys.parts(pool.family, pool.name)),
                RedisCommand("EXEC"),
            ])
            let both = answers.last?.array ?? []
            guard both.count == 2 else {
                throw RedisError.malformed("MULTI was answered with \(both.count) parts")
            }
            let totals = both[0].pairs
            let parts = both[1].pairs
            report.mirroredPools += 1
            guard !totals.isEmpty else {
                report.add(.mirrorMissing, key, "hash", expected: "totals", found: "none")
                return
            }
            var sums: [Int64] = [0, 0, 0, 0]
            var known: [String: Part] = [:]
            for (number, value) in parts {
                guard let part = Part(value.text ?? "") else {
                    report.add(
                        .mirrorDiffers, key, "part \(number)", expected: "six numbers",
                        found: value.text ?? "none")
                    return
                }
                known[number] = part
                for index in 0..<4 { sums[index] &+= part.counts[index] }
            }
            for (index, field) in Part.fields(pool.family).enumerated()
            where totals[field]?.integer != sums[index] {
                report.add(
                    .mirrorTotal, key, field, expected: "\(sums[index]), the parts' sum",
                    found: totals[field]?.text ?? "none")
            }
            if totals["parts"]?.integer != Int64(parts.count) {
                report.add(
                    .mirrorTotal, key, "parts", expected: "\(parts.count)",
                    found: totals["parts"]?.text ?? "none")
            }
            compareRest(pool.family, key, totals)
            try compareFacts(mirrored, key, totals)
            for slice in slices[pool.key] ?? [] {
                compare(slice, pool, key, known["\(slice.key.slice)"])
            }
        }

        /// What is left of the total: the script that moves one moves the other.
        private mutating func compareRest(
            _ family: PoolFamily, _ key: String, _ totals: [String: RedisValue]
        ) {
            func number(_ name: String) -> Int64 { totals[name]?.integer ?? 0 }
            let taken = family == .rain ? ["granted"] : ["pending", "sold"]
            let left = (taken + ["quarantined", "retired"]).reduce(
                number(family == .rain ? "count" : "units")
            ) { $0 &- number($1) }
            let field = family == .rain ? "remaining" : "available"
            if totals[field]?.integer != left {
                report.add(
                    .mirrorTotal, key, field, expected: "\(left), the total without the rest",
                    found: totals[field]?.text ?? "none")
            }
        }

        /// What is the pool's own.
        private mutating func compareFacts(
            _ pool: MirroredPool, _ key: String, _ totals: [String: RedisValue]
        ) throws {
            let deadline = ContinuousClock.now + differsFor
            var (facts, totals) = (Self.facts(pool), totals)
            while let first = facts.first(where: { totals[$0.field]?.text != $0.value }) {
                guard ContinuousClock.now < deadline else {
                    return report.add(
                        .mirrorDiffers, key, first.field, expected: first.value,
                        found: totals[first.field]?.text ?? "none")
                }
                Thread.sleep(forTimeInterval: 0.1)
                try engine.read(
                    SQLRowsSource.selectPools + " WHERE `key` = ?",
                    [.integer(Int64(bitPattern: pool.row.key.rawValue))]
                ) { row in facts = Self.facts(try SQLRowsSource.pool(row)) }
                totals = try connection.call("HGETALL", key).pairs
            }
        }

        private static func facts(_ pool: MirroredPool) -> [(field: String, value: String)] {
            let (row, control) = (pool.row, pool.row.standing.control)
            let isRain = row.family == .rain
            return [
                ("state", row.standing.word),
                (isRain ? "count" : "units", "\(row.treasury.funded)"),
                (isRain ? "amount" : "price", "\(pool.amountFen)"),
                ("slices", "\(pool.slices)"), ("version", "\(control.version)"),
                ("opens", "\(control.terms.opensMs)"), ("closes", "\(control.terms.closesMs)"),
                ("limit", "\(control.terms.limit)"), ("paused", control.paused ? "1" : "0"),
                ("closing", control.closing ? "1" : "0"),
                ("created_at", "\(row.standing.createdMs)"),
                ("closed", row.standing.closed ? "1" : "0"),
                ("closed_at", "\(row.standing.closedMs)"),
            ]
        }

        private mutating func compare(
            _ slice: SliceRow, _ pool: PoolRow, _ key: String, _ part: Part?
        ) {
            let expected = Part.counts(slice.books, pool.family)
            guard let part else {
                if expected != [0, 0, 0, 0] {
                    report.add(
                        .mirrorMissing, key, "slice \(slice.key.slice)", expected: "\(expected)",
                        found: "none")
                }
                return
            }
            // What has changed since the store was read is compared another time.
            guard part.sequence <= marks[slice.shard].sequence else { return }
            report.mirroredSlices += 1
            guard part.counts != expected else { return }
            report.add(
                .mirrorDiffers, key, "slice \(slice.key.slice)", expected: "\(expected)",
                found: "\(part.counts)")
        }

    }

    /// `epoch sequence` and four counts.
    private struct Part {
        let sequence: UInt64
        let counts: [Int64]

        init?(_ text: String) {
            let words = text.split(separator: " ")
            guard words.count == 6, let sequence = UInt64(words[1]) else { return nil }
            let counts = words[2...].compactMap { Int64($0) }
            guard counts.count == 4 else { return nil }
            self.sequence = sequence
            self.counts = counts
        }

        static func fields(_ family: PoolFamily) -> [String] {
            switch family {
            case .rain: ["granted", "granted_fen", "quarantined", "retired"]
            case .stock: ["pending", "sold", "quarantined", "retired"]
            }
        }

        static func counts(_ books: SliceBooks, _ family: PoolFamily) -> [Int64] {
            switch family {
            case .rain: [books.granted, books.grantedFen, books.quarantined, books.retired]
            case .stock: [books.pending, books.sold, books.quarantined, books.retired]
            }
        }
    }
}
