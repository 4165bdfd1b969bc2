import EdgeJournal
import EdgeTypes

/// A core's lane of the journal: writing, syncing, and what waited for that.
extension SimulatedNode {
    /// Writes what was submitted and begins a sync; one at a time.
    func startSync(_ core: Int) {
        let shell = cores[core]
        guard !shell.isSyncing else { return }
        disk.now = now
        do {
            try shell.writer.append(&shell.pending)
        } catch {
            return abort("\(error)")
        }
        // A segment that ended was synced on the way.
        if shell.writer.committedPosition > shell.committed {
            shell.committed = shell.writer.committedPosition
            world.committed(self, core, upTo: shell.committed)
            securedReplicas(core)
            release(core)
        }
        shell.written = shell.submitted
        shell.isSyncing = true
        world.schedule(world.nowNs + world.syncNs(self), .synced(place(core)))
    }

    func synced(_ core: Int) {
        if case .paused = state { return backlog.append(.synced(place(core))) }
        let shell = cores[core]
        shell.isSyncing = false
        if world.mutant != .fsyncSkipped {
            do {
                try shell.writer.sync()
            } catch {
                return abort("\(error)")
            }
        }
        shell.committed =
            world.mutant == .fsyncSkipped ? shell.written : shell.writer.committedPosition
        world.committed(self, core, upTo: shell.committed)
        securedReplicas(core)
        release(core)
        if shell.writer.backlogBytes > 0 {
            // No room: what waits, waits; tried again.
            world.probe(.diskExhausted)
            shell.isFlushScheduled = true
            world.schedule(world.nowNs + 200_000_000, .lazyFlush(place(core)))
        } else if shell.wanted > shell.committed {
            startSync(core)
        } else if !shell.isFlushScheduled {
            shell.isFlushScheduled = true
            world.schedule(world.nowNs + 50_000_000, .lazyFlush(place(core)))
        }
        scheduleReconciler(afterNs: 100_000_000)
    }

    /// Writes what nobody waits for, and notes on disk that all before is durable.
    func lazyFlush(_ core: Int) {
        let shell = cores[core]
        shell.isFlushScheduled = false
        guard isRunning else {
            if case .paused = state { backlog.append(.lazyFlush(place(core))) }
            return
        }
        if !shell.isDurable {
            startSync(core)
        } else if !shell.isSyncing {
            do { try shell.writer.mark() } catch { abort("\(error)") }
        }
    }

    /// Has all that was submitted made durable now.
    func demandSync(_ core: Int) {
        let shell = cores[core]
        guard !shell.isDurable else { return }
        shell.wanted = shell.submitted
        if shell.writer.backlogBytes == 0 { startSync(core) }
    }

    /// Lets go what the last sync covers.
    func release(_ core: Int) {
        let shell = cores[core]
        if replicas == nil {
            let ready = shell.held.prefix { $0.needs <= shell.committed }
            shell.held.removeFirst(ready.count)
            for held in ready { leave(core, held.item, needs: 0) }
        } else {
            let held = shell.held
            shell.held = held.filter { !shell.hasReached($0.needs, $0.stream) }
            for item in held where shell.hasReached(item.needs, item.stream) {
                leave(core, item.item, needs: 0)
            }
        }
        guard shell.isHeldBack, !shell.isOverBacklog else { return }
        shell.isHeldBack = false
        let unread = shell.unread
        shell.unread = []
        for arrival in unread { read(arrival, core) }
    }
}
