import EdgeLedger
import EdgeTypes

/// What the store has told of its last batches.
extension RedisCycle {
    /// Invalidations go first: once a mark has moved, whoever fills a cache may rely on it.
    mutating func send(_ connection: any RedisLink) throws {
        guard !changes.isEmpty else { return }
        try learn(changes.slices.map(\.key.pool) + changes.pools.map(\.key))
        try invalidate(connection)
        try mirror(connection)
        try publishEvents(connection)
        stale.formUnion(changes.broken)
        unpublished.formUnion(changes.broken)
        changes = GatheredChanges()
    }

    /// Gets the facts of pools that were not seen before.
    mutating func learn(_ keys: [PoolKey]) throws {
        let unknown = Set(keys.filter { facts[$0] == nil }).sorted { $0.rawValue < $1.rawValue }
        guard !unknown.isEmpty else { return }
        for pool in try opened().pools(unknown) {
            remember(pool)
            introduced.append(pool)
        }
        for key in unknown where facts[key] == nil {
            throw StoreError.badRow("no pool \(key.rawValue), but slices of it")
        }
    }

    mutating func remember(_ pool: MirroredPool) {
        if facts.count >= Limits.pools { facts = [:] }
        facts[pool.row.key] = PoolFacts(
            name: RedisMirror.PoolName(family: pool.row.family, name: pool.row.name),
            units: pool.units, amountFen: pool.amountFen, slices: pool.slices)
    }

    private mutating func mirror(_ connection: any RedisLink) throws {
        let pools = changes.pools.compactMap { row in
            facts[row.key].map { known in
                MirroredPool(
                    row: row, units: known.units, amountFen: known.amountFen,
                    slices: known.slices)
            }
        }
        var rows: [ShardID: [SliceRow]] = [:]
        for row in changes.slices { rows[row.shard, default: []].append(row) }
        let shards = changes.ranges.filter { !changes.broken.contains($0.shard) }.map { run in
            RedisMirror.Shard(
                shard: run.shard, from: run.from, to: run.to, mark: run.to,
                rows: rows[run.shard] ?? [])
        }
        _ = try mirror(connection, pools, shards)
        for shard in changes.runs.keys { lagging[shard] = nil }
    }

    /// Sends rows, and with them pools that Redis may not know: the node that made one may not have
    /// told of it yet.
    mutating func mirror(
        _ connection: any RedisLink, _ pools: [MirroredPool], _ shards: [RedisMirror.Shard]
    ) throws -> RedisMirror.Outcome {
        let facts = facts
        var mirror = RedisMirror(connection, rowsAtOnce: settings.rowsAtOnce) { facts[$0]?.name }
        for pool in introduced + pools { try mirror.add(pool) }
        for shard in shards { try mirror.add(shard) }
        let outcome = try mirror.finish()
        introduced = []
        stale.formUnion(outcome.lagging)
        if outcome.isDamaged { stale.formUnion(try opened().watermarks().shards) }
        let count = shards.reduce(0) { $0 + $1.rows.count }
        publish { $0.mirroredRows += UInt64(count) }
        return outcome
    }

    private mutating func publishEvents(_ connection: any RedisLink) throws {
        for shard in changes.runs.keys { eventLag[shard] = nil }
        let publisher = EventPublisher(connection, streamLimit: settings.streamLimit)
        let runs = changes.ranges.filter { !changes.broken.contains($0.shard) }.map { run in
            EventPublisher.Run(
                shard: run.shard, from: run.from.sequence, to: run.to.sequence,
                events: changes.events[run.shard] ?? [])
        }
        take(try publisher.publish(runs))
    }

    mutating func take(_ outcome: EventPublisher.Outcome) {
        unpublished.formUnion(outcome.lagging)
        streamIsFull = outcome.isFull
        publish { $0.publishedEvents += UInt64(outcome.published) }
    }

    // MARK: Invalidations

    private func invalidate(_ connection: any RedisLink) throws {
        var items: [String: [ShardID: Watermark]] = [:]
        for row in changes.slices {
            guard let pool = facts[row.key.pool]?.name, let run = changes.runs[row.shard] else {
                continue
            }
            items[RedisKeys.subject(pool.family, pool.name), default: [:]][row.shard] = run.to
        }
        for row in changes.pools {
            let key = RedisKeys.subject(row.family, row.name)
            let home = settings.home(row.key)
            if let run = changes.runs[home] {
                items[key, default: [:]][home] = run.to
            } else if items[key] == nil {
                // Of another shard's entry: a slice's control, which its home has told of too.
                items[key] = changes.runs.mapValues(\.to)
            }
        }
        for order in changes.orders {
            guard let run = changes.runs[order.shard] else { continue }
            items["order:" + OrderIDText.text(order)] = [order.shard: run.to]
        }
        try invalidate(
            connection,
            items.sorted { $0.key < $1.key }.map { key, versions in
                Invalidations.Item(
                    key: key,
                    versions: versions.sorted { $0.key < $1.key }
                        .map { (shard: $0.key, mark: $0.value) })
            })
    }

    func invalidate(_ connection: any RedisLink, _ items: [Invalidations.Item]) throws {
        guard !items.isEmpty else { return }
        try Invalidations(
            connection, delayMs: settings.invalidationDelayMs, cacheKeys: settings.cacheKeys
        ).send(items)
        publish { $0.invalidations += UInt64(items.count) }
    }

    func invalidateAgain(_ connection: any RedisLink) throws {
        let count = try Invalidations(
            connection, delayMs: settings.invalidationDelayMs, cacheKeys: settings.cacheKeys
        ).sendDue()
        if count > 0 { publish { $0.invalidations += UInt64(count) } }
    }
}
