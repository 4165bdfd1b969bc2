/// One start of one process, drawn at random by whoever starts it. Never 0.
public typealias BootID = UInt64

/// Where a member's bus listens, for datagrams and for streams: an IPv6 address, or an IPv4
/// address in the form `::ffff:a.b.c.d`, and a port.
public struct MemberAddress: BitwiseCopyable, Hashable, Sendable {
    /// The address's first eight bytes in network order, read as a number.
    public var hostHigh: UInt64
    public var hostLow: UInt64
    public var port: UInt16

    @inlinable
    public init(hostHigh: UInt64, hostLow: UInt64, port: UInt16) {
        self.hostHigh = hostHigh
        self.hostLow = hostLow
        self.port = port
    }

    /// - Parameter ipv4: `127.0.0.1` is 0x7f000001.
    @inlinable
    public init(ipv4: UInt32, port: UInt16) {
        self.init(hostHigh: 0, hostLow: 0x0000_ffff_0000_0000 | UInt64(ipv4), port: port)
    }

    /// The four bytes of an IPv4 address; nil where it is none.
    @inlinable public var ipv4: UInt32? {
        hostHigh == 0 && (hostLow >> 32) == 0xffff ? UInt32(truncatingIfNeeded: hostLow) : nil
    }
}

/// What a member says about itself. Changes only together with its incarnation.
public struct MemberRecord: Hashable, Sendable {
    /// Unique in the cluster; two processes may bear it only one after the other.
    public var name: Text64
    public var region: Text64
    public var zone: Text64
    public var boot: BootID
    public var address: MemberAddress
    public var httpPort: UInt16
    public var respPort: UInt16
    public var adminPort: UInt16
    public var versions: ProtocolRange

    public init(
        name: Text64, region: Text64 = Text64(), zone: Text64 = Text64(), boot: BootID,
        address: MemberAddress, httpPort: UInt16 = 0, respPort: UInt16 = 0,
        adminPort: UInt16 = 0,
        versions: ProtocolRange = ProtocolRange(
            oldest: ProtocolVersion.oldest, newest: ProtocolVersion.newest)
    ) {
        self.name = name
        self.region = region
        self.zone = zone
        self.boot = boot
        self.address = address
        self.httpPort = httpPort
        self.respPort = respPort
        self.adminPort = adminPort
        self.versions = versions
    }
}

/// How young a statement about a member is: the life in the upper half, refutations within that
/// life in the lower.
///
/// A life is one process under a name. Whoever starts under a name that was used takes the next
/// life, so that no refutation of an earlier process ever catches up with a later one.
public struct Incarnation: BitwiseCopyable, Hashable, Comparable, Sendable {
    public var rawValue: UInt64

    @inlinable
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    @inlinable
    public init(life: UInt32, refutations: UInt32 = 0) {
        rawValue = (UInt64(life) << 32) | UInt64(refutations)
    }

    @inlinable public var life: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 32) }
    @inlinable public var refutations: UInt32 { UInt32(truncatingIfNeeded: rawValue) }

    @inlinable
    public static func < (a: Incarnation, b: Incarnation) -> Bool { a.rawValue < b.rawValue }
}

/// What a node believes of a member.
public enum MemberState: UInt8, BitwiseCopyable, Sendable, CaseIterable {
    case alive = 1
    /// Did not answer; dead unless it objects in time.
    case suspect = 2
    case dead = 3
    /// Said goodbye. Final for this boot.
    case left = 4
}

/// What happened to a member, as seen from one node.
public struct MemberEvent: BitwiseCopyable, Hashable, Sendable {
    public enum Kind: UInt8, BitwiseCopyable, Sendable, CaseIterable {
        /// New, or back from the dead.
        case joined = 1
        /// Its record changed: address, ports, tags or versions.
        case updated
        case suspected
        /// A suspicion was refuted.
        case trusted
        case died
        case left
        /// A dead or departed member is remembered no longer.
        case forgotten
    }

    public var kind: Kind
    public var boot: BootID
    public var incarnation: Incarnation
    /// Its number in the node's table; another member's once it was forgotten or replaced.
    public var slot: UInt16

    @inlinable
    public init(kind: Kind, boot: BootID, incarnation: Incarnation, slot: UInt16) {
        self.kind = kind
        self.boot = boot
        self.incarnation = incarnation
        self.slot = slot
    }
}

/// Something that was refused and that an operator should hear of.
public struct MembershipRejection: BitwiseCopyable, Hashable, Sendable {
    public enum Reason: UInt8, BitwiseCopyable, Sendable, CaseIterable {
        /// The two speak no version in common.
        case disjointVersions = 1
        case otherCluster
        /// Another live process bears this node's name: this node has stopped.
        case nameTaken
        /// The table is full of members that are alive or suspect.
        case tableFull
    }

    public var reason: Reason
    /// The other side.
    public var boot: BootID
    public var address: MemberAddress
    public var versions: ProtocolRange

    @inlinable
    public init(
        reason: Reason, boot: BootID, address: MemberAddress,
        versions: ProtocolRange = ProtocolRange(oldest: 0, newest: 0)
    ) {
        self.reason = reason
        self.boot = boot
        self.address = address
        self.versions = versions
    }
}

/// The limits of membership. Each says what happens where it is reached.
public enum MembershipLimits {
    /// Most members a node knows, itself and the remembered dead included. Beyond it the oldest
    /// dead or departed one is forgotten; if there is none, the newcomer is refused
    /// (`tableFull`).
    public static let members = 4_096
    /// Most addresses to join by; further ones are not used.
    public static let seeds = 64
    /// Longest datagram before sealing. What does not fit goes with a later one.
    public static let datagramBytes = 1_400 - sealBytes
    /// What sealing may add to a datagram.
    public static let sealBytes = 64
    /// Longest message on a stream: 4,096 members with the longest names.
    public static let streamBytes = 1 << 20
    /// Most accusers of one suspicion that are told apart; more confirm nothing further.
    public static let accusers = 4
    /// Most probes a node relays at a time; a further one is answered `nack` at once.
    public static let relays = 256
}
