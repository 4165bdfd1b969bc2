import EdgeMemory
import Testing

@Suite("The timing wheel")
struct TimingWheelTests {
    /// Everything that is due, in as many calls as that takes; no call may do unbounded work, so
    /// their number is bounded too.
    static func drain(_ wheel: inout TimingWheel, _ nowMs: Int64, calls: Int = 1_000_000)
        -> [UInt32]
    {
        var due: [UInt32] = []
        for _ in 0..<calls {
            if let id = wheel.popExpired(nowMs: nowMs) {
                due.append(id)
            } else if wheel.nextDeadlineMs > nowMs {
                return due
            }
        }
        Issue.record("the wheel never came to rest")
        return due
    }

    @Test(
        "a deadline comes up at it or at most a tick later, never before",
        arguments: [
            0, 1, 63, 64, 65, 4_095, 4_096, 4_097, 262_143, 262_144, 262_145, 16_777_216,
            16_777_217, 1_073_741_824, 1_073_741_888, 68_719_476_736, 68_719_476_800,
            137_438_953_472, 1_000_000_000_000,
        ] as [Int64], [0, 1, 1_753_000_000_123] as [Int64])
    func exactness(afterMs: Int64, startMs: Int64) {
        var wheel = TimingWheel()
        wheel.start(atMs: startMs)
        let deadlineMs = startMs + afterMs
        wheel.insert(7, deadlineMs: deadlineMs)
        if afterMs > 0 {
            let early = Self.drain(&wheel, deadlineMs - 1)
            #expect(early.isEmpty)
        }
        let bound = wheel.nextDeadlineMs
        #expect(bound <= deadlineMs + TimingWheel.tickMs)
        let due = Self.drain(&wheel, deadlineMs + TimingWheel.tickMs)
        #expect(due == [7])
        let rest = (wheel.count, wheel.nextDeadlineMs)
        #expect(rest == (0, Int64.max))
    }

    @Test("a wheel that was never told the time finds today's deadlines")
    func unstarted() {
        var wheel = TimingWheel()
        for id in 0..<1_000 as Range<UInt32> {
            wheel.insert(id, deadlineMs: 1_753_000_000_000 + Int64(id) * 1_000)
        }
        let none = Self.drain(&wheel, 1_752_999_999_999)
        let half = Self.drain(&wheel, 1_753_000_499_500)
        let all = Self.drain(&wheel, 1_753_001_000_000)
        #expect(none.isEmpty)
        #expect(half.sorted() == Array(0..<500))
        #expect(all.sorted() == Array(500..<1_000))
    }

    @Test("what is removed never comes up, and an id can be used again")
    func removal() {
        var wheel = TimingWheel()
        wheel.start(atMs: 1_000)
        for id in 0..<300 as Range<UInt32> { wheel.insert(id, deadlineMs: 2_000 + Int64(id % 3)) }
        for id in 0..<300 as Range<UInt32> where id % 2 == 0 {
            let had = wheel.remove(id)
            #expect(had)
        }
        let again = (wheel.remove(4), wheel.remove(1_000_000), wheel.count)
        #expect(again == (false, false, 150))
        wheel.insert(4, deadlineMs: 50_000)
        let due = Self.drain(&wheel, 2_100)
        #expect(due.sorted() == (0..<300).filter { $0 % 2 == 1 })
        let last = Self.drain(&wheel, 50_064)
        #expect(last == [4])
    }

    @Test("looking ahead leaves an id in place until it is removed")
    func peeking() {
        var wheel = TimingWheel()
        wheel.start(atMs: 0)
        wheel.insert(3, deadlineMs: 100)
        let seen = (wheel.nextExpired(nowMs: 128), wheel.nextExpired(nowMs: 128), wheel.count)
        #expect(seen == (3, 3, 1))
        wheel.remove(3)
        let gone = wheel.nextExpired(nowMs: 128)
        #expect(gone == nil)
    }

    @Test("when the clock goes back, nothing comes up before its deadline by that clock")
    func backwards() {
        var wheel = TimingWheel()
        let noon: Int64 = 1_753_000_000_000
        let hour: Int64 = 3_600_000
        wheel.start(atMs: noon)
        wheel.insert(0, deadlineMs: noon + 3 * hour)
        let first = Self.drain(&wheel, noon + 2 * hour)
        // Back by two hours: a hold of a minute, set now, lies before what the wheel has seen.
        // The soonest is neither first nor last.
        wheel.insert(1, deadlineMs: noon + 60_000)
        wheel.insert(2, deadlineMs: noon + 30_000)
        wheel.insert(3, deadlineMs: noon + 60_000)
        let bound = wheel.nextDeadlineMs
        let second = Self.drain(&wheel, noon + 29_999)
        let third = Self.drain(&wheel, noon + 30_064)
        let fourth = Self.drain(&wheel, noon + 60_064)
        let fifth = Self.drain(&wheel, noon + 3 * hour - 1)
        let sixth = Self.drain(&wheel, noon + 3 * hour + 64)
        #expect(first == [] && second == [])
        #expect(bound <= noon + 30_000)
        #expect(third == [2] && fourth.sorted() == [1, 3] && fifth == [] && sixth == [0])
    }

    @Test("a jump of hours over a full wheel takes bounded steps, and all of them end")
    func jump() {
        var wheel = TimingWheel()
        wheel.start(atMs: 0)
        let count: UInt32 = 20_000
        for id in 0..<count {
            // All in one slot of the third wheel.
            wheel.insert(id, deadlineMs: 300_000 + Int64(id % 1_000))
        }
        // At the slot's beginning nothing is due, but all of it must be sorted in again: more
        // than one call may do, and the bound says that there is more.
        var calls = 0
        while wheel.nextDeadlineMs <= 299_999 {
            let id = wheel.popExpired(nowMs: 299_999)
            #expect(id == nil)
            calls += 1
            if calls > 1_000 { break }
        }
        #expect(calls >= Int(count) / TimingWheel.stepsPerCall)
        #expect(calls < 1_000)
        let due = Self.drain(&wheel, 40_000_000_000, calls: 2 * Int(count))
        #expect(due.count == Int(count))
    }

    @Test(
        "against a sorted reference, under jumps either way", arguments: [1, 2, 3, 4] as [UInt64])
    func reference(seed: UInt64) {
        print("TimingWheelTests.reference seed \(seed)")
        var random = TestRandom(seed: seed)
        var wheel = TimingWheel()
        var nowMs: Int64 = 1_753_000_000_000
        var deadlines: [UInt32: Int64] = [:]
        let spans: [UInt64] = [50, 5_000, 300_000, 20_000_000, 1 << 33, 1 << 38]
        for _ in 0..<30_000 {
            switch random.next(below: 10) {
            case 0..<5:
                let id = UInt32(random.next(below: 2_000))
                if deadlines[id] != nil { break }
                let span = spans[Int(random.next(below: UInt64(spans.count)))]
                let deadlineMs = nowMs + Int64(random.next(below: span))
                wheel.insert(id, deadlineMs: deadlineMs)
                deadlines[id] = deadlineMs
            case 5..<7:
                let id = UInt32(random.next(below: 2_000))
                let had = wheel.remove(id)
                #expect(had == (deadlines.removeValue(forKey: id) != nil))
            default:
                let span = spans[Int(random.next(below: 4))]
                if random.next(below: 8) == 0 {
                    nowMs -= Int64(random.next(below: span))
                } else {
                    nowMs += Int64(random.next(below: span / 4))
                }
                // Not every change of the clock is followed by a look at the wheel.
                if random.next(below: 4) == 0 { break }
                let bound = wheel.nextDeadlineMs
                let due = Self.drain(&wheel, nowMs, calls: 20_000)
                #expect(due.isEmpty || bound <= nowMs)
                for id in due {
                    let deadlineMs = deadlines.removeValue(forKey: id)
                    #expect(deadlineMs.map { $0 <= nowMs } == true)
                }
                let late = deadlines.values.filter { $0 + TimingWheel.tickMs <= nowMs }
                #expect(late.isEmpty)
            }
            let count = wheel.count
            #expect(count == deadlines.count)
        }
    }
}
