import EdgeCore
import EdgeDomain
import EdgeMemory
import EdgeTypes
import Glibc

// The engine alone: one core, no sockets, no journal files. Every grab is decided, its amount
// computed, its journal entry encoded and its reply made; tables grow and pages are faulted in.
//
//     downpour-engine [users] [slices]
//
// Prints one JSON object.

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

struct Run {
    var grabsPerSecond = 0.0
    var longestStepUs = 0.0
    var bytesPerClaim = 0.0
    var granted = 0
}

func run(users: Int, units: Int64, slices: UInt32, batch size: Int) -> Run {
    var node = EdgeNode(NodeConfiguration(shards: 64, cores: 1, core: 0))
    var batch = RequestBatch()
    var effects = EffectBuffer()
    let name = Text64("rain")
    let key = PoolKey.of(.rain, name)
    let definition = PoolDefinition(
        name: name, kind: .spread, units: units, amountFen: units * 2_000, minFen: 1, maxFen: 0,
        holdMs: 0, slices: slices, regions: [], seed: Bits256(1, 2, 3, 4), seedWasGiven: true,
        commitment: .zero, durability: .memory, initial: PoolTerms())
    let ticket = Ticket(core: 0, generation: 0, connection: 0, position: 0)
    batch.append(
        Request(ticket: ticket, operation: .poolCreate, pool: key),
        payload: .definition(definition, actor: "bench"))
    let startMs: UnixMs = 1_700_000_000_000
    node.step(batch, now: Instant(wallMs: startMs), into: &effects)
    precondition(effects.replies.count == 1 && effects.replies[0].shape == .ok)
    batch.removeAll()
    effects.removeAll()
    effects.journal.removeAll()
    let before = residentBytes()
    var result = Run()
    var longestNs: UInt64 = 0
    let start = monotonicNs()
    var lastNs = start
    var user = 0
    var steps = 0
    while user < users {
        let end = min(user + size, users)
        for number in user..<end {
            batch.requests.append(
                Request(
                    ticket: ticket, operation: .grab, pool: key,
                    user: UserID(number) &* 0x9e37_79b9_7f4a_7c15))
        }
        user = end
        let now = startMs + UnixMs((lastNs - start) / 1_000_000)
        node.step(batch, now: Instant(wallMs: now), into: &effects)
        for reply in effects.replies where reply.outcome == .granted { result.granted += 1 }
        batch.removeAll()
        effects.removeAll()
        effects.journal.removeAll()
        steps += 1
        if size > 1 || steps & 31 == 0 {
            let nowNs = monotonicNs()
            longestNs = max(longestNs, nowNs - lastNs)
            lastNs = nowNs
        }
    }
    let elapsed = Double(monotonicNs() - start) / 1e9
    result.grabsPerSecond = Double(users) / elapsed
    result.longestStepUs = Double(longestNs) / 1_000
    result.bytesPerClaim = Double(residentBytes() - before) / Double(max(1, result.granted))
    return result
}

let users = CommandLine.arguments.count > 1 ? Int(CommandLine.arguments[1]) ?? 0 : 10_000_000
let slices = CommandLine.arguments.count > 2 ? UInt32(CommandLine.arguments[2]) ?? 64 : 64
let size = CommandLine.arguments.count > 3 ? Int(CommandLine.arguments[3]) ?? 32 : 32
let units =
    CommandLine.arguments.count > 4 ? Int64(CommandLine.arguments[4]) ?? 0 : Int64(users) * 2
let result = run(users: users, units: units, slices: slices, batch: size)
print(
    "{\"users\":\(users),\"slices\":\(slices),\"batch\":\(size),\"units\":\(units)"
        + ",\"granted\":\(result.granted),\"grabs_per_second\":\(Int(result.grabsPerSecond))"
        + ",\"ns_per_grab\":\(Int(1e9 / result.grabsPerSecond))"
        + ",\"longest_step_us\":\(Int(result.longestStepUs))"
        + ",\"bytes_per_claim\":\(Int(result.bytesPerClaim * 10))e-1"
        + ",\"peak_bytes_per_claim\":\(peakBytes() * 10 / max(1, result.granted))e-1}")
