public import EdgeMemory
public import EdgeTypes

/// A datagram to send: sealed, to one address, once.
public struct OutboundDatagram: BitwiseCopyable, Sendable {
    public var address: MemberAddress
    public var datagram: GossipDatagram
    /// Its updates among `MembershipEffects.updates`.
    public var firstUpdate: Int32
    public var updateCount: Int32
}

/// A message to write to a stream.
public struct OutboundStream: BitwiseCopyable, Sendable {
    public enum Kind: UInt8, BitwiseCopyable, Sendable {
        /// Connect to `address` and write the message; what comes back is given to
        /// `Membership.receive`, a failure to `Membership.streamFailed`.
        case open
        /// Write it to `stream`, which goes on.
        case reply
        /// Write it to `stream`, then close.
        case replyAndClose
    }

    public var kind: Kind
    public var stream: UInt32
    public var address: MemberAddress
    public var message: GossipStreamMessage
    public var firstUpdate: Int32
    public var updateCount: Int32
}

/// What one step of membership wants done, in buffers that are reused from step to step.
public struct MembershipEffects: ~Copyable {
    public var datagrams = PlainList<OutboundDatagram>()
    public var streams = PlainList<OutboundStream>()
    /// Updates of all datagrams and streams.
    public var updates = PlainList<MembershipUpdate>(capacity: 64)
    /// What `MembershipUpdate.record` counts.
    public var records: [MemberRecord] = []
    public var events = PlainList<MemberEvent>()
    public var rejections = PlainList<MembershipRejection>()

    public init() {}

    @inlinable
    public mutating func removeAll() {
        datagrams.removeAll()
        streams.removeAll()
        updates.removeAll()
        if !records.isEmpty { records.removeAll(keepingCapacity: true) }
        events.removeAll()
        rejections.removeAll()
    }

    mutating func append(_ update: MembershipUpdate, _ record: MemberRecord?) {
        var update = update
        update.record = -1
        if let record {
            update.record = Int32(records.count)
            records.append(record)
        }
        updates.append(update)
    }
}

/// What membership has done and refused since its start. Metrics.
public struct MembershipCounters: Sendable, Hashable {
    public var datagramsReceived: UInt64 = 0
    public var datagramsSent: UInt64 = 0
    public var probes: UInt64 = 0
    public var probesFailed: UInt64 = 0
    /// Probes whose first ping was not answered in time.
    public var indirectProbes: UInt64 = 0
    public var relays: UInt64 = 0
    /// Requests to relay that found `MembershipLimits.relays` under way.
    public var relaysRefused: UInt64 = 0
    public var nacksSent: UInt64 = 0
    public var suspicions: UInt64 = 0
    public var confirmations: UInt64 = 0
    public var checks: UInt64 = 0
    /// Checks that had to wait for `checksPerSecond`.
    public var checksDelayed: UInt64 = 0
    /// Suspicions that ended as deaths here, rather than being heard of.
    public var deathsDeclared: UInt64 = 0
    public var refutations: UInt64 = 0
    public var exchanges: UInt64 = 0
    /// Exchanges that found both sides alike.
    public var exchangesSame: UInt64 = 0
    /// Streams that could not be opened, for exchanges and for probes, or that broke.
    public var streamsFailed: UInt64 = 0
    /// Exchanges whose state did not fit into `MembershipLimits.streamBytes`.
    public var exchangesCut: UInt64 = 0
    public var reconnects: UInt64 = 0
    /// How often this process stood still, and for how long in all.
    public var oversleeps: UInt64 = 0
    public var oversleptNs: UInt64 = 0

    /// Datagrams and streams of other clusters.
    public var otherCluster: UInt64 = 0
    /// Statements about boots that nobody here knows: earlier ones mostly.
    public var unknownBoots: UInt64 = 0
    /// Records of an earlier life of a name.
    public var oldBoots: UInt64 = 0
    /// Pings meant for somebody else, who had this address before.
    public var misdirected: UInt64 = 0
    public var disjointVersions: UInt64 = 0
    public var tableFull: UInt64 = 0
    public var nameRivals: UInt64 = 0

    public init() {}
}
