import EdgeMemory
public import EdgeTypes

/// Who is in the cluster and who is alive, as one node knows it: SWIM with Lifeguard.
///
/// Das, Gupta and Motivala, "SWIM: Scalable Weakly-consistent Infection-style Process Group
/// Membership Protocol" (2002); Dadgar, Phillips and Currey, "Lifeguard: Local Health Awareness
/// for More Accurate Failure Detection" (2017). The README beside this file says what is added.
///
/// Pure: datagrams, messages on streams and time come in, effects go out. Its shell calls `tick`
/// when `nextDeadlineNs` has come, gives it every datagram and message with the time at which it
/// looks at it, and carries out the effects after each call. It may be called late and too often.
///
/// Complexity: O(1) amortised a call and an update, except exchanges of state, which are
/// O(members) for each one that finds a difference. Memory: some 400 bytes a member.
public struct Membership: ~Copyable {
    enum Phase: UInt8 {
        case idle, joining, member, leaving, stopped
    }

    let configuration: MembershipConfiguration
    let cluster: UInt32
    let boot: BootID
    private let randomKey: UInt64
    private var draws: UInt64 = 0

    var table: MemberTable
    var phase = Phase.idle
    var seeds: [MemberAddress] = []
    var nextSeed = 0
    /// Whether a seed of this round said no.
    var wasRefused = false
    var lastRejected: BootID = 0
    var lastRejectedNs: UInt64 = 0

    /// This process's time without the time it stood still: all deadlines are in it, so that
    /// standing still postpones them.
    var nowNs: UInt64 = 0
    private var sleptNs: UInt64 = 0
    /// The first of all deadlines.
    private var dueNs = UInt64.max

    /// 0 in good health.
    public internal(set) var localHealth = 0
    public internal(set) var counters = MembershipCounters()

    var probe = Probe()
    var relays: Relays
    /// Suspects to probe next: a few.
    var urgent: [UInt16] = []
    var timers = TimingWheel()
    var freeze: FreezeSignal
    var rival: Rival?
    /// Second in which `checksUsed` were asked.
    var checkSecond: UInt64 = 0
    var checksUsed = 0

    var probeAtNs = UInt64.max
    var lastGossipNs: UInt64 = 0
    var gossipAtNs = UInt64.max
    var exchangeAtNs = UInt64.max
    var exchangeFreeNs: UInt64 = 0
    var reconnectAtNs = UInt64.max
    /// When somebody last came back from the dead.
    var revivedNs: UInt64 = 0
    var joinAtNs = UInt64.max
    var joinWaitNs: UInt64 = 0
    var leaveAtNs = UInt64.max

    /// - Parameters:
    ///   - seed: any number that no other node has: it decides whom this one probes and tells.
    ///   - cluster: the cluster's name, hashed. Others' datagrams are dropped.
    /// - Precondition: the record's boot is not 0, its name is not empty, and its versions are a
    ///   range.
    public init(
        _ own: MemberRecord, cluster: UInt32, seed: UInt64,
        configuration: MembershipConfiguration = .lan
    ) {
        precondition(own.boot != 0)
        precondition(!own.name.isEmpty)
        precondition(own.versions.oldest <= own.versions.newest)
        self.configuration = configuration
        self.cluster = cluster
        boot = own.boot
        randomKey = Hash64.keyed(seed, salt: own.boot)
        table = MemberTable(own, incarnation: Incarnation(life: 1))
        relays = Relays()
        freeze = FreezeSignal(
            windowNs: configuration.freezeWindowNs, percent: configuration.freezePercent)
    }

    // MARK: What it knows

    /// Members that are alive or suspect, this node included.
    public var liveCount: Int { table.liveCount }
    /// Members it remembers, dead and departed ones included.
    public var count: Int { table.count }
    /// Slots run from 0 (this node) to this; some may be free.
    public var slotCount: Int { table.slots }
    /// Hash of boots and incarnations of all that are alive or suspect: equal views have equal
    /// digests.
    public var digest: UInt64 { table.digest }
    /// The same of boots alone: who is in the cluster.
    public var bootDigest: UInt64 { table.bootDigest }
    /// Whether so many members turned suspect or dead lately that nothing should be moved
    /// automatically. Promotions and the dropping of backups do not ask.
    public var isRebalancingFrozen: Bool { freeze.isFrozen }
    /// Whether it takes part: false before it has joined, and once it has left or was refused.
    public var isMember: Bool { phase == .member }
    /// Whether it does nothing any more.
    public var isStopped: Bool { phase == .stopped }
    public var incarnation: Incarnation { table.members[0].incarnation }

    /// A member's state; nil where the slot is free. O(1).
    public func state(_ slot: Int) -> MemberState? { table.members[slot].state }

    /// What a member says of itself. O(1).
    ///
    /// - Precondition: the slot is not free.
    public func record(_ slot: Int) -> MemberRecord {
        precondition(table.members[slot].state != nil)
        return table.records[slot]
    }

    public func incarnation(_ slot: Int) -> Incarnation { table.members[slot].incarnation }

    /// The slot of a boot; nil where it is unknown. O(1).
    public func slot(boot: BootID) -> Int? {
        let slot = table.find(boot: boot)
        return slot < 0 ? nil : slot
    }

    /// The slot of the latest boot under a name; nil where it is unknown. O(1).
    public func slot(name: Text64) -> Int? {
        let slot = table.find(name: name)
        return slot < 0 ? nil : slot
    }

    // MARK: Time

    /// When it next wants a `tick`, on the monotonic clock; `UInt64.max`: never. O(1).
    public var nextDeadlineNs: UInt64 {
        let (sum, overflow) = dueNs.addingReportingOverflow(sleptNs)
        return overflow ? .max : sum
    }

    /// Starts to count time, and asks the seeds for the cluster's state.
    ///
    /// - Parameter seeds: addresses by which to join, its own may be among them. With none it is a
    ///   cluster of one, which others may join.
    /// - Precondition: it was not started before.
    public mutating func start(
        seeds: [MemberAddress], nowNs monotonicNs: UInt64, into effects: inout MembershipEffects
    ) {
        precondition(phase == .idle)
        // Time begins at one: 0 stands for never.
        sleptNs = monotonicNs &- 1
        nowNs = 1
        setSeeds(seeds)
        phase = .joining
        joinWaitNs = configuration.joinTimeoutNs / 2
        joinAtNs = nowNs
        freeze.advance(to: nowNs, liveCount: 1)
        if self.seeds.isEmpty { becomeMember() }
        runTimers(into: &effects)
        settle()
    }

    /// Replaces the addresses to join by, as when their names were resolved anew.
    public mutating func setSeeds(_ seeds: [MemberAddress]) {
        let own = table.records[0].address
        self.seeds = Array(seeds.filter { $0 != own }.prefix(MembershipLimits.seeds))
        // Not everybody begins with the same one.
        nextSeed = self.seeds.isEmpty ? 0 : Int(random(below: self.seeds.count))
    }

    /// Does what is due. O(what is due), a bounded part of it each call.
    public mutating func tick(
        nowNs monotonicNs: UInt64, into effects: inout MembershipEffects
    ) {
        guard isRunning else { return }
        wake(monotonicNs)
        runTimers(into: &effects)
        settle()
    }

    /// Says goodbye: others hear of it for some seconds, then it stops.
    public mutating func leave(
        nowNs monotonicNs: UInt64, into effects: inout MembershipEffects
    ) {
        guard isRunning, phase != .leaving else { return }
        wake(monotonicNs)
        if phase == .joining {
            phase = .stopped
        } else {
            phase = .leaving
            table.setState(0, .left, nowNs: nowNs)
            enqueue(0, withRecord: false)
            gossipAtNs = nowNs
            leaveAtNs = nowNs + configuration.leaveNs
            joinAtNs = .max
            runTimers(into: &effects)
        }
        settle()
    }

    /// Tells the cluster what has changed about this node. Its name and boot stay.
    public mutating func update(_ record: MemberRecord, nowNs monotonicNs: UInt64) {
        guard isRunning else { return }
        precondition(record.versions.oldest <= record.versions.newest)
        wake(monotonicNs)
        table.setRecord(0, record)
        raiseIncarnation(above: incarnation)
        if phase == .member { enqueue(0, withRecord: true) }
        settle()
    }

    var isRunning: Bool {
        switch phase {
        case .joining, .member, .leaving: true
        case .idle, .stopped: false
        }
    }

    /// Sets the time. A call long after the deadline means that the process stood still: then its
    /// own deadlines move, and its health is worse.
    mutating func wake(_ monotonicNs: UInt64) {
        let now = max(monotonicNs &- sleptNs, nowNs)
        if configuration.hasLifeguard, dueNs < now, now - dueNs > configuration.oversleepNs {
            let lateNs = now - max(dueNs, nowNs)
            sleptNs &+= lateNs
            counters.oversleeps += 1
            counters.oversleptNs += lateNs
            worsen(by: 1 + Int(min(lateNs / 1_000_000_000, 8)))
            nowNs = now - lateNs
            // What it missed is many updates: it asks for all of them at once.
            if lateNs > configuration.oversleepNs * 8, exchangeAtNs != .max {
                exchangeAtNs = min(exchangeAtNs, nowNs + configuration.probeIntervalNs)
            }
        } else {
            nowNs = now
        }
    }

    private mutating func runTimers(into effects: inout MembershipEffects) {
        if nowNs >= relays.nextDeadlineNs { nackLate(into: &effects) }
        if nowNs >= probe.stageAtNs { askOthers(into: &effects) }
        if nowNs >= probeAtNs { nextProbe(into: &effects) }
        var turns = 0
        while turns < 64, !timers.isEmpty,
            let id = timers.popExpired(nowMs: Int64(nowNs / 1_000_000))
        {
            suspicionIsDue(Int(id), into: &effects)
            turns += 1
        }
        if let rival, nowNs >= rival.nextNs { checkRival(into: &effects) }
        if nowNs >= gossipAtNs { gossip(into: &effects) }
        if nowNs >= joinAtNs { askSeed(into: &effects) }
        if nowNs >= exchangeAtNs { exchangeAtRandom(into: &effects) }
        if nowNs >= reconnectAtNs { reconnect(into: &effects) }
        if nowNs >= forgetAtNs { forgetOldest(into: &effects) }
        if nowNs >= leaveAtNs { phase = .stopped }
        if nowNs >= freeze.nextDeadlineNs() {
            freeze.advance(to: nowNs, liveCount: table.liveCount)
        }
    }

    var forgetAtNs: UInt64 {
        let oldest = table.oldest
        return oldest < 0
            ? .max : table.members[oldest].sinceNs &+ configuration.retiredMemoryNs
    }

    /// Computes when something is next due.
    mutating func settle() {
        if phase == .stopped {
            dueNs = .max
            return
        }
        var due = min(probeAtNs, min(probe.stageAtNs, relays.nextDeadlineNs))
        due = min(due, min(gossipAtNs, min(joinAtNs, exchangeAtNs)))
        due = min(due, min(reconnectAtNs, min(leaveAtNs, freeze.nextDeadlineNs())))
        due = min(due, forgetAtNs)
        if let rival { due = min(due, rival.nextNs) }
        if !timers.isEmpty {
            let ms = timers.nextDeadlineMs
            due = min(due, ms <= 0 ? 0 : UInt64(ms) &* 1_000_000)
        }
        dueNs = max(due, nowNs)
    }

    // MARK: Small things

    mutating func random() -> UInt64 {
        draws &+= 1
        return Hash64.keyed(draws, salt: randomKey)
    }

    mutating func random(below bound: Int) -> UInt64 {
        Hash64.reduce(random(), below: UInt64(bound))
    }

    /// A time between three and five quarters of another.
    mutating func jittered(_ timeNs: UInt64) -> UInt64 {
        timeNs - timeNs / 4 + Hash64.reduce(random(), below: timeNs / 2 + 1)
    }

    mutating func worsen(by steps: Int) {
        guard configuration.hasLifeguard else { return }
        localHealth = min(localHealth + steps, configuration.healthLimit)
    }

    mutating func improve() { localHealth = max(localHealth - 1, 0) }

    /// A timeout, as long as this node's health asks for.
    func scaled(_ timeNs: UInt64) -> UInt64 { timeNs * UInt64(1 + localHealth) }

    func report(_ kind: MemberEvent.Kind, _ slot: Int, into effects: inout MembershipEffects) {
        let member = table.members[slot]
        effects.events.append(
            MemberEvent(
                kind: kind, boot: member.boot, incarnation: member.incarnation,
                slot: UInt16(slot)))
    }

    func header(_ kind: GossipDatagram.Kind, sequence: UInt32 = 0) -> GossipDatagram {
        GossipDatagram(
            kind: kind, cluster: cluster, sender: boot, incarnation: incarnation,
            sequence: sequence)
    }
}
