import EdgeCore
import EdgeLedger
import EdgeTypes

/// What leaves memory is closed for good, is in the store, and has stayed as long as was asked; once
/// it is gone nobody holds it, and nobody lets go what was not archived.
final class ArchiveOracle: Oracle {
    let name = "archive"

    func wrote(_ world: World, _ node: Int, _ header: EntryHeader, _ entry: Entry) {
        guard case .sliceArchived(let pool, let slice, let first) = entry else { return }
        world.probe(.archived)
        let history = world.histories[node]
        func fail(_ text: String) {
            let name = history.live.definitions[pool]?.name.description ?? "?"
            world.fail(self.name, "\(name), slice \(slice), is archived: \(text)")
        }
        guard let known = history.live.slice(pool, slice) else { return fail("it is in no entry") }
        if history.live.definitions[pool]?.kind == .stock {
            return wroteOrders(world, node, header, known, first: first, fail)
        }
        if let old = world.nodes.first(where: { $0.newestVersion < ProtocolVersion.archive }) {
            return fail("node \(old.index) does not know that protocol")
        }
        if known.isArchived { return fail("for the second time") }
        guard known.isSealed, known.totals.held == 0, known.totals.quarantined == 0 else {
            return fail("it is not closed for good: \(known)")
        }
        if first != known.firstEntry { return fail("from \(first), not \(known.firstEntry)") }
        let stored = world.nodes[node].store.highest[header.shard].sequence
        if stored < known.lastEntry {
            return fail("entry \(known.lastEntry) is not in the store, which is at \(stored)")
        }
        let leastMs = Int64(world.scenario.archiveAfterNs / 1_000_000)
        if header.timeMs - known.sealedMs < leastMs {
            return fail("\(header.timeMs - known.sealedMs) ms after it was closed")
        }
    }

    /// Of a SKU: nothing of it is open either, and nothing at all was said of it that the store does
    /// not have.
    private func wroteOrders(
        _ world: World, _ node: Int, _ header: EntryHeader, _ known: NodeBooks.Slice,
        first: UInt64, _ fail: (String) -> Void
    ) {
        world.probe(.archivedOrders)
        if let old = world.nodes.first(where: { $0.newestVersion < ProtocolVersion.archiveOrders })
        {
            return fail("node \(old.index) does not know that protocol")
        }
        if known.isArchived { return fail("for the second time") }
        let totals = known.totals
        guard known.isSealed, totals.held == 0, totals.quarantined == 0, totals.pending == 0 else {
            return fail("it is not closed for good: \(known)")
        }
        if first != 0 { return fail("from \(first)") }
        let stored = world.nodes[node].store.highest[header.shard].sequence
        if stored < known.touchedAt {
            return fail("entry \(known.touchedAt) is not in the store, which is at \(stored)")
        }
        let leastMs = Int64(world.scenario.archiveOrdersAfterNs / 1_000_000)
        if header.timeMs - known.touchedMs < leastMs {
            return fail("\(header.timeMs - known.touchedMs) ms after its last entry")
        }
    }

    func ended(_ world: World) {
        if world.scenario.archiveOrdersAfterNs > 0 { endedOrders(world) }
        guard world.scenario.archiveAfterNs > 0 else { return }
        for node in world.nodes where node.isRunning {
            let history = world.histories[node.index]
            if history.isGone { continue }
            for (key, slice) in history.rainSlices {
                guard let shard = history.shard(of: key.pool, slice: key.slice) else { continue }
                let core = node.cores[Int(shard) % node.coreCount]
                // One that follows may be behind.
                guard core.node.isServing(shard) else { continue }
                let told = core.node.claims(ofSlice: key.slice, key.pool)
                let held = slice.isArchived ? 0 : Int(slice.totals.granted)
                if told?.isArchived != slice.isArchived || told?.held != held {
                    world.fail(
                        name,
                        "node \(node.index), slice \(key.slice) of \(key.pool.rawValue): "
                            + "\(String(describing: told)) of \(slice)")
                }
            }
        }
    }

    /// Who serves a shard holds the orders of its open SKUs, each of them, and few others.
    private func endedOrders(_ world: World) {
        for node in world.nodes where node.isRunning {
            let history = world.histories[node.index]
            if history.isGone { continue }
            var live: [ShardID: Int] = [:]
            for (key, slice) in history.stockSlices {
                guard let shard = history.shard(of: key.pool, slice: key.slice) else { continue }
                let core = node.cores[Int(shard) % node.coreCount]
                guard core.node.isServing(shard) else { continue }
                let told = core.node.orders(ofSlice: key.slice, key.pool)
                let held = slice.isArchived ? 0 : slice.orders
                live[shard, default: 0] += held
                if told?.isArchived != slice.isArchived || told?.held != held {
                    world.fail(
                        name,
                        "node \(node.index), slice \(key.slice) of \(key.pool.rawValue): "
                            + "\(String(describing: told)) of \(slice)")
                }
            }
            for number in 0..<world.scenario.shards {
                let shard = ShardID(number)
                guard let least = live[shard] else { continue }
                let core = node.cores[number % node.coreCount]
                let (logged, _, isSparse) = core.node.bookSize(of: shard)
                if logged > 2 * least, !isSparse {
                    world.fail(
                        name,
                        "node \(node.index), shard \(shard): \(logged) orders in memory, "
                            + "\(least) of them are wanted")
                }
            }
        }
    }
}
