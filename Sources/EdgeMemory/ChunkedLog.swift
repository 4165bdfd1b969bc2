/// An append-only array of plain values that never moves them: growth adds a chunk.
///
/// Appending is O(1) and copies at most one chunk (64 KiB, while the log is shorter than that);
/// reading is O(1). A short log takes little memory: its first chunk doubles up to full size.
public struct ChunkedLog<Element: BitwiseCopyable>: ~Copyable {
    @usableFromInline var chunks: UnsafeMutablePointer<UnsafeMutablePointer<Element>>
    @usableFromInline var chunkCount = 0
    @usableFromInline var chunkSlots = 0
    /// How many elements fit before the next growth.
    @usableFromInline var capacity = 0
    public private(set) var count = 0

    /// Elements in a full chunk, as a power of two.
    @inlinable static var chunkShift: Int { MemoryLayout<Element>.stride <= 4 ? 14 : 13 }
    @inlinable static var chunkMask: Int { (1 << chunkShift) - 1 }

    public init() {
        chunks = .allocate(capacity: 1)
        chunkSlots = 1
    }

    deinit {
        for index in 0..<chunkCount { chunks[index].deallocate() }
        chunks.deallocate()
    }

    @inlinable @inline(__always)
    public subscript(index: Int) -> Element {
        precondition(index >= 0 && index < count)
        // SAFETY: every index below `count` lies in an allocated chunk.
        return chunks[index >> Self.chunkShift][index & Self.chunkMask]
    }

    /// - Precondition: `index < count`.
    @inlinable
    public mutating func update(_ index: Int, to value: Element) {
        precondition(index >= 0 && index < count)
        // SAFETY: as above.
        chunks[index >> Self.chunkShift][index & Self.chunkMask] = value
    }

    @inlinable @inline(__always)
    public mutating func append(_ element: Element) {
        if count == capacity { grow() }
        // SAFETY: `grow` made room for index `count`.
        let chunk = chunks[count >> Self.chunkShift]
        (chunk + (count & Self.chunkMask)).initialize(to: element)
        advance()
    }

    @usableFromInline @inline(__always)
    mutating func advance() { count &+= 1 }

    @usableFromInline
    mutating func grow() {
        let full = 1 << Self.chunkShift
        if capacity > 0 && capacity < full {
            let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
            larger.update(from: chunks[0], count: count)
            chunks[0].deallocate()
            chunks[0] = larger
            capacity *= 2
            return
        }
        if chunkCount == chunkSlots {
            let more = UnsafeMutablePointer<UnsafeMutablePointer<Element>>.allocate(
                capacity: chunkSlots * 2)
            more.update(from: chunks, count: chunkCount)
            chunks.deallocate()
            chunks = more
            chunkSlots *= 2
        }
        let size = capacity == 0 ? 16 : full
        chunks[chunkCount] = .allocate(capacity: size)
        chunkCount += 1
        capacity += size
    }

    /// Empties the log and gives about so many bytes back to the system; the rest with the next
    /// calls. O(bytes), some microseconds for a chunk of 64 KiB.
    ///
    /// - Returns: whether nothing is left.
    public mutating func release(bytes: Int) -> Bool {
        count = 0
        var left = bytes
        while chunkCount > 0, left > 0 {
            chunkCount -= 1
            let elements = min(capacity - (chunkCount << Self.chunkShift), 1 << Self.chunkShift)
            let size = elements * MemoryLayout<Element>.stride
            Region.discard(chunks[chunkCount], size)
            chunks[chunkCount].deallocate()
            capacity -= elements
            left -= size
        }
        return chunkCount == 0
    }

    /// Bytes allocated.
    public var heldBytes: Int {
        capacity * MemoryLayout<Element>.stride
            + chunkSlots * MemoryLayout<UnsafeMutableRawPointer>.stride
    }

    /// Appends the elements `range` to `sink`, as they lie in memory.
    public func write(_ range: Range<Int>, into sink: inout ByteSink) {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        var index = range.lowerBound
        while index < range.upperBound {
            let offset = index & Self.chunkMask
            let run = min(range.upperBound - index, (1 << Self.chunkShift) - offset)
            // SAFETY: the run lies inside one chunk and below `count`.
            sink.append(
                UnsafeRawBufferPointer(
                    start: chunks[index >> Self.chunkShift] + offset,
                    count: run * MemoryLayout<Element>.stride))
            index += run
        }
    }
}

extension ChunkedLog {
    /// Appends elements as `write` left them. Used to restore a snapshot.
    ///
    /// - Precondition: whole elements.
    public mutating func append(contentsOf bytes: UnsafeRawBufferPointer) {
        let stride = MemoryLayout<Element>.stride
        precondition(bytes.count % stride == 0)
        for offset in Swift.stride(from: 0, to: bytes.count, by: stride) {
            append(bytes.loadUnaligned(fromByteOffset: offset, as: Element.self))
        }
    }
}

/// The position of the last element for which `isBelow` holds, or nil. The log must be sorted.
extension ChunkedLog {
    @inlinable @inline(__always)
    public func lastIndex(where isAtMost: (Element) -> Bool) -> Int? {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) >> 1
            if isAtMost(self[middle]) { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? nil : low - 1
    }
}
