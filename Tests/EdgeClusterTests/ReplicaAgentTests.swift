import EdgeCluster
import EdgeTypes
import Testing

/// One node's part in keeping shards alive, told by hand what others say.
@Suite("A node's agent")
struct ReplicaAgentTests {
    private static let secondNs: UInt64 = 1_000_000_000

    private func id(_ node: UInt64, _ boot: UInt64 = 1) -> ReplicaID {
        ReplicaID(node: node, boot: boot)
    }

    private func agent(
        _ me: ReplicaID, shards: Int = 1, sole: [SoleRecord] = [],
        held: [ReplicaAgent.Held] = [], cleanBoot: UInt64? = nil
    ) -> ReplicaAgent {
        let plan = ReplicaPlan(
            replicas: 2, candidates: Array(repeating: [0, 1, 2], count: shards))
        return ReplicaAgent(
            me, plan: plan, nodes: 3, sole: sole, held: held, cleanBoot: cleanBoot,
            nowNs: Self.secondNs)
    }

    private func row(
        _ epoch: UInt32, _ primary: ReplicaID, _ members: [ReplicaID]
    ) -> ShardConfiguration {
        ShardConfiguration(shard: 0, epoch: epoch, primary: primary, members: members)
    }

    @Test("a shard that never was is founded by whoever should lead it, once the arbiter was read")
    func founding() {
        var first = agent(id(0))
        var second = agent(id(1))
        for place in 0..<2 {
            var outputs: [AgentOutput] = []
            if place == 0 {
                first.tick(nowNs: Self.secondNs, into: &outputs)
            } else {
                second.tick(nowNs: Self.secondNs, into: &outputs)
            }
            #expect(outputs.contains(.read(after: 0)))
            #expect(!outputs.contains { if case .insert = $0 { true } else { false } })
        }
        let founded = AgentOutput.insert([row(1, id(0), [id(0)])])
        var outputs: [AgentOutput] = []
        first.read([], revision: 1, nowNs: Self.secondNs, into: &outputs)
        second.read([], revision: 1, nowNs: Self.secondNs, into: &outputs)
        outputs = []
        first.tick(nowNs: 2 * Self.secondNs, into: &outputs)
        #expect(outputs.contains(founded))
        outputs = []
        second.tick(nowNs: 2 * Self.secondNs, into: &outputs)
        #expect(!outputs.contains { if case .insert = $0 { true } else { false } })
    }

    @Test("whoever takes a shard over gives its primary no lease before that knows of it")
    func leases() {
        var backup = agent(id(1))
        var outputs: [AgentOutput] = []
        let members = [id(0), id(1)]
        backup.read([row(2, id(0), members)], revision: 1, nowNs: Self.secondNs, into: &outputs)
        backup.beacon(1, from: id(0), nowNs: Self.secondNs, into: &outputs)
        #expect(outputs.contains(.beaconAnswer(number: 1, to: id(0))))
        // Silence for longer than the grace.
        var nowNs = 2 * Self.secondNs
        outputs = []
        backup.tick(nowNs: nowNs, into: &outputs)
        #expect(outputs.contains(.graceIsOver(id(0))))
        // It was only slow: what was begun is brought to its end all the same.
        outputs = []
        nowNs += 50_000_000
        backup.beacon(2, from: id(0), nowNs: nowNs, into: &outputs)
        backup.tick(nowNs: nowNs, into: &outputs)
        #expect(!outputs.contains(.beaconAnswer(number: 2, to: id(0))))
        #expect(outputs.contains(.graceIsOver(id(0))))
        let taken = row(3, id(1), [id(1)])
        let change = ConfigurationChange(expected: row(2, id(0), members), next: taken)
        backup.answered([change], [.applied], nowNs: nowNs, into: &outputs)
        backup.deposed(id(0), 0)
        outputs = []
        backup.beacon(3, from: id(0), nowNs: nowNs, into: &outputs)
        #expect(outputs == [.send(0, .stale(taken), to: id(0))])
        backup.noted(0, by: id(0))
        outputs = []
        backup.beacon(4, from: id(0), nowNs: nowNs, into: &outputs)
        #expect(outputs == [.beaconAnswer(number: 4, to: id(0))])
    }

    @Test("after a restart a node goes on from its disk only where its process was alone")
    func restart() {
        let alone = SoleRecord(shard: 0, epoch: 4, boot: 7, born: 2)
        var outputs: [AgentOutput] = []
        var resumed = agent(id(0, 9), sole: [alone])
        let last = row(4, id(0, 7), [id(0, 7)])
        resumed.read([last], revision: 1, nowNs: Self.secondNs, into: &outputs)
        #expect(outputs.contains(.resume(last, alone)))
        // The same record, and somebody was a member after it.
        outputs = []
        var late = agent(id(0, 9), sole: [alone])
        late.read(
            [row(6, id(1), [id(1)])], revision: 1, nowNs: Self.secondNs, into: &outputs)
        #expect(outputs.contains(.forget(0)))
        #expect(!outputs.contains { if case .resume = $0 { true } else { false } })
    }

    @Test(
        "where all members have restarted whoever holds most goes on, sealed unless it is complete",
        arguments: [(6, 9, false), (9, 6, false), (6, 9, true)] as [(UInt64, UInt64, Bool)])
    func reopening(mine: UInt64, theirs: UInt64, isClean: Bool) {
        let before = row(5, id(0, 1), [id(0, 1), id(1, 1)])
        var me = agent(
            id(0, 2), held: [ReplicaAgent.Held(logEpoch: 3, last: mine)],
            cleanBoot: isClean ? 1 : nil)
        var outputs: [AgentOutput] = []
        me.read([before], revision: 1, nowNs: Self.secondNs, into: &outputs)
        #expect(!outputs.contains(.forget(0)))
        // Nothing before the other has told.
        me.beacon(1, from: id(1, 2), nowNs: Self.secondNs, into: &outputs)
        outputs = []
        me.tick(nowNs: Self.secondNs + 1, into: &outputs)
        let told = AgentOutput.send(
            0, .holding(epoch: 5, logEpoch: 3, last: mine, isComplete: isClean), to: id(1, 2))
        #expect(outputs.contains(told))
        #expect(!outputs.contains { if case .reopen = $0 { true } else { false } })
        me.holding(
            0, epoch: 5, logEpoch: 3, last: theirs, isComplete: false, from: id(1, 2))
        outputs = []
        me.tick(nowNs: Self.secondNs + 300_000_000, into: &outputs)
        let goesOn = isClean || mine > theirs
        #expect(outputs.contains(.reopen(before, isSealed: !isClean)) == goesOn)
    }

    @Test(
        "what the disk holds counts after a try to go on with it, and not once it was replaced",
        arguments: [
            (6, 1, true), (6, 4, true), (0, 5, false), (0, 4, false),
        ] as [(UInt32, UInt32, Bool)])
    func recordsOfLaterLives(epoch: UInt32, born: UInt32, counts: Bool) {
        let before = row(5, id(0, 1), [id(0, 1), id(1, 1)])
        // Its second life told the disk that it would be alone at epoch 6, or that it has learned:
        // that at epoch 4, where the first life's admission was decided after it had died.
        let record = SoleRecord(shard: 0, epoch: epoch, boot: 2, born: born)
        var me = agent(
            id(0, 3), sole: [record], held: [ReplicaAgent.Held(logEpoch: 3, last: 9)])
        var outputs: [AgentOutput] = []
        me.read([before], revision: 1, nowNs: Self.secondNs, into: &outputs)
        me.beacon(1, from: id(1, 2), nowNs: Self.secondNs, into: &outputs)
        outputs = []
        me.tick(nowNs: Self.secondNs + 1, into: &outputs)
        let told = AgentOutput.send(
            0,
            .holding(
                epoch: 5, logEpoch: counts ? 3 : 0, last: counts ? 9 : 0, isComplete: false),
            to: id(1, 2))
        #expect(outputs.contains(told))
    }

    @Test("a learner becomes a member only once it has its copy and the store has what is in it")
    func admission() {
        var primary = ShardReplica(shard: 0, me: id(0), hasStore: true)
        var effects: [ReplicaEffect] = []
        primary.adopt(row(1, id(0), [id(0)]), into: &effects)
        #expect(primary.role == .primary)
        for _ in 0..<3 { _ = primary.append(into: &effects) }
        primary.flushed(3, incarnation: 0, into: &effects)
        primary.invite(id(1), into: &effects)
        func proposes(_ last: UInt64) -> Bool {
            effects = []
            primary.receive(
                .position(epoch: 1, last: last, greeting: 1), from: id(1), into: &effects)
            return effects.contains { if case .propose = $0 { true } else { false } }
        }
        #expect(!proposes(0))
        #expect(effects.contains(.copy(to: id(1))))
        // The copy is there, and the store has none of its three entries.
        #expect(!proposes(3))
        effects = []
        primary.stored(upTo: 2, into: &effects)
        #expect(effects.isEmpty)
        primary.stored(upTo: 3, into: &effects)
        #expect(effects.contains { if case .propose = $0 { true } else { false } })
    }

    @Test("a learner of an empty shard waits for its copy, too")
    func emptyAdmission() {
        var primary = ShardReplica(shard: 0, me: id(0), hasStore: true)
        var effects: [ReplicaEffect] = []
        primary.adopt(row(1, id(0), [id(0)]), into: &effects)
        primary.invite(id(1), into: &effects)
        for hasCopy in [false, true] {
            effects = []
            primary.receive(
                .position(epoch: 1, last: 0, greeting: 1), from: id(1), into: &effects)
            #expect(
                effects.contains { if case .propose = $0 { true } else { false } } == hasCopy)
        }
    }
}
