public import EdgeCore
import EdgeJournal
import EdgeMemory
import EdgeTypes
public import NIOCore

extension EdgeNode: SteppingCore {}

/// A loop that drives a real core.
public typealias NodeLoop = CoreLoop<EdgeNode>

extension CoreLoop where Core == EdgeNode {
    /// Ends the core's restart. Once, before anything is served.
    func finishRecovery(cleanStop: Bool) -> EventLoopFuture<Void> {
        eventLoop.submit { [unowned self] in
            now = shared.settings.clock()
            core.finishRecovery(cleanStop: cleanStop, now: now, into: &effects)
            execute()
            postMail()
        }
    }

    public func readCounters() -> EventLoopFuture<NodeCounters> {
        eventLoop.submit { [unowned self] in core.counters }
    }

    /// The shards that have entries above `saved`.
    func shards(above saved: ShardSequences) -> EventLoopFuture<[ShardID]> {
        eventLoop.submit { [unowned self] in
            core.shardIDs.filter { core.sequence(of: $0) > saved[$0] }
        }
    }

    /// A shard's content, and what it stands for. Blocks the loop for as long as copying takes.
    func snapshot(_ shard: ShardID) -> EventLoopFuture<ShardCopy> {
        eventLoop.submit { [unowned self] in
            var content = ByteSink(capacity: 64 << 10)
            core.writeSnapshot(shard, into: &content)
            return ShardCopy(
                header: core.standing(of: shard), position: lastPosition, content: content)
        }
    }
}

/// A shard's content on its way to a file.
final class ShardCopy: Sendable {
    let header: EntryHeader
    /// The journal must hold this before the copy counts.
    let position: UInt64
    let content: ByteSink

    init(header: EntryHeader, position: UInt64, content: consuming ByteSink) {
        self.header = header
        self.position = position
        self.content = content
    }
}
