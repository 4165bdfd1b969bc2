import EdgeCore
import EdgeMemory
import EdgeTypes
import Testing

/// Random requests, as a crowd, back ends and operators would send them: the same numbers for
/// the same seed.
private struct Crowd {
    private var state: UInt64
    private var requests = 0

    init(seed: UInt64) { state = seed }

    mutating func next(_ bound: UInt64) -> UInt64 {
        state = Hash64.keyed(state, salt: 0x5eed)
        return Hash64.reduce(state, below: bound)
    }

    static let opening: [Ask] = [
        .rain("one", fen: 40_000, count: 400, slices: 3),
        .rain("many", fen: 90_000, count: 300, limit: 4, slices: 2),
        .rain("luck", kind: .luck, fen: 9_000, count: 90, slices: 2, durability: .memory),
        .stock("goods", units: 120, limit: 3, holdMs: 2_048, slices: 2),
    ]

    /// - Parameter orders: those that exist, to be paid, cancelled and refunded.
    mutating func ask(_ orders: [OrderID]) -> Ask {
        requests += 1
        let user = next(150)
        let request = Text64("r\(next(400))")
        let order =
            orders.isEmpty ? OrderID(shard: 0, number: 9) : orders[Int(next(UInt64(orders.count)))]
        switch next(100) {
        case 0..<30: return .grab("one", user)
        case 30..<50: return .grab("many", user % 40, request)
        case 50..<58: return .grab("luck", user)
        case 58..<72: return .reserve("goods", user % 60, Int64(1 + next(2)), request)
        case 72..<80: return .pay(order, Text64("p\(next(200))"), next(8) == 0 ? 1 : -1)
        case 80..<84: return .cancel(order)
        case 84..<87: return .refund(order, request, Int64(1 + next(90)), restock: Int64(next(2)))
        case 87..<89: return .claims("many", user % 40)
        case 89..<91: return .orders("goods", user % 60)
        case 91: return .refill("goods", 5, request)
        case 92: return .alter("many", request, limit: UInt32(2 + next(4)))
        case 93: return .on(.poolPause, "one")
        case 94, 95: return .on(.poolResume, "one")
        case 96: return .info("goods", .stock)
        case 97: return .list()
        case 98: return .grab("nothing", user)
        default: return requests > 900 ? .on(.poolClose, "luck") : .info("one")
        }
    }
}

@Suite("Histories of a node")
struct HistoryTests {
    /// What a node is asked to see whether two are alike.
    private static let questions: [Ask] =
        [
            .info("one"), .info("many"), .info("luck"), .info("goods", .stock), .list(),
            .list(.stock),
        ]
        + (0..<40 as Range<UInt64>).map { .claims("many", $0) }
        + (0..<60 as Range<UInt64>).map { .orders("goods", $0) }
        + (0..<150 as Range<UInt64>).map { .claims("one", $0) }

    private static func answers(_ node: TestNode) -> [String] {
        node.send(questions).map { "\($0)" }
    }

    /// Sends bursts of the same random requests, time passing in between; every answer as text.
    private static func live(
        _ node: TestNode, seed: UInt64, bursts: Int, after: (TestNode) -> Void = { _ in }
    ) -> [String] {
        var crowd = Crowd(seed: seed)
        var orders: [OrderID] = []
        var texts = node.send(Crowd.opening).map { "\($0)" }
        for _ in 0..<bursts {
            let asks = (0..<(1 + Int(crowd.next(40)))).map { _ in crowd.ask(orders) }
            for answer in node.send(asks) {
                texts.append("\(answer)")
                if answer.result == .reserved { orders.append(answer.order) }
            }
            // Mostly forward, now and then back: clocks are like that. In steps of 64 ms: within
            // one, when a hold is let go depends on when the timing wheel was turned.
            let pause = Int64(crowd.next(7)) * 64
            node.advance(toMs: node.nowMs + (crowd.next(16) == 0 ? -pause : pause))
            after(node)
        }
        return texts
    }

    @Test(
        "answers and entries are the same wherever batches are cut",
        arguments: [1, 2, 3] as [UInt64])
    func cuts(seed: UInt64) {
        let whole = TestNode()
        whole.cut = 1_000
        let expected = Self.live(whole, seed: seed, bursts: 60)
        #expect(Set(expected).count > 100, "a history without variety says nothing")
        for cut in [1, 7, 32] {
            let node = TestNode()
            node.cut = cut
            #expect(Self.live(node, seed: seed, bursts: 60) == expected)
            #expect(node.journal == whole.journal)
        }
    }

    @Test(
        "a node that replays its journal answers as it did before, at every point of its history",
        arguments: [4, 5] as [UInt64])
    func prefixes(seed: UInt64) throws {
        var points: [(entries: Int, nowMs: UnixMs, answers: [String])] = []
        let node = TestNode()
        _ = Self.live(node, seed: seed, bursts: 40) { node in
            // Asking journals nothing.
            let before = node.journal.count
            let texts = Self.answers(node)
            #expect(node.journal.count == before)
            points.append((before, node.nowMs, texts))
        }
        for (entries, nowMs, texts) in points {
            let again = try TestNode(replaying: node.journal.prefix(entries), nowMs: nowMs)
            again.advance(toMs: nowMs)
            let differing = zip(Self.answers(again), texts).filter { $0 != $1 }
            #expect(
                differing.isEmpty,
                "after \(entries) entries at \(nowMs - TestNode.startMs), now and before: \(differing.prefix(2))"
            )
        }
        #expect(points.last.map { $0.entries > 400 } == true)
    }

    @Test(
        "whatever its cores, a node grants the same in all and nobody wins twice",
        arguments: [1, 2, 3], [6, 7] as [UInt64])
    func cores(count: Int, seed: UInt64) {
        let node = TestNode(cores: count)
        node.send(Crowd.opening)
        var crowd = Crowd(seed: seed)
        var won: [UInt64: String] = [:]
        var packets: Set<Int64> = []
        var fen: Fen = 0
        for _ in 0..<900 {
            let user = crowd.next(700)
            node.entryCore = Int(crowd.next(UInt64(count)))
            let answer = node.send(.grab("one", user))
            guard answer.result == .granted || answer.result == .repeat else { continue }
            let text = "\(answer.packet) \(answer.fen)"
            #expect((won[user] == nil) == (answer.result == .granted))
            #expect(won[user] == nil || won[user] == text)
            if won[user] == nil {
                #expect(packets.insert(answer.packet).inserted)
                fen += answer.fen
            }
            won[user] = text
        }
        node.entryCore = 0
        let info = node.send(.info("one"))
        #expect(info.integer("granted") == Int64(won.count))
        #expect(info.integer("granted_fen") == fen)
        #expect(info.integer("remaining") == 400 - Int64(won.count))
        node.send(.on(.poolClose, "one"))
        node.tick()
        let closed = node.send(.info("one"))
        #expect(closed.integer("returned_fen") == 40_000 - fen)
    }
}
