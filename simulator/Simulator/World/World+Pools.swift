import EdgeTypes
import EdgeWire

/// What a server adds to a creation, and what became of it.
extension World {
    /// What a back end's command asks to create. Where it names no seed, every attempt gets
    /// another, as every request to a server does: the one that was made first stays.
    ///
    /// - Parameters operation, attempt: whose command it is.
    func definition(of draft: PoolDraft, _ operation: Int, _ attempt: Int) -> PoolDefinition {
        let seed = draft.seed ?? drawSeed(operation, attempt)
        return PoolDefinition(
            name: draft.name, kind: draft.kind, units: draft.units, amountFen: draft.amountFen,
            minFen: draft.minFen, maxFen: draft.maxFen, holdMs: draft.holdMs,
            slices: draft.slices, regions: draft.regions, seed: seed,
            seedWasGiven: draft.seed != nil, commitment: PoolPlan.commitment(to: seed),
            durability: draft.durability ?? .journal, initial: draft.terms)
    }

    private func drawSeed(_ operation: Int, _ attempt: Int) -> Bits256 {
        let key = clients.operations[operation].key
        func word(_ number: UInt64) -> UInt64 {
            random.word(.seeds, key, UInt64(attempt) << 2 | number)
        }
        return Bits256(word(0), word(1), word(2), word(3))
    }

    /// Whether what was acknowledged of a pool may be gone: its durability does not promise more.
    func mayHaveLost(_ plan: PoolPlan) -> Bool {
        switch plan.durability {
        case .memory: hasCrashed(plan)
        case .replicated: histories[0].rewinds > 0
        case .journal: false
        }
    }

    /// Whether a node that has some of the pool was ever killed.
    func hasCrashed(_ plan: PoolPlan) -> Bool {
        if scenario.replicas > 1, histories[0].takeovers > 0 { return true }
        return scenario.isCluster ? nodes.contains { $0.crashes > 0 } : nodes[plan.node].crashes > 0
    }

    /// A pool's seed: what its creator named, or what its journal says that the node drew. nil:
    /// no creation of it was committed yet.
    func seed(of plan: PoolPlan) -> Bits256? {
        plan.seed ?? histories[plan.node].seeds[plan.key]
    }
}
