/// Where a request or a frame goes next: to another core of this node, or to another node.
public struct Route: BitwiseCopyable, Hashable, Sendable {
    /// A core's number, or a node's with bit 16 set.
    public var rawValue: UInt32

    @inlinable
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// - Parameter core: below 2^16.
    @inlinable
    public static func core(_ core: Int) -> Route { Route(rawValue: UInt32(core)) }

    /// - Parameter node: its number in the cluster, below `Limits.nodes`.
    @inlinable
    public static func node(_ node: Int) -> Route { Route(rawValue: 1 << 16 | UInt32(node)) }

    /// Every other node that can be reached.
    public static let everyNode = Route(rawValue: 1 << 17)

    @inlinable public var isCore: Bool { rawValue >> 16 == 0 }

    /// - Precondition: it is a core's.
    @inlinable public var core: Int {
        precondition(isCore)
        return Int(rawValue)
    }

    /// - Precondition: it is one node's.
    @inlinable public var node: Int {
        precondition(rawValue >> 16 == 1)
        return Int(rawValue & 0xffff)
    }
}
