public import EdgeReconciler
public import EdgeTypes

/// Whoever decides which configuration a shard has: an existing consistent engine.
///
/// It is asked rarely (when a process dies, joins, or hands over) and must never forget: every
/// answer but `unknown` is durable. Calls block; each arbiter has a thread of its own.
public protocol Arbiter: AnyObject, Sendable {
    /// Who answers. Another identity than before may have lost epochs: nothing is changed through
    /// it until an operator accepts it.
    func identity() throws(StoreError) -> ArbiterIdentity

    /// A node begins: it is given its number, or found by its name, and its addresses are noted.
    ///
    /// - Parameter founding: who the cluster's nodes are where nobody has said so yet.
    /// - Returns: all nodes, by number.
    /// - Throws: where the engine serves another cluster, or there are too many nodes.
    func register(
        _ own: ClusterNode, founding: ClusterFounding
    ) throws(StoreError) -> [ClusterNode]

    /// A node begins where another server answers than the accepted one: it learns from that
    /// server's copy who the nodes are and who should hold what, and changes nothing. Like the
    /// others it is awaited once an operator has accepted the server, and registers then.
    ///
    /// - Returns: nil where the copy does not know this node.
    func attend(_ own: ClusterNode) throws(StoreError) -> ArbiterCopy?

    /// Makes first configurations, of shards that have none. What is held stays.
    func insert(_ configurations: [ShardConfiguration]) throws(StoreError)

    /// Puts each `next` in the place of its `expected`, where that is what is held, whole. Each
    /// change is decided by itself.
    ///
    /// - Returns: one outcome a change, in order; all `unknown` where the engine failed in a way
    ///   that does not tell.
    func compareAndSet(_ changes: [ConfigurationChange]) -> [ConfigurationOutcome]

    /// The configurations and nodes that were changed after `revision`, and the revision that they bring
    /// one to. 0: all of them.
    func read(after revision: UInt64) throws(StoreError) -> ArbiterNews

    /// Who should hold each shard, where that was decided later than `version`; nil: it was not.
    func target(after version: Int64) throws(StoreError) -> PlacementTarget?

    /// Puts a decision in the place of another.
    ///
    /// - Returns: whether it is held now, one version later; not where another one came first.
    func decide(_ next: PlacementTarget) throws(StoreError) -> Bool

    /// Tells it what somebody knows: of each shard the configuration of the greater epoch stays.
    ///
    /// An engine that was accepted anew may have lost what nodes have read of the one before; they
    /// bring it back, and nothing is changed until all have. What is told while nobody can be asked
    /// is remembered, and brought at the first chance.
    func raise(_ configurations: [ShardConfiguration]) throws(StoreError)

    /// An operator's act: whoever answers now is the arbiter from now on.
    ///
    /// - Parameter absent: names of nodes that will not come back to tell what they know.
    func accept(without absent: [String]) throws(StoreError) -> ArbiterAcceptance
}

/// What the copy of an arbiter that was not accepted says.
public struct ArbiterCopy: Sendable {
    /// By number.
    public var nodes: [ClusterNode]
    public var target: PlacementTarget

    public init(nodes: [ClusterNode], target: PlacementTarget) {
        self.nodes = nodes
        self.target = target
    }
}

/// What became of an operator's acceptance.
public struct ArbiterAcceptance: Hashable, Sendable {
    public var before: ArbiterIdentity
    public var now: ArbiterIdentity
    /// Nodes that have yet to tell what they know; until then nothing is changed.
    public var awaited: [String]

    public init(before: ArbiterIdentity, now: ArbiterIdentity, awaited: [String]) {
        self.before = before
        self.now = now
        self.awaited = awaited
    }
}

/// An engine's own name, drawn when its tables were made.
public struct ArbiterIdentity: Hashable, Sendable {
    public var text: String

    public init(text: String) { self.text = text }
}

/// What an arbiter has decided lately.
public struct ArbiterNews: Hashable, Sendable {
    public var configurations: [ShardConfiguration]
    /// Nodes that came, or moved to another address, by number.
    public var nodes: [UInt16: ClusterNode]
    public var revision: UInt64

    public init(
        configurations: [ShardConfiguration], nodes: [UInt16: ClusterNode] = [:], revision: UInt64
    ) {
        self.configurations = configurations
        self.nodes = nodes
        self.revision = revision
    }
}
