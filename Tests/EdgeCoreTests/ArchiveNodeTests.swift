import EdgeCluster
import EdgeCore
import EdgeDomain
import EdgeLedger
import EdgeMemory
import EdgeTypes
import EdgeWire
import Testing

/// Closed rains leave memory once the store has them; what only the store knows is asked for there.
@Suite("Closed rains are archived")
struct ArchiveNodeTests {
    private static let afterMs: Int64 = 60_000
    private static let key = PoolKey.of(.rain, "a")
    private static let users = (1...60 as ClosedRange<UserID>).map { $0 }

    /// A rain of 40 packets with grants, closed.
    private static func closed(
        cores: Int = 1, slices: UInt32 = 4, limit: UInt32 = 1, count: Int64 = 40,
        durability: Durability = .journal
    ) -> TestNode {
        let node = TestNode(cores: cores, shards: 16, archiveAfterMs: afterMs)
        node.send(
            .rain(
                "a", fen: count * 100, count: count, limit: limit, slices: slices,
                durability: durability))
        for user in users.prefix(30) {
            node.nowMs += 1
            node.send(.grab("a", user, Text64("r\(user)")))
            if limit > 1 { node.send(.grab("a", user, Text64("s\(user)"))) }
        }
        #expect(node.send(.on(.poolClose, "a")).isOK)
        return node
    }

    /// Lets the store have everything, and the time pass.
    private static func archive(_ node: TestNode, afterMs: Int64 = afterMs) {
        node.storeAll()
        node.advance(toMs: node.nowMs + afterMs + 3_000)
    }

    private static func archived(_ node: TestNode) throws -> Int {
        try node.entries().count { if case .sliceArchived = $0 { true } else { false } }
    }

    private static func held(_ node: TestNode, slices: UInt32) -> Int {
        var sum = 0
        for slice in 0..<slices {
            for core in 0..<node.cores {
                sum += node.nodes[core].claims(ofSlice: slice, key)?.held ?? 0
            }
        }
        return sum
    }

    /// What the store would hold: every claim, with its entry's id.
    private static func rows(
        _ node: TestNode
    ) throws -> [(id: Int64, user: UserID, claim: ArchivedClaim)] {
        try node.journal.compactMap { entry in
            try entry.bytes.withUnsafeBytes { bytes in
                let frame = try JournalFrame.parse(bytes)
                guard let claim = frame.claim else { return nil }
                return (
                    EntryID.of(shard: frame.shard, sequence: frame.sequence), claim.user,
                    ArchivedClaim(
                        packet: claim.packet, amountFen: claim.amountFen,
                        timeMs: frame.header.timeMs, requestHash: claim.requestHash)
                )
            }
        }
    }

    /// The answer as a client would hear it.
    private static func heard(_ node: TestNode, _ ask: Ask) throws -> Answer {
        let told = node.send(ask)
        guard told.shape == .archived else { return told }
        let question = try #require(ArchivedQuestion(told.body))
        let found = try rows(node).filter {
            $0.user == question.user && (question.first...question.last).contains($0.id)
        }
        let reply = Reply(
            ticket: Ticket(core: 0, generation: 0, connection: 0, position: 0),
            shape: told.shape, outcome: told.outcome, waitsForJournal: told.waits,
            timeMs: told.timeMs)
        let (answer, body) = question.answer(reply, found.map(\.claim))
        return Answer(answer, body ?? .null)
    }

    @Test(
        "claims leave memory, and everybody hears what they would have heard",
        arguments: [1, 3], [UInt32(1), 3])
    func sameAnswers(cores: Int, limit: UInt32) throws {
        let node = Self.closed(cores: cores, limit: limit, count: 80)
        let asks = Self.users.flatMap { user in
            [
                Ask.grab("a", user, Text64("r\(user)")), .grab("a", user, Text64("s\(user)")),
                .grab("a", user, Text64("new\(user)")), .grab("a", user), .claims("a", user),
            ]
        }
        func hear(_ node: TestNode) throws -> [Answer] {
            try asks.map { ask in
                var answer = try Self.heard(node, ask)
                // What comes from the store is committed.
                answer.waits = false
                return answer
            }
        }
        let before = try hear(node)
        let info = node.send(.info("a")).without("archived")
        #expect(
            before.contains { $0.result == .repeat } && before.contains { $0.result == .closed })
        #expect(Self.held(node, slices: 4) == (limit == 1 ? 30 : 60))
        Self.archive(node)
        #expect(try Self.archived(node) == 4)
        #expect(node.send(.info("a")).integer("archived") == 4)
        #expect(Self.held(node, slices: 4) == 0)
        #expect(node.send(.grab("a", 1, "r1")).shape == .archived)
        #expect(node.send(.info("a")).without("archived") == info)
        #expect(try hear(node) == before)
        // Likewise after a restart, from the journal and from snapshots.
        for other in [
            try TestNode(
                replaying: node.journal, cores: cores, shards: 16, nowMs: node.nowMs),
            try node.restartedFromSnapshots(cores: 2),
        ] {
            #expect(Self.held(other, slices: 4) == 0)
            #expect(other.send(.info("a")).without("archived") == info)
            #expect(other.send(.grab("a", 1, "r1")).shape == .archived)
        }
        #expect(
            try TestNode(
                replaying: node.journal, cores: cores, shards: 16, nowMs: node.nowMs
            ).send(.claims("a", 5)) == node.send(.claims("a", 5)))
    }

    @Test("nothing leaves before the store has it, however long that takes")
    func storeFirst() throws {
        let node = Self.closed()
        node.advance(toMs: node.nowMs + 10 * Self.afterMs)
        #expect(try Self.archived(node) == 0)
        // All but the last entry of each shard: the returns.
        for shard in 0..<16 where node.sequence(of: shard) > 0 {
            node.stored[ShardID(shard)] = node.sequence(of: shard) - 1
        }
        let home = Placement(shards: 16, cores: 1).home(of: Self.key)
        node.advance(toMs: node.nowMs + 5_000)
        let early = try Self.archived(node)
        // Beyond the home's, only slices that share its shard end before its last entry.
        #expect(early <= 1, "\(home)")
        Self.archive(node, afterMs: 0)
        #expect(try Self.archived(node) == 4)
    }

    @Test("a store that was put back lets nothing more go")
    func storeGoesBack() throws {
        let node = Self.closed()
        node.storeAll()
        node.tick()
        for shard in node.stored.keys { node.stored[shard] = 1 }
        node.advance(toMs: node.nowMs + 2 * Self.afterMs)
        #expect(try Self.archived(node) == 0)
        Self.archive(node, afterMs: 0)
        #expect(try Self.archived(node) == 4)
    }

    @Test("nothing leaves before its time, while it is open, or by a core that is not asked to")
    func notEarly() throws {
        let node = Self.closed()
        node.storeAll()
        node.advance(toMs: node.nowMs + Self.afterMs - 1)
        #expect(try Self.archived(node) == 0)
        node.advance(toMs: node.nowMs + 3_000)
        #expect(try Self.archived(node) == 4)

        let open = TestNode(archiveAfterMs: Self.afterMs)
        open.send(.rain("a", fen: 400, count: 4))
        open.send(Self.users.prefix(6).map { .grab("a", $0) })
        Self.archive(open)
        #expect(try Self.archived(open) == 0)
        #expect(open.send(.grab("a", 1)).result == .repeat)

        let off = TestNode()
        off.send(.rain("a", fen: 400, count: 4))
        off.send(Self.users.prefix(6).map { .grab("a", $0) })
        off.send(.on(.poolClose, "a"))
        Self.archive(off)
        #expect(try Self.archived(off) == 0)
        #expect(off.deadlineMs == [.max])
    }

    @Test("what is quarantined stays in memory until an operator has taken it out")
    func quarantined() throws {
        let before = TestNode(archiveAfterMs: Self.afterMs)
        before.send(.rain("a", fen: 4_000, count: 40, slices: 2, durability: .memory))
        before.send(Self.users.prefix(20).map { .grab("a", $0) })
        let node = try TestNode(
            replaying: before.journal, nowMs: before.nowMs, cleanStop: false,
            archiveAfterMs: Self.afterMs)
        #expect(node.send(.on(.poolClose, "a")).isOK)
        Self.archive(node)
        #expect(try Self.archived(node) == 0)
        #expect(node.send(.resolve("a", .retire, "x")).isOK)
        let info = node.send(.info("a")).without("archived")
        Self.archive(node)
        #expect(try Self.archived(node) == 2)
        #expect(node.send(.info("a")).without("archived") == info)
        // Who has nothing hears what they heard before.
        #expect(try Self.heard(node, .grab("a", 50)).result == .lost)
        #expect(try Self.heard(node, .grab("a", 1)).result == .repeat)
        #expect(try Self.heard(node, .resolve("a", .retire, "x")).isOK)
    }

    @Test(
        "a snapshot that is being copied when its claims leave is broken, and the next one is whole"
    )
    func snapshotBreaks() throws {
        let node = Self.closed(slices: 1)
        let shard = Placement(shards: 16, cores: 1).shard(of: Self.key, slice: 0)
        var snapshot = node.nodes[0].beginSnapshot(of: shard)
        let isDone = node.nodes[0].continueSnapshot(&snapshot, bytes: 64)
        #expect(!isDone)
        Self.archive(node)
        #expect(try Self.archived(node) == 1)
        while !node.nodes[0].continueSnapshot(&snapshot, bytes: 64) {}
        let isBroken = snapshot.isBroken
        #expect(isBroken)
        var next = node.nodes[0].beginSnapshot(of: shard)
        while !node.nodes[0].continueSnapshot(&next, bytes: 64) {}
        let (isWhole, bytes) = (!next.isBroken, next.content.count)
        #expect(isWhole && bytes < 2_000)
        let other = TestNode(shards: 16)
        try other.nodes[0].loadSnapshot(shard, next.content.bytes)
        #expect(other.nodes[0].claims(ofSlice: 0, Self.key)?.isArchived == true)
    }

    @Test("an entry that archives what is not closed is refused")
    func refused() throws {
        let node = TestNode()
        node.send(.rain("a", fen: 400, count: 4))
        node.send(.grab("a", 1))
        let shard = Placement(shards: 8, cores: 1).shard(of: Self.key, slice: 0)
        let standing = node.nodes[0].standing(of: shard)
        var header = standing
        header.sequence += 1
        #expect(throws: ReplayError.self) {
            try node.nodes[0].replay(.sliceArchived(Self.key, slice: 0, first: 1), header)
        }
        #expect(throws: ReplayError.self) {
            try node.nodes[0].replay(.sliceArchived(Self.key, slice: 9, first: 1), header)
        }
    }

    @Test("on a full disk nothing is archived")
    func fullDisk() throws {
        let node = Self.closed()
        node.storageIsFull = true
        Self.archive(node)
        #expect(try Self.archived(node) == 0)
        node.storageIsFull = false
        node.advance(toMs: node.nowMs + 2_000)
        #expect(try Self.archived(node) == 4)
    }
}
