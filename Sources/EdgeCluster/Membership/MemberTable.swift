import EdgeMemory
import EdgeTypes

/// What a node knows of one member, apart from its record. One cache line.
struct Member: BitwiseCopyable {
    var boot: BootID
    var incarnation: Incarnation
    var nameHash: UInt64
    /// When its state last changed; since when it is away, if it is.
    var sinceNs: UInt64
    /// When it was last told what is believed of it.
    var toldNs: UInt64 = 0
    /// When it last became suspect or dead, in buckets of `FreezeSignal`.
    var turned: UInt32 = 0
    /// Its place in `live` or `dead`.
    var position: UInt16 = 0
    /// Its suspicion's number.
    var suspicion: UInt16 = MemberTable.none
    /// Neighbours among the updates of `transmits`.
    var nextUpdate: UInt16 = MemberTable.none
    var previousUpdate: UInt16 = MemberTable.none
    /// Neighbours among those that retired.
    var nextRetired: UInt16 = MemberTable.none
    var previousRetired: UInt16 = MemberTable.none
    /// How often its update has been sent; `MemberTable.notQueued` where there is none.
    var transmits: UInt8 = MemberTable.notQueued
    /// nil: a free slot.
    var state: MemberState?
    /// Whether its update bears its record.
    var sendsRecord = false
}

/// A suspicion that was neither refuted nor has become a death.
struct Suspicion: BitwiseCopyable {
    /// As it is told to others, with its accusers.
    var update: MembershipUpdate
    var startedNs: UInt64
    /// When its holder next asks the suspect.
    var nextCheckNs: UInt64
    /// How often it has, and when last.
    var checks: UInt32 = 0
    var checkedNs: UInt64 = 0
}

/// Everybody a node knows, itself at slot 0.
///
/// Those alive or suspect but itself are in `live`, so that a random one is one draw; the dead are
/// in `dead`; the dead and the departed are also in a list by age. Names and boots are unique.
///
/// Complexity: all O(1), amortised where a slot is new. Memory: about 400 bytes a member.
struct MemberTable: ~Copyable {
    static let none = UInt16.max
    static let notQueued = UInt8.max

    var members = PlainList<Member>()
    var addresses = PlainList<MemberAddress>()
    private(set) var records: [MemberRecord] = []
    private var free: [UInt16] = []
    var suspicions = PlainList<Suspicion>()
    private var freeSuspicions: [UInt16] = []
    private var boots = SlotIndex()
    private var names = SlotIndex()

    private(set) var live: [UInt16] = []
    private(set) var dead: [UInt16] = []
    /// Those before it in `live` were probed in this round.
    private var cursor = 0
    private var oldestRetired = MemberTable.none
    private var newestRetired = MemberTable.none
    private(set) var retiredCount = 0

    /// Hash of boots and incarnations of all that are alive or suspect, itself included: a sum, so
    /// that order does not matter.
    private(set) var digest: UInt64 = 0
    /// The same of boots alone.
    private(set) var bootDigest: UInt64 = 0

    /// Members whose update waits, by how often it was sent.
    var firstUpdates = [UInt16](repeating: MemberTable.none, count: MemberTable.transmitLimit)
    var lastUpdates = [UInt16](repeating: MemberTable.none, count: MemberTable.transmitLimit)
    var updateCount = 0
    var chosen = PlainList<UInt16>(capacity: 80)

    init(_ own: MemberRecord, incarnation: Incarnation) {
        add(own, incarnation: incarnation, nowNs: 0)
    }

    /// Slots in use.
    var count: Int { members.count - free.count }
    /// Those alive or suspect, itself included.
    var liveCount: Int { live.count + 1 }
    /// Slots that are or were in use: `members[slot].state` tells.
    var slots: Int { members.count }

    func address(_ slot: Int) -> MemberAddress { addresses[slot] }

    @inline(__always)
    func find(boot: BootID) -> Int {
        boots.find(Self.hash(boot)) { members[$0].boot == boot }
    }

    func find(name: Text64) -> Int {
        names.find(Hash64.text(name)) { records[$0].name == name }
    }

    @inline(__always)
    private static func hash(_ boot: BootID) -> UInt64 { Hash64.keyed(boot, salt: 0x626f_6f74) }

    @inline(__always)
    private static func share(_ boot: BootID, _ incarnation: Incarnation) -> UInt64 {
        Hash64.keyed(boot, salt: incarnation.rawValue)
    }

    /// Adds a member that is alive. Its name and boot are new.
    ///
    /// - Returns: its slot.
    /// - Precondition: `count` is below `MembershipLimits.members`.
    @discardableResult
    mutating func add(_ record: MemberRecord, incarnation: Incarnation, nowNs: UInt64) -> Int {
        precondition(count < MembershipLimits.members)
        let member = Member(
            boot: record.boot, incarnation: incarnation, nameHash: Hash64.text(record.name),
            sinceNs: nowNs, state: .alive)
        let slot: Int
        if let reused = free.popLast() {
            slot = Int(reused)
            members[slot] = member
            addresses[slot] = record.address
            records[slot] = record
        } else {
            slot = members.count
            members.append(member)
            addresses.append(record.address)
            records.append(record)
        }
        boots.insert(Self.hash(record.boot), slot)
        names.insert(member.nameHash, slot)
        if slot > 0 { enterLive(slot) } else { count(slot, 1) }
        return slot
    }

    /// Forgets a member that is dead or has left, and frees its slot.
    mutating func remove(_ slot: Int) {
        precondition(slot > 0)
        precondition(members[slot].state == .dead || members[slot].state == .left)
        drop(slot)
        if members[slot].state == .dead { leaveDead(slot) }
        unlinkRetired(slot)
        boots.remove(Self.hash(members[slot].boot), slot)
        names.remove(members[slot].nameHash, slot)
        members[slot].state = nil
        free.append(UInt16(slot))
    }

    /// Replaces what a member says about itself; its name and boot stay.
    mutating func setRecord(_ slot: Int, _ record: MemberRecord) {
        precondition(record.name == records[slot].name && record.boot == members[slot].boot)
        records[slot] = record
        addresses[slot] = record.address
    }

    mutating func setIncarnation(_ slot: Int, _ incarnation: Incarnation) {
        let isCounted = members[slot].state == .alive || members[slot].state == .suspect
        let boot = members[slot].boot
        if isCounted { digest &-= Self.share(boot, members[slot].incarnation) }
        members[slot].incarnation = incarnation
        if isCounted { digest &+= Self.share(boot, incarnation) }
    }

    /// Moves a member to the list where its new state belongs.
    mutating func setState(_ slot: Int, _ state: MemberState, nowNs: UInt64) {
        guard let before = members[slot].state else { preconditionFailure("a free slot") }
        let was = before == .alive || before == .suspect
        let isLive = state == .alive || state == .suspect
        // Who says goodbye after its death has been away since then.
        if was || isLive { members[slot].sinceNs = nowNs }
        if slot > 0 {
            if was && !isLive { leaveLive(slot) }
            if before == .dead && state != .dead { leaveDead(slot) }
            if !was && isLive {
                unlinkRetired(slot)
                members[slot].state = state
                enterLive(slot)
            }
            if state == .dead && before != .dead { enterDead(slot) }
            if was && !isLive { linkRetired(slot) }
        } else if was && !isLive {
            count(0, .max)
        }
        members[slot].state = state
    }

    private mutating func enterLive(_ slot: Int) {
        members[slot].position = UInt16(live.count)
        live.append(UInt16(slot))
        count(slot, 1)
    }

    private mutating func leaveLive(_ slot: Int) {
        var place = Int(members[slot].position)
        precondition(live[place] == UInt16(slot))
        if place < cursor {
            cursor -= 1
            put(live[cursor], at: place)
            place = cursor
        }
        // The last may have moved just now.
        if place < live.count - 1 { put(live[live.count - 1], at: place) }
        live.removeLast()
        count(slot, .max)
    }

    /// Adds a member to the digests, or takes it out: 1 or -1 modulo 2^64.
    private mutating func count(_ slot: Int, _ sign: UInt64) {
        let member = members[slot]
        digest &+= sign &* Self.share(member.boot, member.incarnation)
        bootDigest &+= sign &* Self.hash(member.boot)
    }

    @inline(__always)
    private mutating func put(_ slot: UInt16, at place: Int) {
        live[place] = slot
        members[Int(slot)].position = UInt16(place)
    }

    private mutating func enterDead(_ slot: Int) {
        members[slot].position = UInt16(dead.count)
        dead.append(UInt16(slot))
    }

    private mutating func leaveDead(_ slot: Int) {
        let place = Int(members[slot].position)
        precondition(dead[place] == UInt16(slot))
        let last = dead[dead.count - 1]
        dead[place] = last
        members[Int(last)].position = UInt16(place)
        dead.removeLast()
    }

    // MARK: Suspicions

    /// - Precondition: the member has none.
    mutating func hold(_ suspicion: Suspicion, _ slot: Int) {
        precondition(members[slot].suspicion == Self.none)
        if let reused = freeSuspicions.popLast() {
            suspicions[Int(reused)] = suspicion
            members[slot].suspicion = reused
        } else {
            members[slot].suspicion = UInt16(suspicions.count)
            suspicions.append(suspicion)
        }
    }

    /// Lets a member's suspicion go, where there is one.
    mutating func release(_ slot: Int) {
        guard members[slot].suspicion != Self.none else { return }
        freeSuspicions.append(members[slot].suspicion)
        members[slot].suspicion = Self.none
    }

    // MARK: The order of probes

    /// The next member to probe: everyone once a round, each round in another order. -1: nobody.
    ///
    /// One step of a shuffle (Fisher and Yates) a call, so that no call shuffles everybody; who
    /// is new waits behind the cursor, and so is probed within the round.
    mutating func nextToProbe(_ random: UInt64) -> Int {
        if live.isEmpty { return -1 }
        if cursor >= live.count { cursor = 0 }
        let pick = cursor + Int(Hash64.reduce(random, below: UInt64(live.count - cursor)))
        let slot = live[pick]
        put(live[cursor], at: pick)
        put(slot, at: cursor)
        cursor += 1
        return Int(slot)
    }

    // MARK: Dead and departed, by age

    /// Who has been dead or away for longest; -1: nobody.
    var oldest: Int { oldestRetired == Self.none ? -1 : Int(oldestRetired) }

    private mutating func linkRetired(_ slot: Int) {
        members[slot].previousRetired = newestRetired
        members[slot].nextRetired = Self.none
        if newestRetired == Self.none {
            oldestRetired = UInt16(slot)
        } else {
            members[Int(newestRetired)].nextRetired = UInt16(slot)
        }
        newestRetired = UInt16(slot)
        retiredCount += 1
    }

    private mutating func unlinkRetired(_ slot: Int) {
        let (next, previous) = (members[slot].nextRetired, members[slot].previousRetired)
        if previous == Self.none {
            oldestRetired = next
        } else {
            members[Int(previous)].nextRetired = next
        }
        if next == Self.none {
            newestRetired = previous
        } else {
            members[Int(next)].previousRetired = previous
        }
        retiredCount -= 1
    }
}
