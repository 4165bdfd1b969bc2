import CPrefetch

/// An insert-only hash index from 64-bit hashes to positions in a log, 8 bytes a bucket.
///
/// A bucket holds the hash's upper 32 bits and the position; the home bucket is the topmost of
/// those bits (linear probing), so growing needs neither the hashes nor the records, and moves
/// buckets in order. It doubles at 3/4 full, in bounded steps: an insertion moves at most
/// `bucketsPerStep` buckets, allocates at most the few small blocks that it writes to, and releases
/// at most one. Several keys may share a hash: the caller compares its records.
///
/// Limits: 2^31 buckets, positions below 2^32 − 1. Keyed hashes keep runs short.
public struct PositionIndex: ~Copyable {
    @usableFromInline var table: Table
    /// The table before the last doubling, while buckets remain to be moved.
    @usableFromInline var old: Table
    /// First bucket moved; it was empty, so that no run of buckets crosses it.
    @usableFromInline var oldStart: Int
    /// Buckets moved so far, from `oldStart` on, around the end.
    @usableFromInline var oldMoved: Int
    @usableFromInline var used: Int

    @usableFromInline static let bucketsPerStep = 8
    @usableFromInline static let blockBits = 13
    @usableFromInline static let initialBits = 6

    @inlinable
    public init() {
        table = Table(bits: Self.initialBits)
        old = Table(bits: 0)
        oldStart = 0
        oldMoved = 0
        used = 0
    }

    @inlinable public var count: Int { used }

    /// Bytes taken from the allocator.
    @inlinable public var allocatedBytes: Int { table.allocatedBytes + old.allocatedBytes }

    /// A walk over the positions that one hash may stand for.
    public struct Probe {
        @usableFromInline let tag: UInt32
        @usableFromInline var bucket: Int
        @usableFromInline var inOld: Bool
        @usableFromInline var foundBucket: Int
        @usableFromInline var foundInOld: Bool

        @inlinable
        init(tag: UInt32, bucket: Int) {
            self.tag = tag
            self.bucket = bucket
            inOld = false
            foundBucket = -1
            foundInOld = false
        }
    }

    @inlinable @inline(__always)
    public func probe(_ hash: UInt64) -> Probe {
        let tag = UInt32(truncatingIfNeeded: hash >> 32)
        return Probe(tag: tag, bucket: table.home(tag))
    }

    /// The next position whose hash agrees in 32 bits, or nil. Expected O(1).
    @inlinable
    public func next(_ probe: inout Probe) -> Int? {
        if !probe.inOld {
            while true {
                let entry = table.entry(probe.bucket)
                if entry == 0 { break }
                let bucket = probe.bucket
                probe.bucket = (bucket + 1) & table.mask
                if UInt32(truncatingIfNeeded: entry >> 32) == probe.tag {
                    probe.foundBucket = bucket
                    probe.foundInOld = false
                    return Int(UInt32(truncatingIfNeeded: entry)) - 1
                }
            }
            if old.bits == 0 { return nil }
            probe.inOld = true
            let home = old.home(probe.tag)
            let first = ((home - oldStart) & old.mask) < oldMoved
            probe.bucket = first ? oldMoved : ((home - oldStart) & old.mask)
        }
        return nextInOld(&probe)
    }

    /// As `next`, over what has not been moved yet; `probe.bucket` counts from `oldStart`.
    @inlinable @inline(never)
    func nextInOld(_ probe: inout Probe) -> Int? {
        while old.bits != 0 && probe.bucket <= old.mask {
            let bucket = (probe.bucket + oldStart) & old.mask
            let entry = old.entry(bucket)
            if entry == 0 { return nil }
            probe.bucket += 1
            if UInt32(truncatingIfNeeded: entry >> 32) == probe.tag {
                probe.foundBucket = bucket
                probe.foundInOld = true
                return Int(UInt32(truncatingIfNeeded: entry)) - 1
            }
        }
        return nil
    }

    /// Lets the position that `next` returned last stand for the same hash elsewhere.
    ///
    /// - Precondition: nothing was inserted since `next` returned.
    @inlinable
    public mutating func replace(_ probe: Probe, with position: Int) {
        precondition(probe.foundBucket >= 0)
        let entry = Self.entry(probe.tag, position)
        if probe.foundInOld {
            old.set(probe.foundBucket, entry)
        } else {
            table.set(probe.foundBucket, entry)
        }
    }

    /// Adds a position under a hash. Bounded work; O(1) expected.
    @inlinable
    public mutating func insert(_ hash: UInt64, _ position: Int) {
        if old.bits != 0 { moveStep() }
        if used >= table.growAt { startGrowing() }
        let tag = UInt32(truncatingIfNeeded: hash >> 32)
        table.place(Self.entry(tag, position))
        used += 1
    }

    /// Asks the processor to fetch the home bucket of a hash.
    public func prefetch(_ hash: UInt64) {
        if let address = table.address(table.home(UInt32(truncatingIfNeeded: hash >> 32))) {
            downpour_prefetch(address)
        }
    }

    @inlinable @inline(__always)
    static func entry(_ tag: UInt32, _ position: Int) -> UInt64 {
        precondition(position >= 0 && position < Int(UInt32.max))
        return (UInt64(tag) << 32) | UInt64(position + 1)
    }

    @inlinable @inline(never)
    mutating func startGrowing() {
        // At 8 buckets an insertion, the last move ended long before the table filled again.
        precondition(old.bits == 0)
        precondition(table.bits < 31)
        var larger = Table(bits: table.bits + 1)
        swap(&table, &larger)
        old = larger
        oldStart = 0
        // At 3/4 full an empty bucket is near.
        while old.entry(oldStart) != 0 { oldStart += 1 }
        oldMoved = 0
        moveStep()
    }

    @inlinable @inline(never)
    mutating func moveStep() {
        for _ in 0..<Self.bucketsPerStep {
            let bucket = (oldStart + oldMoved) & old.mask
            let entry = old.entry(bucket)
            if entry != 0 { table.place(entry) }
            oldMoved += 1
            if oldMoved > old.mask {
                old = Table(bits: 0)
                return
            }
            // The block that holds `oldStart` is met twice, and goes with the table.
            if (bucket & old.blockMask) == old.blockMask
                && (bucket >> old.blockBits) != (oldStart >> old.blockBits)
            {
                old.release(block: bucket >> old.blockBits)
            }
        }
    }
}

extension PositionIndex {
    /// 2^bits buckets in blocks that are allocated when first written to. `bits` 0: no table.
    @usableFromInline
    struct Table: ~Copyable {
        @usableFromInline let bits: Int
        @usableFromInline let mask: Int
        @usableFromInline let blockBits: Int
        @usableFromInline let blockMask: Int
        @usableFromInline let growAt: Int
        @usableFromInline let blocks: UnsafeMutablePointer<UnsafeMutablePointer<UInt64>?>
        @usableFromInline let blockCount: Int

        @inlinable
        init(bits: Int) {
            self.bits = bits
            mask = (1 << bits) - 1
            blockBits = min(bits, PositionIndex.blockBits)
            blockMask = (1 << blockBits) - 1
            growAt = (1 << bits) / 4 * 3
            blockCount = bits == 0 ? 0 : 1 << (bits - blockBits)
            blocks = .allocate(capacity: max(blockCount, 1))
            blocks.initialize(repeating: nil, count: max(blockCount, 1))
        }

        @inlinable
        deinit {
            for index in 0..<blockCount { blocks[index]?.deallocate() }
            blocks.deallocate()
        }

        @inlinable
        var allocatedBytes: Int {
            var bytes = blockCount * 8
            for index in 0..<blockCount where blocks[index] != nil { bytes += (blockMask + 1) * 8 }
            return bytes
        }

        @inlinable @inline(__always)
        func home(_ tag: UInt32) -> Int { Int(tag >> UInt32(32 - bits)) }

        @inlinable @inline(__always)
        func entry(_ bucket: Int) -> UInt64 {
            // SAFETY: callers mask `bucket`, so its block is below `blockCount`.
            guard let block = blocks[bucket >> blockBits] else { return 0 }
            return block[bucket & blockMask]
        }

        @inlinable
        func address(_ bucket: Int) -> UnsafeRawPointer? {
            guard let block = blocks[bucket >> blockBits] else { return nil }
            return UnsafeRawPointer(block + (bucket & blockMask))
        }

        @inlinable @inline(__always)
        mutating func set(_ bucket: Int, _ entry: UInt64) {
            precondition(bucket >= 0 && bucket <= mask)
            if blocks[bucket >> blockBits] == nil { allocate(block: bucket >> blockBits) }
            // SAFETY: the block exists now, and `bucket` lies in it.
            blocks[bucket >> blockBits].unsafelyUnwrapped[bucket & blockMask] = entry
        }

        /// Writes to the first free bucket from its home on.
        @inlinable @inline(__always)
        mutating func place(_ value: UInt64) {
            var bucket = home(UInt32(truncatingIfNeeded: value >> 32))
            while entry(bucket) != 0 { bucket = (bucket + 1) & mask }
            set(bucket, value)
        }

        @inlinable @inline(never)
        mutating func allocate(block: Int) {
            let made = UnsafeMutablePointer<UInt64>.allocate(capacity: blockMask + 1)
            made.initialize(repeating: 0, count: blockMask + 1)
            blocks[block] = made
        }

        @inlinable
        mutating func release(block: Int) {
            blocks[block]?.deallocate()
            blocks[block] = nil
        }
    }
}

extension PositionIndex {
    /// Empties the index and gives its memory back to the system, which the heap would keep.
    /// O(blocks), some microseconds each.
    public mutating func release() {
        table.discard()
        old.discard()
        self = PositionIndex()
    }
}

extension PositionIndex.Table {
    /// What was in it is gone; it is to be let go.
    fileprivate mutating func discard() {
        for index in 0..<blockCount {
            guard let block = blocks[index] else { continue }
            // SAFETY: nobody reads what lies in it any more.
            Region.discard(UnsafeMutableRawPointer(block), (blockMask + 1) * 8)
        }
    }
}

extension PositionIndex: @unchecked Sendable {
    // SAFETY: noncopyable: whoever holds it is the only one with access to its buckets.
}
