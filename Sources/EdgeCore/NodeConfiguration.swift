public import EdgeTypes

/// What a core is told when it is made.
public struct NodeConfiguration: Sendable {
    /// Shards of the cluster: a power of two, for good.
    public var shards: Int
    /// Event loops of this node, and which of them this core is.
    public var cores: Int
    public var core: Int
    /// This node's number in the cluster, and how many there are.
    public var node: Int
    public var nodes: Int
    /// Of a cluster with replicas: the life of this process. Which shards it serves is told it
    /// then (`ReplicaInput`), and pools may be `replicated`.
    public var replica: ReplicaID?
    /// Whether what is committed goes to a store: whoever becomes a replica must be able to ship it.
    public var hasStore = true
    /// How long after its end a rain's slice stays in memory, ms; `Int64.max`: for good. Nothing
    /// leaves without a store.
    public var archiveAfterMs = Int64.max
    /// Likewise how long after the last thing that happened to its orders a closed SKU's slice does.
    public var archiveOrdersAfterMs = Int64.max
    /// Archived orders of a shard with late payments and refunds that are told apart.
    public var touchedOrders = Limits.touchedOrders
    var isArchiving: Bool { archiveAfterMs != .max || archiveOrdersAfterMs != .max }
    /// A built-in bug; only simulators set one.
    public var mutant: Mutant
    var replicationMutant: ReplicationMutant {
        ReplicationMutant(rawValue: mutant.rawValue) ?? .none
    }

    public init(
        shards: Int = 64, cores: Int = 1, core: Int = 0, node: Int = 0, nodes: Int = 1,
        replica: ReplicaID? = nil, mutant: Mutant = .none
    ) {
        precondition(core >= 0 && core < cores)
        precondition(node >= 0 && node < nodes && nodes <= Limits.nodes)
        self.shards = shards
        self.cores = cores
        self.core = core
        self.node = node
        self.nodes = nodes
        self.replica = replica
        self.mutant = mutant
    }
}

/// What a core counted since it was made.
public struct NodeCounters: Sendable {
    public var steps: UInt64 = 0
    public var requests: UInt64 = 0
    public var entries: UInt64 = 0
    public var forwards: UInt64 = 0
    /// Of those that would have been passed on: told at once that nothing is left.
    public var doorRefusals: UInt64 = 0
    /// Filters of winners that were asked for, and that were told.
    public var winnersAsked: UInt64 = 0
    public var winnersTold: UInt64 = 0
    public var errors: UInt64 = 0
    public var expiredOrders: UInt64 = 0
    /// Between slices and treasuries: questions, leases made, rounds begun, answers to rounds,
    /// and what slices gave back for them.
    public var asks: UInt64 = 0
    public var leases: UInt64 = 0
    public var rounds: UInt64 = 0
    public var sweeps: UInt64 = 0
    public var returns: UInt64 = 0
    /// By the outcome's raw value: grabs, and reservations and payments.
    public var grabs = InlineArray<16, UInt64>(repeating: 0)
    public var orders = InlineArray<16, UInt64>(repeating: 0)
    /// Slices whose claims or orders have left memory here, those claims and orders, how often a
    /// stock book was compacted, and questions that only the store could answer.
    public var archivedSlices: UInt64 = 0
    public var archivedClaims: UInt64 = 0
    public var archivedOrders: UInt64 = 0
    public var compactions: UInt64 = 0
    public var archivedQuestions: UInt64 = 0
    /// Payments and refunds of archived orders that were decided, and that were asked anew since the
    /// order had changed.
    public var recalledOrders: UInt64 = 0
    public var recalledStale: UInt64 = 0

    public init() {}
}
