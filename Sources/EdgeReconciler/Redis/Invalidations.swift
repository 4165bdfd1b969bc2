import EdgeLedger
import EdgeTypes

/// Keys of caches that Downpour deletes itself, in the same Redis: `stock=cache:stock:{id}`.
public struct CacheKey: Hashable, Sendable {
    /// `rain`, `stock` or `order`.
    public var kind: String
    /// Holds `{id}` once.
    public var pattern: String

    /// Reads `KIND=PATTERN,…`.
    ///
    /// - Throws: `RedisError.badURL`, which says what is wrong.
    public static func parse(_ text: String) throws(RedisError) -> [CacheKey] {
        var keys: [CacheKey] = []
        for part in text.split(separator: ",") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2, ["rain", "stock", "order"].contains(pair[0]),
                pair[1].ranges(of: "{id}").count == 1, !pair[1].hasPrefix("downpour:")
            else {
                throw .badURL(
                    "cache keys are KIND=PATTERN,… with KIND rain, stock or order, and {id} once in "
                        + "the PATTERN, which does not start with downpour:")
            }
            keys.append(CacheKey(kind: String(pair[0]), pattern: String(pair[1])))
        }
        guard keys.count <= 16 else { throw .badURL("at most 16 cache keys") }
        return keys
    }
}

/// Tells caches what has changed: the stream `downpour:invalidations`.
///
/// An entry is `key` (`rain:ID`, `stock:SKU`, `order:ID`; `shard:N` where changes of a shard were
/// lost: anything of it), `version` (`shard:epoch-sequence`, several where shards differ), `phase` and
/// `time` (Unix ms). Phase 1 comes with the change, phase 2 a second later, for whoever had read the
/// old value and put it back meanwhile; it is kept in Redis, so that it comes whichever node dies.
/// Both may come more than once. The stream keeps the last 100,000 or so: who has read less far
/// empties its cache.
///
/// What a key was invalidated with last lies for a minute in `downpour:invalidated:KEY`, by shard, so
/// that nobody fills a cache with what was read before.
package struct Invalidations {
    package struct Item {
        package var key: String
        package var versions: [(shard: ShardID, mark: Watermark)]

        package init(key: String, versions: [(shard: ShardID, mark: Watermark)]) {
            self.key = key
            self.versions = versions
        }
    }

    private let connection: any RedisLink
    private let delayMs: Int
    private let cacheKeys: [CacheKey]
    private static let kept = 100_000
    private static let rememberedMs = 60_000
    private static let itemsAtOnce = 500

    package init(_ connection: any RedisLink, delayMs: Int, cacheKeys: [CacheKey] = []) {
        self.connection = connection
        self.delayMs = delayMs
        self.cacheKeys = cacheKeys
    }

    private var head: RedisCommand {
        var head = RedisCommand(
            "\(Self.kept)", "\(Self.rememberedMs + 2 * delayMs)", "\(cacheKeys.count)")
        for key in cacheKeys {
            head.append(key.kind)
            head.append(key.pattern)
        }
        return head
    }

    /// Phase 1, now; phase 2 will be due.
    package func send(_ items: [Item]) throws(RedisError) {
        for start in stride(from: 0, to: items.count, by: Self.itemsAtOnce) {
            let part = items[start..<min(start + Self.itemsAtOnce, items.count)]
            var arguments = head
            arguments.append("1")
            arguments.append(delayMs)
            arguments.append(part.count)
            for item in part {
                arguments.append(item.key)
                arguments.append(item.versions.count)
                for (shard, mark) in item.versions {
                    arguments.append(shard)
                    arguments.append(mark.epoch)
                    arguments.append(mark.sequence)
                }
            }
            _ = try connection.run(.invalidate, arguments)
        }
    }

    /// Phase 2 of what is due.
    ///
    /// - Returns: how many keys were due, at most 500.
    package func sendDue() throws(RedisError) -> Int {
        var arguments = head
        arguments.append("2")
        arguments.append(Self.itemsAtOnce)
        return Int(try connection.run(.invalidate, arguments).integer ?? 0)
    }

    static let script = """
        local position = 0
        local function take()
          position = position + 1
          return ARGV[position]
        end
        local kept, remembered = take(), take()
        local caches = {}
        for _ = 1, tonumber(take()) do caches[#caches + 1] = {take(), take()} end
        local phase = take()
        local clock = redis.call('TIME')
        local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
        local function text(number) return string.format('%.0f', number) end
        local function tell(key, version)
          redis.call('XADD', 'downpour:invalidations', 'MAXLEN', '~', kept, '*', 'key', key,
            'version', version, 'phase', phase, 'time', text(now))
          local kind, id = string.match(key, '^(%a+):(.*)$')
          for _, cache in ipairs(caches) do
            if cache[1] == kind then
              local from, to = string.find(cache[2], '{id}', 1, true)
              redis.call('DEL', string.sub(cache[2], 1, from - 1) .. id
                .. string.sub(cache[2], to + 1))
            end
          end
        end
        if phase == '2' then
          local due = redis.call('ZRANGEBYSCORE', 'downpour:delayed', '-inf', text(now), 'LIMIT',
            0, take())
          for _, key in ipairs(due) do
            local versions = {}
            local known = redis.call('HGETALL', 'downpour:invalidated:' .. key)
            for index = 1, #known, 2 do
              versions[#versions + 1] = known[index] .. ':' .. known[index + 1]
            end
            tell(key, table.concat(versions, ' '))
            redis.call('ZREM', 'downpour:delayed', key)
          end
          return #due
        end
        local delay = tonumber(take())
        local count = tonumber(take())
        for _ = 1, count do
          local key, versions = take(), {}
          local mark = 'downpour:invalidated:' .. key
          local function raise(name, shard, epoch, sequence)
            local known = redis.call('HGET', name, shard) or '0-0'
            local knownEpoch, knownSequence = string.match(known, '^(%d+)-(%d+)$')
            if tonumber(epoch) > tonumber(knownEpoch) or (tonumber(epoch) == tonumber(knownEpoch)
                and tonumber(sequence) > tonumber(knownSequence)) then
              redis.call('HSET', name, shard, epoch .. '-' .. sequence)
            end
          end
          for _ = 1, tonumber(take()) do
            local shard, epoch, sequence = take(), take(), take()
            versions[#versions + 1] = shard .. ':' .. epoch .. '-' .. sequence
            raise(mark, shard, epoch, sequence)
            if string.sub(key, 1, 6) == 'shard:' then
              raise('downpour:floors', shard, epoch, sequence)
            end
          end
          redis.call('PEXPIRE', mark, remembered)
          tell(key, table.concat(versions, ' '))
          redis.call('ZADD', 'downpour:delayed', 'GT', text(now + delay), key)
        end
        return count
        """
}
