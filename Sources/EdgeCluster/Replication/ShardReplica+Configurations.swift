public import EdgeTypes

/// Configurations as they are read, and what one replica hears from another.
extension ShardReplica {
    /// The arbiter's configuration, read or told by somebody who has read it.
    public mutating func adopt(
        _ next: ShardConfiguration, into effects: inout [ReplicaEffect]
    ) {
        precondition(next.shard == shard)
        let isNews = next.epoch > (configuration?.epoch ?? 0)
        if mutant == .readBackBelieved, !isNews, next.epoch == configuration?.epoch {
            proposal = nil
            proposalWaits = false
        }
        guard isNews else { return }
        let before = role
        let deposed = configuration?.primary
        configuration = next
        // A later epoch was read: what was proposed is decided, one way or the other.
        proposal = nil
        proposalWaits = false
        if next.primary == me {
            lead(next, before, deposed, &effects)
        } else if next.has(me), role != .absent {
            follow(before, &effects)
        } else if !next.has(me) {
            leave(before, &effects)
        }
    }

    private mutating func lead(
        _ next: ShardConfiguration, _ before: Role, _ deposed: ReplicaID?,
        _ effects: inout [ReplicaEffect]
    ) {
        let wasPrimary = isPrimary
        // Who handed it over is a member still, and has answered nothing since it proposed that.
        if let deposed, deposed != me, !next.has(deposed) { effects.append(.depose(deposed)) }
        if !wasPrimary || before == .opening {
            // A learner too: it was admitted, and has not heard of that before it is to lead.
            role = .opening
            openingAt = last
        } else {
            // A hand-over that came to nothing goes on as before.
            role = .primary
        }
        let learners = wasPrimary ? followers.filter { !next.has($0.id) && !$0.isMember } : []
        followers = next.members.filter { $0 != me }.map {
            Follower(id: $0, isMember: true, position: nil)
        }
        for learner in learners {
            followers.append(Follower(id: learner.id, isMember: false, position: nil))
        }
        for index in followers.indices { greet(index, &effects) }
        switch before {
        case .primary, .handingOver: effects.append(.serve)
        case .absent, .learner, .backup, .opening: break
        }
        advance(into: &effects)
    }

    private mutating func follow(_ before: Role, _ effects: inout [ReplicaEffect]) {
        switch before {
        case .opening, .primary, .handingOver: effects.append(.stop)
        case .absent, .learner, .backup: break
        }
        role = .backup
        followers = []
    }

    private mutating func leave(_ before: Role, _ effects: inout [ReplicaEffect]) {
        switch before {
        case .absent: return
        case .opening, .primary, .handingOver: effects.append(.stop)
        case .learner, .backup: break
        }
        forget(&effects)
    }

    mutating func forget(_ effects: inout [ReplicaEffect]) {
        role = .absent
        last = 0
        committed = 0
        flushed = 0
        stored = 0
        isBased = true
        followers = []
        proposal = nil
        proposalWaits = false
        leader = nil
        incarnation += 1
        effects.append(.discard)
    }

    mutating func greet(_ index: Int, _ effects: inout [ReplicaEffect]) {
        guard let configuration else { preconditionFailure("a primary has one") }
        greetings += 1
        followers[index].position = nil
        followers[index].greeting = greetings
        let follower = followers[index]
        effects.append(
            .send(
                .begin(
                    configuration, last: last, asLearner: !follower.isMember,
                    greeting: greetings),
                to: follower.id))
    }

    /// The connection to a follower is new: begins again.
    public mutating func connected(_ other: ReplicaID, into effects: inout [ReplicaEffect]) {
        guard isPrimary, let index = followers.firstIndex(where: { $0.id == other }) else {
            return
        }
        if mutant == .gapAccepted, followers[index].position != nil { return }
        // One that may be a member already is not greeted as a learner.
        if proposal?.next.has(other) == true, !followers[index].isMember { return }
        greet(index, &effects)
    }

    // MARK: Messages

    public mutating func receive(
        _ message: ReplicaMessage, from sender: ReplicaID, into effects: inout [ReplicaEffect]
    ) {
        switch message {
        case .begin(let configuration, let last, let asLearner, let greeting):
            if asLearner {
                learn(configuration, greeting, sender, &effects)
            } else {
                begin(configuration, last, greeting, sender, &effects)
            }
        case .copy(let epoch, let last): copied(epoch, last, sender, &effects)
        case .entries(let epoch, let first, let count):
            take(epoch, first, count, sender, &effects)
        case .position(let epoch, let last, let greeting):
            positioned(epoch, last, greeting, sender, &effects)
        case .diverged(let epoch):
            guard epoch == configuration?.epoch else { return }
            lost(sender, into: &effects)
        case .stale(let configuration):
            adopt(configuration, into: &effects)
            effects.append(.send(.noted(epoch: configuration.epoch), to: sender))
        case .noted: break
        // For the agent.
        case .holding: break
        }
    }

    private mutating func begin(
        _ told: ShardConfiguration, _ first: UInt64, _ greeting: UInt32, _ sender: ReplicaID,
        _ effects: inout [ReplicaEffect]
    ) {
        guard isCurrent(told, sender, &effects) else { return }
        adopt(told, into: &effects)
        guard role == .backup, proposal == nil, told.primary == sender else { return }
        if last > first, mutant != .divergedFollows {
            effects.append(.send(.diverged(epoch: told.epoch), to: sender))
            return
        }
        greeted(told, greeting, sender)
        answer(&effects)
    }

    /// A primary wants it to learn. What it has from the same primary still holds: while that
    /// leads, its log only grows. Anything else is dropped.
    private mutating func learn(
        _ told: ShardConfiguration, _ greeting: UInt32, _ sender: ReplicaID,
        _ effects: inout [ReplicaEffect]
    ) {
        guard isCurrent(told, sender, &effects), !told.has(me), told.primary == sender else {
            return
        }
        if role == .learner, leader == sender, told.epoch <= greetedEpoch + 1 {
            configuration = told
        } else {
            adopt(told, into: &effects)
            if role != .absent { forget(&effects) }
            role = .learner
        }
        greeted(told, greeting, sender)
        answer(&effects)
    }

    /// Tells a primary of the past what it is.
    private func isCurrent(
        _ told: ShardConfiguration, _ sender: ReplicaID, _ effects: inout [ReplicaEffect]
    ) -> Bool {
        guard let configuration, told.epoch < configuration.epoch else { return true }
        effects.append(.send(.stale(configuration), to: sender))
        return false
    }

    private mutating func greeted(
        _ told: ShardConfiguration, _ greeting: UInt32, _ sender: ReplicaID
    ) {
        greetedEpoch = told.epoch
        leader = sender
        self.greeting = greeting
    }

    /// Tells the primary what it holds.
    func answer(_ effects: inout [ReplicaEffect]) {
        if role == .learner, !isBased { return }
        guard let leader else { preconditionFailure("nobody has greeted it") }
        effects.append(
            .send(.position(epoch: greetedEpoch, last: last, greeting: greeting), to: leader))
    }

    /// Whether a copy of `epoch` is what it waits for.
    public func takesCopy(_ epoch: UInt32) -> Bool {
        role == .learner && epoch == greetedEpoch && epoch == configuration?.epoch && last == 0
            && isBased
    }

    private mutating func copied(
        _ epoch: UInt32, _ upTo: UInt64, _ sender: ReplicaID, _ effects: inout [ReplicaEffect]
    ) {
        guard role == .learner, epoch == greetedEpoch, epoch == configuration?.epoch else {
            return
        }
        last = max(last, upTo)
        isBased = !hasStore
        answer(&effects)
    }

    /// Whether entries of `epoch` from `first` on are the next to take.
    ///
    /// What is known already may come again: the answer is the same.
    public func takes(_ epoch: UInt32, first: UInt64) -> Bool {
        guard role == .backup || role == .learner, proposal == nil else { return false }
        guard let configuration else { return false }
        return epoch == configuration.epoch && epoch == greetedEpoch
            && (first <= last + 1 || mutant == .gapAccepted)
    }

    private mutating func take(
        _ epoch: UInt32, _ first: UInt64, _ count: UInt64, _ sender: ReplicaID,
        _ effects: inout [ReplicaEffect]
    ) {
        if let configuration, epoch < configuration.epoch {
            if mutant == .epochCheckOff, leader == sender {
                let last = first + count - 1
                effects.append(
                    .send(.position(epoch: epoch, last: last, greeting: greeting), to: sender))
                return
            }
            effects.append(.send(.stale(configuration), to: sender))
            return
        }
        guard takes(epoch, first: first) else { return }
        last = max(last, first + count - 1)
        answer(&effects)
    }

    private mutating func positioned(
        _ epoch: UInt32, _ position: UInt64, _ greeting: UInt32, _ sender: ReplicaID,
        _ effects: inout [ReplicaEffect]
    ) {
        guard isPrimary, epoch == configuration?.epoch,
            let index = followers.firstIndex(where: { $0.id == sender }),
            followers[index].greeting == greeting
        else { return }
        let isFirst = followers[index].position == nil
        followers[index].position = max(position, followers[index].position ?? 0)
        if isFirst {
            if followers[index].isMember || position > 0 {
                if !followers[index].isMember, followers[index].base == nil {
                    followers[index].base = position
                }
                followers[index].hasCopy = true
                effects.append(.stream(to: sender, after: position))
            } else {
                followers[index].base = last
                followers[index].hasCopy = false
                effects.append(.copy(to: sender))
            }
        } else {
            followers[index].hasCopy = true
        }
        advance(into: &effects)
        if !followers[index].isMember { admit(into: &effects) }
    }
}
