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

    @Test(
        "a pool of one slice is refused at the other core's door, too",
        arguments: ["a", "b", "c", "d"] as [Text64])
    func oneSlice(name: Text64) {
        let node = TestNode(cores: Self.cores, shards: 16)
        node.send(.rain(name, fen: 100_000, count: 20))
        node.send(.stock(name, units: 20))
        var orders: [UserID: Answer] = [:]
        for user in 1...60 as ClosedRange<UserID> {
            node.entryCore = Int(user % 2)
            let grab = node.send(.grab(name, user))
            #expect(grab.result == (user <= 20 ? .granted : .soldOut))
            let order = node.send(.reserve(name, user))
            #expect(order.result == (user <= 20 ? .reserved : .soldOut))
            if user <= 20 { orders[user] = order }
        }
        #expect(Self.refusals(node) > 20)
        for user in 1...20 as ClosedRange<UserID> {
            node.entryCore = Int(user / 2 % 2)
            #expect(node.send(.grab(name, user)).result == .repeat)
            #expect(node.send(.reserve(name, user)).order == orders[user]?.order)
        }
        // What is put in, or comes back, is there for whoever comes next, at either door.
        for core in 0..<Self.cores {
            node.entryCore = core
            #expect(node.send(.refill(name, 1, core == 0 ? "f" : "g")).isOK)
            node.advance(toMs: node.nowMs + 500)
            let user = UserID(100 + core)
            #expect(node.send(.reserve(name, user)).result == .reserved)
            #expect(node.send(.reserve(name, 200)).result == .soldOut)
            let order = orders[UserID(1 + core)]?.order ?? OrderID(rawValue: 0)
            #expect(node.send(.cancel(order)).result == .cancelled)
            node.advance(toMs: node.nowMs + 500)
            #expect(node.send(.reserve(name, user + 10)).result == .reserved)
            #expect(node.send(.reserve(name, 200)).result == .soldOut)
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

    /// A SKU that is sold out, its orders, and a user of each core's slices who was refused at the
    /// other core's door.
    private static func soldOutStock() -> (TestNode, orders: [Answer], next: UserID) {
        let node = TestNode(cores: cores, shards: 16)
        node.send(.stock("s", units: 40, limit: 3, slices: 4))
        var orders: [Answer] = []
        var user: UserID = 1
        while orders.count < 40 {
            let answer = node.send(.reserve("s", user, 1, "r"))
            if answer.result == .reserved { orders.append(answer) }
            user += 1
        }
        var next: UserID = 1_000_000
        for core in 0..<cores {
            node.entryCore = core
            for _ in 0..<40 {
                #expect(node.send(.reserve("s", next, 1, "r")).result == .soldOut)
                next += 1
            }
        }
        return (node, orders, next)
    }

    @Test(
        "a door that does not hear of what came back refuses nobody who has got it since",
        arguments: 0..<12)
    func deafDoor(number: Int) {
        let (node, orders, first) = Self.soldOutStock()
        let deaf = number % 2
        // Of the certificates' end nothing comes through, and nothing is repeated.
        node.loses = { frame, core in
            if case .soldOut = frame { return core == deaf }
            return false
        }
        let refusals = Self.refusals(node)
        node.entryCore = deaf
        #expect(node.send(.reserve("s", first, 1, "r")).result == .soldOut)
        #expect(node.send(.cancel(orders[number].order)).result == .cancelled)
        var next = first + 1
        var bought: Answer?
        let beganMs = node.nowMs
        while bought == nil {
            node.entryCore = 1 - deaf
            let answer = node.send(.reserve("s", next, 1, "r"))
            if answer.result == .reserved { bought = answer } else { next += 1 }
        }
        // A filter is good for 400 ms, and what waits for it is sold soon after.
        #expect(node.nowMs - beganMs < 600)
        node.entryCore = deaf
        let again = node.send(.reserve("s", next, 1, "r"))
        #expect(again.result == .repeat && again.order == bought?.order)
        #expect(Self.refusals(node) >= refusals)
    }

    @Test("a filter that is lost, or told twice, or too late, changes no answer", arguments: 1...5)
    func lossyLinks(seed: UInt64) {
        let (node, winners) = Self.soldOutRain()
        var count: UInt64 = 0
        node.loses = { frame, _ in
            count += 1
            switch frame {
            case .askWinners, .winners, .renew, .soldOut:
                return Hash64.reduce(Hash64.mix(seed, count), below: 3) != 0
            default: return false
            }
        }
        for (user, answer) in winners.sorted(by: { $0.key < $1.key }) {
            node.entryCore = Int(user % 2)
            let again = node.send(.grab("a", user, "r"))
            #expect(again.result == .repeat && again.packet == answer.packet, "seed \(seed)")
            let other = node.send(.grab("a", user + (1 << 20), "r"))
            #expect(other.result == .soldOut || other.failure == .tryAgain, "seed \(seed)")
            node.advance(toMs: node.nowMs + 30)
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
