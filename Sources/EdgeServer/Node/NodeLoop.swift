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

    /// A shard's snapshot. The loop goes on serving: it copies a piece a millisecond.
    func snapshot(_ shard: ShardID) -> EventLoopFuture<ShardCopy> {
        let promise = eventLoop.makePromise(of: ShardCopy.self)
        eventLoop.execute { [unowned self] in
            let copy = ShardCopy(
                core.beginSnapshot(of: shard), position: lastPosition,
                incarnation: core.incarnation(of: shard))
            copyOn(copy, promise)
        }
        return promise.futureResult
    }

    /// Whether what was copied is whole, and still held.
    func holds(_ copy: ShardCopy, of shard: ShardID) -> EventLoopFuture<Bool> {
        eventLoop.submit { [unowned self] in
            core.incarnation(of: shard) == copy.incarnation && !copy.snapshot.isBroken
        }
    }

    private func copyOn(_ copy: ShardCopy, _ promise: EventLoopPromise<ShardCopy>) {
        // One whose log was dropped meanwhile is handed over as it is, and not saved.
        guard core.incarnation(of: copy.snapshot.header.shard) == copy.incarnation,
            !core.continueSnapshot(&copy.snapshot, bytes: ShardCopy.pieceBytes)
        else { return promise.succeed(copy) }
        eventLoop.scheduleTask(in: .milliseconds(1)) { [unowned self] in copyOn(copy, promise) }
    }
}

/// A shard's snapshot on its way to a file.
///
/// SAFETY: only its loop changes it, until the promise hands it over.
final class ShardCopy: @unchecked Sendable {
    static let pieceBytes = 256 << 10

    var snapshot: ShardSnapshot
    /// The journal must hold this before the copy counts.
    let position: UInt64
    /// Of the shard's log: see `EdgeNode.incarnation`.
    let incarnation: UInt32

    init(_ snapshot: consuming ShardSnapshot, position: UInt64, incarnation: UInt32) {
        self.snapshot = snapshot
        self.position = position
        self.incarnation = incarnation
    }
}
