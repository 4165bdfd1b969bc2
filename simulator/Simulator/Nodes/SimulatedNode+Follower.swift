import EdgeReconciler
import EdgeTypes

/// What a node's follower of the store has in this life of its process.
struct SimulatedFollower {
    var cycle: RedisCycle?
    /// What the store has told and the cycle has not taken.
    var waiting = GatheredChanges()
    var status = RedisStatus()
    var isScheduled = false
    /// It has its turn: others may have theirs in between, but not itself.
    var isBusy = false
}

/// What goes from the store to Redis.
extension SimulatedNode {
    func openFollower() {
        guard let redis else { return }
        follower.cycle = RedisCycle(
            settings: redis.settings,
            openRedis: { [unowned self] in try redis.connect(self) },
            openSource: { [store] in RowsModelSource(store) },
            publish: { [unowned self] change in change(&follower.status) },
            mutant: world.mutant)
    }

    func followerTakes(_ changes: StoreChanges) {
        guard let redis else { return }
        follower.waiting.add(
            changes, nowMs: now.wallMs, limit: redis.settings.waitingRows)
        scheduleFollower(afterNs: 50_000_000)
    }

    func scheduleFollower(afterNs delayNs: UInt64) {
        guard !follower.isScheduled, redis != nil else { return }
        follower.isScheduled = true
        world.schedule(world.nowNs + delayNs, .follow(node: index, boot: boot))
    }

    func follow() {
        follower.isScheduled = false
        guard let redis, let turn = followerTurn() else { return }
        let slowness = UInt64(redis.faults.slowness)
        let latencyNs = (200_000 + redis.draw(below: 2_000_000)) * slowness
        switch turn {
        case .more: scheduleFollower(afterNs: latencyNs)
        case .idle: scheduleFollower(afterNs: max(latencyNs, 250_000_000))
        case .failed(let waitMs):
            world.probe(.followerFailed)
            scheduleFollower(afterNs: latencyNs + UInt64(waitMs) * 1_000_000)
        }
    }

    /// - Returns: nil where there is nothing that could take one.
    @discardableResult
    func followerTurn() -> RedisCycle.Turn? {
        guard isRunning, !follower.isBusy, var cycle = follower.cycle.take() else { return nil }
        follower.isBusy = true
        let before = follower.status
        let turn = cycle.step(nowMs: now.wallMs) {
            defer { follower.waiting = GatheredChanges() }
            return follower.waiting
        }
        follower.cycle = cycle
        follower.isBusy = false
        tell(since: before)
        return turn
    }

    private func tell(since before: RedisStatus) {
        let status = follower.status
        world.progressed(
            status.mirroredRows - before.mirroredRows + status.publishedEvents
                - before.publishedEvents)
        if status.rebuiltShards > before.rebuiltShards { world.probe(.shardRebuilt) }
        if status.trimmedEvents > before.trimmedEvents { world.probe(.eventTrimmed) }
        if status.deletedEvents > before.deletedEvents { world.probe(.outboxCleaned) }
        if status.streamIsFull { world.probe(.eventStreamFull) }
        if status.failures > before.failures, let error = status.lastError {
            world.note("follower of \(index): \(error)")
        }
    }
}
