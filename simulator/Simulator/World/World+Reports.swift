import EdgeCore
import EdgeTypes
import EdgeWire

/// What nodes tell the world, and ask of it.
extension World {
    func submitted(_ node: SimulatedNode, _ core: Int, _ bytes: UnsafeRawBufferPointer) {
        guard bytes.count > 0 else { return }
        if scenario.replicas > 1 { return histories[0].submitReplicated(node, bytes) }
        histories[node.index].submit(node.index, core, bytes, end: node.cores[core].submitted)
    }

    func committed(_ node: SimulatedNode, _ core: Int, upTo position: UInt64) {
        if scenario.replicas > 1 { return }
        histories[node.index].commit(node.index, core, upTo: position)
    }

    func committed(
        _ node: SimulatedNode, _ shard: ShardID, _ epoch: UInt32, upTo sequence: UInt64
    ) {
        histories[0].commitReplicated(node.index, shard, epoch: epoch, upTo: sequence)
    }

    func serves(
        _ node: SimulatedNode, _ shard: ShardID, epoch: UInt32, last: UInt64, isNew: Bool,
        isSealed: Bool
    ) {
        note("node \(node.index) serves shard \(shard) at epoch \(epoch) from \(last)")
        if epoch > 1 { probe(.tookOver) }
        histories[0].serves(
            node.index, shard, epoch: epoch, last: last, isNew: isNew, isSealed: isSealed)
    }

    /// Whether every shard has all its replicas, and is served.
    var isWhole: Bool {
        arbiter.rows.allSatisfy { row in
            guard let row, row.members.count >= wantedReplicas else { return false }
            let areAlive = row.members.allSatisfy { member in
                let node = nodes[Int(member.node)]
                return node.isRunning && UInt64(node.boot) == member.boot
            }
            let leader = nodes[Int(row.primary.node)]
            return areAlive
                && leader.cores[Int(row.shard) % leader.coreCount].node.isServing(row.shard)
        }
    }

    func bytes(of operation: Int) -> [UInt8] { clients.bytes(of: operation) }
}
