import EdgeCluster
import EdgeLedger
import EdgeMemory
import EdgeTypes

/// Nobody is told `soldout` in front of units that were never granted, wherever they lie: since
/// the pool was last given any, there was a moment at which too few were left. And while users
/// want more, everything is granted in the end: see `demand`.
///
/// Told from committed entries, but for what is granted from memory.
final class StrandedOracle: Oracle {
    let name = "stranded"

    private struct Pool {
        var slices: Range<UInt32>
        /// Units that were given to it.
        var funded: Int64
        /// Since it was given some, each time: the fewest that were left until the next time.
        var spans: [(sinceNs: UInt64, least: Int64)]
        /// The same since somebody last looked.
        var leastSeen: Int64
    }

    private var pools: [PoolKey: Pool] = [:]
    private var quarantined: Set<NodeBooks.SliceKey> = []

    // MARK: What is left

    func committed(_ world: World, _ node: Int, _ entry: Entry) {
        let history = world.histories[node]
        switch entry {
        case .poolCreated(let definition, _):
            let key = PoolKey.of(definition.kind.family, definition.name)
            pools[key] = Pool(
                slices: 0..<definition.slices, funded: definition.units,
                spans: [(sinceNs: 0, least: definition.units)], leastSeen: definition.units)
        case .poolFunded(let key, let units, _, _):
            pools[key]?.funded += units
            pools[key]?.spans.append((sinceNs: world.nowNs, least: .max))
            look(key, history)
        case .sliceQuarantined(let key, let slice):
            quarantined.insert(NodeBooks.SliceKey(pool: key, slice: slice))
            look(key, history)
        case .sliceResolved(let key, let slice, let resolution, _):
            if resolution == .release { release(key, slice, at: world.nowNs) }
            look(key, history)
        case .claim(let claim): look(claim.pool, history)
        case .orderReserved(let order): look(order.pool, history)
        case .orderPaid(let paid):
            if let order = history.fold.order(paid.order) { look(order.pool, history) }
        case .sliceCredited(let transfer), .sliceReturned(let transfer):
            look(transfer.pool, history)
        case .orderCancelled, .orderExpired, .orderRefunded, .paymentRefused, .poolControlled,
            .poolLeased, .poolTookBack, .poolClosed, .poolSoldOut, .sliceOpened,
            .sliceControlled, .sliceArchived, .poolResolved, .poolMoved:
            break
        }
    }

    /// A slice is back in play: the pool was given what it has.
    private func release(_ key: PoolKey, _ slice: UInt32, at ns: UInt64) {
        quarantined.remove(NodeBooks.SliceKey(pool: key, slice: slice))
        pools[key]?.spans.append((sinceNs: ns, least: .max))
    }

    private func look(_ key: PoolKey, _ history: NodeHistory) {
        guard var pool = pools[key] else { return }
        let left = left(key, pool, history)
        let last = pool.spans.count - 1
        pool.spans[last].least = min(pool.spans[last].least, left)
        pool.leastSeen = min(pool.leastSeen, left)
        pools[key] = pool
    }

    /// Units that somebody could yet have: in slices, in the treasury and between them.
    private func left(_ key: PoolKey, _ pool: Pool, _ history: NodeHistory) -> Int64 {
        pool.slices.reduce(pool.funded) { left, slice in
            guard let books = history.fold.slice(key, slice)?.books else { return left }
            let isOut =
                books.sealed
                || quarantined.contains(NodeBooks.SliceKey(pool: key, slice: slice))
            return left
                - (isOut
                    ? books.credited - books.returned
                    : books.granted + books.pending + books.sold + books.retired)
        }
    }

    // MARK: Refusals

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        guard operation.kind == .grab || operation.kind == .reserve,
            answer.items.first?.text == "soldout"
        else { return }
        let plan = world.pools[operation.pool]
        // What a crash took along of a `memory` pool was granted, and nobody knows to whom.
        if plan.durability == .memory, world.hasCrashed(plan) { return }
        let history = world.histories[operation.node]
        guard let pool = pools[plan.key] else { return }
        let quantity = plan.isStock ? operation.quantity : 1
        if plan.durability == .memory, isGranted(plan, pool, history) { return }
        // What is put in counts once its slice has it: before, no operator is told OK.
        if pool.slices.count == 1, pool.spans.count > 1 { return }
        // Who has not heard that more were put in says what was so shortly before.
        let sinceNs = sentNs - min(sentNs, Self.staleNs)
        let first = pool.spans.lastIndex { $0.sinceNs <= sinceNs } ?? 0
        let least = pool.spans[first...].reduce(Int64.max) { min($0, $1.least) }
        if least >= quantity {
            world.fail(
                name,
                "\(plan.name): \(operation.words.joined(separator: " ")): soldout, and never "
                    + "fewer than \(least) units were left")
        }
    }

    /// Whether a rain is granted, or out of play, as far as memory knows: what is granted
    /// from memory is told before it is committed.
    private func isGranted(_ plan: PoolPlan, _ pool: Pool, _ history: NodeHistory) -> Bool {
        let out = pool.slices.reduce(Int64(0)) { sum, slice in
            let totals = history.live.slice(plan.key, slice)?.totals ?? SliceTotals()
            return sum + totals.granted + totals.quarantined
        }
        return out == pool.funded
    }

    /// For so long a certificate is believed, and may be on its way.
    static let staleNs: UInt64 = 2_500_000_000

    // MARK: Demand

    /// What is left of a pool, and has been since the last look; nil: nothing that anybody could
    /// have.
    func left(_ plan: PoolPlan, _ world: World) -> (slices: Range<UInt32>, left: Int64)? {
        guard let pool = pools[plan.key] else { return nil }
        let isLost = pool.slices.allSatisfy {
            quarantined.contains(NodeBooks.SliceKey(pool: plan.key, slice: $0))
        }
        let left = left(plan.key, pool, world.histories[plan.node])
        return isLost || left <= 0 || pool.leastSeen <= 0 ? nil : (pool.slices, left)
    }

    /// Forgets what was left until now.
    func beginLook(_ plan: PoolPlan, _ world: World) {
        guard let pool = pools[plan.key] else { return }
        pools[plan.key]?.leastSeen = left(plan.key, pool, world.histories[plan.node])
    }

    func isOut(_ plan: PoolPlan, _ slice: UInt32) -> Bool {
        quarantined.contains(NodeBooks.SliceKey(pool: plan.key, slice: slice))
    }
}
