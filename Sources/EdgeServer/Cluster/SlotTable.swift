/// Items by number, which is given out again only with another generation.
struct SlotTable<Item> {
    private var items: [Item?] = []
    private var generations: [UInt32] = []
    private var free: [UInt32] = []
    private(set) var count = 0

    /// - Returns: the item's number: its slot, and above that its generation.
    mutating func add(_ item: Item) -> UInt64 {
        count += 1
        if let slot = free.popLast() {
            items[Int(slot)] = item
            return UInt64(generations[Int(slot)]) << 32 | UInt64(slot)
        }
        items.append(item)
        generations.append(0)
        return UInt64(items.count - 1)
    }

    /// - Returns: nil where no item has the number any more.
    mutating func take(_ number: UInt64) -> Item? {
        let slot = Int(number & 0xffff_ffff)
        guard slot < items.count, UInt64(generations[slot]) == number >> 32,
            let item = items[slot].take()
        else { return nil }
        generations[slot] &+= 1
        free.append(UInt32(slot))
        count -= 1
        return item
    }

    /// The same where only the lower half of the generation is known.
    mutating func take(slot: UInt32, generation: UInt16) -> Item? {
        guard Int(slot) < items.count,
            UInt16(truncatingIfNeeded: generations[Int(slot)]) == generation
        else { return nil }
        return take(UInt64(generations[Int(slot)]) << 32 | UInt64(slot))
    }

    /// - Complexity: O(items ever held at once).
    mutating func takeAll(where isTaken: (Item) -> Bool) -> [Item] {
        var taken: [Item] = []
        for slot in items.indices {
            guard let item = items[slot], isTaken(item) else { continue }
            if let item = take(UInt64(generations[slot]) << 32 | UInt64(slot)) {
                taken.append(item)
            }
        }
        return taken
    }
}
