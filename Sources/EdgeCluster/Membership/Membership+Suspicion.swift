import EdgeMemory
import EdgeTypes

/// From suspicion to death: how long it takes, and what its holder does meanwhile.
///
/// A suspicion is shortened by independent accusers, as in Lifeguard. Beyond that, whoever holds
/// one asks the suspect itself now and then, and no suspicion ends as a death on a node that has
/// not asked: a lost refutation costs one question.
extension Membership {
    /// When a suspicion ends as a death, as things stand.
    private func endNs(_ suspicion: Suspicion) -> UInt64 {
        if configuration.mutant == .suspicionNeverEnds { return .max / 2 }
        let lengthNs = configuration.suspicionNs(
            confirmed: max(0, Int(suspicion.update.accuserCount) - 1),
            members: table.liveCount)
        // Who is in bad health leaves it to others to declare deaths: it may be cut off itself.
        let endNs = suspicion.startedNs + scaled(lengthNs)
        // The last question is given time for its answer.
        let answerNs = suspicion.checkedNs + 2 * configuration.probeTimeoutNs
        return suspicion.checks == 0 ? endNs : max(endNs, answerNs)
    }

    /// Sets the timer to what comes first: the next question or the end.
    mutating func schedule(_ slot: Int) {
        let suspicion = table.suspicions[Int(table.members[slot].suspicion)]
        var atNs = endNs(suspicion)
        if configuration.hasLifeguard {
            // Without a question there is no end.
            atNs = suspicion.checks == 0 ? suspicion.nextCheckNs : min(atNs, suspicion.nextCheckNs)
        }
        timers.remove(UInt32(slot))
        if timers.isEmpty { timers.start(atMs: Int64(nowNs / 1_000_000)) }
        timers.insert(UInt32(slot), deadlineMs: Int64((atNs + 999_999) / 1_000_000))
    }

    mutating func endSuspicion(_ slot: Int) {
        guard table.members[slot].suspicion != MemberTable.none else { return }
        timers.remove(UInt32(slot))
        table.release(slot)
    }

    /// A suspicion's timer has run out: it ends, or the suspect is asked.
    mutating func suspicionIsDue(_ slot: Int, into effects: inout MembershipEffects) {
        precondition(table.members[slot].state == .suspect)
        let number = Int(table.members[slot].suspicion)
        let suspicion = table.suspicions[number]
        let isAsked = suspicion.checks > 0 || !configuration.hasLifeguard
        if isAsked && nowNs >= endNs(suspicion) {
            counters.deathsDeclared += 1
            die(slot, table.members[slot].incarnation, into: &effects)
            return
        }
        if !configuration.hasLifeguard {
            schedule(slot)
            return
        }
        if !mayCheck() {
            counters.checksDelayed += 1
            table.suspicions[number].nextCheckNs = nowNs + configuration.recheckNs / 4
        } else {
            counters.checks += 1
            table.suspicions[number].checks += 1
            table.suspicions[number].checkedNs = nowNs
            table.suspicions[number].nextCheckNs = nowNs + configuration.recheckNs
            table.members[slot].toldNs = nowNs
            ping(slot, sequence: 0, into: &effects)
        }
        schedule(slot)
    }

    /// Whether one more question fits into this second.
    private mutating func mayCheck() -> Bool {
        let second = nowNs / 1_000_000_000
        if second != checkSecond {
            checkSecond = second
            checksUsed = 0
        }
        guard checksUsed < configuration.checksPerSecond else { return false }
        checksUsed += 1
        return true
    }

    /// Some of those that hear of a suspicion probe the suspect next, so that it is confirmed or
    /// refuted within a probe's time, however large the cluster is.
    mutating func volunteer(_ slot: Int) {
        guard configuration.hasLifeguard, configuration.verifiers > 0, urgent.count < 4 else {
            return
        }
        if random(below: table.liveCount) < UInt64(configuration.verifiers) {
            urgent.append(UInt16(slot))
        }
    }

    /// A member is heard from that is thought to be suspect or dead: it is told, at most once a
    /// second, so that it can object.
    mutating func tellBelief(_ slot: Int, into effects: inout MembershipEffects) {
        let toldNs = table.members[slot].toldNs
        guard toldNs == 0 || nowNs - toldNs >= 1_000_000_000 else { return }
        table.members[slot].toldNs = nowNs
        ping(slot, sequence: 0, into: &effects)
    }
}
