/// A small map from 64-bit hashes to 32-bit numbers: open addressing, never shrinks.
///
/// For tables that grow rarely (pools of a core): growth rehashes at once. Search is O(1).
public struct KeyTable: ~Copyable {
    @usableFromInline var slots: [Slot]
    public private(set) var count = 0

    @usableFromInline
    struct Slot {
        @usableFromInline var key: UInt64
        @usableFromInline var number: Int32
        init(key: UInt64, number: Int32) {
            self.key = key
            self.number = number
        }
    }

    public init() { slots = Array(repeating: Slot(key: 0, number: -1), count: 64) }

    /// The number under `key`, or nil.
    @inlinable
    public func find(_ key: UInt64) -> Int? {
        let mask = slots.count - 1
        var index = Int(truncatingIfNeeded: (key &* 0x9e37_79b9_7f4a_7c15) >> 20) & mask
        while slots[index].number >= 0 {
            if slots[index].key == key { return Int(slots[index].number) }
            index = (index + 1) & mask
        }
        return nil
    }

    /// Adds or replaces.
    public mutating func set(_ key: UInt64, to number: Int) {
        if count * 2 >= slots.count { grow() }
        place(Slot(key: key, number: Int32(number)))
    }

    private mutating func place(_ slot: Slot) {
        let mask = slots.count - 1
        var index = Int(truncatingIfNeeded: (slot.key &* 0x9e37_79b9_7f4a_7c15) >> 20) & mask
        while slots[index].number >= 0 && slots[index].key != slot.key {
            index = (index + 1) & mask
        }
        if slots[index].number < 0 { count += 1 }
        slots[index] = slot
    }

    private mutating func grow() {
        let before = slots
        slots = Array(repeating: Slot(key: 0, number: -1), count: before.count * 2)
        count = 0
        for slot in before where slot.number >= 0 { place(slot) }
    }
}
