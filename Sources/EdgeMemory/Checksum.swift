public import CChecksum

/// CRC-32C (Castagnoli; RFC 3720, B.4): the same result on every CPU.
public enum Checksum {
    /// - Parameter previous: the checksum of what comes before `bytes`; 0 to begin.
    @inlinable
    public static func crc32c(_ bytes: UnsafeRawBufferPointer, continuing previous: UInt32 = 0)
        -> UInt32
    {
        downpour_crc32c(previous, bytes.baseAddress, bytes.count)
    }

    /// Checksum of a frame's bytes after its own first four (where the checksum itself is kept).
    ///
    /// - Precondition: the size is a multiple of 8 and not 0.
    @inlinable @inline(__always)
    public static func frame(_ frame: UnsafeRawBufferPointer) -> UInt32 {
        precondition(frame.count >= 8 && frame.count & 7 == 0)
        return downpour_crc32c_frame(frame.baseAddress, frame.count)
    }
}
