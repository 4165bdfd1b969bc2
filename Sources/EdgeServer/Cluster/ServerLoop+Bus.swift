import EdgeMemory
import EdgeTypes
import NIOCore

/// What comes from other nodes.
extension ServerLoop {
    /// An answer that another node gave to a request that this loop passed on.
    func answered(_ reply: Reply, _ body: Value?) {
        if reply.ticket.core == index {
            forwardsInFlight -= 1
            precondition(forwardsInFlight >= 0)
            // It was durable before it left.
            deliver(reply, body: body, needs: .now)
        } else {
            outgoing[Int(reply.ticket.core)].replies.append(RemoteReply(reply: reply, body: body))
        }
        scheduleTick()
    }

    /// A frame of another node.
    func received(_ frame: Frame, for shard: ShardID) {
        if frame.isForEveryCore {
            for peer in peers.indices { pass(frame, to: peer) }
        } else {
            pass(frame, to: Int(shard) % peers.count)
        }
        scheduleTick()
    }

    /// Something about the replicas of a core's shards. On this loop.
    func tell(_ input: ReplicaInput, core: Int) {
        if core == Int(index) {
            batch.replicas.append(input)
        } else {
            outgoing[core].replicas.append(input)
        }
        scheduleTick()
    }

    func tell(_ input: ReplicaInput, _ shard: ShardID) {
        tell(input, core: Int(shard) % peers.count)
    }

    func tellAll(_ input: ReplicaInput) {
        for core in peers.indices { tell(input, core: core) }
    }

    private func pass(_ frame: Frame, to core: Int) {
        if core == Int(index) {
            batch.frames.append(frame)
        } else {
            outgoing[core].frames.append(frame)
        }
    }
}
