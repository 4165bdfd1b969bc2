import CPrefetch

/// A growing array of plain values with one owner, reused from batch to batch.
///
/// What an `Array` would check on each access (who else holds it) is known here, and an element
/// is read where it lies instead of being copied out.
///
/// Complexity: append amortised O(1), access O(1); warm (after `removeAll`) it allocates nothing.
public struct PlainList<Element: BitwiseCopyable>: ~Copyable {
    @usableFromInline var base: UnsafeMutablePointer<Element>
    @usableFromInline var capacity: Int
    @usableFromInline var used = 0

    public init(capacity: Int = 16) {
        precondition(capacity > 0)
        base = .allocate(capacity: capacity)
        self.capacity = capacity
    }

    deinit { base.deallocate() }

    @inlinable public var count: Int { used }
    @inlinable public var isEmpty: Bool { used == 0 }

    @inlinable
    public subscript(index: Int) -> Element {
        @inline(__always)
        unsafeAddress {
            precondition(index >= 0 && index < used)
            // SAFETY: initialised below `used`; the accessor borrows `self`.
            return UnsafePointer(base + index)
        }
        @inline(__always)
        unsafeMutableAddress {
            precondition(index >= 0 && index < used)
            // SAFETY: initialised below `used`; the accessor borrows `self` exclusively.
            return base + index
        }
    }

    @inlinable @inline(__always)
    public mutating func append(_ element: Element) {
        if used == capacity { grow() }
        // SAFETY: `grow` made room for index `used`.
        (base + used).initialize(to: element)
        used &+= 1
    }

    @inlinable public mutating func removeAll() { used = 0 }

    /// Asks for an element's cache line, for whoever reads it soon.
    @inlinable @inline(__always)
    public func prefetch(_ index: Int) {
        precondition(index >= 0 && index < used)
        downpour_prefetch(base + index)
    }

    /// Whether any element is as `condition` says. O(count).
    @inlinable
    public func contains(where condition: (borrowing Element) -> Bool) -> Bool {
        for index in 0..<used where condition(self[index]) { return true }
        return false
    }

    @usableFromInline
    mutating func grow() {
        let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
        larger.update(from: base, count: used)
        base.deallocate()
        base = larger
        capacity *= 2
    }
}

extension PlainList: @unchecked Sendable where Element: Sendable {
    // SAFETY: noncopyable: whoever holds it is the only one with access to its elements.
}
