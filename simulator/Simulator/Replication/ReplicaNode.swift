import EdgeCluster
import EdgeTypes

/// A node of the replication model: its replicas with logs of plain numbers in the place of
/// entries, its beacons, and what its disk would still hold.
final class ReplicaNode {
    /// One shard: the protocol's state, and the log that it speaks of.
    struct Shard {
        var replica: ShardReplica
        var log: [UInt64] = []
        var isFlushing = false
        var waiting: [Waiting] = []
    }

    /// An answer that may not leave yet.
    struct Waiting {
        var operation: Int
        var attempt: Int
        var needs: UInt64
        var result: UInt64
        /// Its own entry tells it: once that is committed, no lease is needed.
        var wrote: Bool
    }

    /// What a restart finds of one shard.
    struct OnDisk {
        var log: [UInt64] = []
        var soleBoot: UInt64 = 0
        var soleEpoch: UInt32 = 0
    }

    struct Pair {
        var lease: PairLease
        /// When this life of it was first heard of.
        var sinceNs: UInt64 = 0
        /// Shards taken from the other one that it has not confirmed to know of.
        var taken: [ShardID] = []
    }

    let index: Int
    var boot: UInt64
    /// Starts of its process.
    var starts = 0
    var isUp = true
    var pausedUntilNs: UInt64 = 0
    /// What came while it stood still, in order.
    var deferred: [ReplicationHappening] = []
    var shards: [Shard]
    var disk: [OnDisk]
    /// By node index, for the latest boot that was heard of.
    var pairs: [(id: ReplicaID, pair: Pair)?]
    let skewPpm: Double
    let offsetNs: UInt64

    init(index: Int, shards: Int, nodes: Int, skewPpm: Double, offsetNs: UInt64) {
        self.index = index
        boot = 1
        self.skewPpm = skewPpm
        self.offsetNs = offsetNs
        self.shards = []
        disk = Array(repeating: OnDisk(), count: shards)
        pairs = Array(repeating: nil, count: nodes)
    }

    var id: ReplicaID { ReplicaID(node: UInt64(index), boot: boot) }

    /// Its monotonic clock.
    func clock(_ nowNs: UInt64) -> UInt64 {
        offsetNs + UInt64(Double(nowNs) * (1 + skewPpm / 1_000_000))
    }
}
