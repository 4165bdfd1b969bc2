import EdgeMemory
import EdgeTypes

/// A rain slice as bytes, little-endian: its books, what it holds, and its logs as they lie in
/// memory. The index is made anew from the users. Definition and control travel beside it.
///
/// The logs only ever grow at their end, and a claim never changes: a snapshot's *extents*, taken
/// when it begins, say how much of each log belongs to it, and the logs can be copied piece by
/// piece afterwards while claims go on.
extension RainSlice {
    /// One of its logs.
    public enum Log: Int, CaseIterable, Sendable {
        case users = 0
        case markClaims
        case markTimes
        case links
        case requests

        public var elementBytes: Int { self == .markClaims ? 4 : 8 }
    }

    public func count(of log: Log) -> Int {
        switch log {
        case .users: users.count
        case .markClaims: times.firstClaims.count
        case .markTimes: times.timesMs.count
        case .links: repeats.links.count
        case .requests: repeats.requests.count
        }
    }

    /// Appends elements of a log. O(range).
    public func write(_ log: Log, _ range: Range<Int>, into sink: inout ByteSink) {
        switch log {
        case .users: users.write(range, into: &sink)
        case .markClaims: times.firstClaims.write(range, into: &sink)
        case .markTimes: times.timesMs.write(range, into: &sink)
        case .links: repeats.links.write(range, into: &sink)
        case .requests: repeats.requests.write(range, into: &sink)
        }
    }

    /// What comes before its logs: all that changes.
    ///
    /// - Parameter forgetsArchive: only a built-in bug does (see `Mutant`).
    public func writeHead(into sink: inout ByteSink, forgetsArchive: Bool = false) {
        let marksArchived = isArchived && !forgetsArchive
        sink.append(integer: creditedNumber)
        sink.append(integer: returnedNumber)
        sink.append(
            integer: UInt8(
                (isSealed ? 1 : 0) | (isQuarantined ? 2 : 0) | (marksArchived ? 4 : 0)))
        sink.append(integer: openedAt)
        sink.append(integer: sealedAt)
        sink.append(integer: sealedMs)
        for value in [
            totals.credited, totals.held, totals.granted, totals.grantedFen, totals.returned,
            totals.quarantined, totals.quarantinedFen, totals.retired, totals.retiredFen,
        ] { sink.append(integer: value) }
        sink.append(integer: quarantines)
        Self.write(heldRanges, into: &sink)
        Self.write(lastReturn?.ranges ?? [], into: &sink)
        sink.append(integer: UInt32(runs.count))
        for run in runs {
            sink.append(integer: UInt64(run.firstClaim))
            sink.append(integer: run.firstPacket)
        }
        sink.append(integer: runEnd)
        sink.append(integer: UInt64(users.count))
        sink.append(integer: UInt64(times.timesMs.count))
        sink.append(integer: repeats.isActive ? UInt64(repeats.base) : UInt64.max)
        sink.append(integer: UInt64(repeats.links.count))
    }

    /// Restores a slice that was just made.
    ///
    /// Complexity: O(claims).
    /// - Parameter units: the packets of the whole rain.
    /// - Throws: where the bytes end early or contradict each other; the slice is not to be used
    ///   then.
    public mutating func restore(
        from reader: inout SnapshotReader, units: Int64
    ) throws(SnapshotReader.Truncated) {
        let numbers = (try reader.integer(UInt32.self), try reader.integer(UInt32.self))
        let flags: UInt8 = try reader.integer()
        isArchived = flags & 4 != 0
        restore(
            openedAt: try reader.integer(), sealedAt: try reader.integer(),
            sealedMs: try reader.integer())
        guard openedAt <= sealedAt || sealedAt == 0, (flags & 1 != 0) == (sealedAt != 0),
            flags & 1 != 0 || !isArchived, sealedMs >= 0, sealedMs <= 1 << 53
        else { throw SnapshotReader.Truncated() }
        var books = SliceTotals()
        books.credited = try reader.integer()
        books.held = try reader.integer()
        books.granted = try reader.integer()
        books.grantedFen = try reader.integer()
        books.returned = try reader.integer()
        books.quarantined = try reader.integer()
        books.quarantinedFen = try reader.integer()
        books.retired = try reader.integer()
        books.retiredFen = try reader.integer()
        let quarantines: UInt32 = try reader.integer()
        // Bounded, so that no sum of them overflows.
        guard
            [
                books.held, books.granted, books.quarantined, books.retired,
            ].allSatisfy({ $0 >= 0 && $0 <= units }),
            [books.credited, books.returned]
                .allSatisfy({ $0 >= 0 && $0 <= Limits.unitsMoved }),
            [books.grantedFen, books.quarantinedFen, books.retiredFen]
                .allSatisfy({ $0 >= 0 && $0 <= Limits.amountFen }),
            quarantines < .max
        else { throw SnapshotReader.Truncated() }
        let ranges = try Self.ranges(&reader, units: units)
        let returned = try Self.ranges(&reader, units: units)
        let runCount = try reader.count(limit: 1 << 24, itemBytes: 16)
        var lastRun = -1
        for _ in 0..<runCount {
            let first = Int(truncatingIfNeeded: try reader.integer(UInt64.self))
            guard first > lastRun else { throw SnapshotReader.Truncated() }
            lastRun = first
            let packet: Int64 = try reader.integer()
            guard packet >= 0, packet < units, first > 0 || runs.isEmpty else {
                throw SnapshotReader.Truncated()
            }
            runs.append(GrantRun(firstClaim: first, firstPacket: packet))
        }
        runEnd = try reader.integer()
        guard runEnd >= -1, runEnd <= units, runs.isEmpty || runs[0].firstClaim == 0 else {
            throw SnapshotReader.Truncated()
        }
        let count = try reader.integer(UInt64.self)
        guard count <= UInt64(Limits.claimsPerSlice),
            isArchived ? count == 0 : books.granted == Int64(count),
            lastRun < Int(count), (count == 0) == runs.isEmpty
        else { throw SnapshotReader.Truncated() }
        let markCount = try reader.integer(UInt64.self)
        let repeatBase = try reader.integer(UInt64.self)
        let repeatCount = try reader.integer(UInt64.self)
        users.append(contentsOf: try reader.slice(Int(count) * 8))
        try times.restore(markCount, from: &reader, claims: Int(count))
        try repeats.restore(repeatBase, repeatCount, from: &reader, claims: Int(count))
        restore(
            books: books, credited: numbers.0, returned: numbers.1, sealed: flags & 1 != 0,
            quarantined: flags & 2 != 0, quarantines: quarantines, held: ranges,
            returnedRanges: returned)
        guard isBalanced, !isArchived || isEmptied,
            (isQuarantined ? books.quarantined : books.held)
                == ranges.reduce(0, { $0 + $1.count }),
            !isQuarantined || books.held == 0
        else { throw SnapshotReader.Truncated() }
        if isArchived { index = ClaimIndex() } else { try rebuildIndex() }
    }

    /// Later claims of a user replace earlier ones, as they did when they were granted.
    private mutating func rebuildIndex() throws(SnapshotReader.Truncated) {
        index.reserve(users.count)
        let window = 32
        var start = 0
        while start < users.count {
            let end = min(start + window, users.count)
            for position in start..<end { index.prefetch(hash(users[position])) }
            for position in start..<end {
                let user = users[position]
                let hash = hash(user)
                if let earlier = repeats.previous(of: position) {
                    guard index.find(hash, where: { users[$0] == user }) == earlier else {
                        throw SnapshotReader.Truncated()
                    }
                    index.update(hash, from: earlier, to: position)
                } else {
                    index.insert(hash, position: position)
                }
            }
            start = end
        }
    }

    static func write(_ ranges: [UnitRange], into sink: inout ByteSink) {
        sink.append(integer: UInt32(ranges.count))
        for range in ranges {
            sink.append(integer: range.start)
            sink.append(integer: range.count)
        }
    }

    static func ranges(
        _ reader: inout SnapshotReader, units most: Int64
    ) throws(SnapshotReader.Truncated) -> [UnitRange] {
        let count = try reader.count(limit: 1 << 20, itemBytes: 16)
        var ranges: [UnitRange] = []
        for _ in 0..<count {
            let start: Int64 = try reader.integer()
            let units: Int64 = try reader.integer()
            guard start >= 0, units >= 0, units <= most, start <= most - units else {
                throw SnapshotReader.Truncated()
            }
            ranges.append(UnitRange(start: start, count: units))
        }
        return ranges
    }
}

extension TimeMarks {
    mutating func restore(
        _ count: UInt64, from reader: inout SnapshotReader, claims: Int
    ) throws(SnapshotReader.Truncated) {
        guard count <= UInt64(claims), (count == 0) == (claims == 0) else {
            throw SnapshotReader.Truncated()
        }
        firstClaims.append(contentsOf: try reader.slice(Int(count) * 4))
        timesMs.append(contentsOf: try reader.slice(Int(count) * 8))
        if count > 0 { lastMs = timesMs[Int(count) - 1] }
    }
}

extension RepeatLog {
    mutating func restore(
        _ first: UInt64, _ count: UInt64, from reader: inout SnapshotReader, claims: Int
    ) throws(SnapshotReader.Truncated) {
        guard first != .max else {
            guard count == 0 else { throw SnapshotReader.Truncated() }
            return
        }
        guard first <= UInt64(claims), count == UInt64(claims) - first else {
            throw SnapshotReader.Truncated()
        }
        activate(at: Int(first))
        links.append(contentsOf: try reader.slice(Int(count) * 8))
        requests.append(contentsOf: try reader.slice(Int(count) * 8))
        for index in 0..<links.count where Int(links[index] & 0xffff_ffff) > base + index {
            throw SnapshotReader.Truncated()
        }
    }
}
