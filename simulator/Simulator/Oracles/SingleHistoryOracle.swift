import EdgeTypes

/// A shard has one history: its sequences have no gaps, what was committed never changes, and
/// every entry follows from those before. Its time is the later of the entry before and the wall
/// clock.
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

    func wrote(_ world: World, _ node: Int, _ header: EntryHeader, _ entry: Entry) {
        let before = world.histories[node].live.timesMs[Int(header.shard)]
        let wallMs = world.nodes[node].now.wallMs
        if header.timeMs != max(before, wallMs) {
            world.fail(
                name,
                "node \(node), shard \(header.shard), sequence \(header.sequence): at "
                    + "\(header.timeMs), after \(before) and by the clock \(wallMs)")
        }
    }

    func restarted(_ world: World, _ node: SimulatedNode) { check(world, node.index) }

    func ended(_ world: World) {
        for node in world.nodes { check(world, node.index) }
    }
}
