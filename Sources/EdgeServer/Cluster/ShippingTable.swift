import EdgeReconciler
import EdgeTypes
import Synchronization

/// What may go to the store of each shard, as the loops have told last: the reconciler asks for
/// every entry, in its own thread.
final class ShippingTable: Sendable {
    private struct Row {
        var isServing = false
        var born: UInt32 = 0
        var committed: UInt64 = 0
    }

    private let rows: Mutex<[Row]>

    init(shards: Int) { rows = Mutex(Array(repeating: Row(), count: shards)) }

    func set(_ shard: ShardID, isServing: Bool, born: UInt32, committed: UInt64) {
        rows.withLock {
            $0[Int(shard)] = Row(isServing: isServing, born: born, committed: committed)
        }
    }

    /// What was told is never ahead of what is: what is committed stays so.
    func verdict(_ header: EntryHeader) -> ShippingVerdict {
        let row = rows.withLock { $0[Int(header.shard)] }
        guard row.isServing, header.epoch >= row.born else { return .skip }
        return header.sequence <= row.committed ? .ship : .wait
    }
}
