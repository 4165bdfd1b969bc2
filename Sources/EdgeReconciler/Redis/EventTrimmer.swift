import EdgeTypes

/// Takes from `downpour:events` what every group has acknowledged, and nothing where there is no
/// group. Any number of nodes may do so.
///
/// How far that is of each shard lies in `downpour:trimmed`. The outbox needs to keep no more, but
/// for what is a dead letter, or was one and waits in the stream again: `downpour:kept`.
package enum EventTrimmer {
    /// - Returns: how many entries went, at most `limit`.
    package static func trim(
        _ connection: any RedisLink, limit: Int = 1_000
    ) throws(RedisError) -> Int {
        let answer = try connection.run(.trim, RedisCommand("\(limit)"))
        return Int(answer.integer ?? 0)
    }

    /// By shard, the sequence up to which all events are acknowledged.
    package static func trimmed(
        _ connection: any RedisLink
    ) throws(RedisError) -> [(shard: ShardID, sequence: UInt64)] {
        let pairs = try connection.call("HGETALL", RedisKeys.trimmed).pairs
        var found: [(shard: ShardID, sequence: UInt64)] = []
        for (name, value) in pairs {
            guard let shard = ShardID(name), Int(shard) < Limits.shards,
                let sequence = value.integer.flatMap({ UInt64(exactly: $0) })
            else { continue }
            found.append((shard, min(sequence, (1 << 48) - 1)))
        }
        return found.sorted { $0.shard < $1.shard }
    }

    /// The events that are kept though they are trimmed, in order. Read it after `trimmed`: what that
    /// passes over has been here before.
    package static func kept(
        _ connection: any RedisLink
    ) throws(RedisError) -> [(shard: ShardID, sequence: UInt64)] {
        var found: [(shard: ShardID, sequence: UInt64)] = []
        for (name, _) in try connection.call("HGETALL", RedisKeys.kept).pairs {
            let parts = name.split(separator: "-")
            guard parts.count == 2, let shard = ShardID(parts[0]), let sequence = UInt64(parts[1])
            else { continue }
            found.append((shard, sequence))
        }
        return found.sorted { ($0.shard, $0.sequence) < ($1.shard, $1.sequence) }
    }

    /// Where a group has something pending, its first pending entry stays; else what it was
    /// delivered last is the last to go.
    static let script = """
        local stream = 'downpour:events'
        if redis.call('EXISTS', stream) == 0 then return 0 end
        local function parts(id)
          local ms, number = string.match(id, '^(%d+)-(%d+)$')
          return tonumber(ms), tonumber(number)
        end
        local function after(id)
          local ms, number = string.match(id, '^(%d+)-(%d+)$')
          return ms .. '-' .. string.format('%.0f', tonumber(number) + 1)
        end
        local least = nil
        for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
          local facts = {}
          for index = 1, #group, 2 do facts[group[index]] = group[index + 1] end
          local stays
          if facts['pending'] > 0 then
            stays = redis.call('XPENDING', stream, facts['name'])[2]
          else
            stays = after(facts['last-delivered-id'])
          end
          if not least then
            least = stays
          else
            local ms, number = parts(stays)
            local leastMs, leastNumber = parts(least)
            if ms < leastMs or (ms == leastMs and number < leastNumber) then least = stays end
          end
        end
        if not least then return 0 end
        local gone = redis.call('XRANGE', stream, '-', '(' .. least, 'COUNT', ARGV[1])
        if #gone == 0 then return 0 end
        local furthest = {}
        for _, entry in ipairs(gone) do
          local fields = {}
          for index = 1, #entry[2], 2 do fields[entry[2][index]] = entry[2][index + 1] end
          local shard, sequence = string.match(fields['id'] or '', '^(%d+)-(%d+)$')
          sequence = tonumber(sequence)
          if shard and sequence > (furthest[shard] or 0) then furthest[shard] = sequence end
          if fields['replayed-for'] and redis.call('HEXISTS', 'downpour:kept', fields['id']) == 1
            and redis.call('HINCRBY', 'downpour:kept', fields['id'], -1) <= 0
          then
            redis.call('HDEL', 'downpour:kept', fields['id'])
          end
        end
        for shard, sequence in pairs(furthest) do
          local known = tonumber(redis.call('HGET', 'downpour:trimmed', shard) or '0')
          if sequence > known then
            redis.call('HSET', 'downpour:trimmed', shard, string.format('%.0f', sequence))
          end
        end
        redis.call('XTRIM', stream, 'MINID', after(gone[#gone][1]))
        return #gone
        """
}
