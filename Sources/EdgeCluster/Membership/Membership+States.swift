import EdgeMemory
import EdgeTypes

/// How a statement about a member came here.
enum UpdateSource {
    /// This node's own probe.
    case own
    /// A datagram.
    case gossip
    /// An exchange of state with the boot given.
    case exchange(BootID)
}

extension Membership {
    /// Takes a statement about a member.
    ///
    /// What is said of one boot is ordered by incarnation; at the same one, a suspicion overrides
    /// life, and death both. Only the member itself raises its incarnation. Between boots of one
    /// name the later life counts, and of two with the same life the higher boot.
    mutating func apply(
        _ update: MembershipUpdate, _ records: [MemberRecord], source: UpdateSource,
        into effects: inout MembershipEffects
    ) {
        var slot = table.find(boot: update.boot)
        if slot < 0 {
            slot = meet(update, records, source: source, into: &effects)
            if slot < 0 { return }
        }
        if slot == 0 {
            aboutSelf(update)
            return
        }
        switch update.state {
        case .alive:
            let record = update.record < 0 ? nil : records[Int(update.record)]
            live(slot, update.incarnation, record, source: source, into: &effects)
        case .suspect:
            suspect(slot, update, source: source, into: &effects)
        case .dead:
            if case .exchange(let from) = source {
                doubt(slot, update, from: from, into: &effects)
            } else if update.incarnation >= table.members[slot].incarnation {
                die(slot, update.incarnation, into: &effects)
            }
        case .left:
            depart(slot, into: &effects)
        }
    }

    // MARK: Unknown boots

    /// A boot that is not in the table: a newcomer, a name's next life, or an old one.
    ///
    /// - Returns: its slot once it is in the table; -1 where there is nothing to do for it.
    private mutating func meet(
        _ update: MembershipUpdate, _ records: [MemberRecord], source: UpdateSource,
        into effects: inout MembershipEffects
    ) -> Int {
        guard update.record >= 0 else {
            counters.unknownBoots += 1
            return -1
        }
        let record = records[Int(update.record)]
        let named = table.find(name: record.name)
        if named == 0 {
            meetRival(record, update)
            return -1
        }
        let isLive = update.state == .alive || update.state == .suspect
        guard isLive else {
            // Nobody learns of the dead by hearsay: they would never be forgotten.
            counters.unknownBoots += 1
            return -1
        }
        guard admits(record, into: &effects) else { return -1 }
        if named > 0 {
            guard isLater(update, than: named) else {
                counters.oldBoots += 1
                return -1
            }
            if table.members[named].state == .alive || table.members[named].state == .suspect {
                die(named, table.members[named].incarnation, into: &effects)
            }
            forget(named, into: &effects)
        }
        guard makeRoom(for: record, into: &effects) else { return -1 }
        let slot = table.add(record, incarnation: update.incarnation, nowNs: nowNs)
        report(.joined, slot, into: &effects)
        spread(slot, withRecord: true, source: source)
        freeze.advance(to: nowNs, liveCount: table.liveCount)
        return slot
    }

    /// Whether a boot is a later life of a name than the one known.
    private func isLater(_ update: MembershipUpdate, than slot: Int) -> Bool {
        if configuration.mutant == .oldBootAccepted { return true }
        let known = table.members[slot]
        if update.incarnation.life != known.incarnation.life {
            return update.incarnation.life > known.incarnation.life
        }
        return update.boot > known.boot
    }

    private mutating func admits(
        _ record: MemberRecord, into effects: inout MembershipEffects
    ) -> Bool {
        if configuration.mutant == .versionsIgnored { return true }
        if record.versions.meets(table.records[0].versions) { return true }
        reject(.disjointVersions, record.boot, record.address, record.versions, into: &effects)
        return false
    }

    private mutating func makeRoom(
        for record: MemberRecord, into effects: inout MembershipEffects
    ) -> Bool {
        if table.count < MembershipLimits.members { return true }
        if table.oldest > 0 {
            forget(table.oldest, into: &effects)
            return true
        }
        reject(.tableFull, record.boot, record.address, record.versions, into: &effects)
        return false
    }

    mutating func forgetOldest(into effects: inout MembershipEffects) {
        // One a step: the next deadline comes at once if there are more.
        if table.oldest > 0 { forget(table.oldest, into: &effects) }
    }

    private mutating func forget(_ slot: Int, into effects: inout MembershipEffects) {
        report(.forgotten, slot, into: &effects)
        freeze.forget(before: table.members[slot].turned)
        table.remove(slot)
    }

    // MARK: Known members

    /// A member says, now or earlier, that it is alive.
    mutating func live(
        _ slot: Int, _ incarnation: Incarnation, _ record: MemberRecord?, source: UpdateSource,
        into effects: inout MembershipEffects
    ) {
        let member = table.members[slot]
        guard incarnation > member.incarnation, member.state != .left else { return }
        var isChanged = false
        if let record, record != table.records[slot], record.name == table.records[slot].name {
            guard admits(record, into: &effects) else { return }
            table.setRecord(slot, record)
            isChanged = true
        }
        table.setIncarnation(slot, incarnation)
        switch member.state {
        case .suspect:
            endSuspicion(slot)
            table.setState(slot, .alive, nowNs: nowNs)
            report(.trusted, slot, into: &effects)
        case .dead:
            table.setState(slot, .alive, nowNs: nowNs)
            revivedNs = nowNs
            if reconnectAtNs != .max {
                reconnectAtNs = min(reconnectAtNs, nowNs + configuration.reconnectIntervalNs / 10)
            }
            report(.joined, slot, into: &effects)
            freeze.advance(to: nowNs, liveCount: table.liveCount)
        case .alive, .left, nil:
            break
        }
        if isChanged { report(.updated, slot, into: &effects) }
        // Others may have forgotten the dead.
        let withRecord = isChanged || record != nil || member.state == .dead
        spread(slot, withRecord: withRecord, source: source)
    }

    /// A member does not answer, somebody says.
    mutating func suspect(
        _ slot: Int, _ update: MembershipUpdate, source: UpdateSource,
        into effects: inout MembershipEffects
    ) {
        let member = table.members[slot]
        guard update.incarnation >= member.incarnation, member.state != .left else { return }
        let isYounger = update.incarnation > member.incarnation
        if member.state == .dead && !isYounger { return }
        if member.state == .suspect && !isYounger {
            confirm(slot, update)
            return
        }
        table.setIncarnation(slot, update.incarnation)
        if configuration.mutant == .instantlyDead {
            die(slot, update.incarnation, into: &effects)
            return
        }
        if member.state == .dead { report(.joined, slot, into: &effects) }
        turn(slot)
        endSuspicion(slot)
        table.setState(slot, .suspect, nowNs: nowNs)
        var told = MembershipUpdate(
            state: .suspect, boot: update.boot, incarnation: update.incarnation)
        for index in 0..<Int(update.accuserCount) { told.accuse(by: update.accuser(index)) }
        let isChecked: Bool
        switch source {
        case .own, .exchange: isChecked = true
        case .gossip: isChecked = false
        }
        let checkNs = isChecked ? nowNs : nowNs + jittered(configuration.recheckNs)
        table.hold(Suspicion(update: told, startedNs: nowNs, nextCheckNs: checkNs), slot)
        counters.suspicions += 1
        report(.suspected, slot, into: &effects)
        schedule(slot)
        if case .gossip = source { volunteer(slot) }
        // What an exchange finds is this node's own affair until it knows more.
        if case .exchange = source { return }
        spread(slot, withRecord: false, source: source)
    }

    /// Another, or the same, accuses a suspect.
    private mutating func confirm(_ slot: Int, _ update: MembershipUpdate) {
        let number = Int(table.members[slot].suspicion)
        var isNew = false
        for index in 0..<Int(update.accuserCount)
        where table.suspicions[number].update.accuse(by: update.accuser(index)) {
            isNew = true
            counters.confirmations += 1
        }
        guard isNew else { return }
        schedule(slot)
        enqueue(slot, withRecord: false)
    }

    /// An exchange says that somebody is dead who is alive here: either the news has not come
    /// here, or the other side was cut off. The member is asked, and told, before it is believed.
    private mutating func doubt(
        _ slot: Int, _ update: MembershipUpdate, from accuser: BootID,
        into effects: inout MembershipEffects
    ) {
        guard table.members[slot].state == .alive else { return }
        var doubted = MembershipUpdate(
            state: .suspect, boot: update.boot, incarnation: update.incarnation)
        doubted.accuse(by: accuser)
        suspect(slot, doubted, source: .exchange(accuser), into: &effects)
    }

    mutating func die(
        _ slot: Int, _ incarnation: Incarnation, into effects: inout MembershipEffects
    ) {
        switch table.members[slot].state {
        case .alive, .suspect:
            turn(slot)
            endSuspicion(slot)
            table.setIncarnation(slot, incarnation)
            table.setState(slot, .dead, nowNs: nowNs)
            report(.died, slot, into: &effects)
            enqueue(slot, withRecord: false)
            if reconnectAtNs == .max, configuration.mutant != .deadNeverContacted {
                reconnectAtNs = nowNs + jittered(configuration.reconnectIntervalNs)
            }
        case .dead:
            if incarnation > table.members[slot].incarnation {
                table.setIncarnation(slot, incarnation)
            }
        case .left, nil:
            break
        }
    }

    /// Counts a member among those in trouble, before it leaves those that are well.
    private mutating func turn(_ slot: Int) {
        freeze.advance(to: nowNs, liveCount: table.liveCount)
        table.members[slot].turned = freeze.turn(before: table.members[slot].turned)
    }

    private mutating func depart(_ slot: Int, into effects: inout MembershipEffects) {
        guard table.members[slot].state != .left else { return }
        endSuspicion(slot)
        table.setState(slot, .left, nowNs: nowNs)
        report(.left, slot, into: &effects)
        if configuration.mutant != .goodbyeForgotten { enqueue(slot, withRecord: false) }
    }

    // MARK: This node

    /// Others say something of this boot: if it is not good, it objects.
    private mutating func aboutSelf(_ update: MembershipUpdate) {
        let isGood = update.state == .alive
        // Nobody else raises it; whoever says so is wrong, and is overtaken.
        let isAhead = update.incarnation > incarnation
        if isGood ? !isAhead : update.incarnation < incarnation { return }
        guard phase == .member, configuration.mutant != .refutationIgnored else { return }
        counters.refutations += 1
        worsen(by: 1)
        raiseIncarnation(above: update.incarnation)
        // Who holds it for dead may have forgotten the rest.
        enqueue(0, withRecord: update.state == .dead || update.state == .left)
    }

    /// Moves on to the next refutation. A life has 2^32: after the last nothing is refuted any
    /// more, and the process has to start again.
    mutating func raiseIncarnation(above other: Incarnation) {
        let base = max(other, incarnation)
        guard base.refutations < .max, configuration.mutant != .incarnationNotRaised else { return }
        // A life that is not this process's own is never entered by refuting.
        guard base.life == incarnation.life else { return }
        table.setIncarnation(
            0, Incarnation(life: base.life, refutations: base.refutations + 1))
    }

    // MARK: Telling

    /// Lets others hear of a member.
    func isNews(_ source: UpdateSource) -> Bool {
        // Whoever joins learns what everybody else knows.
        if case .exchange = source { return phase != .joining }
        return true
    }

    mutating func spread(_ slot: Int, withRecord: Bool, source: UpdateSource) {
        if isNews(source) { enqueue(slot, withRecord: withRecord) }
    }

    mutating func reject(
        _ reason: MembershipRejection.Reason, _ boot: BootID, _ address: MemberAddress,
        _ versions: ProtocolRange, into effects: inout MembershipEffects
    ) {
        switch reason {
        case .disjointVersions: counters.disjointVersions += 1
        case .otherCluster: counters.otherCluster += 1
        case .tableFull: counters.tableFull += 1
        case .nameTaken: counters.nameRivals += 1
        }
        // The same news comes many times over.
        if boot == lastRejected, nowNs - lastRejectedNs < 10_000_000_000 { return }
        lastRejected = boot
        lastRejectedNs = nowNs
        effects.rejections.append(
            MembershipRejection(reason: reason, boot: boot, address: address, versions: versions))
    }
}
