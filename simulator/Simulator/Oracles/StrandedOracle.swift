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

    /// A region's share of a pool.
    struct Part {
        var slices: Range<UInt32>
        /// Units that were given to it.
        var funded: Int64
        /// Since it was given some, each time: the fewest that were left until the next time.
        var spans: [(sinceNs: UInt64, least: Int64)]
        /// The same since somebody last looked.
        var leastSeen: Int64
    }

    private struct Pool {
        var map: SliceMap
        var parts: [Part]
    }

    private var pools: [PoolKey: Pool] = [:]
    private var quarantined: Set<NodeBooks.SliceKey> = []

    // MARK: What is left

    func committed(_ world: World, _ node: Int, _ entry: Entry) {
        let history = world.histories[node]
        switch entry {
        case .poolCreated(let definition, _):
            let key = PoolKey.of(definition.kind.family, definition.name)
            let map = SliceMap(definition, pool: key)
            let shares = map.shares(of: definition.units)
            pools[key] = Pool(
                map: map,
                parts: zip(map.parts, shares).map { slices, share in
                    Part(
                        slices: slices, funded: share.count,
                        spans: [(sinceNs: 0, least: share.count)], leastSeen: share.count)
                })
        case .poolFunded(let key, let units, _, _):
            guard let pool = pools[key] else { return }
            for (part, share) in pool.map.shares(of: units).enumerated() where share.count > 0 {
                pools[key]?.parts[part].funded += share.count
                pools[key]?.parts[part].spans.append((sinceNs: world.nowNs, least: .max))
            }
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
            .sliceControlled, .poolResolved:
            break
        }
    }

    /// A slice is back in play: its part was given what it has.
    private func release(_ key: PoolKey, _ slice: UInt32, at ns: UInt64) {
        quarantined.remove(NodeBooks.SliceKey(pool: key, slice: slice))
        guard let part = pools[key]?.parts.firstIndex(where: { $0.slices.contains(slice) }) else {
            return
        }
        pools[key]?.parts[part].spans.append((sinceNs: ns, least: .max))
    }

    private func look(_ key: PoolKey, _ history: NodeHistory) {
        guard var pool = pools[key] else { return }
        for index in pool.parts.indices {
            let left = left(key, pool.parts[index], history)
            let last = pool.parts[index].spans.count - 1
            pool.parts[index].spans[last].least = min(pool.parts[index].spans[last].least, left)
            pool.parts[index].leastSeen = min(pool.parts[index].leastSeen, left)
        }
        pools[key] = pool
    }

    /// Units that somebody could yet have: in slices, in the treasury and between them.
    private func left(_ key: PoolKey, _ part: Part, _ history: NodeHistory) -> Int64 {
        part.slices.reduce(part.funded) { left, slice in
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
        guard let pool = pools[plan.key],
            let slice = history.slice(of: operation.user, plan.key, region: operation.region),
            let part = pool.parts.first(where: { $0.slices.contains(slice) })
        else { return }
        let quantity = plan.isStock ? operation.quantity : 1
        if plan.durability == .memory, isGranted(plan, part, history) { return }
        // What is put in counts once its slice has it: before, no operator is told OK.
        if part.slices.count == 1, part.spans.count > 1 { return }
        // Who has not heard that more were put in says what was so shortly before.
        let sinceNs = sentNs - min(sentNs, Self.staleNs)
        let first = part.spans.lastIndex { $0.sinceNs <= sinceNs } ?? 0
        let least = part.spans[first...].reduce(Int64.max) { min($0, $1.least) }
        if least >= quantity {
            world.fail(
                name,
                "\(plan.name): \(operation.words.joined(separator: " ")): soldout, and never "
                    + "fewer than \(least) units were left")
        }
    }

    /// Whether a rain's part is granted, or out of play, as far as memory knows: what is granted
    /// from memory is told before it is committed.
    private func isGranted(_ plan: PoolPlan, _ part: Part, _ history: NodeHistory) -> Bool {
        let out = part.slices.reduce(Int64(0)) { sum, slice in
            let totals = history.live.slice(plan.key, slice)?.totals ?? SliceTotals()
            return sum + totals.granted + totals.quarantined
        }
        return out == part.funded
    }

    /// For so long a certificate is believed, and may be on its way.
    static let staleNs: UInt64 = 2_500_000_000

    // MARK: Demand

    /// The parts of a pool of which something is left, and has been since the last look.
    func parts(_ plan: PoolPlan, _ world: World) -> [(
        number: Int, slices: Range<UInt32>, left: Int64
    )] {
        guard let pool = pools[plan.key] else { return [] }
        let history = world.histories[plan.node]
        return pool.parts.enumerated().compactMap { number, part in
            let isLost = part.slices.allSatisfy {
                quarantined.contains(NodeBooks.SliceKey(pool: plan.key, slice: $0))
            }
            let left = left(plan.key, part, history)
            return isLost || left <= 0 || part.leastSeen <= 0
                ? nil : (number: number, slices: part.slices, left: left)
        }
    }

    /// Forgets what was left until now.
    func beginLook(_ plan: PoolPlan, _ world: World) {
        guard let pool = pools[plan.key] else { return }
        let history = world.histories[plan.node]
        for index in pool.parts.indices {
            pools[plan.key]?.parts[index].leastSeen = left(plan.key, pool.parts[index], history)
        }
    }

    func isOut(_ plan: PoolPlan, _ slice: UInt32) -> Bool {
        quarantined.contains(NodeBooks.SliceKey(pool: plan.key, slice: slice))
    }
}
