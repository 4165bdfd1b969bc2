import CPrefetch

/// A growing array of noncopyable values with stable numbers.
///
/// Appending is amortised O(1) and moves elements by their bytes; access is O(1), in place.
public struct SlotArray<Element: ~Copyable>: ~Copyable {
    @usableFromInline var base: UnsafeMutablePointer<Element>
    @usableFromInline var capacity: Int
    public private(set) var count = 0

    public init(capacity: Int = 8) {
        precondition(capacity > 0)
        base = .allocate(capacity: capacity)
        self.capacity = capacity
    }

    deinit {
        base.deinitialize(count: count)
        base.deallocate()
    }

    @inlinable
    public subscript(index: Int) -> Element {
        @inline(__always)
        unsafeAddress {
            precondition(index >= 0 && index < count)
            // SAFETY: initialised below `count`; the accessor borrows `self`.
            return UnsafePointer(base + index)
        }
        @inline(__always)
        unsafeMutableAddress {
            precondition(index >= 0 && index < count)
            // SAFETY: initialised below `count`; the accessor borrows `self` exclusively.
            return base + index
        }
    }

    /// Asks for the cache lines of an element, or of its first `bytes`, for whoever reads them
    /// soon.
    @inlinable @inline(__always)
    public func prefetch(_ index: Int, bytes: Int = MemoryLayout<Element>.size) {
        precondition(index >= 0 && index < count)
        let start = UnsafeRawPointer(base + index)
        var offset = 0
        while offset < bytes {
            downpour_prefetch(start + offset)
            offset += 64
        }
    }

    /// - Returns: the new element's number.
    @discardableResult
    public mutating func append(_ element: consuming Element) -> Int {
        if count == capacity {
            let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
            larger.moveInitialize(from: base, count: count)
            base.deallocate()
            base = larger
            capacity *= 2
        }
        (base + count).initialize(to: element)
        count += 1
        return count - 1
    }

    /// Takes the last element out.
    public mutating func removeLast() -> Element {
        precondition(count > 0)
        count -= 1
        return (base + count).move()
    }
}
