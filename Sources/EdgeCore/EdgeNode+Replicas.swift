import EdgeCluster
import EdgeMemory
import EdgeTypes
import EdgeWire

/// What a core of a replicated cluster knows about the replicas of its shards.
struct Replicas: Sendable {
    let me: ReplicaID
    /// By local shard.
    var shards: [ShardReplica]
    /// By local shard: who led before this process was told to; nil: nobody, or this process.
    var leaders: [ReplicaID?]
    /// By local shard: the epoch at which its log began here. What the journal holds of earlier ones
    /// is of logs that were dropped.
    var born: [UInt32]
    /// Other processes that follow shards here or are followed: their numbers are bits of
    /// `ShardState.followers`. One that is gone gives its number to the next.
    var partners: [Partner] = []
    /// By node: the lease that its last life has given.
    var leases: [Lease] = []
    /// Local shards with entries of this step.
    var dirty: [Int] = []
    var streams = CommitStreams()
    var recent: RecentEntries
    /// Entries of shards without other members that the disk does not hold yet, oldest first.
    var unflushed: [Unflushed] = []
    /// Shards that wait for the disk with what they hold at the end of this step.
    var flushing: [Int] = []
    /// What followers miss, to be sent at the end of the step.
    var tails: [(to: ReplicaID, local: Int, after: UInt64)] = []
    /// Reused.
    var effects: [ReplicaEffect] = []
    /// By local shard: the number of its run in the message that is taken; -1: none yet. Reused.
    var runs: [Int]

    struct Partner: Sendable {
        var id: ReplicaID
        var bytes: [UInt8] = []
    }

    struct Lease: Sendable {
        var boot: UInt64 = 0
        var untilNs: UInt64 = 0
    }

    struct Unflushed: Sendable {
        var position: UInt64
        var local: Int
        var sequence: UInt64
        var incarnation: UInt32
    }

    /// Bytes of entries that are kept for followers whose connection broke.
    static let recentBytes = 4 << 20

    init(_ configuration: NodeConfiguration, _ me: ReplicaID, shards ids: [ShardID]) {
        self.me = me
        shards = ids.map {
            ShardReplica(
                shard: $0, me: me, hasStore: configuration.hasStore,
                mutant: configuration.replicationMutant)
        }
        leaders = Array(repeating: nil, count: ids.count)
        born = Array(repeating: 0, count: ids.count)
        runs = Array(repeating: -1, count: ids.count)
        recent = RecentEntries(keptBytes: Self.recentBytes)
    }
}

/// The replicas of this core's shards: what the protocol (`ShardReplica`) says is done here, with
/// the entries that it speaks of.
extension EdgeNode {
    /// Takes what other processes and this node's agent say of shards.
    mutating func takeReplicaInputs(
        _ batch: borrowing RequestBatch, now: Instant, into effects: inout EffectBuffer
    ) {
        for input in batch.replicas { take(input, now: now, into: &effects) }
    }

    private mutating func take(
        _ input: ReplicaInput, now: Instant, into effects: inout EffectBuffer
    ) {
        switch input {
        case .configuration(let told):
            learnOwner(told)
            run(told.shard, now: now, into: &effects) { $0.adopt(told, into: &$1) }
        case .decided(let change, let outcome):
            run(change.next.shard, now: now, into: &effects) {
                $0.decided(change, outcome, into: &$1)
            }
        case .resume(let told, let boot, let epoch, let born):
            resume(told, boot: boot, epoch: epoch, born: born, now: now, into: &effects)
        case .reopen(let told, let isSealed, let born):
            guard let local = local(told.shard), replicas?.shards[local].role == .absent else {
                return
            }
            replicas?.born[local] = born
            let last = shards[local].sequence
            run(local, now: now, into: &effects) {
                $0.reopen(told, last: last, isSealed: isSealed, into: &$1)
            }
        case .forget(let shard):
            guard let local = local(shard), replicas?.shards[local].role == .absent else { return }
            discard(local, into: &effects)
        case .message(let shard, let message, let sender):
            receive(message, shard, sender, now: now, into: &effects)
        case .live(let bytes, let sender): takeLive(bytes, sender, now: now, into: &effects)
        case .tail(let shard, let epoch, let first, let bytes, let sender):
            takeTail(shard, epoch, first, bytes, sender, now: now, into: &effects)
        case .copy(let shard, let epoch, let last, let bytes, let sender):
            takeCopy(shard, epoch, last, bytes, sender, now: now, into: &effects)
        case .handOver(let shard, let member):
            handOver(shard, to: member, now: now, into: &effects)
        case .stored(let shard, let sequence):
            noteStored(shard, sequence)
            if replicas == nil { return }
            run(shard, now: now, into: &effects) { $0.stored(upTo: sequence, into: &$1) }
        case .invite(let shard, let learner):
            run(shard, now: now, into: &effects) { $0.invite(learner, into: &$1) }
        case .drop(let shard, let member):
            if let local = local(shard) { lose(member, local, now: now, into: &effects) }
        case .secured(let shard, let epoch, let last, let incarnation):
            run(shard, now: now, into: &effects) {
                $0.secured(epoch: epoch, last, incarnation: incarnation, into: &$1)
            }
        case .based(let shard, let incarnation):
            guard let local = local(shard),
                replicas?.shards[local].incarnation == incarnation
            else { return }
            run(local, now: now, into: &effects) { $0.based(into: &$1) }
            // The journal held all before this.
            replicas?.flushing.append(local)
        case .nodes(let count): configuration.nodes = max(configuration.nodes, count)
        case .durable(let position): flushed(position, now: now, into: &effects)
        case .lease(let partner, let untilNs): lease(partner, untilNs)
        case .connected(let other):
            // What was on its way is lost: nothing more is sent before the greeting is answered.
            for local in 0..<shards.count {
                run(local, now: now, into: &effects) { $0.connected(other, into: &$1) }
            }
        case .lost(let other):
            for local in 0..<shards.count { lose(other, local, now: now, into: &effects) }
        case .graceIsOver(let other):
            for local in 0..<shards.count {
                run(local, now: now, into: &effects) { $0.graceIsOver(of: other, into: &$1) }
            }
        case .remind:
            for local in 0..<shards.count {
                run(local, now: now, into: &effects) { $0.remind(into: &$1) }
            }
        }
    }

    /// The shard's number among this core's; nil: another core's.
    func local(_ shard: ShardID) -> Int? {
        guard Int(shard) < placement.shards, placement.core(of: shard) == configuration.core else {
            return nil
        }
        return placement.localIndex(of: shard)
    }

    private mutating func run(
        _ shard: ShardID, now: Instant, into effects: inout EffectBuffer,
        _ body: (inout ShardReplica, inout [ReplicaEffect]) -> Void
    ) {
        guard let local = local(shard) else { return }
        run(local, now: now, into: &effects, body)
    }

    /// Tells a shard's replica something, and does what it says.
    mutating func run(
        _ local: Int, now: Instant, into effects: inout EffectBuffer,
        _ body: (inout ShardReplica, inout [ReplicaEffect]) -> Void
    ) {
        guard var known = replicas.take() else { preconditionFailure("a core without replicas") }
        let sequence = shards[local].sequence
        if known.shards[local].takesRequests, sequence > known.shards[local].last {
            known.shards[local].appended(upTo: sequence, into: &known.effects)
        }
        let before = known.shards[local].configuration
        let proposed = known.shards[local].proposal
        body(&known.shards[local], &known.effects)
        let after = known.shards[local].configuration
        let isProposing = known.shards[local].proposal != proposed
        if let before, before.primary != after?.primary { known.leaders[local] = before.primary }
        let todo = known.effects
        known.effects.removeAll(keepingCapacity: true)
        replicas = known
        if after != before {
            configured(local)
        } else if isProposing, shards[local].isServing {
            renewLease(local)
        }
        for effect in todo { execute(effect, local, now: now, into: &effects) }
    }

    private mutating func execute(
        _ effect: ReplicaEffect, _ local: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        let shard = shards[local].id
        switch effect {
        case .send(let message, let to):
            if case .begin = message { unfollow(local, to) }
            effects.replicas.append(.send(shard, message, to: to))
        case .stream(let to, let after):
            guard follows(local, to, now: now, into: &effects), after < shards[local].stepStart
            else { return }
            replicas?.tails.append((to, local, after))
        case .copy(let to):
            guard follows(local, to, now: now, into: &effects) else { return }
            var sink = ByteSink()
            writeSnapshot(shard, into: &sink)
            effects.replicas.append(
                .copy(
                    shard, epoch: shards[local].epoch, last: shards[local].sequence,
                    Array(sink.bytes), to: to))
        case .propose(let change): effects.replicas.append(.propose(change))
        case .flush: replicas?.flushing.append(local)
        case .secure(let epoch):
            guard let known = replicas else { return }
            effects.replicas.append(
                .secure(
                    shard, epoch: epoch, born: known.born[local], last: shards[local].sequence,
                    incarnation: known.shards[local].incarnation))
        case .readConfiguration: effects.replicas.append(.read(shard))
        case .depose(let other): effects.replicas.append(.depose(shard, other))
        case .discard: discard(local, into: &effects)
        case .serve: serve(local, now: now, into: &effects)
        case .stop: stop(local, into: &effects)
        }
    }

    // MARK: Messages

    private mutating func receive(
        _ message: ReplicaMessage, _ shard: ShardID, _ sender: ReplicaID, now: Instant,
        into effects: inout EffectBuffer
    ) {
        switch message {
        case .begin(let told, _, _, _), .stale(let told):
            guard told.shard == shard else { return refuseFrame() }
            learnOwner(told)
        case .noted: effects.replicas.append(.noted(shard, sender))
        // Those come with their bytes.
        case .copy, .entries, .holding: return refuseFrame()
        case .position, .diverged: break
        }
        run(shard, now: now, into: &effects) { $0.receive(message, from: sender, into: &$1) }
        if case .diverged = message, let local = local(shard) { forgetStrangers(local) }
    }

    /// Entries that a shard's primary has just made. Those of one shard follow each other. O(1) each.
    private mutating func takeLive(
        _ bytes: [UInt8], _ sender: ReplicaID, now: Instant, into effects: inout EffectBuffer
    ) {
        var runs: [EntryRun] = []
        bytes.withUnsafeBytes { bytes in
            var offset = 0
            while offset < bytes.count {
                guard let frame = try? JournalFrame.parse(bytes, at: offset),
                    let local = local(frame.shard)
                else { return refuseFrame() }
                offset += frame.length
                var place = replicas?.runs[local] ?? -1
                if place < 0 {
                    place = runs.count
                    replicas?.runs[local] = place
                    runs.append(EntryRun(local, frame, takes(local, frame.epoch, frame.sequence)))
                } else if runs[place].epoch != frame.epoch {
                    finish(runs[place], sender, now: now, into: &effects)
                    runs[place] = EntryRun(
                        local, frame, takes(local, frame.epoch, frame.sequence))
                }
                take(frame, &runs[place], into: &effects)
            }
        }
        for run in runs {
            replicas?.runs[run.local] = -1
            finish(run, sender, now: now, into: &effects)
        }
    }

    private mutating func takeTail(
        _ shard: ShardID, _ epoch: UInt32, _ first: UInt64, _ bytes: [UInt8], _ sender: ReplicaID,
        now: Instant, into effects: inout EffectBuffer
    ) {
        guard let local = local(shard) else { return }
        var run: EntryRun?
        bytes.withUnsafeBytes { bytes in
            var offset = 0
            while offset < bytes.count {
                guard let frame = try? JournalFrame.parse(bytes, at: offset), frame.shard == shard
                else { return refuseFrame() }
                offset += frame.length
                if run == nil {
                    run = EntryRun(local, frame, takes(local, epoch, frame.sequence))
                    run?.epoch = epoch
                }
                if var taken = run {
                    take(frame, &taken, into: &effects)
                    run = taken
                }
            }
        }
        if let run { finish(run, sender, now: now, into: &effects) }
    }

    /// Entries of one shard in one message.
    private struct EntryRun {
        let local: Int
        var epoch: UInt32
        let first: UInt64
        var count: UInt64 = 0
        /// Whether the replica is one that takes them.
        let isTaken: Bool
        var isBroken = false

        init(_ local: Int, _ frame: JournalFrame, _ isTaken: Bool) {
            self.local = local
            epoch = frame.epoch
            first = frame.sequence
            self.isTaken = isTaken
        }
    }

    private func takes(_ local: Int, _ epoch: UInt32, _ first: UInt64) -> Bool {
        replicas?.shards[local].takes(epoch, first: first) ?? false
    }

    private mutating func take(
        _ frame: JournalFrame, _ run: inout EntryRun, into effects: inout EffectBuffer
    ) {
        let known = shards[run.local].sequence
        guard run.isTaken, !run.isBroken, frame.sequence > known else {
            run.count += 1
            return
        }
        do {
            if let claim = frame.claim {
                try replay(claim, frame.header)
            } else {
                try replay(try frame.entry(), frame.header)
            }
        } catch {
            counters.errors &+= 1
            run.isBroken = true
            return
        }
        run.count += 1
        effects.journal.append(frame.bytes)
        counters.entries &+= 1
    }

    private mutating func finish(
        _ run: EntryRun, _ sender: ReplicaID, now: Instant, into effects: inout EffectBuffer
    ) {
        if run.count > 0 {
            self.run(run.local, now: now, into: &effects) {
                $0.receive(
                    .entries(epoch: run.epoch, first: run.first, count: run.count), from: sender,
                    into: &$1)
            }
        }
        guard run.isBroken else { return }
        // What does not follow from what is here: the primary goes on without this replica.
        effects.replicas.append(
            .send(shards[run.local].id, .diverged(epoch: run.epoch), to: sender))
    }

    private mutating func takeCopy(
        _ shard: ShardID, _ epoch: UInt32, _ last: UInt64, _ bytes: [UInt8], _ sender: ReplicaID,
        now: Instant, into effects: inout EffectBuffer
    ) {
        guard let local = local(shard), replicas?.shards[local].takesCopy(epoch) == true else {
            return
        }
        if shards[local].sequence != 0 { discard(local, into: &effects) }
        do {
            try bytes.withUnsafeBytes { try loadSnapshot(shard, $0) }
            guard shards[local].sequence == last else { throw CopyError() }
        } catch {
            discard(local, into: &effects)
            return refuseFrame()
        }
        replicas?.born[local] = epoch
        run(local, now: now, into: &effects) {
            $0.receive(.copy(epoch: epoch, last: last), from: sender, into: &$1)
        }
        guard let incarnation = replicas?.shards[local].incarnation else { return }
        effects.replicas.append(.learned(shard, incarnation: incarnation))
    }

    private struct CopyError: Error {}

    // MARK: Disk and leases

    /// The lane is durable up to a position.
    private mutating func flushed(
        _ position: UInt64, now: Instant, into effects: inout EffectBuffer
    ) {
        guard let waiting = replicas?.unflushed, !waiting.isEmpty else { return }
        let done = waiting.prefix { $0.position <= position }
        replicas?.unflushed.removeFirst(done.count)
        for item in done where replicas?.shards[item.local].isBased == true {
            run(item.local, now: now, into: &effects) {
                $0.flushed(item.sequence, incarnation: item.incarnation, into: &$1)
            }
        }
    }

    private mutating func lease(_ other: ReplicaID, _ untilNs: UInt64) {
        guard let node = Int(exactly: other.node), node < Limits.nodes,
            var leases = replicas?.leases
        else { return }
        replicas?.leases = []
        while leases.count <= node { leases.append(Replicas.Lease()) }
        let isNews = other.boot >= leases[node].boot
        if isNews { leases[node] = Replicas.Lease(boot: other.boot, untilNs: untilNs) }
        replicas?.leases = leases
        guard isNews else { return }
        for local in 0..<shards.count where shards[local].isServing { renewLease(local) }
    }

    /// A shard's lease is over when that of any of its grantors is.
    mutating func renewLease(_ local: Int) {
        guard let known = replicas else { return }
        var untilNs = UInt64.max
        for other in known.shards[local].grantors {
            let node = Int(truncatingIfNeeded: other.node)
            let hasLease =
                known.leases.indices.contains(node)
                && known.leases[node].boot == other.boot
            untilNs = min(untilNs, hasLease ? known.leases[node].untilNs : 0)
        }
        shards[local].leaseUntilNs = untilNs
    }

    // MARK: The end of a step

    /// Marks a shard that has entries in this step, before the first of them.
    @inline(never)
    mutating func touch(_ local: Int) {
        shards[local].isTouched = true
        replicas?.dirty.append(local)
    }

    /// Sends what this step has appended to whoever follows, and says what may leave.
    mutating func replicate(
        _ batch: borrowing RequestBatch, now: Instant, into effects: inout EffectBuffer
    ) {
        let position = batch.laneEnd + UInt64(effects.journal.count)
        sendTails(now: now, into: &effects)
        sendLive(into: &effects)
        guard var known = replicas.take() else { return }
        known.recent.append(effects.journal.bytes)
        let dirty = known.dirty
        known.dirty.removeAll(keepingCapacity: true)
        replicas = known
        for local in dirty {
            shards[local].isTouched = false
            shards[local].stepStart = shards[local].sequence
            // `run` tells the replica how far its log reaches now.
            run(local, now: now, into: &effects) { _, _ in }
            queue(local, position)
        }
        flush(position, into: &effects)
        release(into: &effects)
    }

    /// Answers that have read what a shard holds now wait for it.
    private mutating func queue(_ local: Int, _ position: UInt64) {
        guard let replica = replicas?.shards[local], replica.isPrimary else { return }
        let sequence = shards[local].sequence
        let stream = shards[local].stream
        guard replica.committed < sequence else { return }
        replicas?.streams.wait(stream, local: local, sequence: sequence, position: position)
    }

    /// Remembers what the disk must hold of shards that wait for it.
    private mutating func flush(_ position: UInt64, into effects: inout EffectBuffer) {
        guard let waiting = replicas?.flushing, !waiting.isEmpty else { return }
        replicas?.flushing.removeAll(keepingCapacity: true)
        effects.wantsDisk = true
        for local in waiting {
            let sequence = shards[local].sequence
            guard let incarnation = replicas?.shards[local].incarnation else { continue }
            if let last = replicas?.unflushed.last, last.local == local, last.sequence == sequence {
                continue
            }
            replicas?.unflushed.append(
                Replicas.Unflushed(
                    position: position, local: local, sequence: sequence,
                    incarnation: incarnation))
        }
    }

    private mutating func release(into effects: inout EffectBuffer) {
        guard var known = replicas.take() else { return }
        for stream in 1..<UInt8(CommitStream.count) {
            let shards = known.shards
            effects.released[Int(stream)] = known.streams.released(stream) { local, sequence in
                !shards[local].isPrimary || shards[local].committed >= sequence
            }
        }
        known.streams.tidy()
        replicas = known
    }

    private mutating func sendTails(now: Instant, into effects: inout EffectBuffer) {
        guard let tails = replicas?.tails, !tails.isEmpty else { return }
        replicas?.tails.removeAll(keepingCapacity: true)
        for id in replicas?.partners.map(\.id) ?? [] {
            var wanted = tails.filter { $0.to == id }.map {
                RecentEntries.Tail(shard: shards[$0.local].id, after: $0.after)
            }
            guard !wanted.isEmpty else { continue }
            replicas?.recent.fill(&wanted)
            for tail in wanted {
                let local = placement.localIndex(of: tail.shard)
                if tail.first == tail.after + 1 {
                    effects.replicas.append(
                        .tail(
                            tail.shard, epoch: shards[local].epoch, first: tail.first, tail.bytes,
                            to: id))
                } else {
                    // Too far behind: it is dropped, and learns the shard anew.
                    lose(id, local, now: now, into: &effects)
                }
            }
        }
    }

    private mutating func sendLive(into effects: inout EffectBuffer) {
        guard var known = replicas.take() else { return }
        let bytes = effects.journal.bytes
        var offset = 0
        while offset < bytes.count {
            let length = Int(bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self))
            let shard = bytes.loadUnaligned(fromByteOffset: offset + 10, as: ShardID.self)
            var followers = shards[placement.localIndex(of: shard)].followers
            while followers != 0 {
                let partner = followers.trailingZeroBitCount
                known.partners[partner].bytes.append(
                    contentsOf: UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length]))
                followers &= followers - 1
            }
            offset += length
        }
        for partner in known.partners.indices where !known.partners[partner].bytes.isEmpty {
            effects.replicas.append(
                .live(known.partners[partner].bytes, to: known.partners[partner].id))
            known.partners[partner].bytes.removeAll(keepingCapacity: true)
        }
        replicas = known
    }
}
