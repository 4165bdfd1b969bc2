import EdgeCore
import EdgeMemory
import Simulator

/// Memory that is asked for before it is read.
extension CapacityRun where Queue: ~Copyable {
    /// Asks for what the next events read, link by link: with hundreds of nodes and batches of
    /// one, waiting for memory is most of the work.
    ///
    /// - Parameter isNewRun: nothing of what comes was seen before.
    @inline(__always)
    mutating func lookAhead(isNewRun: Bool) {
        for link in 0..<Foresight.links {
            let last = (Foresight.links - link) * Foresight.distance - 1
            for index in (isNewRun ? 0 : last)...last { foresee(link, index) }
        }
    }

    @inline(__always)
    private mutating func foresee(_ link: Int, _ index: Int) {
        guard let event = queue.ahead(index), event.payload < Happening.mask else { return }
        let slot = Int(event.payload)
        if link == 0 { return flights.prefetch(slot) }
        let node = Int(flights[slot].node)
        if link == 1 { servers.prefetch(node) }
        if flights[slot].stage == .answered { return }
        if link == 1 { return nodes.prefetch(node, bytes: EdgeNode.hotBytes) }
        let pool = Int(flights[slot].pool)
        let user = pools[pool].userID(flights[slot].user)
        switch link {
        case 2: nodes[node].prefetch(pools[pool].key, user, .pool)
        case 3: nodes[node].prefetch(pools[pool].key, user, .slot)
        default:
            // Others are forwarded, and read no slice.
            guard flights[slot].stage == .forwarded else { return }
            nodes[node].prefetch(pools[pool].key, user, link == 4 ? .slice : .claim)
        }
    }
}

/// How far ahead memory is asked for: the request, its node, and four links inside the core, each
/// three events nearer.
private enum Foresight {
    static let links = 6
    static let distance = 3
}

/// A queue that can say what comes soon. What it says changes no result.
protocol ForeseeingQueue: EventQueue, ~Copyable {
    /// The event that comes out after `index` others, where that is known.
    func ahead(_ index: Int) -> Event?
}

extension LadderQueue: ForeseeingQueue {
    @inline(__always)
    func ahead(_ index: Int) -> Event? { upcoming(index) }
}

extension HeapQueue: ForeseeingQueue {
    func ahead(_ index: Int) -> Event? { nil }
}
