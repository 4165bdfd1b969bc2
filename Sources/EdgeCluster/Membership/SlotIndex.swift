/// Finds slots by hash: open addressing over 4 bytes an entry, 16 bits of hash beside the slot.
///
/// Two keys may share those 16 bits, so a search names candidates and its caller compares keys.
/// The place of an entry follows from its bits alone: growth and removal need no keys.
///
/// Complexity: all O(1) amortised. Memory: 8 to 16 bytes an entry.
struct SlotIndex {
    private static let none: UInt32 = .max

    private var entries: [UInt32]
    private var count = 0

    init() { entries = [UInt32](repeating: Self.none, count: 16) }

    @inline(__always)
    private static func tag(_ hash: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: hash >> 48) }

    /// The first slot of that hash for which `isIt` holds; -1 where there is none.
    @inline(__always)
    func find(_ hash: UInt64, _ isIt: (Int) -> Bool) -> Int {
        let tag = Self.tag(hash)
        let mask = entries.count - 1
        var place = Int(tag) & mask
        while entries[place] != Self.none {
            let entry = entries[place]
            if entry >> 16 == tag, isIt(Int(entry & 0xffff)) { return Int(entry & 0xffff) }
            place = (place + 1) & mask
        }
        return -1
    }

    /// - Precondition: `slot` is below 65,535 and not in the index.
    mutating func insert(_ hash: UInt64, _ slot: Int) {
        precondition(slot >= 0 && slot < 0xffff)
        if (count + 1) * 2 > entries.count { grow() }
        place((Self.tag(hash) << 16) | UInt32(slot))
        count += 1
    }

    /// - Precondition: `slot` is in the index under that hash.
    mutating func remove(_ hash: UInt64, _ slot: Int) {
        let entry = (Self.tag(hash) << 16) | UInt32(slot)
        let mask = entries.count - 1
        var hole = Int(entry >> 16) & mask
        while entries[hole] != entry {
            precondition(entries[hole] != Self.none, "a slot that is not in the index")
            hole = (hole + 1) & mask
        }
        // Entries behind the hole move up unless that would put them before their place.
        var next = (hole + 1) & mask
        while entries[next] != Self.none {
            let home = Int(entries[next] >> 16) & mask
            if (next - home) & mask >= (next - hole) & mask {
                entries[hole] = entries[next]
                hole = next
            }
            next = (next + 1) & mask
        }
        entries[hole] = Self.none
        count -= 1
    }

    private mutating func place(_ entry: UInt32) {
        let mask = entries.count - 1
        var place = Int(entry >> 16) & mask
        while entries[place] != Self.none { place = (place + 1) & mask }
        entries[place] = entry
    }

    private mutating func grow() {
        let before = entries
        entries = [UInt32](repeating: Self.none, count: before.count * 2)
        for entry in before where entry != Self.none { place(entry) }
    }
}
