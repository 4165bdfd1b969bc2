/// A growing run of raw bytes with one owner, little-endian.
///
/// Appending is amortised O(1); warm (after `removeAll`) it allocates nothing.
public struct ByteSink: ~Copyable {
    @usableFromInline var base: UnsafeMutableRawPointer
    @usableFromInline var capacity: Int
    public private(set) var count: Int

    public init(capacity: Int = 4_096) {
        precondition(capacity > 0)
        base = .allocate(byteCount: capacity, alignment: 16)
        self.capacity = capacity
        count = 0
    }

    deinit { base.deallocate() }

    /// The bytes, valid until the next mutation.
    public var bytes: UnsafeRawBufferPointer {
        // SAFETY: `base` holds `count` initialised bytes.
        UnsafeRawBufferPointer(start: base, count: count)
    }

    public mutating func removeAll() { count = 0 }

    /// Forgets what was written past `count`: for writers that reserve more than they use.
    ///
    /// - Precondition: `count` is at most what is held.
    public mutating func truncate(to count: Int) {
        precondition(count >= 0 && count <= self.count)
        self.count = count
    }

    /// Makes room for `size` more bytes and returns where they go; they count as written.
    ///
    /// - Returns: exactly `size` bytes, uninitialised: the caller writes them all.
    public mutating func extend(by size: Int) -> UnsafeMutableRawBufferPointer {
        precondition(size >= 0)
        if count + size > capacity { grow(to: count + size) }
        // SAFETY: `count + size <= capacity` now holds.
        let region = UnsafeMutableRawBufferPointer(start: base + count, count: size)
        count += size
        return region
    }

    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        extend(by: bytes.count).copyMemory(from: bytes)
    }

    public mutating func append(integer value: some FixedWidthInteger) {
        let region = extend(by: value.bitWidth / 8)
        region.storeBytes(of: value.littleEndian, as: type(of: value))
    }

    private mutating func grow(to needed: Int) {
        var larger = capacity
        while larger < needed { larger *= 2 }
        let moved = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 16)
        moved.copyMemory(from: base, byteCount: count)
        base.deallocate()
        base = moved
        capacity = larger
    }
}

extension ByteSink: @unchecked Sendable {
    // SAFETY: noncopyable: whoever holds it is the only one with access to its bytes.
}
