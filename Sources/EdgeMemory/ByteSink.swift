/// A growing run of raw bytes with one owner, little-endian.
///
/// Appending is amortised O(1); warm (after `removeAll`) it allocates nothing.
public struct ByteSink: ~Copyable {
    @usableFromInline var base: UnsafeMutableRawPointer
    @usableFromInline var capacity: Int
    @usableFromInline var used: Int

    public init(capacity: Int = 4_096) {
        precondition(capacity > 0)
        base = .allocate(byteCount: capacity, alignment: 16)
        self.capacity = capacity
        used = 0
    }

    @inlinable public var count: Int { used }

    deinit { base.deallocate() }

    /// The bytes, valid until the next mutation.
    @inlinable public var bytes: UnsafeRawBufferPointer {
        // SAFETY: `base` holds `used` initialised bytes.
        UnsafeRawBufferPointer(start: base, count: used)
    }

    @inlinable public mutating func removeAll() { used = 0 }

    /// Forgets what was written past `count`: for writers that reserve more than they use.
    ///
    /// - Precondition: `count` is at most what is held.
    @inlinable
    public mutating func truncate(to count: Int) {
        precondition(count >= 0 && count <= used)
        used = count
    }

    /// Makes room for `size` more bytes and returns where they go; they count as written.
    ///
    /// - Returns: exactly `size` bytes, uninitialised: the caller writes them all.
    @inlinable @inline(__always)
    public mutating func extend(by size: Int) -> UnsafeMutableRawBufferPointer {
        precondition(size >= 0)
        if size > capacity - used { grow(to: used + size) }
        // SAFETY: `used + size <= capacity` now holds.
        let region = UnsafeMutableRawBufferPointer(start: base + used, count: size)
        used += size
        return region
    }

    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        extend(by: bytes.count).copyMemory(from: bytes)
    }

    public mutating func append(integer value: some FixedWidthInteger) {
        let region = extend(by: value.bitWidth / 8)
        region.storeBytes(of: value.littleEndian, as: type(of: value))
    }

    @usableFromInline
    mutating func grow(to needed: Int) {
        var larger = capacity
        while larger < needed { larger *= 2 }
        let moved = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 16)
        moved.copyMemory(from: base, byteCount: used)
        base.deallocate()
        base = moved
        capacity = larger
    }
}

extension ByteSink: @unchecked Sendable {
    // SAFETY: noncopyable: whoever holds it is the only one with access to its bytes.
}
