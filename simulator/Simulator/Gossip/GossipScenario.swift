public import EdgeCluster
public import EdgeTypes

/// What happens to a gossip world at an instant.
public enum GossipFault: Sendable, Hashable {
    /// The machine goes, with whatever it was about to send.
    case crash(node: Int)
    /// The process ends and starts anew under the same name and address, with a new boot.
    case restart(node: Int)
    /// It says goodbye.
    case leave(node: Int)
    /// It is paused until the time given.
    case pause(node: Int, untilNs: UInt64)
    /// Nodes below the number given and all others hear nothing of each other.
    case cut(below: Int)
    /// Nodes below the number given are heard, and hear nothing.
    case deafen(below: Int)
    case heal
    /// A process starts at a node's place that is empty, under the name of another node.
    case impostor(node: Int, of: Int)
    /// A process starts at a node's place that is empty, with other versions of the protocol.
    case stranger(node: Int, versions: ProtocolRange)
}

/// A world of nodes that do nothing but keep track of each other.
public struct GossipScenario: Sendable {
    public var nodes = 500
    /// Places beside the nodes that start; faults may fill them.
    public var emptyPlaces = 0
    public var durationNs: UInt64 = 60_000_000_000
    public var configuration = MembershipConfiguration.lan
    /// One way. The tail is heavy: one in 10,000 takes 70 ms, one in a million 1.5 s.
    public var delay = Distribution.pareto(scaleNs: 150_000, shape: 1.5)
    /// The part of datagrams, and of a stream's packets, that is lost.
    public var loss = 0.0
    /// Whether all nodes know each other when it begins; if not they join one after the other.
    public var startsWarm = true
    /// Between two starts where they do not.
    public var startIntervalNs: UInt64 = 10_000_000
    /// Monotonic clocks run fast or slow by up to so many parts in a million.
    public var driftPpm = 200.0

    /// The part of nodes that stand still in cycles: the last ones.
    public var pausing = 0.0
    /// The part of pauses in which the process runs on, and nothing comes in or goes out: as in
    /// Lifeguard's own experiments.
    public var stalls = 0.5
    public var pausesFromNs: UInt64 = 30_000_000_000
    public var pauseNs = Distribution.uniform(fromNs: 5_000_000_000, toNs: 30_000_000_000)
    /// How long they run in between: some milliseconds to some seconds.
    public var runNs = Distribution.logNormal(medianNs: 300_000_000, sigma: 2)
    /// Datagrams that a socket keeps while its process stands still.
    public var backlog = 256

    /// The part of nodes whose datagrams take `slowness` times as long: the ones before those.
    public var slow = 0.0
    public var slowness = 100.0

    /// Whether frames carry seals and replay windows are kept.
    public var seals = false
    /// The part of delivered datagrams that somebody sends again later.
    public var replayed = 0.0

    public var faults: [(atNs: UInt64, fault: GossipFault)] = []

    public init() {}
}

/// A healthy member that was declared dead.
public struct FalseDeath: Sendable, Hashable {
    public let atNs: UInt64
    public let observer: Int
    public let member: Int
}

/// How long a crash took to be known.
public struct CrashReport: Sendable, Hashable {
    public let node: Int
    public let atNs: UInt64
    /// From the crash until the first, and until every running node has declared it dead; nil
    /// where not all have.
    public internal(set) var firstNs: UInt64?
    public internal(set) var allNs: UInt64?
}

/// What a world saw.
public struct GossipReport: Sendable {
    /// Deaths that some node believed of a member that ran, was not cut off and does not belong to
    /// those that stand still: the first 100, and how many there were, over all observers.
    public internal(set) var falseDeaths: [FalseDeath] = []
    public internal(set) var falseDeathCount = 0
    /// How many of them an observer concluded by itself.
    public internal(set) var falseDeclarations = 0
    /// Deaths of members that stood still while they were declared, or had just come back.
    public internal(set) var deathsOfPausing = 0
    public internal(set) var crashes: [CrashReport] = []
    /// When all views were equal for the first time since the last fault; nil: never.
    public internal(set) var agreedNs: UInt64?
    public internal(set) var datagrams: UInt64 = 0
    public internal(set) var datagramBytes: UInt64 = 0
    public internal(set) var streamMessages: UInt64 = 0
    public internal(set) var streamBytes: UInt64 = 0
    public internal(set) var events: UInt64 = 0
    public internal(set) var malformed = 0
    public internal(set) var replaysSent: UInt64 = 0
    public internal(set) var replaysTaken: UInt64 = 0
    /// How often a node that knew a process took up an earlier one of the same name.
    public internal(set) var oldBootsTaken = 0
    public internal(set) var largestDatagram = 0
    public internal(set) var rejections: [(node: Int, rejection: MembershipRejection)] = []
    /// Every event's time and every byte's hash: the same seed, the same digest.
    public internal(set) var digest: UInt64 = 0
    /// Most nodes at a time that had frozen rebalancing.
    public internal(set) var mostFrozen = 0
}
