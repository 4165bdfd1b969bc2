import EdgeCore
import EdgeMemory
import EdgeTypes
import Testing

/// Two cores, each a door to the other's slices.
@Suite("Refusal at the door")
struct DoorNodeTests {
    private static let cores = 2

    private static func slice(
        of user: UserID, _ name: Text64, _ family: PoolFamily, slices: UInt32
    ) -> UInt32 {
        let key = PoolKey.of(family, name)
        let hash = Hash64.keyed(user, salt: Hash64.keyed(key.rawValue, salt: 3))
        return UInt32(Hash64.reduce(hash, below: UInt64(slices)))
    }

    private static func refusals(_ node: TestNode) -> UInt64 {
        (0..<node.cores).reduce(0) { $0 + node.nodes[$1].counters.doorRefusals }
    }

    private static func forwards(_ node: TestNode) -> UInt64 {
        (0..<node.cores).reduce(0) { $0 + node.nodes[$1].counters.forwards }
    }

    /// A rain whose packets all have an owner, and of which both cores know it.
    private static func soldOutRain(limit: UInt32 = 1) -> (TestNode, winners: [UserID: Answer]) {
        let node = TestNode(cores: cores, shards: 16)
        node.send(.rain("a", fen: 100_000, count: 300, limit: limit, slices: 8))
        var winners: [UserID: Answer] = [:]
        var user: UserID = 1
        while winners.count < 300 {
            node.entryCore = Int(user % 2)
            let answer = node.send(.grab("a", user, "r"))
            if answer.result == .granted { winners[user] = answer }
            user += 1
        }
        // The first of each door and slice asks.
        for core in 0..<cores {
            node.entryCore = core
            for slice in 0..<8 as Range<UInt32> {
                let other = (10_000...).first {
                    Self.slice(of: $0, "a", .rain, slices: 8) == slice
                }
                #expect(node.send(.grab("a", other ?? 0, "r")).result == .soldOut)
            }
        }
        return (node, winners)
    }

    @Test("who comes for a slice elsewhere hears at the door that all is gone; no winner does")
    func rain() {
        let (node, winners) = Self.soldOutRain()
        for core in 0..<Self.cores {
            node.entryCore = core
            let forwards = Self.forwards(node)
            let refusals = Self.refusals(node)
            for user in 20_000..<21_000 as Range<UserID> {
                #expect(node.send(.grab("a", user, "r")).result == .soldOut)
            }
            // About half are elsewhere, and one in a hundred of those is passed on.
            #expect(Self.refusals(node) - refusals > 350)
            #expect(Self.forwards(node) - forwards < 20)
            for (user, answer) in winners.sorted(by: { $0.key < $1.key }) {
                let again = node.send(.grab("a", user, "r"))
                #expect(again.result == .repeat && again.packet == answer.packet)
                #expect(again.fen == answer.fen)
            }
        }
    }

    @Test("a refusal at the door reads as one of the slice, and waits for nothing")
    func sameAnswer() {
        let (node, _) = Self.soldOutRain()
        var answers: [Answer] = []
        for core in 0..<Self.cores {
            node.entryCore = core
            let refusals = Self.refusals(node)
            var answer = node.send(.grab("a", 70_003, "r"))
            if Self.refusals(node) > refusals { #expect(!answer.waits) }
            answer.waits = false
            answers.append(answer)
        }
        #expect(answers[0] == answers[1])
    }

    @Test("a certificate is repeated while a crowd comes, and nobody is passed on for it")
    func renewal() {
        let (node, _) = Self.soldOutRain()
        node.entryCore = 0
        let refusals = Self.refusals(node)
        let forwards = Self.forwards(node)
        for turn in 0..<500 as Range<UserID> {
            node.advance(toMs: node.nowMs + 20)
            #expect(node.send(.grab("a", 30_000 + turn, "r")).result == .soldOut)
        }
        #expect(Self.refusals(node) - refusals > 150)
        #expect(Self.forwards(node) - forwards < 15)
    }

    @Test("terms that would be told first are: paused, closed, a request id that is missing")
    func terms() {
        let (node, winners) = Self.soldOutRain(limit: 2)
        for core in 0..<Self.cores {
            node.entryCore = core
            for user in 40_000..<40_040 as Range<UserID> {
                #expect(node.send(.grab("a", user)).failure == .badArgument)
            }
        }
        #expect(node.send(.on(.poolPause, "a")).isOK)
        for core in 0..<Self.cores {
            node.entryCore = core
            for user in 40_000..<40_040 as Range<UserID> {
                #expect(node.send(.grab("a", user, "r")).result == .paused)
            }
        }
        #expect(node.send(.on(.poolResume, "a")).isOK)
        #expect(node.send(.grab("a", 40_000, "r")).result == .soldOut)
        #expect(node.send(.on(.poolClose, "a")).isOK)
        for core in 0..<Self.cores {
            node.entryCore = core
            for user in 40_000..<40_040 as Range<UserID> {
                #expect(node.send(.grab("a", user, "r")).result == .closed)
            }
            for user in winners.keys.sorted().prefix(50) {
                #expect(node.send(.grab("a", user, "r")).result == .repeat)
            }
        }
    }

    @Test(
        "what comes back to a SKU is sold once no door refuses its buyer, who is known from then on",
        arguments: [1, 7, 32])
    func comesBack(cut: Int) {
        let node = TestNode(cores: Self.cores, shards: 16)
        node.cut = cut
        node.send(.stock("s", units: 40, limit: 3, slices: 4))
        var orders: [Answer] = []
        var user: UserID = 1
        while orders.count < 40 {
            let answer = node.send(.reserve("s", user, 1, "r"))
            if answer.result == .reserved { orders.append(answer) }
            user += 1
        }
        var next: UserID = 1_000_000
        for round in 0..<8 {
            // Everybody hears that it is sold out, at both doors.
            for core in 0..<Self.cores {
                node.entryCore = core
                for _ in 0..<40 {
                    #expect(node.send(.reserve("s", next, 1, "r")).result == .soldOut)
                    next += 1
                }
            }
            // One comes back; somebody of the same slice gets it.
            #expect(node.send(.cancel(orders[round].order)).result == .cancelled)
            var bought: Answer?
            while bought == nil {
                node.entryCore = Int(next % 2)
                let answer = node.send(.reserve("s", next, 1, "r"))
                if answer.result == .reserved { bought = answer } else { next += 1 }
                #expect(answer.result == .reserved || answer.result == .soldOut)
                node.advance(toMs: node.nowMs + 10)
            }
            for core in 0..<Self.cores {
                node.entryCore = core
                let again = node.send(.reserve("s", next, 1, "r"))
                #expect(again.result == .repeat && again.order == bought?.order)
                #expect(node.send(.reserve("s", next, 4, "q")).result == .limit)
            }
            next += 1
        }
        #expect(Self.refusals(node) > 200)
    }
}
