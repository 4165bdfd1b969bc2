import EdgeReconciler
import EdgeTypes

/// Shards' configurations.
extension MySQLArbiter.Session {
    private static let columns = "shard, epoch, primary_member, members, sealed"

    mutating func read(after revision: Int64) throws -> ArbiterNews {
        let engine = engine
        let news = try ask { state in
            var rows: [ShardConfiguration] = []
            try engine.read(
                """
                SELECT \(Self.columns) FROM arbiter_configurations WHERE revision > ?
                ORDER BY shard
                """, [.integer(revision)]
            ) { rows.append(try Self.configuration($0)) }
            return ArbiterNews(
                configurations: rows, nodes: try Self.nodes(after: revision, engine),
                revision: UInt64(state.revision))
        }
        remember(news.configurations)
        return news
    }

    mutating func insert(_ rows: [ShardConfiguration]) throws {
        try change(needsAll: true) { state, session in
            let held = try session.configurations(of: rows.map(\.shard))
            let new = rows.filter { held[$0.shard] == nil }
            let revision = try session.nextRevision(&state)
            try session.write(new, revision)
        }
    }

    mutating func compareAndSet(
        _ changes: [ConfigurationChange]
    ) throws -> [ConfigurationOutcome] {
        guard !changes.isEmpty else { return [] }
        let outcomes: [ConfigurationOutcome]
        do {
            outcomes = try change(needsAll: true) { state, session in
                try session.decide(changes, &state)
            }
        } catch StoreError.unknownOutcome {
            outcomes = try readBack(changes)
        }
        for (change, outcome) in zip(changes, outcomes) {
            switch outcome {
            case .applied: remember([change.next])
            case .refused(let held): remember([held])
            case .unknown: break
            }
        }
        return outcomes
    }

    /// Each change by itself, against what the ones before it have made.
    private func decide(
        _ changes: [ConfigurationChange], _ state: inout ArbiterState
    ) throws -> [ConfigurationOutcome] {
        var held = try configurations(of: changes.map(\.next.shard))
        var written: [ShardID: ShardConfiguration] = [:]
        let outcomes = changes.map { change -> ConfigurationOutcome in
            // A damaged row is that shard's trouble alone; so is one that is not there.
            guard case .some(.some(let now)) = held[change.next.shard] else { return .unknown }
            // Asked again after an answer that was lost.
            if now == change.next { return .applied }
            guard now == change.expected else { return .refused(now) }
            held[change.next.shard] = change.next
            written[change.next.shard] = change.next
            return .applied
        }
        guard !written.isEmpty else { return outcomes }
        let revision = try nextRevision(&state)
        try write(written.values.sorted { $0.shard < $1.shard }, revision)
        return outcomes
    }

    /// Nobody knows what became of a commit: what is held now says that it was applied, or nothing.
    private mutating func readBack(
        _ changes: [ConfigurationChange]
    ) throws -> [ConfigurationOutcome] {
        // Its lock waits for whatever the lost connection still does.
        try change(needsAll: false) { _, session in
            let held = try session.configurations(of: changes.map(\.next.shard))
            return changes.map { held[$0.next.shard] == $0.next ? .applied : .unknown }
        }
    }

    // MARK: Rows

    /// By shard; nil within for a row that makes no sense.
    func configurations(
        of shards: [ShardID]
    ) throws -> [ShardID: ShardConfiguration?] {
        guard !shards.isEmpty else { return [:] }
        var found: [ShardID: ShardConfiguration?] = [:]
        let list = Set(shards).sorted().map { String($0) }.joined(separator: ",")
        try engine.read(
            """
            SELECT \(Self.columns) FROM arbiter_configurations WHERE shard IN (\(list))
            ORDER BY shard\(engine.forUpdate)
            """, []
        ) { row in
            guard let shard = ShardID(exactly: row.integer(0)) else { return }
            found[shard] = .some(try? Self.configuration(row))
        }
        return found
    }

    func write(_ rows: [ShardConfiguration], _ revision: Int64) throws {
        try engine.write(MySQLArbiterTables.configurations, rows: rows.count) { index, sink in
            let row = rows[index]
            sink.put(Int64(row.shard))
            sink.put(Int64(row.epoch))
            sink.put(ArbiterText.text(row.primary))
            sink.put(ArbiterText.members(row))
            sink.put(row.isSealed ? 1 : 0)
            sink.put(revision)
        }
    }

    private static func configuration(
        _ row: any SQLRow
    ) throws(StoreError) -> ShardConfiguration {
        try ArbiterText.configuration(
            shard: row.integer(0), epoch: row.integer(1), primary: row.text(2),
            members: row.text(3), isSealed: row.integer(4) != 0)
    }
}
