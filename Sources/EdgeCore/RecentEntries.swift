import EdgeMemory
import EdgeTypes
import EdgeWire

/// The last entries of a core's lane, for followers that miss a few of them after their
/// connection broke. Whoever misses more is sent a copy.
struct RecentEntries {
    /// Bytes that are kept at least, once there were so many; twice as many at most.
    let keptBytes: Int
    private var older: [UInt8] = []
    private var newer: [UInt8] = []

    init(keptBytes: Int) { self.keptBytes = keptBytes }

    mutating func append(_ entries: UnsafeRawBufferPointer) {
        guard !entries.isEmpty else { return }
        if newer.count >= keptBytes {
            swap(&older, &newer)
            newer.removeAll(keepingCapacity: true)
        }
        newer.append(contentsOf: entries)
    }

    /// A shard's entries after a sequence.
    struct Tail {
        var shard: ShardID
        var after: UInt64
        var bytes: [UInt8] = []
        /// The sequence of the first; 0: none.
        fileprivate(set) var first: UInt64 = 0
    }

    /// Fills in tails. One whose `first` does not follow `after` then is not here any more.
    ///
    /// Complexity: O(bytes kept).
    func fill(_ tails: inout [Tail]) {
        // Looked up only, never iterated.
        var places: [ShardID: Int] = [:]
        for (place, tail) in tails.enumerated() { places[tail.shard] = place }
        collect(older, places, &tails)
        collect(newer, places, &tails)
    }

    private func collect(_ entries: [UInt8], _ places: [ShardID: Int], _ tails: inout [Tail]) {
        entries.withUnsafeBytes { bytes in
            var offset = 0
            while offset < bytes.count, let frame = try? JournalFrame.parse(bytes, at: offset) {
                offset += frame.length
                guard let place = places[frame.shard], frame.sequence > tails[place].after else {
                    continue
                }
                // An entry of a log that was dropped since is followed by one of its number.
                if tails[place].first == 0 || frame.sequence <= tails[place].first {
                    tails[place].first = frame.sequence
                    tails[place].bytes = []
                }
                tails[place].bytes.append(contentsOf: frame.bytes)
            }
        }
    }
}
