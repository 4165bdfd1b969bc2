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

@Suite("What Redis loses")
struct RedisFaultTests {
    @Test("everything is there again after FLUSHALL, also when nothing else happens")
    func survivesFlush() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let rows = MemoryRows()
        let follower = try server.follow(rows)
        follower.take(rows.create("r", .rain, units: 1_000, amountFen: 99_999, slices: 8))
        for slice in 0..<UInt32(8) {
            follower.take(rows.claim("r", slice: slice, packets: 5, fen: 55))
        }
        try awaitRain(rows, "r", connection)
        let before = try connection.hash("downpour:rain:r")
        for _ in 0..<3 {
            try connection.call("FLUSHALL")
            try eventually("the mirror is back") {
                try connection.hash("downpour:rain:r") == before
            }
        }
        try eventually("nothing lags") { follower.status.lagEntries == 0 }
        #expect(try connection.integer("EXISTS", RedisKeys.rebuilding) == 0)
        #expect(follower.status.rebuiltShards >= 24)
        #expect(follower.stop())
    }

    @Test("kill -9 of Redis under load: it takes no more than a restart", arguments: [11, 12])
    func survivesKill(_ seed: UInt64) throws {
        let server = try RedisServer()
        let rows = MemoryRows()
        let follower = try server.follow(rows)
        follower.take(rows.create("r", .rain, units: 1_000_000, amountFen: 1 << 40, slices: 16))
        var random = SplitMix(seed: seed)
        for kill in 0..<4 {
            for _ in 0..<2_000 {
                follower.take(
                    rows.claim("r", slice: UInt32(random.below(16)), packets: 1, fen: 3))
                if random.chance(2) { usleep(200) }
            }
            if kill < 3 {
                server.kill()
                for _ in 0..<100 { follower.take(rows.claim("r", slice: 1, packets: 1, fen: 3)) }
                try server.start()
            }
        }
        try awaitRain(rows, "r", try server.connect())
        #expect(follower.status.failures > 0)
        #expect(follower.stop())
        #expect(follower.status.lagEntries == 0)
    }

    @Test("a replica that takes over without the tail is brought up to date")
    func survivesFailover() throws {
        let primary = try RedisServer()
        let replica = try RedisServer("--replicaof", "127.0.0.1 \(primary.port)")
        let spare = try replica.connect()
        let rows = MemoryRows()
        var port = primary.port
        let first = try primary.follow(rows)
        first.take(rows.create("r", .rain, units: 1_000, amountFen: 1 << 40, slices: 4))
        first.take(rows.claim("r", slice: 0, packets: 10, fen: 100))
        try awaitRain(rows, "r", spare)
        // The replica stands apart; what follows is lost with the primary.
        try spare.call("REPLICAOF", "NO", "ONE")
        for slice in 0..<UInt32(4) {
            first.take(rows.claim("r", slice: slice, packets: 3, fen: 7))
        }
        first.take(
            rows.alter("r", .rain) { row in
                row.standing.closed = true
                row.standing.closedMs = 4
            })
        try awaitRain(rows, "r", try primary.connect())
        #expect(first.stop())
        primary.kill()
        port = replica.port
        let second = RedisFollower(
            try RedisAddress("redis://127.0.0.1:\(port)"), settings: quickSettings(),
            openSource: { rows.source() })
        second.start()
        try awaitRain(rows, "r", spare)
        try eventually("the end") { try spare.hash("downpour:rain:r")["state"] == "closed" }
        #expect(second.stop())
    }

    @Test("a store that went back neither takes the mirror along nor holds it up")
    func storeGoesBack() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let rows = MemoryRows()
        let follower = try server.follow(rows)
        follower.take(rows.create("r", .rain, units: 1_000, amountFen: 1 << 40, slices: 2))
        let old = rows.content.withLock { $0 }
        for _ in 0..<5 { follower.take(rows.claim("r", slice: 0, packets: 2, fen: 20)) }
        try awaitRain(rows, "r", connection)
        rows.content.withLock { $0 = old }
        try eventually("it is seen") { follower.status.ahead == 1 }
        #expect(try connection.hash("downpour:rain:r")["granted"] == "10")
        // The same history again, in other batches, and on.
        for _ in 0..<4 {
            follower.take(rows.claim("r", slice: 0, packets: 2, fen: 20))
            usleep(5_000)
            #expect(try connection.hash("downpour:rain:r")["granted"] == "10")
        }
        follower.take(rows.claim("r", slice: 0, packets: 4, fen: 40))
        try awaitRain(rows, "r", connection)
        #expect(try connection.hash("downpour:rain:r")["granted"] == "12")
        try eventually("nobody is ahead") { follower.status.ahead == 0 }
        #expect(follower.stop())
    }

    @Test("with more than it may hold, it forgets and reads the store")
    func forgets() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let rows = MemoryRows()
        var settings = quickSettings()
        settings.waitingRows = 10
        let follower = RedisFollower(
            try server.address, settings: settings, openSource: { rows.source() })
        follower.take(rows.create("r", .rain, units: 1_000, amountFen: 1 << 40, slices: 4))
        for _ in 0..<50 { follower.take(rows.claim("r", slice: 3, packets: 1, fen: 1)) }
        #expect(follower.status.lagEntries == 54)
        follower.start()
        try awaitRain(rows, "r", connection)
        try eventually("it has read the store") { follower.status.rebuiltShards >= 1 }
        #expect(follower.stop())
    }

    @Test("a full Redis loses nothing: it goes on once there is room")
    func survivesFullMemory() throws {
        let server = try RedisServer("--maxmemory-policy", "noeviction")
        let connection = try server.connect()
        let rows = MemoryRows()
        let follower = try server.follow(rows)
        follower.take(rows.create("r", .rain, units: 1_000, amountFen: 1 << 40, slices: 4))
        try awaitRain(rows, "r", connection)
        try connection.call("CONFIG", "SET", "maxmemory", "1")
        for slice in 0..<UInt32(4) {
            follower.take(rows.claim("r", slice: slice, packets: 3, fen: 7))
        }
        try eventually("it says so") {
            follower.status.state == .failing
                && follower.status.lastError?.contains("no memory") == true
        }
        #expect(follower.status.lagEntries > 0)
        try connection.call("CONFIG", "SET", "maxmemory", "0")
        try awaitRain(rows, "r", connection)
        try eventually("it runs") { follower.status.state == .running }
        #expect(follower.stop())
    }

    @Test("keys that somebody deleted come back whole", arguments: ["rain:r", "parts:rain:r"])
    func repairs(_ key: String) throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let rows = MemoryRows()
        let follower = try server.follow(rows)
        follower.take(rows.create("r", .rain, units: 1_000, amountFen: 1 << 40, slices: 8))
        for slice in 0..<UInt32(8) {
            follower.take(rows.claim("r", slice: slice, packets: 5, fen: 55))
        }
        try awaitRain(rows, "r", connection)
        for _ in 0..<3 {
            try connection.call("DEL", "downpour:" + key)
            follower.take(rows.claim("r", slice: 5, packets: 1, fen: 9))
            try awaitRain(rows, "r", connection)
        }
        #expect(follower.stop())
    }

    @Test(
        "several nodes, each with shards of its own, one of which dies",
        arguments: [31, 32] as [UInt64])
    func severalNodes(_ seed: UInt64) throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let rows = MemoryRows()
        var random = SplitMix(seed: seed)
        var nodes = try (0..<3).map { _ in try server.follow(rows) }
        nodes[0].take(rows.create("r", .rain, units: 1 << 20, amountFen: 1 << 40, slices: 12))
        nodes[0].take(rows.create("s", .stock, units: 1 << 20, amountFen: 5, slices: 12))
        for step in 0..<3_000 {
            let slice = UInt32(random.below(12))
            let node = nodes[Int(slice) % nodes.count]
            if random.chance(50) {
                node.take(rows.claim("r", slice: slice, packets: 1, fen: 3))
            } else {
                node.take(rows.reserve("s", slice: slice))
            }
            if step == 1_500 {
                // Its shards go to others; what it had not sent is lost with it.
                _ = nodes.removeLast().stop(withinMs: 0)
            }
            if random.chance(5) { usleep(200) }
        }
        try awaitRain(rows, "r", connection)
        try eventually("all events") {
            try connection.integer("XLEN", RedisKeys.events) >= Int64(rows.eventIDs.count)
        }
        let ids = try connection.stream(RedisKeys.events).compactMap { $0["id"] }
        #expect(ids.sorted() == rows.eventIDs.sorted(), "seed \(seed)")
        #expect(
            try connection.hash("downpour:stock:s")["pending"] == "\(rows.eventIDs.count)")
        for node in nodes { #expect(node.stop()) }
    }

    @Test("a Redis that stands still holds nobody up, and is caught up with")
    func standsStill() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let rows = MemoryRows()
        var address = try server.address
        address.timeoutMs = 300
        let told = Mutex<[String?]>([])
        var settings = quickSettings()
        settings.report = { text in told.withLock { $0.append(text) } }
        let follower = RedisFollower(
            address, settings: settings, openSource: { rows.source() })
        follower.start()
        follower.take(rows.create("r", .rain, units: 1_000, amountFen: 1 << 40, slices: 2))
        try awaitRain(rows, "r", connection)
        server.signal(SIGSTOP)
        let began = Date()
        for _ in 0..<500 { follower.take(rows.claim("r", slice: 1, packets: 1, fen: 2)) }
        #expect(Date().timeIntervalSince(began) < 0.2)
        try eventually("it is seen") { follower.status.state == .failing }
        #expect(follower.status.lagEntries > 0)
        try eventually("a lag") { follower.status.lagMs > 0 }
        server.signal(SIGCONT)
        try awaitRain(rows, "r", connection)
        try eventually("no lag") { follower.status.lagEntries == 0 && follower.status.lagMs == 0 }
        try eventually("both were told") {
            told.withLock { $0.first??.contains("300 ms") == true && $0.last == .some(nil) }
        }
        server.signal(SIGSTOP)
        follower.take(rows.claim("r", slice: 1, packets: 1, fen: 2))
        let stopping = Date()
        #expect(!follower.stop(withinMs: 100))
        #expect(Date().timeIntervalSince(stopping) < 3)
        server.signal(SIGCONT)
    }
}
