import EdgeJournal
import EdgeTypes

/// How far a clean stop has come.
enum CleanStop {
    case none
    /// No new connections; those that are open get their answers, for so long.
    case answering(untilNs: UInt64)
    /// A last round of snapshots.
    case saving
    /// No loop steps any more; the journal takes what is left.
    case flushing
}

/// SIGTERM: a stop in good order, in the server's order.
extension SimulatedNode {
    static let graceNs: UInt64 = 1_000_000_000

    /// Loops do nothing any more but wait for the journal.
    var isHalted: Bool {
        if case .flushing = stop { return true }
        return false
    }

    var acceptsConnections: Bool {
        if case .none = stop { return true }
        return false
    }

    func stopCleanly() {
        guard isRunning, case .none = stop else { return }
        stop = .answering(untilNs: world.nowNs + Self.graceNs)
        scheduleStop()
    }

    private func scheduleStop() {
        world.schedule(world.nowNs + 5_000_000, .stopping(node: index, boot: boot))
    }

    /// One look whether the stop can go on.
    func continueStop() {
        if case .paused = state { return backlog.append(.stopping(node: index, boot: boot)) }
        guard isRunning else { return }
        switch stop {
        case .none: return
        case .answering(let untilNs):
            if connections.allSatisfy({ $0 == nil }) || world.nowNs >= untilNs {
                breakConnections()
                stop = .saving
                // Begun anew, whatever the last round had come to.
                maintenance.stage = .choosing
                maintenance.core = -1
                maintenance.shards = []
                maintenance.isScheduled = false
                scheduleMaintenance(afterNs: 0)
            }
        case .saving:
            if maintenance.isIdle {
                stop = .flushing
                for core in cores.indices { demandSync(core) }
            }
        case .flushing:
            // An exhausted disk takes nothing more.
            let isDone = cores.allSatisfy { shell in
                !shell.isSyncing && (shell.isDurable || shell.writer.space == .exhausted)
            }
            if isDone { return end() }
        }
        scheduleStop()
    }

    /// Notes the clean stop; the process ends.
    private func end() {
        do {
            stoppedCleanly = true
            // On an exhausted disk the lane ends as if the process had been killed.
            for core in cores where try !core.writer.close() { stoppedCleanly = false }
        } catch {
            stoppedCleanly = false
            return abort("\(error)")
        }
        if stoppedCleanly { world.probe(.cleanStop) }
        loseProcess()
        disk.processCrash()
        state = .down(nil)
        world.breakLinks(of: index, afterNs: 100_000)
        // What asked for it has ended meanwhile.
        world.schedule(
            world.nowNs + Self.supervisorNs, .restart(node: index, stops: 0))
    }
}
