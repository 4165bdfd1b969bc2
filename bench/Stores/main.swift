// How fast claims get into a store, and how fast they are audited; before a MySQL or MariaDB store,
// the same rows by a bare client into the same table. The database is dropped and made anew.
// Usage: downpour-store-bench sqlite:FILE|mysql://… CLAIMS [SHARDS] [BATCH]
import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeStores
import EdgeTypes
import Foundation

/// A rain on `shards` slices, claimed to the last packet, without keeping it in memory.
struct BenchSource: EntrySource {
    let claims: Int
    let shards: Int
    private let definition: PoolDefinition
    private let key: PoolKey
    private var position = 0
    /// Creation; then per slice: opened, leased, credited. Home is shard 0.
    private var head: [(EntryHeader, Entry)] = []
    private var base: [UInt64]

    init(claims: Int, shards: Int) {
        self.claims = claims
        self.shards = shards
        definition = PoolDefinition(
            name: "double11-main", kind: .spread, units: Int64(claims),
            amountFen: Int64(claims) * 2_000, minFen: 1, maxFen: 4_000, holdMs: 0,
            slices: UInt32(shards), regions: [], seed: .zero, seedWasGiven: false,
            commitment: .zero, durability: .journal, initial: PoolTerms())
        key = PoolKey.of(.rain, definition.name)
        base = Array(repeating: 0, count: shards)
        emit(0, .poolCreated(definition, actor: "bench"))
        let each = Int64((claims + shards - 1) / shards)
        for slice in 0..<shards {
            let range = UnitRange(start: Int64(slice) * each, count: each)
            let transfer = Transfer(
                pool: key, slice: UInt32(slice), number: 1, final: false, ranges: [range])
            emit(
                slice,
                .sliceOpened(
                    definition, slice: UInt32(slice),
                    PoolControl(version: 1, terms: definition.initial)))
            emit(slice, .sliceCredited(transfer))
        }
    }

    private mutating func emit(_ shard: Int, _ entry: Entry) {
        base[shard] += 1
        head.append((header(shard, base[shard]), entry))
    }

    private func header(_ shard: Int, _ sequence: UInt64) -> EntryHeader {
        EntryHeader(
            shard: ShardID(shard), epoch: 1, sequence: sequence,
            timeMs: 1_763_700_000_000 + Int64(sequence / 16))
    }

    var lane: String { "bench" }
    var generation: UInt32 { 1 }
    var cursor: SourceCursor { SourceCursor(segment: 0, offset: UInt64(position)) }
    func backlog() -> UInt64 { UInt64(head.count + claims - position) }

    mutating func seek(_ cursor: SourceCursor?) throws(SourceError) {
        position = Int(cursor?.offset ?? 0)
    }

    mutating func read(into batch: inout EntryBatch) throws(SourceError) -> Bool {
        do {
            while position < head.count {
                let (header, entry) = head[position]
                if case .full = try batch.append(header, entry) { return true }
                position += 1
            }
            let each = (claims + shards - 1) / shards
            while position < head.count + claims {
                let index = position - head.count
                let shard = index % shards
                let ordinal = index / shards
                let packet = Int64(shard * each + ordinal)
                let claim = Claim(
                    pool: key, slice: UInt32(shard),
                    // A permutation of 32 bits: nobody claims twice.
                    user: (UInt64(index) &* 2_654_435_761) & 0xffff_ffff,
                    packet: packet, amountFen: 2_000, requestHash: 0)
                let next = header(shard, base[shard] + UInt64(ordinal) + 1)
                if case .full = try batch.append(next, claim: claim) { return true }
                position += 1
            }
        } catch {
            throw .refused(error)
        }
        return false
    }
}

func cpuSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

func residentMiB() -> Int {
    let text = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("VmHWM") } ?? ""
    return (Int(line.split(separator: " ").dropLast().last ?? "0") ?? 0) / 1_024
}

func measure(_ name: String, _ rows: Int, _ body: () throws -> Void) rethrows {
    let start = Date()
    let cpu = cpuSeconds()
    try body()
    let seconds = Date().timeIntervalSince(start)
    let spent = cpuSeconds() - cpu
    print(
        "\(name): \(Int(Double(rows) / seconds)) rows/s, "
            + String(format: "%.2f", spent / Double(rows) * 1e6) + " µs CPU a row, "
            + String(format: "%.2f", seconds) + " s, peak \(residentMiB()) MiB")
}

let arguments = CommandLine.arguments
guard arguments.count >= 3, let claims = Int(arguments[2]) else { exit(64) }
let shards = arguments.count > 3 ? Int(arguments[3]) ?? 64 : 64
let entries = arguments.count > 4 ? Int(arguments[4]) ?? 16_384 : 16_384
// Equal shares, so that every slice is granted to its last packet.
let even = claims / shards * shards
let store = try StoreURL(arguments[1])
switch store {
case .sqlite(let path):
    for suffix in ["", "-wal", "-shm"] {
        try? FileManager.default.removeItem(atPath: path + suffix)
    }
case .mysql:
    guard let peer = BareClient(arguments[1]) else { exit(69) }
    try store.open().close()
    measure("bare client, 1,000 rows a statement", even) {
        peer.insert(even, atOnce: 1_000, from: 0, shards: shards)
    }
    let single = min(even, 5_000)
    measure("bare client, single-row commits", single) {
        peer.insert(single, atOnce: 1, from: even, shards: shards)
    }
    _ = BareClient(arguments[1])
}

try measure("source alone", even) {
    var source = BenchSource(claims: even, shards: shards)
    var batch = EntryBatch(capacity: entries)
    while try source.read(into: &batch) { batch.next() }
}
try measure("apply", even) {
    let store = try store.open()
    var source = BenchSource(claims: even, shards: shards)
    var batch = EntryBatch(capacity: entries)
    var more = true
    while more {
        more = try source.read(into: &batch)
        try store.apply(batch, cursors: [(source.lane, source.cursor)])
        batch.next()
    }
    store.close()
}
var report = AuditReport()
try measure("audit", even) {
    report = try StoreAudit.run(
        store: store, sources: [BenchSource(claims: even, shards: shards)])
}
print(report)
