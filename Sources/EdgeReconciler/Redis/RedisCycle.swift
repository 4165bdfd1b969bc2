import EdgeLedger
import EdgeTypes

/// What a follower does, apart from waiting: brings changes to Redis, and reads from the store again
/// whatever Redis has lost. Owned by one thread.
///
/// Everything may be sent twice: after a failure the same changes are sent again, and the scripts
/// take what is new in them. Time and waits are its shell's: a thread's, or a simulator's.
package struct RedisCycle {
    package enum Turn: Sendable {
        /// There is more to do.
        case more
        case idle
        /// Try again after so long.
        case failed(waitMs: Int)
    }

    let settings: RedisSettings
    let openRedis: () throws -> any RedisLink
    let openSource: () throws -> any RowsSource
    let publish: ((inout RedisStatus) -> Void) -> Void

    var connection: (any RedisLink)?
    var source: (any RowsSource)?
    /// What is being sent.
    var changes = GatheredChanges()
    /// Shards whose rows, and shards whose events, are to be read from the store.
    var stale: Set<ShardID> = []
    var unpublished: Set<ShardID> = []
    /// Names and fixed facts of pools seen: at most `Limits.pools`.
    var facts: [PoolKey: PoolFacts] = [:]
    /// Pools that were learnt of, and whose hashes may not be there yet.
    var introduced: [MirroredPool] = []
    var seen: Seen?
    var streamIsFull = false
    /// Entries that shards lagged behind at the last look: their rows, and their events.
    var lagging: [ShardID: UInt64] = [:]
    var eventLag: [ShardID: UInt64] = [:]
    private var failures = 0
    private var lastError: String?
    private var lookedMs: Int64?
    private var sweptMs: Int64?
    private var cleanedMs: Int64?
    /// A built-in bug.
    let mutant: Mutant

    /// Marks as of the last look.
    struct Seen {
        var redis: [ShardID: Watermark]
        var published: [ShardID: UInt64]
        var store: WatermarkTable
    }

    struct PoolFacts {
        var name: RedisMirror.PoolName
        var units: Int64
        var amountFen: Fen
        var slices: UInt32
    }

    /// - Parameters:
    ///   - openRedis: called at first, and again after a connection has failed.
    ///   - openSource: likewise for the store.
    ///   - publish: is given what changes in the status.
    package init(
        settings: RedisSettings,
        openRedis: @escaping () throws -> any RedisLink,
        openSource: @escaping () throws -> any RowsSource,
        publish: @escaping ((inout RedisStatus) -> Void) -> Void, mutant: Mutant = .none
    ) {
        self.mutant = mutant
        self.settings = settings
        self.openRedis = openRedis
        self.openSource = openSource
        self.publish = publish
    }

    /// Nothing waits to be sent.
    package var isEmpty: Bool { changes.isEmpty && stale.isEmpty && unpublished.isEmpty }

    /// - Parameters:
    ///   - nowMs: Unix time.
    ///   - take: gives the changes that have come since.
    package mutating func step(nowMs: Int64, take: () -> GatheredChanges) -> Turn {
        do {
            let isMore = try round(nowMs: nowMs, take: take)
            if failures > 0 { settings.report(nil) }
            failures = 0
            lastError = nil
            publish { status in
                status.state = .running
                status.connected = true
                status.consecutiveFailures = 0
            }
            report(nowMs)
            return isMore ? .more : .idle
        } catch {
            fail(error, nowMs)
            report(nowMs)
            let doubled = settings.firstBackoffMs << min(failures - 1, 16)
            return .failed(waitMs: max(1, min(doubled, settings.longestBackoffMs)))
        }
    }

    /// Gives the connections back, at the end.
    package mutating func close() {
        connection?.close()
        connection = nil
        source?.close()
        source = nil
    }

    private mutating func round(nowMs: Int64, take: () -> GatheredChanges) throws -> Bool {
        let connection = try connected()
        if changes.isEmpty { changes = take() }
        try send(connection)
        try rebuild(connection)
        try feed(connection)
        try invalidateAgain(connection)
        if isDue(&lookedMs, nowMs, settings.lookMs) { try look(connection) }
        if isDue(&sweptMs, nowMs, settings.sweepMs) { try sweep(connection) }
        if isDue(&cleanedMs, nowMs, settings.cleanMs) { try clean(connection, nowMs) }
        return !stale.isEmpty || (!unpublished.isEmpty && !streamIsFull)
    }

    private func isDue(_ last: inout Int64?, _ nowMs: Int64, _ everyMs: Int) -> Bool {
        if let known = last, nowMs >= known, nowMs - known < Int64(everyMs) { return false }
        last = nowMs
        return true
    }

    private mutating func connected() throws -> any RedisLink {
        if let connection { return connection }
        let made = try openRedis()
        try claim(made)
        connection = made
        // Another server, or the same one after a crash: what it has is looked at at once.
        lookedMs = nil
        return made
    }

    /// What another store has made there would keep out what this one has.
    mutating func claim(_ connection: any RedisLink) throws {
        let identity = try opened().identity()
        let answers = try connection.send([
            RedisCommand("SET", RedisKeys.store, identity, "NX"),
            RedisCommand("GET", RedisKeys.store),
        ])
        for case .error(let text) in answers { throw RedisError(answer: text) }
        guard answers[1].text == identity else {
            throw RedisError.unsupported(
                "this Redis has what another store has made (\(RedisKeys.store)): empty that "
                    + "database (FLUSHDB), or name another")
        }
    }

    mutating func opened() throws -> any RowsSource {
        if let source { return source }
        let made = try openSource()
        source = made
        return made
    }

    private mutating func fail(_ error: any Error, _ nowMs: Int64) {
        failures += 1
        switch error {
        case let error as RedisError:
            switch error {
            case .outOfMemory, .refused: break
            case .badURL, .unreachable, .denied, .notReady, .unsupported, .malformed:
                // Not ready: by now the name may lead elsewhere.
                connection?.close()
                connection = nil
            }
        case StoreError.locked: break
        default:
            source?.close()
            source = nil
        }
        let text = "\(error)"
        if text != lastError { settings.report(text) }
        lastError = text
        let (failures, isConnected) = (failures, connection != nil)
        publish { status in
            status.state = .failing
            status.connected = isConnected
            status.lastError = text
            status.lastErrorMs = nowMs
            status.failures += 1
            status.consecutiveFailures = failures
        }
    }

    private func report(_ nowMs: Int64) {
        // Rows and events of a shard lag for the same entries.
        let behind = lagging.merging(eventLag, uniquingKeysWith: max)
        let unknown = stale.union(unpublished).subtracting(behind.keys).count
        let entries = changes.entries &+ behind.values.reduce(UInt64(unknown), &+)
        let since = changes.sinceMs
        let (stale, unpublished, isFull) = (stale.count, unpublished.count, streamIsFull)
        publish { status in
            status.lagEntries = entries
            status.lagMs = since.map { max(0, nowMs - $0) } ?? 0
            status.rebuilding = stale
            status.publishing = unpublished
            status.streamIsFull = isFull
        }
    }
}
