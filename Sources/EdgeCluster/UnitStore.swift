import EdgeTypes

/// Units that no slice holds, oldest first: ranges of packets, or a count of stock, whose units
/// are alike.
///
/// Taking from the front is O(ranges taken); putting back is O(ranges put).
public struct UnitStore: Sendable {
    /// Those from `first` on.
    private var ranges: [UnitRange] = []
    private var first = 0
    public private(set) var count: Int64 = 0
    private let isStock: Bool

    init(isStock: Bool) { self.isStock = isStock }

    var all: ArraySlice<UnitRange> { ranges[first...] }

    /// Puts units in, behind what is there.
    mutating func put(_ range: UnitRange) {
        guard range.count > 0 else { return }
        count += range.count
        if let last = all.last, isStock || last.start + last.count == range.start {
            ranges[ranges.count - 1].count += range.count
        } else {
            ranges.append(isStock ? UnitRange(start: 0, count: range.count) : range)
        }
    }

    /// The first units, in at most `most` ranges; fewer units where that does not suffice.
    func front(_ units: Int64, most: Int) -> [UnitRange] {
        var taken: [UnitRange] = []
        var left = units
        for range in all where left > 0 && taken.count < most {
            let part = min(left, range.count)
            taken.append(UnitRange(start: range.start, count: part))
            left -= part
        }
        return taken
    }

    /// Takes the ranges that `front` gave, or that a journal says were taken.
    ///
    /// - Returns: false where they are not at the front; then nothing changed.
    mutating func take(_ wanted: [UnitRange]) -> Bool {
        guard follows(wanted) else { return false }
        for range in wanted {
            var left = range.count
            while left > 0 {
                let part = min(left, ranges[first].count)
                if !isStock { ranges[first].start += part }
                ranges[first].count -= part
                count -= part
                left -= part
                if ranges[first].count == 0 { first += 1 }
            }
        }
        if first == ranges.count || first > 1_024 && first * 2 > ranges.count {
            ranges.removeFirst(first)
            first = 0
        }
        return true
    }

    /// Whether ranges are what lies at the front.
    func follows(_ wanted: [UnitRange]) -> Bool {
        var place = first
        var offset: Int64 = 0
        for range in wanted {
            guard range.start >= 0, range.count >= 0, range.count <= count else { return false }
            var left = range.count
            var start = range.start
            while left > 0 {
                guard place < ranges.count else { return false }
                guard isStock || start == ranges[place].start + offset else { return false }
                let part = min(left, ranges[place].count - offset)
                left -= part
                start += part
                offset += part
                if offset == ranges[place].count {
                    place += 1
                    offset = 0
                }
            }
        }
        return true
    }
}
