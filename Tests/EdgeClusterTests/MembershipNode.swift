import EdgeCluster
import EdgeMemory
import EdgeTypes

/// One node whose effects a test looks at, and whose peers the test plays.
final class MembershipNode {
    static let cluster: UInt32 = 7
    static let ms: UInt64 = 1_000_000

    var machine: Membership
    var effects = MembershipEffects()
    var nowNs: UInt64 = 1_000_000_000_000

    static func address(_ number: Int) -> MemberAddress {
        MemberAddress(ipv4: UInt32(number), port: 7_602)
    }

    static func record(_ number: Int, boot: BootID? = nil) -> MemberRecord {
        MemberRecord(
            name: Text64("n\(number)"), boot: boot ?? BootID(number + 1_000),
            address: address(number), versions: ProtocolRange(oldest: 2, newest: 3))
    }

    /// Node 0, which has joined and knows `peers` others: numbers 1 and up, boots 1,001 and up.
    init(peers: Int, configuration: MembershipConfiguration = .lan) {
        machine = Membership(
            Self.record(0), cluster: Self.cluster, seed: 1, configuration: configuration)
        machine.start(seeds: [], nowNs: nowNs, into: &effects)
        if peers > 0 { exchange((1...peers).map { alive($0) }, from: 1) }
        effects.removeAll()
    }

    func alive(
        _ number: Int, life: UInt32 = 1, refutations: UInt32 = 0, boot: BootID? = nil
    ) -> (MembershipUpdate, MemberRecord?) {
        let record = Self.record(number, boot: boot)
        let incarnation = Incarnation(life: life, refutations: refutations)
        return (
            MembershipUpdate(state: .alive, boot: record.boot, incarnation: incarnation), record
        )
    }

    func told(
        _ state: MemberState, _ number: Int, refutations: UInt32 = 0, by accusers: [Int] = []
    ) -> (MembershipUpdate, MemberRecord?) {
        var update = MembershipUpdate(
            state: state, boot: number == 0 ? 1_000 : BootID(number + 1_000),
            incarnation: Incarnation(life: 1, refutations: refutations))
        for accuser in accusers { update.accuse(by: BootID(accuser + 1_000)) }
        return (update, nil)
    }

    private func lists(
        _ statements: [(MembershipUpdate, MemberRecord?)],
        _ body: (borrowing PlainList<MembershipUpdate>, [MemberRecord]) -> Void
    ) {
        var updates = PlainList<MembershipUpdate>()
        var records: [MemberRecord] = []
        for (statement, record) in statements {
            var update = statement
            update.record = -1
            if let record {
                update.record = Int32(records.count)
                records.append(record)
            }
            updates.append(update)
        }
        body(updates, records)
    }

    /// A datagram from a peer.
    func receive(
        _ kind: GossipDatagram.Kind, from number: Int, sequence: UInt32 = 0,
        target: BootID = 1_000, refutations: UInt32 = 0, targetRefutations: UInt32 = 0,
        cluster: UInt32 = MembershipNode.cluster,
        _ statements: [(MembershipUpdate, MemberRecord?)] = []
    ) {
        effects.removeAll()
        let datagram = GossipDatagram(
            kind: kind, cluster: cluster, sender: BootID(number + 1_000),
            incarnation: Incarnation(life: 1, refutations: refutations), sequence: sequence,
            target: target,
            targetIncarnation: Incarnation(life: 1, refutations: targetRefutations))
        lists(statements) { updates, records in
            machine.receive(
                datagram, updates: updates, records: records, from: Self.address(number),
                nowNs: nowNs, into: &effects)
        }
    }

    /// A state from a peer.
    func exchange(
        _ statements: [(MembershipUpdate, MemberRecord?)], from number: Int,
        kind: GossipStreamMessage.Kind = .state,
        versions: ProtocolRange = ProtocolRange(oldest: 2, newest: 3)
    ) {
        effects.removeAll()
        let message = GossipStreamMessage(
            kind: kind, cluster: Self.cluster, sender: BootID(number + 1_000),
            incarnation: Incarnation(life: 1), versions: versions)
        lists(statements) { updates, records in
            machine.receive(
                message, updates: updates, records: records, on: 9, from: Self.address(number),
                nowNs: nowNs, into: &effects)
        }
    }

    /// Goes on to the next tick before a time, whose effects are then to be seen.
    ///
    /// - Returns: false where there is none; it is that time then.
    func step(untilNs endNs: UInt64) -> Bool {
        guard machine.nextDeadlineNs <= endNs else {
            nowNs = max(nowNs, endNs)
            return false
        }
        nowNs = max(nowNs, machine.nextDeadlineNs)
        effects.removeAll()
        machine.tick(nowNs: nowNs, into: &effects)
        return true
    }

    /// Lets time pass without an answer from anybody.
    func pass(_ timeNs: UInt64) {
        let endNs = nowNs + timeNs
        while step(untilNs: endNs) {}
    }

    /// Lets time pass while every probe is answered, but those of the numbers given.
    func passAnswering(_ timeNs: UInt64, except silent: Set<Int> = [], nacks: Bool = true) {
        let endNs = nowNs + timeNs
        while step(untilNs: endNs) {
            for sent in sent() {
                let number = Int(sent.address.ipv4 ?? 0)
                if sent.datagram.kind == .ping, !silent.contains(number) {
                    receive(.ack, from: number, sequence: sent.datagram.sequence)
                } else if sent.datagram.kind == .pingRequest, nacks {
                    receive(.nack, from: number, sequence: sent.datagram.sequence)
                }
            }
        }
    }

    func sent() -> [OutboundDatagram] {
        (0..<effects.datagrams.count).map { effects.datagrams[$0] }
    }

    func events() -> [MemberEvent] { (0..<effects.events.count).map { effects.events[$0] } }

    func rejections() -> [MembershipRejection] {
        (0..<effects.rejections.count).map { effects.rejections[$0] }
    }

    func streams() -> [OutboundStream] {
        (0..<effects.streams.count).map { effects.streams[$0] }
    }

    func updates(_ first: Int32, _ count: Int32) -> [MembershipUpdate] {
        (Int(first)..<Int(first + count)).map { effects.updates[$0] }
    }

    /// A datagram's bytes.
    func size(_ sent: OutboundDatagram) -> Int {
        var size = sent.datagram.wireBytes
        for update in updates(sent.firstUpdate, sent.updateCount) {
            size += update.wireBytes
            if update.record >= 0 { size += effects.records[Int(update.record)].wireBytes }
        }
        return size
    }

    func state(_ number: Int) -> MemberState? {
        machine.slot(boot: BootID(number + 1_000)).flatMap { machine.state($0) }
    }

    var liveCount: Int { machine.liveCount }
    var counters: MembershipCounters { machine.counters }
    var incarnation: Incarnation { machine.incarnation }
    var localHealth: Int { machine.localHealth }
    var isStopped: Bool { machine.isStopped }
    var isFrozen: Bool { machine.isRebalancingFrozen }
}

/// No updates.
struct EmptyUpdates: ~Copyable {
    let list = PlainList<MembershipUpdate>()
}
