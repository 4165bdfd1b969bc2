import EdgeMemory
import EdgeTypes

/// A reservation is held as long as its SKU says, by the node's own clock: no order ends by time
/// before its user was told it would, and none is open long after, once its node runs.
final class HoldsOracle: Oracle {
    let name = "holds"

    /// Beyond this an order that is over its time is forgotten: a wheel's turn, a slow
    /// processor's step.
    static let graceNs: UInt64 = 500_000_000

    private struct Request: Hashable {
        var pool: Int
        var user: UserID
        var request: String
    }

    /// When a reservation was first asked for.
    private var askedNs: [Request: UInt64] = [:]

    func asked(_ world: World, _ operation: Operation) {
        guard operation.kind == .reserve else { return }
        let request = Request(
            pool: operation.pool, user: operation.user, request: operation.request)
        if askedNs[request] == nil { askedNs[request] = world.nowNs }
    }

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        guard operation.kind == .reserve, answer.items.count == 3,
            let outcome = answer.items[0].text, outcome == "reserved" || outcome == "repeat",
            let id = answer.items[1].text, let expiresMs = answer.items[2].integer,
            let order = OrderID(text: id)
        else { return }
        let plan = world.pools[operation.pool]
        let request = Request(
            pool: operation.pool, user: operation.user, request: operation.request)
        let sinceNs = outcome == "reserved" ? sentNs : askedNs[request] ?? 0
        let times = world.histories[operation.node].timeMs(order.shard, since: sinceNs)
        if !times.contains(expiresMs - plan.holdMs) {
            world.fail(
                name,
                "\(plan.name), user \(operation.user), order \(id): held until \(expiresMs), "
                    + "\(plan.holdMs) ms from \(times)")
        }
    }

    func wrote(_ world: World, _ node: Int, _ header: EntryHeader, _ entry: Entry) {
        let history = world.histories[node]
        let id: OrderID
        switch entry {
        case .orderExpired(let order): id = order
        case .orderCancelled(let order): id = order
        case .orderPaid(let paid) where !paid.late: id = paid.order
        default: return
        }
        guard let order = history.live.orders[id], let pool = history.number(of: order.key.pool)
        else { return }
        let plan = world.pools[pool]
        let wallMs = world.nodes[node].now.wallMs
        if case .orderExpired = entry {
            world.probe(.expired)
            if max(wallMs, header.timeMs) < order.expiresMs {
                world.fail(
                    name,
                    "\(plan.name), order \(id.text): expired at \(wallMs), held until "
                        + "\(order.expiresMs)")
            }
        }
        guard let shownNs = world.nodes[node].clock.hasShown(order.expiresMs, until: world.nowNs)
        else { return }
        // Timers count on the monotonic clock: the wall clock's jump does not set one off.
        let jumpsMs = world.nodes[node].clock.forwardMs(since: order.reservedNs)
        let dueNs = max(
            shownNs + UInt64(jumpsMs) * 1_000_000, ranNs(world, node),
            history.servesSinceNs(header.shard))
        if world.nowNs > dueNs + Self.graceNs {
            world.fail(
                name,
                "\(plan.name), order \(id.text): open \((world.nowNs - dueNs) / 1_000_000) ms "
                    + "after its time")
        }
    }

    /// Since when the process has run without a break.
    private func ranNs(_ world: World, _ node: Int) -> UInt64 {
        var since = world.histories[node].resumedNs(node)
        for fault in world.plan.faults
        where fault.node == node && fault.kind == .pause && fault.startNs <= world.nowNs {
            since = max(since, min(fault.endNs, world.nowNs))
        }
        return since
    }
}
