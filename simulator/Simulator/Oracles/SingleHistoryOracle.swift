import EdgeTypes

/// A shard has one history: its sequences have no gaps, what was committed never changes, and
/// every entry follows from those before.
final class SingleHistoryOracle: Oracle {
    let name = "single history"

    private func check(_ world: World, _ node: Int) {
        guard !world.histories[node].isGone else { return }
        if let contradiction = world.histories[node].contradiction {
            world.fail(name, "node \(node): \(contradiction)")
        }
    }

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) { check(world, operation.node) }

    func restarted(_ world: World, _ node: SimulatedNode) { check(world, node.index) }

    func ended(_ world: World) {
        for node in world.nodes { check(world, node.index) }
    }
}
