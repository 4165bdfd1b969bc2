import CPrefetch

/// Finds positions of a log by a hash of its keys, in 4 bytes an entry.
///
/// Linear probing with entries kept in hash order (Amble & Knuth, "Ordered hash tables", 1974).
/// A hash's 25 highest bits are its *rank*. Where the table has 2^c slots, an entry's home slot
/// is the rank's c highest bits, and the entry stores the rank's 32 − c lowest bits beside a
/// c-bit position. Their top 7 bits are the home's lowest 7, so that slot and entry together
/// give the whole rank back as long as no entry sits 63 or more slots from home. Therefore
/// - a search stops at the first higher rank,
/// - the table doubles without reading the log: both tables are in rank order, a pass over the
///   old one writes the new one from front to back, a few slots with each insertion,
/// - everything below the pass's frontier is in the new table, all else in the old.
///
/// A found position is a candidate: equal ranks of different keys occur, the caller compares
/// keys. At a load of 0.6 a search reads 1 or 2 cache lines, nearly never the log in vain.
///
/// Complexity: search, insertion O(1) expected; growth moves at most 64 slots and one run of
/// neighbours a call. Memory: 4 bytes a slot at a load of 0.34 to 0.69.
public struct ClaimIndex: ~Copyable {
    @usableFromInline var table: Table
    /// The table that a growth in progress reads from; empty where there is none.
    @usableFromInline var old = Table.none
    /// Slots of `old` below this one are moved.
    @usableFromInline var cursor = 0
    /// Ranks whose home in `old` is below this one live in `table`.
    @usableFromInline var frontier = 0
    /// Bytes of `old` that are given back already; while an index is released, of what goes first.
    private var releasedBytes = 0
    public private(set) var count = 0
    /// The position at which `table` begins to grow; 0 while a growth is in progress.
    @usableFromInline var fullCount: Int

    /// A growth passes 64 slots with every eighth position: whole cache lines of both tables.
    static let positionsPerMove = 8
    static let slotsPerMove = 64
    /// Bits of a hash that the index knows.
    @inlinable static var rankBits: UInt32 { 25 }
    /// How many slots from home an entry may sit.
    @inlinable static var farthest: Int { 62 }
    static let smallestBits: UInt32 = 5

    public init() {
        table = .allocate(bits: Self.smallestBits)
        fullCount = Self.fullCount(bits: Self.smallestBits)
    }

    deinit {
        table.deallocate()
        old.deallocate()
    }

    /// The part of a hash that the index knows.
    @inlinable @inline(__always)
    public static func rank(of hash: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: hash >> 39) }

    /// Makes room for `claims` entries at once, before the herd comes. O(1) while empty;
    /// otherwise growth stays incremental and this does nothing.
    public mutating func reserve(_ claims: Int) {
        guard count == 0, !isGrowing else { return }
        var bits = Self.smallestBits
        while bits < Self.rankBits && Self.fullCount(bits: bits) < claims { bits += 1 }
        if bits > table.bits {
            table.deallocate()
            table = .allocate(bits: bits)
            fullCount = Self.fullCount(bits: bits)
        }
    }

    /// Entries that a table holds before it doubles: 11/16 of its slots.
    static func fullCount(bits: UInt32) -> Int { ((1 << Int(bits)) * 11) / 16 }

    @inlinable @inline(__always)
    public func prefetch(_ hash: UInt64) {
        let rank = Self.rank(of: hash)
        // SAFETY: an address inside a region; a prefetch of any address is harmless.
        if isInOld(rank) {
            downpour_prefetch(old.base + old.home(of: rank) &* 4)
        } else {
            downpour_prefetch(table.base + table.home(of: rank) &* 4)
        }
    }

    @inlinable @inline(__always)
    func isInOld(_ rank: UInt32) -> Bool { isGrowing && old.home(of: rank) >= frontier }

    /// The position of the key with this hash for which `matches` holds, or nil.
    @inlinable @inline(__always)
    public func find(_ hash: UInt64, where matches: (Int) -> Bool) -> Int? {
        let rank = Self.rank(of: hash)
        if isInOld(rank) {
            return Self.find(rank, in: old, from: max(old.home(of: rank), cursor), matches)
        }
        return Self.find(rank, in: table, from: table.home(of: rank), matches)
    }

    @inlinable @inline(__always)
    static func find(
        _ rank: UInt32, in table: Table, from first: Int, _ matches: (Int) -> Bool
    ) -> Int? {
        // The last slot stays empty: every run ends.
        let tag = table.tag(of: rank)
        let sameRank = table.sameRank
        var slot = first
        while true {
            let entry = table[slot]
            if entry == 0 { return nil }
            let order = table.compare(entry, tag)
            if order >= 0 {
                if order > sameRank { return nil }
                let position = table.position(of: entry)
                if matches(position) { return position }
            }
            slot &+= 1
        }
    }

    /// Adds a position under a hash. The caller has looked that its key is not there.
    ///
    /// - Precondition: positions come in order and without gaps, here or in `update`.
    @inlinable @inline(__always)
    public mutating func insert(_ hash: UInt64, position: Int) {
        let rank = Self.rank(of: hash)
        guard position < fullCount,
            table.insert(rank: rank, position: position, from: table.home(of: rank))
        else { return insertGrowing(rank, position) }
        counted()
    }

    /// Inserts while a growth is in progress, or due.
    @usableFromInline
    mutating func insertGrowing(_ rank: UInt32, _ position: Int) {
        makeRoom(for: position)
        while true {
            let done: Bool
            if isInOld(rank) {
                let first = max(old.home(of: rank), cursor)
                done = old.insert(rank: rank, position: position, from: first)
            } else {
                done = table.insert(rank: rank, position: position, from: table.home(of: rank))
            }
            if done { break }
            overflowed()
        }
        counted()
    }

    /// Replaces `position` of an entry by `newer` (a user's later claim), the log's next.
    public mutating func update(_ hash: UInt64, from position: Int, to newer: Int) {
        let rank = Self.rank(of: hash)
        makeRoom(for: newer)
        if isInOld(rank) {
            let first = max(old.home(of: rank), cursor)
            Self.update(rank, in: old, from: first, position, newer)
        } else {
            Self.update(rank, in: table, from: table.home(of: rank), position, newer)
        }
    }

    private static func update(
        _ rank: UInt32, in table: Table, from first: Int, _ position: Int, _ newer: Int
    ) {
        var slot = first
        while true {
            let entry = table[slot]
            precondition(entry != 0, "no entry for this position")
            if table.position(of: entry) == position, table.rank(of: entry, at: slot) == rank {
                table[slot] = table.entry(tag: table.tag(of: rank), position: newer)
                return
            }
            slot += 1
        }
    }

    @usableFromInline @inline(__always)
    mutating func counted() { count &+= 1 }

    /// Positions run on, so that every eighth passes here: a growth that begins at 11/16 of the
    /// old table's slots has ended at 13/16, before a position has more bits than its entries.
    private mutating func makeRoom(for position: Int) {
        if isGrowing {
            if position & (Self.positionsPerMove - 1) == 0 { advance(by: Self.slotsPerMove) }
        } else if position >= fullCount {
            beginGrowth()
        }
    }

    private mutating func beginGrowth() {
        precondition(!isGrowing)
        fullCount = 0
        old = table
        table = .allocate(bits: old.bits + 1)
        cursor = 0
        frontier = 0
        releasedBytes = 0
    }

    /// Moves at least `slots` slots of the old table, and on to the end of a home's group.
    private mutating func advance(by slots: Int) {
        let goal = cursor + slots
        var slot = cursor
        var lastHome = -1
        frontier = old.slotCount
        while slot < old.slotCount {
            let entry = old[slot]
            if entry == 0 {
                if slot >= goal {
                    // Whoever has a home before this slot was met before it.
                    frontier = slot
                    break
                }
                slot &+= 1
                continue
            }
            let rank = old.rank(of: entry, at: slot)
            let home = old.home(of: entry, at: slot)
            if home != lastHome {
                if slot >= goal {
                    frontier = home
                    break
                }
                lastHome = home
            }
            table.append(rank: rank, position: old.position(of: entry))
            slot &+= 1
        }
        cursor = slot
        if cursor == old.slotCount { return endGrowth() }
        if cursor * 4 - releasedBytes >= Region.pieceBytes {
            Region.release(old.base, old.sizeBytes, at: releasedBytes)
            releasedBytes += Region.pieceBytes
        }
    }

    private mutating func endGrowth() {
        old.deallocate()
        old = .none
        releasedBytes = 0
        fullCount = Self.fullCount(bits: table.bits)
    }

    /// An entry would sit too far from home (rare at these loads): finish the growth in progress
    /// at once, or begin one.
    private mutating func overflowed() {
        if !isGrowing { beginGrowth() }
        while isGrowing { advance(by: 1 << 16) }
    }

    /// Gives about so many bytes back to the system, the rest with the next calls: the index is not
    /// used again before all of it is gone, and is empty then. O(bytes).
    ///
    /// - Returns: whether nothing is left.
    public mutating func release(bytes: Int) -> Bool {
        let end = (isGrowing ? old : table).sizeBytes
        let goal = min(end, releasedBytes + max(bytes, Region.pieceBytes))
        while releasedBytes < goal {
            let given = isGrowing ? old : table
            Region.release(given.base, end, at: releasedBytes)
            releasedBytes += Region.pieceBytes
        }
        guard releasedBytes >= end else { return false }
        releasedBytes = 0
        if isGrowing {
            old.deallocate()
            old = .none
            return false
        }
        table.deallocate()
        table = .allocate(bits: Self.smallestBits)
        fullCount = Self.fullCount(bits: Self.smallestBits)
        count = 0
        cursor = 0
        frontier = 0
        return true
    }

    /// Bytes allocated.
    public var heldBytes: Int {
        table.sizeBytes + (isGrowing ? old.sizeBytes : 0) - releasedBytes
    }

    /// Whether a growth is in progress.
    @inlinable public var isGrowing: Bool { old.slotCount != 0 }
}

extension ClaimIndex {
    /// A view of one table's memory, which the index allocates and frees.
    ///
    /// An entry's *tag*, the bits above its position, is compared in a circle: the homes of two
    /// entries that a search can meet lie fewer than 64 slots apart, and 7 bits of the home are
    /// in the tag, so the sign of the difference of two tags tells which rank is higher.
    @usableFromInline
    struct Table {
        @usableFromInline let base: UnsafeMutableRawPointer
        @usableFromInline let bits: UInt32
        @usableFromInline let slotCount: Int

        @usableFromInline
        init(base: UnsafeMutableRawPointer, bits: UInt32, slotCount: Int) {
            self.base = base
            self.bits = bits
            self.slotCount = slotCount
        }

        // SAFETY: with no slots, no access passes its precondition; nothing is ever freed there.
        @usableFromInline nonisolated(unsafe) static let none = Table(
            base: UnsafeMutableRawPointer(bitPattern: 64)!, bits: 0, slotCount: 0)

        static func allocate(bits: UInt32) -> Table {
            precondition(bits <= ClaimIndex.rankBits, "index over its limit")
            // Entries near the end spill into 64 slots past it instead of wrapping around.
            let slotCount = (1 << Int(bits)) + 64
            return Table(base: Region.allocate(slotCount * 4), bits: bits, slotCount: slotCount)
        }

        func deallocate() {
            if slotCount != 0 { Region.free(base, sizeBytes) }
        }

        @usableFromInline var sizeBytes: Int { slotCount * 4 }

        @inlinable
        subscript(slot: Int) -> UInt32 {
            @inline(__always)
            get {
                precondition(slot >= 0 && slot < slotCount)
                // SAFETY: inside the region.
                return base.load(fromByteOffset: slot &* 4, as: UInt32.self)
            }
            @inline(__always)
            nonmutating set {
                precondition(slot >= 0 && slot < slotCount)
                // SAFETY: inside the region.
                base.storeBytes(of: newValue, toByteOffset: slot &* 4, as: UInt32.self)
            }
        }

        @inlinable @inline(__always)
        func home(of rank: UInt32) -> Int { Int(rank &>> (ClaimIndex.rankBits &- bits)) }

        /// A rank as it stands in entries, above the position.
        @inlinable @inline(__always)
        func tag(of rank: UInt32) -> UInt32 { rank &<< bits }

        @inlinable @inline(__always)
        func entry(tag: UInt32, position: Int) -> UInt32 {
            precondition(position >= 0 && position &+ 1 < 1 &<< Int(bits))
            return tag | UInt32(truncatingIfNeeded: position &+ 1)
        }

        @inlinable @inline(__always)
        func position(of entry: UInt32) -> Int { Int(entry & ((1 &<< bits) &- 1)) &- 1 }

        /// How an entry's rank compares with that of `tag`: below 0, lower; up to `sameRank`, the
        /// same; above, higher.
        @inlinable @inline(__always)
        func compare(_ entry: UInt32, _ tag: UInt32) -> Int32 { Int32(bitPattern: entry &- tag) }

        /// The difference that a position makes.
        @inlinable @inline(__always)
        var sameRank: Int32 { Int32(bitPattern: (1 &<< bits) &- 1) }

        /// - Precondition: `entry` is what `slot` holds.
        @inline(__always)
        func home(of entry: UInt32, at slot: Int) -> Int {
            slot &- ((slot &- Int(entry &>> 25)) & 127)
        }

        /// - Precondition: `entry` is what `slot` holds.
        @inline(__always)
        func rank(of entry: UInt32, at slot: Int) -> UInt32 {
            let high = UInt32(truncatingIfNeeded: home(of: entry, at: slot) &>> 7)
            return (high &<< (32 &- bits)) | (entry &>> bits)
        }

        /// Puts an entry where its rank belongs, moving higher ranks up by one slot.
        ///
        /// - Returns: false, with nothing changed, where an entry would sit too far from home.
        @inlinable @inline(__always)
        func insert(rank: UInt32, position: Int, from first: Int) -> Bool {
            // The last slot stays empty: every run ends.
            let tag = self.tag(of: rank)
            let sameRank = self.sameRank
            var slot = first
            var entry = self[slot]
            while entry != 0 && compare(entry, tag) <= sameRank {
                slot &+= 1
                entry = self[slot]
            }
            guard slot &- home(of: rank) <= ClaimIndex.farthest, slot &+ 1 < slotCount else {
                return false
            }
            if entry != 0 && !shift(from: slot) { return false }
            self[slot] = self.entry(tag: tag, position: position)
            return true
        }

        /// Moves the run that begins at `slot` up by one.
        ///
        /// - Returns: false, with nothing changed, where an entry would sit too far from home.
        @inlinable @inline(__always)
        func shift(from slot: Int) -> Bool {
            // Look before moving: everyone in the run must stay within reach of home.
            var end = slot
            var entry = self[end]
            while entry != 0 {
                if (end &- Int(entry &>> 25)) & 127 >= ClaimIndex.farthest { return false }
                end &+= 1
                entry = self[end]
            }
            guard end &+ 1 < slotCount else { return false }
            while end > slot {
                self[end] = self[end &- 1]
                end &-= 1
            }
            return true
        }

        /// Puts an entry behind all others that it may meet: their ranks are not higher.
        @inline(__always)
        func append(rank: UInt32, position: Int) {
            let home = self.home(of: rank)
            var slot = home
            while self[slot] != 0 { slot &+= 1 }
            // At twice the room nobody is farther from home than in the old table.
            precondition(
                slot &- home <= ClaimIndex.farthest && slot &+ 1 < slotCount,
                "a growing index overflowed")
            self[slot] = entry(tag: tag(of: rank), position: position)
        }
    }
}
