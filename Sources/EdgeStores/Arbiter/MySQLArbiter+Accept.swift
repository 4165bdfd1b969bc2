public import EdgeReconciler
import EdgeTypes

/// Another server in the place of the one before.
///
/// The operator checks first: that the old server answers nobody any more, also later; that the new
/// one is the most recent copy there is; that every node that lives can reach it. What the copy
/// lacks, nodes that have read it bring back: each tells what it knows before anything else is
/// changed, and nothing is until all have, or were named as absent. A decision that only lost
/// processes knew is lost: the shards it was about stay with whoever the copy names.
extension MySQLArbiter {
    /// How far an acceptance moves the revision: farther than a copy can be behind.
    static let revisionJump: Int64 = 1 << 20

    public func accept(without absent: [String]) throws(StoreError) -> ArbiterAcceptance {
        try use { session in try session.accept(without: absent) }
    }

    /// Who answers, whether or not it was accepted.
    public func standing() throws(StoreError) -> ArbiterStanding {
        try use { session in
            try session.engine.transaction(.snapshot) {
                let state = try session.state("")
                return ArbiterStanding(
                    accepted: state.accepted, found: state.found, place: state.place,
                    revision: state.revision, awaited: try session.awaited(state))
            }
        }
    }
}

/// What an operator sees of an arbiter.
public struct ArbiterStanding: Hashable, Sendable {
    /// The accepted server's own name.
    public var accepted: String
    /// The name of the one that answers.
    public var found: String
    /// `host:port` as the one that answers calls itself.
    public var place: String
    public var revision: Int64
    /// Nodes that have yet to tell what they know.
    public var awaited: [String]
}

extension MySQLArbiter.Session {
    mutating func accept(without absent: [String]) throws -> ArbiterAcceptance {
        let engine = engine
        let result = try engine.transaction(.write) { () throws -> ArbiterAcceptance in
            let state = try self.state(engine.forUpdate)
            let generation = state.generation + 1
            // So that every node reads everything again.
            let revision = state.revision + MySQLArbiter.revisionJump
            try engine.run(
                """
                UPDATE arbiter_state SET accepted = ?, place = ?, revision = ?, generation = ?
                WHERE id = 1
                """,
                [
                    .text(state.found), .text(state.place), .integer(revision),
                    .integer(generation),
                ])
            for table in ["arbiter_configurations", "arbiter_nodes"] {
                try engine.run("UPDATE \(table) SET revision = ?", [.integer(revision)])
            }
            for name in absent {
                let isKnown = try engine.run(
                    "UPDATE arbiter_nodes SET generation = ? WHERE name = ?",
                    [.integer(generation), .text(name)])
                guard isKnown == 1 else {
                    throw StoreError.notForThis("the arbiter knows no node \(name)")
                }
            }
            var now = state
            now.generation = generation
            return ArbiterAcceptance(
                before: ArbiterIdentity(text: "\(state.identity) on \(state.accepted)"),
                now: ArbiterIdentity(text: "\(state.identity) on \(state.found)"),
                awaited: try awaited(now))
        }
        // This connection's memory is of whoever it was.
        generation = nil
        revision = 0
        return result
    }

    /// Nodes, apart from those that the cluster does without, that have yet to tell what they know.
    func awaited(_ state: ArbiterState) throws -> [String] {
        var names: [String] = []
        var numbers: [Int64] = []
        try engine.read(
            "SELECT name, number FROM arbiter_nodes WHERE generation < ? ORDER BY number",
            [.integer(state.generation)]
        ) { row in
            names.append(row.text(0))
            numbers.append(row.integer(1))
        }
        guard !names.isEmpty else { return [] }
        let retired = try target(after: -1)?.retired ?? []
        return zip(names, numbers).filter { !retired.map(Int64.init).contains($0.1) }.map(\.0)
    }

    /// After an acceptance: tells what this process knows, before anything else.
    func tell(_ state: inout ArbiterState) throws {
        guard let generation, generation < state.generation else { return }
        try raise(Array(known.values), &state)
        if let own {
            try engine.run(
                "UPDATE arbiter_nodes SET generation = ? WHERE name = ?",
                [.integer(state.generation), .text(own)])
        }
    }

    mutating func remember(_ configurations: [ShardConfiguration]) {
        for row in configurations where known[row.shard]?.epoch ?? 0 < row.epoch {
            known[row.shard] = row
        }
    }

    func raise(_ rows: [ShardConfiguration], _ state: inout ArbiterState) throws {
        let held = try configurations(of: rows.map(\.shard))
        let news = rows.filter { row in
            guard let there = held[row.shard] else { return true }
            // A damaged row is nobody's knowledge.
            return there.map { $0.epoch < row.epoch } ?? true
        }
        guard !news.isEmpty else { return }
        try write(news, try nextRevision(&state))
    }
}
