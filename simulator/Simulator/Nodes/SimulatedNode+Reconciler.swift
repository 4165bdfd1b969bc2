import EdgeJournal
import EdgeReconciler
import EdgeTypes

/// What goes from the journal to the store.
extension SimulatedNode {
    func openReconciler(_ directory: JournalDirectory, _ number: UInt32) {
        let writers = cores.map(\.writer)
        let ships = world.mutant == .uncommittedShipped
        var configuration = ReconcilerConfiguration()
        configuration.batchEntries = 256
        reconciler = ReconcilerCycle(
            configuration: configuration,
            openSources: { [unowned self] in
                try directory.lanes().map { lane in
                    let isReplicated = world.scenario.replicas > 1
                    let verdict: ((EntryHeader) -> ShippingVerdict)? =
                        isReplicated ? { [unowned self] in shipping($0) } : nil
                    guard lane.boot == number, Int(lane.core) < writers.count else {
                        return JournalSource(directory: directory, lane: lane, verdict: verdict)
                    }
                    let writer = writers[Int(lane.core)]
                    return JournalSource(
                        directory: directory, lane: lane,
                        committed: {
                            ships ? writer.submittedPosition : writer.committedPosition
                        }, verdict: verdict)
                }
            }, openStore: { [store] in store },
            publish: { [unowned self] change in change(&status) },
            follow: { [unowned self] changes in followerTakes(changes) },
            trustsStore: world.mutant == .storeTrusted)
    }

    func scheduleReconciler(afterNs delayNs: UInt64) {
        guard !isReconcileScheduled, reconciler != nil else { return }
        isReconcileScheduled = true
        world.schedule(world.nowNs + delayNs, .reconcile(node: index, boot: boot))
    }

    func reconcile() {
        isReconcileScheduled = false
        guard let turn = reconcilerTurn() else { return }
        let latency = world.storeLatencyNs(self)
        switch turn {
        case .more: scheduleReconciler(afterNs: latency)
        case .idle: scheduleReconciler(afterNs: max(latency, 250_000_000))
        case .failed(let waitMs):
            world.probe(.storeFailed)
            scheduleReconciler(afterNs: latency + UInt64(waitMs) * 1_000_000)
        }
    }

    /// - Returns: nil where there is nothing that could take one.
    func reconcilerTurn() -> ReconcilerCycle.Turn? {
        guard isRunning else { return nil }
        let before = status.appliedEntries
        guard let turn = reconciler?.step(nowMs: now.wallMs) else { return nil }
        world.progressed(status.appliedEntries - before)
        tellStored()
        for oracle in world.oracles { oracle.reconciled(world, self) }
        return turn
    }
}
