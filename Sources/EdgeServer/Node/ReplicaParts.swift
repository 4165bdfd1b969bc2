import EdgeCluster
import EdgeCore
import EdgeJournal
import EdgeMemory
import EdgeReconciler
import EdgeRecovery
import EdgeStores
import EdgeTypes
import Logging

/// What a node with replicas has from its start on, beside its cores and their journal.
struct ReplicaParts: Sendable {
    private(set) var start: ReplicaStart
    let arbiter: any Arbiter
    let disk: DiskThread
    let shipping: ShippingTable
    /// With the numbers that the arbiter has given.
    let cluster: ClusterPlan
    /// Who it registers as once an operator has accepted the server that answers; nil: it has.
    let registers: Registration?

    struct Registration: Sendable {
        var own: ClusterNode
        var founding: ClusterFounding
    }

    /// nil: a node with one copy of each shard.
    ///
    /// - Throws: where the arbiter cannot be opened, or the disk's records cannot be read.
    init?(_ options: NodeOptions, _ directory: JournalDirectory, _ log: Logger) throws {
        guard var cluster = options.cluster, let plan = cluster.replicas else { return nil }
        guard let store = try NodeRunner.storeURL(options) else {
            throw ClusterError(
                description: "replicas need an arbiter, which is with the store: "
                    + "DOWNPOUR_STORE_URL says none")
        }
        let sole = try directory.openSoleRecords()
        // Later than any before, also where the disk is new; and no other node's.
        let nowMs = UInt64(clamping: SystemClock.now().wallMs)
        let life = max(sole.boot + 1, nowMs << 16 | UInt64.random(in: 0..<1 << 16))
        let own = cluster.nodes[cluster.own]
        let founding = cluster.founding(plan)
        let (asked, known, isCopy) = try Self.join(store, own, founding, log)
        arbiter = asked
        cluster.nodes = known.nodes
        let target = known.target
        registers = isCopy ? Registration(own: own, founding: founding) : nil
        guard let number = cluster.nodes.firstIndex(where: { $0.name == own.name }) else {
            preconditionFailure("an arbiter that forgets")
        }
        cluster.own = number
        self.cluster = cluster
        disk = DiskThread(directory, sole, log)
        shipping = ShippingTable(shards: plan.shards)
        start = ReplicaStart(
            me: ReplicaID(node: UInt64(number), boot: life), target: target,
            nodes: cluster.nodes.count, records: sole.records, held: [], lost: [],
            cleanBoot: sole.cleanBoot == sole.boot && sole.boot > 0 ? sole.boot : nil)
    }

    /// Registers with the arbiter; where that is a server that nobody has accepted, only reads.
    private static func join(
        _ store: StoreURL, _ own: ClusterNode, _ founding: ClusterFounding, _ log: Logger
    ) throws(StoreError) -> (arbiter: any Arbiter, known: ArbiterCopy, isCopy: Bool) {
        do throws(StoreError) {
            let arbiter = try store.openArbiter()
            let nodes = try arbiter.register(own, founding: founding)
            guard let target = try arbiter.target(after: 0) else {
                preconditionFailure("an arbiter that forgets")
            }
            return (arbiter, ArbiterCopy(nodes: nodes, target: target), false)
        } catch {
            guard case .otherIdentity = error else { throw error }
            let arbiter = try store.openArbiter(mustBeAccepted: false)
            guard let copy = try arbiter.attend(own) else { throw error }
            log.warning(
                "this node serves nothing until an operator has accepted the arbiter's server",
                metadata: ["error": "\(error)"])
            return (arbiter, copy, true)
        }
    }

    /// What the disk holds is known.
    mutating func recovered(_ recovery: NodeRecovery, _ report: RecoveryReport) {
        start.lost = recovery.lost
        let cores = recovery.cores.count
        start.held = (0..<cluster.shards).map { shard in
            // What makes no sense is nothing, whatever epoch it was of.
            if start.lost.contains(ShardID(shard)) {
                return ReplicaAgent.Held(logEpoch: 0, last: 0)
            }
            return ReplicaAgent.Held(
                logEpoch: recovery.cores[shard % cores].epoch(of: ShardID(shard)),
                last: recovery.cores[shard % cores].sequence(of: ShardID(shard)))
        }
        if !report.wasClean { start.cleanBoot = nil }
    }

    /// This life is durable before anybody hears of it.
    func begin() throws { try disk.begin(boot: start.me.boot) }

    func service(
        loops: [NodeLoop], saved: SavedSnapshots, reconciler: Reconciler?, view: ClusterView,
        log: Logger, onReady: @escaping @Sendable () -> Void
    ) -> ReplicaService {
        ReplicaService(
            self, loops: loops, saved: saved, reconciler: reconciler, view: view, log: log,
            onReady: onReady)
    }
}

/// What a node's process was told at its start about replicas.
struct ReplicaStart: Sendable {
    var me: ReplicaID
    /// What operators have decided last.
    var target: PlacementTarget
    var nodes: Int
    /// Of the processes before.
    var records: [SoleRecord]
    /// What the disk holds of each shard.
    var held: [ReplicaAgent.Held]
    /// Shards whose log on the disk makes no sense.
    var lost: Set<ShardID>
    /// The life of the process before, where that ended in good order.
    var cleanBoot: UInt64?
}
