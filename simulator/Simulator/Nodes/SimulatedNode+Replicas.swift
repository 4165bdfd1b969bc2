import EdgeCluster
import EdgeCore
import EdgeJournal
import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeTypes
import EdgeWire

/// What a node of a replicated world keeps beside its cores.
struct ReplicaShell {
    var agent: ReplicaAgent
    var sole: SoleRecords
    /// What the disk is to tell, once the lane is durable so far.
    var secures: [Secure] = []
    var bases: [Base] = []
    /// Of the target that it follows; 0: the one that it was started with.
    var targetVersion = 0

    struct Secure {
        var core: Int
        var record: SoleRecord
        var last: UInt64
        var incarnation: UInt32
        var position: UInt64
    }

    struct Base {
        var core: Int
        var shard: ShardID
        var incarnation: UInt32
        var header: SnapshotHeader
        var content: [UInt8]
    }
}

/// A node's agent, and what its cores want done about replicas: what the server's loops do.
extension SimulatedNode {
    static let agentNs: UInt64 = 50_000_000

    var replicaID: ReplicaID { ReplicaID(node: UInt64(index), boot: UInt64(boot)) }

    private func id(ofPeer peer: Int) -> ReplicaID {
        ReplicaID(node: UInt64(peer), boot: UInt64(world.nodes[peer].boot))
    }

    /// Which process a link leads to.
    private func isLinked(_ other: ReplicaID) -> Bool {
        world.bus.isUp(index, Int(other.node)) && id(ofPeer: Int(other.node)) == other
    }

    func beginAgent(
        _ directory: JournalDirectory, lost: Set<ShardID>, cleanBoot: Int?
    ) throws {
        let sole = try directory.openSoleRecords()
        let agent = ReplicaAgent(
            replicaID, plan: world.scenario.replicaPlan, nodes: world.scenario.nodes,
            sole: sole.records.filter { !lost.contains($0.shard) },
            held: (0..<world.scenario.shards).map { shard in
                let core = cores[shard % coreCount]
                return ReplicaAgent.Held(
                    logEpoch: core.node.epoch(of: ShardID(shard)),
                    last: core.node.sequence(of: ShardID(shard)))
            }, cleanBoot: cleanBoot.map(UInt64.init), nowNs: now.monotonicNs,
            mutant: world.replicationMutant)
        replicas = ReplicaShell(agent: agent, sole: sole)
    }

    func scheduleAgent() {
        world.schedule(world.nowNs + Self.agentNs, .agent(node: index, boot: boot))
    }

    /// The agent's turn.
    func tickAgent() {
        if case .paused = state { return backlog.append(.agent(node: index, boot: boot)) }
        guard isRunning, !isHalted else { return }
        scheduleAgent()
        var outputs: [AgentOutput] = []
        replicas?.agent.tick(nowNs: now.monotonicNs, into: &outputs)
        execute(outputs)
        // What a full disk has refused.
        if replicas?.bases.isEmpty == false || replicas?.secures.isEmpty == false {
            for core in cores.indices where cores[core].isDurable { securedReplicas(core) }
        }
    }

    func hear(_ reply: ArbiterReply) {
        guard isRunning, !isHalted else {
            if case .paused = state {
                backlog.append(.arbiterAnswers(node: index, boot: boot, reply))
            }
            return
        }
        var outputs: [AgentOutput] = []
        let nowNs = now.monotonicNs
        switch reply {
        case .inserted: replicas?.agent.inserted()
        case .decided(let changes, let outcomes):
            replicas?.agent.answered(changes, outcomes, nowNs: nowNs, into: &outputs)
        case .read(let rows, let revision, let target):
            if let target { follow(target) }
            replicas?.agent.read(rows, revision: revision, nowNs: nowNs, into: &outputs)
        }
        execute(outputs)
    }

    private func follow(_ target: PlacementDecision) {
        guard let known = replicas?.targetVersion, target.version > known else { return }
        replicas?.targetVersion = target.version
        replicas?.agent.follow(target.plan, isPaused: false, atOnce: target.atOnce)
    }

    private func tell(_ input: ReplicaInput, _ shard: ShardID) {
        tell(input, core: Int(shard) % coreCount)
    }

    private func tell(_ input: ReplicaInput, core: Int) {
        cores[core].batch.replicas.append(input)
        scheduleTick(core)
    }

    private func tellAll(_ input: ReplicaInput) {
        for core in cores.indices { tell(input, core: core) }
    }

    private func execute(_ outputs: [AgentOutput]) {
        for output in outputs {
            switch output {
            case .beacon(let number, let to): send(.beacon(number: number), 0, to)
            case .beaconAnswer(let number, let to): send(.beaconAnswer(number: number), 0, to)
            case .send(let shard, let message, let to): send(.replica(shard, message), shard, to)
            case .adopt(let told):
                if world.mutant == .ownersForgotten {
                    tell(.configuration(told), told.shard)
                } else {
                    tellAll(.configuration(told))
                }
            case .resume(let told, let sole):
                tell(
                    .resume(told, boot: sole.boot, epoch: sole.epoch, born: sole.born), told.shard)
            case .reopen(let row, let isSealed):
                if isSealed { world.probe(.reopened) }
                let born = replicas?.sole[row.shard]?.born ?? 0
                tell(.reopen(row, isSealed: isSealed, born: born), row.shard)
            case .forget(let shard): tell(.forget(shard), shard)
            case .decided(let change, let outcome):
                tell(.decided(change, outcome), change.next.shard)
            case .lost(let other): tellAll(.lost(other))
            case .graceIsOver(let other): tellAll(.graceIsOver(other))
            case .lease(let other, let untilNs): tellAll(.lease(other, untilNs: untilNs))
            case .invite(let shard, let other): tell(.invite(shard, other), shard)
            case .drop(let shard, let other): tell(.drop(shard, other), shard)
            case .handOver(let shard, let other): tell(.handOver(shard, other), shard)
            case .remind: tellAll(.remind)
            case .compareAndSet(let changes): world.ask(.compareAndSet(changes), self)
            case .insert(let rows): found(rows)
            case .read(let revision): world.ask(.read(after: revision), self)
            }
        }
    }

    /// First configurations: the disk tells of them before the arbiter does.
    private func found(_ rows: [ShardConfiguration]) {
        disk.now = now
        do {
            try replicas?.sole.note(
                rows.map {
                    SoleRecord(shard: $0.shard, epoch: 1, boot: UInt64(boot), born: 0)
                })
        } catch {
            return abort("\(error)")
        }
        world.ask(.insert(rows), self)
    }

    // MARK: The bus

    private func send(_ message: BusMessage, _ shard: ShardID, _ to: ReplicaID) {
        send(message, Int(shard) % coreCount, to, Int(shard) % peerCores(to))
    }

    private func send(_ message: BusMessage, _ core: Int, _ to: ReplicaID) {
        send(message, core, to, 0)
    }

    private func peerCores(_ other: ReplicaID) -> Int { world.nodes[Int(other.node)].coreCount }

    private func send(
        _ message: BusMessage, _ core: Int, _ to: ReplicaID, _ place: Int, _ attached: [UInt8] = []
    ) {
        // What is for an earlier life, or cannot be sent, is lost: the greeting brings it up again.
        guard isLinked(to) else { return }
        var sink = ByteSink(capacity: 64)
        let fits = attached.withUnsafeBytes {
            BusCodec.encode(message, attached: $0, into: &sink)
        }
        precondition(fits)
        world.send(Array(sink.bytes), from: self, core, to: Int(to.node), place)
    }

    /// Shards that this step began to serve: before its entries are looked at.
    func serveReplicas(_ core: Int) {
        for output in cores[core].effects.replicas {
            if case .serves(let shard, let epoch, let last, let isNew, let isSealed) = output {
                world.serves(
                    self, shard, epoch: epoch, last: last, isNew: isNew, isSealed: isSealed)
                if isNew { reconciler?.restart() }
            }
        }
    }

    /// Does what a step says of replicas.
    func executeReplicas(_ core: Int) {
        guard replicas != nil else { return }
        let shell = cores[core]
        let outputs = shell.effects.replicas
        for output in outputs { execute(output, core) }
        for stream in 1..<CommitStream.count {
            shell.released[stream] = shell.effects.released[stream]
        }
        noteCommits(core)
        if shell.effects.wantsDisk { shell.wantsDurable = true }
    }

    private func execute(_ output: ReplicaOutput, _ core: Int) {
        switch output {
        case .send(let shard, let message, let to): send(.replica(shard, message), shard, to)
        case .live(let bytes, let to): sendLive(bytes, core, to)
        case .tail(let shard, let epoch, let first, let bytes, let to):
            send(
                .entries(shard, epoch: epoch, first: first), core, to,
                Int(shard) % peerCores(to), bytes)
        case .copy(let shard, let epoch, let last, let bytes, let to):
            world.probe(.shardCopied)
            let piece = BusCopy(
                epoch: epoch, last: last, offset: 0, totalBytes: UInt64(bytes.count))
            send(.copy(shard, piece), core, to, Int(shard) % peerCores(to), bytes)
        case .propose(let change):
            var outputs: [AgentOutput] = []
            replicas?.agent.propose([change], nowNs: now.monotonicNs, into: &outputs)
            execute(outputs)
        case .read: replicas?.agent.wantsRows()
        case .secure(let shard, let epoch, let born, let last, let incarnation):
            replicas?.secures.removeAll { $0.record.shard == shard }
            replicas?.secures.append(
                ReplicaShell.Secure(
                    core: core,
                    record: SoleRecord(
                        shard: shard, epoch: epoch, boot: UInt64(boot), born: born), last: last,
                    incarnation: incarnation, position: cores[core].submitted))
            cores[core].wantsDurable = true
        case .depose(let shard, let other): replicas?.agent.deposed(other, shard)
        case .noted(let shard, let other): replicas?.agent.noted(shard, by: other)
        case .learned(let shard, let incarnation): base(shard, incarnation, core)
        case .discarded(let shard):
            replicas?.bases.removeAll { $0.shard == shard }
            replicas?.secures.removeAll { $0.record.shard == shard }
            snapshotted[shard] = 0
            world.note("node \(index), shard \(shard): discards")
        case .serves: break
        case .stops(let shard, let streams): stops(shard, streams, core)
        }
    }

    /// Entries go to the cores of the other node that have their shards.
    private func sendLive(_ bytes: [UInt8], _ core: Int, _ to: ReplicaID) {
        let count = peerCores(to)
        var parts: [[UInt8]] = Array(repeating: [], count: count)
        bytes.withUnsafeBytes { bytes in
            var offset = 0
            while let frame = try? JournalFrame.parse(bytes, at: offset) {
                parts[Int(frame.shard) % count].append(contentsOf: frame.bytes)
                offset += frame.length
            }
        }
        for (place, part) in parts.enumerated() where !part.isEmpty {
            send(.entries(0, epoch: 0, first: 0), core, to, place, part)
        }
    }

    /// Whoever waits on the stream hears that nobody knows; frames are sent again by others.
    private func stops(_ shard: ShardID, _ streams: UInt16, _ core: Int) {
        world.note("node \(index), shard \(shard): stops")
        world.probe(.shardStopped)
        let shell = cores[core]
        let held = shell.held
        shell.held = held.filter { !$0.waits(onAny: streams) }
        for item in held where item.waits(onAny: streams) {
            guard case .reply(let reply, _) = item.item else { continue }
            let unknown = Reply(ticket: reply.ticket, shape: .error, error: .unknown)
            leave(core, .reply(unknown, .text("the shard is on the move")), needs: 0)
        }
    }

    /// A message about replicas arrives at a core.
    func about(_ message: BusMessage, _ attached: [UInt8], _ peer: Int, _ core: Int) {
        let from = id(ofPeer: peer)
        switch message {
        case .replica(let shard, let told):
            switch told {
            case .begin(let row, _, _, _), .stale(let row):
                var outputs: [AgentOutput] = []
                replicas?.agent.heard(row, nowNs: now.monotonicNs, into: &outputs)
                execute(outputs)
            case .holding(let epoch, let logEpoch, let last, let isComplete):
                replicas?.agent.holding(
                    shard, epoch: epoch, logEpoch: logEpoch, last: last, isComplete: isComplete,
                    from: from)
                return
            default: break
            }
            cores[core].batch.replicas.append(.message(shard, told, from: from))
        case .entries(_, 0, _): cores[core].batch.replicas.append(.live(attached, from: from))
        case .entries(let shard, let epoch, let first):
            cores[core].batch.replicas.append(
                .tail(shard, epoch: epoch, first: first, attached, from: from))
        case .copy(let shard, let piece):
            cores[core].batch.replicas.append(
                .copy(shard, epoch: piece.epoch, last: piece.last, attached, from: from))
        case .beacon(let number):
            var outputs: [AgentOutput] = []
            replicas?.agent.beacon(
                number, from: from, nowNs: now.monotonicNs, into: &outputs)
            execute(outputs)
        case .beaconAnswer(let number):
            var outputs: [AgentOutput] = []
            replicas?.agent.beaconAnswered(
                number, from: from, nowNs: now.monotonicNs, into: &outputs)
            execute(outputs)
        default: preconditionFailure("not about replicas")
        }
    }

    func linkedReplica(_ peer: Int) {
        guard replicas != nil else { return }
        let other = id(ofPeer: peer)
        replicas?.agent.linked(other, nowNs: now.monotonicNs)
        tellAll(.connected(other))
    }

    // MARK: The disk

    /// A snapshot of what was learned, as it is now.
    private func base(_ shard: ShardID, _ incarnation: UInt32, _ core: Int) {
        let shell = cores[core]
        var sink = ByteSink()
        shell.node.writeSnapshot(shard, into: &sink)
        let standing = shell.node.standing(of: shard)
        replicas?.bases.removeAll { $0.shard == shard }
        replicas?.bases.append(
            ReplicaShell.Base(
                core: core, shard: shard, incarnation: incarnation,
                header: SnapshotHeader(
                    shard: shard, epoch: standing.epoch, sequence: standing.sequence,
                    lane: shell.writer.lane, position: shell.submitted),
                content: Array(sink.bytes)))
        shell.wantsDurable = true
    }

    /// The lane is durable a bit further: what waited for that.
    func securedReplicas(_ core: Int) {
        guard let waiting = replicas, let directory else { return }
        let committed = cores[core].committed
        disk.now = now
        do {
            for base in waiting.bases where base.core == core && base.header.position <= committed {
                try replicas?.sole.note([
                    SoleRecord(
                        shard: base.shard, epoch: 0, boot: UInt64(boot),
                        born: cores[core].node.born(base.shard))
                ])
                try base.content.withUnsafeBytes {
                    try directory.snapshots.save(base.header, committed: committed, content: $0)
                }
                snapshotted[base.shard] = base.header.sequence
                replicas?.bases.removeAll { $0.shard == base.shard }
                tell(.based(base.shard, incarnation: base.incarnation), core: core)
            }
            for secure in waiting.secures
            where secure.core == core && secure.position <= committed
                && cores[core].node.isBased(secure.record.shard)
            {
                try replicas?.sole.note([secure.record])
                replicas?.secures.removeAll { $0.record.shard == secure.record.shard }
                world.probe(.securedAlone)
                tell(
                    .secured(
                        secure.record.shard, epoch: secure.record.epoch, last: secure.last,
                        incarnation: secure.incarnation), core: core)
            }
        } catch {
            // A full disk: tried again with the next sync.
            world.probe(.maintenanceFailed)
        }
        tell(.durable(position: committed), core: core)
    }

    // MARK: The store

    /// What becomes of an entry of a running lane on its way to the store.
    func shipping(_ header: EntryHeader) -> ShippingVerdict {
        let core = Int(header.shard) % coreCount
        guard cores.indices.contains(core), cores[core].node.isServing(header.shard),
            header.epoch >= cores[core].node.born(header.shard)
                || world.mutant == .oldLogsShipped,
            let replica = cores[core].node.replica(of: header.shard)
        else { return .skip }
        if world.mutant == .uncommittedShipped { return .ship }
        return header.sequence <= replica.committed ? .ship : .wait
    }

    /// What the store has, for whoever admits replicas.
    func tellStored() {
        guard replicas != nil || world.scenario.isArchiving else { return }
        for shard in status.watermarks.shards {
            tell(.stored(shard, status.watermarks[shard].sequence), shard)
        }
    }

    private func noteCommits(_ core: Int) {
        let shell = cores[core]
        for shard in shell.node.shardIDs {
            // What is committed as the last before a hand-over is answered in that step, too.
            guard let replica = shell.node.replica(of: shard), replica.mayCommit,
                replica.committed > world.histories[index].sequence(shard)
            else { continue }
            world.committed(self, shard, shell.node.epoch(of: shard), upTo: replica.committed)
        }
    }
}
