import EdgeLedger
import EdgeReconciler
import EdgeTypes

/// A store never holds what is not committed, and in the end it holds exactly the history.
final class ConvergenceOracle: Oracle {
    let name = "convergence"

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
