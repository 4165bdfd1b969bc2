import EdgeLedger
import EdgeTypes

/// granted + returned + in slices + in treasuries + in transfer + quarantined = funded, in units
/// and in fen: in what operators are told once a pool is closed, and in the history.
final class ConservationOracle: Oracle {
    let name = "conservation"

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        if [.create, .warm, .refill].contains(operation.kind), answer.text == "OK" {
            checkLeased(world, operation, sentNs)
        }
        guard operation.kind == .info, let state = answer["state"]?.text else { return }
        func value(_ key: String) -> Int64 { answer[key]?.integer ?? 0 }
        let isStock = world.pools[operation.pool].isStock
        // The only slice of a pool has all of it: what stays behind would never be granted.
        if state == "open", hasSingleSlice(world, operation),
            value(isStock ? "available" : "remaining") != value("leased")
        {
            return world.fail(
                name, "\(world.pools[operation.pool].name): units stay in the treasury: \(answer)")
        }
        guard state == "closed" else { return }
        let funded = value(isStock ? "units" : "count")
        let granted = value(isStock ? "sold" : "granted")
        let left = value(isStock ? "available" : "remaining")
        let returned = value("returned")
        let out = value("quarantined") + value("pending")
        if value("quarantined") > 0 { world.probe(.quarantined) }
        guard funded == granted + left + returned + out, left == 0 else {
            return world.fail(
                name,
                "\(world.pools[operation.pool].name): funded \(funded), granted \(granted), "
                    + "left \(left), returned \(returned), pending and quarantined \(out)")
        }
    }

    /// Whether each part of a pool is one slice's. Others keep something back for those who ask.
    private func hasSingleSlice(_ world: World, _ operation: Operation) -> Bool {
        let plan = world.pools[operation.pool]
        return plan.slicesMade == 1
    }

    /// OK says that the slices have, at some moment since, all that the pool was given: a node on
    /// its own keeps nothing back.
    private func checkLeased(_ world: World, _ operation: Operation, _ sentNs: UInt64) {
        let plan = world.pools[operation.pool]
        let history = world.histories[operation.node]
        let homes = history.home(plan.key, since: sentNs)
        guard let definition = history.live.definitions[plan.key],
            hasSingleSlice(world, operation), homes.allSatisfy({ !$0.control.closing })
        else { return }
        let credited = (0..<definition.slices).reduce(Int64(0)) { sum, slice in
            let states = history.slice(plan.key, slice, since: sentNs)
            return sum + (states.map(\.totals.credited).max() ?? 0)
        }
        let funded = homes.map(\.funded).min() ?? 0
        if !homes.contains(where: { $0.unleased == 0 }) || credited < funded {
            world.fail(
                name,
                "\(plan.name): \(operation.kind) is OK, slices were given \(credited) of "
                    + "\(funded) units")
        }
    }

    func reconciled(_ world: World, _ node: SimulatedNode) {
        guard !world.histories[node.index].isGone else { return }
        if let first = node.store.fold.report.findings.first {
            world.fail(name, "node \(node.index), store: \(first)")
        }
    }

    func ended(_ world: World) {
        for node in world.nodes where !world.histories[node.index].isGone {
            let report = world.histories[node.index].fold.checkEnd()
            if let first = report.findings.first {
                return world.fail(name, "node \(node.index): \(first)")
            }
        }
    }
}
