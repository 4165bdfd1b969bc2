import Glibc

/// Zeroed memory for tables.
///
/// Large regions come from the kernel page by page as they are touched, so that making one costs
/// microseconds whatever its size, and they can be given back in pieces.
@usableFromInline
enum Region {
    /// From here on a region is mapped rather than taken from the heap.
    private static let mappedFromBytes = 128 * 1_024
    /// How much is given back at a time: 64 pages, some microseconds.
    static let pieceBytes = 256 * 1_024

    static func allocate(_ sizeBytes: Int) -> UnsafeMutableRawPointer {
        precondition(sizeBytes > 0)
        guard sizeBytes >= mappedFromBytes else {
            guard let made = calloc(sizeBytes, 1) else { preconditionFailure("out of memory") }
            return made
        }
        // SAFETY: an anonymous private mapping is zeroed and ours alone.
        let made = mmap(nil, sizeBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let made, made != MAP_FAILED else { preconditionFailure("out of memory") }
        return made
    }

    static func free(_ base: UnsafeMutableRawPointer, _ sizeBytes: Int) {
        if sizeBytes >= mappedFromBytes { munmap(base, sizeBytes) } else { Glibc.free(base) }
    }

    /// Gives the whole pages inside a block of the heap back to the system, before the block is
    /// freed: the heap itself would keep them.
    static func discard(_ base: UnsafeMutableRawPointer, _ sizeBytes: Int) {
        let page = 4_096
        let first = (UInt(bitPattern: base) + UInt(page - 1)) & ~UInt(page - 1)
        let end = (UInt(bitPattern: base) + UInt(sizeBytes)) & ~UInt(page - 1)
        guard first < end, let start = UnsafeMutableRawPointer(bitPattern: first) else { return }
        // SAFETY: the pages lie inside the block, whose content nobody reads any more; what the
        // heap keeps about it lies outside.
        madvise(start, Int(end - first), MADV_DONTNEED)
    }

    /// Gives one piece of a large region back to the system; nobody reads it any more.
    static func release(_ base: UnsafeMutableRawPointer, _ sizeBytes: Int, at offset: Int) {
        guard sizeBytes >= mappedFromBytes, offset + pieceBytes <= sizeBytes else { return }
        // SAFETY: the piece lies inside the mapping, on page bounds.
        madvise(base + offset, pieceBytes, MADV_DONTNEED)
    }
}
