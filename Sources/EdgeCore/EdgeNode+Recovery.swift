import EdgeCluster
import EdgeDomain
import EdgeMemory
import EdgeTypes

/// An entry does not follow from the state before it: the journal is not the one that was
/// written.
public struct ReplayError: Error, Sendable, CustomStringConvertible {
    public let header: EntryHeader
    public let reason: String

    public var description: String {
        "shard \(header.shard), sequence \(header.sequence): \(reason)"
    }
}

/// Restart: entries in the order of their shard's sequence, then `finishRecovery` once.
extension EdgeNode {
    /// The last sequence that a local shard holds.
    public func sequence(of shard: ShardID) -> UInt64 {
        shards[placement.localIndex(of: shard)].sequence
    }

    /// Asks for the memory that `replay` of this claim will read.
    public func prefetch(_ claim: Claim) {
        guard let pool = pools.find(claim.pool), let slot = pools[pool].held(claim.slice),
            pools[pool].definition.kind != .stock
        else { return }
        slices[slot].prefetch(slices[slot].hash(claim.user))
    }

    /// Applies a journaled claim. The fast path of a restart.
    public mutating func replay(_ claim: Claim, _ header: EntryHeader) throws(ReplayError) {
        let local = try follow(header)
        guard let pool = pools.find(claim.pool), let slot = pools[pool].held(claim.slice),
            pools[pool].definition.kind != .stock,
            placement.shard(of: claim.pool, slice: claim.slice) == header.shard
        else { throw ReplayError(header: header, reason: "a claim on an unknown slice") }
        guard slices[slot].accepts(packet: claim.packet) else {
            throw ReplayError(header: header, reason: "packet \(claim.packet) is not the next")
        }
        guard nextAmount(slot) == claim.amountFen else {
            throw ReplayError(
                header: header, reason: "packet \(claim.packet) holds another amount")
        }
        let hash = slices[slot].hash(claim.user)
        slices[slot].apply(
            claim.user, hash: hash,
            requestHash: has(.replayForgetsRequests) ? 0 : claim.requestHash,
            packet: claim.packet, amountFen: claim.amountFen, timeMs: header.timeMs)
        advance(local, header)
    }

    public mutating func replay(_ entry: Entry, _ header: EntryHeader) throws(ReplayError) {
        if case .claim(let claim) = entry { return try replay(claim, header) }
        let local = try follow(header)
        switch entry {
        case .claim: preconditionFailure("handled above")
        case .orderReserved, .orderPaid, .orderCancelled, .orderExpired, .orderRefunded,
            .paymentRefused:
            guard apply(entry, header, ofBook: local) else {
                throw ReplayError(header: header, reason: "an order entry does not follow")
            }
        case .poolCreated(let definition, _):
            let key = PoolKey.of(definition.kind.family, definition.name)
            let control = PoolControl(version: 1, terms: definition.initial)
            if let problem = treasuryProblem(definition, key, control, header.shard) {
                throw ReplayError(header: header, reason: problem)
            }
            _ = addTreasury(definition, key: key, createdMs: header.timeMs)
        case .poolControlled, .poolFunded, .poolLeased, .poolTookBack, .poolSoldOut, .poolClosed,
            .poolResolved, .poolMoved:
            try replayHome(entry, header)
        case .sliceOpened(let definition, let slice, let control):
            let key = PoolKey.of(definition.kind.family, definition.name)
            if let problem = openingProblem(definition, key, slice, control, header.shard) {
                throw ReplayError(header: header, reason: problem)
            }
            openSlice(definition, key, slice, control, header)
        case .sliceControlled(let key, let slice, _), .sliceQuarantined(let key, let slice),
            .sliceArchived(let key, let slice, _):
            try replaySlice(entry, key, slice, local, header)
        case .sliceResolved(let key, let slice, _, _):
            try replaySlice(entry, key, slice, local, header)
        case .sliceCredited(let transfer), .sliceReturned(let transfer):
            try replaySlice(entry, transfer.pool, transfer.slice, local, header)
        }
        advance(local, header)
    }

    private func follow(_ header: EntryHeader) throws(ReplayError) -> Int {
        guard Int(header.shard) < placement.shards,
            configuration.replica == nil
                ? isLocal(header.shard) : placement.core(of: header.shard) == configuration.core
        else {
            throw ReplayError(header: header, reason: "not a shard of this core")
        }
        guard EntryRules.isSound(header) else {
            throw ReplayError(header: header, reason: "an impossible time")
        }
        let local = placement.localIndex(of: header.shard)
        let expected = shards[local].sequence + 1
        guard header.sequence == expected else {
            throw ReplayError(header: header, reason: "sequence \(expected) is missing")
        }
        return local
    }

    private mutating func advance(_ local: Int, _ header: EntryHeader) {
        if !shards[local].isTouched { touch(local) }
        shards[local].sequence = header.sequence
        shards[local].epoch = max(shards[local].epoch, header.epoch)
        shards[local].timeMs = max(shards[local].timeMs, header.timeMs)
    }

    private mutating func replayHome(
        _ entry: Entry, _ header: EntryHeader
    ) throws(ReplayError) {
        let key: PoolKey
        switch entry {
        case .poolControlled(let pool, _, _, _, _): key = pool
        case .poolFunded(let pool, _, _, _): key = pool
        case .poolLeased(let transfer), .poolTookBack(let transfer): key = transfer.pool
        case .poolSoldOut(let pool, _), .poolClosed(let pool), .poolResolved(let pool, _, _, _, _):
            key = pool
        case .poolMoved(let move): key = move.pool
        default: preconditionFailure("not a home's entry")
        }
        guard let pool = pools.find(key), pools[pool].treasury >= 0,
            placement.home(of: key) == header.shard
        else { throw ReplayError(header: header, reason: "an unknown pool") }
        let treasury = pools[pool].treasury
        if case .poolResolved(_, let resolution, let isDone, let requestHash, let actor) = entry {
            let decision = Decision(
                resolution: resolution, requestHash: requestHash, actor: actor)
            treasuries[treasury].applyDecision(
                requestHash, value: decision.value(isDone: isDone))
            return
        }
        guard !treasuries[treasury].isClosed else {
            throw ReplayError(header: header, reason: "a pool that was closed")
        }
        switch entry {
        case .poolControlled(_, let control, let requestHash, let value, _):
            guard control.version == treasuries[treasury].control.version + 1 else {
                throw ReplayError(header: header, reason: "a version is missing")
            }
            if let problem = EntryRules.problem(control, treasuries[treasury].definition.kind) {
                throw ReplayError(header: header, reason: problem)
            }
            let closesMs = treasuries[treasury].control.terms.closesMs
            treasuries[treasury].apply(control, requestHash: requestHash, value: value)
            if control.terms.closesMs != closesMs { watchClosing(treasury) }
            pools[pool].control = control
        case .poolFunded(_, let units, let requestHash, _):
            guard treasuries[treasury].canApplyFunding(units) else {
                throw ReplayError(header: header, reason: "funds that the pool cannot take")
            }
            treasuries[treasury].applyFunding(units, requestHash: requestHash)
        case .poolLeased(let transfer):
            guard treasuries[treasury].canApplyLease(transfer) else {
                throw ReplayError(header: header, reason: "a lease does not follow")
            }
            treasuries[treasury].applyLease(transfer)
        case .poolTookBack(let transfer):
            guard treasuries[treasury].canApplyReturn(transfer),
                EntryRules.isSound(transfer.ranges, treasuries[treasury].definition)
            else {
                throw ReplayError(header: header, reason: "a return does not follow")
            }
            treasuries[treasury].applyReturn(transfer)
        case .poolSoldOut(_, let soldOut):
            guard treasuries[treasury].canApply(soldOut) else {
                throw ReplayError(header: header, reason: "a certificate does not follow")
            }
            treasuries[treasury].apply(soldOut)
            pools[pool].soldOut[Int(soldOut.part)] = soldOut
        case .poolMoved(let move):
            guard treasuries[treasury].canApply(move),
                EntryRules.isSound(move.ranges, treasuries[treasury].definition)
            else {
                throw ReplayError(header: header, reason: "a move between regions does not follow")
            }
            treasuries[treasury].apply(move)
        default:
            guard treasuries[treasury].canClose else {
                throw ReplayError(header: header, reason: "a pool closed before its slices")
            }
            treasuries[treasury].applyClosed()
            pools[pool].isClosed = true
        }
    }

    /// Applies another primary's entry to a stock book, and notes a slice that was empty before.
    private mutating func apply(
        _ entry: Entry, _ header: EntryHeader, ofBook local: Int
    ) -> Bool {
        let slot = slot(givenUnitsBy: entry, local)
        let wasEmpty = slot.map { books[local].holdings(slot: $0) == 0 } ?? false
        guard books[local].apply(entry, header) else { return false }
        if let slot, wasEmpty, books[local].holdings(slot: slot) > 0 { noteWoken(local, slot) }
        return true
    }

    /// The slice that an entry may bring units.
    private func slot(givenUnitsBy entry: Entry, _ local: Int) -> Int? {
        switch entry {
        case .orderCancelled(let order), .orderExpired(let order): books[local].slot(of: order)
        case .orderRefunded(let refund): books[local].slot(of: refund.order)
        case .sliceCredited(let transfer):
            books[local].slot(of: transfer.pool, slice: transfer.slice)
        default: nil
        }
    }

    private mutating func replaySlice(
        _ entry: Entry, _ key: PoolKey, _ slice: UInt32, _ local: Int, _ header: EntryHeader
    ) throws(ReplayError) {
        guard let pool = pools.find(key), let slot = pools[pool].held(slice),
            placement.shard(of: key, slice: slice) == header.shard
        else { throw ReplayError(header: header, reason: "an unknown slice") }
        if pools[pool].definition.kind == .stock {
            let held = books[local].orders(slot: slot)
            guard apply(entry, header, ofBook: local) else {
                throw ReplayError(header: header, reason: "a slice's entry does not follow")
            }
            if case .sliceArchived = entry { archivedOrders(local, slot, held) }
            return
        }
        switch entry {
        case .sliceControlled(_, _, let control):
            if let problem = EntryRules.problem(control, pools[pool].definition.kind) {
                throw ReplayError(header: header, reason: problem)
            }
            slices[slot].apply(control)
        case .sliceCredited(let transfer):
            guard transfer.number == slices[slot].creditedNumber + 1 else {
                throw ReplayError(header: header, reason: "a lease is missing")
            }
            guard EntryRules.isSound(transfer.ranges, pools[pool].definition),
                !slices[slot].isSealed
            else { throw ReplayError(header: header, reason: "a lease does not follow") }
            credit(slot, transfer)
        case .sliceReturned(let transfer):
            guard slices[slot].follows(transfer) else {
                throw ReplayError(header: header, reason: "a return does not follow")
            }
            slices[slot].giveBack(transfer, header)
        case .sliceResolved(_, _, let resolution, _):
            guard slices[slot].canResolve(resolution) else {
                throw ReplayError(header: header, reason: "a decision about nothing")
            }
            slices[slot].resolve(resolution)
        case .sliceArchived(_, _, let first):
            guard slices[slot].canArchive || has(.archivedUnsealed),
                first == slices[slot].openedAt
            else {
                throw ReplayError(header: header, reason: "a slice is archived that is not closed")
            }
            if !has(.archivedReplicaKeeps) { archiveSlice(slot) }
        default:
            guard !slices[slot].isSealed else {
                throw ReplayError(header: header, reason: "a sealed slice holds nothing")
            }
            quarantine(slot)
        }
    }

    /// Gives a rain's slice what its treasury leased it.
    mutating func credit(_ slot: Int, _ transfer: Transfer) {
        let amountFen =
            slices[slot].isQuarantined ? sumFen(transfer.ranges, slices[slot].poolIndex) : 0
        slices[slot].credit(transfer, amountFen: amountFen)
    }

    private func sumFen(_ ranges: [UnitRange], _ pool: Int) -> Fen {
        ranges.reduce(0) { sum, range in
            sum + pools[pool].amounts.sum(range.start..<(range.start + range.count))
        }
    }

    /// Puts what a slice holds out of play. O(packets held): their amounts are summed.
    private mutating func quarantine(_ slot: Int) {
        let pool = slices[slot].poolIndex
        let amountFen = sumFen(slices[slot].heldRanges, pool)
        slices[slot].quarantine(amountFen: amountFen)
    }

    /// What the other cores of this node must know of the pools whose home is here.
    public var announcements: [Frame] {
        treasuries.indices.filter { isServedHere($0) }.map {
            let treasury = treasuries[$0]
            return .announce(treasury.definition, treasury.control, closed: treasury.isClosed)
        }
    }

    /// Takes another core's announcement before anything is served.
    public mutating func adopt(_ announcement: Frame) {
        guard case .announce = announcement else { preconditionFailure("an announcement") }
        var effects = EffectBuffer(capacity: 1)
        receive(announcement, now: Instant(wallMs: 0), into: &effects)
    }

    /// Ends a restart: what was in memory only is taken up again, and what the crash may have
    /// taken along is put out of play.
    ///
    /// - Parameter cleanStop: whether the journal proves that it is complete. Otherwise `memory`
    ///   slices are quarantined: claims that were acknowledged may be missing from the journal,
    ///   so none of their packets is ever granted again.
    public mutating func finishRecovery(
        cleanStop: Bool, now: Instant, into effects: inout EffectBuffer
    ) {
        // With replicas nothing is served before the arbiter was read: see `serve`.
        guard configuration.replica == nil else { return }
        current = now
        told.startedNs = max(1, now.monotonicNs)
        for local in 0..<shards.count { awaitEarlierDoors(local) }
        if !cleanStop && !has(.quarantineSkipped) {
            for slot in 0..<slices.count where pools[slices[slot].poolIndex].isMemory {
                quarantineRain(slot, now: now, into: &effects)
            }
        }
        for treasury in treasuries.indices {
            leaseWhatIsLeft(treasury, now: now, into: &effects)
            announce(treasury, into: &effects)
            certifyAnew(treasury, now: now, into: &effects)
            if !treasuries[treasury].isClosed { sendUnconfirmed(treasury, into: &effects) }
        }
        // Answers to what an earlier process asked are none to what this one asks.
        nextInquiry = UInt64(clamping: now.wallMs) << 20 | 1
        for local in 0..<shards.count { sealWhatCloses(local, now: now, into: &effects) }
        settle(now: now, into: &effects)
        if isUnconfirmed { resend(now: now, into: &effects) }
        // Nobody may come to ask before the first of them.
        deadlineMs = earliestDeadlineMs()
        effects.nextDeadlineMs = has(.restartSleeps) ? .max : deadlineMs
    }

    /// Slices that were closing when the node stopped: what is missing of that is done, and what
    /// they returned is sent again. Whether the home has taken it is not journaled.
    mutating func sealWhatCloses(
        _ local: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        for slot in 0..<slices.count
        where slices[slot].localShard == local && !pools[slices[slot].poolIndex].isClosed {
            if slices[slot].control.closing {
                sealRain(slot, now: now, into: &effects)
            } else if let transfer = slices[slot].unacknowledgedReturn {
                unconfirmed.returned(transfer)
                isUnconfirmed = true
                send(.returned(transfer), to: placement.home(of: transfer.pool), into: &effects)
            }
        }
        for slot in 0..<books[local].sliceCount {
            guard let pool = pools.find(books[local].poolKey(slot: slot)), !pools[pool].isClosed
            else { continue }
            sealStock(local, slot, now: now, into: &effects)
        }
    }

    /// Puts what a `memory` slice holds out of play, where it ever held anything.
    mutating func quarantineRain(
        _ slot: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        guard !slices[slot].isQuarantined, !slices[slot].isSealed,
            slices[slot].books.credited > 0
        else { return }
        _ = journal(
            .sliceQuarantined(slices[slot].pool, slice: slices[slot].slice),
            slices[slot].shard, now: now, into: &effects)
        quarantine(slot)
    }

    /// Leases what a crash left in a treasury between its funding and its leases.
    mutating func leaseWhatIsLeft(
        _ treasury: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        if has(.unleasedForgotten) { return }
        let key = treasuries[treasury].pool
        for lease in treasuries[treasury].dueLeases() {
            _ = journal(.poolLeased(lease), placement.home(of: key), now: now, into: &effects)
            treasuries[treasury].applyLease(lease)
        }
        treasuries[treasury].awaitLeases()
    }
}
