import EdgeLedger
import EdgeReconciler
import EdgeTypes

/// From the crowd to the end: when the run goes on, and when it gives up waiting.
extension World {
    /// Looks whether the run may go on to its next phase; at the end, asks every oracle.
    func advance() {
        schedule(nowNs + 250_000_000, .progress)
        if nowNs > scenario.faultsEndNs, nowNs > scenario.crowdEndNs,
            nowNs - max(lastProgressNs, phaseSinceNs, scenario.faultsEndNs) > scenario.patienceNs
        {
            return fail("liveness", stuck, kind: .liveness)
        }
        if nowNs > scenario.faultsEndNs + 10 * scenario.patienceNs {
            return fail("liveness", "it never ends: " + stuck, kind: .liveness)
        }
        switch phase {
        case .crowd:
            guard nowNs > scenario.crowdEndNs, nowNs > scenario.faultsEndNs else { return }
            enter(.answers)
        case .answers:
            guard clients.isIdle, misplaced == nil else { return }
            enter(.demand)
            demand = Demand(self)
        case .demand:
            guard clients.isIdle, demand?.advance() ?? true else { return }
            enter(.again)
            clients.askAgain()
        case .again:
            guard clients.isIdle else { return }
            if scenario.absenceNs > 0 { return beginAbsence() }
            losePower()
        case .absence:
            if isAbsenceOver { losePower() }
        case .afterwards:
            guard clients.isIdle else { return }
            if scenario.replicas > 1, killed < nodes.count {
                if loseNextPower(1 << 40) { clients.askAgain() }
                return
            }
            enter(.closing)
            clients.closePools()
        case .closing:
            guard clients.isIdle, misplaced == nil, nodes.allSatisfy(isSettled) else { return }
            if scenario.isArchiving { return enter(.archiving) }
            finish()
        case .archiving:
            guard unarchived == nil else { return }
            enter(.archived)
            askArchive()
        case .archived:
            guard clients.isIdle else { return }
            enter(.recalled)
            if loseAllPower(1 << 41) { askArchive() }
        case .recalled:
            guard clients.isIdle else { return }
            if scenario.replicas > 1, killed < nodes.count {
                if loseNextPower(1 << 41) { askArchive() }
                return
            }
            guard misplaced == nil, nodes.allSatisfy(isSettled) else { return }
            finish()
        case .over: break
        }
    }

    private func losePower() {
        enter(.afterwards)
        if loseAllPower(1 << 40) { clients.askAgain() }
    }

    /// Power is lost everywhere at once, unless others go on (`loseNextPower`).
    ///
    /// - Parameter draw: names the loss, for what of it is drawn.
    /// - Returns: whether it was.
    private func loseAllPower(_ draw: UInt64) -> Bool {
        killed = 0
        if scenario.replicas > 1 { return false }
        for node in nodes where node.isRunning {
            node.losePower(UInt64(node.index) | draw)
            node.start()
        }
        return true
    }

    /// Power is lost at one node after the other, each when the one before is back in its place.
    private func loseNextPower(_ draw: UInt64) -> Bool {
        guard isWhole else { return false }
        nodes[killed].losePower(UInt64(killed) | draw)
        nodes[killed].start()
        killed += 1
        progressed(1)
        return true
    }

    private func finish() {
        enter(.over)
        probe(.allSettled)
        for oracle in oracles where failure == nil { oracle.ended(self) }
    }

    /// Everybody asks for what only the store knows, and operators look.
    private func askArchive() {
        clients.askAgain()
        clients.askInVain()
        clients.inquire()
        if scenario.archiveOrdersAfterNs > 0 { clients.payLate() }
    }

    /// The first slice that is closed for good and still in memory; nil: there is none.
    private var unarchived: String? {
        for (number, history) in histories.enumerated() where number == 0 || !scenario.isCluster {
            if history.isGone || history.isShippingStopped { continue }
            if let slice = history.unarchived { return slice }
        }
        return nil
    }

    func enter(_ next: Phase) {
        phase = next
        phaseSinceNs = nowNs
        note("phase \(next)")
    }

    /// Whether everything that the node committed is in its store.
    private func isSettled(_ node: SimulatedNode) -> Bool {
        let history = histories[node.index]
        if history.isGone || history.isShippingStopped { return true }
        guard node.isRunning, node.cores.allSatisfy(\.isDurable) else { return false }
        if history.excuses(lag: node.status) {
            // What cannot be read cannot be shipped, and is never skipped.
            probe(.shippingRefusedForDamage)
            history.isShippingStopped = true
            return true
        }
        for shard in 0..<scenario.shards
        where node.store.marks[ShardID(shard)].sequence != history.sequence(ShardID(shard)) {
            return false
        }
        return isFollowed(node)
    }

    private var stuck: String {
        for operation in clients.operations where !operation.isDone {
            return "operation \(operation.id) (\(operation.kind) by \(operation.actor) at node "
                + "\(operation.node)) has no answer after \(operation.attempts) attempts; node: "
                + "\(nodes[operation.node].state)"
        }
        for node in nodes where !isSettled(node) {
            if let redis = node.redis, node.isRunning, let shard = behind(redis, node.store) {
                let mark = node.store.marks[shard]
                let told = redis.keyspace.field(RedisKeys.marks, "\(shard)") ?? "none"
                let published = redis.keyspace.field(RedisKeys.published, "\(shard)") ?? "none"
                return "the Redis of node \(node.index) does not catch up with shard \(shard), at "
                    + "\(RedisMirror.text(mark)): mark \(told), published \(published), "
                    + "\(redis.keyspace.events.entries.count) events; "
                    + nodes.map { $0.follower.status.lastError ?? "no error" }
                    .joined(separator: "; ")
            }
            if let consumers = node.redis.flatMap({ consumers(of: $0.index) }), !consumers.isIdle {
                return "events of node \(node.index) wait: \(consumers)"
            }
            let behind = (0..<scenario.shards).first { shard in
                node.store.marks[ShardID(shard)].sequence
                    != histories[node.index].sequence(ShardID(shard))
            }
            return "the store of node \(node.index) does not catch up with shard "
                + "\(behind.map(String.init) ?? "none"): "
                + nodes.map { "\($0.status.lastError ?? "no error"), \($0.state)" }
                .joined(separator: "; ")
        }
        if scenario.replicas > 1, !isWhole {
            for row in arbiter.rows {
                guard let row else { return "a shard was never founded" }
                let missing = row.members.count < wantedReplicas
                let gone = row.members.contains { UInt64(nodes[Int($0.node)].boot) != $0.boot }
                if missing || gone { return "shard \(row.shard) is not whole: \(row)" }
            }
        }
        if let shard = misplaced {
            return "shard \(shard) is not where the other topology wants it: "
                + "\(arbiter.rows[shard].map { "\($0)" } ?? "nowhere")"
        }
        if phase == .archiving, let unarchived { return "\(unarchived) stays in memory" }
        return "nothing moves in phase \(phase)"
    }
}
