import EdgeMemory
import EdgeTypes

/// One slice of a rain: its packets, its claims, who has what.
///
/// Claims are a dense log in grant order: a user is 8 bytes, the index 4 bytes a slot; the time
/// is kept once for all claims of the same millisecond, and the packet follows from the runs of
/// packets that were granted. Once the limit is above 1 or a request has an id, a second log
/// chains a user's claims and keeps their request ids.
public struct RainSlice: ~Copyable {
    public let pool: PoolKey
    public let slice: UInt32
    public let shard: ShardID
    /// The pool's number in its core's table.
    public let poolIndex: Int
    /// The shard's number among those of its core.
    public private(set) var localShard: Int
    public private(set) var control: PoolControl
    /// Of a `memory` slice: what it holds is not known to be durable yet. Nothing that it grants
    /// may be told before: a crash would forget that it ever held the packet.
    public var awaitsDurability = false
    /// A crash took this slice's tail along: nothing is granted until an operator releases it.
    public private(set) var isQuarantined = false
    /// How often that has happened.
    public private(set) var quarantines: UInt32 = 0

    /// Keys the hash of users, so that nobody can aim for one bucket.
    @usableFromInline let salt: UInt64
    @usableFromInline var users = ChunkedLog<UInt64>()
    @usableFromInline var index = ClaimIndex()
    @usableFromInline var times = TimeMarks()
    @usableFromInline var repeats = RepeatLog()

    /// Packets it may grant, in order; the first is being granted. While it is quarantined: those
    /// that are out of play.
    @usableFromInline var held: [UnitRange] = []
    @usableFromInline var headIndex = 0
    @usableFromInline var nextPacket: Int64 = 0
    @usableFromInline var headLeft: Int64 = 0
    /// Which claim began which run of packets.
    @usableFromInline var runs: [GrantRun] = []
    /// The packet that continues the last run.
    @usableFromInline var runEnd: Int64 = -1
    @usableFromInline var totals = SliceTotals()
    /// Amounts of the packets from `aheadFirst` on, worked out together: one after the other the
    /// draws are a chain of dependent look-ups, side by side they overlap.
    @usableFromInline var ahead = PacketRun(repeating: 0)
    @usableFromInline var aheadFirst: Int64 = -8

    public private(set) var creditedNumber: UInt32 = 0
    public private(set) var returnedNumber: UInt32 = 0
    /// Packets that the last lease brought.
    private var lastCredit: Int64 = 0
    public private(set) var isSealed = false
    /// The last return, and whether its home is known to have taken it.
    private(set) var lastReturn: Transfer?
    private var isReturnTaken = true
    /// The last recall that it answered, and whether anything has come to it since the one before
    /// or since: not part of what entries make.
    private var sweptRound: UInt64 = 0
    private var wasQuiet = false
    private var isUntouched = false

    /// Entries of its shard between which all its claims are: what opened it, and its final return
    /// (0: it is not sealed), with the time of that.
    public private(set) var openedAt: UInt64
    public private(set) var sealedAt: UInt64 = 0
    public private(set) var sealedMs: UnixMs = 0
    /// Its claims are in the store only: see `RainSlice+Archive.swift`.
    public internal(set) var isArchived = false

    @usableFromInline
    struct GrantRun {
        @usableFromInline var firstClaim: Int
        @usableFromInline var firstPacket: Int64
        @usableFromInline
        init(firstClaim: Int, firstPacket: Int64) {
            self.firstClaim = firstClaim
            self.firstPacket = firstPacket
        }
    }

    public init(
        definition: PoolDefinition, pool: PoolKey, slice: UInt32, shard: ShardID, poolIndex: Int,
        localShard: Int, control: PoolControl, openedAt: UInt64
    ) {
        self.pool = pool
        self.slice = slice
        self.shard = shard
        self.poolIndex = poolIndex
        self.localShard = localShard
        self.control = control
        self.openedAt = openedAt
        salt = definition.seed.key(5)(0)
        // Room for half of a fair share before the herd comes. The last doubling is left to
        // growth: a pool that ends half full does not hold twice the memory it needs.
        let share = Int(definition.units) / Int(max(1, definition.slices)) + 1
        index.reserve(min(share / 2, Limits.claimsPerSlice))
    }

    /// Gives its memory back: it belongs to no shard from now on.
    public mutating func free() {
        localShard = -1
        awaitsDurability = false
        users = ChunkedLog()
        index = ClaimIndex()
        times = TimeMarks()
        repeats = RepeatLog()
        held = []
        runs = []
    }
}

// MARK: The hot path

/// What a grab comes to, before it is journaled.
@frozen
public enum GrabDecision: Sendable {
    /// Grant this packet: the claim is to be journaled and applied.
    case grant(packet: Int64)
    /// This is the user's claim already.
    case `repeat`(position: Int)
    case refuse(Outcome, timeMs: UnixMs)
    /// The slice's table is at its limit.
    case full
    /// The limit is above 1 and no request id was given.
    case needsRequest
}

extension RainSlice {
    @inlinable @inline(__always)
    public func hash(_ user: UserID) -> UInt64 { Hash64.keyed(user, salt: salt) }

    @inlinable @inline(__always)
    public func prefetch(_ hash: UInt64) { index.prefetch(hash) }

    /// Decides a grab; changes nothing. Retries come first: they get their first result whatever
    /// became of the pool since.
    ///
    /// `mutating` only in form: Swift 6.3 passes a borrowed slice by value, a copy of 664 bytes
    /// a grab; a mutable one it passes by address.
    @inlinable
    public mutating func decide(
        _ user: UserID, hash: UInt64, requestHash: UInt64, nowMs: UnixMs
    ) -> GrabDecision {
        let latest = index.find(hash) { users[$0] == user }
        if let latest {
            if requestHash != 0,
                let earlier = claim(of: user, from: latest, requestHash: requestHash)
            {
                return .repeat(position: earlier)
            }
            if control.terms.limit <= 1 { return .repeat(position: latest) }
            if requestHash == 0 { return .needsRequest }
        } else if control.terms.limit > 1 && requestHash == 0 {
            return .needsRequest
        }
        if isQuarantined { return .refuse(.lost, timeMs: 0) }
        if control.closing || (control.terms.closesMs != 0 && nowMs >= control.terms.closesMs) {
            return .refuse(.closed, timeMs: control.terms.closesMs)
        }
        if nowMs < control.terms.opensMs { return .refuse(.early, timeMs: control.terms.opensMs) }
        if control.paused { return .refuse(.paused, timeMs: 0) }
        if let latest, claimCount(latest) >= control.terms.limit {
            return .refuse(.limit, timeMs: 0)
        }
        if headLeft == 0 { return .refuse(.soldOut, timeMs: 0) }
        if users.count >= Limits.claimsPerSlice { return .full }
        return .grant(packet: nextPacket)
    }

    /// What the next packet holds, where `lookAhead` has worked it out.
    @inlinable @inline(__always)
    public var nextAmount: Fen? {
        let lane = nextPacket &- aheadFirst
        return lane >= 0 && lane < 8 ? ahead[Int(lane)] : nil
    }

    /// The packet that is granted next, where it holds any.
    @inlinable @inline(__always)
    public var headPacket: Int64 { nextPacket }

    /// Whether it has a packet to grant.
    @inlinable @inline(__always)
    public var holdsPackets: Bool { headLeft > 0 }

    /// Whether the next packet's amount is not worked out yet.
    @inlinable @inline(__always)
    public var wantsLookAhead: Bool { headLeft > 0 && nextAmount == nil }

    /// Works out what the next packet and those after it hold.
    ///
    /// - Precondition: a packet is left.
    public mutating func lookAhead(_ amounts: borrowing PacketAmounts) {
        precondition(headLeft > 0)
        aheadFirst = nextPacket
        ahead = amounts.run(from: nextPacket)
    }

    /// Applies a claim that `decide` granted or the journal holds.
    ///
    /// - Precondition: `packet` is the next one.
    /// - Returns: whether a range of packets has ended: the slice may be running low.
    @discardableResult
    @inlinable @inline(__always)
    public mutating func apply(
        _ user: UserID, hash: UInt64, requestHash: UInt64, packet: Int64, amountFen: Fen,
        timeMs: UnixMs
    ) -> Bool {
        precondition(headLeft > 0 && packet == nextPacket)
        let position = users.count
        if packet != runEnd { runs.append(GrantRun(firstClaim: position, firstPacket: packet)) }
        runEnd = packet &+ 1
        // A request id is remembered whatever the limit: it may be raised before the retry.
        if !repeats.isActive && requestHash == 0 && control.terms.limit <= 1 {
            index.insert(hash, position: position)
        } else {
            applyRepeated(user, hash: hash, requestHash: requestHash)
        }
        users.append(user)
        times.append(timeMs, at: position)
        nextPacket &+= 1
        headLeft &-= 1
        totals.held &-= 1
        totals.granted &+= 1
        totals.grantedFen &+= amountFen
        if headLeft > 0 { return false }
        takeNextRange()
        return true
    }

    @usableFromInline
    mutating func takeNextRange() {
        if headIndex < held.count {
            nextPacket = held[headIndex].start
            headLeft = held[headIndex].count
            headIndex += 1
        } else {
            held.removeAll(keepingCapacity: true)
            headIndex = 0
        }
    }

    /// The packet that the claim at `position` got. O(log runs).
    @inlinable @inline(__always)
    public func packet(of position: Int) -> Int64 {
        var low = 0
        var high = runs.count
        while high - low > 1 {
            let middle = (low + high) >> 1
            if runs[middle].firstClaim <= position { low = middle } else { high = middle }
        }
        return runs[low].firstPacket + Int64(position - runs[low].firstClaim)
    }

    /// When the claim at `position` was granted. O(log milliseconds).
    @inlinable @inline(__always)
    public func timeMs(of position: Int) -> UnixMs { times.time(of: position) }

    public var claimCount: Int { users.count }

    public func user(of position: Int) -> UserID { users[position] }
}

// MARK: Limits above 1

extension RainSlice {
    @usableFromInline
    func claim(of user: UserID, from latest: Int, requestHash: UInt64) -> Int? {
        repeats.find(requestHash, from: latest)
    }

    @usableFromInline
    func claimCount(_ latest: Int) -> UInt32 { repeats.count(at: latest) }

    @usableFromInline
    mutating func applyRepeated(_ user: UserID, hash: UInt64, requestHash: UInt64) {
        let position = users.count
        if !repeats.isActive { repeats.activate(at: position) }
        let latest = index.find(hash) { users[$0] == user }
        repeats.append(previous: latest, requestHash: requestHash)
        if let latest {
            index.update(hash, from: latest, to: position)
        } else {
            index.insert(hash, position: position)
        }
    }

    /// The positions of a user's claims, oldest first.
    public func claims(of user: UserID) -> [Int] {
        let latest = index.find(hash(user)) { users[$0] == user }
        guard var position = latest else { return [] }
        var found = [position]
        while let earlier = repeats.previous(of: position) {
            found.append(earlier)
            position = earlier
        }
        return found.reversed()
    }

    /// The request id's hash that the claim at `position` came with; 0: none.
    public func requestHash(of position: Int) -> UInt64 { repeats.requestHash(of: position) }
}

// MARK: Control and transfers

extension RainSlice {
    /// Takes a newer control; an older or equal version changes nothing.
    public mutating func apply(_ control: PoolControl) {
        guard control.version > self.control.version else { return }
        self.control = control
    }

    /// Takes packets from the treasury. A number that came before changes nothing.
    ///
    /// What a quarantined slice is given is out of play at once: a crash may come between a
    /// slice's opening and its first lease.
    /// - Parameter amountFen: what the packets amount to; used only where it is quarantined.
    public mutating func credit(_ transfer: Transfer, amountFen: Fen) {
        guard transfer.number == creditedNumber + 1 else {
            precondition(transfer.number <= creditedNumber, "a lease is missing")
            return
        }
        precondition(!isSealed)
        creditedNumber = transfer.number
        lastCredit = transfer.units
        if isQuarantined {
            totals.credited += transfer.units
            totals.quarantined += transfer.units
            totals.quarantinedFen += amountFen
            for range in transfer.ranges where range.count > 0 { held.append(range) }
            if headLeft == 0 { takeNextRange() }
            return
        }
        isUntouched = false
        for range in transfer.ranges where range.count > 0 {
            held.append(range)
            totals.held += range.count
            totals.credited += range.count
        }
        cutLowMark(transfer.units)
        if headLeft == 0 { takeNextRange() }
    }

    /// Lets a range end where little of a lease is left: there the slice asks for more, and the
    /// hot path has nothing to compare.
    private mutating func cutLowMark(_ units: Int64) {
        var left = Self.lowMark(units)
        guard left >= Self.leastMark else { return }
        for index in held.indices.reversed() {
            guard held[index].count > left else {
                left -= held[index].count
                if left == 0 { return }
                continue
            }
            let range = held[index]
            held[index].count -= left
            held.insert(
                UnitRange(start: range.start + held[index].count, count: left), at: index + 1)
            return
        }
    }

    /// Of what is left of a lease when more is asked for: what is granted in a few milliseconds.
    static func lowMark(_ units: Int64) -> Int64 { units / 32 }

    /// Of smaller leases nothing is asked ahead: those who come last wait for theirs.
    private static let leastMark: Int64 = 8

    /// Whether so few packets are left of what it was given that it should have more.
    public var isLow: Bool {
        let mark = Self.lowMark(lastCredit)
        return mark >= Self.leastMark && totals.held <= mark
    }

    /// Takes packets that it was given before: only a built-in bug does (see `Mutant`).
    public mutating func creditAgain(_ transfer: Transfer) {
        creditedNumber -= 1
        credit(transfer, amountFen: 0)
    }

    /// What it holds, or, while it is quarantined, what is out of play, as ranges in order.
    public var heldRanges: [UnitRange] {
        var ranges: [UnitRange] = []
        if headLeft > 0 { ranges.append(UnitRange(start: nextPacket, count: headLeft)) }
        for range in held[headIndex...] {
            if let last = ranges.last, last.start + last.count == range.start {
                ranges[ranges.count - 1].count += range.count
            } else {
                ranges.append(range)
            }
        }
        return ranges
    }

    /// The transfer that gives everything back and ends this slice's granting.
    ///
    /// - Precondition: no earlier return is on its way.
    public var finalReturn: Transfer {
        precondition(isReturnTaken)
        return giving(isQuarantined ? [] : heldRanges, final: true)
    }

    /// The transfer that gives back all it holds; nil: there is nothing, or an earlier return is
    /// on its way.
    public var partialReturn: Transfer? {
        guard totals.held > 0, isReturnTaken, !isSealed, !isQuarantined else { return nil }
        return giving(heldRanges, final: false)
    }

    private func giving(_ ranges: [UnitRange], final: Bool) -> Transfer {
        Transfer(
            pool: pool, slice: slice, number: returnedNumber + 1, final: final, ranges: ranges)
    }

    /// Whether an entry's return follows from what is here.
    public func follows(_ transfer: Transfer) -> Bool {
        !isSealed && transfer.number == returnedNumber + 1 && returnedNumber < .max
            && transfer.ranges == (isQuarantined ? [] : heldRanges)
            && (transfer.final || totals.held > 0)
    }

    /// Gives packets back: all there are. A number that came before changes nothing.
    ///
    /// - Parameter header: of the return's entry.
    public mutating func giveBack(_ transfer: Transfer, _ header: EntryHeader) {
        guard transfer.number == returnedNumber + 1 else {
            precondition(transfer.number <= returnedNumber, "a return is missing")
            return
        }
        returnedNumber = transfer.number
        isSealed = transfer.final
        if isSealed {
            sealedAt = header.sequence
            sealedMs = header.timeMs
        }
        lastReturn = transfer
        isReturnTaken = false
        guard !isQuarantined else { return }
        precondition(transfer.ranges == heldRanges)
        totals.returned += totals.held
        totals.held = 0
        headLeft = 0
        held = []
        headIndex = 0
    }

    /// Whether it may give back the last it holds: no earlier return is on its way.
    public var canSeal: Bool { !isSealed && isReturnTaken }

    /// The return that the home has not taken, as far as is known here: it is sent again.
    public var unacknowledgedReturn: Transfer? { isReturnTaken ? nil : lastReturn }

    /// The home has taken a return. Not journaled: after a restart it is asked again.
    public mutating func acknowledgeReturn(_ number: UInt32) {
        if number == returnedNumber { isReturnTaken = true }
    }

    /// The home has taken the last return for good.
    mutating func forgetReturn() {
        lastReturn = nil
        isReturnTaken = true
    }

    /// Answers a recall, once what it held is given back.
    ///
    /// - Returns: whether it holds nothing, and nothing has come to it since it answered the
    ///   round `after`.
    public mutating func sweep(_ round: UInt64, after: UInt64) -> Bool {
        let isEmpty = totals.held == 0 && isUntouched
        if sweptRound == round {
            wasQuiet = wasQuiet && isEmpty
        } else {
            wasQuiet = isEmpty && sweptRound == after && after != 0
            sweptRound = round
            isUntouched = totals.held == 0
        }
        return wasQuiet
    }

    /// Whether a claim on `packet` is what can come next.
    public func accepts(packet: Int64) -> Bool {
        headLeft > 0 && packet == nextPacket && !isSealed && !isQuarantined
    }

    /// Ends granting until an operator releases it: what the crash took along cannot be known.
    ///
    /// - Parameter amountFen: what `heldRanges` amount to.
    public mutating func quarantine(amountFen: Fen) {
        guard !isQuarantined else { return }
        isQuarantined = true
        quarantines += 1
        totals.quarantined += totals.held
        totals.quarantinedFen += amountFen
        totals.held = 0
    }

    /// Whether an operator's decision changes anything. Where it may not: a slice that has
    /// returned for the last time stays out of play.
    public func canResolve(_ resolution: Resolution) -> Bool {
        switch resolution {
        case .release: isQuarantined && !isSealed
        case .retire: totals.quarantined > 0
        }
    }

    /// Brings what is out of play back, or takes it out of the pool. O(1).
    ///
    /// - Precondition: `canResolve`.
    public mutating func resolve(_ resolution: Resolution) {
        precondition(canResolve(resolution))
        switch resolution {
        case .release:
            isQuarantined = false
            isUntouched = isUntouched && totals.quarantined == 0
            totals.held = totals.quarantined
        case .retire:
            totals.retired += totals.quarantined
            totals.retiredFen += totals.quarantinedFen
            held = []
            headIndex = 0
            headLeft = 0
        }
        totals.quarantined = 0
        totals.quarantinedFen = 0
    }

    public var standing: SliceStanding {
        SliceStanding(quarantines: quarantines, isLost: isQuarantined, isArchived: isArchived)
    }

    public var books: SliceTotals { totals }

    mutating func restore(openedAt: UInt64, sealedAt: UInt64, sealedMs: UnixMs) {
        self.openedAt = openedAt
        self.sealedAt = sealedAt
        self.sealedMs = sealedMs
    }

    mutating func restore(
        books: SliceTotals, credited: UInt32, returned: UInt32, sealed: Bool, quarantined: Bool,
        quarantines: UInt32, held ranges: [UnitRange], returnedRanges: [UnitRange]
    ) {
        self.quarantines = quarantines
        totals = books
        creditedNumber = credited
        returnedNumber = returned
        isSealed = sealed
        isQuarantined = quarantined
        if returned > 0, !isArchived {
            lastReturn = Transfer(
                pool: pool, slice: slice, number: returned, final: sealed, ranges: returnedRanges)
            isReturnTaken = false
        }
        held = ranges
        headIndex = 0
        headLeft = 0
        takeNextRange()
    }

    /// Whether every unit that came in is accounted for.
    public var isBalanced: Bool {
        totals.credited
            == totals.held + totals.granted + totals.returned + totals.quarantined
            + totals.retired
            && (isArchived ? users.count == 0 : totals.granted == Int64(users.count))
    }

    /// Bytes its tables have allocated.
    public var heldBytes: Int {
        users.heldBytes + index.heldBytes + times.heldBytes
            + repeats.heldBytes
    }
}
