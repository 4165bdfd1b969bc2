import EdgeCore
import EdgeMemory
import EdgeTypes
import EdgeWire

/// One answer, with its body, as a test compares it.
struct Answer: Equatable, CustomStringConvertible {
    var shape: ReplyShape
    var outcome: Outcome
    var error: ErrorCode
    var fen: Fen
    var packet: Int64
    var timeMs: UnixMs
    var order: OrderID
    var body: Value
    var waits: Bool

    init(_ reply: Reply, _ body: Value) {
        shape = reply.shape
        outcome = reply.outcome
        error = reply.error
        fen = reply.fen
        packet = reply.packet
        timeMs = reply.timeMs
        order = reply.order
        self.body = body
        waits = reply.waitsForJournal
    }

    var isOK: Bool { shape == .ok }
    /// The error, where it is one.
    var failure: ErrorCode? { shape == .error ? error : nil }
    /// The outcome, where it has one.
    var result: Outcome? {
        switch shape {
        case .grab, .reserve, .outcome: outcome
        case .ok, .error, .body, .archived: nil
        }
    }

    /// A field of a map.
    subscript(_ key: String) -> Value? {
        guard case .map(let fields) = body else { return nil }
        return fields.first { $0.key == key }?.value
    }

    func integer(_ key: String) -> Int64 {
        guard case .integer(let value) = self[key] else { return .min }
        return value
    }

    /// The answer without a field of its map.
    func without(_ key: String) -> Answer {
        guard case .map(let fields) = body else { return self }
        var answer = self
        answer.body = .map(fields.filter { $0.key != key })
        return answer
    }

    var rows: [Value] {
        guard case .array(let rows) = body else { return [] }
        return rows
    }

    var description: String {
        switch shape {
        case .grab: "\(outcome) \(fen) fen, packet \(packet), \(timeMs) ms"
        case .reserve: "\(outcome) order \(order.rawValue), \(timeMs) ms"
        case .outcome: "\(outcome)"
        case .ok: "OK"
        case .error: "\(error): \(body)"
        case .body: "\(body)"
        case .archived: "\(outcome), the store knows more: \(body)"
        }
    }
}

/// A request with its payload.
struct Ask {
    var request: Request
    var payload: Payload?

    init(_ request: Request, _ payload: Payload? = nil) {
        self.request = request
        self.payload = payload
    }
}

/// All cores of one node, driven as a shell would drive them, but in a fixed order: frames leave
/// after the step's entries are in the journal, forwards at once, both first in, first out.
final class TestNode {
    let cores: Int
    let shards: Int
    let archiveAfterMs: Int64
    let archiveOrdersAfterMs: Int64
    /// How far the store has each shard: the cores are told with their next step.
    var stored: [ShardID: UInt64] = [:]
    var nodes = SlotArray<EdgeNode>(capacity: 4)
    private var batch = RequestBatch()
    private var effects = EffectBuffer()
    private var frames: [[Frame]]
    private var waiting: [[Ask]]
    private var answers: [UInt32: Answer] = [:]
    private var nextPosition: UInt32 = 0
    /// Everything journaled, in the order of commits.
    private(set) var journal: [Entry] = []
    /// Where a step ended in `journal`.
    private(set) var stepEnds: [Int] = []
    private(set) var deadlineMs: [UnixMs]
    var nowMs: UnixMs = TestNode.startMs
    var storageIsFull = false
    /// Whether the journal holds all that the cores asked to be durable.
    var isCaughtUp = true
    /// Most requests that a step is given.
    var cut = 32
    /// The core that the next requests come in at.
    var entryCore = 0
    /// Frames that get lost on their way to a core.
    var loses: (Frame, Int) -> Bool = { _, _ in false }

    static let startMs: UnixMs = 1_700_000_000_000

    private var monotonicNs: UInt64 = 5_000_000_000
    private var lastMs = TestNode.startMs

    /// The clocks: one goes where the test wants, the other never back.
    private var now: Instant {
        if nowMs > lastMs { monotonicNs += UInt64(nowMs - lastMs) * 1_000_000 }
        lastMs = nowMs
        return Instant(wallMs: nowMs, monotonicNs: monotonicNs)
    }

    /// One frame of a core's journal.
    struct Entry: Equatable {
        var core: Int
        var bytes: [UInt8]
    }

    init(
        cores: Int = 1, shards: Int = 8, archiveAfterMs: Int64 = .max,
        archiveOrdersAfterMs: Int64 = .max
    ) {
        self.archiveAfterMs = archiveAfterMs
        self.archiveOrdersAfterMs = archiveOrdersAfterMs
        self.cores = cores
        self.shards = shards
        frames = Array(repeating: [], count: cores)
        waiting = Array(repeating: [], count: cores)
        deadlineMs = Array(repeating: .max, count: cores)
        for core in 0..<cores {
            var configuration = NodeConfiguration(shards: shards, cores: cores, core: core)
            configuration.archiveAfterMs = archiveAfterMs
            configuration.archiveOrdersAfterMs = archiveOrdersAfterMs
            nodes.append(EdgeNode(configuration))
        }
    }

    /// A node that starts from a journal.
    convenience init(
        replaying entries: some Sequence<Entry>, cores: Int = 1, shards: Int = 8, nowMs: UnixMs,
        cleanStop: Bool = true, archiveAfterMs: Int64 = .max, archiveOrdersAfterMs: Int64 = .max
    ) throws {
        self.init(
            cores: cores, shards: shards, archiveAfterMs: archiveAfterMs,
            archiveOrdersAfterMs: archiveOrdersAfterMs)
        self.nowMs = nowMs
        for entry in entries { try replay(entry) }
        for core in 0..<cores {
            nodes[core].finishRecovery(
                cleanStop: cleanStop, now: now, into: &effects)
            collect(core)
        }
        run()
    }

    private func replay(_ entry: Entry) throws {
        journal.append(entry)
        try entry.bytes.withUnsafeBytes { bytes in
            let frame = try JournalFrame.parse(bytes)
            if let claim = frame.claim {
                try nodes[entry.core].replay(claim, frame.header)
            } else {
                try nodes[entry.core].replay(frame.entry(), frame.header)
            }
        }
    }

    /// A node that starts from snapshots of this one's shards.
    func restartedFromSnapshots(cores: Int) throws -> TestNode {
        let other = TestNode(
            cores: cores, shards: shards, archiveAfterMs: archiveAfterMs,
            archiveOrdersAfterMs: archiveOrdersAfterMs)
        other.nowMs = nowMs
        for shard in 0..<shards {
            var snapshot = nodes[shard % self.cores].beginSnapshot(of: ShardID(shard))
            while !nodes[shard % self.cores].continueSnapshot(&snapshot, bytes: 1_000) {}
            try other.nodes[shard % cores].loadSnapshot(ShardID(shard), snapshot.content.bytes)
        }
        for core in 0..<cores {
            other.nodes[core].finishRecovery(
                cleanStop: true, now: other.now, into: &other.effects)
            other.collect(core)
        }
        other.run()
        return other
    }

    // MARK: Steps

    /// Takes the requests and steps until nothing is left to do; answers in the requests' order.
    @discardableResult
    func send(_ asks: [Ask]) -> [Answer] {
        let first = nextPosition
        for var ask in asks {
            ask.request.ticket = Ticket(
                core: UInt16(entryCore), generation: 0, connection: 0, position: nextPosition)
            nextPosition += 1
            waiting[entryCore].append(ask)
        }
        run()
        var turns = 0
        // Some wait for units: for as long as it takes.
        while (first..<nextPosition).contains(where: { answers[$0] == nil }) {
            guard let next = deadlineMs.min(), next != .max, turns < 1_000 else { break }
            nowMs = max(nowMs, next)
            tick()
            turns += 1
        }
        return (first..<nextPosition).map { position in
            guard let answer = answers.removeValue(forKey: position) else {
                preconditionFailure("request \(position - first) got no answer")
            }
            return answer
        }
    }

    @discardableResult
    func send(_ ask: Ask) -> Answer { send([ask])[0] }

    /// One step of every core without requests, and what follows.
    func tick() {
        for core in 0..<cores { step(core) }
        run()
    }

    /// Lets time pass, with a step whenever a core wants one.
    func advance(toMs goal: UnixMs) {
        var turns = 0
        while let next = deadlineMs.min(), next <= goal {
            nowMs = max(nowMs, next)
            tick()
            turns += 1
            precondition(turns < 100_000, "a deadline never passes")
        }
        nowMs = goal
        tick()
    }

    func run() {
        var turns = 0
        while true {
            var isIdle = true
            for core in 0..<cores where !waiting[core].isEmpty || !frames[core].isEmpty {
                step(core)
                isIdle = false
            }
            if isIdle { return }
            turns += 1
            precondition(turns < 1_000_000, "the cores never come to rest")
        }
    }

    private func step(_ core: Int) {
        batch.removeAll()
        batch.storageIsFull = storageIsFull
        batch.isCaughtUp = isCaughtUp
        for shard in stored.keys.sorted() where Int(shard) % cores == core {
            batch.replicas.append(.stored(shard, stored[shard] ?? 0))
        }
        batch.frames = frames[core]
        frames[core] = []
        let taken = waiting[core].prefix(cut)
        for ask in taken {
            var request = ask.request
            request.payload = -1
            if let payload = ask.payload {
                batch.append(request, payload: payload)
            } else {
                batch.requests.append(request)
            }
        }
        waiting[core].removeFirst(taken.count)
        nodes[core].step(batch, now: now, into: &effects)
        collect(core)
    }

    private func collect(_ core: Int) {
        var offset = 0
        while offset < effects.journal.count {
            guard let frame = try? JournalFrame.parse(effects.journal.bytes, at: offset) else {
                preconditionFailure("a step wrote a journal frame that does not parse")
            }
            journal.append(Entry(core: core, bytes: Array(frame.bytes)))
            offset += frame.length
        }
        if !effects.journal.bytes.isEmpty { stepEnds.append(journal.count) }
        effects.journal.removeAll()
        for index in 0..<effects.replies.count {
            let reply = effects.replies[index]
            let body = reply.body < 0 ? Value.null : effects.bodies[Int(reply.body)]
            let before = answers.updateValue(Answer(reply, body), forKey: reply.ticket.position)
            precondition(before == nil, "a request was answered twice")
        }
        for forward in effects.forwards {
            precondition(forward.to.core != core, "a request was forwarded to its own core")
            waiting[forward.to.core].append(Ask(forward.request, forward.payload))
        }
        for frame in effects.frames {
            precondition(frame.to.core != core, "a frame was sent to its own core")
            if loses(frame.frame, frame.to.core) { continue }
            frames[frame.to.core].append(frame.frame)
        }
        deadlineMs[core] = effects.nextDeadlineMs
        effects.removeAll()
    }

    /// The entries with every shard's sequences made contiguous.
    static func renumbered(_ entries: [Entry]) throws -> [Entry] {
        var sequences: [ShardID: UInt64] = [:]
        return try entries.map { entry in
            try entry.bytes.withUnsafeBytes { bytes in
                let frame = try JournalFrame.parse(bytes)
                var header = frame.header
                sequences[header.shard, default: 0] += 1
                header.sequence = sequences[header.shard, default: 0]
                var sink = ByteSink()
                JournalCodec.encode(try frame.entry(), header: header, into: &sink)
                return Entry(core: entry.core, bytes: Array(sink.bytes))
            }
        }
    }

    /// The store has all that is journaled.
    func storeAll() {
        for shard in 0..<shards { stored[ShardID(shard)] = sequence(of: shard) }
    }

    func sequence(of shard: Int) -> UInt64 { nodes[shard % cores].sequence(of: ShardID(shard)) }

    /// Every entry, decoded, in the order of commits.
    func entries() throws -> [EdgeTypes.Entry] {
        try journal.map { entry in
            try entry.bytes.withUnsafeBytes { try JournalFrame.parse($0).entry() }
        }
    }
}
