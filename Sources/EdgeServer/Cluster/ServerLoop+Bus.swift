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
            deliver(reply, body: body, needs: 0)
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

    private func pass(_ frame: Frame, to core: Int) {
        if core == Int(index) {
            batch.frames.append(frame)
        } else {
            outgoing[core].frames.append(frame)
        }
    }
}
