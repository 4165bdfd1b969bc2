import EdgeMemory
import EdgeTypes

/// The updates that wait to be gossiped: at most one a member, what it says taken from the member
/// when it is sent, so that nothing outdated ever leaves. Those sent least come first.
extension MemberTable {
    /// Most times an update is sent by one node.
    static let transmitLimit = 32
    /// Updates that may turn out not to fit before a datagram counts as full.
    private static let misfits = 8
    /// Most updates of one datagram.
    private static let most = 200

    /// Lets a member's update be sent anew.
    mutating func enqueue(_ slot: Int, withRecord: Bool) {
        if members[slot].transmits != Self.notQueued {
            // What has to go with a record still has to.
            members[slot].sendsRecord = members[slot].sendsRecord || withRecord
            unlinkUpdate(slot)
        } else {
            members[slot].sendsRecord = withRecord
            updateCount += 1
        }
        linkUpdate(slot, transmits: 0)
    }

    /// Takes a member's update back, where there is one.
    mutating func drop(_ slot: Int) {
        guard members[slot].transmits != Self.notQueued else { return }
        unlinkUpdate(slot)
        members[slot].transmits = Self.notQueued
        updateCount -= 1
    }

    /// Appends the updates that go with a datagram, and counts them as sent.
    ///
    /// Complexity: O(chosen), plus the number of buckets.
    ///
    /// - Parameters:
    ///   - limit: how often an update is sent.
    ///   - skipped: a member that is in the datagram already; -1: none.
    mutating func pack(
        budgetBytes: Int, limit: Int, skipped: Int, into effects: inout MembershipEffects
    ) {
        chosen.removeAll()
        var left = budgetBytes
        var misfits = 0
        var seen = 0
        for bucket in 0..<Self.transmitLimit where seen < updateCount {
            var slot = firstUpdates[bucket]
            while slot != Self.none && misfits < Self.misfits && chosen.count < Self.most {
                seen += 1
                if Int(slot) != skipped {
                    let size = updateBytes(Int(slot))
                    if size <= left {
                        left -= size
                        chosen.append(slot)
                    } else {
                        misfits += 1
                    }
                }
                slot = members[Int(slot)].nextUpdate
            }
        }
        for index in 0..<chosen.count {
            appendUpdate(Int(chosen[index]), into: &effects)
            countTransmit(Int(chosen[index]), limit: limit)
        }
    }

    /// A member as it is now.
    func update(_ slot: Int) -> MembershipUpdate {
        let member = members[slot]
        guard let state = member.state else { preconditionFailure("a free slot") }
        if state == .suspect { return suspicions[Int(member.suspicion)].update }
        return MembershipUpdate(state: state, boot: member.boot, incarnation: member.incarnation)
    }

    func updateBytes(_ slot: Int) -> Int {
        let size = update(slot).wireBytes
        return members[slot].sendsRecord ? size + records[slot].wireBytes : size
    }

    func appendUpdate(_ slot: Int, into effects: inout MembershipEffects) {
        effects.append(update(slot), members[slot].sendsRecord ? records[slot] : nil)
    }

    private mutating func countTransmit(_ slot: Int, limit: Int) {
        let transmits = Int(members[slot].transmits) + 1
        if transmits >= min(limit, Self.transmitLimit) {
            drop(slot)
        } else {
            unlinkUpdate(slot)
            linkUpdate(slot, transmits: transmits)
        }
    }

    private mutating func linkUpdate(_ slot: Int, transmits: Int) {
        let last = lastUpdates[transmits]
        members[slot].transmits = UInt8(transmits)
        members[slot].previousUpdate = last
        members[slot].nextUpdate = Self.none
        if last == Self.none {
            firstUpdates[transmits] = UInt16(slot)
        } else {
            members[Int(last)].nextUpdate = UInt16(slot)
        }
        lastUpdates[transmits] = UInt16(slot)
    }

    private mutating func unlinkUpdate(_ slot: Int) {
        let member = members[slot]
        let bucket = Int(member.transmits)
        if member.previousUpdate == Self.none {
            firstUpdates[bucket] = member.nextUpdate
        } else {
            members[Int(member.previousUpdate)].nextUpdate = member.nextUpdate
        }
        if member.nextUpdate == Self.none {
            lastUpdates[bucket] = member.previousUpdate
        } else {
            members[Int(member.nextUpdate)].previousUpdate = member.previousUpdate
        }
    }
}
