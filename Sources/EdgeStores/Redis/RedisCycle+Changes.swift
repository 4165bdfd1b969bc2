import EdgeLedger
import EdgeReconciler
import EdgeTypes

/// What the store has told of its last batches.
extension RedisCycle {
    /// Invalidations go first: once a mark has moved, whoever fills a cache may rely on it.
    mutating func send(_ connection: RedisConnection) throws {
        guard !changes.isEmpty else { return }
        try learn(Set(changes.slices.keys.map(\.pool)).union(changes.pools.keys))
        try invalidate(connection)
        try mirror(connection)
        try publishEvents(connection)
        stale.formUnion(changes.broken)
        unpublished.formUnion(changes.broken)
        changes = GatheredChanges()
    }

    /// Gets the facts of pools that were not seen before.
    mutating func learn(_ keys: Set<PoolKey>) throws {
        let unknown = keys.filter { facts[$0] == nil }
        guard !unknown.isEmpty else { return }
        for pool in try opened().pools(Array(unknown)) {
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

    private func mirroring(_ connection: RedisConnection) -> RedisMirror {
        let facts = facts
        return RedisMirror(connection, rowsAtOnce: settings.rowsAtOnce) { facts[$0]?.name }
    }

    private mutating func mirror(_ connection: RedisConnection) throws {
        var mirror = mirroring(connection)
        // The node that made a pool may not have told of it yet.
        for pool in introduced { try mirror.add(pool) }
        for row in changes.pools.values {
            guard let known = facts[row.key] else { continue }
            try mirror.add(
                MirroredPool(
                    row: row, units: known.units, amountFen: known.amountFen,
                    slices: known.slices))
        }
        var rows: [ShardID: [SliceRow]] = [:]
        for row in changes.slices.values { rows[row.shard, default: []].append(row) }
        for (shard, run) in changes.runs where !changes.broken.contains(shard) {
            try mirror.add(
                RedisMirror.Shard(
                    shard: shard, from: run.from, to: run.to, mark: run.to,
                    rows: rows[shard] ?? []))
        }
        let outcome = try mirror.finish()
        introduced = []
        for shard in changes.runs.keys { lagging[shard] = nil }
        try check(outcome)
        let count = UInt64(changes.slices.count)
        publish { $0.mirroredRows += count }
    }

    private mutating func publishEvents(_ connection: RedisConnection) throws {
        let publisher = EventPublisher(connection, streamLimit: settings.streamLimit)
        let runs = changes.runs.values.filter { !changes.broken.contains($0.shard) }.map { run in
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

    private func invalidate(_ connection: RedisConnection) throws {
        var items: [String: [ShardID: Watermark]] = [:]
        for row in changes.slices.values {
            guard let pool = facts[row.key.pool]?.name, let run = changes.runs[row.shard] else {
                continue
            }
            items[RedisKeys.subject(pool.family, pool.name), default: [:]][row.shard] = run.to
        }
        for row in changes.pools.values {
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
            items.map { key, versions in
                Invalidations.Item(
                    key: key,
                    versions: versions.sorted { $0.key < $1.key }
                        .map { (shard: $0.key, mark: $0.value) })
            })
    }

    func invalidate(_ connection: RedisConnection, _ items: [Invalidations.Item]) throws {
        guard !items.isEmpty else { return }
        try Invalidations(
            connection, delayMs: settings.invalidationDelayMs, cacheKeys: settings.cacheKeys
        ).send(items)
        publish { $0.invalidations += UInt64(items.count) }
    }

    func invalidateAgain(_ connection: RedisConnection) throws {
        let count = try Invalidations(
            connection, delayMs: settings.invalidationDelayMs, cacheKeys: settings.cacheKeys
        ).sendDue()
        if count > 0 { publish { $0.invalidations += UInt64(count) } }
    }
}
