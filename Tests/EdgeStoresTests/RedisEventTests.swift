import EdgeLedger
import EdgeReconciler
import EdgeStores
import EdgeTypes
import Foundation
import Glibc
import StoresTestSupport
import Testing

@Suite("Events in Redis")
struct RedisEventTests {
    private func ids(_ connection: RedisConnection) throws -> [String] {
        try connection.stream(RedisKeys.events).compactMap { $0["id"] }
    }

    @Test("a CloudEvent says what the outbox says")
    func cloudEvent() throws {
        let row = EventRow(
            id: EntryID.of(shard: 12, sequence: 345), type: "order.paid", subject: #"a"b\c"#,
            timeMs: 1_709_210_096_007, data: #"{"fen":5}"#)
        let parsed =
            try JSONSerialization.jsonObject(with: Data(CloudEvent.json(row).utf8))
            as? [String: Any]
        #expect(parsed?["specversion"] as? String == "1.0")
        #expect(parsed?["id"] as? String == "12-345")
        #expect(parsed?["source"] as? String == "/downpour")
        #expect(parsed?["type"] as? String == "order.paid")
        #expect(parsed?["subject"] as? String == #"a"b\c"#)
        #expect(parsed?["time"] as? String == "2024-02-29T12:34:56.007Z")
        #expect(parsed?["datacontenttype"] as? String == "application/json")
        #expect((parsed?["data"] as? [String: Any])?["fen"] as? Int == 5)
        #expect(CloudEvent.time(0) == "1970-01-01T00:00:00.000Z")
        #expect(CloudEvent.time(4_102_444_799_999) == "2099-12-31T23:59:59.999Z")
    }

    @Test(
        "each event once, in order within its shard, whenever the connection breaks",
        .timeLimit(.minutes(2)))
    func onceEach() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let rows = MemoryRows()
        let follower = try server.follow(rows)
        follower.take(rows.create("s", .stock, units: 100_000, amountFen: 9, slices: 4))
        var random = SplitMix(seed: 5)
        for _ in 0..<3_000 {
            follower.take(rows.reserve("s", slice: UInt32(random.below(4))))
            if random.chance(1) {
                try connection.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            }
            if random.chance(20) { usleep(100) }
        }
        try eventually("all are there") {
            try connection.integer("XLEN", RedisKeys.events) >= 3_000
        }
        #expect(follower.stop())
        let found = try ids(connection)
        #expect(found.count == 3_000 && Set(found) == Set(rows.eventIDs))
        for shard in 0..<4 {
            let own = found.filter { $0.hasPrefix("\(shard)-") }
            #expect(own == rows.eventIDs.filter { $0.hasPrefix("\(shard)-") })
        }
    }

    @Test("a publisher that is stopped at any point, and another one: each event once")
    func takesOver() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let rows = MemoryRows()
        _ = rows.create("s", .stock, units: 100_000, amountFen: 9, slices: 4)
        var random = SplitMix(seed: 6)
        for _ in 0..<20 {
            let follower = try server.follow(rows)
            for _ in 0..<random.below(100) {
                let changes = rows.reserve("s", slice: UInt32(random.below(4)))
                // Some changes never reach it, as when its node dies.
                if !random.chance(10) { follower.take(changes) }
            }
            usleep(UInt32(random.below(20_000)))
            _ = follower.stop(withinMs: 0)
        }
        let last = try server.follow(rows)
        try eventually("all are there") { try ids(connection).count >= rows.eventIDs.count }
        try eventually("nothing is left") { last.status.publishing == 0 }
        #expect(last.stop())
        #expect(try ids(connection).sorted() == rows.eventIDs.sorted())
    }

    @Test("after FLUSHALL what the outbox holds is there again under the same ids")
    func survivesFlush() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let rows = MemoryRows()
        let follower = try server.follow(rows)
        follower.take(rows.create("s", .stock, units: 100_000, amountFen: 9, slices: 2))
        for index in 0..<1_300 { follower.take(rows.reserve("s", slice: UInt32(index % 2))) }
        try eventually("all") { try ids(connection).count == 1_300 }
        try connection.call("FLUSHALL")
        try eventually("all again") { try ids(connection).count == 1_300 }
        #expect(try Set(ids(connection)) == Set(rows.eventIDs))
        #expect(follower.stop())
    }

    @Test("a stream at its limit takes no more, and what waits comes once there is room")
    func respectsLimit() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let rows = MemoryRows()
        var settings = quickSettings()
        settings.streamLimit = 100
        let follower = try server.follow(rows, settings)
        follower.take(rows.create("s", .stock, units: 100_000, amountFen: 9, slices: 2))
        for index in 0..<250 { follower.take(rows.reserve("s", slice: UInt32(index % 2))) }
        let all = rows.eventIDs
        try eventually("it is full") { follower.status.streamIsFull }
        usleep(100_000)
        #expect(try ids(connection).count == 100)
        #expect(follower.status.state == .running)
        try connection.call("XGROUP", "CREATE", RedisKeys.events, "g", "0")
        var taken: [String] = []
        try eventually("all came through") {
            let read = try connection.call(
                "XREADGROUP", "GROUP", "g", "c", "COUNT", "40", "STREAMS", RedisKeys.events, ">"
            ).array
            for entry in read.first?.array[1].array ?? [] {
                taken.append(entry.array[1].pairs["id"]?.text ?? "")
                try connection.call("XACK", RedisKeys.events, "g", entry.array[0].text ?? "")
            }
            return taken.count >= 250
        }
        #expect(taken.sorted() == all.sorted())
        #expect(follower.stop())
    }

    /// What a consumer reads and does not acknowledge.
    private func read(
        _ connection: RedisConnection, _ group: String, count: Int = 100
    ) throws -> [(entry: String, id: String)] {
        let read = try connection.call(
            "XREADGROUP", "GROUP", group, "c", "COUNT", "\(count)", "STREAMS", RedisKeys.events, ">"
        ).array
        return (read.first?.array[1].array ?? []).map { entry in
            (entry.array[0].text ?? "", entry.array[1].pairs["id"]?.text ?? "")
        }
    }

    @Test(
        "a poison event is a dead letter after three tries, with its reason; replay brings it back",
        arguments: [false, true])
    func buriesAndReplays(isGreedy: Bool) throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let rows = MemoryRows()
        let follower = try server.follow(rows)
        follower.take(rows.create("s", .stock, units: 100, amountFen: 9, slices: 1))
        for _ in 0..<3 { follower.take(rows.reserve("s", slice: 0)) }
        try eventually("three") { try ids(connection).count == 3 }
        try connection.call("XGROUP", "CREATE", RedisKeys.events, "g", "0")
        let first = try read(connection, "g")
        #expect(first.map(\.id) == rows.eventIDs)
        let poison = first[1]
        for other in [first[0], first[2]] {
            try connection.call("XACK", RedisKeys.events, "g", other.entry)
        }
        try connection.call("HSET", RedisKeys.reasons, "g:\(poison.id)", "no such user")
        var tries = 1
        try eventually("it is dead") {
            if try connection.integer("XLEN", RedisKeys.dead) == 1 { return true }
            // A consumer knows when to leave it; a greedy one does not.
            guard tries < 3 || isGreedy else { return false }
            let claimed = try connection.call(
                "XAUTOCLAIM", RedisKeys.events, "g", "c",
                "\(quickSettings().retries.idleMs(deliveries: tries))", "0"
            ).array
            if !claimed[1].array.isEmpty { tries += 1 }
            return false
        }
        #expect(isGreedy ? tries >= 3 : tries == 3)
        let letters = try DeadLetters.list(connection)
        #expect(letters.map(\.id) == [poison.id])
        #expect(letters[0].group == "g" && letters[0].deliveries == tries)
        #expect(letters[0].reason == "no such user" && letters[0].event.contains(poison.id))
        #expect(try connection.integer("HLEN", RedisKeys.reasons) == 0)
        #expect(try connection.call("XPENDING", RedisKeys.events, "g").array[0].integer == 0)
        try eventually("it is counted") { follower.status.deadLetters == 1 }

        let again = try DeadLetters.replay(connection, letters)
        #expect(again == 1)
        #expect(try DeadLetters.replay(connection, letters) == 0)
        #expect(try connection.integer("XLEN", RedisKeys.dead) == 0)
        let second = try read(connection, "g")
        #expect(second.map(\.id) == [poison.id])
        try connection.call("XACK", RedisKeys.events, "g", second[0].entry)
        try eventually("all is acknowledged and trimmed") {
            try connection.integer("XLEN", RedisKeys.events) == 0
        }
        #expect(follower.stop())
    }

    @Test("what is a dead letter, or waits again, stays in the outbox, and outlives what Redis has")
    func keepsTheDead() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let rows = MemoryRows()
        let follower = try server.follow(rows)
        follower.take(rows.create("s", .stock, units: 100, amountFen: 9, slices: 1))
        for _ in 0..<5 { follower.take(rows.reserve("s", slice: 0)) }
        try eventually("five") { try ids(connection).count == 5 }
        let all = rows.eventIDs
        func buries(_ places: Set<Int>) throws {
            try connection.call("XGROUP", "CREATE", RedisKeys.events, "g", "0")
            for (index, entry) in try read(connection, "g").enumerated()
            where !places.contains(index) {
                try connection.call("XACK", RedisKeys.events, "g", entry.entry)
            }
            try eventually("\(places.count) are dead") {
                if try connection.integer("XLEN", RedisKeys.dead) == places.count { return true }
                try connection.call("XAUTOCLAIM", RedisKeys.events, "g", "c", "20", "0")
                return false
            }
        }
        try buries([1, 3])
        // These events are of 1970: older than any retention.
        try eventually("the others have left the outbox") { rows.eventIDs == [all[1], all[3]] }
        try connection.call("FLUSHALL")
        try eventually("they are back") { try ids(connection) == [all[1], all[3]] }
        try buries([0, 1])
        #expect(try DeadLetters.replay(connection, try DeadLetters.list(connection)) == 2)
        let again = try read(connection, "g")
        #expect(again.map(\.id) == [all[1], all[3]])
        try connection.call("XACK", RedisKeys.events, "g", again[0].entry)
        try eventually("the one that is taken goes") { rows.eventIDs == [all[3]] }
        #expect(try connection.hash(RedisKeys.kept) == [all[3]: "1"])
        usleep(200_000)
        #expect(rows.eventIDs == [all[3]])
        try connection.call("XACK", RedisKeys.events, "g", again[1].entry)
        try eventually("and the other") { rows.eventIDs.isEmpty }
        #expect(try connection.integer("EXISTS", RedisKeys.kept) == 0)
        #expect(follower.stop())
    }

    @Test("many janitors bury an entry once, and none takes one that is being tried")
    func buriesOnce() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        var rules = RetryRules()
        rules.deliveries = 2
        rules.firstMs = 50
        for index in 0..<50 {
            try connection.call("XADD", RedisKeys.events, "*", "id", "0-\(index)", "event", "{}")
        }
        try connection.call("XGROUP", "CREATE", RedisKeys.events, "g", "0")
        _ = try read(connection, "g")
        #expect(try DeadLetters.sweep(connection, rules, limit: 1_000) == 0)
        usleep(60_000)
        // Delivered once, idle: its consumers try again, nobody else.
        #expect(try DeadLetters.sweep(connection, rules, limit: 1_000) == 0)
        try connection.call("XAUTOCLAIM", RedisKeys.events, "g", "c", "50", "0")
        #expect(try DeadLetters.sweep(connection, rules, limit: 1_000) == 0)
        usleep(110_000)
        #expect(try DeadLetters.sweep(connection, rules, limit: 20) == 20)
        let threads = try (0..<4).map { _ in
            let other = try server.connect()
            return Sweeper(other, rules)
        }
        for thread in threads { thread.start() }
        for thread in threads { thread.join() }
        #expect(try connection.integer("XLEN", RedisKeys.dead) == 50)
        #expect(Set(try DeadLetters.list(connection).map(\.id)).count == 50)
    }

    /// SAFETY: its connection is used by its thread alone, `done` after the semaphore.
    private final class Sweeper: @unchecked Sendable {
        private let connection: RedisConnection
        private let rules: RetryRules
        private let done = DispatchSemaphore(value: 0)

        init(_ connection: RedisConnection, _ rules: RetryRules) {
            self.connection = connection
            self.rules = rules
        }

        func start() {
            Thread { [self] in
                _ = try? DeadLetters.sweep(connection, rules, limit: 1_000)
                done.signal()
            }.start()
        }

        func join() { done.wait() }
    }

    @Test("only what every group has acknowledged goes, and the outbox keeps what is young")
    func trims() throws {
        let server = try RedisServer()
        let connection = try server.connect()
        let rows = MemoryRows()
        var settings = quickSettings()
        settings.retries.firstMs = 60_000
        let follower = try server.follow(rows, settings)
        follower.take(rows.create("s", .stock, units: 100, amountFen: 9, slices: 1))
        for _ in 0..<10 { follower.take(rows.reserve("s", slice: 0)) }
        try eventually("ten") { try ids(connection).count == 10 }
        let all = rows.eventIDs
        usleep(100_000)
        #expect(try ids(connection).count == 10, "without a group nothing goes")
        for group in ["fast", "slow"] {
            try connection.call("XGROUP", "CREATE", RedisKeys.events, group, "0")
        }
        for entry in try read(connection, "fast") {
            try connection.call("XACK", RedisKeys.events, "fast", entry.entry)
        }
        usleep(100_000)
        #expect(try ids(connection).count == 10, "the slow one has read nothing")
        let slow = try read(connection, "slow", count: 6)
        for index in [0, 1, 2, 4, 5] {
            try connection.call("XACK", RedisKeys.events, "slow", slow[index].entry)
        }
        try eventually("three went") { try ids(connection) == Array(all.dropFirst(3)) }
        usleep(100_000)
        #expect(try ids(connection).count == 7, "the fourth is pending")
        try connection.call("XACK", RedisKeys.events, "slow", slow[3].entry)
        try eventually("six went") { try ids(connection) == Array(all.dropFirst(6)) }
        #expect(try connection.hash(RedisKeys.trimmed)["0"] == "7")
        // These events are of 1970: older than any retention.
        try eventually("the outbox too") { rows.eventIDs.count == 4 }
        #expect(follower.stop())

        let young = MemoryRows()
        settings.retentionMs = Int64(Date().timeIntervalSince1970 * 1_000) + 1_000
        _ = young.create("s", .stock, units: 100, amountFen: 9, slices: 1)
        for _ in 0..<10 { _ = young.reserve("s", slice: 0) }
        let keeper = try server.follow(young, settings)
        usleep(200_000)
        #expect(young.eventIDs.count == 10)
        #expect(keeper.stop())
    }
}
