import EdgeCluster
import EdgeCore
import EdgeMemory
import EdgeTypes
import Simulator

/// What happens between nodes and beside the grabs: creation, frames, closing times, losses.
extension CapacityRun where Queue: ~Copyable {
    /// Creates every pool at its home and delivers frames until every slice has its lease, as
    /// warm-up does before the opening.
    mutating func openPools() {
        for index in 0..<pools.count {
            let definition = pools[index].definition(opensMs: Self.epochMs)
            var setup = RequestBatch(capacity: 1)
            setup.append(
                Request(
                    ticket: Ticket(core: 0, generation: 0, connection: 0, position: 0),
                    operation: .poolCreate, pool: pools[index].key),
                payload: .definition(definition, actor: "capacity"))
            // Whoever is asked knows the home.
            let isOpen = settle(setup)
            precondition(isOpen, "a pool was refused: the scenario is not sound")
        }
        guard closes else { return }
        for node in 0..<nodes.count { passTime(node) }
    }

    /// Steps node 0 with a command and delivers forwards and frames at once until all is quiet.
    ///
    /// - Returns: whether it was answered with OK.
    private mutating func settle(_ command: borrowing RequestBatch) -> Bool {
        var isOK = false
        settle(command, at: Instant(wallMs: Self.epochMs - 60_000)) { _, reply, _ in
            if let reply, reply.shape == .ok { isOK = true }
        }
        return isOK
    }

    /// The same with a question.
    ///
    /// - Returns: the map that answers it.
    private mutating func settle(
        _ question: borrowing RequestBatch, reports: inout [Frame]
    ) -> [Value.Field] {
        var seen: [Frame] = []
        var fields: [Value.Field] = []
        settle(question, at: instant(nowNs)) { frame, reply, body in
            if let frame { seen.append(frame) }
            if reply != nil, case .map(let answer) = body { fields = answer }
        }
        reports = seen
        return fields
    }

    /// - Parameter see: is shown every frame on its way, every reply, and the reply's body.
    private mutating func settle(
        _ command: borrowing RequestBatch, at now: Instant,
        _ see: (Frame?, Reply?, Value?) -> Void
    ) {
        var pending: [OutboundFrame] = []
        var forwarded: [Forward] = []
        var next = 0
        effects.removeAll()
        nodes[0].step(command, now: now, into: &effects)
        while true {
            pending += effects.frames
            forwarded += effects.forwards
            for index in 0..<effects.replies.count {
                let reply = effects.replies[index]
                see(nil, reply, reply.body < 0 ? nil : effects.bodies[Int(reply.body)])
            }
            journalChecksum = Checksum.crc32c(effects.journal.bytes, continuing: journalChecksum)
            effects.journal.removeAll()
            effects.removeAll()
            batch.removeAll()
            if let forward = forwarded.popLast() {
                if let payload = forward.payload {
                    batch.append(forward.request, payload: payload)
                } else {
                    batch.requests.append(forward.request)
                }
                nodes[forward.to.core].step(batch, now: now, into: &effects)
            } else if next < pending.count {
                see(pending[next].frame, nil, nil)
                batch.frames.append(pending[next].frame)
                nodes[pending[next].to.core].step(batch, now: now, into: &effects)
                next += 1
            } else {
                break
            }
        }
        batch.removeAll()
    }

    // MARK: Frames and time

    /// Frames leave once durable, and arrive in the order in which they left: links between nodes
    /// are streams, and what they carry beside grabs is too little to be queued.
    mutating func sendFrames(from node: Int, leavesNs: UInt64) {
        if effects.nextDeadlineMs != .max { watchDeadline(node) }
        if effects.frames.isEmpty { return }
        framesSent &+= UInt64(effects.frames.count)
        for index in 0..<effects.frames.count {
            queue.push(
                timeNs: leavesNs &+ links.frameNs,
                payload: Happening.rare(Happening.frame, frames.put(effects.frames[index])))
        }
    }

    mutating func deliver(_ sent: OutboundFrame) {
        let node = sent.to.core
        if servers[node].isLost { return }
        batch.removeAll()
        batch.frames.append(sent.frame)
        stepAside(node)
    }

    /// Time alone has something to bring about.
    mutating func passTime(_ node: Int) {
        if deadlinesMs[node] <= instant(nowNs).wallMs { deadlinesMs[node] = .max }
        if servers[node].isLost { return }
        batch.removeAll()
        stepAside(node)
    }

    /// A step beside the queue of requests: those who waited for units may be answered.
    private mutating func stepAside(_ node: Int) {
        nodes[node].step(batch, now: instant(nowNs), into: &effects)
        for index in 0..<effects.replies.count {
            let slot = Int(effects.replies[index].ticket.connection)
            guard effects.replies[index].outcome == .granted else { continue }
            pools[Int(flights[slot].pool)].waited(nowNs &- flights[slot].arrivedNs)
        }
        leave(node, nowNs)
        batch.removeAll()
    }

    private mutating func watchDeadline(_ node: Int) {
        let deadlineMs = effects.nextDeadlineMs
        guard deadlineMs < deadlinesMs[node] else { return }
        deadlinesMs[node] = deadlineMs
        let atNs = UInt64(max(deadlineMs - Self.epochMs, 0)) * 1_000_000
        queue.push(
            timeNs: max(atNs, nowNs), payload: Happening.rare(Happening.deadline, node))
    }

    // MARK: Losses

    func isKnownLost(_ node: Int) -> Bool {
        guard servers[node].isLost else { return false }
        for loss in losses where loss.isDetected && loss.nodes.contains(node) { return true }
        return false
    }

    /// Nodes die, drawn among those that live, with all that waits there.
    mutating func lose(_ index: Int) {
        var draw: UInt64 = 0
        while losses[index].nodes.count < scenario.losses[index].nodes {
            let node = Int(
                random.below(UInt64(scenario.nodes), .faultTargets, UInt64(index), draw))
            draw += 1
            if servers[node].isLost { continue }
            losses[index].nodes.append(node)
            servers[node].touch(nowNs)
            servers[node].isLost = true
            var slot = servers[node].head
            for _ in 0..<servers[node].waiting {
                let next = flights[Int(slot)].next
                servers[node].sojournNs &+= nowNs &- flights[Int(slot)].arrivedNs
                miss(slot)
                slot = next
            }
            servers[node].waiting = 0
        }
    }

    /// Nobody answers: the client tries another node after its time, as often as it takes.
    @inline(never)
    mutating func miss(_ slot: UInt32) {
        retries += 1
        let retryNs = losses.map(\.retryAfterNs).min() ?? 1_000_000_000
        let sendNs = flights[Int(slot)].sendNs
        // Counted from when the client sent, last time or the time before.
        let waited = (nowNs - sendNs) / retryNs + 1
        enter(slot, atNs: sendNs + waited * retryNs, attempt: waited)
    }
}

/// One loss, as far as it has come.
struct LossProgress {
    let atNs: UInt64
    let detectedNs: UInt64
    let retryAfterNs: UInt64
    var nodes: [Int] = []
    var isDetected = false

    init(_ loss: CapacityScenario.Loss) {
        atNs = loss.atNs
        detectedNs = loss.atNs + loss.detectedAfterNs
        retryAfterNs = loss.retryAfterNs
    }
}

/// Frames on their way.
struct FrameTable: ~Copyable {
    private var frames: [OutboundFrame?] = []
    private var free: [Int] = []

    mutating func put(_ frame: OutboundFrame) -> Int {
        if let index = free.popLast() {
            frames[index] = frame
            return index
        }
        frames.append(frame)
        return frames.count - 1
    }

    mutating func take(_ index: Int) -> OutboundFrame {
        guard let frame = frames[index] else { preconditionFailure("a frame came twice") }
        frames[index] = nil
        free.append(index)
        return frame
    }
}

/// What the nodes' own books say of a pool at the end.
struct PoolBooks {
    var granted: Int64 = 0
    var grantedFen: Fen = 0
    /// In slices and the treasury.
    var held: Int64 = 0
    var returned: Int64 = 0
    /// Of what is held, what is in slices of lost nodes.
    var lost: Int64 = 0
}

extension CapacityRun where Queue: ~Copyable {
    /// Asks the pool's home, which asks every slice: lost nodes too, as nobody could outside.
    mutating func books(_ index: Int) -> PoolBooks {
        var question = RequestBatch(capacity: 1)
        question.requests.append(
            Request(
                ticket: Ticket(core: 0, generation: 0, connection: 0, position: 0),
                operation: .poolInfo, pool: pools[index].key))
        var books = PoolBooks()
        var reports: [Frame] = []
        for field in settle(question, reports: &reports) {
            guard case .integer(let value) = field.value else { continue }
            switch field.key {
            case "granted": books.granted = value
            case "granted_fen": books.grantedFen = value
            case "remaining": books.held = value
            case "returned": books.returned = value
            default: break
            }
        }
        let placement = Placement(shards: scenario.shards, cores: scenario.nodes)
        for case .report(let pool, let slice, _, let totals, _) in reports {
            let node = placement.core(of: placement.shard(of: pool, slice: slice))
            if servers[node].isLost { books.lost += totals.held }
        }
        return books
    }
}
