import EdgeMemory

/// Bytes that come at one end and go at the other, in one piece. Amortised O(1) a byte; what a
/// large message took is given back once it is gone.
struct ByteQueue: ~Copyable {
    private(set) var sink = ByteSink(capacity: 4_096)
    private var head = 0
    private var isLarge = false
    private static let keptBytes = 256 << 10

    var count: Int { sink.count - head }

    /// Valid until the next mutation.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: sink.bytes[head...]) }

    /// Where they lie, to be changed in place.
    mutating func mutableBytes(_ range: Range<Int>) -> UnsafeMutableRawBufferPointer {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        // SAFETY: the range is within what the sink holds, and this call owns the sink.
        return UnsafeMutableRawBufferPointer(
            mutating: UnsafeRawBufferPointer(rebasing: bytes[range]))
    }

    mutating func append(_ more: UnsafeRawBufferPointer) {
        sink.append(more)
        if sink.count > Self.keptBytes { isLarge = true }
    }

    /// Lets `body` append to what is held.
    @inline(__always)
    mutating func append(_ body: (inout ByteSink) -> Void) {
        body(&sink)
        if sink.count > Self.keptBytes { isLarge = true }
    }

    mutating func consume(_ size: Int) {
        precondition(size >= 0 && size <= count)
        head += size
        if head == sink.count {
            head = 0
            if isLarge { sink = ByteSink(capacity: 4_096) } else { sink.removeAll() }
            isLarge = false
        } else if head > Self.keptBytes, head > sink.count / 2 {
            // At most as many bytes move as have gone.
            var rest = ByteSink(capacity: max(4_096, count))
            rest.append(bytes)
            sink = rest
            head = 0
        }
    }

    mutating func removeAll() { consume(count) }
}
