import EdgeLedger
import EdgeReconciler
import EdgeTypes

/// A store never holds what is not committed, and in the end it holds exactly the history.
final class ConvergenceOracle: Oracle {
    let name = "convergence"
    /// Since when a reconciler that works has believed its store to be further than it is, by node;
    /// and when that was looked at last.
    private var mistaken: [Int: (sinceNs: UInt64, lastNs: UInt64)] = [:]
    /// A few times what a reconciler takes to look.
    private static let longestMistakeNs: UInt64 = 15_000_000_000

    func reconciled(_ world: World, _ node: SimulatedNode) {
        guard !world.histories[node.index].isGone else { return }
        if let fault = node.store.fault {
            return world.fail(name, "node \(node.index): the store met \(fault)")
        }
        if let error = node.status.lastError, error.contains("damaged"),
            !world.histories[node.index].excuses(lag: node.status), node.status.state == .failing
        {
            return world.fail(
                name, "node \(node.index) ships no more, and nothing is wrong: \(error)")
        }
        if node.store.lostAnswers > 0 { world.probe(.storeLostAnswer) }
        if let sinceNs = isMistaken(world, node), world.nowNs - sinceNs > Self.longestMistakeNs {
            return world.fail(
                name, "node \(node.index) has not noticed that its store was restored")
        }
        let history = world.histories[node.index]
        for shard in node.store.marks.shards
        where node.store.marks[shard].sequence > history.sequence(shard) {
            return world.fail(
                name,
                "node \(node.index), shard \(shard): the store is at "
                    + "\(node.store.marks[shard].sequence), committed are "
                    + "\(history.sequence(shard))")
        }
    }

    private func isMistaken(_ world: World, _ node: SimulatedNode) -> UInt64? {
        let believed = node.status.watermarks
        let isBehind = believed.shards.contains { shard in
            node.store.marks[shard].sequence < believed[shard].sequence
        }
        guard node.status.state == .running, isBehind else {
            mistaken[node.index] = nil
            return nil
        }
        var known = mistaken[node.index] ?? (world.nowNs, world.nowNs)
        // A node that stood still has had no time to look.
        if world.nowNs - known.lastNs > 1_000_000_000 { known.sinceNs = world.nowNs }
        known.lastNs = world.nowNs
        mistaken[node.index] = known
        return known.sinceNs
    }

    func ended(_ world: World) {
        for node in world.nodes
        where !world.histories[node.index].isGone && !world.histories[node.index].isShippingStopped
        {
            let history = world.histories[node.index].fold
            let report = history.differences(to: node.store.fold)
            if let first = report.findings.first {
                return world.fail(name, "node \(node.index): \(first)")
            }
        }
    }
}
