import EdgeTypes

/// Which answers may leave: for each stream, the lane's position up to which every entry is
/// committed.
///
/// Shards of one stream wait for each other; shards of different streams do not. So a partner
/// that is slow or dead holds up the answers of the shards that it follows and no others.
/// O(1) amortised for each shard that a step has touched.
struct CommitStreams {
    private struct Item {
        var position: UInt64
        var local: Int32
        var sequence: UInt64
    }

    private var queues: [[Item]] = Array(repeating: [], count: CommitStream.count)
    private var heads = Array(repeating: 0, count: CommitStream.count)

    /// A shard's entries up to `sequence` are not committed; `position` is the end of the step
    /// that made the last of them.
    mutating func wait(_ stream: UInt8, local: Int, sequence: UInt64, position: UInt64) {
        queues[Int(stream)].append(
            Item(position: position, local: Int32(local), sequence: sequence))
    }

    /// Drops what is committed.
    ///
    /// - Returns: the last position of which everything may leave.
    mutating func released(
        _ stream: UInt8, _ isCommitted: (_ local: Int, _ sequence: UInt64) -> Bool
    ) -> UInt64 {
        let index = Int(stream)
        while heads[index] < queues[index].count {
            let item = queues[index][heads[index]]
            guard isCommitted(Int(item.local), item.sequence) else { return item.position - 1 }
            heads[index] += 1
        }
        if !queues[index].isEmpty {
            queues[index].removeAll(keepingCapacity: true)
            heads[index] = 0
        }
        return .max
    }

    /// The streams on which something of a shard waits that is not committed: bits by their number. A shard's answers may
    /// wait on several, if its partners have changed.
    ///
    /// Complexity: O(what waits).
    func streams(of local: Int, after committed: UInt64) -> UInt16 {
        var streams: UInt16 = 0
        for index in queues.indices {
            let waits = queues[index][heads[index]...].contains {
                $0.local == Int32(local) && $0.sequence > committed
            }
            if waits { streams |= 1 << UInt16(index) }
        }
        return streams
    }

    /// Whether nothing waits on a stream.
    func isEmpty(_ stream: UInt8) -> Bool { queues[Int(stream)].isEmpty }

    /// Keeps a queue that never empties from growing without end.
    mutating func tidy() {
        for index in queues.indices where heads[index] > 1_024 {
            guard heads[index] * 2 > queues[index].count else { continue }
            queues[index].removeFirst(heads[index])
            heads[index] = 0
        }
    }
}
