import EdgeCluster
import EdgeTypes

/// What a run simulates: sizes, times and which faults may come. Everything else follows from it
/// and the seed.
public struct Scenario: Sendable, Hashable, Codable {
    public var name = "faults"
    /// Nodes: each on its own, with its pools and its store; or one cluster, whose pools are
    /// spread over all, and which has one store.
    public var nodes = 1
    public var isCluster = false
    /// Copies of each shard of a cluster. Above 1 there is an arbiter.
    public var replicas = 1
    /// Most event loops of a node; each seed and node draws its own.
    public var mostCores = 3
    public var shards = 16
    /// Users, of which each takes part in some of the pools.
    public var users = 60
    /// Rains and SKUs a node has; each seed draws their terms.
    public var poolsPerNode = 4
    /// When pools open to users, when faults begin and end, and when the run settles.
    public var opensNs: UInt64 = 1_000_000_000
    public var faultsStartNs: UInt64 = 1_000_000
    public var faultsEndNs: UInt64 = 20_000_000_000
    /// Users act between opening and here.
    public var crowdEndNs: UInt64 = 18_000_000_000
    /// After faults have ended: without progress for so long, the run is not live.
    public var patienceNs: UInt64 = 120_000_000_000
    public var mostFaultsPerKind: UInt64 = 3
    /// Empty: all kinds.
    public var faults: [FaultKind] = []
    /// Kinds that are left out whatever `faults` says.
    public var without: [FaultKind] = []
    /// Between snapshots of a node's shards.
    public var maintenanceNs: UInt64 = 2_500_000_000
    /// For so long closed rains stay in memory once the store has them; 0: for good.
    public var archiveAfterNs: UInt64 = 0
    /// For so long one node is away while nothing else happens; 0: it is not. Of replicas only.
    public var absenceNs: UInt64 = 0
    /// Likewise closed SKUs.
    public var archiveOrdersAfterNs: UInt64 = 0
    var isArchiving: Bool { archiveAfterNs > 0 || archiveOrdersAfterNs > 0 }
    /// Each node begins as an executable that knows the oldest protocol only; every start after its
    /// first is that of today's.
    public var isUpgraded = false
    /// Bytes of a journal segment; 0: each node draws its own.
    public var segmentBytes = 0
    /// Whether each store has a Redis behind it, with consumers of its events.
    public var hasRedis = false
    /// How far clients are from nodes; nil: all of it is drawn.
    public var links: ScenarioLinks?
    /// Where the nodes of a cluster stand and who should hold which shard; nil: all is alike.
    public var topology: ScenarioTopology?

    public init() {}

    /// Whether faults of a kind may come.
    public func allows(_ kind: FaultKind) -> Bool {
        if kind.isBetweenNodes || kind == .blackout, !isCluster { return false }
        if kind.isOfArbiter || kind == .shardPowerLoss, replicas == 1 { return false }
        if kind.isOfRedis, !hasRedis { return false }
        // What a node cannot recover from by itself would end the whole cluster's run.
        if kind.isFatalAlone, isCluster { return false }
        if kind == .storeRestored, replicas > 1 { return false }
        let isAllowed = faults.isEmpty ? !kind.isNamed : faults.contains(kind)
        return isAllowed && !without.contains(kind)
    }

    /// Who should hold each shard of a cluster with replicas.
    var replicaPlan: ReplicaPlan {
        if let topology { return topology.plan(topology.members) }
        return ReplicaPlan(
            replicas: replicas,
            candidates: (0..<shards).map { shard in
                // From the node whose turn it is, one way round or the other.
                let step = shard / nodes % 2 == 0 ? 1 : nodes - 1
                return (0..<nodes).map { UInt16((shard + $0 * step) % nodes) }
            })
    }

    /// Who has a shard.
    func owner(of shard: ShardID) -> Int {
        if let topology { return Int(topology.members[Int(shard)][0]) }
        return isCluster ? Int(shard) % nodes : 0
    }
}
