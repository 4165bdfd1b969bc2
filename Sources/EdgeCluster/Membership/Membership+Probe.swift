import EdgeMemory
import EdgeTypes

/// The probe under way: at most one.
struct Probe {
    /// -1: none.
    var slot = -1
    var boot: BootID = 0
    var sequence: UInt32 = 0
    /// When others are asked; `UInt64.max` where they were.
    var stageAtNs = UInt64.max
    var nacksExpected = 0
    var nacks = 0
}

/// Pings made for others, in the order in which they were asked for.
struct Relays {
    struct Relay: BitwiseCopyable {
        var origin: MemberAddress
        var originSequence: UInt32
        var target: BootID
        var nackAtNs: UInt64
        var isAnswered: Bool
    }

    private static let unused = Relay(
        origin: MemberAddress(hostHigh: 0, hostLow: 0, port: 0), originSequence: 0, target: 0,
        nackAtNs: 0, isAnswered: true)

    /// A ring that grows to `MembershipLimits.relays`.
    private var ring = [Relay](repeating: Relays.unused, count: 4)
    /// Numbers of the first that has not timed out, and of the next.
    private var first: UInt32 = 0
    private var next: UInt32 = 0
    private(set) var nextDeadlineNs = UInt64.max

    /// Sequences of relayed pings are odd, those of a node's own probes even.
    ///
    /// - Returns: the ping's sequence; nil where too many are under way.
    mutating func add(_ relay: Relay) -> UInt32? {
        if Int(next &- first) == ring.count {
            if ring.count == MembershipLimits.relays { return nil }
            grow()
        }
        ring[place(next)] = relay
        next &+= 1
        if nextDeadlineNs == .max { nextDeadlineNs = relay.nackAtNs }
        return ((next &- 1) << 1) | 1
    }

    /// Who asked for the ping that is answered; nil where nobody waits. Answers to one that has
    /// timed out still count, as long as it is remembered.
    mutating func answer(_ sequence: UInt32, from target: BootID) -> Relay? {
        let number = place(sequence >> 1)
        let relay = ring[number]
        guard sequence & 1 == 1, relay.target == target, target != 0 else { return nil }
        // The same place was used for another ping to the same target: its origin would not match.
        guard age(sequence) <= UInt32(ring.count) else { return nil }
        ring[number].isAnswered = true
        ring[number].target = 0
        return relay
    }

    /// How many pings ago a sequence was given out.
    private func age(_ sequence: UInt32) -> UInt32 { (next &- (sequence >> 1)) & 0x7fff_ffff }

    /// A relay that timed out at or before `nowNs`, answered or not; nil where there is none.
    mutating func popLate(_ nowNs: UInt64) -> Relay? {
        guard first != next, ring[place(first)].nackAtNs <= nowNs else { return nil }
        let late = ring[place(first)]
        first &+= 1
        nextDeadlineNs = first == next ? .max : ring[place(first)].nackAtNs
        return late
    }

    @inline(__always)
    private func place(_ number: UInt32) -> Int { Int(number) & (ring.count - 1) }

    private mutating func grow() {
        var larger = [Relay](repeating: Relays.unused, count: ring.count * 2)
        var number = first
        while number != next {
            larger[Int(number) & (larger.count - 1)] = ring[place(number)]
            number &+= 1
        }
        ring = larger
    }
}

extension Membership {
    // MARK: Probing

    /// Judges the probe that ends, and starts the next.
    mutating func nextProbe(into effects: inout MembershipEffects) {
        if probe.slot >= 0 { concludeProbe(into: &effects) }
        probe.stageAtNs = .max
        probeAtNs = nowNs + scaled(configuration.probeIntervalNs)
        let slot = nextTarget()
        if slot < 0 { return }
        counters.probes += 1
        probe = Probe(
            slot: slot, boot: table.members[slot].boot, sequence: probe.sequence &+ 2,
            stageAtNs: nowNs + scaled(configuration.probeTimeoutNs))
        ping(slot, sequence: probe.sequence, into: &effects)
    }

    private mutating func nextTarget() -> Int {
        while let slot = urgent.popLast() {
            if table.members[Int(slot)].state == .suspect { return Int(slot) }
        }
        return table.nextToProbe(random())
    }

    /// Pings a member, and tells it first what is believed of it if that is not good.
    mutating func ping(_ slot: Int, sequence: UInt32, into effects: inout MembershipEffects) {
        var datagram = header(.ping, sequence: sequence)
        datagram.target = table.members[slot].boot
        send(datagram, to: table.address(slot), telling: slot, into: &effects)
    }

    /// The target has not answered: asks others to ask it, asks again, and asks over a stream.
    mutating func askOthers(into effects: inout MembershipEffects) {
        probe.stageAtNs = .max
        let slot = probe.slot
        guard slot >= 0, table.members[slot].boot == probe.boot else { return }
        counters.indirectProbes += 1
        if configuration.hasLifeguard {
            // However late this step is, the answers get their time.
            let restNs = configuration.probeIntervalNs - configuration.probeTimeoutNs
            probeAtNs = max(probeAtNs, nowNs + scaled(restNs))
        }
        var request = header(.pingRequest, sequence: probe.sequence)
        request.target = probe.boot
        var asked = 0
        var first = MemberTable.none
        var second = MemberTable.none
        for _ in 0..<(4 * configuration.indirectProbes)
        where asked < configuration.indirectProbes && table.live.count > asked + 1 {
            let relay = table.live[Int(random(below: table.live.count))]
            if relay == UInt16(slot) || relay == first || relay == second { continue }
            if table.members[Int(relay)].state != .alive { continue }
            second = first
            first = relay
            asked += 1
            send(request, to: table.address(Int(relay)), into: &effects)
        }
        probe.nacksExpected = asked
        ping(slot, sequence: probe.sequence, into: &effects)
        var message = streamHeader(.probe)
        message.sequence = probe.sequence
        message.target = probe.boot
        open(message, to: table.address(slot), into: &effects)
    }

    /// The probe's time is over and nobody has seen its target.
    private mutating func concludeProbe(into effects: inout MembershipEffects) {
        let ended = probe
        probe.slot = -1
        counters.probesFailed += 1
        // Whoever was asked and did not even say "no" is missing, or this node does not hear.
        // With nobody to ask there is no telling whose fault it is.
        worsen(by: max(0, ended.nacksExpected - ended.nacks))
        let slot = ended.slot
        guard table.members[slot].boot == ended.boot, let state = table.members[slot].state
        else { return }
        guard state == .alive || state == .suspect else { return }
        var accusation = MembershipUpdate(
            state: .suspect, boot: ended.boot, incarnation: table.members[slot].incarnation)
        accusation.accuse(by: boot)
        suspect(slot, accusation, source: .own, into: &effects)
    }

    /// The probe's target was heard of.
    mutating func probeSucceeded() {
        probe.slot = -1
        probe.stageAtNs = .max
        improve()
    }

    // MARK: Relays

    mutating func relay(
        _ request: GossipDatagram, from origin: MemberAddress,
        into effects: inout MembershipEffects
    ) {
        counters.relays += 1
        let slot = table.find(boot: request.target)
        let sequence =
            slot <= 0
            ? nil
            : relays.add(
                Relays.Relay(
                    origin: origin, originSequence: request.sequence, target: request.target,
                    nackAtNs: nowNs + configuration.relayTimeoutNs, isAnswered: false))
        guard let sequence else {
            if slot > 0 { counters.relaysRefused += 1 }
            nack(request.sequence, to: origin, into: &effects)
            return
        }
        var datagram = header(.ping, sequence: sequence)
        datagram.target = request.target
        send(datagram, to: table.address(slot), telling: slot, into: &effects)
    }

    mutating func nackLate(into effects: inout MembershipEffects) {
        while let late = relays.popLate(nowNs) {
            if !late.isAnswered { nack(late.originSequence, to: late.origin, into: &effects) }
        }
    }

    private mutating func nack(
        _ sequence: UInt32, to origin: MemberAddress, into effects: inout MembershipEffects
    ) {
        guard configuration.hasLifeguard else { return }
        counters.nacksSent += 1
        send(header(.nack, sequence: sequence), to: origin, into: &effects)
    }

    // MARK: Answers

    mutating func acknowledged(
        _ datagram: GossipDatagram, from address: MemberAddress,
        into effects: inout MembershipEffects
    ) {
        acknowledged(sender: datagram.sender, sequence: datagram.sequence, into: &effects)
        if let relay = relays.answer(datagram.sequence, from: datagram.sender) {
            var answer = header(.indirectAck, sequence: relay.originSequence)
            answer.target = datagram.sender
            answer.targetIncarnation = datagram.incarnation
            send(answer, to: relay.origin, into: &effects)
        }
        if datagram.kind == .ackToStranger { openExchange(address, into: &effects) }
    }

    /// A boot has answered, by datagram, by stream or through another member.
    mutating func acknowledged(
        sender: BootID, sequence: UInt32, into effects: inout MembershipEffects
    ) {
        if probe.slot >= 0, sequence == probe.sequence, sender == probe.boot { probeSucceeded() }
        if let rival, rival.boot == sender { stopForRival(into: &effects) }
    }
}
