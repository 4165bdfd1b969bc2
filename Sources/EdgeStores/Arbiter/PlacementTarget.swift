/// Who should hold each shard, as an operator has decided last.
public struct PlacementTarget: Hashable, Sendable {
    /// Grows with each change; 0: nothing was decided yet.
    public var version: Int64 = 0
    /// Nothing is moved for its sake now.
    public var isPaused = false
    /// Shards of one node that are on the move at once.
    public var shardsAtOnce = 8
    /// Bytes a second that one event loop copies at most; 0: as fast as the links take them.
    public var bytesPerSecond: Int64 = 0
    /// By shard: node numbers, whoever should lead first; the same count for all.
    public var members: [[UInt16]]
    /// What an abort goes back to.
    public var previous: [[UInt16]]
    /// Nodes that the cluster does without from now on: they hold nothing once this is reached.
    public var retired: [UInt16] = []

    public init(members: [[UInt16]], previous: [[UInt16]]) {
        self.members = members
        self.previous = previous
    }

    /// `0 1;2 0;…`: shards in order.
    static func text(_ members: [[UInt16]]) -> String {
        members.map { text($0) }.joined(separator: ";")
    }

    static func text(_ numbers: [UInt16]) -> String {
        numbers.map { String($0) }.joined(separator: " ")
    }

    /// nil where the text is none.
    static func numbers(_ text: String) -> [UInt16]? {
        let parts = text.split(separator: " ").map { UInt16($0) }
        let known = parts.compactMap(\.self)
        return known.count == parts.count ? known : nil
    }

    /// nil where the text is none.
    static func members(_ text: String) -> [[UInt16]]? {
        var members: [[UInt16]] = []
        for part in text.split(separator: ";", omittingEmptySubsequences: false) {
            guard let nodes = numbers(String(part)), !nodes.isEmpty else { return nil }
            members.append(nodes)
        }
        return members
    }
}
