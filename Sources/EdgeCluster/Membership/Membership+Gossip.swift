public import EdgeMemory
public import EdgeTypes

extension Membership {
    // MARK: Sending

    /// Lets a member's update go out with the next datagrams.
    mutating func enqueue(_ slot: Int, withRecord: Bool) {
        table.enqueue(slot, withRecord: withRecord)
        if gossipAtNs == .max, phase == .member || phase == .leaving {
            gossipAtNs = max(
                nowNs + configuration.gossipDelayNs,
                lastGossipNs + configuration.gossipIntervalNs)
        }
    }

    /// Sends a datagram with as many updates as fit.
    ///
    /// - Parameter telling: the addressee's slot where it is to hear first what is believed of
    ///   it; -1: nobody's.
    mutating func send(
        _ datagram: GossipDatagram, to address: MemberAddress, telling slot: Int = -1,
        into effects: inout MembershipEffects
    ) {
        let first = effects.updates.count
        var left = MembershipLimits.datagramBytes - datagram.wireBytes
        var skipped = -1
        if slot > 0, isToBeTold(slot) {
            let update = table.update(slot)
            left -= update.wireBytes
            skipped = slot
            effects.append(update, nil)
        }
        if table.updateCount > 0 {
            table.pack(
                budgetBytes: left, limit: configuration.transmits(table.liveCount),
                skipped: skipped, into: &effects)
        }
        effects.datagrams.append(
            OutboundDatagram(
                address: address, datagram: datagram, firstUpdate: Int32(first),
                updateCount: Int32(effects.updates.count - first)))
        counters.datagramsSent += 1
    }

    /// The buddy system: a suspect hears of it from whoever speaks with it.
    private func isToBeTold(_ slot: Int) -> Bool {
        switch table.members[slot].state {
        case .suspect: configuration.hasLifeguard
        case .dead: true
        case .alive, .left, nil: false
        }
    }

    /// Tells some members at random what is new.
    mutating func gossip(into effects: inout MembershipEffects) {
        gossipAtNs = .max
        lastGossipNs = nowNs
        guard table.updateCount > 0, !table.live.isEmpty else { return }
        let datagram = header(.gossip)
        var first = MemberTable.none
        var second = MemberTable.none
        var told = 0
        for _ in 0..<(4 * configuration.gossipFanout)
        where told < min(configuration.gossipFanout, table.live.count) && table.updateCount > 0 {
            let slot = table.live[Int(random(below: table.live.count))]
            if slot == first || slot == second { continue }
            second = first
            first = slot
            told += 1
            send(datagram, to: table.address(Int(slot)), telling: Int(slot), into: &effects)
        }
        if table.updateCount > 0 { gossipAtNs = nowNs + configuration.gossipIntervalNs }
    }

    // MARK: Receiving

    /// Takes a datagram.
    ///
    /// - Parameters:
    ///   - updates: what rides on it; `MembershipUpdate.record` counts in `records`.
    ///   - address: where it came from, where answers go.
    /// - Precondition: records are as updates say, and boots are not 0 (decoders check it).
    public mutating func receive(
        _ datagram: GossipDatagram, updates: borrowing PlainList<MembershipUpdate>,
        records: [MemberRecord], from address: MemberAddress, nowNs monotonicNs: UInt64,
        into effects: inout MembershipEffects
    ) {
        guard isRunning else { return }
        wake(monotonicNs)
        counters.datagramsReceived += 1
        guard datagram.cluster == cluster else {
            counters.otherCluster += 1
            settle()
            return
        }
        if datagram.sender != boot {
            hear(datagram.sender, datagram.incarnation, from: address, into: &effects)
            for index in 0..<updates.count {
                apply(updates[index], records, source: .gossip, into: &effects)
            }
            answer(datagram, from: address, into: &effects)
        }
        settle()
    }

    private mutating func answer(
        _ datagram: GossipDatagram, from address: MemberAddress,
        into effects: inout MembershipEffects
    ) {
        let sender = table.find(boot: datagram.sender)
        switch datagram.kind {
        case .ping:
            guard datagram.target == boot else {
                counters.misdirected += 1
                return
            }
            let kind = sender < 0 ? GossipDatagram.Kind.ackToStranger : .ack
            send(
                header(kind, sequence: datagram.sequence), to: address, telling: sender,
                into: &effects)
            return
        case .ack, .ackToStranger:
            acknowledged(datagram, from: address, into: &effects)
        case .pingRequest:
            relay(datagram, from: address, into: &effects)
        case .indirectAck:
            let target = table.find(boot: datagram.target)
            if target > 0 {
                live(
                    target, datagram.targetIncarnation, nil, source: .gossip, into: &effects)
            }
            acknowledged(
                sender: datagram.target, sequence: datagram.sequence, into: &effects)
        case .nack:
            if probe.slot >= 0, datagram.sequence == probe.sequence { probe.nacks += 1 }
        case .gossip:
            break
        }
        if sender > 0, isToBeTold(sender) { tellBelief(sender, into: &effects) }
    }

    /// A boot has spoken itself, and its incarnation is what it says.
    mutating func hear(
        _ sender: BootID, _ incarnation: Incarnation, from address: MemberAddress,
        into effects: inout MembershipEffects
    ) {
        let slot = table.find(boot: sender)
        guard slot > 0, incarnation > table.members[slot].incarnation else { return }
        let wasDead = table.members[slot].state == .dead
        live(slot, incarnation, nil, source: .gossip, into: &effects)
        // Where many are dead, whoever comes back brings a whole side of a partition along.
        if wasDead, 5 * table.dead.count >= table.live.count {
            openExchange(address, into: &effects)
        }
    }
}
