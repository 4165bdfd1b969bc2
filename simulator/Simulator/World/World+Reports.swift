import EdgeTypes
import EdgeWire

/// What nodes tell the world, and ask of it.
extension World {
    func submitted(_ node: SimulatedNode, _ core: Int, _ bytes: UnsafeRawBufferPointer) {
        guard bytes.count > 0 else { return }
        histories[node.index].submit(core, bytes, end: node.cores[core].submitted)
    }

    func committed(_ node: SimulatedNode, _ core: Int, upTo position: UInt64) {
        histories[node.index].commit(core, upTo: position)
    }

    /// What a back end's command asks to create: the seed comes with it.
    func definition(of draft: PoolDraft) -> PoolDefinition {
        guard
            let seed = draft.seed ?? pools.first(where: { $0.name == draft.name.description })?.seed
        else { preconditionFailure("a pool that nobody planned") }
        return PoolDefinition(
            name: draft.name, kind: draft.kind, units: draft.units, amountFen: draft.amountFen,
            minFen: draft.minFen, maxFen: draft.maxFen, holdMs: draft.holdMs,
            slices: draft.slices, regions: draft.regions, seed: seed, seedWasGiven: true,
            commitment: .zero, durability: draft.durability ?? .journal, initial: draft.terms)
    }

    func bytes(of operation: Int) -> [UInt8] { clients.bytes(of: operation) }
}
