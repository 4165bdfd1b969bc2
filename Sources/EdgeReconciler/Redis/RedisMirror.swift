import EdgeLedger
import EdgeTypes

/// Totals of rains and stock for services that read Redis.
///
/// `downpour:rain:ID` is a hash of `state` (`open`, which includes a rain whose `opens` is to come,
/// `paused`, `closing`, `closed`), `amount`, `count`, `granted`, `granted_fen`, `remaining`,
/// `quarantined`, `retired`, `opens`, `closes`, `limit`, `slices`, `created_at`, `closed_at`;
/// `downpour:stock:SKU` one of `state`, `price`, `units`, `available`, `pending`, `sold` and the rest.
/// Amounts are fen, times Unix ms, 0 for none.
///
/// Totals are sums over slices. What each slice gave lies in `downpour:parts:…` with the (epoch,
/// sequence) of its shard, and only a later one takes its place, whereupon the totals move by the
/// difference: what comes late, twice or out of order changes nothing. Of the fields that belong to
/// the pool, terms go by the version of its control, and what was funded only grows. A batch (from,
/// to] of a shard is taken where the shard's mark is neither before `from` nor past `to`; where it is
/// before, something is missing, and the shard's rows have to be read from the store again.
package struct RedisMirror {
    /// Rows of a shard on their way.
    package struct Shard {
        package var shard: ShardID
        /// nil: the rows are all of the shard's, whatever the mark.
        package var from: Watermark?
        package var to: Watermark
        /// Where the mark goes; nil: more rows follow.
        package var mark: Watermark?
        package var rows: [SliceRow]

        package init(
            shard: ShardID, from: Watermark?, to: Watermark, mark: Watermark?, rows: [SliceRow]
        ) {
            self.shard = shard
            self.from = from
            self.to = to
            self.mark = mark
            self.rows = rows
        }
    }

    package struct Outcome {
        /// Shards of which something is missing: their rows have to come from the store.
        package var lagging: [ShardID] = []
        /// A pool's keys did not fit together, or were not there; they are gone now, and so are all
        /// shards' marks. All rows have to come again.
        package var isDamaged = false
    }

    /// A pool's hash, without what names it.
    package struct PoolName: Hashable, Sendable {
        package var family: PoolFamily
        package var name: Text64

        package init(family: PoolFamily, name: Text64) {
            self.family = family
            self.name = name
        }
    }

    private let connection: any RedisLink
    private let rowsAtOnce: Int
    private let name: (PoolKey) -> PoolName?

    private var pools = RedisCommand()
    private var poolCount = 0
    private var shards = RedisCommand()
    private var shardCount = 0
    private var rowCount = 0
    private var outcome = Outcome()

    /// - Parameters:
    ///   - rowsAtOnce: about how many rows one script takes: Redis does nothing else meanwhile.
    ///   - name: of every pool whose slices come.
    package init(
        _ connection: any RedisLink, rowsAtOnce: Int = 500,
        name: @escaping (PoolKey) -> PoolName?
    ) {
        self.connection = connection
        self.rowsAtOnce = rowsAtOnce
        self.name = name
    }

    package mutating func add(_ pool: MirroredPool) throws(RedisError) {
        let row = pool.row
        let control = row.standing.control
        pools.append(RedisKeys.pool(row.family, row.name))
        pools.append(pool.units)
        pools.append(pool.amountFen)
        pools.append(pool.slices)
        pools.append(control.version)
        pools.append(control.terms.opensMs)
        pools.append(control.terms.closesMs)
        pools.append(control.terms.limit)
        pools.append(control.paused ? 1 : 0)
        pools.append(control.closing ? 1 : 0)
        pools.append(row.standing.createdMs)
        pools.append(row.standing.closed ? 1 : 0)
        pools.append(row.standing.closedMs)
        pools.append(row.treasury.funded)
        poolCount += 1
        try count(1)
    }

    package mutating func add(_ shard: Shard) throws(RedisError) {
        if shard.from == nil, shard.rows.count > rowsAtOnce {
            var piece = shard
            piece.mark = nil
            var start = 0
            while shard.rows.count - start > rowsAtOnce {
                piece.rows = Array(shard.rows[start..<(start + rowsAtOnce)])
                try encode(piece)
                start += rowsAtOnce
            }
            piece.rows = Array(shard.rows[start...])
            piece.mark = shard.mark
            return try encode(piece)
        }
        try encode(shard)
    }

    private mutating func encode(_ shard: Shard) throws(RedisError) {
        shards.append(shard.shard)
        shards.append(shard.from.map(Self.text) ?? "*")
        shards.append(shard.to.epoch)
        shards.append(shard.to.sequence)
        shards.append(shard.mark.map(Self.text) ?? "")
        let known = shard.rows.compactMap { row in name(row.key.pool).map { (row, $0) } }
        shards.append(known.count)
        for (row, pool) in known {
            shards.append(RedisKeys.pool(pool.family, pool.name))
            shards.append(row.key.slice)
            switch pool.family {
            case .rain:
                shards.append(row.books.granted)
                shards.append(row.books.grantedFen)
            case .stock:
                shards.append(row.books.pending)
                shards.append(row.books.sold)
            }
            shards.append(row.books.quarantined)
            shards.append(row.books.retired)
        }
        shardCount += 1
        try count(known.count + 1)
    }

    private mutating func count(_ rows: Int) throws(RedisError) {
        rowCount += rows
        if rowCount >= rowsAtOnce { try flush() }
    }

    /// Sends what is there still.
    package mutating func finish() throws(RedisError) -> Outcome {
        try flush()
        defer { outcome = Outcome() }
        return outcome
    }

    private mutating func flush() throws(RedisError) {
        guard rowCount > 0 else { return }
        var arguments = RedisCommand("\(poolCount)")
        arguments.append(contentsOf: pools)
        arguments.append(shardCount)
        arguments.append(contentsOf: shards)
        pools = RedisCommand()
        shards = RedisCommand()
        (poolCount, shardCount, rowCount) = (0, 0, 0)
        let answer = try connection.run(.mirror, arguments).array
        guard answer.count == 2 else { throw .malformed("an answer of \(answer.count) parts") }
        outcome.lagging += answer[0].array.compactMap {
            $0.integer.flatMap { ShardID(exactly: $0) }
        }
        if answer[1].integer == 1 { outcome.isDamaged = true }
    }

    package static func text(_ mark: Watermark) -> String { "\(mark.epoch)-\(mark.sequence)" }

    /// - Returns: nil where it is no mark; its time is 0.
    package static func mark(_ text: String) -> Watermark? {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let epoch = UInt32(parts[0]), let sequence = UInt64(parts[1]) else {
            return nil
        }
        return Watermark(epoch: epoch, sequence: sequence, timeMs: 0)
    }

    /// Amounts may be beyond 2^53, where Lua's numbers are not exact: totals move by HINCRBY, long
    /// ones by their texts. Sequences are below 2^48.
    static let script = """
        local position = 0
        local function take()
          position = position + 1
          return ARGV[position]
        end
        local fields = {
          rain = {'granted', 'granted_fen', 'quarantined', 'retired'},
          stock = {'pending', 'sold', 'quarantined', 'retired'},
        }
        local function family(key) return string.match(key, '^downpour:(%a+):') end
        local function parts(key) return 'downpour:parts:' .. string.sub(key, 10) end
        local touched, keys = {}, {}
        local function touch(key)
          if not touched[key] then
            touched[key] = true
            keys[#keys + 1] = key
          end
        end
        local function later(epoch, sequence, other, number)
          return epoch > other or (epoch == other and sequence > number)
        end
        local deltas = {}
        local function move(key, field, old, new)
          if old == new then return end
          if #old < 16 and #new < 16 then
            local fields = deltas[key]
            if not fields then
              fields = {}
              deltas[key] = fields
            end
            fields[field] = (fields[field] or 0) + tonumber(new) - tonumber(old)
            return
          end
          if old ~= '0' then
            local negative = string.sub(old, 1, 1) == '-' and string.sub(old, 2) or '-' .. old
            redis.call('HINCRBY', key, field, negative)
          end
          redis.call('HINCRBY', key, field, new)
        end

        local damaged = 0
        local function pool()
          local key = take()
          local units, amount, slices = take(), take(), take()
          local version, opens, closes, limit = take(), take(), take(), take()
          local paused, closing = take(), take()
          local created, closed, closedAt, funded = take(), take(), take(), take()
          local isRain = family(key) == 'rain'
          local total = isRain and 'count' or 'units'
          touch(key)
          if redis.call('HEXISTS', key, 'slices') == 0 then
            -- Somebody has deleted the hash: what it was the sum of has to come again.
            if redis.call('DEL', parts(key)) == 1
              or redis.call('HEXISTS', 'downpour:pools', key) == 1 then damaged = 1 end
            redis.call('HSET', key, isRain and 'amount' or 'price', amount, total, units,
              'slices', slices, 'parts', '0', 'created_at', '0', 'closed', '0', 'closed_at', '0')
            for _, field in ipairs(fields[family(key)]) do
              redis.call('HINCRBY', key, field, '0')
            end
          end
          redis.call('HSET', 'downpour:pools', key, '1')
          local known = redis.call('HGET', key, 'version')
          if not known or tonumber(known) < tonumber(version) then
            redis.call('HSET', key, 'version', version, 'opens', opens, 'closes', closes,
              'limit', limit, 'paused', paused, 'closing', closing)
          end
          if created ~= '0' then redis.call('HSET', key, 'created_at', created) end
          if closed == '1' then redis.call('HSET', key, 'closed', '1', 'closed_at', closedAt) end
          if tonumber(funded) > tonumber(redis.call('HGET', key, total)) then
            redis.call('HSET', key, total, funded)
          end
        end

        local function slice(epoch, sequence, applies)
          local key, number = take(), take()
          local new = {take(), take(), take(), take()}
          if not applies then return end
          local old = {'0', '0', '0', '0'}
          local known = redis.call('HGET', parts(key), number)
          -- Of a hash and its parts, somebody may have deleted one.
          if not touched[key] or not known then
            local count = redis.call('HGET', key, 'parts')
            if not count or tonumber(count) ~= redis.call('HLEN', parts(key)) then
              redis.call('DEL', key, parts(key))
              redis.call('HDEL', 'downpour:pools', key)
              deltas[key] = nil
              damaged = 1
              return
            end
          end
          if known then
            local words = {}
            for word in string.gmatch(known, '%S+') do words[#words + 1] = word end
            if not later(tonumber(epoch), tonumber(sequence),
                tonumber(words[1]), tonumber(words[2])) then
              return
            end
            old = {words[3], words[4], words[5], words[6]}
          end
          touch(key)
          for index, field in ipairs(fields[family(key)]) do
            move(key, field, old[index], new[index])
          end
          if not known then redis.call('HINCRBY', key, 'parts', 1) end
          redis.call('HSET', parts(key), number,
            epoch .. ' ' .. sequence .. ' ' .. table.concat(new, ' '))
        end

        local function split(mark)
          local epoch, sequence = string.match(mark, '^(%d+)-(%d+)$')
          return tonumber(epoch), tonumber(sequence)
        end
        local lagging = {}
        local function shard()
          local number, from, epoch, sequence, mark = take(), take(), take(), take(), take()
          local rows = tonumber(take())
          local markEpoch, markSequence = split(redis.call('HGET', 'downpour:marks', number)
            or '0-0')
          local applies = true
          if from ~= '*' then
            local fromEpoch, fromSequence = split(from)
            if later(fromEpoch, fromSequence, markEpoch, markSequence) then
              applies = false
              lagging[#lagging + 1] = number
            end
          end
          for _ = 1, rows do slice(epoch, sequence, applies) end
          if applies and mark ~= '' then
            local newEpoch, newSequence = split(mark)
            if later(newEpoch, newSequence, markEpoch, markSequence) then
              redis.call('HSET', 'downpour:marks', number, mark)
            end
          end
        end

        for _ = 1, tonumber(take()) do pool() end
        for _ = 1, tonumber(take()) do shard() end
        for _, key in ipairs(keys) do
          for field, delta in pairs(deltas[key] or {}) do
            redis.call('HINCRBY', key, field, string.format('%.0f', delta))
          end
          local isRain = family(key) == 'rain'
          local names = fields[family(key)]
          local found = redis.call('HMGET', key, isRain and 'count' or 'units', names[1],
            isRain and names[1] or names[2], names[3], names[4], 'closed', 'closing', 'paused')
          if found[1] then
            local left = tonumber(found[1]) - tonumber(found[2] or '0')
              - tonumber(found[4] or '0') - tonumber(found[5] or '0')
            if not isRain then left = left - tonumber(found[3] or '0') end
            local state = found[6] == '1' and 'closed' or found[7] == '1' and 'closing'
              or found[8] == '1' and 'paused' or 'open'
            redis.call('HSET', key, isRain and 'remaining' or 'available',
              string.format('%.0f', left), 'state', state)
          end
        end
        -- Whoever asked may never hear of it: all shards are to be read again, by anybody.
        if damaged == 1 then redis.call('DEL', 'downpour:marks') end
        return {lagging, damaged}
        """
}
