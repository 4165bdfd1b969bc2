public import EdgeTypes
public import Simulator

/// What a capacity run is asked: so many users, so many nodes, does the SLO hold?
///
/// Every node has one core. Until the cluster's own protocols are built, the nodes are the cores
/// of one `EdgeNode` placement: what a core forwards travels between nodes here, and so do the
/// frames between a pool's home and its slices. Replicated pools are refused by the core for the
/// same reason.
public struct CapacityScenario: Sendable, Hashable {
    public var name: String
    public var nodes: Int
    /// A power of two, at least as many as nodes.
    public var shards: Int
    public var seed: UInt64 = 1
    public var replications = 1
    /// Most requests a node takes into one step.
    public var batchLimit = 1_024
    public var entry = Entry.random
    /// Where users and nodes are. One zone: all in one place.
    public var zones: [Zone] = [Zone(users: 1, nodes: 1)]
    public var links = Links()
    public var pools: [Pool]
    public var sync = Sync.calibrated
    /// Rows a second that the store takes from all nodes together.
    public var storeRows: UInt64 = 100_000
    public var objectives: [Objective] = []
    /// Most users, as a part of those that units were there for, who go without.
    public var mostUnserved: Double?
    /// From the last grant until 99 % of the nodes refuse at their doors.
    public var mostDoorsNs: UInt64?
    public var losses: [Loss] = []

    public init(name: String, nodes: Int, shards: Int, pools: [Pool]) {
        self.name = name
        self.nodes = nodes
        self.shards = shards
        self.pools = pools
    }

    public var users: UInt64 { pools.reduce(0) { $0 + $1.users } }

    /// Which node a client talks to. It is the owner only by chance.
    public enum Entry: String, Sendable, Hashable, CaseIterable {
        /// Any node of the cluster.
        case random
        /// Any node of the client's zone.
        case nearest
    }

    /// A part of the users and of the nodes.
    public struct Zone: Sendable, Hashable {
        public var users: Double
        public var nodes: Double

        public init(users: Double, nodes: Double) {
            self.users = users
            self.nodes = nodes
        }
    }

    /// One-way delays.
    public struct Links: Sendable, Hashable {
        public var client = Distribution.logNormal(medianNs: 20_000_000, sigma: 0.5)
        public var node = Distribution.logNormal(medianNs: 250_000, sigma: 0.3)
        /// On top of either where it crosses zones.
        public var far = Distribution.constant(ns: 0)

        public init() {}
    }

    public enum Sync: Sendable, Hashable {
        case calibrated
        case distributed(Distribution)
    }

    /// A rain.
    public struct Pool: Sendable, Hashable {
        public var name: String
        public var kind: PoolKind = .spread
        public var users: UInt64
        public var packets: Int64
        public var amountFen: Fen
        public var durability: Durability = .memory
        public var slices: UInt32
        public var limit: UInt32 = 1
        /// After the opening, which is at 0; nil: no end.
        public var closesAfterNs: UInt64?
        public var arrivals: Arrivals

        public init(
            name: String, users: UInt64, packets: Int64, amountFen: Fen, slices: UInt32,
            arrivals: Arrivals
        ) {
            self.name = name
            self.users = users
            self.packets = packets
            self.amountFen = amountFen
            self.slices = slices
            self.arrivals = arrivals
        }
    }

    /// When users send, counted from the pool's opening. Open loop: nobody waits for others.
    public enum Arrivals: Sendable, Hashable {
        /// The notification reaches the phone; then the human reacts.
        case notified(Distribution, reaction: Distribution)
        case recorded(ArrivalHistogram)
    }

    public struct Objective: Sendable, Hashable {
        /// In percent, above 0 and up to 100 (the longest of all).
        public var percentile: Double
        public var atMostNs: UInt64

        public init(percentile: Double, atMostNs: UInt64) {
            self.percentile = percentile
            self.atMostNs = atMostNs
        }
    }

    /// Nodes that die together and stay away. What is queued there is lost with them; a batch
    /// that has begun is finished.
    public struct Loss: Sendable, Hashable {
        public var nodes: Int
        public var atNs: UInt64
        /// How long after that everybody knows: balancers send nobody there any more, and nodes
        /// answer `lost` for its slices.
        public var detectedAfterNs: UInt64 = 2_000_000_000
        /// When a client that hears nothing tries another node.
        public var retryAfterNs: UInt64 = 1_000_000_000

        public init(nodes: Int, atNs: UInt64) {
            self.nodes = nodes
            self.atNs = atNs
        }
    }

    /// What is wrong with it; nil where nothing is.
    public var problem: String? {
        guard nodes >= 1, nodes <= 10_000 else { return "nodes must be 1 to 10000" }
        guard shards >= 1, shards <= Limits.shards, shards & (shards - 1) == 0 else {
            return "shards must be a power of two up to \(Limits.shards)"
        }
        guard shards >= nodes else { return "there are more nodes than shards" }
        guard !pools.isEmpty, pools.count <= 1_000 else { return "pools must be 1 to 1000" }
        guard Set(pools.map(\.name)).count == pools.count else { return "two pools of one name" }
        guard users <= Self.usersLimit else { return "more than \(Self.usersLimit) users" }
        guard losses.reduce(0, { $0 + $1.nodes }) < nodes else { return "no node would be left" }
        guard losses.allSatisfy({ $0.retryAfterNs > 0 }) else {
            return "clients must wait before they try again"
        }
        guard zones.count <= nodes, !zones.isEmpty else { return "more zones than nodes" }
        guard abs(zones.reduce(0) { $0 + $1.users } - 1) < 1e-9,
            abs(zones.reduce(0) { $0 + $1.nodes } - 1) < 1e-9
        else { return "the zones' users, and their nodes, must add up to 100%" }
        return nil
    }

    /// What the event queue's 2^32 sequences and the report's counters are good for.
    public static let usersLimit: UInt64 = 400_000_000
}
