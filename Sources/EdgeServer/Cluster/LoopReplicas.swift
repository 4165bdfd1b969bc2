import EdgeCluster
import EdgeCore
import EdgeJournal
import EdgeMemory
import EdgeTypes
import EdgeWire
import NIOCore

/// One event loop's part in keeping its shards' replicas: carries what its core says to other nodes,
/// to this node's agent and to the disk, and what those say to the core.
final class LoopReplicas: @unchecked Sendable {
    // SAFETY: all mutable state is confined to the loop's `eventLoop`.
    private unowned let loop: NodeLoop
    private unowned let bus: LoopBus
    private let service: ReplicaService
    private let lane: JournalLane
    /// What the disk is to tell, once the journal holds so much.
    private var secures: [Secure] = []
    private var bases: [Base] = []
    private var outgoing = OutgoingCopies()
    /// Copies that are on their way here, by connection and shard.
    private var incoming: [ObjectIdentifier: [ShardID: IncomingCopy]] = [:]
    private var publishedNs: UInt64 = 0
    private var isRetrying = false
    /// Counts what the disk is to tell: a shard's last word counts.
    private var orders: UInt64 = 0

    /// The store's reconciler hears of commits so often at most.
    private static let publishNs: UInt64 = 20_000_000
    /// What the disk has refused is tried again after this.
    private static let retryMs: Int64 = 200

    private struct Secure {
        var record: SoleRecord
        var order: UInt64
        var last: UInt64
        var incarnation: UInt32
        var position: UInt64
    }

    private struct Base {
        var shard: ShardID
        var incarnation: UInt32
        var header: SnapshotHeader
        var content: ByteBox
        var born: UInt32
        var order: UInt64
    }

    init(_ loop: NodeLoop, _ bus: LoopBus, _ service: ReplicaService, lane: JournalLane) {
        self.loop = loop
        self.bus = bus
        self.service = service
        self.lane = lane
    }

    // MARK: What the core wants

    /// Does what a step says, in its order.
    func execute(_ outputs: [ReplicaOutput]) {
        var forAgent: [ReplicaOutput] = []
        for output in outputs {
            switch output {
            case .send(let shard, let message, let to): bus.send(message, shard, to)
            case .live(let bytes, let to): bus.send(entries: bytes, of: 0, epoch: 0, to)
            case .tail(let shard, let epoch, _, let bytes, let to):
                bus.send(entries: bytes, of: shard, epoch: epoch, to)
            case .copy(let shard, let epoch, let last, let bytes, let to):
                let piece = BusCopy(
                    epoch: epoch, last: last, offset: 0, totalBytes: UInt64(bytes.count))
                if let connection = bus.connection(to: to) {
                    outgoing.begin(shard, piece, bytes, connection)
                    pump()
                }
            case .propose, .read, .depose, .noted: forAgent.append(output)
            case .secure(let shard, let epoch, let born, let last, let incarnation):
                secures.removeAll { $0.record.shard == shard }
                orders += 1
                secures.append(
                    Secure(
                        record: SoleRecord(
                            shard: shard, epoch: epoch, boot: service.me.boot, born: born),
                        order: orders, last: last, incarnation: incarnation,
                        position: loop.lastPosition))
                loop.wantDisk()
            case .learned(let shard, let incarnation): base(shard, incarnation)
            case .discarded(let shard):
                bases.removeAll { $0.shard == shard }
                secures.removeAll { $0.record.shard == shard }
                service.saved[shard] = 0
                publish(shard)
            case .serves(let shard, _, _, let isNew, _):
                publish(shard)
                if isNew { service.serves(shard) }
            case .stops(let shard, _): publish(shard)
            }
        }
        if !forAgent.isEmpty { service.take(forAgent) }
        publishCommits()
        // Some waited for a step, too.
        if !secures.isEmpty || !bases.isEmpty { diskHolds(loop.committed) }
    }

    /// A snapshot of what was learned, as it is now.
    private func base(_ shard: ShardID, _ incarnation: UInt32) {
        var content = ByteSink()
        loop.core.writeSnapshot(shard, into: &content)
        let standing = loop.core.standing(of: shard)
        bases.removeAll { $0.shard == shard }
        orders += 1
        bases.append(
            Base(
                shard: shard, incarnation: incarnation,
                header: SnapshotHeader(
                    shard: shard, epoch: standing.epoch, sequence: standing.sequence, lane: lane,
                    position: loop.lastPosition),
                content: ByteBox(content), born: loop.core.born(shard), order: orders))
        loop.wantDisk()
    }

    // MARK: The disk

    /// The journal holds everything up to a position.
    func diskHolds(_ committed: UInt64) {
        for base in bases where base.header.position <= committed { save(base, committed) }
        bases.removeAll { $0.header.position <= committed }
        let ready = secures.filter { isReady($0, committed) }
        guard !ready.isEmpty else { return }
        secures.removeAll { isReady($0, committed) }
        let records = ready.map { DiskRecord(record: $0.record, order: $0.order) }
        service.note(records, on: loop.eventLoop) { [weak self] isNoted in
            self?.noted(ready, isNoted)
        }
    }

    private func isReady(_ secure: Secure, _ committed: UInt64) -> Bool {
        secure.position <= committed && loop.core.isBased(secure.record.shard)
    }

    private func noted(_ ready: [Secure], _ isNoted: Bool) {
        guard isNoted else {
            // A full disk. What was asked for since replaces it.
            secures += ready.filter { old in
                !secures.contains { $0.record.shard == old.record.shard }
            }
            return retry()
        }
        for secure in ready {
            loop.tell(
                .secured(
                    secure.record.shard, epoch: secure.record.epoch, last: secure.last,
                    incarnation: secure.incarnation), core: Int(loop.index))
        }
    }

    private func save(_ base: Base, _ committed: UInt64) {
        let record = DiskRecord(
            record: SoleRecord(
                shard: base.shard, epoch: 0, boot: service.me.boot, born: base.born),
            order: base.order)
        service.save(
            base.header, committed: committed, content: base.content, record, on: loop.eventLoop
        ) { [weak self] isSaved in
            guard let self else { return }
            guard isSaved else {
                // Unless it was dropped meanwhile.
                let isHeld =
                    loop.core.replica(of: base.shard)?.incarnation == base.incarnation
                    && !bases.contains { $0.shard == base.shard }
                if isHeld { bases.append(base) }
                return retry()
            }
            service.saved[base.shard] = base.header.sequence
            loop.tell(.based(base.shard, incarnation: base.incarnation), core: Int(loop.index))
        }
    }

    private func retry() {
        guard !isRetrying else { return }
        isRetrying = true
        loop.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(Self.retryMs)) {
            [weak self] in
            guard let self else { return }
            isRetrying = false
            diskHolds(loop.committed)
        }
    }

    // MARK: The store

    /// What may be shipped of a shard.
    private func publish(_ shard: ShardID) {
        service.shipping.set(
            shard, isServing: loop.core.isServing(shard), born: loop.core.born(shard),
            committed: loop.core.replica(of: shard)?.committed ?? 0)
    }

    private func publishCommits() {
        guard loop.now.monotonicNs >= publishedNs + Self.publishNs else { return }
        publishAll()
    }

    /// What is committed now, of all shards that are served here.
    func publishAll() {
        publishedNs = loop.now.monotonicNs
        for shard in loop.core.shardIDs where loop.core.isServing(shard) { publish(shard) }
    }

    // MARK: Links

    /// A link to another node is new, whoever dialed: what was under way before is lost.
    func linkUp(_ connection: BusConnection, _ number: Int) {
        connection.peerNumber = number
        // Beacons say nothing of what is under way elsewhere.
        guard connection.purpose == .work else { return }
        guard let boot = connection.peer?.boot else { return }
        let other = ReplicaID(node: UInt64(number), boot: boot)
        service.linked(other)
        loop.tellAll(.connected(other))
    }

    func linkDown(_ connection: BusConnection) {
        incoming[ObjectIdentifier(connection)] = nil
        outgoing.end(connection)
    }

    /// Something about replicas has come.
    func received(
        _ message: BusMessage, _ attached: UnsafeRawBufferPointer, on connection: BusConnection
    ) {
        guard connection.peerNumber >= 0, let boot = connection.peer?.boot else { return }
        let from = ReplicaID(node: UInt64(connection.peerNumber), boot: boot)
        switch message {
        case .replica(let shard, let told):
            switch told {
            case .begin(let row, _, _, _), .stale(let row): service.heard(row)
            case .holding: return service.holding(shard, told, from)
            default: break
            }
            loop.tell(.message(shard, told, from: from), shard)
        case .entries(_, 0, _): receive(live: attached, from, connection)
        case .entries(let shard, let epoch, let first):
            loop.tell(.tail(shard, epoch: epoch, first: first, Array(attached), from: from), shard)
        case .copy(let shard, let piece):
            receive(piece, of: shard, attached, from, connection)
        case .beacon(let number): service.beacon(number, from)
        case .beaconAnswer(let number): service.beaconAnswered(number, from)
        case .request, .command, .reply, .frame, .ping, .pong, .closing:
            preconditionFailure("not about replicas")
        }
    }

    /// Entries go to the cores that have their shards; those of a shard whose copy is on its way
    /// wait for it.
    private func receive(
        live: UnsafeRawBufferPointer, _ from: ReplicaID, _ connection: BusConnection
    ) {
        let copies = incoming[ObjectIdentifier(connection)] ?? [:]
        let cores = loop.peers.count
        if cores == 1, copies.isEmpty {
            return loop.tell(.live(Array(live), from: from), core: 0)
        }
        var parts: [[UInt8]] = Array(repeating: [], count: cores)
        var offset = 0
        while offset < live.count {
            guard let frame = EntryFrames.next(live, offset) else { return connection.close() }
            let bytes = UnsafeRawBufferPointer(rebasing: live[offset..<offset + frame.length])
            if copies[frame.shard] != nil {
                wait(for: frame.shard, bytes, connection, from)
            } else {
                parts[Int(frame.shard) % cores].append(contentsOf: bytes)
            }
            offset += frame.length
        }
        for (core, part) in parts.enumerated() where !part.isEmpty {
            loop.tell(.live(part, from: from), core: core)
        }
    }

    /// Where too much waits, the copy is given up: it may come again.
    private func wait(
        for shard: ShardID, _ bytes: UnsafeRawBufferPointer, _ connection: BusConnection,
        _ from: ReplicaID
    ) {
        let link = ObjectIdentifier(connection)
        guard let epoch = incoming[link]?[shard]?.epoch,
            incoming[link]?[shard]?.wait(bytes) == false
        else { return }
        bus.send(.diverged(epoch: epoch), shard, from)
    }

    private func receive(
        _ piece: BusCopy, of shard: ShardID, _ bytes: UnsafeRawBufferPointer, _ from: ReplicaID,
        _ connection: BusConnection
    ) {
        let link = ObjectIdentifier(connection)
        if piece.offset == 0, incoming[link]?[shard]?.isAnnounced(piece) != true {
            incoming[link, default: [:]][shard] = IncomingCopy(piece)
        }
        guard incoming[link]?[shard]?.take(piece, bytes) == true else { return }
        guard let copy = incoming[link]?[shard], copy.isWhole else { return }
        incoming[link]?[shard] = nil
        if copy.isGivenUp { return }
        loop.tell(
            .copy(shard, epoch: piece.epoch, last: piece.last, copy.bytes, from: from), shard)
        if !copy.live.isEmpty { loop.tell(.live(copy.live, from: from), shard) }
    }

    // MARK: Copies

    /// Most bytes of copies that this loop sends in a second; 0: as fast as the links take them.
    func setCopyRate(bytesPerSecond: Int64) {
        outgoing.bytesPerMs = bytesPerSecond == 0 ? 0 : max(1, bytesPerSecond / 1_000)
    }

    /// Sends pieces of copies as the links take them.
    private func pump() {
        guard outgoing.pump({ bus.mark($0) }) else { return }
        loop.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(1)) { [weak self] in
            guard let self else { return }
            outgoing.isPumping = false
            pump()
            bus.flush()
        }
    }
}

/// Bytes that are handed to another thread and not changed any more.
final class ByteBox: @unchecked Sendable {
    // SAFETY: never changed after it was made.
    private let sink: ByteSink

    init(_ sink: consuming ByteSink) { self.sink = sink }

    var bytes: UnsafeRawBufferPointer { sink.bytes }
}
