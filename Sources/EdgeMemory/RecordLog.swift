/// A dense, append-only log of fixed-size records in chunks that never move.
///
/// Growing allocates one chunk (and now and then copies the directory of chunk addresses, 8 bytes
/// a chunk), never the records: no append costs more than that. O(1) access by index. Out of
/// bounds traps.
public struct RecordLog<Record: BitwiseCopyable>: ~Copyable {
    @usableFromInline var directory: UnsafeMutablePointer<UnsafeMutablePointer<Record>>
    @usableFromInline var directoryCapacity: Int
    @usableFromInline var chunks: Int
    @usableFromInline let chunkBits: Int
    @usableFromInline let chunkMask: Int
    @usableFromInline var used: Int

    /// - Parameter chunkBits: a chunk holds 2^chunkBits records.
    @inlinable
    public init(chunkBits: Int = 9) {
        precondition(chunkBits >= 0 && chunkBits <= 20)
        self.chunkBits = chunkBits
        chunkMask = (1 << chunkBits) - 1
        directoryCapacity = 4
        directory = .allocate(capacity: 4)
        chunks = 0
        used = 0
    }

    @inlinable
    deinit {
        for index in 0..<chunks { directory[index].deallocate() }
        directory.deallocate()
    }

    @inlinable public var count: Int { used }
    @inlinable public var isEmpty: Bool { used == 0 }

    /// Bytes taken from the allocator.
    @inlinable
    public var allocatedBytes: Int {
        (chunks << chunkBits) * MemoryLayout<Record>.stride + directoryCapacity * 8
    }

    @inlinable
    public subscript(index: Int) -> Record {
        @inline(__always)
        unsafeAddress {
            precondition(index >= 0 && index < used)
            // SAFETY: every record below `used` lies in an allocated chunk and is initialised.
            return UnsafePointer(directory[index >> chunkBits] + (index & chunkMask))
        }
        @inline(__always)
        unsafeMutableAddress {
            precondition(index >= 0 && index < used)
            // SAFETY: as above, and `self` is held exclusively.
            return directory[index >> chunkBits] + (index & chunkMask)
        }
    }

    @inlinable
    public mutating func append(_ record: Record) {
        let chunk = used >> chunkBits
        if chunk == chunks { addChunk() }
        // SAFETY: the chunk exists and its records from `used` on are free.
        (directory[chunk] + (used & chunkMask)).initialize(to: record)
        used += 1
    }

    @inlinable @inline(never)
    mutating func addChunk() {
        if chunks == directoryCapacity {
            let larger = UnsafeMutablePointer<UnsafeMutablePointer<Record>>.allocate(
                capacity: directoryCapacity * 2)
            // SAFETY: the first `chunks` addresses are initialised, and `larger` has room.
            larger.update(from: directory, count: chunks)
            directory.deallocate()
            directory = larger
            directoryCapacity *= 2
        }
        (directory + chunks).initialize(to: .allocate(capacity: 1 << chunkBits))
        chunks += 1
    }
}

extension RecordLog {
    /// Empties the log and gives its memory back to the system, which the heap would keep. O(chunks),
    /// some microseconds each.
    public mutating func release() {
        let sizeBytes = MemoryLayout<Record>.stride << chunkBits
        for index in 0..<chunks {
            // SAFETY: nobody reads what lies in it any more: the log is empty from here on.
            Region.discard(UnsafeMutableRawPointer(directory[index]), sizeBytes)
            directory[index].deallocate()
        }
        chunks = 0
        used = 0
    }
}

extension RecordLog: @unchecked Sendable {
    // SAFETY: noncopyable: whoever holds it is the only one with access to its records.
}
