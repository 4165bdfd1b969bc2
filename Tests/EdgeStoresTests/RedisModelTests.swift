import EdgeReconciler
import EdgeStores
import Simulator
import StoresTestSupport
import Testing

/// What the simulator takes for a Redis is one: the same commands and scripts, at random, on both.
@Suite("The simulator's Redis and a redis-server")
struct RedisModelTests {
    /// Both of them. Ids of a stream's entries are the servers' own: entries are named by where they
    /// are.
    private struct Pair {
        let real: RedisConnection
        var model = RedisKeyspace()
        var nowMs: Int64 = 1_000_000

        mutating func command(_ words: String...) throws -> (real: RedisValue, model: RedisValue) {
            var command = RedisCommand()
            for word in words { command.append(word) }
            nowMs += 1
            return (try real.send([command])[0], model.execute(words, nowMs: nowMs))
        }

        mutating func run(
            _ script: RedisScript, _ arguments: [String], model other: [String]? = nil
        ) throws -> (real: RedisValue, model: RedisValue) {
            var command = RedisCommand()
            for word in arguments { command.append(word) }
            nowMs += 1
            return (
                try real.run(script, command),
                model.run(script, other ?? arguments, nowMs: nowMs)
            )
        }

        /// Ids of a stream's entries, in order.
        func ids(_ stream: String) throws -> (real: [String], model: [String]) {
            let found = try real.call("XRANGE", stream, "-", "+").array
            return (
                found.compactMap { $0.array.first?.text },
                (model.streams[stream]?.entries ?? []).map(\.id.description)
            )
        }

        // MARK: Comparison

        func compare(_ seed: UInt64) throws {
            let keys = try real.call("KEYS", "*").array.compactMap(\.text).sorted()
            let known =
                model.hashes.elements.map(\.key) + model.streams.elements.map(\.key)
                + model.strings.elements.map(\.key) + model.sortedSets.elements.map(\.key)
            try #require(keys == known.sorted(), "seed \(seed)")
            for hash in model.hashes.elements {
                let found = try real.call("HGETALL", hash.key).pairs.mapValues { $0.text ?? "" }
                let expected = Dictionary(
                    uniqueKeysWithValues: hash.value.elements.map { ($0.key, $0.value) })
                try #require(found == expected, "seed \(seed), \(hash.key)")
            }
            for stream in model.streams.elements { try compare(stream.key, stream.value, seed) }
            for set in model.sortedSets.elements {
                let found = try real.call("ZRANGE", set.key, "0", "-1").array.compactMap(\.text)
                try #require(found.sorted() == set.value.elements.map(\.key), "seed \(seed)")
            }
        }

        private func compare(_ key: String, _ stream: RedisStream, _ seed: UInt64) throws {
            var found = try real.call("XRANGE", key, "-", "+").array.map { entry in
                Self.lasting(entry.array[1].pairs.mapValues { $0.text ?? "" })
            }
            var expected = stream.entries.map { entry in
                Self.lasting(
                    Dictionary(
                        uniqueKeysWithValues: stride(from: 0, to: entry.fields.count, by: 2).map {
                            (entry.fields[$0], entry.fields[$0 + 1])
                        }))
            }
            // What is due in one millisecond has another order than what is due in two.
            if key == RedisKeys.invalidations {
                found.sort()
                expected.sort()
            }
            try #require(found == expected, "seed \(seed), \(key)")
            let ids = try ids(key)
            for group in stream.groups.elements {
                let pending = try real.call("XPENDING", key, group.key, "-", "+", "1000").array
                    .map { one in (one.array[0].text ?? "", one.array[3].integer ?? 0) }
                let place = Dictionary(
                    uniqueKeysWithValues: ids.real.enumerated().map { ($1, $0) })
                let modelled = Dictionary(
                    uniqueKeysWithValues: ids.model.enumerated().map { ($1, $0) })
                let wanted = group.value.pending.elements.map { one in
                    [modelled[one.key.description] ?? -1, one.value.deliveries]
                }
                try #require(
                    pending.map { [place[$0.0] ?? -1, Int($0.1)] } == wanted,
                    "seed \(seed), \(key), \(group.key)")
            }
        }

        /// Clocks are not the same, and a hash's fields have no order.
        private static func lasting(_ fields: [String: String]) -> String {
            fields.filter { $0.key != "time" }.map { name, value in
                name + "=" + value.split(separator: " ").sorted().joined(separator: " ")
            }.sorted().joined(separator: ", ")
        }
    }

    @Test(
        "the same commands and scripts leave the same behind",
        arguments: 1...8 as ClosedRange<UInt64>)
    func agrees(_ seed: UInt64) throws {
        let server = try RedisServer()
        var pair = Pair(real: try server.connect())
        var random = SplitMix(seed: seed)
        for step in 0..<400 {
            let answers = try act(&pair, &random)
            try #require(answers.real == answers.model, "seed \(seed), step \(step)")
            if step % 10 == 0 { try pair.compare(seed) }
        }
        try pair.compare(seed)
        #expect(!pair.model.hashes.isEmpty && pair.model.streams.count >= 2)
    }

    // MARK: What is done

    private func act(
        _ pair: inout Pair, _ random: inout SplitMix
    ) throws -> (real: RedisValue, model: RedisValue) {
        switch random.below(22) {
        case 0...6: return try pair.run(.mirror, mirror(&random))
        case 7...9: return try pair.run(.publish, publish(&random))
        case 10:
            return try pair.command(
                "XGROUP", "CREATE", RedisKeys.events, "g\(random.below(2))",
                random.chance(50) ? "0" : "$", "MKSTREAM")
        case 11, 12: return try read(&pair, &random, "XREADGROUP")
        case 13: return try read(&pair, &random, "XAUTOCLAIM")
        case 14, 15: return try acknowledge(&pair, &random)
        case 16: return try pair.run(.trim, ["\(1 + random.below(20))"])
        case 17: return try bury(&pair, &random)
        case 18: return try revive(&pair, &random)
        case 19: return try pair.run(.invalidate, invalidate(&random))
        case 20:
            return try pair.run(.invalidate, ["100000", "600000", "0", "2", "500"])
        default:
            if random.chance(80) {
                return try pair.command(
                    "HSET", RedisKeys.reasons, "g\(random.below(2)):\(random.below(4))-7", "why")
            }
            let parts = random.chance(50) ? "parts:" : ""
            return try pair.command("DEL", "downpour:\(parts)" + pool(&random))
        }
    }

    private func pool(_ random: inout SplitMix) -> String {
        ["rain:a", "rain:b", "stock:a", "stock:b"][random.below(4)]
    }

    private func mark(_ random: inout SplitMix) -> (epoch: String, sequence: String) {
        ("\(1 + random.below(3))", "\(random.below(60))")
    }

    private func mirror(_ random: inout SplitMix) -> [String] {
        let pools = random.below(3)
        var words = ["\(pools)"]
        for _ in 0..<pools {
            let flags = (0..<3).map { _ in random.chance(20) ? "1" : "0" }
            words += ["downpour:" + pool(&random), "100", "5000", "4", "\(random.below(9))"]
            words += ["\(random.below(5))", "\(random.below(5))", "2", flags[0], flags[1]]
            words += ["\(random.below(2) * 77)", flags[2], "99", "\(100 + random.below(50))"]
        }
        let shards = 1 + random.below(3)
        words.append("\(shards)")
        for _ in 0..<shards {
            let (from, to) = (mark(&random), mark(&random))
            let isWhole = random.chance(50)
            let rows = random.below(4)
            words += ["\(random.below(4))", isWhole ? "*" : from.epoch + "-" + from.sequence]
            words += [
                to.epoch, to.sequence,
                isWhole && random.chance(50) ? "" : "\(to.epoch)-\(to.sequence)",
            ]
            words.append("\(rows)")
            for _ in 0..<rows {
                let name = pool(&random)
                words += ["downpour:" + name, "\(random.below(4))", "\(random.below(50))"]
                // Fen beyond what Lua's numbers hold exactly, now and then.
                let isLong = name.hasPrefix("rain") && random.chance(20)
                words.append(
                    isLong
                        ? "90071992547409\(10 + random.below(89))7" : "\(random.below(999))")
                words += ["\(random.below(9))", "\(random.below(9))"]
            }
        }
        return words
    }

    private func publish(_ random: inout SplitMix) -> [String] {
        let runs = 1 + random.below(3)
        var words = ["\(30 + random.below(20))", "\(runs)"]
        for _ in 0..<runs {
            let shard = random.below(4)
            let from = random.below(40)
            let events = random.below(4)
            words += ["\(shard)", "\(from)", "\(from + 10)", "\(events)"]
            for event in 0..<events {
                let sequence = from + 1 + 3 * event
                words += ["\(sequence)", "\(shard)-\(sequence)", "{\"n\":\(sequence)}"]
            }
        }
        return words
    }

    private func read(
        _ pair: inout Pair, _ random: inout SplitMix, _ how: String
    ) throws -> (real: RedisValue, model: RedisValue) {
        let group = "g\(random.below(2))"
        let answers =
            how == "XREADGROUP"
            ? try pair.command(
                how, "GROUP", group, "one", "COUNT", "\(1 + random.below(8))", "STREAMS",
                RedisKeys.events, ">")
            : try pair.command(
                how, RedisKeys.events, group, "two", "0", "0-0", "COUNT", "1000")
        // What was read shows in what is pending.
        return (Self.outcome(answers.real), Self.outcome(answers.model))
    }

    /// Whether there was an answer, and which error: ids differ.
    private static func outcome(_ answer: RedisValue) -> RedisValue {
        if case .error(let text) = answer { return .text(String(text.prefix(7))) }
        return .integer(answer == .null ? 0 : 1)
    }

    private func acknowledge(
        _ pair: inout Pair, _ random: inout SplitMix
    ) throws -> (real: RedisValue, model: RedisValue) {
        let ids = try pair.ids(RedisKeys.events)
        guard !ids.real.isEmpty, ids.real.count == ids.model.count else {
            return (.null, .null)
        }
        let place = random.below(ids.real.count)
        let group = "g\(random.below(2))"
        pair.nowMs += 1
        return (
            try pair.real.call("XACK", RedisKeys.events, group, ids.real[place]),
            pair.model.execute(
                ["XACK", RedisKeys.events, group, ids.model[place]], nowMs: pair.nowMs)
        )
    }

    private func bury(
        _ pair: inout Pair, _ random: inout SplitMix
    ) throws -> (real: RedisValue, model: RedisValue) {
        let ids = try pair.ids(RedisKeys.events)
        let group = "g\(random.below(2))"
        guard pair.model.events.groups[group] != nil, !ids.real.isEmpty else {
            return (.null, .null)
        }
        // At once, or never.
        let waitMs = random.chance(80) ? "0" : "1000000000"
        let head = [group, "\(3 + random.below(9))", "\(1 + random.below(3))", waitMs, waitMs]
        let places = (0..<3).map { _ in random.below(ids.real.count) }
        return try pair.run(
            .bury, head + places.map { ids.real[$0] }, model: head + places.map { ids.model[$0] })
    }

    private func revive(
        _ pair: inout Pair, _ random: inout SplitMix
    ) throws -> (real: RedisValue, model: RedisValue) {
        let ids = try pair.ids(RedisKeys.dead)
        guard !ids.real.isEmpty else { return (.null, .null) }
        let place = random.below(ids.real.count)
        return try pair.run(
            .revive, [ids.real[place], "1-1"], model: [ids.model[place], "1-1"])
    }

    private func invalidate(_ random: inout SplitMix) -> [String] {
        var words = ["100000", "600000", "1", "stock", "cache:{id}:x", "1"]
        // Due at once, and in an order that clocks do not change: or never.
        words.append(random.chance(30) ? "0" : "100000000")
        words.append("1")
        let (version, key) = (mark(&random), random.chance(70) ? pool(&random) : "shard:3")
        return words + [key, "1", "\(random.below(3))", version.epoch, version.sequence]
    }
}
