/// Reads what a `ByteSink` wrote, little-endian, and never past the end.
///
/// Borrowed bytes: the caller keeps them alive while it reads.
public struct SnapshotReader {
    private let bytes: UnsafeRawBufferPointer
    public private(set) var offset = 0

    public struct Truncated: Error {}

    public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

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
