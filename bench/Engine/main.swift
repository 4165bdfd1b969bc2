import EdgeCore
import EdgeDomain
import EdgeMemory
import EdgeTypes
import Glibc

// The engine alone: one core, no sockets, no journal files. Every grab is decided, its amount
// computed, its journal entry encoded and its reply made; tables grow and pages are faulted in.
//
//     downpour-engine [users] [slices] [batch] [units] [runs]
//     downpour-engine compact [orders]     see Compaction.swift
//
// Prints one JSON object. Every run does the same to a fresh node, so a run's step k is the same
// work as another's. Grabs per second are those of the fastest run. The longest step is the
// longest of the steps' shortest times over all runs: what the work itself takes, without what
// the machine's other users took from one run. Memory is that of the first run.

func monotonicNs() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

func residentBytes() -> Int {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    guard fgets(&line, 256, file) != nil else { return 0 }
    let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    return (Int(text.split(separator: " ")[1]) ?? 0) * 4_096
}

func peakBytes() -> Int {
    var usage = rusage()
    getrusage(0, &usage)  // RUSAGE_SELF
    return usage.ru_maxrss * 1_024
}

struct Load {
    var users = 10_000_000
    var slices: UInt32 = 64
    /// Grabs a step.
    var batch = 32
    var units: Int64 = 10_000_000
    var runs = 3

    init(_ arguments: [String]) {
        let values = arguments.map { Int($0) ?? -1 }
        if values.count > 0 { users = values[0] }
        if values.count > 1 { slices = UInt32(exactly: values[1]) ?? 0 }
        if values.count > 2 { batch = values[2] }
        units = values.count > 3 ? Int64(values[3]) : Int64(users)
        if values.count > 4 { runs = values[4] }
        guard users > 0, slices > 0, batch > 0, units > 0, runs > 0 else {
            fatalError("usage: downpour-engine [users] [slices] [batch] [units] [runs]")
        }
    }
}

struct Run {
    var seconds = 0.0
    var residentBytes = 0
    var granted = 0
}

func openRain(_ load: Load, _ node: inout EdgeNode, _ effects: inout EffectBuffer) -> PoolKey {
    var batch = RequestBatch()
    let name = Text64("rain")
    let key = PoolKey.of(.rain, name)
    let definition = PoolDefinition(
        name: name, kind: .spread, units: load.units, amountFen: load.units * 2_000, minFen: 1,
        maxFen: 0, holdMs: 0, slices: load.slices, regions: [], seed: Bits256(1, 2, 3, 4),
        seedWasGiven: true, commitment: .zero, durability: .memory, initial: PoolTerms())
    let ticket = Ticket(core: 0, generation: 0, connection: 0, position: 0)
    batch.append(
        Request(ticket: ticket, operation: .poolCreate, pool: key),
        payload: .definition(definition, actor: "bench"))
    node.step(batch, now: Instant(wallMs: 1_700_000_000_000), into: &effects)
    precondition(effects.replies.count == 1 && effects.replies[0].shape == .ok)
    effects.removeAll()
    effects.journal.removeAll()
    return key
}

/// - Parameter shortestNs: per step the least time it took so far; empty where steps are not
///   timed one by one.
func run(_ load: Load, shortestNs: inout [UInt32]) -> Run {
    var node = EdgeNode(NodeConfiguration(shards: 64, cores: 1, core: 0))
    var batch = RequestBatch()
    var effects = EffectBuffer()
    let key = openRain(load, &node, &effects)
    let ticket = Ticket(core: 0, generation: 0, connection: 0, position: 0)
    let before = residentBytes()
    var result = Run()
    let start = monotonicNs()
    var lastNs = start
    var user = 0
    var step = 0
    while user < load.users {
        let end = min(user + load.batch, load.users)
        for number in user..<end {
            batch.requests.append(
                Request(
                    ticket: ticket, operation: .grab, pool: key,
                    user: UserID(number) &* 0x9e37_79b9_7f4a_7c15))
        }
        user = end
        let nowMs = 1_700_000_000_000 + UnixMs((lastNs - start) / 1_000_000)
        node.step(batch, now: Instant(wallMs: nowMs), into: &effects)
        for index in 0..<effects.replies.count
        where effects.replies[index].outcome == .granted { result.granted += 1 }
        batch.removeAll()
        effects.removeAll()
        effects.journal.removeAll()
        if !shortestNs.isEmpty || step & 31 == 0 {
            let nowNs = monotonicNs()
            if !shortestNs.isEmpty {
                shortestNs[step] = min(shortestNs[step], UInt32(clamping: nowNs - lastNs))
            }
            lastNs = nowNs
        }
        step += 1
    }
    result.seconds = Double(monotonicNs() - start) / 1e9
    result.residentBytes = residentBytes() - before
    return result
}

if CommandLine.arguments.dropFirst().first == "compact" {
    let kept = CommandLine.arguments.dropFirst(2).first.flatMap { Int($0) } ?? 1_000_000
    print(Compaction.measure(kept: max(1, min(kept, Limits.ordersPerShard / 2))))
    exit(0)
}
let load = Load(Array(CommandLine.arguments.dropFirst()))
let steps = (load.users + load.batch - 1) / load.batch
// One by one, the clock would cost a good part of what it measures.
var shortestNs = [UInt32](repeating: .max, count: load.batch > 1 ? steps : 0)
var fastest = Double.infinity
var first: Run?
var peak = 0
let baseBytes = residentBytes()
for _ in 0..<load.runs {
    let result = run(load, shortestNs: &shortestNs)
    fastest = min(fastest, result.seconds)
    if first == nil {
        first = result
        peak = peakBytes() - baseBytes
    }
}
let granted = max(1, first?.granted ?? 0)
func tenths(_ value: Int) -> String { "\(value * 10 / granted / 10).\(value * 10 / granted % 10)" }
let longest = shortestNs.max().map { ",\"longest_step_us\":\($0 / 1_000)" } ?? ""
print(
    "{\"users\":\(load.users),\"slices\":\(load.slices),\"batch\":\(load.batch)"
        + ",\"units\":\(load.units),\"granted\":\(granted)"
        + ",\"grabs_per_second\":\(Int(Double(load.users) / fastest))"
        + ",\"ns_per_grab\":\(Int(fastest * 1e9 / Double(load.users)))" + longest
        + ",\"bytes_per_claim\":\(tenths(first?.residentBytes ?? 0))"
        + ",\"peak_bytes_per_claim\":\(tenths(peak))}")
