import EdgeLedger
import EdgeReconciler
import EdgeTypes
import EdgeWire

/// Faults as they begin and end.
extension World {
    func begin(_ index: Int) {
        guard !active[index] else { return }
        let fault = plan.faults[index]
        active[index] = true
        note("begins: \(fault)")
        let node = nodes[fault.node]
        switch fault.kind {
        case .crash: stop(node) { $0.die(nil) }
        case .powerLoss: stop(node) { $0.losePower(fault.id) }
        case .powerLossInFlight, .powerLossAtTransfer: node.stops += 1
        case .blackout:
            for node in nodes { losePower(node, fault) }
        case .shardPowerLoss:
            let shard = random.below(UInt64(scenario.shards), .faultTargets, fault.id, 5)
            let members = arbiter.rows[Int(shard)]?.members ?? []
            dark[index] = members.map { Int($0.node) }
            for node in dark[index] ?? [] { losePower(nodes[node], fault) }
        case .drain: stop(node) { $0.stopCleanly() }
        case .resize: stop(node) { $0.stopCleanly() }
        case .bitRot:
            // After a stop in good order every byte of the journal is vouched for.
            let isClean = random.happens(0.5, .faultTargets, fault.id, 3)
            stop(node) { isClean ? $0.stopCleanly() : $0.losePower(fault.id) }
        case .diskLoss:
            stop(node) { $0.losePower(fault.id) }
            node.loseDisk()
            compromise(node, "its disk was exchanged")
        case .misdirectedWrite:
            histories[node.index].misdirects()
            node.disk.faults.misdirectsBy = 4_096
        case .pause: node.pause()
        case .clockForward: node.clock.step(Int64(fault.magnitude), at: nowNs)
        case .clockBack:
            node.clock.step(-Int64(fault.magnitude), at: nowNs)
            probe(.clockWentBack)
        case .clockDrift: node.clock.drift(driftPpm(node), at: nowNs)
        case .arbiterDown: arbiter.isDown = true
        case .arbiterAnswerLost: arbiter.losesAnswers = true
        case .busCut: bus.cut(node.index)
        case .busBroken: breakLinks(of: node.index, afterNs: 0)
        case .busSlow: bus.slow(node.index, by: fault.magnitude)
        case .brokenConnections: node.breakConnections()
        case .storeDown: node.store.faults.isDown = true
        case .storeCommitLost: node.store.faults.losesAnswers = true
        case .storeDeadlock: node.store.faults.deadlocks = true
        case .storeRestored: node.store.backUp(fault.id)
        case .redisDown, .redisSlow, .redisAnswerLost, .redisRepeats: adjust(node.redis)
        case .redisFlushed: node.redis?.lose()
        case .redisKeyDeleted: node.redis?.loseKey(random.word(.faultTargets, fault.id, 4))
        case .redisFailover: node.redis?.lag(fault.id)
        case .diskFull: node.disk.faults.spaceBytes = node.disk.usedBytes
        case .syncError: node.disk.faults.failsSync = true
        case .configRollback: clients.rollBackConfiguration(fault)
        case .retryStorm: clients.stormRetries(fault)
        case .requestLoss, .replyLoss, .duplication, .slowLink, .reordering, .bandwidth,
            .partition, .oneWayOut, .oneWayIn, .clog, .slowCPU, .diskStall, .storeSlow:
            adjust(fault, begins: true)
        }
    }

    func end(_ index: Int) {
        guard active[index] else { return }
        active[index] = false
        let fault = plan.faults[index]
        note("ends: \(fault)")
        let node = nodes[fault.node]
        switch fault.kind {
        case .crash, .powerLoss, .powerLossInFlight, .powerLossAtTransfer, .drain, .diskLoss:
            start(node)
        case .blackout: for node in nodes { start(node) }
        case .shardPowerLoss:
            for node in dark.removeValue(forKey: index) ?? [] { start(nodes[node]) }
        case .resize:
            node.nextCoreCount =
                1 + Int(random.below(UInt64(scenario.mostCores), .faultTargets, fault.id, 9))
            start(node)
        case .bitRot:
            rot(node, fault)
            start(node)
        case .pause: if !isActive(.pause, node) { node.resume() }
        case .misdirectedWrite:
            if !isActive(.misdirectedWrite, node) {
                histories[node.index].misdirectsNoMore()
                node.disk.faults.misdirectsBy = nil
            }
        case .clockForward, .clockBack, .brokenConnections, .configRollback, .retryStorm,
            .busBroken, .redisFlushed, .redisKeyDeleted:
            break
        case .arbiterDown: arbiter.isDown = isActive(.arbiterDown)
        case .arbiterAnswerLost: arbiter.losesAnswers = isActive(.arbiterAnswerLost)
        case .busCut: bus.mend(node.index)
        case .busSlow: if !isActive(.busSlow, node) { bus.slow(node.index, by: 1) }
        case .clockDrift: node.clock.drift(driftPpm(node), at: nowNs)
        case .storeDown: node.store.faults.isDown = isActive(.storeDown, node.store)
        case .storeCommitLost:
            node.store.faults.losesAnswers = isActive(.storeCommitLost, node.store)
        case .storeDeadlock: node.store.faults.deadlocks = isActive(.storeDeadlock, node.store)
        case .storeRestored: if node.store.restore(fault.id) { probe(.storeRestored) }
        case .redisDown, .redisSlow, .redisAnswerLost, .redisRepeats: adjust(node.redis)
        case .redisFailover: node.redis?.failOver(fault.id)
        case .diskFull: if !isActive(.diskFull, node) { node.disk.faults.spaceBytes = .max }
        case .syncError: node.disk.faults.failsSync = isActive(.syncError, node)
        case .requestLoss, .replyLoss, .duplication, .slowLink, .reordering, .bandwidth,
            .partition, .oneWayOut, .oneWayIn, .clog, .slowCPU, .diskStall, .storeSlow:
            adjust(fault, begins: false)
        }
    }

    /// Something leaves or is written ahead of the journal: the moment that an armed loss of power
    /// waits for.
    func isInFlight(_ node: SimulatedNode, _ kind: FaultKind = .powerLossInFlight) {
        for index in plan.faults.indices
        where active[index] && !struck[index] && plan.faults[index].kind == kind
            && plan.faults[index].node == node.index
        {
            struck[index] = true
            let longest: UInt64 = kind == .powerLossAtTransfer ? 800_000 : 300_000
            let delayNs = random.below(longest, .faultTimes, plan.faults[index].id, 2)
            schedule(nowNs + delayNs, .faultStrikes(index, boot: node.boot))
        }
    }

    func strike(_ index: Int, boot: Int) {
        let fault = plan.faults[index]
        let node = nodes[fault.node]
        guard active[index], node.boot == boot, !node.isDown else { return }
        note("strikes: \(fault)")
        node.losePower(fault.id)
    }

    /// All drifts that are active, together.
    private func driftPpm(_ node: SimulatedNode) -> Double {
        plan.faults.indices.reduce(0) { sum, index in
            let fault = plan.faults[index]
            let counts = active[index] && fault.kind == .clockDrift && fault.node == node.index
            return sum + (counts ? fault.magnitude : 0)
        }
    }

    private func isActive(_ kind: FaultKind) -> Bool {
        plan.faults.indices.contains { active[$0] && plan.faults[$0].kind == kind }
    }

    private func isActive(_ kind: FaultKind, _ node: SimulatedNode) -> Bool {
        plan.faults.indices.contains {
            active[$0] && plan.faults[$0].kind == kind && plan.faults[$0].node == node.index
        }
    }

    /// Whether a store has a fault, whichever of the nodes that share it that was drawn for.
    private func isActive(_ kind: FaultKind, _ store: StoreModel) -> Bool {
        plan.faults.indices.contains {
            active[$0] && plan.faults[$0].kind == kind
                && nodes[plan.faults[$0].node].store === store
        }
    }

    private func stop(_ node: SimulatedNode, _ how: (SimulatedNode) -> Void) {
        node.stops += 1
        guard !node.isDown else { return }
        // A process that stands still cannot end in good order: the operator kills it.
        node.resume()
        how(node)
    }

    /// One of several that lose it at once: their disks do not lose the same.
    private func losePower(_ node: SimulatedNode, _ fault: Fault) {
        stop(node) { $0.losePower(fault.id << 16 | UInt64($0.index)) }
    }

    private func start(_ node: SimulatedNode) {
        node.stops -= 1
        if node.isDown, node.stops == 0 { node.start() }
    }

    /// Rates are worked out anew from all faults that are active, so that the end of one leaves
    /// no rest.
    private func adjust(_ fault: Fault, begins: Bool) {
        let node = nodes[fault.node]
        var link = Network.Link()
        link.clogged = network.links[fault.node].clogged
        link.freeNs = network.links[fault.node].freeNs
        node.cpuFactor = 1
        node.diskFactor = 1
        node.store.faults.slowness = 1
        for index in plan.faults.indices
        where active[index] && plan.faults[index].node == fault.node {
            let other = plan.faults[index]
            switch other.kind {
            case .requestLoss: link.requestLoss = max(link.requestLoss, other.magnitude)
            case .replyLoss: link.replyLoss = max(link.replyLoss, other.magnitude)
            case .duplication: link.duplication = max(link.duplication, other.magnitude)
            case .slowLink: link.slowness = max(link.slowness, other.magnitude)
            case .reordering: link.reordering = max(link.reordering, other.magnitude)
            case .partition:
                link.cutsRequests += 1
                link.cutsReplies += 1
            case .oneWayOut: link.cutsReplies += 1
            case .oneWayIn: link.cutsRequests += 1
            case .clog: link.clogs += 1
            case .bandwidth:
                link.bandwidth =
                    link.bandwidth == 0
                    ? other.magnitude : min(link.bandwidth, other.magnitude)
            case .slowCPU: node.cpuFactor = max(node.cpuFactor, other.magnitude)
            case .diskStall: node.diskFactor = max(node.diskFactor, other.magnitude)
            case .storeSlow:
                node.store.faults.slowness = max(node.store.faults.slowness, other.magnitude)
            case .crash, .powerLoss, .powerLossInFlight, .powerLossAtTransfer, .blackout,
                .shardPowerLoss, .pause, .drain, .resize, .clockForward, .clockBack, .clockDrift,
                .brokenConnections, .syncError, .diskFull, .bitRot, .misdirectedWrite, .diskLoss,
                .storeDown, .storeCommitLost, .storeDeadlock, .storeRestored, .configRollback,
                .retryStorm, .busCut, .busBroken, .busSlow, .arbiterDown, .arbiterAnswerLost,
                .redisDown, .redisSlow, .redisAnswerLost, .redisRepeats, .redisFlushed,
                .redisKeyDeleted, .redisFailover:
                break
            }
        }
        network.links[fault.node] = link
        if link.clogs == 0, !link.clogged.isEmpty { swizzle(fault) }
    }

    /// What ails a Redis, whichever of its nodes the faults are of.
    private func adjust(_ redis: RedisModel?) {
        guard let redis else { return }
        var faults = RedisModel.Faults()
        for index in plan.faults.indices
        where active[index] && nodes[plan.faults[index].node].redis === redis {
            switch plan.faults[index].kind {
            case .redisDown: faults.isDown = true
            case .redisAnswerLost: faults.losesAnswers = true
            case .redisRepeats: faults.repeats = true
            case .redisSlow:
                faults.slowness = max(faults.slowness, plan.faults[index].magnitude)
            default: break
            }
        }
        redis.faults = faults
    }

    /// What was clogged arrives, in another order than it was sent.
    private func swizzle(_ fault: Fault) {
        let waiting = network.links[fault.node].clogged
        network.links[fault.node].clogged = []
        for (place, happening) in waiting.enumerated() {
            let delayNs = random.below(
                20_000_000, .networkDelay, fault.id | 1 << 60, UInt64(place))
            schedule(nowNs + delayNs, happening)
        }
    }

    /// A bit flips in what the journal has noted to be durable.
    private func rot(_ node: SimulatedNode, _ fault: Fault) {
        guard node.isDown else { return }
        // Where nothing but damage explains a bad checksum: in lanes that were closed, by a later
        // start or by a stop in good order.
        let folder = "/node/journal"
        var names: [String] = []
        guard node.disk.list(folder, into: &names) == 0 else { return }
        names.sort()
        guard let newest = names.last?.prefix(10) else { return }
        let isClosed = node.stoppedCleanly
        let closed = names.filter {
            (isClosed || $0.prefix(10) < newest) && !$0.hasSuffix(".tmp")
        }
        guard !closed.isEmpty else { return }
        let place = Int(random.below(UInt64(closed.count), .diskDamage, fault.id))
        let path = folder + "/" + closed[place]
        if let offset = node.disk.rot(path, random, fault.id) {
            note("a bit flips in \(path) at \(offset)")
            histories[node.index].rotted(path)
        }
    }

    /// A fault took what nothing on a single node can make up for: nothing is asked of it any
    /// more. That it goes on without trapping is still seen.
    func compromise(_ node: SimulatedNode, _ why: String) {
        note("node \(node.index) is given up: \(why)")
        probe(.compromised)
        histories[node.index].isGone = true
        clients.giveUp(on: node.index)
    }

    /// A node does not start from what is on its disk.
    func startRefused(_ node: SimulatedNode, _ reason: String) {
        note("node \(node.index) does not start: \(reason)")
        let history = histories[node.index]
        if history.excuses(refusal: reason) {
            // It says so instead of serving what may be wrong: what is asked of it has no answer.
            probe(.startRefusedForDamage)
            history.isGone = true
            clients.giveUp(on: node.index)
            return
        }
        if node.disk.faults.spaceBytes != .max || node.disk.faults.failsSync {
            // The disk's fault goes by: the supervisor tries again.
            node.stops += 1
            schedule(nowNs + SimulatedNode.supervisorNs, .restart(node: node.index, stops: 1))
            return
        }
        fail("restart", "node \(node.index) does not start: \(reason)")
    }
}
