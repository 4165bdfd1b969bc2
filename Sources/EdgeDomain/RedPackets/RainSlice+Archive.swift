import EdgeMemory
import EdgeTypes

/// The end of a closed slice: its claims leave memory once the store has them, and its totals,
/// its numbers and its terms stay. Who has won what is asked of the store from then on.
extension RainSlice {
    /// Whether it is closed for good and nothing of it is open: its claims may leave. O(1).
    ///
    /// Whether its home has taken the final return, and the store has it all, the caller knows.
    public var canArchive: Bool {
        isSealed && !isArchived && totals.held == 0 && totals.quarantined == 0
    }

    /// Whether an archived slice holds nothing that it should not.
    var isEmptied: Bool { totals.held == 0 && totals.quarantined == 0 && runs.isEmpty }

    /// Lets its claims go. O(1): what they take is given back by whoever has the tables then.
    public mutating func archive() -> ClaimTables {
        isArchived = true
        var tables = ClaimTables()
        swap(&tables.users, &users)
        swap(&tables.index, &index)
        swap(&tables.times, &times)
        swap(&tables.repeats, &repeats)
        runs = []
        runEnd = -1
        forgetReturn()
        return tables
    }
}

/// The tables of a slice that nobody reads any more.
public struct ClaimTables: ~Copyable {
    var users = ChunkedLog<UInt64>()
    var index = ClaimIndex()
    var times = TimeMarks()
    var repeats = RepeatLog()

    init() {}

    /// Gives about so many bytes back to the system; the rest with the next calls. O(bytes).
    ///
    /// - Returns: whether nothing is left.
    public mutating func release(bytes: Int) -> Bool {
        index.release(bytes: bytes) && users.release(bytes: bytes)
            && times.firstClaims.release(bytes: bytes) && times.timesMs.release(bytes: bytes)
            && repeats.links.release(bytes: bytes) && repeats.requests.release(bytes: bytes)
    }
}
