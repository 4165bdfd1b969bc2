import EdgeLedger
import EdgeTypes

/// What Redis lacks is read from the store; what nobody needs any more goes from both.
extension RedisCycle {
    private static let shardsAtOnce = 64
    private static let poolsAtOnce = 500
    private static let eventsAtOnce = 500
    private static let rebuildingMs = 30_000

    // MARK: Looking

    /// Compares marks. A shard that Redis knows nothing of, or whose mark has stood still below the
    /// store's since the last look, has lost something: nobody is about to send it.
    mutating func look(_ connection: any RedisLink) throws {
        try claim(connection)
        let store = try opened().watermarks()
        let answers = try connection.send([
            RedisCommand("HGETALL", RedisKeys.marks),
            RedisCommand("HGETALL", RedisKeys.published),
            RedisCommand("XLEN", RedisKeys.events), RedisCommand("XLEN", RedisKeys.dead),
        ])
        for case .error(let text) in answers { throw RedisError(answer: text) }
        let redis = Self.marks(answers[0])
        let published = Self.sequences(answers[1])
        var ahead = 0
        lagging = [:]
        eventLag = [:]
        for shard in store.shards {
            let wanted = store[shard]
            lookForEvents(shard, published[shard], wanted.sequence)
            let mark = redis[shard] ?? .origin
            if Self.isLater(mark, wanted) { ahead += 1 }
            guard Self.isLater(wanted, mark) else { continue }
            lagging[shard] = wanted.sequence &- min(mark.sequence, wanted.sequence)
            let stoodStill =
                seen.map { seen in
                    seen.redis[shard] ?? .origin == mark && Self.isLater(seen.store[shard], mark)
                } ?? false
            if redis[shard] == nil || stoodStill, mutant != .mirrorNotRebuilt {
                stale.insert(shard)
            }
        }
        seen = Seen(redis: redis, published: published, store: store)
        let (events, dead) = (answers[2].integer ?? 0, answers[3].integer ?? 0)
        if events < Int64(settings.streamLimit) { streamIsFull = false }
        publish { status in
            status.ahead = ahead
            status.streamLength = events
            status.deadLetters = dead
        }
    }

    /// As with marks: what another node is about to publish is left to it.
    private mutating func lookForEvents(
        _ shard: ShardID, _ published: UInt64?, _ wanted: UInt64
    ) {
        let reached = published ?? 0
        guard reached < wanted else { return }
        eventLag[shard] = wanted - reached
        let stoodStill =
            seen.map { seen in
                seen.published[shard] ?? 0 == reached && seen.store[shard].sequence > reached
            } ?? false
        if published == nil || stoodStill, mutant != .outboxNotFed { unpublished.insert(shard) }
    }

    private static func sequences(_ answer: RedisValue) -> [ShardID: UInt64] {
        var found: [ShardID: UInt64] = [:]
        for (name, value) in answer.pairs {
            if let shard = ShardID(name), let number = value.integer {
                found[shard] = UInt64(clamping: number)
            }
        }
        return found
    }

    private static func marks(_ answer: RedisValue) -> [ShardID: Watermark] {
        var found: [ShardID: Watermark] = [:]
        for (name, value) in answer.pairs {
            if let shard = ShardID(name), let text = value.text, let mark = RedisMirror.mark(text) {
                found[shard] = mark
            }
        }
        return found
    }

    /// By epoch and sequence: Redis keeps no times.
    static func isLater(_ one: Watermark, _ other: Watermark) -> Bool {
        (one.epoch, one.sequence) > (other.epoch, other.sequence)
    }

    // MARK: Rows

    /// Sends what the store has of some shards: pools first, as they are no earlier than the marks
    /// that are set afterwards.
    mutating func rebuild(_ connection: any RedisLink) throws {
        guard !stale.isEmpty else { return }
        let source = try opened()
        try connection.call("SET", RedisKeys.rebuilding, "1", "PX", "\(Self.rebuildingMs)")
        let marks = try source.watermarks()
        try sendPools(connection, source)
        while !stale.isEmpty {
            let shards = Array(stale.sorted().prefix(Self.shardsAtOnce))
            stale.subtract(shards)
            let isWhole: Bool
            do {
                isWhole = try sendSlices(connection, source, shards, marks)
            } catch {
                stale.formUnion(shards)
                throw error
            }
            // All over again, pools first.
            guard isWhole else { return }
            for shard in shards { lagging[shard] = nil }
            publish { $0.rebuiltShards += UInt64(shards.count) }
        }
        try connection.call("DEL", RedisKeys.rebuilding)
    }

    private mutating func sendPools(
        _ connection: any RedisLink, _ source: any RowsSource
    ) throws {
        var last: PoolKey?
        while true {
            let page = try source.pools(after: last, limit: Self.poolsAtOnce)
            for pool in page { remember(pool) }
            _ = try mirror(connection, page, [])
            guard page.count == Self.poolsAtOnce else { break }
            last = page.last?.row.key
        }
    }

    /// - Returns: false where keys of a pool had to go, and all rows have to come again.
    private mutating func sendSlices(
        _ connection: any RedisLink, _ source: any RowsSource, _ shards: [ShardID],
        _ marks: WatermarkTable
    ) throws -> Bool {
        let found = try source.slices(ofShards: shards)
        try learn(found.rows.map(\.key.pool))
        // Nobody knows what has changed: what caches hold of these shards may be old.
        try invalidate(
            connection,
            shards.map {
                Invalidations.Item(
                    key: "shard:\($0)", versions: [(shard: $0, mark: found.watermarks[$0])])
            })
        var rows: [ShardID: [SliceRow]] = [:]
        for row in found.rows { rows[row.shard, default: []].append(row) }
        let outcome = try mirror(
            connection, [],
            shards.map { shard in
                RedisMirror.Shard(
                    shard: shard, from: nil, to: found.watermarks[shard],
                    mark: marks[shard], rows: rows[shard] ?? [])
            })
        return !outcome.isDamaged
    }

    // MARK: Events

    /// Publishes from the outbox what is after each shard's mark, some shards a turn.
    mutating func feed(_ connection: any RedisLink) throws {
        guard !unpublished.isEmpty, !streamIsFull else { return }
        let source = try opened()
        let shards = Array(unpublished.sorted().prefix(Self.shardsAtOnce))
        var command = RedisCommand("HMGET", RedisKeys.published)
        for shard in shards { command.append(shard) }
        let marks = try connection.call(command).array
        let store = try source.watermarks()
        var runs: [EventPublisher.Run] = []
        var done: Set<ShardID> = []
        for (shard, mark) in zip(shards, marks) {
            let from = UInt64(clamping: mark.integer ?? 0)
            guard from < store[shard].sequence else {
                done.insert(shard)
                continue
            }
            let events = try source.events(
                ofShard: shard, after: EntryID.of(shard: shard, sequence: from),
                limit: Self.eventsAtOnce)
            var to = max(
                store[shard].sequence, events.last.map { EntryID.sequence(of: $0.id) } ?? 0)
            if events.count == Self.eventsAtOnce, let last = events.last {
                to = EntryID.sequence(of: last.id)
            } else {
                done.insert(shard)
            }
            runs.append(EventPublisher.Run(shard: shard, from: from, to: to, events: events))
        }
        try invalidateOrders(connection, runs, store)
        let publisher = EventPublisher(connection, streamLimit: settings.streamLimit)
        let outcome = try publisher.publish(runs)
        unpublished.subtract(done)
        for shard in done { eventLag[shard] = nil }
        take(outcome)
    }

    /// Events that come from the outbox tell of orders whose changes may never have come from the
    /// store.
    private func invalidateOrders(
        _ connection: any RedisLink, _ runs: [EventPublisher.Run], _ store: WatermarkTable
    ) throws {
        var items: [String: Invalidations.Item] = [:]
        for run in runs {
            for event in run.events
            where event.type.hasPrefix("order.") || event.type.hasPrefix("refund.") {
                let key = "order:\(event.subject)"
                items[key] = Invalidations.Item(
                    key: key, versions: [(shard: run.shard, mark: store[run.shard])])
            }
        }
        try invalidate(connection, items.values.sorted { $0.key < $1.key })
    }

    // MARK: What goes

    mutating func sweep(_ connection: any RedisLink) throws {
        let buried = try DeadLetters.sweep(
            connection, settings.retries, limit: settings.deadLimit)
        var trimmed = 0
        while true {
            let count = try EventTrimmer.trim(connection)
            trimmed += count
            guard count == 1_000, trimmed < 100_000 else { break }
        }
        if trimmed > 0 { streamIsFull = false }
        guard buried + trimmed > 0 else { return }
        let dead = try connection.call("XLEN", RedisKeys.dead).integer ?? 0
        publish { status in
            status.buriedEvents += UInt64(buried)
            status.trimmedEvents += UInt64(trimmed)
            status.deadLetters = dead
        }
    }

    /// Deletes from the outbox what all groups have acknowledged, once it is old enough that a
    /// Redis which lost it need not get it again. What is a dead letter waits for its operator, and
    /// is there for a Redis that loses it.
    mutating func clean(_ connection: any RedisLink, _ nowMs: Int64) throws {
        let source = try opened()
        let trimmed = try EventTrimmer.trimmed(connection)
        var kept = try EventTrimmer.kept(connection)[...]
        for (shard, sequence) in trimmed {
            kept = kept.drop { $0.shard < shard }
            var after: UInt64 = 0
            var ends = kept.prefix { $0.shard == shard && $0.sequence <= sequence }.map(\.sequence)
            ends.append(sequence + 1)
            for end in ends {
                defer { after = end }
                guard end > after + 1 else { continue }
                let count = try source.deleteEvents(
                    ofShard: shard, after: EntryID.of(shard: shard, sequence: after),
                    upTo: EntryID.of(shard: shard, sequence: end - 1),
                    olderThanMs: nowMs - settings.retentionMs)
                publish { $0.deletedEvents += UInt64(count) }
            }
        }
    }
}
