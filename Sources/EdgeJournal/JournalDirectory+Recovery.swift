import EdgeMemory
import EdgeTypes
public import EdgeWire
import Glibc

/// What recovery found.
public struct RecoveryReport: Sendable {
    /// A torn tail that was cut off.
    public struct Cut: Hashable, Sendable {
        public var file: String
        public var offset: UInt64
        public var bytes: UInt64
    }

    /// The last sequence of every shard, snapshots included: writers go on after it.
    public internal(set) var sequences = ShardSequences()
    /// Entries handed over, and entries known from snapshots.
    public internal(set) var entries: UInt64 = 0
    public internal(set) var coveredEntries: UInt64 = 0
    public internal(set) var lanes = 0
    /// The last boot that wrote segments; 0: none.
    public internal(set) var newestBoot: UInt32 = 0
    /// Whether that boot ended in good order on all of its cores (true where there is none).
    public internal(set) var wasClean = true
    public internal(set) var cuts: [Cut] = []
}

extension JournalDirectory {
    /// Replays the journal in order (boot, core, index), then closes what the last boot left open:
    /// cuts torn tails, seals, and removes what was only prepared.
    ///
    /// Damage throws before anything on disk has been changed; what `body` was given until then
    /// is not to be used. Running it again gives the same, whenever it was interrupted; but the
    /// lanes count as `recovered` then, not as `stopped`. Once per process, before `beginBoot`.
    /// - Parameters:
    ///   - covered: the sequence of each shard's snapshot.
    ///   - body: gets each entry above that; the frame is valid only inside the call.
    public func recover(
        covered: ShardSequences = ShardSequences(),
        _ body: (JournalFrame) throws(JournalError) -> Void
    ) throws(JournalError) -> RecoveryReport {
        let catalog = try SegmentCatalog(journal)
        var report = RecoveryReport()
        report.newestBoot = catalog.newestBoot
        var closings: [LaneClosing] = []
        var reader = LaneReader(
            directory: journal, identity: identity,
            cursor: .start(of: SegmentName(lane: JournalLane(boot: 0, core: 0), index: 0)),
            tracker: ShardTracker(covered: covered, isReplicated: configuration.isReplicated),
            mutant: configuration.mutant)
        var stopped = 0
        var cores = 0
        for (lane, names) in catalog.lanes {
            try checkIndices(names)
            reader.move(to: .start(of: names[0]))
            let status = try reader.read(upTo: nil, body)
            var closing = try judge(status, &reader, newestBoot: catalog.newestBoot)
            if lane.boot == catalog.newestBoot { closing.unsettled = unsettled(reader, closing) }
            closings.append(closing)
            report.lanes += 1
            if lane.boot == catalog.newestBoot {
                if status == .ended(.stopped) { stopped += 1 }
                cores = try coresOf(names[0])
            }
            if closing.tornBytes > 0 {
                let file = journal.path(of: closing.name.fileName)
                report.cuts.append(
                    .init(file: file, offset: closing.offset, bytes: closing.tornBytes))
            }
        }
        report.wasClean = catalog.names.isEmpty || stopped == cores
        report.entries = reader.entries
        report.coveredEntries = reader.coveredEntries
        report.sequences = reader.tracker.lastSequences
        for (name, size) in reader.untrimmed { try trim(name, to: size) }
        for closing in closings { try close(closing, catalog) }
        for name in catalog.temporaries + catalog.needlessCopies {
            try journal.remove(name)
        }
        try journal.synchronize()
        return report
    }

    private struct LaneClosing {
        var name: SegmentName
        /// nil where the lane is closed already.
        var seal: SealRecord?
        var offset: UInt64
        var tornBytes: UInt64
        /// Empty for lanes of earlier boots: a recovery has settled them.
        var unsettled: [Unsettled] = []
    }

    /// Bytes of a segment that nothing proves to be durable.
    private struct Unsettled {
        var name: SegmentName
        var start: Int
        /// Or where the file ends.
        var end = Int.max
    }

    private func checkIndices(_ names: [SegmentName]) throws(JournalError) {
        for (previous, next) in zip(names, names.dropFirst()) where next.index != previous.index + 1
        {
            let missing = SegmentName(lane: previous.lane, index: previous.index + 1)
            throw .damaged(JournalDamage(journal.path(of: missing.fileName), 0, .missingFile))
        }
    }

    private func coresOf(_ name: SegmentName) throws(JournalError) -> Int {
        let buffer = RawBuffer(capacity: SegmentHeader.bytes)
        let source = try SegmentSource.open(
            name, in: journal, identity: identity, buffer: buffer)
        return Int(source?.header.cores ?? 0)
    }

    private func judge(
        _ status: LaneStatus, _ reader: inout LaneReader, newestBoot: UInt32
    ) throws(JournalError) -> LaneClosing {
        let cursor = reader.cursor
        let file = journal.path(of: cursor.name.fileName)
        switch status {
        case .ended:
            if let later = try reader.laterContent() {
                let detail = "the lane is closed, but \(later.fileName) holds entries"
                throw .damaged(JournalDamage(file, cursor.offset, .contradiction(detail)))
            }
            return LaneClosing(name: cursor.name, seal: nil, offset: cursor.offset, tornBytes: 0)
        case .tail(let tornBytes):
            guard cursor.lane.boot == newestBoot else {
                throw .damaged(JournalDamage(file, cursor.offset, .notClosed))
            }
            let seal = SealRecord(
                reason: .recovered, endPosition: cursor.position, durableOffset: cursor.offset,
                entries: reader.audit.entries, digest: reader.audit.digest,
                timeMs: system.wallMs(), ranges: reader.tracker.ranges())
            return LaneClosing(
                name: cursor.name, seal: seal, offset: cursor.offset, tornBytes: tornBytes)
        case .more, .caughtUp: preconditionFailure("a whole lane was asked for")
        }
    }

    private func unsettled(
        _ reader: borrowing LaneReader, _ closing: LaneClosing
    ) -> [Unsettled] {
        var parts: [Unsettled] = []
        if let previous = reader.previous {
            parts.append(Unsettled(name: previous.name, start: Int(previous.notedOffset)))
        }
        var last = Unsettled(name: closing.name, start: Int(reader.notedOffset))
        if closing.seal != nil { last.end = Int(closing.offset) }
        parts.append(last)
        return parts
    }

    /// Seals in place, in space that is reserved: it works on a full disk too.
    private func close(_ closing: LaneClosing, _ catalog: SegmentCatalog) throws(JournalError) {
        if configuration.mutant != .recoveredTailNotSynced {
            for part in closing.unsettled { try settle(part) }
        }
        if let seal = closing.seal {
            let file = try journal.open(closing.name.fileName, O_RDWR)
            let record = seal.encode(lane: closing.name.lane, offset: Int(closing.offset))
            defer { withExtendedLifetime(record) {} }
            try file.write(record.bytes, at: Int(closing.offset))
            // Only then goes what was torn: a crash in between leaves a sealed segment, or one
            // that is judged the same way again.
            try file.truncate(to: Int(closing.offset) + record.count)
            try file.synchronize()
        }
        let needless = catalog.names.filter {
            $0.lane == closing.name.lane && $0.index > closing.name.index
        }
        // The last first, one by one: whatever a crash leaves of them has no gap.
        for (count, name) in needless.reversed().enumerated() {
            if count > 0 { try journal.synchronize() }
            try journal.remove(name.fileName)
        }
    }

    /// Makes durable what was read, before anything says that it is: a process that was killed
    /// has written without syncing, and after a failed sync the kernel shows bytes that it will
    /// never write. So they are written again.
    ///
    /// What a segment has noted as durable is; segments before the last two were synced before
    /// their successors were used.
    private func settle(_ part: Unsettled) throws(JournalError) {
        guard journal.exists(part.name.fileName) else { return }
        let file = try journal.open(part.name.fileName, O_RDWR)
        let end = min(part.end, try file.size())
        let piece = RawBuffer(capacity: min(1 << 20, max(0, end - part.start)))
        defer { withExtendedLifetime(piece) {} }
        var offset = part.start
        while offset < end {
            let size = min(piece.region.count, end - offset)
            piece.count = try file.read(
                into: UnsafeMutableRawBufferPointer(rebasing: piece.region[..<size]), at: offset)
            try file.write(piece.bytes, at: offset)
            offset += size
        }
        try file.synchronize()
    }

    private func trim(_ name: SegmentName, to size: Int) throws(JournalError) {
        let file = try journal.open(name.fileName, O_RDWR)
        try file.truncate(to: size)
        try file.synchronize()
    }
}
