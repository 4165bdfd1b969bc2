import EdgeTypes

/// Nothing is granted outside of a pool's terms: before it opens, after it was closed, or while it
/// is paused, as far as an operator was told so.
final class TermsOracle: Oracle {
    let name = "terms"

    private struct Pool {
        /// When the operator heard that it is closing; and when somebody first asked for that.
        var closedNs = UInt64.max
        /// Heard to be paused, and not yet asked to resume.
        var pausedNs = UInt64.max
        var resumeAskedNs = UInt64.max
        var isCloseAsked = false
    }

    private var pools: [Pool] = []

    private func prepare(_ world: World) {
        if pools.isEmpty { pools = Array(repeating: Pool(), count: world.pools.count) }
    }

    func asked(_ world: World, _ operation: Operation) {
        prepare(world)
        if operation.kind == .close { pools[operation.pool].isCloseAsked = true }
        if operation.kind == .resume {
            pools[operation.pool].resumeAskedNs = world.nowNs
            pools[operation.pool].pausedNs = .max
        }
    }

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        prepare(world)
        let index = operation.pool
        switch operation.kind {
        case .close where answer.text == "OK":
            pools[index].closedNs = min(pools[index].closedNs, world.nowNs)
        case .pause where answer.text == "OK":
            // Once the pool may be resumed again, nothing is known.
            if pools[index].resumeAskedNs == .max {
                pools[index].pausedNs = min(pools[index].pausedNs, world.nowNs)
            }
        case .grab, .reserve:
            let outcome = answer.items.first?.text
            if outcome == "closed", !pools[index].isCloseAsked { world.probe(.closedByItself) }
            guard outcome == "granted" || outcome == "reserved" else { return }
            granted(world, operation, answer, sentNs)
        default: break
        }
    }

    private func granted(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, _ sentNs: UInt64
    ) {
        let plan = world.pools[operation.pool]
        let pool = pools[operation.pool]
        func fail(_ text: String) {
            world.fail(
                name, "\(plan.name), user \(operation.user), operation \(operation.id): \(text)")
        }
        // The first attempt may have been decided before: only one that nothing went before tells.
        let isFirst = operation.attempts == 1
        if isFirst, operation.startedNs > pool.closedNs { fail("granted after it was closed") }
        if isFirst, operation.startedNs > pool.pausedNs { fail("granted while it was paused") }
        guard operation.kind == .grab, let timeMs = answer.items.last?.integer else { return }
        let baseMs = World.startMs + Int64(world.scenario.opensNs / 1_000_000)
        if let after = plan.opensAfterNs, timeMs < baseMs + Int64(after / 1_000_000) {
            fail("granted at \(timeMs), before it opens")
        }
        if let after = plan.closesAfterNs, timeMs >= baseMs + Int64(after / 1_000_000) {
            fail("granted at \(timeMs), after it closes")
        }
    }
}
