import EdgeCore
import EdgeJournal
import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeTypes

/// What a node does in the background now and then: snapshots, one shard after the other, and
/// then tidying. Its loops go on between any two steps of it.
struct Maintenance {
    enum Stage {
        case idle
        /// Looks for the next shard to save.
        case choosing
        case copying(ShardCopy)
        /// The journal must hold what the copy holds.
        case waiting(ShardCopy)
        case saving(ShardCopy)
        case tidying
    }

    var stage = Stage.idle
    /// The core whose shards are saved, and those of them that are still to be.
    var core = -1
    var shards: [ShardID] = []
    /// An event of it is on its way.
    var isScheduled = false

    /// The copy that is under way.
    var copy: ShardCopy? {
        switch stage {
        case .copying(let copy), .waiting(let copy), .saving(let copy): copy
        case .idle, .choosing, .tidying: nil
        }
    }

    var isIdle: Bool {
        if case .idle = stage { return true }
        return false
    }
}

/// A shard's snapshot on its way to a file.
final class ShardCopy {
    var snapshot: ShardSnapshot
    let shard: ShardID
    /// The lane's position that the journal must hold before the copy counts.
    let position: UInt64
    /// Of the shard's log: one that was dropped meanwhile is not saved.
    let incarnation: UInt32

    init(
        _ snapshot: consuming ShardSnapshot, shard: ShardID, position: UInt64, incarnation: UInt32
    ) {
        self.snapshot = snapshot
        self.shard = shard
        self.position = position
        self.incarnation = incarnation
    }
}

extension SimulatedNode {
    /// Small pieces for small shards: what is granted in between must not be in the copy.
    static let pieceBytes = 192

    func scheduleMaintenance(afterNs delayNs: UInt64) {
        guard !maintenance.isScheduled else { return }
        maintenance.isScheduled = true
        world.schedule(world.nowNs + delayNs, .maintain(node: index, boot: boot))
    }

    /// One step of maintenance.
    func maintain() {
        if case .paused = state { return backlog.append(.maintain(node: index, boot: boot)) }
        maintenance.isScheduled = false
        guard isRunning, let directory else { return }
        disk.now = now
        if cores.contains(where: { $0.node.counters.compactions > 0 }) { world.probe(.compacted) }
        if cores.contains(where: { $0.node.counters.recalledStale > 0 }) {
            world.probe(.recalledTooLate)
        }
        do {
            try maintain(directory)
        } catch {
            // A full disk has no room for snapshots; the journal goes on.
            world.probe(.maintenanceFailed)
            maintenance.stage = .idle
        }
        let delayNs: UInt64 =
            switch maintenance.stage {
            case .idle: world.scenario.maintenanceNs
            case .choosing: 10_000
            case .copying, .waiting: 1_000_000
            case .saving, .tidying: 3 * world.syncNs(self)
            }
        scheduleMaintenance(afterNs: delayNs)
    }

    private func maintain(_ directory: JournalDirectory) throws {
        if let copy = maintenance.copy,
            cores[maintenance.core].node.incarnation(of: copy.shard) != copy.incarnation
                || copy.snapshot.isBroken
        {
            maintenance.stage = .choosing
        }
        switch maintenance.stage {
        case .idle:
            maintenance.core = -1
            maintenance.shards = []
            maintenance.stage = .choosing
        case .choosing: choose()
        case .copying(let copy):
            let node = cores[maintenance.core]
            if node.node.continueSnapshot(&copy.snapshot, bytes: Self.pieceBytes) {
                if copy.snapshot.isBroken { world.probe(.snapshotBroken) }
                maintenance.stage = .waiting(copy)
                if world.mutant != .snapshotAhead { demandSync(maintenance.core) }
            }
        case .waiting(let copy):
            let shell = cores[maintenance.core]
            let isAhead = world.mutant == .snapshotAhead
            guard isAhead || shell.committed >= copy.position else { break }
            maintenance.stage = .saving(copy)
        case .saving(let copy):
            try save(copy, directory)
            maintenance.stage = .choosing
        case .tidying:
            maintenance.stage = .idle
            try tidy(directory)
        }
    }

    private func choose() {
        while maintenance.shards.isEmpty {
            maintenance.core += 1
            guard maintenance.core < cores.count else { return maintenance.stage = .tidying }
            let node = cores[maintenance.core]
            maintenance.shards = node.node.shardIDs.filter { shard in
                node.node.sequence(of: shard) > snapshotted[shard]
            }
            maintenance.shards.reverse()
        }
        let shard = maintenance.shards.removeLast()
        let shell = cores[maintenance.core]
        maintenance.stage = .copying(
            ShardCopy(
                shell.node.beginSnapshot(of: shard), shard: shard, position: shell.submitted,
                incarnation: shell.node.incarnation(of: shard)))
    }

    private func save(_ copy: ShardCopy, _ directory: JournalDirectory) throws {
        let shell = cores[maintenance.core]
        let standing = copy.snapshot.header
        let header = SnapshotHeader(
            shard: copy.shard, epoch: standing.epoch, sequence: standing.sequence,
            lane: shell.writer.lane, position: copy.position)
        let isAhead = world.mutant == .snapshotAhead
        try directory.snapshots.save(
            header, committed: isAhead ? copy.position : shell.committed,
            content: copy.snapshot.content.bytes)
        snapshotted[copy.shard] = standing.sequence
        if shell.committed < copy.position { world.isInFlight(self) }
        world.probe(.snapshotted)
        if shell.node.sequence(of: copy.shard) > standing.sequence {
            world.probe(.snapshottedWhileServing)
        }
    }

    /// Compresses and removes segments, as far as snapshots and the store are past them.
    private func tidy(_ directory: JournalDirectory) throws {
        try directory.snapshots.removeOld()
        let beforeMs = now.wallMs - 2_000
        try directory.compressSegments(sealedBeforeMs: beforeMs)
        var stored = ShardSequences()
        for shard in status.watermarks.shards {
            // What a backup lacks is younger than its operator's retention time.
            stored[shard] = min(
                status.watermarks[shard].sequence, store.marks[shard].sequence,
                store.oldestBackup(of: shard) ?? .max)
        }
        let covered = try directory.snapshots.coveredSequences().lowered(to: stored)
        try directory.removeSegments(coveredBy: covered, sealedBeforeMs: beforeMs)
    }
}
