import EdgeJournal
import EdgeLedger
import EdgeReconciler
import EdgeStores
import EdgeTypes
import Foundation
import Logging

/// What a running node does now and then: snapshots once much was journaled since the last ones,
/// compression of old segments, removal of those that nobody needs.
///
/// A segment goes when two snapshots and the store are past it and it is older than the retention
/// time, so that a store that went back can be fed again.
struct NodeMaintenance: Sendable {
    let runner: NodeRunner
    let log: Logger

    static let everySeconds: Int64 = 2
    /// Entries journaled since the last snapshots that make new ones worth their while; more
    /// where there were more before, so that saving costs a claim the same however many there are.
    static let snapshotEveryEntries: UInt64 = 2_000_000
    /// Entries replayed at the start that make new ones worth their while at once.
    static let snapshotAfterEntries: UInt64 = 1_000_000
    /// Claims and orders that have left memory since the last snapshots that make new ones worth their while:
    /// the disk is to let them go, too.
    static let snapshotAfterArchived: UInt64 = 500_000
    /// Segments younger than this are left alone: readers are still at them.
    static let compressAfterMs: Int64 = 60_000

    /// Until the task is cancelled.
    func run() async {
        var entriesSaved: UInt64 = 0
        var archivedSaved: UInt64 = 0
        // A long journal was replayed: let the next start be shorter.
        var isDue = runner.replayedEntries > Self.snapshotAfterEntries
        while !Task.isCancelled {
            do {
                runner.tellStored()
                let entries = try await runner.entries()
                let archived = try await runner.archivedRecords()
                if isDue
                    || entries - entriesSaved >= max(Self.snapshotEveryEntries, entriesSaved / 2)
                    || archived - archivedSaved >= Self.snapshotAfterArchived
                {
                    try await runner.saveSnapshots()
                    isDue = false
                    entriesSaved = entries
                    archivedSaved = archived
                }
                try await tidy()
                try await Task.sleep(for: .seconds(Self.everySeconds))
            } catch is CancellationError {
                return
            } catch {
                log.warning(
                    "maintenance failed; it is tried again", metadata: ["error": "\(error)"])
                try? await Task.sleep(for: .seconds(Self.everySeconds))
            }
        }
    }

    /// How far the store has each shard; nil: there is none. Where shards have replicas others
    /// carry entries there, too: only the store itself knows.
    private static func watermarks(_ runner: NodeRunner) throws -> WatermarkTable? {
        guard runner.options.cluster?.replicas != nil else {
            return runner.reconciler?.status.watermarks
        }
        guard let store = try NodeRunner.storeURL(runner.options) else { return nil }
        if case .sqlite(let path) = store, !FileManager.default.fileExists(atPath: path) {
            return WatermarkTable()
        }
        return try StoreAudit.watermarks(store: store)
    }

    /// Compresses and removes segments.
    private func tidy() async throws {
        let runner = runner
        try await BackgroundThread.run { try Self.tidy(runner) }
    }

    private static func tidy(_ runner: NodeRunner) throws {
        let directory = runner.directory
        let nowMs = SystemClock.now().wallMs
        try directory.compressSegments(sealedBeforeMs: nowMs - compressAfterMs, limit: 4)
        var covered = try directory.snapshots.coveredSequences(keeping: 2)
        if let marks = try watermarks(runner) {
            var stored = ShardSequences()
            for shard in marks.shards { stored[shard] = marks[shard].sequence }
            covered = covered.lowered(to: stored)
        }
        try directory.removeSegments(
            coveredBy: covered, sealedBeforeMs: nowMs - runner.options.retentionMs)
    }
}
