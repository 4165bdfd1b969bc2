import EdgeCluster
import EdgeDomain
import EdgeMemory
import EdgeTypes
import EdgeWire

/// Where one grab of a run goes, found before any of the run is applied.
struct GrabPlan {
    /// The slice's number here; below 0: see `Miss`.
    var slot: Int32
    /// The user's; of one that is elsewhere: the shard.
    var hash: UInt64

    enum Miss {
        static let unknownPool: Int32 = -1
        static let notOpened: Int32 = -2
        static let unknownRegion: Int32 = -3
        /// Another core's or node's.
        static let elsewhere: Int32 = -16
    }
}

extension EdgeNode {
    /// Takes the run of grabs that begins at `start`: first every table line that will be read is
    /// asked for, then the grabs are applied one by one.
    ///
    /// - Returns: where the run ended, at `limit` at the latest.
    mutating func grab(
        _ batch: borrowing RequestBatch, from start: Int, to limit: Int, now: Instant,
        into effects: inout EffectBuffer
    ) -> Int {
        plans.removeAll()
        var end = start
        while end < limit && batch.requests[end].operation == .grab {
            plans.append(
                plan(
                    batch.requests[end].pool, batch.requests[end].user,
                    region: batch.requests[end].region))
            end += 1
        }
        for index in start..<end {
            let plan = plans[index - start]
            if plan.slot >= 0 {
                grab(batch, index, plan, now: now, into: &effects)
            } else {
                missed(batch.requests[index], plan, now: now, into: &effects)
            }
        }
        return end
    }

    @inline(__always)
    private mutating func plan(_ pool: PoolKey, _ user: UserID, region: UInt32) -> GrabPlan {
        if pool != lastPool || lastPoolIndex < 0 {
            guard let index = pools.find(pool) else {
                return GrabPlan(slot: GrabPlan.Miss.unknownPool, hash: 0)
            }
            lastPool = pool
            lastPoolIndex = index
        }
        guard let slice = pools[lastPoolIndex].map.slice(of: user, region: region) else {
            return GrabPlan(slot: GrabPlan.Miss.unknownRegion, hash: 0)
        }
        let slot = pools[lastPoolIndex].slots[Int(slice)]
        if slot < 0 {
            let shard = placement.shard(of: pool, slice: slice)
            return GrabPlan(
                slot: isLocal(shard) ? GrabPlan.Miss.notOpened : GrabPlan.Miss.elsewhere,
                hash: UInt64(shard))
        }
        let hash = slices[Int(slot)].hash(user)
        slices[Int(slot)].prefetch(hash)
        // While the table's line is on its way.
        if slices[Int(slot)].wantsLookAhead { lookAhead(Int(slot)) }
        return GrabPlan(slot: slot, hash: hash)
    }

    /// One grab, from request to reply: decide, journal, apply.
    ///
    /// The entry of a grant is drafted first, while the table's line is still on its way from
    /// memory (150 ns, most of what a lone grab takes); where nothing is granted it is dropped.
    @inline(__always)
    private mutating func grab(
        _ batch: borrowing RequestBatch, _ index: Int, _ plan: GrabPlan, now: Instant,
        into effects: inout EffectBuffer
    ) {
        let user = batch.requests[index].user
        let requestHash = batch.requests[index].requestHash
        let slot = Int(plan.slot)
        let poolIndex = slices[slot].poolIndex
        let local = slices[slot].localShard
        let waits = !pools[poolIndex].isMemory || slices[slot].awaitsDurability
        if now.monotonicNs >= shards[local].leaseUntilNs && !has(.servesUnleased) {
            return refuseUnleased(batch.requests[index].ticket, into: &effects)
        }
        if !shards[local].isTouched { touch(local) }
        let stream = shards[local].stream | pools[poolIndex].streamFlags
        let header = shards[local].following(now.wallMs)
        let journaled = effects.journal.count
        var amountFen: Fen = 0
        if slices[slot].holdsPackets && !batch.storageIsFull {
            amountFen = nextAmount(slot)
            JournalCodec.encode(
                Claim(
                    pool: batch.requests[index].pool, slice: slices[slot].slice, user: user,
                    packet: slices[slot].headPacket, amountFen: amountFen,
                    requestHash: requestHash),
                header: header, into: &effects.journal)
        }
        var decision = slices[slot].decide(
            user, hash: plan.hash, requestHash: requestHash, nowMs: header.timeMs)
        if configuration.mutant != .none {
            decision = mutated(
                decision, slot, user, requestHash: requestHash, nowMs: header.timeMs)
        }
        if case .grant(let packet) = decision, !batch.storageIsFull {
            if has(.claimNotJournaled) && packet % 7 == 6 {
                effects.journal.truncate(to: journaled)
            } else {
                shards[local].advance(header)
                counters.entries &+= 1
            }
            let hasEnded = slices[slot].apply(
                user, hash: plan.hash,
                requestHash: has(.requestForgottenAtLimitOne)
                    && slices[slot].control.terms.limit <= 1
                    ? 0 : requestHash,
                packet: packet, amountFen: amountFen, timeMs: header.timeMs)
            counters.grabs[Int(Outcome.granted.rawValue)] &+= 1
            effects.replies.append(
                Reply(
                    ticket: batch.requests[index].ticket, shape: .grab, outcome: .granted,
                    waitsForJournal: waits, stream: stream,
                    fen: has(.replyOfAnotherAmount) && packet % 16 == 3 ? amountFen + 1 : amountFen,
                    packet: packet, timeMs: header.timeMs))
            if hasEnded { ranLow(slot, into: &effects) }
            return
        }
        effects.journal.truncate(to: journaled)
        switch decision {
        case .grant:
            refuseFull(batch.requests[index].ticket, waits, stream: stream, into: &effects)
        case .repeat(let position):
            let packet = slices[slot].packet(of: position)
            counters.grabs[Int(Outcome.repeat.rawValue)] &+= 1
            effects.replies.append(
                Reply(
                    ticket: batch.requests[index].ticket, shape: .grab, outcome: .repeat,
                    waitsForJournal: waits && !has(.repeatDoesNotWait), stream: stream,
                    fen: pools[poolIndex].amounts.amount(packet), packet: packet,
                    timeMs: slices[slot].timeMs(of: position)))
        case .refuse(.soldOut, _) where mayGetMore(rain: slot):
            queue(batch.requests[index], rain: slot, into: &effects)
        case .refuse(let outcome, let timeMs) where slices[slot].isArchived:
            askArchive(batch.requests[index], slot, outcome, timeMs, into: &effects)
        case .refuse(let outcome, let timeMs):
            counters.grabs[Int(outcome.rawValue)] &+= 1
            effects.replies.append(
                Reply(
                    ticket: batch.requests[index].ticket, shape: .grab, outcome: outcome,
                    waitsForJournal: waits && !has(.refusalsUncommitted), stream: stream,
                    timeMs: timeMs))
            if outcome == .soldOut { seekCertificate(rain: slot, into: &effects) }
        case .full:
            refuseFull(batch.requests[index].ticket, waits, stream: stream, into: &effects)
        case .needsRequest:
            counters.errors &+= 1
            effects.fail(
                batch.requests[index].ticket, .badArgument,
                "a request id is required where LIMIT > 1", waits: waits, stream: stream)
        }
    }

    /// Takes a grab that has waited.
    @inline(never)
    mutating func grabAgain(
        _ batch: borrowing RequestBatch, _ index: Int, into effects: inout EffectBuffer
    ) {
        let request = batch.requests[index]
        let plan = plan(request.pool, request.user, region: request.region)
        guard plan.slot >= 0 else {
            return missed(request, plan, now: current, into: &effects)
        }
        grab(batch, index, plan, now: current, into: &effects)
    }

    /// What a slice's next packet holds.
    @inline(__always)
    mutating func nextAmount(_ slot: Int) -> Fen {
        if let known = slices[slot].nextAmount { return known }
        lookAhead(slot)
        guard let amountFen = slices[slot].nextAmount else {
            preconditionFailure("no packet is left")
        }
        return amountFen
    }

    @inline(never)
    private mutating func lookAhead(_ slot: Int) {
        let pool = slices[slot].poolIndex
        slices[slot].lookAhead(pools[pool].amounts)
    }

    private mutating func missed(
        _ request: Request, _ plan: GrabPlan, now: Instant, into effects: inout EffectBuffer
    ) {
        switch plan.slot {
        case GrabPlan.Miss.unknownPool:
            if isElsewhere(homeOf: request.pool) {
                return forward(
                    request, nil, to: placement.home(of: request.pool), into: &effects)
            }
            guard isLeased(placement.home(of: request.pool), now) else {
                return refuseUnleased(request.ticket, into: &effects)
            }
            counters.errors &+= 1
            effects.fail(request.ticket, .noRain, "no such rain", waits: false)
        case GrabPlan.Miss.unknownRegion:
            counters.errors &+= 1
            effects.fail(request.ticket, .badArgument, "no such region", waits: false)
        case GrabPlan.Miss.notOpened:
            counters.errors &+= 1
            effects.fail(request.ticket, .tryAgain, "the rain is being set up", waits: false)
        default:
            if isRefusedAtDoor(request, into: &effects) { return }
            forward(request, nil, to: ShardID(plan.hash), into: &effects)
        }
    }

    mutating func refuseFull(
        _ ticket: Ticket, _ waits: Bool, stream: UInt8 = CommitStream.disk,
        into effects: inout EffectBuffer
    ) {
        counters.errors &+= 1
        effects.fail(
            ticket, .full, "no room for new grants; nothing was applied", waits: waits,
            stream: stream)
    }

    /// A user's claims on a rain, oldest first.
    mutating func claims(_ request: Request, now: Instant, into effects: inout EffectBuffer) {
        let plan = plan(request.pool, request.user, region: request.region)
        guard plan.slot >= 0 else { return missed(request, plan, now: now, into: &effects) }
        let slot = Int(plan.slot)
        guard isLeased(slices[slot].shard, now) else {
            return refuseUnleased(request.ticket, into: &effects)
        }
        if slices[slot].isArchived {
            return askArchive(request, slot, .closed, 0, into: &effects)
        }
        let pool = slices[slot].poolIndex
        var rows: [Value] = []
        for position in slices[slot].claims(of: request.user) {
            let packet = slices[slot].packet(of: position)
            rows.append(
                .array([
                    .integer(packet), .integer(pools[pool].amounts.amount(packet)),
                    .integer(slices[slot].timeMs(of: position)),
                ]))
        }
        if has(.claimsForgetOldest) { rows = Array(rows.dropFirst()) }
        effects.answer(
            request.ticket, .array(rows),
            waits: !pools[pool].isMemory || slices[slot].awaitsDurability)
    }
}
