import EdgeTypes

/// When something may leave: once the journal's entries up to a position are safe, and with whom.
struct Release: Equatable {
    var position: UInt64
    /// See `CommitStream`.
    var stream: UInt8

    static let now = Release(position: 0, stream: CommitStream.disk)

    /// Whether it waits on one of `streams`: bits by their number.
    func isAmong(_ streams: UInt16) -> Bool {
        CommitStream.isAll(stream) || streams & 1 << UInt16(stream & 0x0f) != 0
    }
}

/// Something that waits to leave.
struct Held<Item> {
    var needs: Release
    var item: Item
}

extension Array {
    /// Takes out what may leave, in order.
    mutating func take<Item>(where mayLeave: (Release) -> Bool) -> [Item]
    where Element == Held<Item> {
        // Mostly all that is there, or the first of it.
        let first = prefix { mayLeave($0.needs) }.count
        var taken = self[..<first].map(\.item)
        removeFirst(first)
        guard contains(where: { mayLeave($0.needs) }) else { return taken }
        var left: [Held<Item>] = []
        for held in self {
            if mayLeave(held.needs) { taken.append(held.item) } else { left.append(held) }
        }
        self = left
        return taken
    }
}
