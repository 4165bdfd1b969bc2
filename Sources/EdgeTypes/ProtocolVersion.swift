/// Versions of what nodes say to each other and write for each other: gossip, messages on the bus and
/// journal entries. Snapshots, and so copies of shards, have a format of their own: 5, or 6 from
/// `archiveOrders` on where orders may leave memory.
///
/// A node reads all versions that it knows. It writes what came with a version only once every node of
/// its cluster has said that it knows that version: until then any of them may go back to the
/// executable before, and a node that nobody has heard of since is taken to be an old one.
public enum ProtocolVersion {
    public static let oldest: UInt16 = 1
    /// Slices of closed pools are archived: `Entry.sliceArchived`, and the answers that say so.
    public static let archive: UInt16 = 2
    /// Those of SKUs too, and what happens to their orders afterwards; snapshots say of each order
    /// which number it has.
    public static let archiveOrders: UInt16 = 3
    /// Slices say whether anything is out of play, and certificates whether anything can come back:
    /// `SweptSlice.isFinal`, `SoldOut.isFinal`. Before, rains have no doors. A node of an earlier
    /// version that joins later cannot read a home's snapshot that holds such a certificate.
    public static let finalSoldOut: UInt16 = 4
    /// The numbers of a shard's orders may have gaps: `StockBook.skipNumbers`. Written as soon as no
    /// node that was heard is older: a cluster that has lost its power must not wait for all of them
    /// to say what they speak. An older one stops following a shard that has such a gap.
    public static let orderGaps: UInt16 = 5
    public static let newest = orderGaps
}

/// The protocol versions that a member speaks, both ends included.
public struct ProtocolRange: BitwiseCopyable, Hashable, Sendable {
    public var oldest: UInt16
    public var newest: UInt16

    @inlinable
    public init(oldest: UInt16, newest: UInt16) {
        self.oldest = oldest
        self.newest = newest
    }

    /// Whether the two have a version in common.
    @inlinable
    public func meets(_ other: ProtocolRange) -> Bool {
        oldest <= other.newest && other.oldest <= newest
    }
}

/// What the nodes of a cluster speak together.
public struct SpokenProtocol: BitwiseCopyable, Hashable, Sendable {
    /// What every node speaks; one that has said nothing is taken to be an old one.
    public var common: UInt16
    /// What every node speaks that has said anything.
    public var heard: UInt16

    public init(common: UInt16, heard: UInt16) {
        self.common = common
        self.heard = heard
    }
}

/// What the nodes of a cluster speak, as one of them has heard.
public struct SpokenVersions: Sendable {
    /// By node's number: the newest that it has said to know; 0: nothing was heard.
    private var newest: [UInt16]

    /// - Parameters:
    ///   - own: this node's number, and the newest version that it speaks.
    public init(own: Int, newest: UInt16, nodes: Int) {
        self.newest = Array(repeating: 0, count: nodes)
        self.newest[own] = newest
    }

    /// There are so many nodes now: numbers are never given up.
    public mutating func grow(nodes: Int) {
        while newest.count < nodes { newest.append(0) }
    }

    public mutating func hear(_ node: Int, newest version: UInt16) {
        if newest.indices.contains(node) { newest[node] = version }
    }

    /// What a node has said; nil: nothing yet.
    public func version(of node: Int) -> UInt16? {
        newest.indices.contains(node) && newest[node] > 0 ? newest[node] : nil
    }

    /// What the nodes speak together, but for those that the cluster is to do without. O(nodes).
    public func spoken(without retired: [UInt16] = []) -> SpokenProtocol {
        var spoken = SpokenProtocol(
            common: ProtocolVersion.newest, heard: ProtocolVersion.newest)
        for (node, version) in newest.enumerated() where !retired.contains(UInt16(node)) {
            spoken.common = min(spoken.common, max(version, ProtocolVersion.oldest))
            if version > 0 { spoken.heard = min(spoken.heard, version) }
        }
        return spoken
    }
}
