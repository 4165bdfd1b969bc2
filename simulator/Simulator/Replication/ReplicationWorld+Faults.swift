import EdgeCluster
import EdgeTypes

/// What goes wrong in the model, and whether everything is well at the end.
extension ReplicationWorld {
    func planFaults() {
        // Swarm testing: each run has its own share of each kind.
        let window = scenario.faultsEndNs
        func times(_ most: UInt64) -> UInt64 { happens(0.6) ? below(most + 1) : 0 }
        func node() -> Int { Int(below(UInt64(scenario.nodes))) }
        func span() -> UInt64 {
            let unit = Double(below(1_000)) / 1_000
            return 20_000_000 + UInt64(6_000_000_000 * unit * unit)
        }
        for _ in 0..<times(8) { schedule(below(window), .crash(node: node())) }
        for _ in 0..<times(8) {
            let at = below(window)
            schedule(at, .pause(node: node(), untilNs: min(at + span(), window)))
        }
        for _ in 0..<times(24) {
            let (a, at) = (node(), below(window))
            let b = (a + 1 + Int(below(UInt64(scenario.nodes - 1)))) % scenario.nodes
            schedule(at, .cut(a, b, oneWay: happens(0.4), untilNs: min(at + span(), window)))
        }
        for _ in 0..<times(10) {
            let a = node()
            let b = (a + 1 + Int(below(UInt64(scenario.nodes - 1)))) % scenario.nodes
            schedule(below(window), .reset(a, b))
        }
        for _ in 0..<times(5) {
            let at = below(window)
            schedule(
                at,
                .arbiterFault(
                    downUntilNs: min(at + span(), window), losesAnswers: happens(0.6)))
        }
        for _ in 0..<times(30) { schedule(below(window), .handOver(node: node())) }
    }

    /// kill -9 or a loss of power: what was not flushed is gone. Only where the promise covers it.
    func crash(_ index: Int) {
        let node = nodes[index]
        guard node.isUp else { return }
        let all = rows + inFlight.joined()
        guard all.allSatisfy({ survives($0, without: node.id) }) else { return }
        note("node \(index) crashes")
        node.isUp = false
        node.pausedUntilNs = 0
        node.deferred = []
        schedule(nowNs + 50_000_000 + below(4_000_000_000), .restart(node: index))
    }

    /// The only member comes back with its disk; otherwise some member lives on. That holds for
    /// configurations too that the arbiter is only being asked for.
    private func survives(_ row: ShardConfiguration, without id: ReplicaID) -> Bool {
        guard row.has(id), row.members.count > 1 else { return true }
        return row.members.contains { $0 != id && isAlive(Int($0.node), $0.boot) }
    }

    func restart(_ index: Int) {
        let node = nodes[index]
        guard !node.isUp else { return }
        node.isUp = true
        if scenario.mutant != .bootIgnored { node.boot += 1 }
        note("node \(index) starts, boot \(node.boot)")
        begin(node)
        for other in 0..<scenario.nodes where other != index { reset(index, other) }
    }

    func handOver(_ index: Int) {
        let node = nodes[index]
        guard node.isUp, node.pausedUntilNs <= nowNs else { return }
        for shard in 0..<scenario.shards {
            guard let to = node.shards[shard].replica.others.first else { continue }
            effects = []
            if node.shards[shard].replica.handOver(to: to, into: &effects) {
                note("node \(index), shard \(shard): hands over to \(to.node)")
            }
            execute(node, shard)
        }
    }

    /// Looks whether it is over: everyone answered, every shard whole.
    func look() {
        schedule(nowNs + 500_000_000, .look)
        let open = operations.firstIndex { !$0.isDone }
        let broken = (0..<scenario.shards).first { !isWhole($0) }
        if nowNs > scenario.faultsEndNs, open == nil, broken == nil { return finish() }
        guard nowNs > scenario.faultsEndNs + scenario.patienceNs else { return }
        var text = "nothing moves"
        if let open { text = "operation \(open) on shard \(operations[open].shard) has no answer" }
        if let broken {
            text += "; shard \(broken) is not whole: \(describe(rows[broken])); "
            for node in nodes where node.isUp {
                text += "node \(node.index).\(node.boot) is \(node.shards[broken].replica.role), "
            }
        }
        fail("liveness", text, kind: .liveness)
    }

    private func isWhole(_ shard: Int) -> Bool {
        let row = rows[shard]
        guard row.members.count == scenario.replicas else { return false }
        return row.members.allSatisfy { member in
            guard isAlive(Int(member.node), member.boot) else { return false }
            let held = nodes[Int(member.node)].shards[shard]
            let role: ShardReplica.Role = member == row.primary ? .primary : .backup
            return held.replica.role == role && held.replica.last >= highest[shard]
        }
    }

    private func finish() {
        isOver = true
        for shard in 0..<scenario.shards {
            let logs = rows[shard].members.map { nodes[Int($0.node)].shards[shard].log }
            for log in logs where log != logs[0] {
                fail("one log", "shard \(shard): members of one configuration differ")
            }
            // In the order of their numbers: a dictionary has none.
            for (number, place) in acknowledged[shard].sorted(by: { $0.key < $1.key }) {
                guard Int(place) <= logs[0].count, logs[0][Int(place) - 1] == number else {
                    return fail(
                        "durability", "shard \(shard): \(number) was acknowledged at \(place)")
                }
            }
        }
    }
}
