import CAllocationCounter
import EdgeCore
import EdgeMemory
import EdgeTypes
import Glibc

// Counts what a warm core takes from the heap, batch by batch, with a malloc of its own in front
// of glibc's. Prints a line a case and ends with 1 where one is not as it must be.
//
// To be built with -c release: unoptimised Swift takes memory where optimised code does not.
//
// Tables and logs grow while claims come: that is not the batch's own. So each case runs over
// many windows of a few batches, and one window without a single allocation is what is asked
// for: a batch that allocated by itself would do so in every window.

/// A core with one rain and one sale, driven request by request.
struct Bench: ~Copyable {
    var node = EdgeNode(NodeConfiguration(shards: 64, cores: 1, core: 0))
    var batch = RequestBatch()
    var effects = EffectBuffer()
    var nowMs: UnixMs = 1_700_000_000_000
    let ticket = Ticket(core: 0, generation: 0, connection: 0, position: 0)
    let rain = PoolKey.of(.rain, "rain")
    let small = PoolKey.of(.rain, "small")
    let sale = PoolKey.of(.stock, "sale")
    var outcomes: [UInt64] = Array(repeating: 0, count: 16)
    /// Orders of the last step.
    var orders = PlainList<OrderID>(capacity: 1_024)

    init() {
        create("rain", .spread, units: 1 << 20, limit: 1)
        create("small", .equal, units: 8, limit: 1)
        create("sale", .stock, units: 1 << 20, limit: 1)
    }

    private mutating func create(_ name: Text64, _ kind: PoolKind, units: Int64, limit: UInt32) {
        let definition = PoolDefinition(
            name: name, kind: kind, units: units, amountFen: kind == .stock ? 100 : units * 100,
            minFen: kind == .stock ? 0 : 1, maxFen: 0, holdMs: kind == .stock ? 1_800_000 : 0,
            slices: 1, regions: [], seed: Bits256(1, 2, 3, 4), seedWasGiven: true,
            commitment: .zero, durability: .journal, initial: PoolTerms(limit: limit))
        batch.append(
            Request(
                ticket: ticket, operation: .poolCreate, family: kind.family,
                pool: PoolKey.of(kind.family, name)),
            payload: .definition(definition, actor: "test"))
        node.step(batch, now: Instant(wallMs: nowMs), into: &effects)
        precondition(effects.replies.count == 1 && effects.replies[0].shape == .ok)
        clear()
    }

    mutating func clear() {
        batch.removeAll()
        effects.removeAll()
        effects.journal.removeAll()
    }

    mutating func step() {
        node.step(batch, now: Instant(wallMs: nowMs), into: &effects)
        orders.removeAll()
        for index in 0..<effects.replies.count {
            outcomes[Int(effects.replies[index].outcome.rawValue)] &+= 1
            if effects.replies[index].shape == .reserve {
                orders.append(effects.replies[index].order)
            }
        }
        clear()
    }

    mutating func grab(_ pool: PoolKey, users: Range<UInt64>) {
        for user in users {
            batch.requests.append(
                Request(ticket: ticket, operation: .grab, pool: pool, user: user))
        }
        step()
    }

    /// Reserves for each user and pays for what was reserved, in two steps.
    mutating func buy(users: Range<UInt64>) {
        for user in users {
            batch.requests.append(
                Request(
                    ticket: ticket, operation: .reserve, family: .stock, pool: sale, user: user,
                    quantity: 1, requestHash: user &* 31 &+ 1))
        }
        step()
        for index in 0..<orders.count {
            let payment = payments[index & (payments.count - 1)]
            batch.append(
                Request(
                    ticket: ticket, operation: .orderPay, amountFen: 100, order: orders[index],
                    requestHash: Hash64.text(payment)),
                payload: .text(payment))
        }
        step()
    }

    private let payments: [Text64] = (0..<32).map { Text64("payment-\($0)") }
}

/// The least that one of 64 windows of eight batches took from the heap.
func least(_ bench: inout Bench, _ work: (inout Bench, Int) -> Void) -> UInt64 {
    var least = UInt64.max
    for window in 0..<64 {
        bench.nowMs += 1
        let before = downpour_allocations()
        for batch in 0..<8 { work(&bench, window * 8 + batch) }
        least = min(least, downpour_allocations() - before)
    }
    return least
}

var failures = 0
@MainActor func report(_ name: String, _ count: UInt64, holds: Bool) {
    print("\(holds ? "ok  " : "FAIL") \(name): \(count)")
    if !holds { failures += 1 }
}

guard downpour_counts_allocations() == 1 else {
    print("nothing is counted under a sanitizer")
    exit(0)
}
var bench = Bench()
bench.grab(bench.rain, users: 0..<100_000)
bench.grab(bench.small, users: 0..<8)
bench.buy(users: 0..<1_000)

let granted = least(&bench) { bench, number in
    let first = 1_000_000 + UInt64(number) * 32
    bench.grab(bench.rain, users: first..<(first + 32))
}
report("32 grabs, granted", granted, holds: granted == 0)
let alone = least(&bench) { bench, number in
    let user = 2_000_000 + UInt64(number)
    bench.grab(bench.rain, users: user..<(user + 1))
}
report("a grab alone, granted", alone, holds: alone == 0)
let repeated = least(&bench) { bench, number in
    bench.grab(bench.rain, users: UInt64(number)..<(UInt64(number) + 32))
}
report("32 grabs, repeated", repeated, holds: repeated == 0)
let soldOut = least(&bench) { bench, number in
    let first = 3_000_000 + UInt64(number) * 32
    bench.grab(bench.small, users: first..<(first + 32))
}
report("32 grabs, sold out", soldOut, holds: soldOut == 0)
let bought = least(&bench) { bench, number in
    let first = 4_000_000 + UInt64(number) * 32
    bench.buy(users: first..<(first + 32))
}
report("32 reservations and payments", bought, holds: bought == 0)
let counted = least(&bench) { bench, number in
    let first = 5_000_000 + UInt64(number)
    bench.grab(bench.rain, users: first..<(first + 1))
    bench.outcomes = Array(bench.outcomes) + [UInt64(number)]
    bench.outcomes.removeLast()
}
report("a batch that allocates is counted", counted, holds: counted >= 8)
let sent = leastOfBus()
report("32 grabs and their answers between nodes", sent, holds: sent == 0)
let expected: [(Outcome, UInt64)] = [
    (.granted, 100_000 + 8 + 64 * 8 * 34), (.repeat, 64 * 8 * 32), (.soldOut, 64 * 8 * 32),
    (.reserved, 1_000 + 64 * 8 * 32), (.paid, 1_000 + 64 * 8 * 32),
]
for (outcome, count) in expected where bench.outcomes[Int(outcome.rawValue)] != count {
    report("\(outcome) requests", bench.outcomes[Int(outcome.rawValue)], holds: false)
}
exit(failures == 0 ? 0 : 1)
