import EdgeCluster
import EdgeMemory
public import EdgeTypes

/// What a core that passes requests on knows of a slice elsewhere.
struct Door: Sendable {
    let name: SliceName
    let pool: Int
    /// The question under way: its number, and the certificate that it goes by; 0: none is.
    var number: UInt32 = 0
    var epoch: UInt32 = 0
    var generation: UInt32 = 0
    /// When it was asked first and last, and when this was used last, by the monotonic clock.
    var askedNs: UInt64 = 0
    var sentNs: UInt64 = 0
    var usedNs: UInt64
    /// The last answer, without its filter.
    var told: Winners?
    var filter: BlockedBloom?
    /// Until when nobody wins who is not in the filter.
    var validUntilNs: UInt64 = 0
}

/// All that a core knows of slices elsewhere.
struct Doors: Sendable {
    var list: [Door?] = []
    var free: [Int] = []
    /// Bytes of filters.
    var sizeBytes = 0
    var lastNumber: UInt32 = 0
    /// When those that nobody uses were dropped last.
    var tidiedNs: UInt64 = 0

    static let most = 65_536
}

/// Refusal at the door: whoever comes for a slice elsewhere of what is sold out hears so from the
/// core that he reaches, without a hop, unless he may have won something.
///
/// A refusal is what the slice would have answered, at a moment between question and answer:
/// - a certificate says that nothing is left anywhere, and it is believed (`beliefNs`). Halfway to
///   the end of that the home is asked to tell everybody again: one question of whoever is first,
///   so that a crowd never finds all doors open at once;
/// - a filter of the slice's winners does not hold the user. The slice's owner made it under that
///   very certificate, of all claims there were, while it held nothing and its lease ran. In a rain
///   nobody can win any more then: what a rain has given never comes back, and one of which something
///   is out of play, which an operator may release, has no doors (`SoldOut.isFinal`). In a SKU units
///   do come back; there a filter is good for `doorNs` from when it was asked for, and its slice lets
///   nobody in whom it may not hold before that time is over (`EdgeNode+Winners.swift`). A lease as
///   of Gray and Cheriton, "Leases: An Efficient Fault-Tolerant Mechanism for Distributed File
///   Cache Consistency", 1989;
/// - the slice's shard is led as it was then, and the pool goes by the terms that the slice went by,
///   under which it is open by this core's clock.
///
/// In all other cases the request is passed on: what is lost, late, too large or in doubt costs a
/// hop and never an answer. O(1) for a request.
extension EdgeNode {
    /// For so long a filter of a SKU is good.
    static let doorNs: UInt64 = 400_000_000
    /// A question that was not answered is asked again after so long.
    private static let askAgainNs: UInt64 = 100_000_000
    /// What nobody has used for so long may go where room is wanted.
    private static let idleNs: UInt64 = 10_000_000_000

    /// Refuses a request for a slice elsewhere where it is sold out and its user is no winner.
    ///
    /// - Returns: false where it is to be passed on.
    @inline(never)
    mutating func isRefusedAtDoor(_ request: Request, into effects: inout EffectBuffer) -> Bool {
        guard request.operation == .grab || request.operation == .reserve,
            let pool = pools.find(request.pool),
            let slice = pools[pool].map.slice(of: request.user, region: request.region)
        else { return false }
        let part = pools[pool].part(of: slice)
        let soldOut = pools[pool].soldOut[part]
        guard closesDoors(pool, soldOut), isPlain(request, pool) else { return false }
        let ageNs = current.monotonicNs &- pools[pool].soldOutNs[part]
        if ageNs >= renewalNs { renew(pool, part, into: &effects) }
        guard ageNs < Self.beliefNs, let door = door(pool, slice) else { return false }
        let isGood = isGood(door, soldOut, current.monotonicNs)
        if !isGood || isAging(door) { ask(door, soldOut, into: &effects) }
        guard isGood, doors.list[door]?.filter?.contains(Self.key(request)) == false else {
            return false
        }
        counters.doorRefusals &+= 1
        let shape: ReplyShape
        if request.operation == .grab {
            shape = .grab
            counters.grabs[Int(Outcome.soldOut.rawValue)] &+= 1
        } else {
            shape = .reserve
            counters.orders[Int(Outcome.soldOut.rawValue)] &+= 1
        }
        effects.replies.append(
            Reply(
                ticket: request.ticket, shape: shape, outcome: .soldOut, waitsForJournal: false))
        return true
    }

    /// Whether requests reach other cores than those of their slices.
    var hasDoors: Bool { configuration.cores > 1 || configuration.nodes > 1 }

    /// Whether this core would tell a user of a slice elsewhere that all is gone, whatever he asks
    /// for. For simulators: nobody may ever win of whom a core says so. O(1).
    public func refusesAtDoor(
        _ user: UserID, _ key: PoolKey, slice: UInt32, now: Instant
    ) -> Bool {
        guard let pool = pools.find(key), Int(slice) < pools[pool].doors.count,
            !isLocal(placement.shard(of: key, slice: slice)), !pools[pool].isClosed,
            pools[pool].control.state(nowMs: now.wallMs) == .open
        else { return false }
        let part = pools[pool].part(of: slice)
        let soldOut = pools[pool].soldOut[part]
        let door = Int(pools[pool].doors[Int(slice)])
        guard closesDoors(pool, soldOut), door >= 0,
            now.monotonicNs &- pools[pool].soldOutNs[part] < Self.beliefNs,
            isGood(door, soldOut, now.monotonicNs)
        else { return false }
        return doors.list[door]?.filter?.contains(Self.key(user, key)) == false
    }

    /// Whether a certificate lets others than a slice's owner refuse: nothing is left, and what may
    /// come back waits for doors.
    func closesDoors(_ pool: Int, _ soldOut: SoldOut) -> Bool {
        soldOut.stands && soldOut.left == 0
            && (soldOut.isFinal || pools[pool].definition.kind == .stock
                || has(.doorsOfQuarantined))
    }

    private static func key(_ request: Request) -> UInt64 {
        key(request.user, request.pool)
    }

    /// What stands for a user in a filter.
    static func key(_ user: UserID, _ pool: PoolKey) -> UInt64 {
        Hash64.keyed(user, salt: pool.rawValue)
    }

    /// Whether a user who has won nothing is told `soldout` of what is sold out, by the terms as
    /// they are known here.
    private func isPlain(_ request: Request, _ pool: Int) -> Bool {
        let control = pools[pool].control
        guard !pools[pool].isClosed, control.state(nowMs: current.wallMs) == .open else {
            return false
        }
        let limit = min(control.terms.limit, Limits.perUser)
        if request.operation == .grab {
            return pools[pool].definition.kind != .stock && (limit <= 1 || request.requestHash != 0)
        }
        return pools[pool].definition.kind == .stock && request.quantity >= 1
            && request.quantity <= Int64(min(limit, Limits.unitsPerOrder))
    }

    // MARK: The certificate

    /// A certificate of that age is told once more. Cores do not wake all at once.
    private var renewalNs: UInt64 {
        let place = UInt64(configuration.node) << 32 | UInt64(configuration.core)
        return Self.beliefNs / 2 + Hash64.reduce(Hash64.mix(place, 1), below: Self.beliefNs / 4)
    }

    /// Asks the home to tell everybody again, once until it does.
    private mutating func renew(_ pool: Int, _ part: Int, into effects: inout EffectBuffer) {
        let sinceNs = current.monotonicNs &- pools[pool].renewedNs[part]
        guard pools[pool].renewedNs[part] == 0 || sinceNs >= Self.askAgainNs else { return }
        pools[pool].renewedNs[part] = max(1, current.monotonicNs)
        let key = pools[pool].key
        let home = placement.home(of: key)
        if isLocal(home) {
            repeatSoldOut(key, part, into: &effects)
        } else if let route = route(to: home) {
            effects.frames.append(
                OutboundFrame(
                    to: route, shard: home, frame: .renew(key, part: UInt16(part))))
        }
    }

    // MARK: Filters

    /// The number of what is known of a slice; nil: there is no room for more.
    private mutating func door(_ pool: Int, _ slice: UInt32) -> Int? {
        if pools[pool].doors.isEmpty {
            pools[pool].doors = Array(
                repeating: -1, count: Int(pools[pool].definition.slices))
        }
        let known = Int(pools[pool].doors[Int(slice)])
        if known >= 0 {
            doors.list[known]?.usedNs = current.monotonicNs
            return known
        }
        if doors.list.count - doors.free.count >= Doors.most { tidyDoors() }
        guard doors.list.count - doors.free.count < Doors.most else { return nil }
        let door = Door(
            name: SliceName(pool: pools[pool].key, slice: slice), pool: pool,
            usedNs: current.monotonicNs)
        let place: Int
        if let free = doors.free.popLast() {
            place = free
            doors.list[free] = door
        } else {
            place = doors.list.count
            doors.list.append(door)
        }
        pools[pool].doors[Int(slice)] = Int32(place)
        return place
    }

    /// Whether nobody has won in a slice who is not in its filter, or will before the answer.
    private func isGood(_ index: Int, _ soldOut: SoldOut, _ nowNs: UInt64) -> Bool {
        guard let door = doors.list[index], let told = door.told else { return false }
        let shard = placement.shard(of: door.name.pool, slice: door.name.slice)
        let isCurrent =
            nowNs < door.validUntilNs && told.epoch == soldOut.epoch
            && told.generation == soldOut.generation
        let isOwners = configuration.replica == nil || epochs[Int(shard)] == told.shardEpoch
        return (isCurrent || has(.filterBelieved)) && isOwners
            && pools[door.pool].control.version == told.version
    }

    /// Whether a filter that is good should be asked for again.
    private func isAging(_ index: Int) -> Bool {
        guard let door = doors.list[index], door.validUntilNs != .max else { return false }
        return door.validUntilNs < current.monotonicNs &+ Self.doorNs / 2
    }

    /// Asks a slice's owner who has won there, once until it answers.
    private mutating func ask(
        _ index: Int, _ soldOut: SoldOut, into effects: inout EffectBuffer
    ) {
        guard var door = doors.list[index] else { return }
        let nowNs = current.monotonicNs
        let isOpen =
            door.number != 0 && door.epoch == soldOut.epoch
            && door.generation == soldOut.generation
        if isOpen, nowNs &- door.sentNs < Self.askAgainNs { return }
        let shard = placement.shard(of: door.name.pool, slice: door.name.slice)
        guard let route = route(to: shard) else { return }
        // An answer may be to the first time that it was asked; where that is too long ago for it
        // to be good, it is another question.
        let isStock = pools[door.pool].definition.kind == .stock
        if !isOpen || isStock && nowNs &- door.askedNs >= Self.doorNs {
            doors.lastNumber = max(1, doors.lastNumber &+ 1)
            door.number = doors.lastNumber
            door.askedNs = nowNs
        }
        door.sentNs = nowNs
        door.epoch = soldOut.epoch
        door.generation = soldOut.generation
        doors.list[index] = door
        counters.winnersAsked &+= 1
        let asked = WinnersAsked(
            pool: door.name.pool, slice: door.name.slice, node: UInt16(configuration.node),
            back: ShardID(configuration.core), number: door.number, epoch: soldOut.epoch,
            generation: soldOut.generation, mark: door.filter == nil ? 0 : door.told?.mark ?? 0)
        effects.frames.append(
            OutboundFrame(to: route, shard: shard, frame: .askWinners(asked)))
    }

    /// A slice's owner has told who has won there. What does not answer the question under way
    /// changes nothing.
    mutating func learn(_ winners: Winners) {
        guard let pool = pools.find(winners.pool), Int(winners.slice) < pools[pool].doors.count
        else { return }
        let index = Int(pools[pool].doors[Int(winners.slice)])
        guard index >= 0, var door = doors.list[index], door.number == winners.number,
            door.epoch == winners.epoch, door.generation == winners.generation
        else { return }
        if winners.words.isEmpty {
            guard door.filter != nil, door.told?.mark == winners.mark else { return }
        } else {
            guard winners.words.count * 8 <= Limits.winnersBytes,
                let filter = BlockedBloom(words: winners.words)
            else { return refuseFrame() }
            doors.sizeBytes -= door.filter?.sizeBytes ?? 0
            door.filter = nil
            doors.list[index] = door
            if doors.sizeBytes + filter.sizeBytes > Limits.winnersBytesPerCore { tidyDoors() }
            guard doors.sizeBytes + filter.sizeBytes <= Limits.winnersBytesPerCore else { return }
            doors.sizeBytes += filter.sizeBytes
            door.filter = filter
        }
        door.number = 0
        door.told = winners
        door.told?.words = []
        let (untilNs, isForGood) = door.askedNs.addingReportingOverflow(winners.validNs)
        door.validUntilNs = isForGood ? .max : untilNs
        doors.list[index] = door
    }

    /// Drops what nobody has used for a while, at most once a second. O(doors).
    private mutating func tidyDoors() {
        let nowNs = current.monotonicNs
        guard doors.tidiedNs == 0 || nowNs &- doors.tidiedNs >= 1_000_000_000 else { return }
        doors.tidiedNs = max(1, nowNs)
        for index in doors.list.indices {
            guard let door = doors.list[index], nowNs &- door.usedNs >= Self.idleNs else {
                continue
            }
            doors.sizeBytes -= door.filter?.sizeBytes ?? 0
            doors.list[index] = nil
            doors.free.append(index)
            let slice = Int(door.name.slice)
            if slice < pools[door.pool].doors.count,
                pools[door.pool].doors[slice] == Int32(index)
            {
                pools[door.pool].doors[slice] = -1
            }
        }
    }
}
