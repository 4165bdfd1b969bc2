public import EdgeTypes

/// What a node's agent wants done.
public enum AgentOutput: Hashable, Sendable {
    /// A beacon or its answer, to another process.
    case beacon(number: UInt64, to: ReplicaID)
    case beaconAnswer(number: UInt64, to: ReplicaID)
    case send(ShardID, ReplicaMessage, to: ReplicaID)
    /// For the core that has the shard, or for all of them.
    case adopt(ShardConfiguration)
    /// After a start: this node's process before was the shard's only member.
    case resume(ShardConfiguration, SoleRecord)
    /// After a start of all members: nobody's disk holds more than this one's.
    case reopen(ShardConfiguration, isSealed: Bool)
    /// After a start: what is here of the shard is of no use.
    case forget(ShardID)
    case decided(ConfigurationChange, ConfigurationOutcome)
    case lost(ReplicaID)
    case graceIsOver(ReplicaID)
    case lease(ReplicaID, untilNs: UInt64)
    case invite(ShardID, ReplicaID)
    case drop(ShardID, ReplicaID)
    case handOver(ShardID, to: ReplicaID)
    case remind
    /// For the arbiter. One question at a time; each is answered.
    case compareAndSet([ConfigurationChange])
    /// First configurations, where there are none. Each is of this process alone: first of all its
    /// disk must tell so (as `ReplicaOutput.secure` of an empty shard).
    case insert([ShardConfiguration])
    case read(after: UInt64)
}

/// A node's part in keeping its shards alive: who is there, what silence means, what the arbiter is
/// asked, who is to hold which shard.
///
/// One of these serves all cores of a node. It knows configurations, and of logs nothing: those are
/// the cores' (`ShardReplica`). What must never be given up:
///
/// - A beacon is answered only while nothing is being taken from whoever sent it, and whoever lost
///   a shard to this node has said that it knows. Cores are told that a grace is over only after
///   answers have stopped.
/// - A process of which a later life was heard is over, but its grace is waited for, from when that
///   was heard.
///
/// Time is the monotonic clock's. `tick` is O(shards) every 50 ms, everything else O(1) or
/// O(shards of one process).
public struct ReplicaAgent: Sendable {
    struct Pair: Sendable {
        var id: ReplicaID
        var lease: PairLease
        /// When this life of it was first heard of.
        var sinceNs: UInt64
        /// It is sent beacons: see `ReplicaAgent+Partners.swift`.
        var isPartner = false
        /// Since when it is asked whether it could hold something; 0: it is not.
        var probedNs: UInt64 = 0
        /// It did not answer when it was asked so, these many times in a row: it is not asked
        /// again before.
        var unanswered = 0
        var probeAgainNs: UInt64 = 0
        /// Its shards are being taken over: it gets no lease.
        var isTaking = false
        /// Shards taken from it that it has not said to know of.
        var taken: [ShardID] = []
    }

    /// What the disk holds of a shard, after a start.
    public struct Held: Hashable, Sendable {
        /// Of the last entry, or later.
        public var logEpoch: UInt32
        public var last: UInt64

        public init(logEpoch: UInt32, last: UInt64) {
            self.logEpoch = logEpoch
            self.last = last
        }
    }

    public let me: ReplicaID
    /// By shard: what the disk held at the start.
    let held: [Held]
    /// The process before, where it ended in good order: all that it held is on the disk.
    let cleanBoot: UInt64?
    /// By shard: where this node's process before was a member, and none of that life is left.
    var orphans: [Orphan?]
    /// What the disk told at the start, until the arbiter was read.
    var sole: [SoleRecord]
    /// The arbiter was read once: what the disk holds is resumed or forgotten.
    var hasBegun = false
    let times: LeaseTimes
    let mutant: ReplicationMutant
    /// By node number.
    var pairs: [Pair?]
    /// By shard: the latest that was read or told.
    public internal(set) var rows: [ShardConfiguration?]
    /// By shard: who should hold it, whoever should lead first.
    public internal(set) var plan: ReplicaPlan
    /// By node number: who is about to go. It is given nothing new, and gives away what it has.
    public private(set) var leaving: [Bool]
    /// When the row last changed, by shard.
    var changedNs: [UInt64]
    /// To be asked, one change a shard.
    var proposals: [ConfigurationChange] = []
    var insertions: [ShardConfiguration] = []
    var isAsking = false
    var wantsRead = true
    var revision: UInt64 = 0
    var beganNs: UInt64
    var lastReadNs: UInt64 = 0
    var nextBeaconNs: UInt64 = 0
    /// Nothing has changed since they were found.
    var partnersAreKnown = false
    var nextReminderNs: UInt64 = 0
    /// Nothing is moved for the plan's sake.
    var isPaused = false
    /// Shards of this node that are on the move at once.
    var atOnce = ReplicaAgent.usualAtOnce

    /// Between two looks at what the arbiter has decided without this node.
    static let readNs: UInt64 = 1_000_000_000
    static let reminderNs: UInt64 = 200_000_000
    /// A configuration is left alone for so long before it is changed for the plan's sake.
    static let settleNs: UInt64 = 1_500_000_000
    /// Who is planned and not there is waited for before somebody else is taken.
    static let substituteNs: UInt64 = 5_000_000_000
    public static let usualAtOnce = 8
    /// Changes in one question to the arbiter.
    static let batch = 1_024

    public init(
        _ me: ReplicaID, plan: ReplicaPlan, nodes: Int, sole: [SoleRecord] = [],
        held: [Held] = [], cleanBoot: UInt64? = nil, times: LeaseTimes = LeaseTimes(),
        nowNs: UInt64, mutant: ReplicationMutant = .none
    ) {
        self.me = me
        self.sole = sole
        self.held = held
        self.cleanBoot = cleanBoot
        orphans = Array(repeating: nil, count: plan.shards)
        self.plan = plan
        self.times = times
        self.mutant = mutant
        pairs = Array(repeating: nil, count: nodes)
        leaving = Array(repeating: false, count: nodes)
        rows = Array(repeating: nil, count: plan.shards)
        changedNs = Array(repeating: nowNs, count: plan.shards)
        beganNs = nowNs
    }

    // MARK: Coming and going

    /// There are so many nodes now: numbers are never given up.
    public mutating func grow(nodes: Int) {
        while pairs.count < nodes {
            pairs.append(nil)
            leaving.append(false)
        }
    }

    /// A node is about to go, or is back.
    public mutating func setLeaving(_ node: Int, _ isLeaving: Bool) {
        guard leaving.indices.contains(node) else { return }
        leaving[node] = isLeaving
        partnersAreKnown = false
    }

    /// Whether a node is about to go. One that another process knows and this one does not is not.
    func isLeaving(_ node: UInt64) -> Bool {
        Int(node) < leaving.count && leaving[Int(node)]
    }

    /// By node number: whether some shard's configuration names it. O(shards).
    public var members: [Bool] {
        var isMember = Array(repeating: false, count: pairs.count)
        for case let row? in rows {
            for member in row.members where Int(member.node) < isMember.count {
                isMember[Int(member.node)] = true
            }
        }
        return isMember
    }

    /// Shards that this process is a member of. Whoever goes while it is one holds the others up:
    /// they wait for its word until it has been silent for long.
    public var heldShards: Int { rows.count { $0?.has(me) == true } }

    /// Whether somebody is there to whom shards can be given, or may be: it was just asked.
    public func hasHeirs(nowNs: UInt64) -> Bool {
        guard partnersAreKnown else { return true }
        return leaving.indices.contains { node in
            node != Int(me.node) && (taker(node, nowNs) != nil || isUndecided(node, nowNs))
        }
    }

    /// The life of a node that may be given something; nil: none is there, it is about to go, or
    /// has not promised anything yet: whoever leads with it would have no lease.
    func taker(_ node: Int, _ nowNs: UInt64) -> ReplicaID? {
        guard pairs.indices.contains(node), !leaving[node],
            pairs[node]?.lease.leaseUntilNs ?? 0 > nowNs
        else { return nil }
        return alive(node, nowNs)
    }

    // MARK: The arbiter

    /// Cores propose changes.
    public mutating func propose(
        _ changes: [ConfigurationChange], nowNs: UInt64, into outputs: inout [AgentOutput]
    ) {
        for change in changes {
            let shard = change.next.shard
            if let place = proposals.firstIndex(where: { $0.next.shard == shard }) {
                proposals[place] = change
            } else {
                proposals.append(change)
            }
        }
        ask(nowNs, &outputs)
    }

    /// A core wants to know more of a shard than it does.
    public mutating func wantsRows() { wantsRead = true }

    /// What the arbiter made of changes.
    public mutating func answered(
        _ changes: [ConfigurationChange], _ outcomes: [ConfigurationOutcome], nowNs: UInt64,
        into outputs: inout [AgentOutput]
    ) {
        isAsking = false
        for (change, outcome) in zip(changes, outcomes) {
            switch outcome {
            case .applied:
                spread(change.next, nowNs, &outputs)
                announce(change.next, nowNs, &outputs)
            case .refused(let held): spread(held, nowNs, &outputs)
            case .unknown: break
            }
            outputs.append(.decided(change, outcome))
        }
        ask(nowNs, &outputs)
    }

    /// Others route by it, too, and read the arbiter only now and then; and whoever is to lead must
    /// hear of that. Members hear from their primary.
    private func announce(
        _ row: ShardConfiguration, _ nowNs: UInt64, _ outputs: inout [AgentOutput]
    ) {
        for pair in pairs {
            guard let pair, row.primary != me || !row.has(pair.id),
                !pair.isPartner || !pair.lease.isGraceOver(nowNs: nowNs)
            else { continue }
            outputs.append(.send(row.shard, .stale(row), to: pair.id))
        }
    }

    /// Whether the arbiter holds first configurations now: they or others are read next.
    public mutating func inserted() {
        isAsking = false
        wantsRead = true
    }

    /// What the arbiter holds; nil: it could not be read.
    public mutating func read(
        _ configurations: [ShardConfiguration]?, revision: UInt64, nowNs: UInt64,
        into outputs: inout [AgentOutput]
    ) {
        isAsking = false
        guard let configurations else { return }
        lastReadNs = nowNs
        wantsRead = false
        let isFirst = !hasBegun
        for told in configurations {
            if isFirst { _ = note(told, nowNs) } else { spread(told, nowNs, &outputs) }
        }
        self.revision = revision
        if isFirst { begin(&outputs) }
    }

    /// The disk's logs are of use where this node's process was alone, and of none elsewhere.
    private mutating func begin(_ outputs: inout [AgentOutput]) {
        hasBegun = true
        for shard in rows.indices {
            guard let row = rows[shard] else {
                outputs.append(.forget(ShardID(shard)))
                continue
            }
            let alone = sole.first { alone in
                alone.shard == row.shard && alone.epoch == row.epoch
                    && row.members == [ReplicaID(node: me.node, boot: alone.boot)]
            }
            if let alone {
                outputs.append(.resume(row, alone))
            } else if let orphan = orphan(row, holding: heldByMember(row)) {
                orphans[shard] = orphan
            } else {
                outputs.append(.forget(row.shard))
            }
            // Every core routes by it.
            outputs.append(.adopt(row))
        }
        sole = []
    }

    /// A core has heard of a configuration from another process.
    public mutating func heard(
        _ told: ShardConfiguration, nowNs: UInt64, into outputs: inout [AgentOutput]
    ) {
        // Before the arbiter was read nothing is known of what the disk holds.
        if hasBegun { spread(told, nowNs, &outputs) }
    }

    /// Every core routes by it.
    private mutating func spread(
        _ told: ShardConfiguration, _ nowNs: UInt64, _ outputs: inout [AgentOutput]
    ) {
        guard note(told, nowNs) else { return }
        outputs.append(.adopt(told))
        // Somebody has gone on with it.
        if orphans[Int(told.shard)].take() != nil { outputs.append(.forget(told.shard)) }
        // A process of this node that was dead already has become a member: what it held is
        // forgotten, and nothing was acknowledged since.
        orphans[Int(told.shard)] = orphan(told, holding: Held(logEpoch: 0, last: 0))
    }

    /// - Returns: whether it is news.
    private mutating func note(_ told: ShardConfiguration, _ nowNs: UInt64) -> Bool {
        let shard = Int(told.shard)
        guard shard < rows.count else { return false }
        let known = rows[shard]?.epoch ?? 0
        guard told.epoch > known else { return false }
        // At once: the core that takes it over says so a moment later.
        if told.primary == me, let before = rows[shard]?.primary, before != me, !told.has(before) {
            deposed(before, told.shard)
        }
        rows[shard] = told
        changedNs[shard] = nowNs
        partnersAreKnown = false
        return true
    }

    // MARK: Beacons

    /// A beacon of another process has come.
    public mutating func beacon(
        _ number: UInt64, from other: ReplicaID, nowNs: UInt64, into outputs: inout [AgentOutput]
    ) {
        guard let place = know(other, nowNs) else { return }
        findPartners(nowNs)
        pairs[place]?.lease.heard(nowNs: nowNs)
        guard let pair = pairs[place] else { return }
        for shard in pair.taken {
            if let row = rows[Int(shard)] { outputs.append(.send(shard, .stale(row), to: other)) }
        }
        let isWithheld = isTakingOver(pair) || !pair.taken.isEmpty
        if isWithheld, mutant != .answersWhileTakingOver { return }
        outputs.append(.beaconAnswer(number: number, to: other))
    }

    public mutating func beaconAnswered(
        _ number: UInt64, from other: ReplicaID, nowNs: UInt64, into outputs: inout [AgentOutput]
    ) {
        guard let place = know(other, nowNs) else { return }
        pairs[place]?.lease.answered(number, nowNs: nowNs)
        pairs[place]?.unanswered = 0
        // Who is only asked sends no beacons itself. Of anybody else an answer is not enough: a link
        // that carries answers to this side, and no beacons, would leave a shard without a lease and
        // without an heir.
        if pairs[place]?.probedNs != 0 { pairs[place]?.lease.heard(nowNs: nowNs) }
        guard let lease = pairs[place]?.lease else { return }
        outputs.append(.lease(other, untilNs: lease.leaseUntilNs))
    }

    /// Another process can be reached.
    public mutating func linked(_ other: ReplicaID, nowNs: UInt64) {
        guard let place = know(other, nowNs) else { return }
        // Whatever it did not answer before: it may be asked again.
        pairs[place]?.unanswered = 0
        pairs[place]?.probeAgainNs = 0
    }

    /// - Returns: its node's number; nil: a later life of it is known.
    private mutating func know(_ other: ReplicaID, _ nowNs: UInt64) -> Int? {
        let place = Int(other.node)
        guard place < pairs.count, other.node != me.node else { return nil }
        if let known = pairs[place]?.id {
            if known == other { return place }
            if known.boot > other.boot { return nil }
        }
        pairs[place] = Pair(
            id: other, lease: PairLease(times, nowNs: nowNs, mutant: mutant), sinceNs: nowNs)
        partnersAreKnown = false
        return place
    }

    private func isTakingOver(_ pair: Pair) -> Bool {
        pair.isTaking
            && rows.contains { row in
                guard let row else { return false }
                return row.primary == pair.id && row.has(me)
            }
    }

    /// A shard was taken from a process: no lease for it before it has said that it knows.
    public mutating func deposed(_ other: ReplicaID, _ shard: ShardID) {
        let place = Int(other.node)
        guard place < pairs.count, pairs[place]?.id == other,
            pairs[place]?.taken.contains(shard) == false
        else { return }
        pairs[place]?.taken.append(shard)
    }

    public mutating func noted(_ shard: ShardID, by other: ReplicaID) {
        let place = Int(other.node)
        guard place < pairs.count, pairs[place]?.id == other else { return }
        pairs[place]?.taken.removeAll { $0 == shard }
    }

    // MARK: Time

    /// Some 50 ms have passed.
    public mutating func tick(nowNs: UInt64, into outputs: inout [AgentOutput]) {
        let isBeaconDue = nowNs >= nextBeaconNs
        // Who is short of copies changes with time, too.
        if isBeaconDue { partnersAreKnown = false }
        findPartners(nowNs)
        if isBeaconDue {
            nextBeaconNs = nowNs + times.beaconNs
            for place in pairs.indices where pairs[place]?.isPartner == true {
                guard let number = pairs[place]?.lease.send(nowNs: nowNs),
                    let id = pairs[place]?.id
                else { continue }
                outputs.append(.beacon(number: number, to: id))
            }
        }
        watch(nowNs, &outputs)
        reconcile(nowNs, &outputs)
        if nowNs >= nextReminderNs {
            nextReminderNs = nowNs + Self.reminderNs
            outputs.append(.remind)
            reopen(nowNs, &outputs)
        }
        ask(nowNs, &outputs)
    }

    /// What silence means.
    private mutating func watch(_ nowNs: UInt64, _ outputs: inout [AgentOutput]) {
        var led: Set<ReplicaID> = []
        var leading: Set<ReplicaID> = []
        for row in rows {
            guard let row else { continue }
            if row.primary == me {
                for member in row.members where member != me { led.insert(member) }
            } else if row.has(me) {
                leading.insert(row.primary)
            }
        }
        for other in led.sorted() where isLost(other, nowNs) { outputs.append(.lost(other)) }
        for place in pairs.indices where pairs[place]?.isTaking == true {
            if let id = pairs[place]?.id, !leading.contains(id) { pairs[place]?.isTaking = false }
        }
        for other in leading.sorted() {
            let place = Int(other.node)
            // What was begun is brought to its end: until then it gets no lease.
            let isTaking = pairs[place]?.id == other && pairs[place]?.isTaking == true
            guard isTaking || isGraceOver(other, nowNs) else { continue }
            if pairs[place]?.id == other { pairs[place]?.isTaking = true }
            outputs.append(.graceIsOver(other))
        }
    }

    private mutating func lease(of other: ReplicaID, _ nowNs: UInt64) -> PairLease? {
        let place = Int(other.node)
        guard place < pairs.count else { return nil }
        // A life that only a configuration tells of: its silence counts from when this process
        // began, or, where an earlier life was known here, from now.
        let known = pairs[place]?.id.boot
        if known.map({ $0 < other.boot }) ?? true {
            _ = know(other, known == nil ? beganNs : nowNs)
            pairs[place]?.isPartner = true
        }
        guard let pair = pairs[place], pair.id == other else { return nil }
        return pair.lease
    }

    private mutating func isGraceOver(_ other: ReplicaID, _ nowNs: UInt64) -> Bool {
        if let lease = lease(of: other, nowNs) { return lease.isGraceOver(nowNs: nowNs) }
        guard Int(other.node) < pairs.count, let later = pairs[Int(other.node)],
            later.id.boot > other.boot
        else { return false }
        return nowNs >= later.sinceNs + times.graceNs
    }

    private mutating func isLost(_ other: ReplicaID, _ nowNs: UInt64) -> Bool {
        if let lease = lease(of: other, nowNs) { return lease.isLost(nowNs: nowNs) }
        guard Int(other.node) < pairs.count, let known = pairs[Int(other.node)] else { return true }
        return known.id.boot > other.boot
    }

    /// The life of a node that is heard now; nil: none is. Of a node that is sent no beacons, the
    /// last that was linked: whether that is there still, gossip knows.
    func alive(_ node: Int, _ nowNs: UInt64) -> ReplicaID? {
        if node == Int(me.node) { return me }
        guard node < pairs.count, let pair = pairs[node],
            !pair.isPartner || !pair.lease.isGraceOver(nowNs: nowNs)
        else { return nil }
        return pair.id
    }

    /// Who holds a shard and is heard now, whoever leads first; nobody where it has no leader.
    public func holders(_ shard: ShardID, nowNs: UInt64) -> [Int] {
        guard let row = rows[Int(shard)], alive(Int(row.primary.node), nowNs) == row.primary else {
            return []
        }
        let backups = row.members.filter {
            $0 != row.primary && alive(Int($0.node), nowNs) == $0
        }
        return [Int(row.primary.node)] + backups.map { Int($0.node) }
    }

    private mutating func ask(_ nowNs: UInt64, _ outputs: inout [AgentOutput]) {
        guard !isAsking else { return }
        if !proposals.isEmpty {
            isAsking = true
            let changes = Array(proposals.prefix(Self.batch))
            proposals.removeFirst(changes.count)
            outputs.append(.compareAndSet(changes))
        } else if !insertions.isEmpty {
            isAsking = true
            outputs.append(.insert(insertions))
            insertions = []
        } else if wantsRead || nowNs >= lastReadNs + Self.readNs {
            isAsking = true
            outputs.append(.read(after: revision))
        }
    }
}
