import EdgeMemory
import EdgeTypes
import Testing

@testable import Simulator

@Suite("What oracles look back at")
struct OracleLookupTests {
    @Test("a timeline gives what was in force at some moment since, and every change in between")
    func timelines() {
        var line = Timeline<Int>()
        #expect(line.since(5).isEmpty && line.began(after: 5))
        line.set(1, at: 10)
        line.set(2, at: 20)
        line.set(3, at: 20)
        line.set(4, at: 30)
        #expect(line.since(5).map(\.value) == [1, 2, 3, 4])
        #expect(line.since(10).map(\.value) == [1, 2, 3, 4])
        #expect(line.since(19).map(\.value) == [1, 2, 3, 4])
        #expect(line.since(20).map(\.value) == [3, 4])
        #expect(line.since(30).map(\.value) == [4] && line.since(99).map(\.value) == [4])
        #expect(line.began(after: 9) && !line.began(after: 10))
    }

    @Test("a clock that was set and that drifts tells what it showed")
    func clocks() {
        let second: UInt64 = 1_000_000_000
        var clock = SimulatedClock(baseMs: 1_000_000, startsNs: 77)
        #expect(clock.read(2 * second).wallMs == 1_002_000)
        clock.step(500, at: 2 * second)
        #expect(clock.read(2 * second).wallMs == 1_002_500)
        clock.step(-3_000, at: 4 * second)
        clock.drift(1_000_000, at: 5 * second)
        // Twice as fast from 5 s on.
        #expect(clock.read(6 * second).wallMs == 1_004_500)
        #expect(clock.read(6 * second).monotonicNs == 77 + 7 * second)
        #expect(clock.wallMs(from: 0, to: second) == 1_000_000...1_001_000)
        #expect(clock.wallMs(from: second, to: 3 * second) == 1_001_000...1_003_500)
        #expect(clock.wallMs(from: 3 * second, to: 6 * second) == 1_001_500...1_004_500)
        #expect(clock.forwardMs(since: second) == 500 && clock.forwardMs(since: 3 * second) == 0)
        // It was set back in between.
        #expect(clock.hasShown(1_002_500, until: 6 * second) == 5 * second)
        #expect(clock.hasShown(1_003_500, until: 6 * second) == 5 * second + second / 2)
        #expect(clock.hasShown(1_001_500, until: 6 * second) == second + second / 2)
        #expect(clock.hasShown(1_000_900, until: 6 * second) == second * 9 / 10)
        #expect(clock.hasShown(1_004_501, until: 6 * second) == nil)
    }

    @Test("damage excuses what names it, and what came after it")
    func damage() {
        var damage = NodeDamage()
        #expect(!damage.names("/node/journal/0000000001-00000-0000000002.log is damaged"))
        damage.rotted("/node/journal/0000000001-00000-0000000002.log", at: 50, wasShipped: true)
        #expect(damage.names("…/0000000001-00000-0000000002.log.zst is damaged at byte 9"))
        #expect(!damage.names("…/0000000001-00000-0000000003.log is damaged at byte 9"))
        #expect(!damage.names("…/0000000001-00000-0000000002.log") { !$0.wasShipped })
        #expect(damage.isRotted(since: 50) && !damage.isRotted(since: 51))
        let path = "/node/journal/0000000001-00000-0000000002.log"
        #expect(damage.isShipped(path) { $0 == "1-0" ? 3 : nil })
        #expect(!damage.isShipped(path) { $0 == "1-0" ? 2 : nil })
        #expect(!damage.isShipped(path) { _ in nil })
    }

    @Test("a write is misdirected from when it is made, not from when it may be")
    func misdirection() {
        var damage = NodeDamage()
        damage.armed(at: 10, isPending: false)
        #expect(!damage.isMisdirected(since: 0, isPending: true))
        #expect(damage.isMisdirected(since: 0, isPending: false))
        damage.disarmed(at: 20, isPending: true)
        #expect(!damage.isMisdirected(since: 0, isPending: false))
        damage.armed(at: 30, isPending: false)
        // It has happened, and another is to come.
        damage.armed(at: 40, isPending: false)
        #expect(damage.isMisdirected(since: 35, isPending: true))
        #expect(!damage.isMisdirected(since: 41, isPending: true))
        damage.disarmed(at: 50, isPending: true)
        #expect(damage.isMisdirected(since: 40, isPending: false))
        #expect(!damage.isMisdirected(since: 41, isPending: false))
    }
}

@Suite("What operators can have brought about")
struct OperatorLogTests {
    /// A world's operators, asked and answered by hand.
    private final class Hand {
        let world = World(Scenario(), seed: 1)
        let log = OperatorLog()
        let pool: Int
        private var count = 0

        init() { pool = world.pools[0].index }

        func alter(_ request: String, _ term: String, _ value: Int64) -> Simulator.Operation {
            var operation = Simulator.Operation(
                id: count, kind: .alter, pool: pool, node: 0, actor: -1)
            count += 1
            operation.request = request
            operation.words = ["RAIN.ALTER", "pool-0", request, term, "\(value)"]
            return operation
        }

        func ask(_ operation: Simulator.Operation, at ns: UInt64) {
            world.nowNs = ns
            log.asked(world, operation)
        }

        func hear(_ operation: Simulator.Operation, _ answer: RESPAnswer, at ns: UInt64) {
            world.nowNs = ns
            log.answered(world, operation, answer, sentNs: 0)
        }

        func limits(since ns: UInt64) -> [Int64] { log.values(.limit, pool, since: ns).sorted() }
    }

    @Test("a value can be in force from when it is asked for until another is everywhere")
    func values() {
        let hand = Hand()
        let (first, second) = (hand.alter("a", "LIMIT", 11), hand.alter("b", "LIMIT", 12))
        let initial = Int64(hand.world.pools[0].limit)
        hand.ask(first, at: 100)
        #expect(hand.limits(since: 50) == [initial, 11])
        hand.hear(first, .simple("OK"), at: 200)
        #expect(hand.limits(since: 199) == [initial, 11], "asked before it was everywhere")
        #expect(hand.limits(since: 200) == [11])
        hand.ask(second, at: 300)
        hand.hear(second, .simple("OK"), at: 400)
        #expect(hand.limits(since: 350) == [11, 12] && hand.limits(since: 400) == [12])
    }

    @Test("of two that were asked for at once either may stay, and one that was refused may come")
    func overlapping() {
        let hand = Hand()
        let (first, second) = (hand.alter("a", "LIMIT", 11), hand.alter("b", "LIMIT", 12))
        hand.ask(first, at: 100)
        hand.ask(second, at: 150)
        hand.hear(first, .simple("OK"), at: 200)
        hand.hear(second, .simple("OK"), at: 210)
        #expect(hand.limits(since: 300) == [11, 12])
        let third = hand.alter("c", "LIMIT", 13)
        hand.ask(third, at: 400)
        hand.hear(third, .error("BADARG no"), at: 500)
        #expect(hand.limits(since: 600) == [11, 12, 13])
        let fourth = hand.alter("d", "LIMIT", 14)
        hand.ask(fourth, at: 700)
        hand.hear(fourth, .simple("OK"), at: 800)
        #expect(hand.limits(since: 800) == [13, 14])
    }

    @Test("terms are apart from each other, and a request counts once")
    func terms() {
        let hand = Hand()
        let opens = hand.alter("a", "OPENS", 5)
        hand.ask(opens, at: 100)
        hand.ask(opens, at: 300)
        hand.hear(opens, .simple("OK"), at: 400)
        #expect(hand.log.values(.opens, hand.pool, since: 400) == [5])
        #expect(hand.limits(since: 400) == [Int64(hand.world.pools[0].limit)])
        #expect(hand.log.allValues(.opens, hand.pool).count == 2)
    }
}
