import EdgeMemory

/// What may go wrong in a simulated world.
///
/// Names are part of what a seed means: a kind that is added or moved changes no draw of the others.
public enum FaultKind: String, Sendable, CaseIterable, Codable {
    // Nodes.
    /// kill -9, and a restart at the end.
    case crash
    /// The machine stops: what was not synced is lost or torn. A restart at the end.
    case powerLoss
    /// The machine stops within a millisecond of the next moment at which something leaves
    /// or is written that the journal does not hold yet. A restart at the end.
    case powerLossInFlight
    /// The same, at the next moment at which a transfer between cores leaves.
    case powerLossAtTransfer
    /// All nodes stop as in a loss of power, at once. Restarts at the end.
    case blackout
    /// The members of one shard stop so, at once; who is none of them goes on. Restarts at the end.
    case shardPowerLoss
    /// The process stands still while its clocks run on.
    case pause
    /// The processor takes `magnitude` times as long.
    case slowCPU
    /// A clean stop, and a restart at the end.
    case drain
    /// A restart with another number of event loops, after a clean stop.
    case resize
    // Clocks.
    /// The wall clock jumps forward by `magnitude` ms.
    case clockForward
    /// The wall clock jumps back by `magnitude` ms.
    case clockBack
    /// The clocks run fast or slow by `magnitude` parts per million, together with others.
    case clockDrift
    // Network: a share `magnitude` of messages, or a multiple.
    case requestLoss
    case replyLoss
    case duplication
    case slowLink
    /// The link passes `magnitude` bytes a second, one message after the other.
    case bandwidth
    /// A few messages take `magnitude` times as long, so that later ones overtake them.
    case reordering
    /// Nothing passes between clients and the node; what was under way is lost, unless it is
    /// longer on its way than the partition lasts.
    case partition
    /// Requests arrive and answers do not.
    case oneWayOut
    /// Answers arrive and requests do not.
    case oneWayIn
    /// What is sent meanwhile waits; all of it arrives at the end.
    case clog
    /// Open connections break at the beginning.
    case brokenConnections
    // Between the nodes of a cluster.
    /// The node is cut off from all others.
    case busCut
    /// Its links to others break at the beginning.
    case busBroken
    /// Messages between it and others take `magnitude` times as long.
    case busSlow
    // The arbiter.
    /// It refuses everything.
    case arbiterDown
    /// Changes are made and the answer is lost.
    case arbiterAnswerLost
    // Disk.
    /// fdatasync fails: the process ends, and restarts at the end.
    case syncError
    /// Syncs take `magnitude` times as long.
    case diskStall
    /// No room for anything new.
    case diskFull
    /// A bit of what was synced long ago flips, while the node is down.
    case bitRot
    /// One write lands at another place of its file.
    case misdirectedWrite
    /// The disk is exchanged for an empty one: an empty node under an old name.
    case diskLoss
    // Stores.
    case storeDown
    /// The store takes `magnitude` times as long.
    case storeSlow
    /// Transactions commit and the connection breaks before the answer.
    case storeCommitLost
    case storeDeadlock
    /// At its end the store is what it was at its beginning: a backup was restored, or a replica
    /// that lagged was promoted.
    case storeRestored
    // Redis.
    case redisDown
    /// It takes `magnitude` times as long.
    case redisSlow
    /// Connections break before a command is done or after it, or it is done some seconds later.
    case redisAnswerLost
    /// Commands are done twice, the second time some seconds later.
    case redisRepeats
    /// FLUSHALL, at the beginning.
    case redisFlushed
    /// One of the keys that pools have is deleted, at the beginning.
    case redisKeyDeleted
    /// At its end a replica takes over that has what there was at the beginning.
    case redisFailover
    // Operators and clients.
    /// A pool is altered and altered back.
    case configRollback
    /// A share `magnitude` of users repeats what it asked at once.
    case retryStorm
}

extension FaultKind {
    /// Names the kind in draws: 24 bits of its name's hash, above all other entities of its stream.
    var number: UInt64 {
        var name = rawValue
        let hash = name.withUTF8 { Hash64.bytes(UnsafeRawBufferPointer($0)) }
        return 1 << 24 | hash >> 40
    }

    var isBetweenNodes: Bool { self == .busCut || self == .busBroken || self == .busSlow }

    var isOfArbiter: Bool { self == .arbiterDown || self == .arbiterAnswerLost }

    /// Only where there is a Redis.
    var isOfRedis: Bool {
        switch self {
        case .redisDown, .redisSlow, .redisAnswerLost, .redisRepeats, .redisFlushed,
            .redisKeyDeleted, .redisFailover:
            true
        default: false
        }
    }

    /// Whether it comes only where a scenario names it. After a blackout little is left of what
    /// other kinds had prepared; a restored store needs journals that reach back as far.
    var isNamed: Bool { self == .storeRestored || takesAll }

    /// Whether it takes all members of some shards.
    var takesAll: Bool { self == .blackout || self == .shardPowerLoss }

    /// Whether a node without replicas may be beyond help afterwards.
    var isFatalAlone: Bool { self == .bitRot || self == .misdirectedWrite || self == .diskLoss }
}

/// One thing that goes wrong, at one place, for a while.
public struct Fault: Sendable, Hashable, Codable {
    public var kind: FaultKind
    public var startNs: UInt64
    public var endNs: UInt64
    public var node: Int
    /// What it means depends on the kind.
    public var magnitude: Double
    /// Names the fault in draws: other faults do not change what this one does.
    public var id: UInt64

    public init(
        kind: FaultKind, startNs: UInt64, endNs: UInt64, node: Int, magnitude: Double, id: UInt64
    ) {
        self.kind = kind
        self.startNs = startNs
        self.endNs = endNs
        self.node = node
        self.magnitude = magnitude
        self.id = id
    }
}

extension Fault: CustomStringConvertible {
    public var description: String {
        func ms(_ ns: UInt64) -> String { "\(ns / 1_000_000) ms" }
        return "\(kind.rawValue) of node \(node), \(ms(startNs)) to \(ms(endNs))"
            + (magnitude == 1 ? "" : ", by \(magnitude)")
    }
}
