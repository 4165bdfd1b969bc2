import EdgeLedger
import EdgeReconciler
import EdgeStores
import EdgeTypes
import Foundation
import GRDB
import StoresTestSupport
import Testing

@Suite("Redis behind a SQLite store")
struct RedisStoreTests {
    /// Totals of a view, by name of pool: what the mirror shows under these names.
    private func totals(_ path: String, _ sql: String) throws -> [String: [String: String]] {
        let queue = try DatabaseQueue(path: path)
        defer { try? queue.close() }
        return try queue.read { database in
            var found: [String: [String: String]] = [:]
            for row in try Row.fetchAll(database, sql: sql) {
                var fields: [String: String] = [:]
                for (column, value) in row {
                    fields[column] = String.fromDatabaseValue(value) ?? "\(value)"
                }
                found[fields.removeValue(forKey: "name") ?? ""] = fields
            }
            return found
        }
    }

    private func check(_ path: String, _ connection: RedisConnection) throws -> Bool {
        let rains = try totals(
            path,
            """
            SELECT pool AS name, state, CAST(count AS TEXT) AS count,
                CAST(amount AS TEXT) AS amount, CAST(granted AS TEXT) AS granted,
                CAST(granted_amount AS TEXT) AS granted_fen, CAST(remaining AS TEXT) AS remaining,
                CAST(quarantined AS TEXT) AS quarantined, CAST(retired AS TEXT) AS retired
            FROM v1_rain_totals
            """)
        let stock = try totals(
            path,
            """
            SELECT sku AS name, state, CAST(units AS TEXT) AS units, CAST(price AS TEXT) AS price,
                CAST(pending AS TEXT) AS pending, CAST(sold AS TEXT) AS sold,
                CAST(available AS TEXT) AS available, CAST(quarantined AS TEXT) AS quarantined,
                CAST(retired AS TEXT) AS retired
            FROM v1_stock_totals
            """)
        for (name, wanted) in rains {
            let hash = try connection.hash("downpour:rain:\(name)")
            for (field, value) in wanted where hash[field] != value { return false }
        }
        for (name, wanted) in stock {
            let hash = try connection.hash("downpour:stock:\(name)")
            for (field, value) in wanted where hash[field] != value { return false }
        }
        return !rains.isEmpty && !stock.isEmpty
    }

    /// The audit names whatever is not as it should be, of a rain and of a SKU.
    private func injure(
        _ connection: RedisConnection, _ audit: () throws -> AuditReport
    ) throws {
        for family in ["rain", "stock"] {
            let key = try connection.call("KEYS", "downpour:\(family):*").array[0].text ?? ""
            let fields = try connection.hash(key)
            #expect(fields.count > 15)
            for (field, value) in fields {
                try connection.call("HSET", key, field, value == "7" ? "8" : "7")
                let report = try audit()
                #expect(
                    report.findings.contains { $0.subject == key && $0.field == field },
                    "\(key), \(field): \(report)")
                try connection.call("HSET", key, field, value)
            }
        }
        #expect(try audit().isClean)
    }

    @Test(
        "random histories: the mirror shows the views, and each event is there once",
        arguments: zip([21, 22, 23, 24] as [UInt64], [false, false, true, true]))
    func showsViews(_ seed: UInt64, isMySQL: Bool) throws {
        let scratch = try Scratch()
        let path = scratch.file()
        let server = try RedisServer()
        let connection = try server.connect()
        let lanes = History(seed: seed).sources()
        var place = StoreURL.sqlite(path: path)
        if isMySQL {
            let maria = try MariaServer.shared.get()
            place = .mysql(try maria.address(try maria.newDatabase()))
            // For its views: both engines make the same of one history.
            let other = try SQLStore(path: path)
            try ship(lanes, to: other, seed: seed)
            other.close()
        }
        let url = place
        var settings = quickSettings()
        settings.retentionMs = 0
        let store = try url.open()
        let follower = RedisFollower(
            try server.address, settings: settings,
            openSource: { try url.openRows() })
        follower.start()
        var random = SplitMix(seed: seed)
        var sources = lanes.map { MemorySource($0) }
        var marks = try store.watermarks()
        while sources.contains(where: { $0.backlog() > 0 }) {
            var batch = EntryBatch(capacity: 1 + random.below(200))
            batch.restart(at: marks)
            let first = random.below(sources.count)
            for step in sources.indices {
                let full = try sources[(first + step) % sources.count].read(into: &batch)
                if full || random.chance(30) { break }
            }
            let changes = try store.apply(batch, cursors: sources.map { ($0.lane, $0.cursor) })
            // Now and then its node dies between the commit and the telling.
            if !random.chance(15) { follower.take(changes) }
            marks = batch.marks
        }
        try eventually("the mirror is the store, seed \(seed)") { try check(path, connection) }
        let wanted = try DatabaseQueue(path: path).read { database in
            try Row.fetchAll(database, sql: "SELECT event FROM v1_events ORDER BY event").map {
                $0[0] as String
            }
        }
        try eventually("all events") {
            try connection.integer("XLEN", RedisKeys.events) >= Int64(wanted.count)
        }
        let found = try connection.stream(RedisKeys.events).compactMap { $0["event"] }
        #expect(try url.openRows().identity() == url.openRows().identity())
        #expect(found.sorted() == wanted.sorted() && !wanted.isEmpty)

        func audit() throws -> AuditReport {
            try MirrorAudit.run(store: url, redis: server.address, differsForMs: 0)
        }
        var report = try audit()
        #expect(report.isClean && report.mirroredPools == 5 && report.mirroredSlices > 0)
        let rain = try connection.call("KEYS", "downpour:rain:*").array[0].text ?? ""
        try connection.call("HINCRBY", rain, "granted_fen", "1")
        report = try audit()
        #expect(report.findings.count == 1 && report[.mirrorTotal]?.field == "granted_fen")
        try connection.call("HINCRBY", rain, "granted_fen", "-1")
        try injure(connection, audit)
        try connection.call("DEL", rain)
        #expect(try audit()[.mirrorMissing] != nil)

        try connection.call("FLUSHALL")
        try eventually("all of it again") {
            try check(path, connection)
                && connection.integer("XLEN", RedisKeys.events) == Int64(wanted.count)
        }
        // All groups have everything: the outbox needs to keep none of it.
        try connection.call("XGROUP", "CREATE", RedisKeys.events, "g", "$")
        try eventually("the outbox is empty") {
            let rows = try url.openRows()
            defer { rows.close() }
            return try rows.watermarks().shards.allSatisfy { shard in
                try rows.events(
                    ofShard: shard, after: EntryID.of(shard: shard, sequence: 0), limit: 1
                ).isEmpty
            }
        }
        #expect(follower.stop())
        #expect(follower.status.lagEntries == 0)
        store.close()
    }
}
