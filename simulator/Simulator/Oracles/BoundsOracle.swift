import EdgeCore
import EdgeJournal
import EdgeMemory
import EdgeTypes

/// Every queue has a limit and stays below it, and holds what it must: the request of each open
/// connection waits in exactly one of a node's queues until it is answered, and once everything
/// has settled nothing is left behind in any.
final class BoundsOracle: Oracle {
    let name = "bounds"

    /// Beyond what holds a loop back, one step's entries may wait to be written.
    static let mostStepBytes = 256 << 10

    func reconciled(_ world: World, _ node: SimulatedNode) {
        for (number, core) in node.cores.enumerated() {
            func limit(_ what: String, _ count: Int, _ most: Int) {
                guard count > most else { return }
                world.fail(
                    name, "node \(node.index), core \(number): \(count) \(what), at most \(most)")
            }
            limit("forwards", core.forwardsInFlight, SimulatedCore.mostForwards)
            limit("unread requests", core.unread.count, SimulatedNode.mostBacklog)
            limit(
                "bytes wait for the journal", core.pending.count + core.writer.backlogBytes,
                SimulatedCore.mostBacklogBytes + Self.mostStepBytes)
            limit(
                "requests wait for slices", core.node.waiting.count,
                EdgeNode.settlingLimit + Limits.waitersPerCore)
        }
        if node.backlog.count > SimulatedNode.mostBacklog + 8 * node.cores.count {
            world.fail(name, "node \(node.index): \(node.backlog.count) events wait for SIGCONT")
        }
        if node.isRunning { checkPlaces(world, node) }
    }

    func ended(_ world: World) {
        for node in world.nodes where !world.histories[node.index].isGone && node.isRunning {
            let left = checkPlaces(world, node)
            if left > 0 {
                world.fail(
                    name, "node \(node.index): \(left) requests wait that were long answered")
            }
        }
    }

    /// Looks where the requests of open connections are.
    ///
    /// - Returns: how many wait whose connection is gone.
    @discardableResult
    private func checkPlaces(_ world: World, _ node: SimulatedNode) -> Int {
        var counts = Array(repeating: 0, count: node.connections.count)
        var left = 0
        func note(_ connection: Int, _ generation: UInt16) {
            if node.connections[connection] != nil, node.generations[connection] == generation {
                counts[connection] += 1
            } else {
                left += 1
            }
        }
        let owed = node.owed.items.map(\.number)
        var owedCounts = Array(repeating: 0, count: owed.count)
        func note(_ ticket: Ticket) {
            guard ticket.connection == SimulatedNode.busSlot else {
                return note(Int(ticket.connection), ticket.generation)
            }
            if let place = owed.firstIndex(of: UInt64(ticket.position)) {
                owedCounts[place] += 1
            } else {
                left += 1
            }
        }
        for item in node.asked.items { note(item.item.ticket) }
        for item in node.askedStore.items { note(item.item.reply.ticket) }
        for core in node.cores {
            for arrival in core.unread { note(arrival.slot, arrival.generation) }
            for index in 0..<core.batch.requests.count {
                note(core.batch.requests[index].ticket)
            }
            for mail in core.mailbox {
                switch mail.content {
                case .forward(let forward): note(forward.request.ticket)
                case .reply(let reply, _): note(reply.ticket)
                case .frame: break
                }
            }
            for held in core.held {
                if case .reply(let reply, _) = held.item { note(reply.ticket) }
            }
            for ticket in core.node.waiting { note(ticket) }
        }
        for (slot, count) in counts.enumerated() {
            guard let connection = node.connections[slot], count != 1 else { continue }
            world.fail(
                name,
                "node \(node.index): operation \(connection.operation), attempt "
                    + "\(connection.attempt), waits in \(count) places")
        }
        for (place, count) in owedCounts.enumerated() where count != 1 {
            world.fail(
                name,
                "node \(node.index): request \(owed[place]) of another node waits in "
                    + "\(count) places")
        }
        return left
    }
}
