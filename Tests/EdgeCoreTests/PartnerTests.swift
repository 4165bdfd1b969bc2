import EdgeCore
import EdgeMemory
import EdgeTypes
import Testing

/// A core numbers the processes that follow its shards: there are few numbers, and many nodes.
@Suite struct PartnerTests {
    private let me = ReplicaID(node: 0, boot: 1)

    private func other(_ node: Int) -> ReplicaID { ReplicaID(node: UInt64(node), boot: 7) }

    /// A core that leads its only shard, alone.
    private func primary() -> EdgeNode {
        var node = EdgeNode(NodeConfiguration(shards: 1, nodes: 1, replica: me))
        let row = ShardConfiguration(shard: 0, epoch: 1, primary: me, members: [me])
        for output in step(&node, [.configuration(row)]) {
            guard case .secure(let shard, let epoch, _, let last, let incarnation) = output
            else { continue }
            _ = step(&node, [.secured(shard, epoch: epoch, last: last, incarnation: incarnation)])
        }
        return node
    }

    private func step(_ node: inout EdgeNode, _ inputs: [ReplicaInput]) -> [ReplicaOutput] {
        var batch = RequestBatch()
        batch.replicas = inputs
        var effects = EffectBuffer()
        node.step(batch, now: Instant(wallMs: 1_000), into: &effects)
        return effects.replicas
    }

    /// Invites a process that holds nothing.
    ///
    /// - Returns: whether it is sent a copy.
    private func learns(_ node: inout EdgeNode, _ number: Int) -> Bool {
        for output in step(&node, [.invite(0, other(number))]) {
            guard case .send(_, .begin(let row, _, _, let greeting), let to) = output,
                to == other(number)
            else { continue }
            let answer = ReplicaMessage.position(epoch: row.epoch, last: 0, greeting: greeting)
            return step(&node, [.message(0, answer, from: to)]).contains {
                if case .copy(_, _, _, _, to) = $0 { true } else { false }
            }
        }
        return false
    }

    @Test("more processes give leases than may follow, and those that follow are as many as may")
    func many() {
        var node = primary()
        let isServing = node.isServing(0)
        #expect(isServing)
        for number in 1..<Limits.nodes {
            _ = step(&node, [.lease(other(number), untilNs: .max)])
        }
        var followers: [Int] = []
        for number in 1...30 where learns(&node, number) { followers.append(number) }
        #expect(followers == Array(1...Limits.partners))
    }

    @Test("whoever follows no more leaves its number to another")
    func numbers() {
        var node = primary()
        for number in 1...60 {
            let isTaken = learns(&node, number)
            #expect(isTaken, "the process \(number)")
            _ = step(&node, [.drop(0, other(number)), .connected(other(number))])
        }
    }
}
