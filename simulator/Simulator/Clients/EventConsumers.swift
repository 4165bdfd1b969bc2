import EdgeReconciler
import EdgeTypes

/// Who reads the events of a Redis: two groups that go by the documented protocol, and an operator
/// who replays dead letters.
///
/// Some events fail several times, more often than there are deliveries; some consumers die between
/// their work and its acknowledgement. What they have done survives them.
final class EventConsumers {
    static let groups = ["billing", "search"]

    let redis: RedisModel
    private unowned let world: World
    private var link: (any RedisLink)?
    /// By group and event: how often it came.
    private var attempts = SortedTable<String, UInt64>()
    /// By group and event: what was done.
    private var done = SortedTable<String, Bool>()
    private let rules = RetryRules()

    init(_ redis: RedisModel, world: World) {
        self.redis = redis
        self.world = world
    }

    func start() { schedule() }

    private func schedule() {
        let afterNs = 100_000_000 + redis.draw(below: 300_000_000)
        world.schedule(world.nowNs + afterNs, .consume(server: redis.index))
    }

    func hasDone(_ group: String, _ event: String) -> Bool { done["\(group) \(event)"] ?? false }

    /// Everything in the stream was done, and nothing is dead.
    var isIdle: Bool {
        let stream = redis.keyspace.events
        let isRead = Self.groups.allSatisfy { name in
            guard let group = stream.groups[name] else { return false }
            return group.pending.isEmpty
                && stream.range(from: group.lastDelivered, isAfter: true, count: 1).isEmpty
        }
        return isRead && redis.keyspace.dead.entries.isEmpty
    }

    func turn() {
        schedule()
        work()
        if world.nowNs > world.scenario.faultsEndNs || redis.chance(5) { replay() }
    }

    /// Each group looks after what failed, and reads on.
    func work() {
        guard !redis.faults.isDown else { return link = nil }
        makeGroups()
        for group in Self.groups {
            do throws(RedisError) {
                let link = try connected()
                try retry(link, group)
                let answer = try link.call(
                    "XREADGROUP", "GROUP", group, "one", "COUNT", "8", "STREAMS",
                    RedisKeys.events, ">")
                for entry in answer.array.first?.array.last?.array ?? [] {
                    try take(link, group, entry)
                }
            } catch {
                link = nil
            }
        }
    }

    private func connected() throws(RedisError) -> any RedisLink {
        if let link { return link }
        let made = try redis.connect()
        link = made
        return made
    }

    /// All groups that there are to be, in one transaction: what is trimmed in between would be
    /// missed by the others.
    private func makeGroups() {
        for group in Self.groups where redis.keyspace.events.groups[group] == nil {
            redis.execute(
                RedisWork(
                    script: nil,
                    words: ["XGROUP", "CREATE", RedisKeys.events, group, "0", "MKSTREAM"]))
        }
    }

    /// Claims what has waited long enough: the more often it was tried, the longer.
    private func retry(_ link: any RedisLink, _ group: String) throws(RedisError) {
        let pending = try link.call(
            "XPENDING", RedisKeys.events, group, "IDLE", "\(rules.firstMs)", "-", "+", "100")
        let tried = pending.array.compactMap { $0.array.last?.integer }.filter {
            $0 < Int64(rules.deliveries)
        }
        guard let most = tried.max() else { return }
        let claimed = try link.call(
            "XAUTOCLAIM", RedisKeys.events, group, "two",
            "\(rules.idleMs(deliveries: Int(most)))", "0-0", "COUNT", "32")
        for entry in claimed.array.dropFirst().first?.array ?? [] { try take(link, group, entry) }
    }

    private func take(
        _ link: any RedisLink, _ group: String, _ entry: RedisValue
    ) throws(RedisError) {
        guard entry.array.count == 2, let place = entry.array[0].text else { return }
        let event = entry.array[1].pairs["id"]?.text ?? ""
        let key = "\(group) \(event)"
        let count = attempts[key] ?? 0
        attempts[key] = count + 1
        if count < failures(key), done[key] == nil {
            try link.call("HSET", RedisKeys.reasons, "\(group):\(event)", "attempt \(count)")
            return
        }
        if done[key] == nil {
            done[key] = true
            world.progressed(1)
        }
        // It dies with its work done and not acknowledged.
        if redis.chance(5) { return }
        try link.call("XACK", RedisKeys.events, group, place)
        try link.call("HDEL", RedisKeys.reasons, "\(group):\(event)")
    }

    /// How often an event fails at first: the same for whoever asks.
    private func failures(_ key: String) -> UInt64 {
        let word = key.unicodeScalars.reduce(UInt64(redis.index)) { $0 &* 31 &+ UInt64($1.value) }
        guard world.random.happens(0.2, .redis, word | (1 << 63)) else { return 0 }
        return 1 + world.random.below(5, .redis, word | (1 << 63), 1)
    }

    /// An operator puts dead letters back.
    private func replay() {
        do throws(RedisError) {
            let link = try connected()
            let letters = try DeadLetters.list(link, limit: 3)
            guard !letters.isEmpty else { return }
            let replayed = try DeadLetters.replay(link, letters)
            if replayed > 0 { world.probe(.eventReplayed) }
        } catch {
            link = nil
        }
    }
}

extension EventConsumers: CustomStringConvertible {
    var description: String {
        let stream = redis.keyspace.events
        return "\(stream.entries.count) in the stream, "
            + "\(redis.keyspace.dead.entries.count) dead, pending "
            + stream.groups.elements.map { "\($0.key) \($0.value.pending.count)" }
            .joined(separator: ", ")
    }
}
