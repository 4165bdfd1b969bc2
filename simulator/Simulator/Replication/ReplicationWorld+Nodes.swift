import EdgeCluster
import EdgeTypes

/// What processes do: replicas, beacons, disks.
extension ReplicationWorld {
    /// A process begins: it reads the arbiter's rows.
    func begin(_ node: ReplicaNode) {
        node.shards = (0..<scenario.shards).map {
            ReplicaNode.Shard(
                replica: ShardReplica(
                    shard: ShardID($0), me: node.id, mutant: scenario.mutant))
        }
        node.pairs = Array(repeating: nil, count: scenario.nodes)
        node.starts += 1
        for shard in 0..<scenario.shards {
            if node.starts == 1 {
                // The cluster's first configuration: everyone in it holds nothing yet.
                effects = []
                node.shards[shard].replica.found(rows[shard], into: &effects)
                execute(node, shard)
            } else {
                askRow(node, ShardID(shard))
            }
        }
        schedule(nowNs + below(50_000_000), .tick(node: node.index, boot: node.boot))
    }

    /// Every 50 ms: beacons, and what silence means.
    func tick(_ node: ReplicaNode) {
        schedule(nowNs + 50_000_000, .tick(node: node.index, boot: node.boot))
        let clockNs = node.clock(nowNs)
        if (nowNs / 50_000_000) % 4 == UInt64(node.index) % 4 {
            for other in 0..<scenario.nodes where other != node.index {
                let number = node.pairs[other]?.pair.lease.send(nowNs: clockNs) ?? 0
                sendDatagram(
                    node.index, other, .beacon(from: node.id, to: other, number: number))
            }
        }
        for shard in 0..<scenario.shards {
            watch(node, shard, clockNs)
            invite(node, shard, clockNs)
        }
        release(node)
    }

    private func watch(_ node: ReplicaNode, _ shard: Int, _ clockNs: UInt64) {
        effects = []
        let replica = node.shards[shard].replica
        if replica.proposal != nil {
            if scenario.mutant == .readBackBelieved {
                askRow(node, ShardID(shard))
            } else {
                node.shards[shard].replica.remind(into: &effects)
            }
        } else if replica.isPrimary {
            for other in replica.following where isLost(node, other, clockNs) {
                note("node \(node.index), shard \(shard): \(other.node) is lost")
                probe(.dropped)
                node.shards[shard].replica.lost(other, into: &effects)
                break
            }
        } else if replica.role == .backup, let primary = replica.configuration?.primary {
            if isGraceOver(node, primary, clockNs) {
                node.shards[shard].replica.graceIsOver(of: primary, into: &effects)
            } else {
                node.shards[shard].replica.remind(into: &effects)
            }
        }
        // Whoever follows reads again now and then: its primary may be gone without a word.
        if replica.role == .learner || replica.role == .backup, happens(0.03) {
            askRow(node, ShardID(shard))
        }
        execute(node, shard)
    }

    /// A replica of which nothing was heard since this process began: from then on.
    private func pair(_ node: ReplicaNode, _ other: ReplicaID, _ clockNs: UInt64) -> PairLease? {
        let slot = Int(other.node)
        if let known = node.pairs[slot] {
            if known.id == other { return known.pair.lease }
            if known.id.boot > other.boot { return nil }
        }
        let lease = PairLease(scenario.times, nowNs: clockNs, mutant: scenario.mutant)
        node.pairs[slot] = (other, ReplicaNode.Pair(lease: lease, sinceNs: clockNs))
        return lease
    }

    /// A later life of the same node was heard: the earlier one is over, but its grace is waited
    /// for from when that was heard.
    private func isGraceOver(_ node: ReplicaNode, _ other: ReplicaID, _ clockNs: UInt64) -> Bool {
        guard let lease = pair(node, other, clockNs) else {
            guard let later = node.pairs[Int(other.node)] else { return false }
            return clockNs >= later.pair.sinceNs + scenario.times.graceNs
        }
        return lease.isGraceOver(nowNs: clockNs)
    }

    private func isLost(_ node: ReplicaNode, _ other: ReplicaID, _ clockNs: UInt64) -> Bool {
        guard let lease = pair(node, other, clockNs) else { return true }
        return lease.isLost(nowNs: clockNs)
    }

    private func invite(_ node: ReplicaNode, _ shard: Int, _ clockNs: UInt64) {
        let replica = node.shards[shard].replica
        guard replica.role == .primary, replica.proposal == nil,
            replica.others.count + 1 + replica.learners < scenario.replicas
        else { return }
        for step in 0..<scenario.nodes {
            let other = (shard + step) % scenario.nodes
            guard other != node.index, let known = node.pairs[other],
                !known.pair.lease.isGraceOver(nowNs: clockNs), !replica.others.contains(known.id)
            else { continue }
            effects = []
            node.shards[shard].replica.invite(known.id, into: &effects)
            return execute(node, shard)
        }
    }

    // MARK: Beacons

    func beacon(_ from: ReplicaID, _ node: ReplicaNode, _ number: UInt64) {
        let clockNs = node.clock(nowNs)
        let slot = Int(from.node)
        if let known = node.pairs[slot], known.id.boot > from.boot { return }
        if node.pairs[slot]?.id != from {
            let lease = PairLease(scenario.times, nowNs: clockNs, mutant: scenario.mutant)
            var pair = ReplicaNode.Pair(lease: lease)
            pair.sinceNs = clockNs
            node.pairs[slot] = (from, pair)
        }
        node.pairs[slot]?.pair.lease.heard(nowNs: clockNs)
        guard number > 0 else { return }
        // No lease for whom a shard is being taken from, or who does not know yet that one was.
        let isTaking = node.shards.contains { $0.replica.isTakingOver(from: from) }
        let taken = node.pairs[slot]?.pair.taken ?? []
        for shard in taken {
            if let configuration = node.shards[Int(shard)].replica.configuration {
                send(.stale(configuration), [], node, from)
            }
        }
        if isTaking || !taken.isEmpty, scenario.mutant != .answersWhileTakingOver { return }
        sendDatagram(
            node.index, slot, .answer(from: node.id, to: from, number: number))
    }

    /// Whether the leases that its answers need hold.
    func holdsLeases(_ node: ReplicaNode, _ replica: ShardReplica) -> Bool {
        if scenario.mutant == .readsWithoutLease { return true }
        let clockNs = node.clock(nowNs)
        return replica.grantors.allSatisfy { other in
            guard let known = node.pairs[Int(other.node)], known.id == other else { return false }
            return known.pair.lease.holdsLease(nowNs: clockNs)
        }
    }

    // MARK: Effects

    func receive(
        _ message: ReplicaMessage, _ entries: [UInt64], _ from: ReplicaID, _ node: ReplicaNode
    ) {
        let shard: Int
        switch message {
        case .begin(let configuration, _, _, _), .stale(let configuration):
            shard = Int(configuration.shard)
        case .copy, .entries, .position, .diverged, .noted, .holding: shard = Int(entries[0])
        }
        effects = []
        if case .noted = message {
            node.pairs[Int(from.node)]?.pair.taken.removeAll { Int($0) == shard }
        }
        if case .stale = message { probe(.staleHeard) }
        if case .diverged = message { probe(.diverged) }
        let before = node.shards[shard].replica
        node.shards[shard].replica.receive(message, from: from, into: &effects)
        let after = node.shards[shard].replica
        switch message {
        case .copy(_, let last) where after.last > before.last && after.role == .learner:
            precondition(entries.count == Int(last) + 1)
            node.shards[shard].log = Array(entries[1...])
        case .entries(_, let first, let count) where after.last > before.last:
            take(node, shard, first, Array(entries[1...]), count)
        default: break
        }
        execute(node, shard)
    }

    private func take(
        _ node: ReplicaNode, _ shard: Int, _ first: UInt64, _ entries: [UInt64], _ count: UInt64
    ) {
        precondition(entries.count == Int(count))
        let held = UInt64(node.shards[shard].log.count)
        // With a bug, there may be a gap: it shows as zeroes.
        while node.shards[shard].log.count + 1 < Int(first) { node.shards[shard].log.append(0) }
        let known = Int(min(count, held + 1 > first ? held + 1 - first : 0))
        node.shards[shard].log += entries[known...]
    }

    /// Does what a replica's effects say.
    func execute(_ node: ReplicaNode, _ shard: Int) {
        var index = 0
        while index < effects.count {
            let effect = effects[index]
            index += 1
            switch effect {
            case .send(let message, let to): send(message, [UInt64(shard)], node, to)
            case .stream(let to, let after): stream(node, shard, to, after)
            case .copy(let to):
                let log = node.shards[shard].log
                guard let epoch = node.shards[shard].replica.configuration?.epoch else { break }
                send(
                    .copy(epoch: epoch, last: UInt64(log.count)), [UInt64(shard)] + log, node, to)
            case .propose(let change): ask(node, change)
            case .flush: flush(node, shard, secures: nil)
            case .secure(let epoch): flush(node, shard, secures: epoch)
            case .depose(let other):
                // Until it knows of that, it gets no lease from here.
                if node.pairs[Int(other.node)]?.id == other {
                    node.pairs[Int(other.node)]?.pair.taken.append(ShardID(shard))
                }
            case .readConfiguration: askRow(node, ShardID(shard))
            case .discard:
                note("node \(node.index), shard \(shard): discards")
                node.shards[shard].log = []
                node.shards[shard].isFlushing = false
                node.shards[shard].waiting = []
            case .serve: note("node \(node.index), shard \(shard): serves")
            case .stop: node.shards[shard].waiting = []
            }
        }
        effects = []
        noteCommits(node, shard)
        release(node, shard)
    }

    private func stream(_ node: ReplicaNode, _ shard: Int, _ to: ReplicaID, _ after: UInt64) {
        let log = node.shards[shard].log
        guard Int(after) < log.count, let epoch = node.shards[shard].replica.configuration?.epoch
        else { return }
        let entries = Array(log[Int(after)...])
        send(
            .entries(epoch: epoch, first: after + 1, count: UInt64(entries.count)),
            [UInt64(shard)] + entries, node, to)
    }

    private func noteCommits(_ node: ReplicaNode, _ shard: Int) {
        let replica = node.shards[shard].replica
        guard replica.role == .primary || replica.role == .opening, replica.committed > 0,
            let epoch = replica.configuration?.epoch
        else { return }
        if let other = committers[shard][epoch], other != node.id {
            fail("one primary", "shard \(shard), epoch \(epoch): \(other) and \(node.id)")
        }
        committers[shard][epoch] = node.id
    }

    // MARK: Disk

    private func flush(_ node: ReplicaNode, _ shard: Int, secures: UInt32?) {
        if secures == nil {
            if node.shards[shard].isFlushing { return }
            node.shards[shard].isFlushing = true
        }
        let replica = node.shards[shard].replica
        schedule(
            nowNs + 100_000 + below(3_000_000) + (happens(0.02) ? below(3_000_000_000) : 0),
            .flushed(
                node: node.index, boot: node.boot, shard: shard, upTo: replica.last,
                incarnation: replica.incarnation, secures: secures))
    }

    func flushed(
        _ node: ReplicaNode, _ shard: Int, _ upTo: UInt64, _ incarnation: UInt32,
        _ secures: UInt32?
    ) {
        effects = []
        if secures == nil { node.shards[shard].isFlushing = false }
        guard node.shards[shard].replica.incarnation == incarnation else { return }
        let log = node.shards[shard].log
        node.disk[shard].log = Array(log[..<min(log.count, Int(upTo))])
        if let epoch = secures {
            node.disk[shard].soleEpoch = epoch
            node.disk[shard].soleBoot = node.boot
            node.shards[shard].replica.secured(
                epoch: epoch, upTo, incarnation: incarnation, into: &effects)
        } else {
            node.shards[shard].replica.flushed(upTo, incarnation: incarnation, into: &effects)
        }
        execute(node, shard)
    }
}
