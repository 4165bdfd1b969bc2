import EdgeLedger
import EdgeTypes
import Testing

@Suite("Questions about what has left memory")
struct ArchivedQuestionTests {
    private static func question(
        isGrab: Bool = true, request: UInt64 = 0, limit: UInt32 = 1, user: UserID = 7
    ) -> ArchivedQuestion {
        ArchivedQuestion(
            pool: "rain:1", user: user, isGrab: isGrab, requestHash: request, limit: limit,
            first: EntryID.of(shard: 3, sequence: 5), last: EntryID.of(shard: 3, sequence: 900))
    }

    private static let reply = Reply(
        ticket: Ticket(core: 1, generation: 2, connection: 3, position: 4), shape: .archived,
        outcome: .closed, waitsForJournal: false, body: 9, timeMs: 77)

    private static let claims = [
        ArchivedClaim(packet: 10, amountFen: 100, timeMs: 1, requestHash: 11),
        ArchivedClaim(packet: 20, amountFen: 200, timeMs: 2, requestHash: 22),
        ArchivedClaim(packet: 30, amountFen: 300, timeMs: 3, requestHash: 22),
    ]

    @Test("a question travels as a value and comes back, with every user and request id")
    func roundTrip() {
        for user in [0, 1, UserID(Int64.max), .max] {
            for request in [UInt64(0), 1, .max] {
                for isGrab in [true, false] {
                    let question = Self.question(
                        isGrab: isGrab, request: request, limit: .max, user: user)
                    #expect(ArchivedQuestion(question.value) == question)
                }
            }
        }
    }

    @Test("what is no question is none")
    func malformed() {
        guard case .array(let items) = Self.question().value else { return }
        #expect(ArchivedQuestion(.null) == nil)
        #expect(ArchivedQuestion(.array(Array(items.dropLast()))) == nil)
        for index in items.indices {
            var other = items
            other[index] = .null
            #expect(ArchivedQuestion(.array(other)) == nil, "\(index)")
        }
        var backwards = items
        backwards.swapAt(5, 6)
        #expect(ArchivedQuestion(.array(backwards)) == nil)
    }

    @Test("under LIMIT 1 a winner hears the last claim, whatever the request id")
    func limitOne() {
        for request in [UInt64(0), 99] {
            let (answer, body) = Self.question(request: request).answer(Self.reply, Self.claims)
            #expect(answer.shape == .grab && answer.outcome == .repeat && body == nil)
            #expect(answer.packet == 30 && answer.fen == 300 && answer.timeMs == 3)
            #expect(answer.ticket == Self.reply.ticket && answer.body == -1)
        }
        let (own, _) = Self.question(request: 11).answer(Self.reply, Self.claims)
        #expect(own.packet == 10)
    }

    @Test("above LIMIT 1 a request hears its own claim, the latest of several, and no other")
    func byRequest() {
        let (first, _) = Self.question(request: 11, limit: 3).answer(Self.reply, Self.claims)
        #expect(first.outcome == .repeat && first.packet == 10)
        let (latest, _) = Self.question(request: 22, limit: 3).answer(Self.reply, Self.claims)
        #expect(latest.packet == 30)
        let (other, _) = Self.question(request: 33, limit: 3).answer(Self.reply, Self.claims)
        #expect(other.outcome == .closed && other.packet == -1 && other.timeMs == 77)
    }

    @Test("who has nothing hears what the core has said; a list is in order, or empty")
    func nothing() {
        let (loser, body) = Self.question().answer(Self.reply, [])
        #expect(loser.shape == .grab && loser.outcome == .closed && loser.timeMs == 77)
        #expect(loser.packet == -1 && loser.fen == 0 && body == nil)
        let (list, rows) = Self.question(isGrab: false).answer(Self.reply, Self.claims)
        #expect(list.shape == .body)
        #expect(
            rows
                == .array(
                    [(10, 100, 1), (20, 200, 2), (30, 300, 3)].map {
                        .array([.integer($0.0), .integer($0.1), .integer($0.2)])
                    }))
        #expect(Self.question(isGrab: false).answer(Self.reply, []).1 == .array([]))
    }
}
