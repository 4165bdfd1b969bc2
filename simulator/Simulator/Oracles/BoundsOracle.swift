import EdgeTypes

/// Every queue has a limit, and stays below it.
final class BoundsOracle: Oracle {
    let name = "bounds"

    static let mostHeld = 20_000
    static let mostMail = 20_000

    func reconciled(_ world: World, _ node: SimulatedNode) {
        for core in node.cores {
            if core.held.count > Self.mostHeld || core.mailbox.count > Self.mostMail {
                world.fail(
                    name,
                    "node \(node.index): \(core.held.count) answers wait for the journal, "
                        + "\(core.mailbox.count) pieces of mail")
            }
        }
    }
}
