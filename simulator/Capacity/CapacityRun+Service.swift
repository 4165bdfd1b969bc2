import EdgeCore
import EdgeMemory
import EdgeTypes
import Simulator

/// A node serves: what has arrived when it becomes free is one batch, as in the real loop.
extension CapacityRun where Queue: ~Copyable {
    /// A request comes to its node.
    @inline(__always)
    mutating func arrive(_ slot: UInt32) {
        let node = Int(flights[Int(slot)].node)
        if servers[node].isLost { return miss(slot) }
        flights[Int(slot)].arrivedNs = nowNs
        flights[Int(slot)].next = InFlight.none
        servers[node].touch(nowNs)
        if servers[node].waiting == 0 {
            servers[node].head = slot
        } else {
            flights[Int(servers[node].tail)].next = slot
        }
        servers[node].tail = slot
        servers[node].waiting &+= 1
        servers[node].peakWaiting = max(servers[node].peakWaiting, servers[node].waiting)
        if servers[node].wakeIsDue { return }
        if servers[node].busyUntilNs <= nowNs { return serve(node) }
        servers[node].wakeIsDue = true
        queue.push(
            timeNs: servers[node].busyUntilNs,
            payload: (Happening.wakes << Happening.shift) | UInt32(truncatingIfNeeded: node))
    }

    /// A node ends its batch, and others wait.
    mutating func wake(_ node: Int) {
        servers[node].wakeIsDue = false
        if servers[node].isLost { return }
        servers[node].touch(nowNs)
        serve(node)
    }

    /// Takes all that waits, up to the limit, into one batch; steps the real node; and lets what
    /// it wants leave when the batch is done.
    mutating func serve(_ node: Int) {
        var work = WorkDraws(key: serviceKey ^ UInt64(node), place: servers[node].served)
        var costNs: UInt64 = 0
        var arrivedNs: UInt64 = 0
        var count = 0
        let firstNs = flights[Int(servers[node].head)].arrivedNs
        answered.removeAll()
        batch.removeAll()
        while servers[node].waiting > 0 && count < scenario.batchLimit {
            let slot = servers[node].head
            let flight = flights[Int(slot)]
            servers[node].head = flight.next
            servers[node].waiting &-= 1
            arrivedNs &+= flight.arrivedNs
            count += 1
            work.next()
            if flight.stage == .answered {
                answered.append(slot)
                costNs &+= service.sampleNs(.relay, 0, work.first)
                costNs &+= service.sampleNs(.sendOff, 0, work.second)
            } else {
                batch.requests.append(request(slot, flight))
                costNs &+= service.sampleNs(.takeIn, 0, work.first)
            }
        }
        if !batch.requests.isEmpty { costNs &+= step(node, &work) }
        let doneNs = nowNs &+ costNs
        finish(node, doneNs)
        load.add(node, fromNs: nowNs, costNs: costNs)
        servers[node].serving = UInt32(truncatingIfNeeded: count)
        servers[node].served &+= UInt64(count)
        servers[node].sojournNs &+= UInt64(count) &* doneNs &- arrivedNs
        servers[node].longestNs = max(servers[node].longestNs, doneNs &- firstNs)
        servers[node].busyNs &+= costNs
        servers[node].busyUntilNs = doneNs
        if servers[node].waiting > 0 {
            servers[node].wakeIsDue = true
            queue.push(
                timeNs: doneNs,
                payload: (Happening.wakes << Happening.shift) | UInt32(truncatingIfNeeded: node))
        }
    }

    @inline(__always)
    private func request(_ slot: UInt32, _ flight: InFlight) -> Request {
        let pool = Int(flight.pool)
        return Request(
            ticket: Ticket(core: flight.entry, generation: 0, connection: slot, position: 0),
            operation: .grab, pool: pools[pool].key,
            user: pools[pool].userID(flight.user),
            requestHash: pools[pool].needsRequest ? UInt64(flight.user) &+ 1 : 0)
    }

    /// Steps the node with the batch.
    ///
    /// - Returns: what deciding, encoding and sending takes.
    @inline(__always)
    private mutating func step(_ node: Int, _ work: inout WorkDraws) -> UInt64 {
        let kind = ServiceTimes.batchClass(batch.requests.count)
        nodes[node].step(batch, now: instant(nowNs), into: &effects)
        var costNs: UInt64 = 0
        for index in 0..<effects.replies.count {
            work.next()
            let reply = effects.replies[index]
            costNs &+= service.sampleNs(.of(reply), kind, work.first)
            costNs &+= service.sampleNs(.sendOff, 0, work.second)
        }
        for _ in 0..<effects.forwards.count {
            work.next()
            costNs &+= service.sampleNs(.forward, kind, work.first)
            costNs &+= service.sampleNs(.sendOff, 0, work.second)
        }
        servers[node].steps &+= 1
        return costNs
    }

    /// What a batch brought about leaves the node.
    @inline(__always)
    private mutating func finish(_ node: Int, _ doneNs: UInt64) {
        for index in 0..<answered.count { tell(answered[index], leavesNs: doneNs) }
        answered.removeAll()
        if !batch.requests.isEmpty { leave(node, doneNs) }
    }

    /// What a step brought about leaves the node.
    @inline(__always)
    mutating func leave(_ node: Int, _ doneNs: UInt64) {
        let durableNs = journal(node, doneNs)
        for index in 0..<effects.replies.count {
            let slot = effects.replies[index].ticket.connection
            let outcome = PoolProgress.outcome(effects.replies[index])
            let fen = effects.replies[index].fen
            digest = Hash64.mix(digest ^ UInt64(outcome), UInt64(bitPattern: fen))
            if outcome == Outcome.granted.rawValue {
                pools[Int(flights[Int(slot)].pool)].grant(fen)
                servers[node].granted &+= 1
                lastGrantNs = max(lastGrantNs, doneNs)
                store.take(doneNs)
            }
            flights[Int(slot)].outcome = outcome
            let leavesNs = effects.replies[index].waitsForJournal ? durableNs : doneNs
            if Int(flights[Int(slot)].entry) == node {
                tell(slot, leavesNs: leavesNs)
            } else {
                flights[Int(slot)].stage = .answered
                send(slot, to: Int(flights[Int(slot)].entry), from: node, leavesNs: leavesNs)
            }
        }
        for index in 0..<effects.forwards.count {
            let slot = effects.forwards[index].request.ticket.connection
            let owner = Int(effects.forwards[index].to.core)
            forwards &+= 1
            if !losses.isEmpty && isKnownLost(owner) {
                flights[Int(slot)].outcome = Outcome.lost.rawValue
                tell(slot, leavesNs: doneNs)
            } else {
                flights[Int(slot)].stage = .forwarded
                send(slot, to: owner, from: node, leavesNs: doneNs)
            }
        }
        if servers[node].firstRefusalNs == 0, nodes[node].counters.doorRefusals > 0 {
            servers[node].firstRefusalNs = max(1, doneNs)
        }
        sendFrames(from: node, leavesNs: durableNs)
        effects.removeAll()
    }

    /// Counts what the step journaled.
    ///
    /// - Returns: when replies that wait for it may leave.
    @inline(__always)
    private mutating func journal(_ node: Int, _ doneNs: UInt64) -> UInt64 {
        var waits = false
        for index in 0..<effects.replies.count where effects.replies[index].waitsForJournal {
            waits = true
        }
        let appended = effects.journal.count
        if appended > 0 {
            journalBytes &+= UInt64(appended)
            journalChecksum = Checksum.crc32c(
                effects.journal.bytes, continuing: journalChecksum)
            effects.journal.removeAll()
        }
        guard waits else { return doneNs }
        // Nothing new: what was read waits for the sync that holds it, where one is going on.
        if appended == 0 { return max(doneNs, servers[node].syncEndNs) }
        let draw = random.word(.diskDelay, UInt64(node), servers[node].syncs)
        let syncNs = service.sampleNs(.sync, 0, UInt32(truncatingIfNeeded: draw))
        return servers[node].durableNs(appendedNs: doneNs, syncNs: syncNs)
    }

    /// One hop between nodes.
    @inline(__always)
    private mutating func send(_ slot: UInt32, to node: Int, from: Int, leavesNs: UInt64) {
        let flight = flights[Int(slot)]
        let word = random.word(
            .networkDelay, Self.entity(Int(flight.pool), flight.user),
            flight.stage == .answered ? 3 : 2)
        var delayNs = links.node.sampleNs(high: word)
        if zones.count > 1 && zones.zone(ofNode: node) != zones.zone(ofNode: from) {
            delayNs &+= links.far.sampleNs(low: word)
        }
        flights[Int(slot)].node = UInt16(truncatingIfNeeded: node)
        queue.push(timeNs: leavesNs &+ delayNs, payload: slot)
    }

    @inline(__always)
    func instant(_ ns: UInt64) -> Instant {
        Instant(wallMs: Self.epochMs &+ Int64(ns / 1_000_000), monotonicNs: ns)
    }
}

/// Random fractions for a batch's service times: two a turn.
struct WorkDraws {
    private let key: UInt64
    private var place: UInt64
    private var word: UInt64 = 0

    @inline(__always)
    init(key: UInt64, place: UInt64) {
        self.key = key
        self.place = place << 2
    }

    @inline(__always)
    mutating func next() {
        word = Hash64.mix(place, key)
        place &+= 1
    }

    var first: UInt32 { UInt32(truncatingIfNeeded: word >> 32) }
    var second: UInt32 { UInt32(truncatingIfNeeded: word) }
}
