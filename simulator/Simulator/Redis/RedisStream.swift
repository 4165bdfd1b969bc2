/// A stream with its consumer groups, as Redis 7 has them.
package struct RedisStream: Sendable, Equatable {
    package struct ID: Comparable, Hashable, Sendable, CustomStringConvertible {
        package var ms: UInt64
        package var number: UInt64

        package static let least = ID(ms: 0, number: 0)
        package static let most = ID(ms: .max, number: .max)

        package init(ms: UInt64, number: UInt64) {
            self.ms = ms
            self.number = number
        }

        /// - Parameter text: `-`, `+`, `MS` or `MS-NUMBER`.
        package init?(_ text: some StringProtocol) {
            switch text {
            case "-": self = .least
            case "+": self = .most
            default:
                let parts = text.split(separator: "-")
                guard let ms = parts.first.flatMap({ UInt64($0) }), parts.count <= 2 else {
                    return nil
                }
                self.init(ms: ms, number: parts.count == 2 ? UInt64(parts[1]) ?? 0 : 0)
            }
        }

        package var next: ID { ID(ms: ms, number: number + 1) }

        package static func < (one: ID, other: ID) -> Bool {
            (one.ms, one.number) < (other.ms, other.number)
        }

        package var description: String { "\(ms)-\(number)" }
    }

    package struct Entry: Sendable, Equatable {
        package var id: ID
        /// Names and values in turns.
        package var fields: [String]

        package subscript(name: String) -> String? {
            stride(from: 0, to: fields.count - 1, by: 2).first { fields[$0] == name }
                .map { fields[$0 + 1] }
        }
    }

    /// Delivered, and not acknowledged.
    package struct Pending: Sendable, Equatable {
        package var consumer: String
        package var deliveredMs: Int64
        package var deliveries: Int
    }

    package struct Group: Sendable, Equatable {
        package var lastDelivered: ID
        package var pending = SortedTable<ID, Pending>()
    }

    package private(set) var entries: [Entry] = []
    package private(set) var lastID = ID.least
    package var groups = SortedTable<String, Group>()

    package init() {}

    /// Under the next id: the time's, or the one after the last.
    package mutating func add(_ fields: [String], nowMs: Int64) -> ID {
        let now = ID(ms: UInt64(max(0, nowMs)), number: 0)
        lastID = now > lastID ? now : lastID.next
        entries.append(Entry(id: lastID, fields: fields))
        return lastID
    }

    package func entry(_ id: ID) -> Entry? {
        let index = place(of: id)
        return index < entries.count && entries[index].id == id ? entries[index] : nil
    }

    /// - Parameter isAfter: without `from` itself.
    package func range(from: ID, isAfter: Bool = false, to: ID = .most, count: Int) -> [Entry] {
        var index = place(of: from)
        if isAfter, index < entries.count, entries[index].id == from { index += 1 }
        return Array(entries[index...].prefix(max(0, count)).prefix { $0.id <= to })
    }

    /// - Returns: whether it was there.
    package mutating func remove(_ id: ID) -> Bool {
        let index = place(of: id)
        guard index < entries.count, entries[index].id == id else { return false }
        entries.remove(at: index)
        return true
    }

    /// Takes away what is before an id.
    package mutating func trim(before id: ID) { entries.removeFirst(place(of: id)) }

    private func place(of id: ID) -> Int {
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low
    }

    // MARK: Groups

    /// What a group has not been given yet.
    package mutating func read(
        _ group: String, _ consumer: String, count: Int, nowMs: Int64
    ) -> [Entry] {
        guard var known = groups[group] else { return [] }
        let found = range(from: known.lastDelivered, isAfter: true, count: count)
        for entry in found {
            known.lastDelivered = entry.id
            known.pending[entry.id] = Pending(
                consumer: consumer, deliveredMs: nowMs, deliveries: 1)
        }
        groups[group] = known
        return found
    }

    /// What has been idle for so long goes to another consumer; what is in the stream no more is
    /// pending no more.
    package mutating func claim(
        _ group: String, _ consumer: String, idleMs: Int64, count: Int, nowMs: Int64
    ) -> [Entry] {
        guard var known = groups[group] else { return [] }
        var found: [Entry] = []
        for (id, pending) in known.pending.elements.map({ ($0.key, $0.value) })
        where found.count < count && nowMs - pending.deliveredMs >= idleMs {
            guard let entry = entry(id) else {
                known.pending[id] = nil
                continue
            }
            known.pending[id] = Pending(
                consumer: consumer, deliveredMs: nowMs, deliveries: pending.deliveries + 1)
            found.append(entry)
        }
        groups[group] = known
        return found
    }

    /// - Returns: whether it was pending.
    package mutating func acknowledge(_ group: String, _ id: ID) -> Bool {
        guard groups[group]?.pending[id] != nil else { return false }
        groups[group]?.pending[id] = nil
        return true
    }
}
