public import EdgeTypes
public import EdgeWire

/// What a node says about itself when a connection begins. Sealed.
public struct BusHello: Hashable, Sendable {
    public var name: Text64
    public var boot: BootID
    public var cluster: Text64
    /// How many shards the cluster has: fixed when it was made.
    public var shards: UInt32
    public var versions: ProtocolRange
    /// A hash of which node has which shard; 0 where nothing is said of that.
    public var owners: UInt64
    /// What the connection is for, as whoever dialed says.
    public var purpose = BusPurpose.work

    /// - Precondition: name and cluster are not empty, and the boot is not 0.
    public init(
        name: Text64, boot: BootID, cluster: Text64, shards: UInt32,
        versions: ProtocolRange = ProtocolRange(
            oldest: ProtocolVersion.oldest, newest: ProtocolVersion.newest),
        owners: UInt64 = 0
    ) {
        precondition(!name.isEmpty && !cluster.isEmpty)
        precondition(boot != 0)
        self.name = name
        self.boot = boot
        self.cluster = cluster
        self.shards = shards
        self.versions = versions
        self.owners = owners
    }

    /// Why two nodes do not speak with each other; nil where they do. Both come to the same.
    func refusal(of peer: BusHello) -> BusRefusal? {
        if peer.cluster != cluster { return .otherCluster(ours: cluster, theirs: peer.cluster) }
        if peer.shards != shards { return .otherShards(ours: shards, theirs: peer.shards) }
        if peer.owners != owners { return .otherOwners }
        if !versions.meets(peer.versions) {
            return .disjointVersions(ours: versions, theirs: peer.versions)
        }
        if peer.boot == boot, peer.name == name { return .itself }
        return nil
    }

    // MARK: Bytes

    /// Longest hello, with room for what later versions add at its end.
    static let limitBytes = 1_024

    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        func put(_ value: some FixedWidthInteger) {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }
        put(versions.oldest)
        put(versions.newest)
        put(shards)
        put(boot)
        put(name.count)
        bytes += name.bytes
        put(cluster.count)
        bytes += cluster.bytes
        put(owners)
        put(purpose.rawValue)
        return bytes
    }

    /// nil where the bytes are none. What follows behind it is a later version's.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= 16 else { return nil }
        func integer<T: FixedWidthInteger & BitwiseCopyable>(_ offset: Int) -> T {
            T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
        }
        versions = ProtocolRange(oldest: integer(0), newest: integer(2))
        shards = integer(4)
        boot = integer(8)
        var offset = 16
        func text() -> Text64? {
            guard offset < bytes.count else { return nil }
            let end = offset + 1 + Int(bytes[offset])
            guard end <= bytes.count else { return nil }
            defer { offset = end }
            return Text64(bytes[(offset + 1)..<end])
        }
        guard let name = text(), let cluster = text(), !name.isEmpty, !cluster.isEmpty, boot != 0,
            versions.oldest <= versions.newest
        else { return nil }
        guard offset + 8 <= bytes.count else { return nil }
        owners = integer(offset)
        offset += 8
        guard offset < bytes.count, let purpose = BusPurpose(rawValue: bytes[offset]) else {
            return nil
        }
        self.purpose = purpose
        self.name = name
        self.cluster = cluster
    }
}

/// What a connection between two nodes is for.
public enum BusPurpose: UInt8, Sendable {
    /// Requests, frames, entries and copies: not read while the reader's disk is behind.
    case work = 0
    /// Beacons: always read.
    case beacons = 1
}

/// Why two nodes that share a key do not speak with each other.
public enum BusRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    case otherCluster(ours: Text64, theirs: Text64)
    case otherShards(ours: UInt32, theirs: UInt32)
    /// The two were started with different topologies: shards would have two owners.
    case otherOwners
    case disjointVersions(ours: ProtocolRange, theirs: ProtocolRange)
    /// The address is this node's own.
    case itself

    public var description: String {
        switch self {
        case .otherCluster(let ours, let theirs):
            "it belongs to cluster \(theirs), this node to \(ours)"
        case .otherShards(let ours, let theirs):
            "its cluster has \(theirs) shards, this node's \(ours)"
        case .otherOwners: "it was started with another topology: shards would have two owners"
        case .disjointVersions(let ours, let theirs):
            "it speaks versions \(theirs.oldest)-\(theirs.newest), this node"
                + " \(ours.oldest)-\(ours.newest)"
        case .itself: "it is this node itself"
        }
    }
}

/// How a connection to another node ended.
public enum BusEnd: Hashable, Sendable, CustomStringConvertible {
    /// The other side closed it, or the network broke it.
    case closed
    /// The other side closed it before the two had agreed: it may not know this node's key.
    case rejected
    /// It could not be made.
    case unreachable(String)
    /// This side closed it.
    case stopped
    /// It did not prove to know a key of the ring: no node of this cluster, or one with other keys.
    case stranger
    /// What it sent was genuine once, on another connection.
    case replay
    case refused(BusRefusal)
    /// The two did not come to terms in time.
    case timeout
    /// Nothing came any more.
    case silent
    /// It did not read any more.
    case stalled
    /// More waited to be sent than may.
    case overflow
    /// A record was longer than any is.
    case tooLong
    /// A record was not what the other side had sent.
    case damaged
    case malformed(BusDecodeError)
    /// A key that it was made with is in the ring no longer.
    case keyRemoved
    /// Too many others were about to begin.
    case crowded

    public var description: String {
        switch self {
        case .closed: "closed by the other side"
        case .rejected: "closed by the other side at once: it may have other cluster keys"
        case .unreachable(let why): "unreachable: \(why)"
        case .stopped: "closed"
        case .stranger: "it knows no key of this cluster's ring"
        case .replay: "replayed"
        case .refused(let refusal): "refused: \(refusal)"
        case .timeout: "no agreement in time"
        case .silent: "silent for too long"
        case .stalled: "does not read"
        case .overflow: "too much waits to be sent"
        case .tooLong: "a record is too long"
        case .damaged: "a record is damaged"
        case .malformed(let error): "malformed: \(error)"
        case .keyRemoved: "its key was removed"
        case .crowded: "too many connections are about to begin"
        }
    }
}
