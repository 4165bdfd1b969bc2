import EdgeMemory
import Glibc
import Simulator

// The simulator's event queues alone, by the hold model: a million events are pending; pop one,
// push another after a delay drawn from a distribution.
//
//     downpour-events-bench [pending] [holds] [runs]
//
// Prints one JSON object: medians over the runs, in events (a pop and a push) per second of
// thread CPU time, for the ladder and the heap. Delays are drawn beforehand. `toExponential` is
// the ladder's time per event over that of exponential delays. `herd` is no hold: all events are
// pushed for one instant, then all are popped.

func threadNs() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

enum Delays: String, CaseIterable {
    case exponential, uniform, bimodal, pareto, constant, herd

    /// A delay of 1 ms on average (bimodal: 301 ms).
    func draw(_ word: UInt64) -> UInt64 {
        let unit = RandomSource.unit(word)
        switch self {
        case .exponential: return UInt64(-1_000_000 * log(1 - unit))
        case .uniform: return UInt64(2_000_000 * unit)
        case .bimodal: return unit < 0.99 ? 1_000_000 : 30_000_000_000
        // Shape 1.5: finite mean, infinite variance.
        case .pareto: return UInt64(min(333_333 * pow(1 - unit, -1 / 1.5), 1e15))
        case .constant: return 1_000_000
        case .herd: return 0
        }
    }
}

struct Load {
    var pending = 1_000_000
    var holds = 10_000_000
    var runs = 5

    init(_ arguments: [String]) {
        let values = arguments.map { Int($0) ?? -1 }
        if values.count > 0 { pending = values[0] }
        if values.count > 1 { holds = values[1] }
        if values.count > 2 { runs = values[2] }
        guard pending > 0, holds > 0, runs > 0, pending < 1 << 31, holds < 1 << 31 else {
            fatalError("usage: downpour-events-bench [pending] [holds] [runs]")
        }
    }
}

/// Enough delays that their pattern does not matter, few enough that reading them costs little.
let drawBits = 20

func drawDelays(_ delays: Delays) -> PlainList<UInt64> {
    let random = RandomSource(seed: 1)
    var draws = PlainList<UInt64>(capacity: 1 << drawBits)
    for index in 0..<UInt64(1 << drawBits) {
        draws.append(delays.draw(random.word(.arrivals, 0, index)))
    }
    return draws
}

/// Fills a queue as it is after many holds: long delays are pending longer. A random point on the
/// line of all delays, one behind the other, lies in the delay that is pending; what remains of
/// that is left to wait.
func fill<Queue: EventQueue & ~Copyable>(
    _ queue: inout Queue, _ draws: borrowing PlainList<UInt64>, _ load: Load
) {
    let random = RandomSource(seed: 2)
    var endsNs = PlainList<UInt64>(capacity: draws.count)
    var totalNs: UInt64 = 0
    for index in 0..<draws.count {
        totalNs += draws[index]
        endsNs.append(totalNs)
    }
    for index in 0..<load.pending {
        let pointNs = random.below(totalNs, .arrivals, 0, UInt64(index))
        var low = 0
        var high = endsNs.count - 1
        while low < high {
            let middle = (low + high) / 2
            if endsNs[middle] <= pointNs { low = middle + 1 } else { high = middle }
        }
        queue.push(timeNs: endsNs[low] - pointNs, payload: UInt32(index))
    }
}

/// Nanoseconds a hold, once the queue has found its pace.
func hold<Queue: EventQueue & ~Copyable>(
    _ queue: inout Queue, _ draws: borrowing PlainList<UInt64>, _ load: Load
) -> Double {
    let mask = (1 << drawBits) - 1
    fill(&queue, draws, load)
    var startNs: UInt64 = 0
    // Delays are read at another pace than events come, so that they never fall in step.
    var next = 0
    let warmUp = 2 * load.pending
    for index in 0..<(warmUp + load.holds) {
        if index == warmUp { startNs = threadNs() }
        guard let event = queue.pop() else { fatalError("the queue lost events") }
        queue.push(timeNs: event.timeNs &+ draws[next & mask], payload: event.payload)
        next &+= 1
    }
    let ns = threadNs() - startNs
    precondition(queue.count == load.pending)
    return Double(ns) / Double(load.holds)
}

/// Nanoseconds a push and a pop of events that are all due at one instant, in a queue that has held
/// as many before.
func herd<Queue: EventQueue & ~Copyable>(_ queue: inout Queue, _ load: Load) -> Double {
    let rounds = max(1, load.holds / load.pending)
    var startNs: UInt64 = 0
    for round in 0...rounds {
        if round == 1 { startNs = threadNs() }
        let timeNs = UInt64(round + 1) * 1_000_000_007
        for index in 0..<load.pending { queue.push(timeNs: timeNs, payload: UInt32(index)) }
        for index in 0..<load.pending {
            guard let event = queue.pop(), event.payload == index else {
                fatalError("the queue changed the order")
            }
        }
    }
    return Double(threadNs() - startNs) / Double(rounds * load.pending)
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

func main() {
    let load = Load(Array(CommandLine.arguments.dropFirst()))
    var ladderNs: [Delays: [Double]] = [:]
    var heapNs: [Delays: [Double]] = [:]
    for _ in 0..<load.runs {
        for delays in Delays.allCases {
            let draws = drawDelays(delays)
            var ladder = LadderQueue()
            var heap = HeapQueue()
            if delays == .herd {
                ladderNs[delays, default: []].append(herd(&ladder, load))
                heapNs[delays, default: []].append(herd(&heap, load))
            } else {
                ladderNs[delays, default: []].append(hold(&ladder, draws, load))
                heapNs[delays, default: []].append(hold(&heap, draws, load))
            }
        }
    }
    let exponentialNs = median(ladderNs[.exponential] ?? [])
    let rows = Delays.allCases.map { delays in
        let ladder = median(ladderNs[delays] ?? [])
        let heap = median(heapNs[delays] ?? [])
        let ratio = (ladder / exponentialNs * 100).rounded() / 100
        return """
            "\(delays.rawValue)":{"ladder":\(Int(1e9 / ladder)),"heap":\(Int(1e9 / heap)),\
            "toExponential":\(ratio)}
            """
    }
    print(
        """
        {"pending":\(load.pending),"holds":\(load.holds),"runs":\(load.runs),\
        "eventsPerSecond":{\(rows.joined(separator: ","))}}
        """)
}

main()
