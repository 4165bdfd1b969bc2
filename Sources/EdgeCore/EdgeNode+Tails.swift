import EdgeCluster
import EdgeDomain
import EdgeMemory
import EdgeTypes

/// A request that waits until its slice has units again.
struct Waiter: Sendable {
    var request: Request
    var payload: Payload?
    /// So many must be held before it is worth trying again.
    var units: Int64
    var sinceNs: UInt64
}

/// The end of a slice: who waits there, and what was asked of the treasury for them. Made when a
/// slice first runs dry.
struct Tail: Sendable {
    let pool: Int
    let key: PoolKey
    let slice: UInt32
    let local: Int
    let slot: Int
    let isStock: Bool
    private(set) var waiters: [Waiter] = []
    private var first = 0
    /// What all of them want.
    private(set) var wanted: Int64 = 0
    /// The last lease it had when it asked; nil: nothing is asked.
    var askedAfter: UInt32?
    var askedNs: UInt64 = 0
    /// The certificate that is wrong by what came free here, where its home was told.
    var deniedGeneration: UInt32?
    var deniedNs: UInt64 = 0
    /// When its home was asked for a certificate that nobody here waits for.
    var soughtNs: UInt64 = 0
    /// Until when others may refuse who has no order here, by the monotonic clock: nobody gets his
    /// first one before.
    var doorsUntilNs: UInt64 = 0
    /// Somebody waits, or something is denied.
    var isActive = false

    init(
        pool: Int, key: PoolKey, slice: UInt32, local: Int, slot: Int, isStock: Bool
    ) {
        self.pool = pool
        self.key = key
        self.slice = slice
        self.local = local
        self.slot = slot
        self.isStock = isStock
    }

    var count: Int { waiters.count - first }
    var next: Waiter? { first < waiters.count ? waiters[first] : nil }
    var tickets: [Ticket] { waiters[first...].map(\.request.ticket) }

    mutating func append(_ waiter: Waiter) {
        waiters.append(waiter)
        wanted += waiter.units
    }

    mutating func removeFirst() -> Waiter {
        let waiter = waiters[first]
        wanted -= waiter.units
        first += 1
        if first == waiters.count || first >= 256 && first * 2 > waiters.count {
            waiters.removeFirst(first)
            first = 0
        }
        return waiter
    }

    mutating func removeAll() -> [Waiter] {
        let all = Array(waiters[first...])
        waiters = []
        first = 0
        wanted = 0
        return all
    }

    /// Takes those out who want more than so many units.
    mutating func remove(beyond units: Int64) -> [Waiter] {
        let all = removeAll()
        for waiter in all where waiter.units <= units { append(waiter) }
        return all.filter { $0.units > units }
    }
}

struct SliceName: Hashable, Sendable {
    var pool: PoolKey
    var slice: UInt32
}

/// Where a slice is on this core.
struct SlicePlace {
    let pool: Int
    let local: Int
    let slot: Int
    let isStock: Bool
}

/// A slice that has nothing left, and those who want it: they wait for what the treasury finds
/// elsewhere, or for its word that there is nothing.
extension EdgeNode {
    /// For so long a request waits for units at most. Then nothing was applied, and nobody says
    /// that nothing is left.
    static let waitNs: UInt64 = 1_000_000_000
    /// Between looks at all that waits for time to pass.
    private static let lookNs: UInt64 = 5_000_000
    /// For so long a certificate is believed once it was heard: one that was withdrawn may be
    /// repeated by those who did not hear of that. Then the home is asked again.
    static let beliefNs: UInt64 = 1_000_000_000

    /// Whether a slice that holds fewer units than wanted may yet get them: nobody is told that
    /// it is sold out then.
    func mayGetMore(_ pool: Int, _ slice: UInt32, hasCredit: Bool, units: Int64) -> Bool {
        let part = pools[pool].part(of: slice)
        let soldOut = pools[pool].soldOut[part]
        if soldOut.stands, soldOut.left < units,
            current.monotonicNs &- pools[pool].soldOutNs[part] < Self.beliefNs
                || has(.soldOutBelieved)
        {
            return false
        }
        // The only slice of a pool has all of it, once it was given anything.
        return pools[pool].definition.slices > 1 || !hasCredit
    }

    @inline(never)
    func mayGetMore(rain slot: Int) -> Bool {
        !slices[slot].isSealed && slices[slot].books.held == 0
            && mayGetMore(
                slices[slot].poolIndex, slices[slot].slice,
                hasCredit: slices[slot].creditedNumber > 0, units: 1)
    }

    func mayGetMore(stock slot: Int, _ local: Int, units: Int64) -> Bool {
        guard let pool = pools.find(books[local].poolKey(slot: slot)),
            books[local].holdings(slot: slot) < units
        else { return false }
        return mayGetMore(
            pool, books[local].sliceNumber(slot: slot),
            hasCredit: books[local].creditNumber(slot: slot) > 0, units: units)
    }

    // MARK: Waiting

    @inline(never)
    mutating func queue(_ request: Request, rain slot: Int, into effects: inout EffectBuffer) {
        let name = SliceName(pool: slices[slot].pool, slice: slices[slot].slice)
        let place = SlicePlace(
            pool: slices[slot].poolIndex, local: slices[slot].localShard, slot: slot,
            isStock: false)
        queue(request, nil, units: 1, tail(name, place), into: &effects)
    }

    mutating func queue(
        _ request: Request, _ payload: Payload?, units: Int64, stock slot: Int, _ local: Int,
        into effects: inout EffectBuffer
    ) {
        guard let tail = stockTail(slot, local) else { return }
        queue(request, payload, units: units, tail, into: &effects)
    }

    private mutating func queue(
        _ request: Request, _ payload: Payload?, units: Int64, _ tail: Int,
        into effects: inout EffectBuffer
    ) {
        guard tails[tail].count < Limits.waitersPerSlice, waiterCount < Limits.waitersPerCore
        else {
            counters.errors &+= 1
            let waits = !pools[tails[tail].pool].isMemory
            return effects.fail(
                request.ticket, .tryAgain, "too many wait for what is left", waits: waits)
        }
        waiterCount += 1
        let sinceNs = waitingSinceNs ?? current.monotonicNs
        tails[tail].append(
            Waiter(request: request, payload: payload, units: units, sinceNs: sinceNs))
        tailDueNs = min(tailDueNs, sinceNs &+ Self.waitNs)
        activate(tail)
        ask(tail, into: &effects)
        // Where the cut between batches lies must not matter.
        if !localFrames.isEmpty, !isServing { settle(now: current, into: &effects) }
    }

    mutating func activate(_ tail: Int) {
        guard !tails[tail].isActive else { return }
        tails[tail].isActive = true
        activeTails.append(tail)
    }

    mutating func tail(_ name: SliceName, _ place: SlicePlace) -> Int {
        if let known = tailIndex[name] { return known }
        let tail = Tail(
            pool: place.pool, key: name.pool, slice: name.slice, local: place.local,
            slot: place.slot, isStock: place.isStock)
        if let free = freeTails.popLast() {
            tails[free] = tail
            tailIndex[name] = free
            return free
        }
        tailIndex[name] = tails.count
        tails.append(tail)
        return tails.count - 1
    }

    mutating func stockTail(_ slot: Int, _ local: Int) -> Int? {
        let key = books[local].poolKey(slot: slot)
        guard let pool = pools.find(key) else { return nil }
        return tail(
            SliceName(pool: key, slice: books[local].sliceNumber(slot: slot)),
            SlicePlace(pool: pool, local: local, slot: slot, isStock: true))
    }

    // MARK: Asking

    private func held(_ tail: Int) -> Int64 {
        tails[tail].isStock
            ? books[tails[tail].local].holdings(slot: tails[tail].slot)
            : slices[tails[tail].slot].books.held
    }

    private func credited(_ tail: Int) -> UInt32 {
        tails[tail].isStock
            ? books[tails[tail].local].creditNumber(slot: tails[tail].slot)
            : slices[tails[tail].slot].creditedNumber
    }

    /// Asks the treasury for what those who wait want, once until it has answered.
    private mutating func ask(_ tail: Int, into effects: inout EffectBuffer) {
        guard let next = tails[tail].next else { return }
        let after = credited(tail)
        guard tails[tail].askedAfter != after else { return }
        let held = held(tail)
        // It is there: only others' doors are waited for.
        guard held < next.units else { return }
        tails[tail].askedAfter = after
        tails[tail].askedNs = current.monotonicNs
        tailDueNs = min(tailDueNs, current.monotonicNs &+ Self.resendNs)
        counters.asks &+= 1
        send(
            .ask(
                UnitsAsked(
                    pool: tails[tail].key, slice: tails[tail].slice, after: after,
                    wanted: max(1, tails[tail].wanted - held), least: max(1, next.units - held))),
            to: placement.home(of: tails[tail].key), into: &effects)
    }

    /// A slice has given back what was too little for those who wait there: now they lack more.
    /// Goes ahead of what it gives back, which would come straight back otherwise.
    private mutating func askAnew(_ name: SliceName, into effects: inout EffectBuffer) {
        guard let tail = tailIndex[name] else { return }
        tails[tail].askedAfter = nil
        ask(tail, into: &effects)
    }

    /// A range of packets has ended: asks for more where few are left.
    @inline(never)
    mutating func ranLow(_ slot: Int, into effects: inout EffectBuffer) {
        let pool = slices[slot].poolIndex
        guard slices[slot].isLow, pools[pool].definition.slices > 1 else { return }
        askAhead(
            pool, slices[slot].slice, after: slices[slot].creditedNumber, into: &effects)
        if !localFrames.isEmpty, !isServing { settle(now: current, into: &effects) }
    }

    /// A reservation has taken units: asks for more where few are left.
    mutating func ranLow(stock slot: Int, _ local: Int, into effects: inout EffectBuffer) {
        guard books[local].isLow(slot: slot),
            let pool = pools.find(books[local].poolKey(slot: slot)),
            pools[pool].definition.slices > 1
        else { return }
        askAhead(
            pool, books[local].sliceNumber(slot: slot),
            after: books[local].creditNumber(slot: slot), into: &effects)
    }

    /// Asks once, and never again: who needs it will wait and say so.
    private mutating func askAhead(
        _ pool: Int, _ slice: UInt32, after: UInt32, into effects: inout EffectBuffer
    ) {
        let part = pools[pool].part(of: slice)
        guard !pools[pool].soldOut[part].stands else { return }
        let key = pools[pool].key
        counters.asks &+= 1
        send(
            .ask(UnitsAsked(pool: key, slice: slice, after: after, wanted: 0, least: 0)),
            to: placement.home(of: key), into: &effects)
    }

    // MARK: Serving

    /// Units have come to a slice: those who wait there take them, in order.
    mutating func serve(_ name: SliceName, into effects: inout EffectBuffer) {
        guard let tail = tailIndex[name] else { return }
        serve(tail, into: &effects)
    }

    private mutating func serve(_ tail: Int, into effects: inout EffectBuffer) {
        guard current.monotonicNs >= tails[tail].doorsUntilNs else {
            tailDueNs = min(tailDueNs, tails[tail].doorsUntilNs)
            return
        }
        while let next = tails[tail].next, held(tail) >= next.units {
            if tails[tail].isStock {
                again([takeFirst(tail)], into: &effects)
            } else {
                var ready: [Waiter] = []
                while ready.count < Int(held(tail)), tails[tail].count > 0 {
                    ready.append(takeFirst(tail))
                }
                again(ready, into: &effects)
            }
        }
        if has(.waiterForgotten), tails[tail].count == 1 { _ = takeFirst(tail) }
        ask(tail, into: &effects)
    }

    private mutating func takeFirst(_ tail: Int) -> Waiter {
        waiterCount -= 1
        return tails[tail].removeFirst()
    }

    /// Takes requests once more that have waited: whatever their slice says now is their answer.
    private mutating func again(_ waiters: [Waiter], into effects: inout EffectBuffer) {
        guard !waiters.isEmpty else { return }
        let wasServing = isServing
        isServing = true
        var batch = RequestBatch(capacity: waiters.count)
        batch.storageIsFull = isStorageFull
        for waiter in waiters {
            if let payload = waiter.payload {
                batch.append(waiter.request, payload: payload)
            } else {
                batch.requests.append(waiter.request)
            }
        }
        for index in waiters.indices {
            waitingSinceNs = waiters[index].sinceNs
            if batch.requests[index].operation == .grab {
                grabAgain(batch, index, into: &effects)
            } else {
                dispatch(batch.requests[index], batch, now: current, into: &effects)
            }
        }
        waitingSinceNs = nil
        isServing = wasServing
    }

    /// The terms of a slice have changed: everybody hears what that means for them.
    mutating func release(_ name: SliceName, into effects: inout EffectBuffer) {
        guard let tail = tailIndex[name], tails[tail].count > 0 else { return }
        let all = tails[tail].removeAll()
        waiterCount -= all.count
        tails[tail].askedAfter = nil
        again(all, into: &effects)
    }

    /// A shard is not served here any more: those who wait at its slices go where it is now.
    mutating func releaseAll(_ local: Int, into effects: inout EffectBuffer) {
        for tail in activeTails where tails[tail].local == local {
            tails[tail].deniedGeneration = nil
            release(SliceName(pool: tails[tail].key, slice: tails[tail].slice), into: &effects)
        }
    }

    /// What was held of a shard is gone: its slices will be others.
    mutating func forgetTails(_ local: Int) {
        for tail in tails.indices where tails[tail].local == local {
            let name = SliceName(pool: tails[tail].key, slice: tails[tail].slice)
            guard tailIndex[name] == tail else { continue }
            tailIndex[name] = nil
            activeTails.removeAll { $0 == tail }
            freeTails.append(tail)
        }
    }

    // MARK: What the treasury says

    /// What is left of a part of a pool, as its home has certified.
    mutating func learn(_ key: PoolKey, _ soldOut: SoldOut, into effects: inout EffectBuffer) {
        guard let pool = pools.find(key), Int(soldOut.part) < pools[pool].parts.count else {
            return
        }
        let part = Int(soldOut.part)
        if soldOut.isNewer(than: pools[pool].soldOut[part]) {
            pools[pool].soldOut[part] = soldOut
        }
        guard pools[pool].soldOut[part] == soldOut, soldOut.stands else { return }
        pools[pool].soldOutNs[part] = current.monotonicNs
        for tail in activeTails
        where tails[tail].pool == pool && pools[pool].parts[part].contains(tails[tail].slice) {
            let hopeless = tails[tail].remove(beyond: soldOut.left)
            waiterCount -= hopeless.count
            tails[tail].askedAfter = nil
            again(hopeless, into: &effects)
            ask(tail, into: &effects)
        }
        for slice in pools[pool].localSlices where pools[pool].parts[part].contains(slice) {
            deny(pool, slice, into: &effects)
        }
    }

    /// Units have come back to a SKU's slice from an order.
    mutating func freed(_ local: Int, _ slot: Int, into effects: inout EffectBuffer) {
        let key = books[local].poolKey(slot: slot)
        let slice = books[local].sliceNumber(slot: slot)
        guard let pool = pools.find(key) else { return }
        serve(SliceName(pool: key, slice: slice), into: &effects)
        deny(pool, slice, into: &effects)
    }

    /// Units of a slice that were out of play may be in it again.
    mutating func cameBack(
        _ place: SlicePlace, _ slice: UInt32, into effects: inout EffectBuffer
    ) {
        serve(SliceName(pool: pools[place.pool].key, slice: slice), into: &effects)
        deny(place.pool, slice, into: &effects)
    }

    /// Tells the home that a certificate is wrong where a slice holds units all the same.
    mutating func deny(
        _ pool: Int, _ slice: UInt32, into effects: inout EffectBuffer
    ) {
        let soldOut = pools[pool].soldOut[pools[pool].part(of: slice)]
        guard soldOut.stands else { return }
        let slot = Int(pools[pool].slots[Int(slice)])
        let shard = placement.shard(of: pools[pool].key, slice: slice)
        guard slot >= 0, isLocal(shard) else { return }
        let local = placement.localIndex(of: shard)
        let isStock = pools[pool].definition.kind == .stock
        let held = isStock ? books[local].holdings(slot: slot) : slices[slot].books.held
        guard held > 0 else { return }
        let tail = tail(
            SliceName(pool: pools[pool].key, slice: slice),
            SlicePlace(pool: pool, local: local, slot: slot, isStock: isStock))
        guard tails[tail].deniedGeneration != soldOut.generation else { return }
        tails[tail].deniedGeneration = soldOut.generation
        tails[tail].deniedNs = current.monotonicNs
        tailDueNs = min(tailDueNs, current.monotonicNs &+ Self.resendNs)
        activate(tail)
        send(
            .freed(pools[pool].key, slice: slice, generation: soldOut.generation),
            to: placement.home(of: pools[pool].key), into: &effects)
    }

    // MARK: Being called back

    /// Gives back what the slices of a part hold, and answers for them.
    mutating func sweep(_ recall: Recall, now: Instant, into effects: inout EffectBuffer) {
        guard let pool = pools.find(recall.pool), Int(recall.part) < pools[pool].parts.count,
            recall.round != 0
        else { return }
        let part = pools[pool].parts[Int(recall.part)]
        let home = placement.home(of: recall.pool)
        let isStock = pools[pool].definition.kind == .stock
        var answers: [SweptSlice] = []
        for slice in pools[pool].localSlices where part.contains(slice) {
            let shard = placement.shard(of: recall.pool, slice: slice)
            let slot = Int(pools[pool].slots[Int(slice)])
            guard slot >= 0, isLocal(shard), isLeased(shard, now) else { continue }
            let local = placement.localIndex(of: shard)
            // The only slice of a pool would only get it back.
            let isAlone = pools[pool].definition.slices == 1
            let transfer =
                isAlone
                ? nil
                : isStock ? books[local].returning(slot: slot) : slices[slot].partialReturn
            let isForgotten = has(.recallForgetsSlice) && slice == part.upperBound - 1
            if let transfer, !isForgotten {
                let entry = Entry.sliceReturned(transfer)
                let header = journal(entry, shard, now: now, into: &effects)
                if isStock {
                    let applied = books[local].apply(entry, header)
                    precondition(applied)
                } else {
                    slices[slot].giveBack(transfer, header)
                }
                unconfirmed.returned(transfer)
                isUnconfirmed = true
                counters.returns &+= 1
                askAnew(SliceName(pool: recall.pool, slice: slice), into: &effects)
                send(.returned(transfer), to: home, into: &effects)
            }
            answers.append(
                SweptSlice(
                    slice: slice,
                    returnNumber: isStock
                        ? books[local].returnNumber(slot: slot) : slices[slot].returnedNumber,
                    isQuiet: isQuiet(slot, local, isStock, recall) || isForgotten,
                    isFinal: !isStock && slices[slot].books.quarantined == 0
                        && spoken >= ProtocolVersion.finalSoldOut))
        }
        guard !answers.isEmpty else { return }
        counters.sweeps &+= 1
        send(
            .swept(
                Sweep(
                    pool: recall.pool, part: recall.part, round: recall.round, slices: answers)),
            to: home, into: &effects)
    }

    private mutating func isQuiet(
        _ slot: Int, _ local: Int, _ isStock: Bool, _ recall: Recall
    ) -> Bool {
        isStock
            ? books[local].sweep(slot: slot, recall.round, after: recall.after)
            : slices[slot].sweep(recall.round, after: recall.after)
    }

    // MARK: Time

    /// Everything about the ends of slices and treasuries that waits for time to pass.
    mutating func passTails(into effects: inout EffectBuffer) {
        let nowNs = current.monotonicNs
        guard nowNs >= tailDueNs else { return tellTailDeadline(into: &effects) }
        tailDueNs = .max
        for tail in activeTails {
            if tails[tail].doorsUntilNs != 0 { passDoors(tail, into: &effects) }
            refuseLate(tail, into: &effects)
            if tails[tail].count > 0, nowNs >= tails[tail].askedNs &+ Self.resendNs {
                tails[tail].askedAfter = nil
                ask(tail, into: &effects)
            }
            if tails[tail].deniedGeneration != nil,
                nowNs >= tails[tail].deniedNs &+ Self.resendNs
            {
                tails[tail].deniedGeneration = nil
                deny(tails[tail].pool, tails[tail].slice, into: &effects)
            }
            if let next = tails[tail].next {
                tailDueNs = min(
                    tailDueNs, next.sinceNs &+ Self.waitNs,
                    tails[tail].askedNs &+ Self.resendNs)
            }
            if tails[tail].deniedGeneration != nil {
                tailDueNs = min(tailDueNs, tails[tail].deniedNs &+ Self.resendNs)
            }
        }
        for tail in activeTails {
            tails[tail].isActive =
                tails[tail].count > 0 || tails[tail].deniedGeneration != nil
        }
        activeTails.removeAll { !tails[$0].isActive }
        passRounds(into: &effects)
        settle(now: current, into: &effects)
        // Not at every step, where thousands wait.
        if tailDueNs != .max { tailDueNs = max(tailDueNs, nowNs &+ Self.lookNs) }
        tellTailDeadline(into: &effects)
    }

    private func tellTailDeadline(into effects: inout EffectBuffer) {
        guard tailDueNs != .max else { return }
        let leftNs = tailDueNs > current.monotonicNs ? tailDueNs - current.monotonicNs : 0
        // The wall clock may step; another look comes with what is not confirmed.
        effects.nextDeadlineMs = min(
            effects.nextDeadlineMs, current.wallMs + Int64(leftNs / 1_000_000) + 1)
    }

    /// Those who waited for others' doors are served once these are open, or closed.
    private mutating func passDoors(_ tail: Int, into effects: inout EffectBuffer) {
        let untilNs = tails[tail].doorsUntilNs
        guard current.monotonicNs >= untilNs else {
            if tails[tail].count > 0 { tailDueNs = min(tailDueNs, untilNs) }
            return
        }
        tails[tail].doorsUntilNs = 0
        serve(tail, into: &effects)
    }

    private mutating func refuseLate(_ tail: Int, into effects: inout EffectBuffer) {
        var hasRefused = false
        while let next = tails[tail].next,
            current.monotonicNs &- next.sinceNs >= Self.waitNs
        {
            let waiter = takeFirst(tail)
            hasRefused = true
            counters.errors &+= 1
            effects.fail(
                waiter.request.ticket, .tryAgain, "what is left is not found yet",
                waits: !pools[tails[tail].pool].isMemory)
        }
        // The next may want less.
        if hasRefused {
            tails[tail].askedAfter = nil
            ask(tail, into: &effects)
        }
    }
}
