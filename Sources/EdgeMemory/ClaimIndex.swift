import CPrefetch

/// Finds positions of a log by a hash of its keys, in 4 bytes an entry.
///
/// Linear probing with entries kept in hash order (Amble & Knuth, "Ordered hash tables", 1974).
/// A hash's 25 highest bits are its *rank*. Where the table has 2^c slots, an entry's home slot
/// is the rank's c highest bits, and the entry stores the rank's 32 − c lowest bits beside a
/// c-bit position. Their top 7 bits are the home's lowest 7, so that slot and entry together
/// give the whole rank back as long as no entry sits 128 or more slots from home. Therefore
/// - a search stops at the first higher rank,
/// - the table doubles without reading the log: both tables are in rank order, a pass over the
///   old one writes the new one from front to back, a few slots with each insertion,
/// - everything below the pass's frontier is in the new table, all else in the old.
///
/// A found position is a candidate: equal ranks of different keys occur, the caller compares
/// keys. At a load of 0.6 a search reads 1 or 2 cache lines, nearly never the log in vain.
///
/// Complexity: search, insertion O(1) expected; growth moves at most `stride` slots and one run
/// of neighbours a call. Memory: 4 bytes a slot at a load of 0.4 to 0.8.
public struct ClaimIndex: ~Copyable {
    @usableFromInline var table: Table
    /// The table that a growth in progress reads from; empty where there is none.
    @usableFromInline var old = Table.none
    /// Slots of `old` below this one are moved.
    @usableFromInline var cursor = 0
    /// Ranks whose home in `old` is below this one live in `table`.
    @usableFromInline var frontier = 0
    /// Bytes of `old` that are given back already.
    private var releasedBytes = 0
    public private(set) var count = 0

    /// Slots that a growth passes with each insertion.
    static let stride = 8
    /// Bits of a hash that the index knows.
    @inlinable static var rankBits: Int { 25 }
    static let smallestBits = 5

    public init() { table = .allocate(bits: Self.smallestBits) }

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
        }
    }

    /// Entries that a table holds before it doubles: 13/16 of its slots.
    static func fullCount(bits: Int) -> Int { ((1 << bits) * 13) / 16 }

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
        var slot = first
        while slot < table.slotCount {
            let entry = table[slot]
            if entry == 0 { return nil }
            let other = table.rank(of: entry, at: slot)
            if other > rank { return nil }
            if other == rank {
                let position = table.position(of: entry)
                if matches(position) { return position }
            }
            slot += 1
        }
        return nil
    }

    /// Adds a position under a hash. The caller has looked that its key is not there.
    @inlinable
    public mutating func insert(_ hash: UInt64, position: Int) {
        makeRoom()
        let rank = Self.rank(of: hash)
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

    /// Replaces `position` of an entry by `newer` (a user's later claim).
    public mutating func update(_ hash: UInt64, from position: Int, to newer: Int) {
        let rank = Self.rank(of: hash)
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
                table[slot] = table.entry(rank: rank, position: newer)
                return
            }
            slot += 1
        }
    }

    @usableFromInline @inline(__always)
    mutating func counted() { count += 1 }

    @usableFromInline @inline(__always)
    mutating func makeRoom() {
        if isGrowing {
            advance(by: Self.stride)
        } else if count >= Self.fullCount(bits: table.bits) {
            beginGrowth()
        }
    }

    @usableFromInline
    mutating func beginGrowth() {
        precondition(!isGrowing)
        old = table
        table = .allocate(bits: old.bits + 1)
        cursor = 0
        frontier = 0
        releasedBytes = 0
    }

    /// Moves at least `slots` slots of the old table, and on to the end of a home's group.
    @usableFromInline
    mutating func advance(by slots: Int) {
        let goal = cursor + slots
        var lastHome = -1
        while cursor < old.slotCount {
            let entry = old[cursor]
            if entry == 0 {
                if cursor >= goal { break }
                // Whoever has this slot or one before it as home was met before it.
                cursor += 1
                frontier = cursor
                lastHome = -1
                continue
            }
            let rank = old.rank(of: entry, at: cursor)
            let home = old.home(of: rank)
            if home != lastHome {
                frontier = home
                if cursor >= goal { break }
                lastHome = home
            }
            // The new table is filled in rank order at twice the room: nobody is farther from
            // home there than in the old one.
            let moved = table.insert(
                rank: rank, position: old.position(of: entry), from: table.home(of: rank))
            precondition(moved, "a growing index overflowed")
            cursor += 1
        }
        if cursor == old.slotCount { return endGrowth() }
        if cursor * 4 - releasedBytes >= Region.pieceBytes {
            Region.release(old.base, old.sizeBytes, at: releasedBytes)
            releasedBytes += Region.pieceBytes
        }
    }

    private mutating func endGrowth() {
        old.deallocate()
        old = .none
    }

    /// An entry would sit too far from home (rare at these loads): finish the growth in progress
    /// at once, or begin one.
    @usableFromInline
    mutating func overflowed() {
        if !isGrowing { beginGrowth() }
        while isGrowing { advance(by: 1 << 16) }
    }

    /// Bytes allocated.
    public var heldBytes: Int {
        table.sizeBytes + (isGrowing ? old.sizeBytes - releasedBytes : 0)
    }

    /// Whether a growth is in progress.
    @inlinable public var isGrowing: Bool { old.slotCount != 0 }
}

extension ClaimIndex {
    /// A view of one table's memory, which the index allocates and frees.
    @usableFromInline
    struct Table {
        @usableFromInline let base: UnsafeMutableRawPointer
        @usableFromInline let bits: Int
        @usableFromInline let slotCount: Int

        @usableFromInline
        init(base: UnsafeMutableRawPointer, bits: Int, slotCount: Int) {
            self.base = base
            self.bits = bits
            self.slotCount = slotCount
        }

        // SAFETY: with no slots, no access passes its precondition; nothing is ever freed there.
        @usableFromInline nonisolated(unsafe) static let none = Table(
            base: UnsafeMutableRawPointer(bitPattern: 64)!, bits: 0, slotCount: 0)

        static func allocate(bits: Int) -> Table {
            precondition(bits <= ClaimIndex.rankBits, "index over its limit")
            // Entries near the end spill into 128 slots past it instead of wrapping around.
            let slotCount = (1 << bits) + 128
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
        func home(of rank: UInt32) -> Int {
            Int(rank >> UInt32(truncatingIfNeeded: ClaimIndex.rankBits - bits))
        }

        /// - Precondition: `entry` is what `slot` holds.
        @inlinable @inline(__always)
        func rank(of entry: UInt32, at slot: Int) -> UInt32 {
            let low = Int(entry >> 25)
            let home = slot - ((slot &- low) & 127)
            let high = UInt32(truncatingIfNeeded: home >> 7)
            return (high << UInt32(truncatingIfNeeded: 32 - bits))
                | (entry >> UInt32(truncatingIfNeeded: bits))
        }

        @inlinable @inline(__always)
        func entry(rank: UInt32, position: Int) -> UInt32 {
            (rank << UInt32(truncatingIfNeeded: bits)) | UInt32(truncatingIfNeeded: position + 1)
        }

        @inlinable @inline(__always)
        func position(of entry: UInt32) -> Int {
            Int(entry & ((1 << UInt32(truncatingIfNeeded: bits)) - 1)) - 1
        }

        /// Puts an entry where its rank belongs, moving higher ranks up by one slot.
        ///
        /// - Returns: false, with nothing changed, where an entry would sit too far from home.
        @inlinable
        func insert(rank: UInt32, position: Int, from first: Int) -> Bool {
            var slot = first
            while slot < slotCount {
                let entry = self[slot]
                if entry == 0 || self.rank(of: entry, at: slot) > rank { break }
                slot += 1
            }
            guard slot < slotCount, slot - home(of: rank) < 127 else { return false }
            // Look before moving: everyone in the run must stay within reach of home.
            var end = slot
            while true {
                let entry = self[end]
                if entry == 0 { break }
                let distance = (end &- Int(entry >> 25)) & 127
                if distance >= 126 || end + 1 == slotCount { return false }
                end += 1
            }
            while end > slot {
                self[end] = self[end - 1]
                end -= 1
            }
            self[slot] = self.entry(rank: rank, position: position)
            return true
        }
    }
}
