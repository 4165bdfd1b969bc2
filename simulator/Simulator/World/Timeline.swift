/// A value over virtual time: each change with when it came.
struct Timeline<Value> {
    struct Change {
        var ns: UInt64
        var value: Value
    }

    private var changes: [Change] = []

    var last: Value? { changes.last?.value }

    /// - Precondition: `ns` is not before the last change. Of several at the same time all stay:
    ///   what is decided between them sees each.
    mutating func set(_ value: Value, at ns: UInt64) {
        precondition(changes.last.map { $0.ns <= ns } ?? true)
        changes.append(Change(ns: ns, value: value))
    }

    /// Whether there was nothing at `ns` yet.
    func began(after ns: UInt64) -> Bool { changes.first.map { $0.ns > ns } ?? true }

    /// What was in force at some moment after `ns`, up to now. Empty before the first change.
    ///
    /// Complexity: O(log changes).
    func since(_ ns: UInt64) -> ArraySlice<Change> {
        var low = 0
        var high = changes.count
        while low < high {
            let middle = (low + high) / 2
            if changes[middle].ns <= ns { low = middle + 1 } else { high = middle }
        }
        return changes[max(0, low - 1)...]
    }
}
