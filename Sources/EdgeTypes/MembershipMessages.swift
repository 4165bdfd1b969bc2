/// A statement about one member, as datagrams and streams carry it.
public struct MembershipUpdate: BitwiseCopyable, Sendable {
    public var boot: BootID
    public var incarnation: Incarnation
    /// Who says so, of a suspicion or a death: `accusers` of them, at most four.
    public var accuser0: BootID
    public var accuser1: BootID
    public var accuser2: BootID
    public var accuser3: BootID
    /// Which of the message's records is this member's; -1: none comes with it.
    public var record: Int32
    public var state: MemberState
    public var accuserCount: UInt8

    @inlinable
    public init(
        state: MemberState, boot: BootID, incarnation: Incarnation, record: Int32 = -1
    ) {
        self.state = state
        self.boot = boot
        self.incarnation = incarnation
        self.record = record
        accuser0 = 0
        accuser1 = 0
        accuser2 = 0
        accuser3 = 0
        accuserCount = 0
    }

    /// - Precondition: `index` is below `accuserCount`.
    @inlinable
    public func accuser(_ index: Int) -> BootID {
        precondition(index >= 0 && index < Int(accuserCount))
        switch index {
        case 0: return accuser0
        case 1: return accuser1
        case 2: return accuser2
        default: return accuser3
        }
    }

    /// Adds one unless there are four or it is there already.
    ///
    /// - Returns: whether it was added.
    @inlinable @discardableResult
    public mutating func accuse(by boot: BootID) -> Bool {
        for index in 0..<Int(accuserCount) where accuser(index) == boot { return false }
        switch accuserCount {
        case 0: accuser0 = boot
        case 1: accuser1 = boot
        case 2: accuser2 = boot
        case 3: accuser3 = boot
        default: return false
        }
        accuserCount += 1
        return true
    }

    /// What it takes in a message, its record apart.
    @inlinable public var wireBytes: Int {
        switch state {
        case .alive, .left: 17
        case .suspect, .dead: 18 + 8 * Int(accuserCount)
        }
    }
}

extension MemberRecord {
    /// What it takes in a message.
    public var wireBytes: Int {
        let texts = Int(name.count) + Int(region.count) + Int(zone.count)
        return 3 + texts + (address.ipv4 == nil ? 17 : 5) + 4 * 2 + 2 * 2
    }
}

/// A datagram without the updates that ride on it.
public struct GossipDatagram: BitwiseCopyable, Hashable, Sendable {
    public enum Kind: UInt8, BitwiseCopyable, Sendable, CaseIterable {
        /// "Are you alive?" Bears `sequence` and `target`; whoever is not the target is silent.
        case ping = 1
        /// The answer, with the ping's sequence.
        case ack
        /// The same from somebody who does not know the sender and would like to hear its state.
        case ackToStranger
        /// "Ping the target for me."
        case pingRequest
        /// "It answered": the request's sequence, and the target's incarnation.
        case indirectAck
        /// "It has not answered me either", or "I cannot ask it".
        case nack
        /// Updates alone.
        case gossip
    }

    public var kind: Kind
    /// Names the cluster; what comes from another is dropped.
    public var cluster: UInt32
    public var sender: BootID
    /// The sender's own: whoever hears it knows that it is alive at this incarnation.
    public var incarnation: Incarnation
    /// 0 where no answer is matched against it.
    public var sequence: UInt32
    public var target: BootID
    public var targetIncarnation: Incarnation

    @inlinable
    public init(
        kind: Kind, cluster: UInt32, sender: BootID, incarnation: Incarnation,
        sequence: UInt32 = 0, target: BootID = 0,
        targetIncarnation: Incarnation = Incarnation(rawValue: 0)
    ) {
        self.kind = kind
        self.cluster = cluster
        self.sender = sender
        self.incarnation = incarnation
        self.sequence = sequence
        self.target = target
        self.targetIncarnation = targetIncarnation
    }

    /// What it takes on the wire, its updates apart.
    @inlinable public var wireBytes: Int {
        switch kind {
        case .ping, .pingRequest: 36
        case .ack, .ackToStranger, .nack: 28
        case .indirectAck: 44
        case .gossip: 24
        }
    }
}

/// A message on a stream without the members that it lists.
public struct GossipStreamMessage: BitwiseCopyable, Hashable, Sendable {
    public enum Kind: UInt8, BitwiseCopyable, Sendable, CaseIterable {
        /// Opens an exchange of state; is answered by `state`, `same` or `refused`.
        case hello = 1
        /// All members. The first is answered by the other side's, unless that is still joining.
        case state
        /// The answer to the first `state`. Ends the exchange.
        case stateBack
        /// "We know the same": the digests are equal.
        case same
        case refused
        /// A ping for where datagrams do not get through.
        case probe
        case probed
    }

    public var kind: Kind
    public var cluster: UInt32
    public var sender: BootID
    public var incarnation: Incarnation
    public var versions: ProtocolRange
    /// Hash of all members that are alive or suspect, in `hello`.
    public var digest: UInt64
    /// How many they are, in `hello`.
    public var count: UInt32
    public var sequence: UInt32
    /// Who is meant, in `probe`.
    public var target: BootID
    public var reason: MembershipRejection.Reason

    @inlinable
    public init(
        kind: Kind, cluster: UInt32, sender: BootID, incarnation: Incarnation,
        versions: ProtocolRange, digest: UInt64 = 0, count: UInt32 = 0, sequence: UInt32 = 0,
        target: BootID = 0, reason: MembershipRejection.Reason = .otherCluster
    ) {
        self.kind = kind
        self.cluster = cluster
        self.sender = sender
        self.incarnation = incarnation
        self.versions = versions
        self.digest = digest
        self.count = count
        self.sequence = sequence
        self.target = target
        self.reason = reason
    }
}
