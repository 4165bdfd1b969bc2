/// The limits of the system. Reaching one is an answer to the client, never a crash.
public enum Limits {
    /// Longest pool name, request id, payment id or region name, in bytes.
    public static let textBytes = 64
    /// Most shards of a cluster; the count is a power of two.
    public static let shards = 16_384
    /// Most nodes of a cluster.
    public static let nodes = 4_096
    /// Most times that a request goes from core to core or node to node: to its pool's home, which
    /// knows the pool, to its slice, and some more where a shard has just moved.
    public static let hops: UInt8 = 6
    /// Most members of a shard's configuration.
    public static let replicas = 8
    /// Most other nodes that share shards with one node.
    public static let partners = 14
    /// Most slices of a pool.
    public static let slices = 16_384
    /// Most pools a node knows.
    public static let pools = 100_000
    /// Most packets of one rain, or units of one SKU.
    public static let unitsPerPool: Int64 = 1_000_000_000
    /// Units that ever came to a slice, or went back: the same ones may do so many times.
    public static let unitsMoved: Int64 = 1 << 60
    /// Most packets of a `luck` rain: its amounts are held in memory.
    public static let luckPackets: Int64 = 100_000
    /// Most fen in a pool: far from overflow in every sum that is made of them (10^15 yuan).
    public static let amountFen: Int64 = 100_000_000_000_000_000
    /// Most claims in one slice: their positions share 32 bits with a hash tag.
    public static let claimsPerSlice = 20_000_000
    /// Most units of a SKU a user may hold.
    public static let perUser: UInt32 = 10_000
    /// Most packets of a rain a user may take: a retry looks through all of them.
    public static let packetsPerUser: UInt32 = 1_000
    /// Most units of one order.
    public static let unitsPerOrder: UInt32 = 10_000
    /// Most orders on one shard.
    public static let ordersPerShard = 16_000_000
    /// Most payments remembered on one shard (captured and refused).
    public static let paymentsPerShard = 32_000_000
    /// Archived orders of a shard with late payments and refunds that are told apart.
    public static let touchedOrders = 1_024
    /// Longest hold of a reservation.
    public static let holdMs: Int64 = 30 * 24 * 3_600_000
    /// Most regions of a pool.
    public static let regions = 16
    /// Most block ranges a slice or a treasury holds of one pool.
    public static let rangesPerSlice = 256
    /// Most requests that wait for units at one slice, and at all slices of a core.
    public static let waitersPerSlice = 16_384
    public static let waitersPerCore = 131_072
    /// Most bytes of a filter of a slice's winners (about 390,000 of them): it fits in a message. Of
    /// a slice with more, everybody is passed on.
    public static let winnersBytes = 512 << 10
    /// Most bytes of such filters on a core: those that it made, and those of other slices. Beyond
    /// it, everybody is passed on.
    public static let winnersBytesPerCore = 64 << 20
    /// Most request ids an operator's commands leave behind on one pool (ALTER, REFILL).
    public static let operatorRequestsPerPool = 4_096
}
