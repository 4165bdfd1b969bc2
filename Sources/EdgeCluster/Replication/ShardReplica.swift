public import EdgeTypes

/// One replica of one shard: primary, backup or learner. PacificA (Lin et al., 2008), with the
/// arbiter's compare-and-set for its configuration manager.
///
/// It knows positions, not entries: whoever holds the log (a core, a model) tells it how far that
/// reaches, and does what its effects say. What must never be given up:
///
/// - An entry is acknowledged when every member of the configuration holds it; a configuration of
///   one, when its disk does.
/// - A proposer acknowledges nothing more at its epoch until it has read a later one. A proposal
///   without an answer is made again, never taken for failed.
/// - Only members propose. A backup proposes itself when its primary's grace is over; the primary
///   adds a learner that holds all that is committed, drops who is silent, hands over what is
///   committed to the last entry.
/// - Logs of the members of one configuration are prefixes of each other. A new primary serves
///   when all members hold what it began with; a member that holds more is dropped and learns anew.
///
/// Every method is O(members).
public struct ShardReplica: Sendable {
    public enum Role: Hashable, Sendable {
        /// Holds nothing.
        case absent
        /// Takes a copy and what follows; counts for nothing.
        case learner
        case backup
        /// A primary whose members do not all hold yet what it began with.
        case opening
        case primary
        /// A primary that takes nothing new; then `to` takes over.
        case handingOver(to: ReplicaID)
    }

    /// Somebody who is sent entries.
    struct Follower: Sendable {
        var id: ReplicaID
        var isMember: Bool
        /// What it is known to hold; nil before it has answered the greeting.
        var position: UInt64?
        var greeting: UInt32 = 0
        /// The last entry that it was sent as part of a copy: it does not hold them one by one.
        var base: UInt64?
        /// It has answered since it was sent a copy, or needs none.
        var hasCopy = false
    }

    public let shard: ShardID
    public let me: ReplicaID
    let mutant: ReplicationMutant
    public internal(set) var role = Role.absent
    /// The latest that was read.
    public internal(set) var configuration: ShardConfiguration?
    /// The last entry that it holds; all before, too.
    public internal(set) var last: UInt64 = 0
    /// The last entry that may be acknowledged.
    public internal(set) var committed: UInt64 = 0
    /// What the store has of it. Whoever becomes a member holds every entry after that: it may have
    /// to ship them.
    public internal(set) var stored: UInt64 = 0
    /// Whether there is a store that must have what a copy holds.
    let hasStore: Bool
    /// The last entry that is durable here.
    public internal(set) var flushed: UInt64 = 0
    /// What all members must hold before it serves.
    var openingAt: UInt64 = 0
    /// The epoch whose primary has greeted it: before that a follower takes no entries.
    var greetedEpoch: UInt32 = 0
    /// Who greeted it, and by which number.
    var leader: ReplicaID?
    var greeting: UInt32 = 0
    var greetings: UInt32 = 0
    /// The disk holds what it was sent as a copy. Before, a learner does not say how far it is: whoever
    /// becomes a member has nothing on its disk that contradicts its log.
    public internal(set) var isBased = true
    /// Counts what was discarded: a flush that was asked for before says nothing of what is now.
    public internal(set) var incarnation: UInt32 = 0
    var followers: [Follower] = []
    /// Under way: nothing is acknowledged.
    public internal(set) var proposal: ConfigurationChange?
    /// The proposal waits for the disk.
    var proposalWaits = false

    public init(
        shard: ShardID, me: ReplicaID, hasStore: Bool = false, mutant: ReplicationMutant = .none
    ) {
        self.shard = shard
        self.hasStore = hasStore
        self.me = me
        self.mutant = mutant
    }

    // MARK: What it is

    public var isPrimary: Bool {
        switch role {
        case .opening, .primary, .handingOver: true
        case .absent, .learner, .backup: false
        }
    }

    /// Whether what it takes to be committed is: it serves, or hands over what it has served.
    public var mayCommit: Bool {
        switch role {
        case .primary, .handingOver: true
        case .absent, .learner, .backup, .opening: false
        }
    }

    /// Whether new requests may be applied.
    public var takesRequests: Bool { role == .primary }

    /// Whether answers may leave whose reads are all committed. One that its own entry tells needs
    /// no more; any other needs the leases of all its `grantors` (`PairLease.holdsLease`).
    public var mayAnswer: Bool {
        mayCommit && (proposal == nil || mutant == .proposerAcknowledges)
    }

    /// Members other than itself.
    public var others: [ReplicaID] { configuration?.members.filter { $0 != me } ?? [] }

    /// Whose leases are needed: the other members', and that of whoever a proposal of its own would
    /// make one. The arbiter may have done so, and the new member have gone on, before this process
    /// hears of it.
    public var grantors: [ReplicaID] {
        guard let proposal, mutant != .proposedGrantNothing else { return others }
        return others + proposal.next.members.filter { $0 != me && !others.contains($0) }
    }

    /// A proposal that would take the shard from `primary` is under way: no lease for it.
    public func isTakingOver(from primary: ReplicaID) -> Bool {
        guard let proposal, !isPrimary else { return false }
        return proposal.expected.primary == primary
    }

    /// Who is sent every entry as it comes.
    public var streaming: [ReplicaID] {
        followers.filter { $0.position != nil }.map(\.id)
    }

    /// Members and learners of this primary.
    public var following: [ReplicaID] { followers.map(\.id) }

    /// Invited and not yet members.
    public var learners: Int { followers.reduce(0) { $0 + ($1.isMember ? 0 : 1) } }

    /// The cluster's first configuration of the shard: nobody holds anything yet.
    public mutating func found(
        _ configuration: ShardConfiguration, into effects: inout [ReplicaEffect]
    ) {
        precondition(role == .absent && self.configuration == nil && configuration.epoch == 1)
        guard configuration.has(me) else { return }
        role = .backup
        adopt(configuration, into: &effects)
    }

    // MARK: Entries, at the primary

    /// An entry was applied.
    ///
    /// - Returns: its sequence.
    public mutating func append(into effects: inout [ReplicaEffect]) -> UInt64 {
        precondition(takesRequests)
        last += 1
        advance(into: &effects)
        return last
    }

    /// Entries up to `sequence` were applied.
    public mutating func appended(upTo sequence: UInt64, into effects: inout [ReplicaEffect]) {
        precondition(takesRequests && sequence >= last)
        last = sequence
        advance(into: &effects)
    }

    /// All up to `sequence` is durable here.
    public mutating func flushed(
        _ sequence: UInt64, incarnation: UInt32, into effects: inout [ReplicaEffect]
    ) {
        guard incarnation == self.incarnation, sequence > flushed else { return }
        precondition(sequence <= last)
        flushed = sequence
        if isPrimary { advance(into: &effects) }
    }

    /// All up to `sequence` is durable here, and that this process is alone from `epoch` on.
    public mutating func secured(
        epoch: UInt32, _ sequence: UInt64, incarnation: UInt32,
        into effects: inout [ReplicaEffect]
    ) {
        guard incarnation == self.incarnation else { return }
        flushed(sequence, incarnation: incarnation, into: &effects)
        guard proposalWaits, let proposal, proposal.next.epoch == epoch else { return }
        proposalWaits = false
        effects.append(.propose(proposal))
    }

    /// Moves what is committed, and what follows from that.
    mutating func advance(into effects: inout [ReplicaEffect]) {
        guard isPrimary, proposal == nil || mutant == .proposerAcknowledges else { return }
        var least = last
        for follower in followers where follower.isMember {
            least = min(least, follower.position ?? committed)
        }
        if followers.allSatisfy({ !$0.isMember }), mutant != .soleWithoutFlush {
            least = min(least, flushed)
            if flushed < last { effects.append(.flush) }
        }
        if mutant == .acksBeforeBackups { least = last }
        committed = max(committed, least)
        switch role {
        case .opening where hasOpened && flushed < openingAt:
            // What the store has must be on the disk of whoever leads.
            effects.append(.flush)
        case .opening where hasOpened || mutant == .tailNotCommitted:
            if mutant == .tailNotCommitted { committed = last }
            role = .primary
            effects.append(.serve)
        case .handingOver(let to) where committed == last && proposal == nil:
            guard let configuration else { preconditionFailure("a primary has one") }
            propose(configuration.next(primary: to, members: configuration.members), &effects)
        case .absent, .learner, .backup, .opening, .primary, .handingOver: break
        }
    }

    /// Whether all members hold what it began with, and have told so at this epoch: one that has
    /// not may hold more, which the next entries would contradict.
    private var hasOpened: Bool {
        committed >= openingAt
            && (mutant == .opensUngreeted
                || followers.allSatisfy { !$0.isMember || $0.position != nil })
    }

    // MARK: Proposals

    mutating func propose(_ next: ShardConfiguration, _ effects: inout [ReplicaEffect]) {
        guard let configuration else { preconditionFailure("nothing to change") }
        precondition(proposal == nil)
        let change = ConfigurationChange(expected: configuration, next: next)
        proposal = change
        // A configuration of one goes on from its disk alone.
        if next.members.count == 1, mutant != .shrinksUnflushed {
            proposalWaits = true
            effects.append(.secure(epoch: next.epoch))
        } else {
            effects.append(.propose(change))
        }
    }

    private func retry(into effects: inout [ReplicaEffect]) {
        guard let proposal, !proposalWaits else { return }
        effects.append(.propose(proposal))
    }

    /// Time has passed: asks the arbiter again, or tells a primary that has not greeted this backup
    /// yet what it is: after a hand-over it may not know.
    public mutating func remind(into effects: inout [ReplicaEffect]) {
        if proposal != nil { return retry(into: &effects) }
        if role == .primary { return admit(into: &effects) }
        guard role == .backup, let configuration, greetedEpoch < configuration.epoch else { return }
        effects.append(.send(.stale(configuration), to: configuration.primary))
    }

    /// The arbiter's answer to `change`.
    public mutating func decided(
        _ change: ConfigurationChange, _ outcome: ConfigurationOutcome,
        into effects: inout [ReplicaEffect]
    ) {
        switch outcome {
        case .applied: adopt(change.next, into: &effects)
        case .refused(let current): adopt(current, into: &effects)
        case .unknown: break
        }
    }

    /// A member has been silent for too long: the primary goes on without it.
    public mutating func lost(_ member: ReplicaID, into effects: inout [ReplicaEffect]) {
        followers.removeAll { $0.id == member && !$0.isMember }
        guard isPrimary, proposal == nil, let configuration, member != me,
            configuration.has(member)
        else { return }
        let next = configuration.next(
            primary: me, members: configuration.members.filter { $0 != member })
        if mutant == .localShrink { return adopt(next, into: &effects) }
        propose(next, &effects)
    }

    /// The primary's lease is surely over: a backup proposes itself.
    public mutating func graceIsOver(
        of primary: ReplicaID, into effects: inout [ReplicaEffect]
    ) {
        guard role == .backup, proposal == nil, let configuration,
            configuration.primary == primary
        else { return }
        propose(
            configuration.next(
                primary: me, members: configuration.members.filter { $0 != primary }),
            &effects)
    }

    /// An operator's plan gives the shard to another member. Refused where there is no such.
    public mutating func handOver(
        to member: ReplicaID, into effects: inout [ReplicaEffect]
    ) -> Bool {
        guard role == .primary, proposal == nil, member != me,
            followers.contains(where: { $0.id == member && $0.isMember && $0.position != nil })
        else { return false }
        role = .handingOver(to: member)
        advance(into: &effects)
        return true
    }

    /// After a restart: the only member of `configuration` was this node's process before, and
    /// this disk is its. All that it acknowledged is on it.
    ///
    /// - Parameters:
    ///   - boot, epoch: the last configuration of one that the disk tells of, and whose it was.
    ///   - last: where its log ends.
    /// - Returns: whether it goes on from there. Otherwise it holds nothing, as a new node.
    public mutating func resume(
        _ configuration: ShardConfiguration, boot: UInt64, epoch: UInt32, last: UInt64,
        into effects: inout [ReplicaEffect]
    ) -> Bool {
        precondition(role == .absent && self.configuration == nil)
        let sole = ReplicaID(node: me.node, boot: boot)
        let isSole = configuration.members == [sole] && configuration.epoch == epoch
        guard isSole || mutant == .anyoneRestarts || mutant == .bootIgnored else { return false }
        self.configuration = configuration
        role = .backup
        self.last = last
        flushed = last
        if mutant == .bootIgnored { return true }
        propose(
            configuration.next(
                primary: me, members: [me], isSealed: configuration.isSealed), &effects)
        return true
    }

    /// A snapshot of what it was sent as a copy is durable.
    public mutating func based(into effects: inout [ReplicaEffect]) {
        guard !isBased else { return }
        isBased = true
        if role == .learner, leader != nil { answer(&effects) }
    }

    /// After a restart of all members: no disk holds more than this one.
    ///
    /// - Parameters:
    ///   - configuration: the one that ended with them.
    ///   - last: where its log ends.
    ///   - isSealed: acknowledged entries may be missing.
    public mutating func reopen(
        _ configuration: ShardConfiguration, last: UInt64, isSealed: Bool,
        into effects: inout [ReplicaEffect]
    ) {
        guard role == .absent,
            configuration.members.contains(where: { $0.node == me.node && $0.boot < me.boot })
        else { return }
        self.configuration = configuration
        role = .backup
        self.last = last
        flushed = last
        propose(configuration.next(primary: me, members: [me], isSealed: isSealed), &effects)
    }

    /// The built-in bug `bootIgnored`: a restarted process takes up where its last life was.
    public mutating func reclaim(into effects: inout [ReplicaEffect]) {
        precondition(mutant == .bootIgnored)
        role = .primary
        committed = last
        guard let told = configuration else { return }
        followers = told.members.filter { $0 != me }.map { Follower(id: $0, isMember: true) }
        for index in followers.indices { greet(index, &effects) }
    }

    /// A node is to become a member: it is sent a copy and what follows.
    public mutating func invite(_ learner: ReplicaID, into effects: inout [ReplicaEffect]) {
        guard isPrimary, let configuration, learner != me, !configuration.has(learner),
            !followers.contains(where: { $0.id == learner }),
            configuration.members.count < Limits.replicas
        else { return }
        // An earlier life of it is over; one that a proposal names may be a member already.
        followers.removeAll {
            !$0.isMember && $0.id.node == learner.node && $0.id.boot < learner.boot
                && proposal?.next.has($0.id) != true
        }
        followers.append(Follower(id: learner, isMember: false, position: nil))
        greet(followers.count - 1, &effects)
    }

    /// The store holds all entries up to `sequence`.
    public mutating func stored(upTo sequence: UInt64, into effects: inout [ReplicaEffect]) {
        guard sequence > stored else { return }
        stored = sequence
        if isPrimary { admit(into: &effects) }
    }

    /// Proposes the learners that hold all that is committed, one at a time.
    mutating func admit(into effects: inout [ReplicaEffect]) {
        guard role == .primary, proposal == nil, let configuration else { return }
        let ready = followers.first { follower in
            guard !follower.isMember, let position = follower.position else { return false }
            guard !hasStore || follower.hasCopy else {
                return false
            }
            guard !hasStore || follower.base ?? 0 <= stored || mutant == .learnersBelowStore
            else { return false }
            return position >= committed || mutant == .learnerTooEarly
        }
        guard let ready else { return }
        propose(
            configuration.next(primary: me, members: configuration.members + [ready.id]),
            &effects)
    }
}
