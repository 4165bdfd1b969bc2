import EdgeTypes

/// The arbiter of a simulated cluster: one consistent table. What real engines do is modelled by
/// delays, by refusing for a while, and by answers that are lost after the change was made.
struct ArbiterModel {
    private(set) var rows: [ShardConfiguration?]
    /// By shard: when its row last changed.
    private var revisions: [UInt64]
    private(set) var revision: UInt64 = 0
    /// Who should hold each shard, once an operator has decided.
    var target: PlacementDecision?
    var isDown = false
    var losesAnswers = false

    init(shards: Int) {
        rows = Array(repeating: nil, count: shards)
        revisions = Array(repeating: 0, count: shards)
    }

    mutating func insert(_ configurations: [ShardConfiguration]) {
        for configuration in configurations where rows[Int(configuration.shard)] == nil {
            put(configuration)
        }
    }

    mutating func compareAndSet(
        _ changes: [ConfigurationChange], mutant: ReplicationMutant
    ) -> [ConfigurationOutcome] {
        changes.map { change in
            guard let held = rows[Int(change.next.shard)] else { return .unknown }
            if held == change.next { return .applied }
            let isExpected =
                mutant == .compareWithoutMembers
                ? held.primary == change.expected.primary : held == change.expected
            guard isExpected else { return .refused(held) }
            put(change.next)
            return .applied
        }
    }

    private mutating func put(_ configuration: ShardConfiguration) {
        revision += 1
        rows[Int(configuration.shard)] = configuration
        revisions[Int(configuration.shard)] = revision
    }

    func read(after known: UInt64) -> [ShardConfiguration] {
        rows.indices.compactMap { revisions[$0] > known ? rows[$0] : nil }
    }
}

/// What nodes ask the arbiter, on its way there and back.
enum ArbiterQuestion {
    case insert([ShardConfiguration])
    case compareAndSet([ConfigurationChange])
    case read(after: UInt64)
}

enum ArbiterReply {
    case inserted
    case decided([ConfigurationChange], [ConfigurationOutcome])
    case read([ShardConfiguration]?, revision: UInt64, PlacementDecision?)
}

extension World {
    func ask(_ question: ArbiterQuestion, _ node: SimulatedNode) {
        schedule(
            nowNs + arbiterDelayNs(), .arbiterAsked(node: node.index, boot: node.boot, question))
    }

    private func arbiterDelayNs() -> UInt64 {
        arbiterQuestions += 1
        return 300_000 + random.below(3_000_000, .storeDelay, 1 << 52, arbiterQuestions)
    }

    /// A question is at the arbiter: what it does stands, even if whoever asked is gone by then.
    func arbitrate(_ node: Int, _ boot: Int, _ question: ArbiterQuestion) {
        let reply: ArbiterReply
        let isLost =
            arbiter.losesAnswers && random.happens(0.6, .storeDelay, 1 << 53, arbiterQuestions)
        switch question {
        case .insert(let configurations):
            if !arbiter.isDown { arbiter.insert(configurations) }
            reply = .inserted
        case .compareAndSet(let changes):
            if arbiter.isDown {
                reply = .decided(changes, changes.map { _ in .unknown })
            } else {
                let outcomes = arbiter.compareAndSet(changes, mutant: replicationMutant)
                for (change, outcome) in zip(changes, outcomes) {
                    note("arbiter: \(change.next): \(outcome)")
                    if case .applied = outcome { noteMove(change.next) }
                }
                if isLost { probe(.arbiterAnswerLost) }
                reply = .decided(changes, isLost ? changes.map { _ in .unknown } : outcomes)
            }
        case .read(let revision):
            reply =
                arbiter.isDown
                ? .read(nil, revision: revision, nil)
                : .read(
                    arbiter.read(after: revision), revision: arbiter.revision, arbiter.target)
        }
        schedule(nowNs + arbiterDelayNs(), .arbiterAnswers(node: node, boot: boot, reply))
    }
}
