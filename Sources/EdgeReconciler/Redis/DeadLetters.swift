import EdgeTypes

/// When an event that a consumer does not acknowledge is tried again, and when no more.
public struct RetryRules: Hashable, Sendable {
    /// Deliveries in all before it is a dead letter.
    public var deliveries = 3
    /// An event that was delivered n times is due again once it has been idle for
    /// min(`longestMs`, `firstMs` × 2^(n−1)): what consumers give XAUTOCLAIM as min-idle. Due after its
    /// last delivery, it becomes a dead letter; delivered once more all the same, after `firstMs`.
    public var firstMs = 1_000
    public var longestMs = 60_000

    public init() {}

    public static let mostDeliveries = 16

    /// - Parameter deliveries: so far.
    public func idleMs(deliveries: Int) -> Int {
        min(longestMs, firstMs << min(max(deliveries, 1) - 1, 16))
    }

    /// Whether it is a dead letter.
    package func isDead(deliveries: Int, idleMs: Int64) -> Bool {
        if deliveries > self.deliveries { return idleMs >= Int64(firstMs) }
        return deliveries == self.deliveries
            && idleMs >= Int64(self.idleMs(deliveries: deliveries))
    }
}

/// An event that a group could not take.
public struct DeadLetter: Hashable, Sendable {
    /// Of its entry in `downpour:dead`.
    public var entry: String
    public var id: String
    public var group: String
    public var deliveries: Int
    public var reason: String
    public var timeMs: UnixMs
    /// CloudEvents 1.0 JSON.
    public var event: String
}

/// Events that were tried too often, in the stream `downpour:dead`.
public enum DeadLetters {
    /// Moves what is due, of every group. Any number of nodes may do so: what becomes of an entry is
    /// decided and done in one script, once.
    ///
    /// - Parameter limit: with so many dead letters, entries stay pending.
    /// - Returns: how many were moved.
    package static func sweep(
        _ connection: any RedisLink, _ rules: RetryRules, limit: Int
    ) throws(RedisError) -> Int {
        let answer = try connection.send([RedisCommand("XINFO", "GROUPS", RedisKeys.events)])[0]
        if case .error(let text) = answer {
            // Nothing was published yet, or all of it was deleted.
            guard !text.hasPrefix("ERR no such key") else { return 0 }
            throw RedisError(answer: text)
        }
        var moved = 0
        for group in answer.array {
            guard let name = group.pairs["name"]?.text, group.pairs["pending"]?.integer ?? 0 > 0
            else { continue }
            moved += try sweep(connection, rules, limit: limit, group: name)
        }
        return moved
    }

    private static let page = 500
    /// Of one sweep: what is beyond comes with the next.
    private static let pages = 100

    private static func sweep(
        _ connection: any RedisLink, _ rules: RetryRules, limit: Int, group: String
    ) throws(RedisError) -> Int {
        var moved = 0
        var start = "-"
        for _ in 0..<pages {
            let answer = try connection.send([
                RedisCommand(
                    "XPENDING", RedisKeys.events, group, "IDLE", "\(rules.firstMs)", start, "+",
                    "\(page)")
            ])[0]
            if case .error(let text) = answer {
                // The group has been destroyed, or everything.
                guard !text.hasPrefix("NOGROUP") else { break }
                throw RedisError(answer: text)
            }
            let pending = answer.array
            guard let last = pending.last?.array.first?.text else { break }
            var due = RedisCommand()
            for entry in pending.map(\.array) where entry.count == 4 {
                let deliveries = Int(entry[3].integer ?? 0)
                guard let id = entry[0].text,
                    rules.isDead(deliveries: deliveries, idleMs: entry[2].integer ?? 0)
                else { continue }
                due.append(id)
            }
            if due.count > 0 {
                var arguments = RedisCommand(
                    group, "\(limit)", "\(rules.deliveries)", "\(rules.firstMs)",
                    "\(rules.longestMs)")
                arguments.append(contentsOf: due)
                moved += Int(try connection.run(.bury, arguments).integer ?? 0)
            }
            guard pending.count == page else { break }
            start = "(" + last
        }
        return moved
    }

    /// What is dead, oldest first.
    package static func list(
        _ connection: any RedisLink, limit: Int = .max
    ) throws(RedisError) -> [DeadLetter] {
        var letters: [DeadLetter] = []
        var start = "-"
        while letters.count < limit {
            let found = try connection.call(
                "XRANGE", RedisKeys.dead, start, "+", "COUNT", "\(min(page, limit - letters.count))"
            ).array
            guard let last = found.last?.array.first?.text else { break }
            for entry in found.map(\.array) where entry.count == 2 {
                guard let name = entry[0].text else { continue }
                let fields = entry[1].pairs
                letters.append(
                    DeadLetter(
                        entry: name, id: fields["id"]?.text ?? "",
                        group: fields["group"]?.text ?? "",
                        deliveries: Int(fields["deliveries"]?.integer ?? 0),
                        reason: fields["reason"]?.text ?? "",
                        timeMs: fields["time"]?.integer ?? 0, event: fields["event"]?.text ?? ""))
            }
            start = "(" + last
        }
        return letters
    }

    /// Puts dead letters back into the stream, under the same event ids; those that are no longer
    /// there are passed over. Consumers of other groups see the event again, and tell it by its id.
    ///
    /// They find room where events that are new do not: a stream that is full of what waits behind
    /// events which nobody takes, and which cannot be buried as there are as many dead letters as
    /// may be, would stay so for good.
    ///
    /// - Returns: how many were put back.
    package static func replay(
        _ connection: any RedisLink, _ letters: [DeadLetter]
    ) throws(RedisError) -> Int {
        var replayed = 0
        for start in stride(from: 0, to: letters.count, by: page) {
            var arguments = RedisCommand()
            for letter in letters[start..<min(start + page, letters.count)] {
                arguments.append(letter.entry)
            }
            replayed += Int(try connection.run(.revive, arguments).integer ?? 0)
        }
        return replayed
    }

    /// What is asked before was asked of another moment: the script looks again.
    static let bury = """
        local stream = 'downpour:events'
        local group, limit, retries = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
        local first, longest = tonumber(ARGV[4]), tonumber(ARGV[5])
        local now = redis.call('TIME')
        local ms = string.format('%.0f', tonumber(now[1]) * 1000 + math.floor(now[2] / 1000))
        local room = limit - redis.call('XLEN', 'downpour:dead')
        local moved = 0
        for index = 6, #ARGV do
          if moved >= room then break end
          local id = ARGV[index]
          local pending = redis.call('XPENDING', stream, group, id, id, 1)[1]
          local wait = pending and pending[4] == retries
            and math.min(longest, first * 2 ^ (retries - 1)) or first
          if pending and pending[4] >= retries and pending[3] >= wait then
            local found = redis.call('XRANGE', stream, id, id)[1]
            if found then
              local fields = {}
              for at = 1, #found[2], 2 do fields[found[2][at]] = found[2][at + 1] end
              local name = group .. ':' .. (fields['id'] or id)
              local reason = redis.call('HGET', 'downpour:reasons', name) or ''
              redis.call('XADD', 'downpour:dead', '*', 'id', fields['id'] or id, 'event',
                fields['event'] or '', 'group', group, 'deliveries', pending[4], 'reason', reason,
                'time', ms)
              redis.call('HINCRBY', 'downpour:kept', fields['id'] or id, 1)
              redis.call('HDEL', 'downpour:reasons', name)
              moved = moved + 1
            end
            redis.call('XACK', stream, group, id)
          end
        end
        return moved
        """

    static let revive = """
        local replayed = 0
        for index = 1, #ARGV do
          local found = redis.call('XRANGE', 'downpour:dead', ARGV[index], ARGV[index])[1]
          if found then
            local fields = {}
            for at = 1, #found[2], 2 do fields[found[2][at]] = found[2][at + 1] end
            redis.call('XADD', 'downpour:events', '*', 'id', fields['id'], 'event',
              fields['event'], 'replayed-for', fields['group'])
            redis.call('XDEL', 'downpour:dead', ARGV[index])
            replayed = replayed + 1
          end
        end
        return replayed
        """
}
