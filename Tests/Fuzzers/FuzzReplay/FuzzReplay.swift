import EdgeCore
import EdgeMemory
import EdgeTypes
import EdgeWire
import FuzzSupport

// A core's restart from entries and snapshots whose checksums are good and whose contents need not
// be.
//
// A short life of a real core gives entries; some are dropped, doubled, exchanged or have fields
// changed; then another core replays them. Or: its snapshots, with bytes changed, are loaded.
// Held to be true: what was not changed gives the same state, byte for byte; anything else that or
// a typed error; and whatever was accepted can be served from, without a trap.

@_cdecl("FuzzReplay_main")
public func main(_ count: CInt, _ arguments: FuzzTarget.Arguments?) -> CInt {
    FuzzTarget.run(count, arguments, seeds: { Seeds.all }) { data, count in
        var input = FuzzInput(data, count)
        let mutations = input.below(4)
        let takesSnapshots = input.flag()
        var life = Life()
        for _ in 0..<(1 + input.below(24)) { life.act(&input) }
        if takesSnapshots {
            Restart.fromSnapshots(&life, mutations, &input)
        } else {
            Restart.fromEntries(&life, mutations, &input)
        }
        return 0
    }
}

/// One core and all that it journaled.
struct Life: ~Copyable {
    static let configuration = NodeConfiguration(shards: 4)
    var node: EdgeNode
    var batch = RequestBatch(capacity: 16)
    var effects = EffectBuffer(capacity: 16)
    var nowMs: Int64 = 1_000_000
    var entries: [Frame] = []
    var orders: [OrderID] = []

    struct Frame {
        var bytes: [UInt8]
    }

    init(_ node: consuming EdgeNode = EdgeNode(Life.configuration)) { self.node = node }

    /// Lets something happen that a client may cause.
    mutating func act(_ input: inout FuzzInput) {
        let ticket = Ticket(core: 0, generation: 0, connection: 0, position: 0)
        let choice = input.byte()
        let name = Text64(choice & 1 == 0 ? "a" : "b")
        var request = Request(ticket: ticket, operation: .grab, user: UInt64(input.below(6)))
        request.requestHash = UInt64(input.below(5))
        request.quantity = 1 + Int64(input.below(4))
        request.family = choice & 2 == 0 ? .rain : .stock
        request.pool = .of(request.family, name)
        request.order = orders.isEmpty ? OrderID(rawValue: 1) : orders[input.below(orders.count)]
        var payload: Payload? = .actor(name)
        switch choice >> 2 {
        case 0..<8:
            request.operation = .poolCreate
            let definition = Life.definition(name, request.family, &input)
            payload = .definition(definition, actor: name)
        case 8..<16: request.operation = request.family == .rain ? .grab : .reserve
        case 16..<20:
            request.operation = .poolAlter
            payload = .alteration(
                opensMs: nil, closesMs: input.flag() ? nowMs + Int64(input.byte()) : nil,
                limit: UInt32(input.below(4)), actor: name)
        case 20: request.operation = .poolPause
        case 21: request.operation = .poolResume
        case 22, 23: request.operation = .poolClose
        case 24..<27:
            request.operation = .poolRefill
            request.family = .stock
            request.pool = .of(.stock, name)
        case 27..<32:
            request.operation = .orderPay
            payload = .text(Text64("p\(request.requestHash)"))
        case 32..<34: request.operation = .orderCancel
        case 34..<38:
            request.operation = .orderRefund
            request.amountFen = Int64(input.below(30))
            request.quantity -= 1
            payload = .text(Text64("p\(request.requestHash)"))
        case 38: request.operation = .poolInfo
        case 39: request.operation = request.family == .rain ? .claims : .orders
        case 40:
            nowMs += Int64(input.byte()) * 100
            return step()
        default: request.operation = request.family == .rain ? .grab : .reserve
        }
        if let payload {
            batch.append(request, payload: payload)
        } else {
            batch.requests.append(request)
        }
        step()
    }

    private mutating func step() {
        node.step(batch, now: Instant(wallMs: nowMs), into: &effects)
        batch.removeAll()
        takeEffects()
    }

    mutating func takeEffects() {
        let count = effects.replies.count
        for index in 0..<count where effects.replies[index].order.rawValue != 0 {
            orders.append(effects.replies[index].order)
        }
        var at = 0
        let bytes = effects.journal.bytes
        while at < bytes.count {
            guard let frame = try? JournalFrame.parse(bytes, at: at) else {
                fatalError("a core journals what cannot be read")
            }
            entries.append(Frame(bytes: Array(frame.bytes)))
            at += frame.length
        }
        effects.journal.removeAll()
        effects.removeAll()
    }

    private static func definition(
        _ name: Text64, _ family: PoolFamily, _ input: inout FuzzInput
    ) -> PoolDefinition {
        let kinds: [PoolKind] = [.spread, .luck, .equal]
        let isStock = family == .stock
        let units = 1 + Int64(input.below(12))
        return PoolDefinition(
            name: name, kind: isStock ? .stock : kinds[input.below(3)], units: units,
            amountFen: isStock ? Int64(input.below(20)) : units * (1 + Int64(input.below(9))),
            minFen: isStock ? 0 : 1, maxFen: 0, holdMs: isStock ? 1_000 : 0,
            slices: UInt32(input.below(5)), regions: [], seed: Bits256(1, 2, 3, 4),
            seedWasGiven: false, commitment: .zero,
            durability: input.below(3) == 0 && !isStock ? .memory : .journal,
            initial: PoolTerms(opensMs: 0, closesMs: 0, limit: 1 + UInt32(input.below(3))))
    }

    /// The snapshots of all shards.
    func snapshots() -> [[UInt8]] {
        (0..<ShardID(Life.configuration.shards)).map { shard in
            var sink = ByteSink()
            node.writeSnapshot(shard, into: &sink)
            return Array(sink.bytes)
        }
    }
}

/// Another core takes over.
enum Restart {
    static func fromEntries(_ life: inout Life, _ mutations: Int, _ input: inout FuzzInput) {
        var entries = life.entries
        for _ in 0..<mutations { Mutation.apply(to: &entries, &input) }
        Mutation.renumber(&entries)
        var node = EdgeNode(Life.configuration)
        do {
            for entry in entries {
                try entry.bytes.withUnsafeBytes { bytes in
                    let frame = try JournalFrame.parse(bytes)
                    if let claim = frame.claim {
                        try node.replay(claim, frame.header)
                    } else {
                        try node.replay(try frame.entry(), frame.header)
                    }
                }
            }
        } catch {
            require(
                mutations > 0, "what was journaled is refused: \(error)\n\(describe(entries))")
            return
        }
        var restarted = Life(node)
        restarted.orders = life.orders
        let expected = mutations == 0 ? life.snapshots() : nil
        goOn(&restarted, life.nowMs, expected: expected, &input)
    }

    private static func describe(_ entries: [Life.Frame]) -> String {
        entries.map { entry in
            entry.bytes.withUnsafeBytes { bytes in
                guard let frame = try? JournalFrame.parse(bytes) else { return "?" }
                return "\(frame.header): \(String(describing: try? frame.entry()))"
            }
        }.joined(separator: "\n")
    }

    static func fromSnapshots(_ life: inout Life, _ mutations: Int, _ input: inout FuzzInput) {
        var snapshots = life.snapshots()
        for _ in 0..<mutations {
            let shard = input.below(snapshots.count)
            Mutation.apply(to: &snapshots[shard], &input)
        }
        var node = EdgeNode(Life.configuration)
        do {
            for shard in 0..<snapshots.count {
                try snapshots[shard].withUnsafeBytes { bytes in
                    try node.loadSnapshot(ShardID(shard), bytes)
                }
            }
        } catch {
            require(mutations > 0, "a snapshot is refused: \(error)")
            return
        }
        var restarted = Life(node)
        restarted.orders = life.orders
        let expected = mutations == 0 ? snapshots : nil
        goOn(&restarted, life.nowMs, expected: expected, &input)
    }

    /// The restarted core serves, and its own snapshots are good.
    private static func goOn(
        _ life: inout Life, _ nowMs: Int64, expected: [[UInt8]]?, _ input: inout FuzzInput
    ) {
        life.nowMs = nowMs
        life.node.finishRecovery(
            cleanStop: input.flag() || expected != nil, now: Instant(wallMs: nowMs),
            into: &life.effects)
        life.takeEffects()
        if let expected {
            let found = life.snapshots()
            for shard in 0..<found.count {
                require(
                    found[shard] == expected[shard],
                    "shard \(shard) was \(expected[shard]), is now \(found[shard])")
            }
        }
        for _ in 0..<8 { life.act(&input) }
        let snapshots = life.snapshots()
        var node = EdgeNode(Life.configuration)
        for shard in 0..<snapshots.count {
            do {
                try snapshots[shard].withUnsafeBytes { try node.loadSnapshot(ShardID(shard), $0) }
            } catch {
                // What was changed may have been accepted, and leave books that do not balance.
                require(expected == nil, "its own snapshot is refused: \(error)")
                return
            }
        }
    }
}

enum Mutation {
    static func apply(to entries: inout [Life.Frame], _ input: inout FuzzInput) {
        guard !entries.isEmpty else { return }
        let index = input.wideBelow(entries.count)
        switch input.below(8) {
        case 0: entries.remove(at: index)
        case 1: entries.insert(entries[index], at: input.wideBelow(entries.count))
        case 2: entries.swapAt(index, input.wideBelow(entries.count))
        default: apply(to: &entries[index].bytes, &input, from: 32)
        }
    }

    /// Puts a number of some width somewhere.
    static func apply(
        to bytes: inout [UInt8], _ input: inout FuzzInput, from first: Int = 0
    ) {
        let at = first + input.wideBelow(bytes.count - first)
        let value: UInt64 = input.integer()
        for offset in 0..<[1, 4, 8][input.below(3)] where at + offset < bytes.count {
            bytes[at + offset] = UInt8(truncatingIfNeeded: value >> (UInt64(offset) * 8))
        }
    }

    /// Gives every shard's entries contiguous sequences again, and good checksums.
    static func renumber(_ entries: inout [Life.Frame]) {
        var sequences: [UInt16: UInt64] = [:]
        for index in entries.indices {
            entries[index].bytes.withUnsafeMutableBytes { bytes in
                let shard = bytes.loadUnaligned(fromByteOffset: 10, as: UInt16.self)
                sequences[shard, default: 0] += 1
                bytes.storeBytes(of: sequences[shard]!, toByteOffset: 16, as: UInt64.self)
                let sum = Checksum.frame(UnsafeRawBufferPointer(bytes))
                bytes.storeBytes(of: sum, as: UInt32.self)
            }
        }
    }
}
