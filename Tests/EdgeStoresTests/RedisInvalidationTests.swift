import EdgeLedger
import EdgeReconciler
import EdgeStores
import EdgeTypes
import Foundation
import Glibc
import Testing

@Suite("Invalidations of caches")
struct RedisInvalidationTests {
    /// The script that readers use to fill a cache.
    private func fill() throws -> String {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        return try String(
            contentsOf: root.appending(path: "topology/deploy/redis/fill.lua"), encoding: .utf8)
    }

    private func fill(
        _ connection: RedisConnection, _ key: String, _ subject: String, _ value: String,
        _ versions: String...
    ) throws -> Int64 {
        var command = RedisCommand("EVAL", try fill(), "1", key, subject, value, "60000")
        for version in versions { command.append(version) }
        return try connection.call(command).integer ?? -1
    }

    private func mark(_ sequence: UInt64, epoch: UInt32 = 1) -> Watermark {
        Watermark(epoch: epoch, sequence: sequence, timeMs: 0)
    }

    private func keys(_ connection: RedisConnection) throws -> [String] {
        try connection.stream(RedisKeys.invalidations).map {
            "\($0["key"] ?? "") \($0["version"] ?? "") \($0["phase"] ?? "")"
        }
    }

    @Test("the naive order leaves an old value for ever; the versioned fill refuses it")
    func staleRead() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        // A reader reads the row; then it is changed and the cache's key deleted; the reader comes
        // last. Nothing ever deletes what it fills in.
        let readBefore = "old"
        try connection.call("DEL", "cache:stock:s")
        try connection.call("SET", "cache:stock:s", readBefore)
        #expect(try connection.call("GET", "cache:stock:s").text == "old")

        let invalidations = Invalidations(
            connection, delayMs: 50, cacheKeys: try CacheKey.parse("stock=cache:stock:{id}"))
        try invalidations.send([
            .init(key: "stock:s", versions: [(shard: ShardID(3), mark: mark(10))])
        ])
        #expect(try connection.call("GET", "cache:stock:s") == .null)
        // The same reader again, at the version it read at; from a lagging replica; of an older
        // epoch; without the shard that counts.
        for version in ["3:1-9", "3:0-77", "4:1-99"] {
            #expect(try fill(connection, "cache:stock:s", "stock:s", "old", version) == 0)
        }
        #expect(try connection.call("GET", "cache:stock:s") == .null)
        #expect(try fill(connection, "cache:stock:s", "stock:s", "new", "3:1-10") == 1)
        #expect(try fill(connection, "cache:stock:s", "stock:s", "newer", "4:9-9", "3:2-1") == 1)
        #expect(try connection.call("GET", "cache:stock:s").text == "newer")
        // Whoever fills without a version is corrected by the second invalidation.
        try connection.call("SET", "cache:stock:s", readBefore)
        usleep(60_000)
        #expect(try invalidations.sendDue() == 1)
        #expect(try connection.call("GET", "cache:stock:s") == .null)
        #expect(try invalidations.sendDue() == 0)
        #expect(try keys(connection) == ["stock:s 3:1-10 1", "stock:s 3:1-10 2"])
        #expect(throws: RedisError.self) {
            _ = try fill(connection, "cache:stock:s", "stock:s", "x", "zzz")
        }
    }

    @Test("what Redis does not remember is only filled with what is as new as all it knows")
    func forgotten() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        #expect(try fill(connection, "c", "order:x", "v", "3:1-10") == 0)
        try connection.call("HSET", RedisKeys.marks, "3", "1-11")
        #expect(try fill(connection, "c", "order:x", "v", "3:1-10") == 0)
        #expect(try fill(connection, "c", "order:x", "v", "3:1-11") == 1)
        // Changes of the shard were lost: the key's own last version is not enough.
        let invalidations = Invalidations(connection, delayMs: 50)
        try invalidations.send([
            .init(key: "order:x", versions: [(shard: ShardID(3), mark: mark(12))])
        ])
        #expect(try fill(connection, "c", "order:x", "v", "3:1-12") == 1)
        try invalidations.send([
            .init(key: "shard:3", versions: [(shard: ShardID(3), mark: mark(20))])
        ])
        #expect(try fill(connection, "c", "order:x", "v", "3:1-12") == 0)
        #expect(try fill(connection, "c", "order:x", "v", "3:1-20") == 1)
    }

    @Test("every change is told twice, the second time also where its node is gone")
    func toldTwice() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let rows = MemoryRows()
        var settings = quickSettings()
        settings.invalidationDelayMs = 300
        settings.cacheKeys = try CacheKey.parse("rain=cache:{id}:rain,stock=s{id}")
        let first = try server.follow(rows, settings)
        first.take(rows.create("r", .rain, units: 100, amountFen: 10_000, slices: 1))
        first.take(rows.create("s", .stock, units: 100, amountFen: 10, slices: 1))
        try eventually("both") { try keys(connection).count == 2 }
        try connection.call("SET", "cache:r:rain", "old")
        first.take(rows.claim("r", slice: 0, packets: 1, fen: 5))
        try eventually("it is deleted") { try connection.call("GET", "cache:r:rain") == .null }
        #expect(first.stop())
        #expect(try keys(connection).filter { $0.hasSuffix(" 2") } == [])
        try connection.call("SET", "cache:r:rain", "old again")
        let second = try server.follow(rows, settings)
        try eventually("again") { try connection.call("GET", "cache:r:rain") == .null }
        try eventually("twice") { try keys(connection).filter { $0.hasSuffix(" 2") }.count == 2 }
        #expect(try connection.integer("ZCARD", RedisKeys.delayed) == 0)
        #expect(try keys(connection).contains("rain:r 0:1-3 1"))
        #expect(second.stop())
    }

    @Test(
        "cache keys that make no sense are refused",
        arguments: [
            "cache:{id}", "user=c:{id}", "rain=c", "rain={id}{id}", "rain=downpour:rain:{id}",
        ])
    func refusesPatterns(_ text: String) {
        #expect(throws: RedisError.self) { try CacheKey.parse(text) }
    }
}
