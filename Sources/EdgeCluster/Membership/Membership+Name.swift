import EdgeMemory
import EdgeTypes

/// Another boot under this node's name, until it is known whether it still lives.
struct Rival {
    var boot: BootID
    var address: MemberAddress
    var life: UInt32
    /// Pings sent.
    var asked = 0
    var nextNs: UInt64
}

/// One name, one process.
///
/// Whoever finds its own name under another boot asks that boot itself. If it answers, this
/// process stops and says so: while joining always, later if the other's claim is the stronger
/// (a later life, or the same and a higher boot). If it does not answer three times, this process
/// takes the life after it, which overrides everything that was ever said of the other.
extension Membership {
    mutating func meetRival(_ record: MemberRecord, _ update: MembershipUpdate) {
        guard phase == .joining || phase == .member else { return }
        let life = update.incarnation.life
        let isStronger =
            life != incarnation.life ? life > incarnation.life : record.boot > boot
        let isRetired = update.state == .dead || update.state == .left
        // An own address cannot be another process's too.
        let isGone = isRetired || record.address == table.records[0].address
        if isGone || (phase == .joining && configuration.mutant == .nameNotChecked) {
            if life >= incarnation.life { takeLife(after: life) }
            return
        }
        guard isStronger || phase == .joining else {
            counters.oldBoots += 1
            return
        }
        if let rival, rival.life >= life { return }
        counters.nameRivals += 1
        rival = Rival(boot: record.boot, address: record.address, life: life, nextNs: nowNs)
    }

    /// Asks the rival once more, or concludes that it is gone.
    mutating func checkRival(into effects: inout MembershipEffects) {
        guard var asked = rival else { return }
        if asked.asked == 3 {
            rival = nil
            takeLife(after: asked.life)
            becomeMember()
            return
        }
        asked.asked += 1
        asked.nextNs = nowNs + configuration.nameCheckNs
        rival = asked
        var datagram = header(.ping)
        datagram.target = asked.boot
        send(datagram, to: asked.address, into: &effects)
        var message = streamHeader(.probe)
        message.target = asked.boot
        open(message, to: asked.address, into: &effects)
    }

    /// The rival lives: two processes bear one name, and this one is the later or the weaker.
    mutating func stopForRival(into effects: inout MembershipEffects) {
        guard let taken = rival else { return }
        effects.rejections.append(
            MembershipRejection(reason: .nameTaken, boot: taken.boot, address: taken.address))
        rival = nil
        phase = .stopped
    }

    private mutating func takeLife(after life: UInt32) {
        guard life < .max else { return }
        table.setIncarnation(0, Incarnation(life: max(life + 1, incarnation.life)))
        if phase == .member { enqueue(0, withRecord: true) }
    }
}
