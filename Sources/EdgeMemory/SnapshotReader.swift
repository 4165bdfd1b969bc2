/// Reads what a `ByteSink` wrote, little-endian, and never past the end.
///
/// Borrowed bytes: the caller keeps them alive while it reads.
public struct SnapshotReader {
    private let bytes: UnsafeRawBufferPointer
    public private(set) var offset = 0

    public struct Truncated: Error {
        public init() {}
    }

    public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// What was not read yet.
    public var rest: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[offset...])
    }

    public var remaining: Int { bytes.count - offset }

    /// - Throws: where fewer bytes remain than `T` has.
    public mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type = T.self
    ) throws(Truncated) -> T {
        let size = T.bitWidth / 8
        guard remaining >= size else { throw Truncated() }
        // SAFETY: `offset + size <= bytes.count`, just checked.
        let value = bytes.loadUnaligned(fromByteOffset: offset, as: T.self)
        offset += size
        return T(littleEndian: value)
    }

    /// A 32-bit count of items that follow.
    ///
    /// - Throws: where it is above `limit`, or fewer bytes remain than so many items take.
    public mutating func count(limit: Int, itemBytes: Int) throws(Truncated) -> Int {
        let count = Int(try integer(UInt32.self))
        guard count <= limit, count <= remaining / max(1, itemBytes) else { throw Truncated() }
        return count
    }

    /// - Throws: where fewer than `size` bytes remain.
    /// - Precondition: `size` is not negative.
    public mutating func slice(_ size: Int) throws(Truncated) -> UnsafeRawBufferPointer {
        precondition(size >= 0)
        guard remaining >= size else { throw Truncated() }
        let part = UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + size)])
        offset += size
        return part
    }
}
