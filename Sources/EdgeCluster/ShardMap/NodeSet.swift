/// Up to three different nodes, in ascending order of their numbers, in one word.
public struct NodeSet: Sendable, Hashable {
    /// 16 bits a node from the lowest, all ones where there is none.
    private var word: UInt64
    public private(set) var count: Int

    static let capacity = Topology.replicaLimit

    public init() {
        word = UInt64.max
        count = 0
    }

    /// - Precondition: at most three, all different.
    public init(_ nodes: some Sequence<Int>) {
        self.init()
        for node in nodes { self = adding(node) }
    }

    /// - Precondition: `index < count`.
    public subscript(index: Int) -> Int {
        precondition(index >= 0 && index < count)
        return Int(truncatingIfNeeded: (word >> UInt64(index * 16)) & 0xffff)
    }

    public func contains(_ node: Int) -> Bool {
        for index in 0..<count where self[index] == node { return true }
        return false
    }

    /// - Precondition: there is room, and `node` is not in it.
    public func adding(_ node: Int) -> NodeSet {
        precondition(count < Self.capacity && node >= 0 && node < 0xffff)
        var made = NodeSet()
        var place = 0
        for index in 0..<count where self[index] < node { place = index + 1 }
        for index in 0..<place { made.push(self[index]) }
        made.push(node)
        for index in place..<count {
            precondition(self[index] != node)
            made.push(self[index])
        }
        return made
    }

    /// Without `node`, where it is in it.
    public func removing(_ node: Int) -> NodeSet {
        var made = NodeSet()
        for index in 0..<count where self[index] != node { made.push(self[index]) }
        return made
    }

    public func subtracting(_ other: NodeSet) -> NodeSet {
        var made = NodeSet()
        for index in 0..<count where !other.contains(self[index]) { made.push(self[index]) }
        return made
    }

    public func isSuperset(of other: NodeSet) -> Bool { other.subtracting(self).count == 0 }

    public var numbers: [Int] { (0..<count).map { self[$0] } }

    private mutating func push(_ node: Int) {
        let shift = UInt64(count * 16)
        word = (word & ~(0xffff << shift)) | (UInt64(node) << shift)
        count += 1
    }
}
