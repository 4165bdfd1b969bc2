import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeStores
import EdgeTypes
import Foundation
import Glibc
import StoresTestSupport
import Synchronization
import Testing

/// Settings of tests: everything at once.
func quickSettings() -> RedisSettings {
    var settings = RedisSettings()
    settings.gatherMs = 1
    settings.lookMs = 50
    settings.sweepMs = 20
    settings.cleanMs = 50
    settings.firstBackoffMs = 5
    settings.longestBackoffMs = 50
    settings.invalidationDelayMs = 100
    settings.retries.firstMs = 20
    return settings
}

/// Until Redis has what the rows say of a rain.
func awaitRain(_ rows: MemoryRows, _ name: Text64, _ connection: RedisConnection) throws {
    let granted = rows.total(name, .rain, \.granted)
    let fen = rows.total(name, .rain, \.grantedFen)
    try eventually("the mirror has \(granted) of \(fen)") {
        let hash = try connection.hash("downpour:rain:\(name)")
        return hash["granted"] == "\(granted)" && hash["granted_fen"] == "\(fen)"
            && hash["count"].flatMap { Int64($0) }.map { "\($0 - granted)" } == hash["remaining"]
    }
}

@Suite("The mirror in Redis")
struct RedisMirrorTests {
    @Test("shows totals, terms and ends of rains and stock")
    func showsPools() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let rows = MemoryRows()
        let follower = try server.follow(rows)
        follower.take(rows.create("r", .rain, units: 100, amountFen: 10_000, slices: 3))
        follower.take(rows.create("s", .stock, units: 50, amountFen: 990, slices: 2))
        follower.take(rows.claim("r", slice: 2, packets: 7, fen: 1_234))
        follower.take(rows.reserve("s", slice: 1))
        follower.take(
            rows.alter("s", .stock) { row in
                row.treasury.fund(25)
                row.standing.take(
                    PoolControl(version: 1, terms: PoolTerms(closesMs: 99, limit: 4), paused: true))
            })
        try awaitRain(rows, "r", connection)
        #expect(
            try connection.hash("downpour:rain:r") == [
                "amount": "10000", "count": "100", "granted": "7", "granted_fen": "1234",
                "remaining": "93", "quarantined": "0", "retired": "0", "slices": "3", "parts": "3",
                "state": "open", "version": "0", "opens": "5", "closes": "0", "limit": "2",
                "paused": "0", "closing": "0", "closed": "0", "created_at": "7", "closed_at": "0",
            ])
        try eventually("the refill") {
            try connection.hash("downpour:stock:s")["units"] == "75"
        }
        let stock = try connection.hash("downpour:stock:s")
        #expect(stock["available"] == "74" && stock["pending"] == "1" && stock["sold"] == "0")
        #expect(stock["state"] == "paused" && stock["limit"] == "4" && stock["price"] == "990")
        follower.take(
            rows.alter("r", .rain) { row in
                row.standing.closed = true
                row.standing.closedMs = 77
            })
        try eventually("the end") {
            let hash = try connection.hash("downpour:rain:r")
            return hash["state"] == "closed" && hash["closed_at"] == "77"
        }
        #expect(follower.stop())
        #expect(follower.status.lastError == nil)
    }

    @Test("what comes late, twice or out of order never wins", arguments: [1, 2, 3, 4])
    func lateWritesLose(_ seed: UInt64) throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let rows = MemoryRows()
        var random = SplitMix(seed: seed)
        var told = [rows.create("r", .rain, units: 1_000_000, amountFen: 1 << 56, slices: 5)]
        for _ in 0..<200 {
            // Amounts that a double does not hold.
            told.append(
                rows.claim(
                    "r", slice: UInt32(random.below(5)), packets: Int64(1 + random.below(9)),
                    fen: (1 << 47) + Int64(random.below(1 << 40))))
        }
        let name = RedisMirror.PoolName(family: .rain, name: "r")
        func send(_ changes: StoreChanges) throws {
            var mirror = RedisMirror(connection) { _ in name }
            for row in changes.pools {
                try mirror.add(
                    MirroredPool(row: row, units: 1_000_000, amountFen: 1 << 56, slices: 5))
            }
            for range in changes.ranges {
                // Without regard to marks: only versions decide.
                try mirror.add(
                    RedisMirror.Shard(
                        shard: range.shard, from: nil, to: range.to, mark: nil,
                        rows: changes.slices.filter { $0.shard == range.shard }))
            }
            _ = try mirror.finish()
        }
        var order = told + told
        for index in order.indices.reversed() {
            order.swapAt(index, random.below(index + 1))
        }
        for changes in [told[0]] + order { try send(changes) }
        let hash = try connection.hash("downpour:rain:r")
        #expect(hash["granted"] == "\(rows.total("r", .rain, \.granted))", "seed \(seed)")
        #expect(hash["granted_fen"] == "\(rows.total("r", .rain, \.grantedFen))")
        #expect(rows.total("r", .rain, \.grantedFen) > 1 << 54)
    }

    @Test("a batch is taken where the mark is within it, and asked for anew where one is missing")
    func marksDecide() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        func mark(_ sequence: UInt64, epoch: UInt32 = 1) -> Watermark {
            Watermark(epoch: sequence == 0 ? 0 : epoch, sequence: sequence, timeMs: 0)
        }
        func send(_ from: Watermark?, _ to: Watermark) throws -> [ShardID] {
            var mirror = RedisMirror(connection) { _ in nil }
            try mirror.add(
                RedisMirror.Shard(shard: 3, from: from, to: to, mark: to, rows: []))
            return try mirror.finish().lagging
        }
        func now() throws -> String? { try connection.hash(RedisKeys.marks)["3"] }
        #expect(try send(mark(0), mark(5)) == [])
        #expect(try now() == "1-5")
        #expect(try send(mark(7), mark(9)) == [3])
        #expect(try now() == "1-5")
        #expect(try send(mark(4), mark(8)) == [])
        #expect(try send(mark(4), mark(8)) == [])
        #expect(try now() == "1-8")
        // A store that went back is fed again, and passes.
        #expect(try send(mark(1), mark(2)) == [])
        #expect(try send(nil, mark(3)) == [])
        #expect(try now() == "1-8")
        #expect(try send(mark(8), mark(9, epoch: 2)) == [])
        #expect(try now() == "2-9")
    }

    @Test("a wrong password is said, and nobody waits for it")
    func saysDenied() throws {
        let server = try RedisServer("--requirepass", "richtig")
        let rows = MemoryRows()
        let follower = RedisFollower(
            try RedisAddress("redis://:falsch@127.0.0.1:\(server.port)"),
            settings: quickSettings(), openSource: { rows.source() })
        follower.start()
        follower.take(rows.create("r", .rain, units: 10, amountFen: 100, slices: 1))
        try eventually("it says so") {
            follower.status.lastError?.contains("credentials") == true
        }
        #expect(follower.status.lastError?.contains("falsch") == false)
        #expect(!follower.stop(withinMs: 50))
        #expect(follower.status.lagEntries > 0)
    }

    @Test("what another store has made is left alone, and said")
    func refusesOtherStores() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let one = MemoryRows()
        let first = RedisFollower(
            try server.address, settings: quickSettings(), openSource: { one.source() })
        first.start()
        first.take(one.create("r", .rain, units: 10, amountFen: 100, slices: 1))
        try awaitRain(one, "r", connection)
        #expect(first.stop())
        let other = MemoryRows()
        let second = RedisFollower(
            try server.address, settings: quickSettings(), openSource: { other.source() })
        second.start()
        second.take(other.create("q", .rain, units: 10, amountFen: 100, slices: 1))
        try eventually("it says so") {
            second.status.lastError?.contains("another store") == true
        }
        #expect(try connection.integer("EXISTS", "downpour:rain:q") == 0)
        try connection.call("FLUSHDB")
        try awaitRain(other, "q", connection)
        #expect(second.stop())
    }

    @Test("a server that may evict anything is refused")
    func refusesEviction() throws {
        let server = try RedisServer(
            "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
        let rows = MemoryRows()
        let follower = try server.follow(rows)
        try eventually("it says so") { follower.status.lastError?.contains("evicts") == true }
        _ = follower.stop(withinMs: 0)
    }

    @Test("a user with the rights that are documented is enough")
    func leastRights() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let guide = try String(
            contentsOf: URL(fileURLWithPath: #filePath).deletingLastPathComponent()
                .deletingLastPathComponent().deletingLastPathComponent()
                .appending(path: "topology/deploy/redis/README.md"), encoding: .utf8)
        let rights = "+@read +@write +@stream +@scripting +@connection +info +time"
        #expect(guide.contains("`\(rights)`"))
        var command = RedisCommand("ACL", "SETUSER", "edge", "on", ">geheim", "~downpour:*")
        for right in rights.split(separator: " ") { command.append(String(right)) }
        try connection.call(command)
        let rows = MemoryRows()
        let follower = RedisFollower(
            try RedisAddress("redis://edge:geheim@127.0.0.1:\(server.port)"),
            settings: quickSettings(), openSource: { rows.source() })
        follower.start()
        follower.take(rows.create("r", .rain, units: 1_000, amountFen: 1 << 40, slices: 2))
        follower.take(rows.create("s", .stock, units: 1_000, amountFen: 9, slices: 2))
        follower.take(rows.reserve("s", slice: 1))
        try connection.call("XGROUP", "CREATE", RedisKeys.events, "g", "0", "MKSTREAM")
        try eventually("the event") {
            try connection.integer("XLEN", RedisKeys.events) == 1
        }
        try connection.call(
            "XREADGROUP", "GROUP", "g", "c", "STREAMS", RedisKeys.events, ">")
        try awaitRain(rows, "r", connection)
        try connection.call("FLUSHALL")
        try awaitRain(rows, "r", connection)
        #expect(follower.stop())
        #expect(follower.status.lastError == nil)
    }
}
