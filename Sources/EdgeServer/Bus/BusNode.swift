public import EdgeTypes
import EdgeWire
import Synchronization

/// Limits of connections between nodes. Reaching one ends the connection, and is counted.
public struct BusConnectionLimits: Sendable {
    /// Accepted connections that have not proved yet who they are, on all loops.
    public var beginning = 64
    /// From connecting or accepting until both sides agree.
    public var handshakeMs: Int64 = 3_000
    public var connectMs: Int64 = 1_000
    /// After so much silence the other side is asked whether it is there; after as much again,
    /// once more.
    public var probeMs: Int64 = 1_000
    /// After so much silence it is not.
    public var silenceMs: Int64 = 5_000
    /// From here on a connection says that it is overloaded.
    public var outputHighBytes = 4 << 20
    /// Most bytes that wait to be sent: the connection ends there.
    public var outputBytes = 32 << 20
    /// Between two attempts to connect: doubled from the first to the last, with jitter.
    public var firstRetryMs: Int64 = 100
    public var lastRetryMs: Int64 = 5_000

    public init() {}
}

/// What connections between nodes have refused and lost since the node's start. Metrics.
public struct BusCounters: Sendable, Hashable {
    public var dialed: UInt64 = 0
    public var accepted: UInt64 = 0
    /// Connections on which both sides agreed.
    public var agreed: UInt64 = 0
    /// Who did not prove to know a key.
    public var strangers: UInt64 = 0
    /// Openings that were genuine once.
    public var replays: UInt64 = 0
    /// Another cluster, other shards, no version in common.
    public var refused: UInt64 = 0
    public var timeouts: UInt64 = 0
    /// Accepted connections beyond `BusConnectionLimits.beginning`.
    public var crowded: UInt64 = 0
    public var silent: UInt64 = 0
    public var stalled: UInt64 = 0
    public var overflows: UInt64 = 0
    /// Records too long, with a wrong tag, or with messages that are none.
    public var damaged: UInt64 = 0
    public var keysRemoved: UInt64 = 0

    public init() {}
}

/// What all connections between this node and others share. Guards itself.
public final class BusNode: Sendable {
    public let hello: BusHello
    public let limits: BusConnectionLimits
    private let ring: Mutex<ClusterKeys>
    private let counted = Mutex(BusCounters())
    private let beginning = Atomic<Int>(0)

    public init(
        _ hello: BusHello, keys: ClusterKeys, limits: BusConnectionLimits = BusConnectionLimits()
    ) {
        self.hello = hello
        self.limits = limits
        ring = Mutex(keys)
    }

    /// The ring. Replacing it ends no connection but those made with a key that it lacks.
    public var keys: ClusterKeys {
        get { ring.withLock { $0 } }
        set { ring.withLock { $0 = newValue } }
    }

    public var counters: BusCounters { counted.withLock { $0 } }

    func count(_ body: (inout BusCounters) -> Void) { counted.withLock { body(&$0) } }

    /// Counts in a connection of somebody unknown.
    ///
    /// - Returns: whether there was room. Where there was, `leave` counts it out.
    func enter() -> Bool {
        let before = beginning.wrappingAdd(1, ordering: .relaxed).oldValue
        if before < limits.beginning { return true }
        leave()
        return false
    }

    func leave() { beginning.wrappingSubtract(1, ordering: .relaxed) }
}

/// Whoever speaks with other nodes: one for each event loop. All calls come on that loop.
public protocol BusOwner: AnyObject, Sendable {
    /// Both sides agreed: `connection.peer` says who it is. Before anything else of it.
    func linkUp(_ connection: BusConnection)
    /// It is over, and what was under way is lost. Once for each `linkUp`.
    func linkDown(_ connection: BusConnection, _ end: BusEnd)
    /// It was over before both sides agreed.
    func linkFailed(_ connection: BusConnection, _ end: BusEnd)
    /// A message, in the order in which they were sent. `attached` is valid during the call only.
    func received(
        _ message: BusMessage, _ attached: UnsafeRawBufferPointer, on connection: BusConnection)
    /// What had come was handed over: nothing more follows at once.
    func receivedAll(on connection: BusConnection)
    /// Whether so much waits that connections should not be read from, but those that carry beacons.
    /// Asked after each `receivedAll`; who said yes calls `BusConnection.resume` later.
    var isOverloaded: Bool { get }
}
