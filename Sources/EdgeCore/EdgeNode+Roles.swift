public import EdgeCluster
import EdgeDomain
import EdgeMemory
public import EdgeTypes

/// A shard as it changes hands: served here, followed here, forgotten.
///
/// What a follower holds of a shard is kept beside what is served, in the same tables; its slices
/// are hidden from requests (`KnownPool.slots` below −1), so the way of a grab asks nothing more.
extension EdgeNode {
    /// Whether requests for the shard may be answered: it is served here, and no other process can
    /// have taken it over yet.
    @inline(__always)
    func isLeased(_ shard: ShardID, _ now: Instant) -> Bool {
        now.monotonicNs < shards[placement.localIndex(of: shard)].leaseUntilNs
            || has(.servesUnleased)
    }

    /// Refuses what comes for a shard that may be another's by now.
    mutating func refuseUnleased(_ ticket: Ticket, into effects: inout EffectBuffer) {
        counters.errors &+= 1
        effects.fail(ticket, .tryAgain, "the shard's other replicas are silent", waits: false)
    }

    // MARK: Who serves it

    /// Requests go to whoever leads a configuration, until a later one is known.
    mutating func learnOwner(_ told: ShardConfiguration) {
        let shard = Int(told.shard)
        guard shard < placement.shards, told.epoch >= epochs[shard] else { return }
        epochs[shard] = told.epoch
        let node = UInt16(truncatingIfNeeded: told.primary.node)
        // One that came a moment ago may be known to others first.
        guard Int(node) < Limits.nodes else { return }
        if Int(node) == configuration.node, placement.core(of: told.shard) == configuration.core {
            let local = placement.localIndex(of: told.shard)
            owners[shard] = shards[local].isServing ? node : Self.nobody
        } else {
            owners[shard] = node
        }
    }

    /// The shard's configuration has changed.
    mutating func configured(_ local: Int) {
        guard let known = replicas?.shards[local], let told = known.configuration else { return }
        // A log that an earlier process left is of the epoch that it was written at, whatever came
        // since: a snapshot of it must not pass for one of a member.
        if known.role != .absent || has(.orphanTakesEpoch) {
            shards[local].epoch = max(shards[local].epoch, told.epoch)
        }
        forgetStrangers(local)
        learnOwner(told)
        guard shards[local].isServing else { return }
        chooseStream(local)
        renewLease(local)
    }

    /// Answers about the shard wait with those of other shards that the same partner follows.
    private mutating func chooseStream(_ local: Int) {
        guard let others = replicas?.shards[local].others else { return }
        var stream = CommitStream.alone
        if let first = others.first, let partner = partner(first) {
            stream = CommitStream.firstPartner + UInt8(partner)
        }
        guard shards[local].stream != stream else { return }
        shards[local].stream = stream
        // What waits on the stream before is waited for on this one, too.
        if !shards[local].isTouched { touch(local) }
    }

    /// Requests are answered from now on.
    mutating func serve(_ local: Int, now: Instant, into effects: inout EffectBuffer) {
        guard let known = replicas, let told = known.shards[local].configuration else { return }
        let shard = shards[local].id
        shards[local].epoch = told.epoch
        let wasServing = shards[local].isServing
        let last = shards[local].sequence
        shards[local].isServing = true
        owners[Int(shard)] = UInt16(configuration.node)
        chooseStream(local)
        renewLease(local)
        if !wasServing {
            reveal(local)
            awaitEarlierDoors(local)
            // Who handed it over is still a member; who died is not, and may have acknowledged
            // what nobody else has: what does not wait for replicas.
            let isHandedOver = known.leaders[local].map { told.has($0) } ?? true
            if heard >= ProtocolVersion.orderGaps, !has(.lostNumbersReused) {
                books[local].skipNumbers(epoch: told.epoch, isComplete: !told.isSealed)
            }
            takeUp(
                local, isHandedOver ? .nothing : told.isSealed ? .replicated : .memory, now: now,
                into: &effects)
        }
        effects.replicas.append(
            .serves(
                shard, epoch: told.epoch, last: last, isNew: !wasServing,
                isSealed: told.isSealed))
    }

    /// Takes up what the shard's memory says and its journal does not: see `finishRecovery`.
    private mutating func takeUp(
        _ local: Int, _ missing: Missing, now: Instant, into effects: inout EffectBuffer
    ) {
        let shard = shards[local].id
        quarantine(local, missing, now: now, into: &effects)
        // What the tail credited is applied here and may not be committed.
        for slot in 0..<slices.count where slices[slot].localShard == local {
            awaitDurability(slot, into: &effects)
        }
        for treasury in treasuries.indices where isHome(treasury, shard) {
            leaseWhatIsLeft(treasury, now: now, into: &effects)
            announce(treasury, into: &effects)
            certifyAnew(treasury, now: now, into: &effects)
            if !treasuries[treasury].isClosed { sendUnconfirmed(treasury, into: &effects) }
            watchClosing(treasury)
        }
        denyWhatStands(local, into: &effects)
        nextInquiry = max(nextInquiry, UInt64(clamping: now.wallMs) << 20 | 1)
        sealWhatCloses(local, now: now, into: &effects)
        settle(now: now, into: &effects)
        holdsChanged = true
    }

    /// A shard is served here from now on: what its slices hold, certificates may not know of.
    private mutating func denyWhatStands(_ local: Int, into effects: inout EffectBuffer) {
        var taken: [(pool: Int, slice: UInt32)] = []
        eachSlot(local) { _, pool, slice, _ in taken.append((pool, slice)) }
        for (pool, slice) in taken { deny(pool, slice, into: &effects) }
    }

    /// What may have been acknowledged and is not here.
    private enum Missing {
        case nothing
        /// Grants of `memory` pools: nobody waited for other replicas.
        case memory
        /// All but what waited for the disk.
        case replicated
    }

    /// Puts out of play what slices hold whose grants may be missing: others were told of them.
    private mutating func quarantine(
        _ local: Int, _ missing: Missing, now: Instant, into effects: inout EffectBuffer
    ) {
        if case .nothing = missing { return }
        if has(.takeoverKeepsMemory) { return }
        if case .replicated = missing, has(.sealedGrants) { return }
        for slot in 0..<slices.count where slices[slot].localShard == local {
            let pool = slices[slot].poolIndex
            guard pools[pool].isMemory || pools[pool].isReplicated else { continue }
            if case .memory = missing, !pools[pool].isMemory { continue }
            quarantineRain(slot, now: now, into: &effects)
        }
        guard case .replicated = missing else { return }
        for slot in 0..<books[local].sliceCount
        where books[local].durability(slot: slot) == .replicated
            && !books[local].isQuarantined(slot: slot) && !books[local].isSealed(slot: slot)
        {
            let entry = Entry.sliceQuarantined(
                books[local].poolKey(slot: slot), slice: books[local].sliceNumber(slot: slot))
            let header = journal(entry, shards[local].id, now: now, into: &effects)
            let applied = books[local].apply(entry, header)
            precondition(applied, "a slice that is not quarantined is refused that")
        }
    }

    /// Whether the treasury is there, and at home on the shard.
    func isHome(_ treasury: Int, _ shard: ShardID) -> Bool {
        let key = treasuries[treasury].pool
        guard placement.home(of: key) == shard, let pool = pools.find(key) else { return false }
        return pools[pool].treasury == treasury
    }

    /// Requests are not answered any more.
    mutating func stop(_ local: Int, into effects: inout EffectBuffer) {
        guard let known = replicas else { return }
        let waiting = known.streams.streams(of: local, after: known.shards[local].committed)
        effects.replicas.append(.stops(shards[local].id, streams: waiting))
        rest(local, into: &effects)
    }

    /// Nothing new is begun on the shard.
    private mutating func rest(_ local: Int, into effects: inout EffectBuffer) {
        let shard = shards[local].id
        shards[local].isServing = false
        told.forget(local)
        shards[local].leaseUntilNs = 0
        hide(local)
        owners[Int(shard)] = Self.nobody
        if let told = replicas?.shards[local].configuration { learnOwner(told) }
        var dropped: [Int] = []
        for treasury in treasuries.indices where isHome(treasury, shard) {
            dropWaiting(treasury, into: &effects)
            dropped.append(treasury)
        }
        var left: [(timeMs: UnixMs, pool: Int)] = []
        for closing in closings where !isHome(closing.pool, shard) { left.append(closing) }
        closings = left
        let placement = placement
        unconfirmed.forget { placement.shard(of: $0.pool, slice: $0.slice) == shard }
        unconfirmed.isStale = true
        holdsChanged = true
        releaseAll(local, into: &effects)
        dryParts.removeAll { dropped.contains($0.treasury) }
    }

    /// Operators who wait for a treasury that is not here any more.
    private mutating func dropWaiting(_ treasury: Int, into effects: inout EffectBuffer) {
        for reply in settling where reply.treasury == treasury {
            effects.fail(reply.ticket, .unknown, "the pool's home is on the move", waits: false)
        }
        settling.removeAll { $0.treasury == treasury }
        for inquiry in inquiries where inquiry.treasury == treasury {
            effects.fail(inquiry.ticket, .tryAgain, "the pool's home is on the move", waits: false)
        }
        inquiries.removeAll { $0.treasury == treasury }
        for pending in decisions where pending.treasury == treasury {
            effects.fail(pending.ticket, .unknown, "the pool's home is on the move", waits: false)
        }
        decisions.removeAll { $0.treasury == treasury }
    }

    /// A member is to lead: nothing new is begun, and once all is committed it takes over.
    mutating func handOver(
        _ shard: ShardID, to member: ReplicaID, now: Instant, into effects: inout EffectBuffer
    ) {
        guard placement.core(of: shard) == configuration.core else { return }
        let local = placement.localIndex(of: shard)
        var isTaken = false
        run(local, now: now, into: &effects) { isTaken = $0.handOver(to: member, into: &$1) }
        guard isTaken, shards[local].isServing else { return }
        rest(local, into: &effects)
    }

    /// After a restart: what the disk holds is what the shard's only member held.
    mutating func resume(
        _ told: ShardConfiguration, boot: UInt64, epoch: UInt32, born: UInt32, now: Instant,
        into effects: inout EffectBuffer
    ) {
        guard placement.core(of: told.shard) == configuration.core else { return }
        let local = placement.localIndex(of: told.shard)
        learnOwner(told)
        let last = shards[local].sequence
        // Before anything is said to the disk about it.
        replicas?.born[local] = born
        var isResumed = false
        run(local, now: now, into: &effects) {
            isResumed = $0.resume(told, boot: boot, epoch: epoch, last: last, into: &$1)
        }
        if !isResumed { discard(local, into: &effects) }
    }

    // MARK: What requests see

    private mutating func reveal(_ local: Int) {
        eachSlot(local) { pools, pool, slice, slot in pools[pool].open(slice, slot) }
    }

    private mutating func hide(_ local: Int) {
        eachSlot(local) { pools, pool, slice, slot in pools[pool].hide(slice, slot) }
    }

    private mutating func eachSlot(
        _ local: Int, _ body: (inout PoolTable, _ pool: Int, _ slice: UInt32, _ slot: Int) -> Void
    ) {
        for slot in 0..<slices.count
        where slices[slot].localShard == local {
            body(&pools, slices[slot].poolIndex, slices[slot].slice, slot)
        }
        for slot in 0..<books[local].sliceCount {
            guard let pool = pools.find(books[local].poolKey(slot: slot)) else { continue }
            body(&pools, pool, books[local].sliceNumber(slot: slot), slot)
        }
    }

    // MARK: Forgetting

    /// Drops all that was recovered of a shard.
    public mutating func drop(_ shard: ShardID) {
        var effects = EffectBuffer(capacity: 1)
        discard(placement.localIndex(of: shard), into: &effects)
    }

    /// The latest epoch that is known of a local shard.
    public func epoch(of shard: ShardID) -> UInt32 { shards[placement.localIndex(of: shard)].epoch }

    /// Counts how often what was held of a local shard was dropped.
    public func incarnation(of shard: ShardID) -> UInt32 {
        shards[placement.localIndex(of: shard)].incarnation
    }

    /// The replica of a local shard, in a cluster with replicas.
    public func replica(of shard: ShardID) -> ShardReplica? {
        replicas?.shards[placement.localIndex(of: shard)]
    }

    /// The epoch at which a local shard's log began here.
    public func born(_ shard: ShardID) -> UInt32 {
        replicas?.born[placement.localIndex(of: shard)] ?? 0
    }

    /// Whether the disk can hold all of a local shard: what was learned is in a snapshot.
    public func isBased(_ shard: ShardID) -> Bool {
        replicas?.shards[placement.localIndex(of: shard)].isBased ?? true
    }

    /// Whether this core serves a shard.
    public func isServing(_ shard: ShardID) -> Bool {
        placement.core(of: shard) == configuration.core
            && shards[placement.localIndex(of: shard)].isServing
    }

    /// Drops all that is held of a shard.
    mutating func discard(_ local: Int, into effects: inout EffectBuffer) {
        let shard = shards[local].id
        if shards[local].isServing { rest(local, into: &effects) }
        eachSlot(local) { pools, pool, slice, _ in pools[pool].close(slice) }
        for slot in 0..<slices.count
        where slices[slot].localShard == local {
            slices[slot].free()
            freeSlices.append(slot)
        }
        forgetTails(local)
        books[local] = StockBook(shard: shard, touchLimit: configuration.touchedOrders)
        for treasury in treasuries.indices where isHome(treasury, shard) {
            dropWaiting(treasury, into: &effects)
            if let pool = pools.find(treasuries[treasury].pool) { pools[pool].treasury = -1 }
            closings.removeAll { $0.pool == treasury }
            freeTreasuries.append(treasury)
        }
        unconfirmed.isStale = true
        shards[local].incarnation &+= 1
        shards[local].sequence = 0
        shards[local].stepStart = 0
        shards[local].timeMs = 0
        shards[local].followers = 0
        holdsChanged = true
        effects.replicas.append(.discarded(shard))
    }
}

extension EdgeNode {
    /// On whom answers to operators wait: rare, and what they tell comes from many shards. On the
    /// disk as well, whatever the pool's users are promised: a pool that was made is there when all
    /// members have lost their power.
    var operatorStream: UInt8 {
        guard configuration.replica != nil else { return CommitStream.disk }
        return has(.operatorsBeforeDisk)
            ? CommitStream.all : CommitStream.all | CommitStream.andDisk
    }

    /// Says on whom the answers to a request wait, from the first that it got on.
    mutating func mark(_ first: Int, _ request: Request, _ effects: inout EffectBuffer) {
        guard first < effects.replies.count else { return }
        let stream = stream(of: request)
        for index in first..<effects.replies.count { effects.replies[index].stream = stream }
    }

    private func stream(of request: Request) -> UInt8 {
        switch request.operation {
        case .grab, .claims, .reserve, .orders:
            guard let pool = pools.find(request.pool),
                let slice = pools[pool].map.slice(of: request.user, region: request.region)
            else { return CommitStream.disk }
            let shard = placement.shard(of: request.pool, slice: slice)
            guard placement.core(of: shard) == configuration.core else { return CommitStream.disk }
            return shards[placement.localIndex(of: shard)].stream | pools[pool].streamFlags
        case .orderPay, .orderCancel, .orderRefund, .orderInfo:
            let shard = request.order.shard
            guard Int(shard) < placement.shards, placement.core(of: shard) == configuration.core
            else { return CommitStream.disk }
            let local = placement.localIndex(of: shard)
            // Of an order that has left memory, the request says which SKU it is.
            let isJournaled =
                books[local].slot(of: request.order).map {
                    books[local].durability(slot: $0) == .journal
                } ?? pools.find(request.pool).map {
                    pools[$0].definition.durability == .journal
                } ?? false
            return shards[local].stream | (isJournaled ? CommitStream.andDisk : 0)
        case .poolCreate, .poolInfo, .poolWarm, .poolAlter, .poolPause, .poolResume, .poolClose,
            .poolRefill, .poolResolve, .poolList:
            return operatorStream
        }
    }
}
