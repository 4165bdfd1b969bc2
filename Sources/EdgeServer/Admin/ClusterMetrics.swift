import EdgeTypes

/// What the bus and gossip count, as metrics.
extension MetricsText {
    static func addCluster(_ cluster: ClusterService, _ page: inout Page) async throws {
        let numbers = try await cluster.numbers()
        for (number, node) in cluster.plan.nodes.enumerated() where number != cluster.plan.own {
            let label = "node=\"\(node.name)\""
            page.add(
                "downpour_member_alive", "gauge", "1 where gossip holds the node for alive.",
                label, cluster.view.state(number) == .alive ? 1 : 0)
            page.add(
                "downpour_member_linked_loops", "gauge", "Loops with a link to the node.", label,
                Double(numbers.reach[number]))
        }
        let loops = numbers.loops
        page.add(
            "downpour_bus_requests_total", "counter", "Requests between nodes.",
            "direction=\"sent\"", Double(loops.asked))
        page.add(
            "downpour_bus_requests_total", "counter", "Requests between nodes.",
            "direction=\"received\"", Double(loops.owed))
        let bus = cluster.node.counters
        let refusals: [(String, UInt64)] = [
            ("stranger", bus.strangers), ("replay", bus.replays), ("refused", bus.refused),
            ("timeout", bus.timeouts), ("crowded", bus.crowded), ("silent", bus.silent),
            ("stalled", bus.stalled), ("overflow", bus.overflows), ("damaged", bus.damaged),
            ("key_removed", bus.keysRemoved), ("misplaced", loops.misplaced),
            ("unknown_message", loops.unknown),
        ]
        for (reason, count) in refusals {
            page.add(
                "downpour_bus_refusals_total", "counter", "Connections between nodes ended, why.",
                "reason=\"\(reason)\"", Double(count))
        }
        let gossip = numbers.gossip
        page.add(
            "downpour_gossip_datagrams_total", "counter", "Datagrams.", "direction=\"sent\"",
            Double(gossip.datagramsSent))
        page.add(
            "downpour_gossip_datagrams_total", "counter", "Datagrams.", "direction=\"received\"",
            Double(gossip.datagramsReceived))
        for (reason, count) in [
            ("stranger", gossip.strangers), ("replay", gossip.replays),
            ("too_long", gossip.tooLong), ("malformed", gossip.malformed),
            ("stream", gossip.streamsRefused),
        ] {
            page.add(
                "downpour_gossip_refusals_total", "counter", "Gossip dropped, why.",
                "reason=\"\(reason)\"", Double(count))
        }
    }
}
