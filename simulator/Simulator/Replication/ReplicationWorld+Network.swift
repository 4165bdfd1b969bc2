import EdgeCluster
import EdgeTypes

/// Connections between nodes, and the arbiter.
extension ReplicationWorld {
    private func pair(_ from: Int, _ to: Int) -> Int { from * scenario.nodes + to }

    private func delayNs() -> UInt64 {
        // Some take long.
        100_000 + below(400_000) + (happens(0.01) ? below(300_000_000) : 0)
    }

    /// In order; a message that cannot pass breaks the connection.
    func send(
        _ message: ReplicaMessage, _ entries: [UInt64], _ node: ReplicaNode, _ to: ReplicaID
    ) {
        let from = node.index
        let place = pair(from, Int(to.node))
        guard cutUntilNs[place] <= nowNs else { return }
        // Much takes longer.
        let sizeNs = UInt64(entries.count) * 500_000
        let arrival = max(nowNs + delayNs() + sizeNs, lastArrivalNs[place])
        lastArrivalNs[place] = arrival
        note("\(from) -> \(to.node): \(message)")
        schedule(
            arrival,
            .message(message, entries, from: node.id, to: to, connection: connections[place]))
    }

    /// Out of order, and sometimes not at all.
    func sendDatagram(_ from: Int, _ to: Int, _ happening: ReplicationHappening) {
        guard cutUntilNs[pair(from, to)] <= nowNs, !happens(0.03) else { return }
        let late: UInt64 = happens(0.02) ? below(2_500_000_000) : 0
        schedule(nowNs + delayNs() + late, happening)
    }

    func cut(_ from: Int, _ to: Int, _ untilNs: UInt64) {
        note("cut \(from) -> \(to) until \(untilNs / 1_000_000) ms")
        cutUntilNs[pair(from, to)] = max(cutUntilNs[pair(from, to)], untilNs)
        connections[pair(from, to)] += 1
    }

    /// Both ends notice that their connection is a new one.
    func reset(_ a: Int, _ b: Int) {
        for (from, to) in [(a, b), (b, a)] { connections[pair(from, to)] += 1 }
        for (from, to) in [(a, b), (b, a)] where nodes[from].isUp && nodes[to].isUp {
            for shard in 0..<scenario.shards {
                effects = []
                nodes[from].shards[shard].replica.connected(nodes[to].id, into: &effects)
                execute(nodes[from], shard)
            }
        }
    }

    // MARK: The arbiter

    private func arbiterDelayNs() -> UInt64 {
        500_000 + below(3_000_000) + (happens(0.05) ? below(2_000_000_000) : 0)
    }

    func ask(_ node: ReplicaNode, _ change: ConfigurationChange) {
        note("node \(node.index) proposes \(describe(change.next))")
        inFlight[Int(change.next.shard)].append(change.next)
        schedule(nowNs + arbiterDelayNs(), .arbiterAsked(node.id, change))
    }

    func askRow(_ node: ReplicaNode, _ shard: ShardID) {
        schedule(nowNs + arbiterDelayNs(), .arbiterRead(node.id, shard))
    }

    func describe(_ configuration: ShardConfiguration) -> String {
        "shard \(configuration.shard), epoch \(configuration.epoch): "
            + configuration.members.map {
                "\($0.node).\($0.boot)" + ($0 == configuration.primary ? "*" : "")
            }.joined(separator: " ")
    }

    func arbitrate(_ asker: ReplicaID, _ change: ConfigurationChange) {
        let shard = Int(change.expected.shard)
        if let place = inFlight[shard].firstIndex(of: change.next) {
            inFlight[shard].remove(at: place)
        }
        guard nowNs >= arbiterDownUntilNs else { return say(asker, change, .unknown) }
        let isSame =
            scenario.mutant == .compareWithoutMembers
            ? rows[shard].primary == change.expected.primary
            : rows[shard] == change.expected
        let outcome: ConfigurationOutcome
        if rows[shard] == change.next {
            outcome = .applied
        } else if isSame {
            rows[shard] = change.next
            note("arbiter: \(describe(change.next))")
            outcome = .applied
        } else {
            probe(.proposalLostRace)
            outcome = .refused(rows[shard])
        }
        if nowNs < arbiterLosesUntilNs, happens(0.7) {
            probe(.unknownProposal)
            return say(asker, change, .unknown)
        }
        say(asker, change, outcome)
    }

    private func say(
        _ asker: ReplicaID, _ change: ConfigurationChange, _ outcome: ConfigurationOutcome
    ) {
        schedule(
            nowNs + arbiterDelayNs(),
            .arbiterSaid(asker, change, outcome, rows[Int(change.expected.shard)]))
    }

    func readRow(_ asker: ReplicaID, _ shard: ShardID) {
        guard nowNs >= arbiterDownUntilNs else {
            // It asks until there is an answer.
            guard isAlive(Int(asker.node), asker.boot) else { return }
            return schedule(nowNs + 200_000_000, .arbiterRead(asker, shard))
        }
        let row = rows[Int(shard)]
        schedule(
            nowNs + arbiterDelayNs(), .arbiterSaid(asker, nil, .refused(row), row))
    }

    func heard(
        _ node: ReplicaNode, _ change: ConfigurationChange?, _ outcome: ConfigurationOutcome,
        _ row: ShardConfiguration
    ) {
        let shard = Int(row.shard)
        effects = []
        let before = node.shards[shard].replica
        if let change {
            node.shards[shard].replica.decided(change, outcome, into: &effects)
            if outcome == .applied { decided(node, change) }
        } else if before.configuration == nil, before.role == .absent {
            resume(node, shard, row)
        } else {
            node.shards[shard].replica.adopt(row, into: &effects)
        }
        execute(node, shard)
    }

    private func decided(_ node: ReplicaNode, _ change: ConfigurationChange) {
        let before = change.expected.primary
        let after = change.next
        if after.members.count == 1 { probe(.wentOnAlone) }
        if after.members.count > change.expected.members.count { probe(.admitted) }
        guard after.primary != before else { return }
        probe(after.primary == node.id ? .tookOver : .handedOver)
    }

    /// A process that has just begun learns who holds the shard.
    private func resume(_ node: ReplicaNode, _ shard: Int, _ row: ShardConfiguration) {
        let disk = node.disk[shard]
        let wasMember = row.members.contains { Int($0.node) == node.index }
        let goesOn =
            wasMember
            && node.shards[shard].replica.resume(
                row, boot: disk.soleBoot, epoch: disk.soleEpoch, last: UInt64(disk.log.count),
                into: &effects)
        if goesOn {
            probe(.resumedFromDisk)
            node.shards[shard].log = disk.log
            if scenario.mutant == .bootIgnored, row.primary == node.id {
                node.shards[shard].replica.reclaim(into: &effects)
            }
        } else {
            node.shards[shard].replica.adopt(row, into: &effects)
        }
    }
}
