import Simulator
import Testing

/// Delays that are hard on one queue or the other.
private enum Delays: String, CaseIterable, CustomTestStringConvertible {
    case exponential, uniform, bimodal, pareto, constant, none, ties, doubling, falling, bursts
    case steps, edge

    var testDescription: String { rawValue }

    /// When the next event is due.
    func timeNs(nowNs: UInt64, step: UInt64, word: UInt64) -> UInt64 {
        let unit = RandomSource.unit(word)
        switch self {
        case .exponential: return nowNs + UInt64(1_000_000 / (1 - unit) - 1_000_000) % (1 << 32)
        case .uniform: return nowNs + word % 1_000_000
        case .bimodal: return nowNs + (word % 100 == 0 ? 30_000_000_000 : 1_000_000)
        case .pareto: return nowNs + UInt64(1_000 / (1 - unit).squareRoot())
        case .constant: return nowNs + 12_345
        case .none: return nowNs
        case .ties: return nowNs + word % 4 * 1_000
        case .doubling: return nowNs + (1 << (word % 50))
        // Each before the one pushed last, as long as that is not over.
        case .falling: return max(nowNs, (step / 512 + 1) * 1_000_000 - step % 512)
        // Herds at instants that are known long before, and others around them.
        case .bursts:
            let burstNs = (nowNs / 1_000_000 + 1) * 1_000_000
            return word % 8 == 0 ? nowNs + word % 2_000_000 : burstNs
        case .steps: return nowNs + ((word % 3) << (8 * (word % 5)))
        case .edge:
            return max(nowNs, word % 4 == 0 ? (.max - 1) - word % 3 : .max - 1_000 - word % 100_000)
        }
    }
}

@Suite struct LadderQueueTests {
    /// Pushes and pops at random, and compares everything with a heap.
    ///
    /// - Parameter pending: the number of events around which the count moves.
    private func compare(_ delays: Delays, pending: Int, steps: UInt64, seed: UInt64) {
        let random = RandomSource(seed: seed)
        var ladder = LadderQueue()
        var heap = HeapQueue()
        var nowNs: UInt64 = 0
        // What `upcoming` promised, as long as nothing was pushed.
        var promised: [Event] = []
        for step in 0..<steps {
            let word = random.word(.arrivals, step)
            let fill = heap.count < pending ? 5 : 3
            // Phases of 64 steps in which pushing or popping prevails.
            let isPush = random.below(8, .arrivals, step, 1) < UInt64(step & 64 == 0 ? fill : 4)
            if isPush {
                let timeNs = delays.timeNs(nowNs: nowNs, step: step, word: word)
                ladder.push(timeNs: timeNs, payload: UInt32(step))
                heap.push(timeNs: timeNs, payload: UInt32(step))
                promised.removeAll(keepingCapacity: true)
                continue
            }
            let expected = heap.pop()
            let popped = ladder.pop()
            var agrees =
                popped == expected && ladder.count == heap.count
                && ladder.nextTimeNs == heap.nextTimeNs
            if let first = promised.popLast() {
                agrees = agrees && popped == first
            } else {
                while promised.count < 20, let event = ladder.upcoming(promised.count) {
                    promised.append(event)
                }
                promised.reverse()
            }
            nowNs = popped?.timeNs ?? nowNs
            if !agrees {
                Issue.record("\(delays), pending \(pending), seed \(seed), step \(step)")
                return
            }
        }
        while let expected = heap.pop() {
            if ladder.pop() == expected { continue }
            Issue.record("\(delays), pending \(pending), seed \(seed), draining")
            return
        }
        let last = ladder.pop()
        #expect(last == nil)
    }

    @Test(
        "the ladder pops in the heap's order",
        arguments: Delays.allCases, [UInt64](1...3))
    fileprivate func sameOrder(delays: Delays, seed: UInt64) {
        compare(delays, pending: 5, steps: 4_000, seed: seed)
        compare(delays, pending: 400, steps: 8_000, seed: seed + 100)
        compare(delays, pending: 20_000, steps: 50_000, seed: seed + 200)
    }

    @Test("an empty queue has nothing, before the first event and after the last")
    func empty() {
        var queue = LadderQueue()
        for timeNs: UInt64 in [0, 1 << 40, .max - 1] {
            let before = (queue.count, queue.nextTimeNs, queue.pop(), queue.upcoming(0))
            #expect(before.0 == 0 && before.1 == nil && before.2 == nil && before.3 == nil)
            queue.push(timeNs: timeNs, payload: 9)
            let nextTimeNs = queue.nextTimeNs
            #expect(nextTimeNs == timeNs)
            let event = queue.pop()
            #expect(event?.timeNs == timeNs && event?.payload == 9)
        }
    }

    @Test("a herd comes out in the order of its pushes, joined by what it pushes itself")
    func herd() {
        var queue = LadderQueue()
        let herd: UInt32 = 50_000
        queue.push(timeNs: 77_777, payload: 0)
        for index in 1...herd { queue.push(timeNs: 123_456_789, payload: index) }
        _ = queue.pop()
        // Before it, although it is known already.
        queue.push(timeNs: 99_999, payload: 7)
        let early = queue.pop()
        #expect(early?.payload == 7)
        var mistakes = 0
        for index in 1...herd {
            if queue.pop()?.payload != index { mistakes += 1 }
            queue.push(timeNs: 123_456_789, payload: herd + index)
            queue.push(timeNs: 123_456_790 + UInt64(index % 7), payload: 0)
        }
        for index in 1...herd where queue.pop()?.payload != herd + index { mistakes += 1 }
        #expect(mistakes == 0)
        let nextTimeNs = queue.nextTimeNs
        #expect(nextTimeNs == 123_456_790)
    }

    @Test("an event before the one last popped is refused")
    func backwards() async {
        await #expect(processExitsWith: .failure) {
            var queue = LadderQueue()
            queue.push(timeNs: 5, payload: 0)
            _ = queue.pop()
            queue.push(timeNs: 4, payload: 0)
        }
    }
}
