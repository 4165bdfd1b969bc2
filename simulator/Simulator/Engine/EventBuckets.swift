public import EdgeMemory

/// Unsorted events in 8 levels of 256 buckets, each a list of blocks.
///
/// Complexity: append O(1). It allocates only when there are more events than ever before: blocks
/// go round. A bucket that is not empty wastes less than a block.
@usableFromInline
struct EventBuckets: ~Copyable {
    @usableFromInline
    struct Bucket: BitwiseCopyable {
        /// Slot of the first event.
        @usableFromInline var first: UInt32
        /// Slot of the last event; at a block's end where there is none.
        @usableFromInline var last: UInt32
        @usableFromInline var count: UInt32
        @usableFromInline var minNs: UInt64
        @usableFromInline var maxNs: UInt64

        @inlinable
        init() {
            first = 0
            last = EventBuckets.slotMask
            count = 0
            minNs = .max
            maxNs = 0
        }
    }

    /// Where a walk through a bucket's events is.
    struct Cursor {
        var slot: UInt32
        var remaining: UInt32
    }

    @usableFromInline static let levels = 8
    @usableFromInline static let digitBits = 8
    @usableFromInline static let blockBits: UInt32 = 5
    @usableFromInline static let slotMask: UInt32 = (1 << blockBits) - 1
    static let none = UInt32.max

    /// The blocks, 32 events each.
    @usableFromInline var slots = PlainList<Event>(capacity: 1_024)
    /// The block that follows each in its list.
    var nextBlock = PlainList<UInt32>(capacity: 32)
    var freeBlock = none
    @usableFromInline var table = PlainList<Bucket>(capacity: levels << digitBits)
    /// A bit per bucket that holds something.
    var occupied = PlainList<UInt64>(capacity: levels << (digitBits - 6))
    /// A bit per level that holds something.
    var occupiedLevels: UInt8 = 0

    @usableFromInline
    init() {
        for _ in 0..<Self.levels << Self.digitBits { table.append(Bucket()) }
        for _ in 0..<Self.levels << (Self.digitBits - 6) { occupied.append(0) }
    }

    subscript(index: Int) -> Bucket { table[index] }

    @inlinable @inline(__always)
    mutating func append(_ event: Event, to index: Int) {
        var slot = table[index].last &+ 1
        if (slot & Self.slotMask) == 0 { slot = addBlock(to: index) }
        slots[Int(slot)] = event
        table[index].last = slot
        table[index].count &+= 1
        table[index].minNs = min(table[index].minNs, event.timeNs)
        table[index].maxNs = max(table[index].maxNs, event.timeNs)
    }

    /// The bucket with the lowest number that holds something.
    var lowest: Int? {
        if occupiedLevels == 0 { return nil }
        var word = occupiedLevels.trailingZeroBitCount << (Self.digitBits - 6)
        while occupied[word] == 0 { word += 1 }
        return (word << 6) | occupied[word].trailingZeroBitCount
    }

    /// Walks through a bucket's events in the order in which they came in.
    func walk(_ index: Int) -> Cursor {
        Cursor(slot: table[index].first, remaining: table[index].count)
    }

    /// Leaves a bucket empty: its events are the cursor's, to be `take`n, all of them.
    mutating func detach(_ index: Int) -> Cursor {
        let cursor = walk(index)
        table[index] = Bucket()
        let word = index >> 6
        occupied[word] &= ~(1 << UInt64(index & 63))
        let level = index >> Self.digitBits
        let words = 1 << (Self.digitBits - 6)
        for other in level * words..<(level + 1) * words where occupied[other] != 0 {
            return cursor
        }
        occupiedLevels &= ~(1 << UInt8(level))
        return cursor
    }

    @inline(__always)
    func next(_ cursor: inout Cursor) -> Event? {
        if cursor.remaining == 0 { return nil }
        let event = slots[Int(cursor.slot)]
        cursor.remaining &-= 1
        let block = cursor.slot >> Self.blockBits
        cursor.slot &+= 1
        if (cursor.slot & Self.slotMask) == 0 && cursor.remaining > 0 {
            cursor.slot = nextBlock[Int(block)] << Self.blockBits
        }
        return event
    }

    /// As `next`, and gives each block back after its last event.
    @inline(__always)
    mutating func take(_ cursor: inout Cursor) -> Event? {
        if cursor.remaining == 0 { return nil }
        let event = slots[Int(cursor.slot)]
        cursor.remaining &-= 1
        let block = cursor.slot >> Self.blockBits
        cursor.slot &+= 1
        if (cursor.slot & Self.slotMask) == 0 || cursor.remaining == 0 {
            cursor.slot = nextBlock[Int(block)] << Self.blockBits
            nextBlock[Int(block)] = freeBlock
            freeBlock = block
        }
        return event
    }

    /// Adds a block to a bucket that is empty or whose last block is full.
    ///
    /// - Returns: the block's first slot.
    @usableFromInline @inline(never)
    mutating func addBlock(to index: Int) -> UInt32 {
        let block = freeBlock == Self.none ? growByBlock() : freeBlock
        freeBlock = nextBlock[Int(block)]
        let slot = block << Self.blockBits
        if table[index].count == 0 {
            table[index].first = slot
            occupied[index >> 6] |= 1 << UInt64(index & 63)
            occupiedLevels |= 1 << UInt8(index >> Self.digitBits)
        } else {
            nextBlock[Int(table[index].last >> Self.blockBits)] = block
        }
        return slot
    }

    private mutating func growByBlock() -> UInt32 {
        let block = nextBlock.count
        precondition(block < 1 << (32 - Int(Self.blockBits)), "more than 2^32 pending events")
        nextBlock.append(Self.none)
        for _ in 0...Self.slotMask { slots.append(Event(timeNs: 0, sequence: 0, payload: 0)) }
        return UInt32(block)
    }
}
