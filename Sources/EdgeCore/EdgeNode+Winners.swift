import EdgeCluster
import EdgeDomain
import EdgeMemory
import EdgeTypes

/// A filter of those who have won in a slice that is served here.
struct WinnersFilter: Sendable {
    let pool: Int
    let slice: UInt32
    let local: Int
    let slot: Int
    let isStock: Bool
    /// The certificate under which it is made, and the epoch of the slice's shard.
    let soldOut: SoldOut
    let shardEpoch: UInt32
    let mark: UInt64
    /// Claims of the slice, or orders of the shard, when it was begun, and those looked at.
    let count: Int
    var next = 0
    /// A SKU's: whose orders they are, and how many of them are in the filter.
    var users: [UserID] = []
    var inserted = 0
    /// nil: not begun, or there are too many winners.
    var filter: BlockedBloom?
    var isDone = false
    /// Those who wait for it.
    var questions: [WinnersAsked] = []
    var usedNs: UInt64
}

/// The filters that a core has made of its slices' winners.
struct ToldWinners: Sendable {
    fileprivate var filters: [WinnersFilter] = []
    fileprivate var sizeBytes = 0
    /// Some are begun and not done.
    fileprivate(set) var isMaking = false
    fileprivate var count: UInt64 = 0
    fileprivate var tidiedNs: UInt64 = 0
    /// When this process began, by the monotonic clock; 0: it was not told yet.
    var startedNs: UInt64 = 0
    /// Until when some SKU's slice may wait for others' doors.
    fileprivate var doorsUntilNs: UInt64 = 0
    /// When slices of SKUs were empty last and came to hold something, as entries of other primaries
    /// said: a filter that one of them told just before may still be believed. By local shard and
    /// slot.
    fileprivate var woken: [UInt64: UInt64] = [:]

    /// Drops a slice's filter: somebody wins there.
    @inline(__always)
    mutating func forget(_ local: Int, _ slot: Int) {
        if !filters.isEmpty { drop { $0.local == local && $0.slot == slot && $0.isStock } }
    }

    /// Drops the filters of a shard's slices.
    mutating func forget(_ local: Int) { drop { $0.local == local } }

    @inline(never)
    mutating func drop(where isGone: (WinnersFilter) -> Bool) {
        for filter in filters where isGone(filter) { sizeBytes -= filter.filter?.sizeBytes ?? 0 }
        filters.removeAll(where: isGone)
    }
}

/// Telling other cores and nodes who has won in a slice, so that they need not pass on whoever has
/// not: see `EdgeNode+Doors.swift`.
///
/// A filter is made of all claims (of a SKU: of all orders, in any state) that a slice has while a
/// certificate says that nothing is left, the slice holds nothing, and the shard's lease runs: so no
/// other process has claims of it that are not here. It leaves once those claims are committed, as
/// every frame does. It is dropped with the certificate, with the shard, and when a claim is added.
///
/// A SKU's slice that has told one lets nobody in whom it may not hold until the time is over for
/// which it is believed: who wants what came back waits so long. What an earlier primary has told
/// is not known here; it told nothing after it held anything, so a slice that was found empty, or was
/// so within that time as its entries came, waits as well.
extension EdgeNode {
    /// Claims or orders looked at in one step for one filter.
    private static let filterStep = 16_384
    /// Most orders of a shard that are looked at for a SKU's filter.
    private static let mostOrders = 1 << 21
    private static let mostWinners =
        Limits.winnersBytes / (BlockedBloom.blockWords * 8) * BlockedBloom.keysPerBlock
    /// Most questions that wait for one filter: the others are asked again.
    private static let mostQuestions = 4_096
    /// How much faster than another's a clock may run: a sixteenth.
    private static let doorGateNs = doorNs + doorNs / 16

    // MARK: Telling

    /// Somebody passes requests on for a slice here, and wants to know whom he need not.
    mutating func tellWinners(_ asked: WinnersAsked, into effects: inout EffectBuffer) {
        guard let pool = pools.find(asked.pool), Int(asked.slice) < pools[pool].slots.count,
            Int(asked.node) < configuration.nodes, Int(asked.back) < placement.shards
        else { return }
        let soldOut = pools[pool].soldOut[pools[pool].part(of: asked.slice)]
        guard closesDoors(pool, soldOut), soldOut.epoch == asked.epoch,
            soldOut.generation == asked.generation
        else { return }
        guard let index = filter(pool, asked.slice, soldOut) else { return }
        told.filters[index].usedNs = current.monotonicNs
        if told.filters[index].isDone { return tell(index, asked, into: &effects) }
        if told.filters[index].questions.count < Self.mostQuestions {
            told.filters[index].questions.append(asked)
        }
        make(index, into: &effects)
    }

    /// The filter of a slice, begun where there is none; nil: there can be none now.
    private mutating func filter(_ pool: Int, _ slice: UInt32, _ soldOut: SoldOut) -> Int? {
        let known = told.filters.firstIndex { $0.pool == pool && $0.slice == slice }
        if let known, isExact(told.filters[known]) { return known }
        if known != nil { told.drop { $0.pool == pool && $0.slice == slice } }
        let shard = placement.shard(of: pools[pool].key, slice: slice)
        let slot = Int(pools[pool].slots[Int(slice)])
        guard slot >= 0, isLocal(shard) else { return nil }
        let local = placement.localIndex(of: shard)
        let isStock = pools[pool].definition.kind == .stock
        let count = isStock ? books[local].loggedOrders : slices[slot].claimCount
        told.count &+= 1
        let place = UInt64(configuration.node) << 32 | UInt64(configuration.core)
        let time = Hash64.mix(UInt64(bitPattern: current.wallMs), current.monotonicNs)
        var made = WinnersFilter(
            pool: pool, slice: slice, local: local, slot: slot, isStock: isStock,
            soldOut: soldOut, shardEpoch: shards[local].epoch,
            mark: Hash64.mix(time, Hash64.mix(told.count, place)) | 1,
            count: has(.filterWithoutLatest) ? max(0, count - 1) : count,
            usedNs: current.monotonicNs)
        guard isExact(made), count <= (isStock ? Self.mostOrders : Self.mostWinners) else {
            return nil
        }
        if !isStock {
            made.filter = BlockedBloom(capacity: count)
            guard hasRoom(for: BlockedBloom.sizeBytes(capacity: count)) else { return nil }
        }
        told.filters.append(made)
        told.isMaking = true
        return told.filters.count - 1
    }

    /// Makes room among what nobody has asked for lately, at most once a second.
    private mutating func hasRoom(for bytes: Int) -> Bool {
        let nowNs = current.monotonicNs
        if told.sizeBytes + bytes > Limits.winnersBytesPerCore,
            told.tidiedNs == 0 || nowNs &- told.tidiedNs >= 1_000_000_000
        {
            told.tidiedNs = max(1, nowNs)
            told.drop { nowNs &- $0.usedNs >= 10_000_000_000 }
        }
        guard told.sizeBytes + bytes <= Limits.winnersBytesPerCore else { return false }
        told.sizeBytes += bytes
        return true
    }

    /// Whether all who have won in a slice are those that a filter is made of.
    private func isExact(_ filter: WinnersFilter) -> Bool {
        let pool = filter.pool
        guard pools[pool].soldOut[Int(filter.soldOut.part)] == filter.soldOut,
            filter.soldOut.stands, shards[filter.local].epoch == filter.shardEpoch,
            isLocal(shards[filter.local].id), isLeased(shards[filter.local].id, current),
            Int(pools[pool].slots[Int(filter.slice)]) == filter.slot
        else { return false }
        if filter.isStock {
            return books[filter.local].holdings(slot: filter.slot) == 0
                && !books[filter.local].isSealed(slot: filter.slot)
                && !books[filter.local].isQuarantined(slot: filter.slot)
        }
        return slices[filter.slot].books.held == 0 && !slices[filter.slot].isSealed
            && !slices[filter.slot].isQuarantined
            && (slices[filter.slot].claimCount == filter.count || has(.filterWithoutLatest))
    }

    private mutating func tell(
        _ index: Int, _ asked: WinnersAsked, into effects: inout EffectBuffer
    ) {
        let told = self.told.filters[index]
        guard let filter = told.filter else { return }
        let shard = shards[told.local].id
        let version =
            told.isStock
            ? books[told.local].control(slot: told.slot).version
            : slices[told.slot].control.version
        if told.isStock { holdDoors(told) }
        let frame = Frame.winners(
            Winners(
                pool: asked.pool, slice: asked.slice, number: asked.number, epoch: asked.epoch,
                generation: asked.generation, shardEpoch: told.shardEpoch, version: version,
                mark: told.mark, validNs: told.isStock ? Self.doorNs : .max,
                words: asked.mark == told.mark ? [] : filter.words))
        counters.winnersTold &+= 1
        var route = Route.node(Int(asked.node))
        if Int(asked.node) == configuration.node {
            route = .core(placement.core(of: asked.back))
            if route.core == configuration.core { return }
        }
        effects.frames.append(
            OutboundFrame(
                to: route, shard: asked.back, frame: frame, stream: stream(of: shard, frame)))
    }

    // MARK: Making

    /// Goes on with the filters that are begun.
    mutating func makeFilters(into effects: inout EffectBuffer) {
        var index = 0
        while index < told.filters.count {
            if told.filters[index].isDone || !make(index, into: &effects) { index += 1 }
        }
        told.isMaking = told.filters.contains { !$0.isDone }
        if told.isMaking { effects.nextDeadlineMs = min(effects.nextDeadlineMs, current.wallMs) }
    }

    /// Looks at some more claims, and answers those who wait once all are in.
    ///
    /// - Returns: whether it was dropped: somebody has won since, or it is sold out no more.
    @discardableResult
    private mutating func make(_ index: Int, into effects: inout EffectBuffer) -> Bool {
        guard isExact(told.filters[index]) else {
            let gone = told.filters[index].mark
            told.drop { $0.mark == gone }
            return true
        }
        if told.filters[index].isStock { collect(index) } else { insertClaims(index) }
        guard told.filters[index].isDone else { return false }
        let questions = told.filters[index].questions
        told.filters[index].questions = []
        for asked in questions { tell(index, asked, into: &effects) }
        return false
    }

    private mutating func insertClaims(_ index: Int) {
        var filter = told.filters[index].filter.take() ?? BlockedBloom(capacity: 0)
        let first = told.filters[index].next
        let end = min(told.filters[index].count, first + Self.filterStep)
        let key = pools[told.filters[index].pool].key
        let slot = told.filters[index].slot
        for position in first..<end {
            filter.insert(Self.key(slices[slot].user(of: position), key))
        }
        told.filters[index].filter = filter
        told.filters[index].next = end
        told.filters[index].isDone = end == told.filters[index].count
    }

    /// A SKU's: first whose orders there are, then a filter of them.
    private mutating func collect(_ index: Int) {
        var made = told.filters[index]
        // Nobody else holds them while they grow.
        told.filters[index].users = []
        told.filters[index].filter = nil
        let end = min(made.count, made.next + Self.filterStep)
        while made.next < end {
            if let user = books[made.local].user(ofOrderAt: made.next, slot: made.slot) {
                made.users.append(user)
            }
            made.next += 1
        }
        if made.next == made.count, !made.isDone {
            let isFirst = made.filter == nil
            if isFirst {
                let bytes = BlockedBloom.sizeBytes(capacity: made.users.count)
                if made.users.count > Self.mostWinners || !hasRoom(for: bytes) {
                    made.users = []
                    made.isDone = true
                } else {
                    made.filter = BlockedBloom(capacity: made.users.count)
                }
            }
            if var filter = made.filter.take() {
                let key = pools[made.pool].key
                let last = min(made.users.count, made.inserted + Self.filterStep)
                for user in made.users[made.inserted..<last] { filter.insert(Self.key(user, key)) }
                made.inserted = last
                made.isDone = last == made.users.count
                if made.isDone { made.users = [] }
                made.filter = filter
            }
        }
        // Making room may have moved it.
        if let place = told.filters.firstIndex(where: { $0.mark == made.mark }) {
            told.filters[place] = made
        }
    }

    // MARK: Waiting for doors

    /// A filter is told: until nobody believes it, nobody gets a first order on the slice.
    private mutating func holdDoors(_ filter: WinnersFilter) {
        holdDoors(filter.local, filter.slot, untilNs: current.monotonicNs &+ Self.doorGateNs)
    }

    private mutating func holdDoors(_ local: Int, _ slot: Int, untilNs: UInt64) {
        guard untilNs > current.monotonicNs, !has(.doorsNotAwaited),
            let tail = stockTail(slot, local)
        else { return }
        tails[tail].doorsUntilNs = max(tails[tail].doorsUntilNs, untilNs)
        told.doorsUntilNs = max(told.doorsUntilNs, untilNs)
    }

    /// Whether what a slice holds must wait: a filter may be believed that does not hold who would
    /// get it.
    @inline(__always)
    mutating func awaitsDoors(_ local: Int, _ slot: Int) -> Bool {
        current.monotonicNs < told.doorsUntilNs && awaitsDoorsNow(local, slot)
    }

    @inline(never)
    private mutating func awaitsDoorsNow(_ local: Int, _ slot: Int) -> Bool {
        guard let tail = stockTail(slot, local),
            current.monotonicNs < tails[tail].doorsUntilNs
        else { return false }
        tailDueNs = min(tailDueNs, tails[tail].doorsUntilNs)
        return true
    }

    /// Notes units that came to an empty slice of a SKU by an entry of another primary.
    mutating func noteWoken(_ local: Int, _ slot: Int) {
        told.woken[Self.place(local, slot)] = current.monotonicNs
    }

    private static func place(_ local: Int, _ slot: Int) -> UInt64 {
        UInt64(local) << 32 | UInt64(slot)
    }

    /// A shard is served here from now on: what its earlier primary told of slices may still be
    /// believed.
    mutating func awaitEarlierDoors(_ local: Int) {
        guard hasDoors else { return }
        let nowNs = current.monotonicNs
        let startNs = told.startedNs == 0 ? nowNs : told.startedNs
        for slot in 0..<books[local].sliceCount {
            var sinceNs = startNs
            if books[local].holdings(slot: slot) == 0 { sinceNs = nowNs }
            if let wokenNs = told.woken[Self.place(local, slot)] { sinceNs = max(sinceNs, wokenNs) }
            holdDoors(local, slot, untilNs: sinceNs &+ Self.doorGateNs)
        }
    }
}
