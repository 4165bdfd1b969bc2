import EdgeMemory

/// Bytes of messages under way: appended to chunks, which are used again once all that is in them
/// was released.
///
/// Complexity: O(1) amortised and, warm, without allocation. One message that takes very long
/// holds its whole chunk.
struct GossipArena: ~Copyable {
    static let chunkBytes = 1 << 18

    private var chunks = SlotArray<ByteSink>()
    private var held: [Int] = []
    private var free: [Int] = []
    private var current = -1

    /// A message's place.
    struct Place: BitwiseCopyable {
        var chunk: Int32
        var offset: Int32
        var length: Int32
    }

    /// Lets `write` append a message.
    mutating func append(_ write: (inout ByteSink) -> Void) -> Place {
        if current < 0 || chunks[current].count > Self.chunkBytes { open() }
        let offset = chunks[current].count
        write(&chunks[current])
        held[current] += 1
        return Place(
            chunk: Int32(current), offset: Int32(offset),
            length: Int32(chunks[current].count - offset))
    }

    /// A message's bytes, valid until the next mutation.
    func bytes(_ place: Place) -> UnsafeRawBufferPointer {
        let all = chunks[Int(place.chunk)].bytes
        let start = Int(place.offset)
        return UnsafeRawBufferPointer(rebasing: all[start..<(start + Int(place.length))])
    }

    mutating func release(_ place: Place) {
        let chunk = Int(place.chunk)
        held[chunk] -= 1
        precondition(held[chunk] >= 0)
        if held[chunk] == 0 && chunk != current {
            chunks[chunk].removeAll()
            free.append(chunk)
        }
    }

    private mutating func open() {
        // The chunk that was full may be empty already.
        if current >= 0 && held[current] == 0 {
            chunks[current].removeAll()
            return
        }
        if let reused = free.popLast() {
            current = reused
            return
        }
        current = chunks.append(ByteSink(capacity: Self.chunkBytes + 4_096))
        held.append(0)
    }
}

/// Delays drawn from a table of 4,096 quantiles, and exactly in the last of them, where the tail
/// is: some ten times as fast as computing logarithms.
struct DelayTable {
    private static let bits: UInt64 = 12
    private let quantilesNs: [UInt64]
    private let distribution: Distribution

    init(_ distribution: Distribution) {
        self.distribution = distribution
        quantilesNs = (0..<(1 << Self.bits)).map { index in
            distribution.quantileNs((Double(index) + 0.5) / Double(1 << Self.bits))
        }
    }

    /// The delay that belongs to a random word, of which the upper 48 bits count.
    @inline(__always)
    func sampleNs(_ word: UInt64) -> UInt64 {
        let index = Int(word >> (64 - Self.bits))
        if index < quantilesNs.count - 1 { return quantilesNs[index] }
        return distribution.sampleNs(word | 0xffff)
    }
}
