import EdgeMemory
import EdgeTypes
public import EdgeWire

/// A place in a lane, from which a reader can go on. Plain values, to be stored anywhere.
public struct JournalCursor: Hashable, Sendable {
    public var lane: JournalLane
    public var index: UInt32
    /// Bytes from the beginning of the segment's content.
    public var offset: UInt64
    /// Bytes of entries before this place, since the lane's beginning.
    public var position: UInt64
    /// Position where the batch that this place is in ends.
    public var batchEnd: UInt64

    public init(
        lane: JournalLane, index: UInt32, offset: UInt64, position: UInt64, batchEnd: UInt64
    ) {
        self.lane = lane
        self.index = index
        self.offset = offset
        self.position = position
        self.batchEnd = batchEnd
    }

    var name: SegmentName { SegmentName(lane: lane, index: index) }

    /// At the beginning of a segment that is not the lane's first, and told no position: a lane
    /// never goes on to another segment without having held entries.
    var isUnplaced: Bool {
        index > 0 && position == 0 && offset == UInt64(SegmentHeader.bytes)
    }

    /// The beginning of a segment, wherever in its lane that is.
    public static func start(of lane: JournalLane, segment index: UInt32) -> JournalCursor {
        start(of: SegmentName(lane: lane, index: index))
    }

    static func start(of name: SegmentName) -> JournalCursor {
        JournalCursor(
            lane: name.lane, index: name.index, offset: UInt64(SegmentHeader.bytes), position: 0,
            batchEnd: 0)
    }
}

/// How far a call to `LaneReader.read` came.
public enum LaneStatus: Hashable, Sendable {
    /// As many bytes as were asked for; there may be more.
    case more
    /// All that was said to be committed.
    case caughtUp
    /// The lane is closed; there will never be more.
    case ended(SealReason)
    /// Only where no committed position was given: the end of what was written to a lane that
    /// nobody has closed. `tornBytes` of an unfinished write follow; nobody was ever told of them.
    case tail(tornBytes: UInt64)
}

/// Reads one lane in order: for recovery, for audits, and behind a live writer.
///
/// Damage throws `JournalError.damaged`; nothing is ever skipped but what is covered.
public struct LaneReader: ~Copyable {
    let directory: Directory
    let identity: JournalIdentity
    let mutant: Mutant
    public private(set) var cursor: JournalCursor
    /// Entries handed over, and entries passed over because they are covered.
    public private(set) var entries: UInt64 = 0
    public private(set) var coveredEntries: UInt64 = 0
    var tracker: ShardTracker
    private(set) var audit = SegmentAudit()
    private(set) var source: SegmentSource?
    /// Sealed segments whose reserved space has not been given back, and where they end.
    private(set) var untrimmed: [(name: SegmentName, size: Int)] = []
    /// The segment says of itself that it was durable up to here.
    private(set) var notedOffset = UInt64(SegmentHeader.bytes)
    /// The same of the lane's segment before.
    private(set) var previous: (name: SegmentName, notedOffset: UInt64)?
    private let buffer = RawBuffer(capacity: 2 * SegmentSource.blockBytes)

    init(
        directory: Directory, identity: JournalIdentity, cursor: JournalCursor,
        tracker: consuming ShardTracker, mutant: Mutant = .none
    ) {
        self.mutant = mutant
        self.directory = directory
        self.identity = identity
        self.cursor = cursor
        self.tracker = tracker
    }

    /// Goes on with another lane, keeping what is known of the shards.
    mutating func move(to cursor: JournalCursor) {
        self.cursor = cursor
        source = nil
        previous = nil
    }

    /// Hands over entries in order, the covered ones left out.
    ///
    /// - Parameters:
    ///   - committed: how far the lane is durable, from `JournalWriter.committedPosition`; nil
    ///     for a lane that nobody writes to any more: then all of it is read.
    ///   - byteLimit: returns `.more` after about so many bytes of entries.
    ///   - body: gets each frame; it is valid only inside the call.
    public mutating func read(
        upTo committed: UInt64?, byteLimit: Int = .max,
        _ body: (JournalFrame) throws(JournalError) -> Void
    ) throws(JournalError) -> LaneStatus {
        let limit = committed ?? .max
        var start = cursor.position
        var suspect: JournalCursor?
        while true {
            if cursor.position >= limit { return .caughtUp }
            let passed = cursor.position &- start
            if passed >= UInt64(clamping: byteLimit) { return .more }
            if let seal = try coveredSeal() {
                if let status = try skip(seal) { return status }
                continue
            }
            let source = try openSegment()
            if cursor.isUnplaced {
                try adoptPosition(source)
                start = cursor.position
                if cursor.position >= limit { return .caughtUp }
            }
            let stop = try scan(source, limit: limit, byteLimit: byteLimit - Int(passed), body)
            switch stop {
            case .window, .limit: continue
            case .seal(let seal): if let status = try end(seal, source) { return status }
            case .invalid(let error):
                let damage = JournalDamage(named(source), cursor.offset, .undecodable(error))
                // Only what was sealed is ever compressed: it has no tail.
                guard committed == nil, error.isCorruption, !source.isCompressed else {
                    throw .damaged(damage)
                }
                do throws(JournalError) {
                    return .tail(tornBytes: try judgeTail(source, damage))
                } catch {
                    // Where somebody writes still, it may have been written, and what proves that it
                    // is durable after it, since it was read: what is there now tells.
                    guard suspect != cursor else { throw error }
                    suspect = cursor
                }
            case .broken(let reason):
                throw .damaged(JournalDamage(named(source), cursor.offset, reason))
            }
        }
    }

    private mutating func openSegment() throws(JournalError) -> SegmentSource {
        if let source { return source }
        let opened = try SegmentSource.open(
            cursor.name, in: directory, identity: identity, buffer: buffer)
        guard let opened else {
            let path = directory.path(of: cursor.name.fileName)
            throw .damaged(JournalDamage(path, 0, .missingFile))
        }
        source = opened
        tracker.beginSegment()
        notedOffset = UInt64(SegmentHeader.bytes)
        audit = SegmentAudit(isWhole: cursor.offset == UInt64(SegmentHeader.bytes))
        return opened
    }

    /// Where retention has removed a lane's first segments, the first record left tells where
    /// in the lane it stands.
    private mutating func adoptPosition(_ source: SegmentSource) throws(JournalError) {
        let window = try source.window(at: SegmentHeader.bytes, length: ControlKind.limit)
        guard let frame = try? JournalFrame.parse(window, limit: ControlKind.limit) else { return }
        let offset = UInt64(SegmentHeader.bytes)
        if let batch = BatchRecord(frame, lane: cursor.lane, offset: offset) {
            cursor.position = batch.startPosition
        } else if let seal = SealRecord(frame, lane: cursor.lane, offset: offset) {
            cursor.position = seal.endPosition
        }
        cursor.batchEnd = cursor.position
    }

    /// The seal of the segment that begins at the cursor, where all of it is covered.
    private func coveredSeal() throws(JournalError) -> SealRecord? {
        guard source == nil, cursor.offset == UInt64(SegmentHeader.bytes),
            let seal = try SealIndex.read(cursor.name, in: directory), !seal.ranges.isEmpty,
            tracker.covers(seal.ranges)
        else { return nil }
        return seal
    }

    /// The file that damage is found in.
    private func named(_ source: SegmentSource) -> String {
        guard mutant == .damageNamesAnother else { return source.path }
        return SegmentName(lane: cursor.lane, index: cursor.index + 1).fileName
    }

    private mutating func skip(_ seal: SealRecord) throws(JournalError) -> LaneStatus? {
        let path = directory.path(of: cursor.name.fileName)
        if let reason = tracker.skip(seal.ranges) {
            throw .damaged(JournalDamage(path, cursor.offset, reason))
        }
        guard seal.endPosition >= cursor.position else {
            let detail = "the seal names position \(seal.endPosition)"
            throw .damaged(JournalDamage(path, cursor.offset, .contradiction(detail)))
        }
        coveredEntries += seal.entries
        notedOffset = min(seal.durableOffset, ControlKind.lastPosition)
        cursor.position = seal.endPosition
        cursor.batchEnd = seal.endPosition
        return advance(after: seal)
    }

    private mutating func end(_ seal: SealRecord, _ source: SegmentSource)
        throws(JournalError) -> LaneStatus?
    {
        if let detail = audit.contradiction(with: seal, ranges: tracker.ranges()) {
            throw .damaged(JournalDamage(source.path, cursor.offset, .contradiction(detail)))
        }
        notedOffset = max(notedOffset, min(seal.durableOffset, cursor.offset))
        let sealEnd = Int(cursor.offset) + SealRecord.bytes(ranges: seal.ranges.count)
        if source.size > sealEnd {
            guard !source.isCompressed else {
                let reason = JournalDamage.Reason.contradiction("the seal is not the end")
                throw .damaged(JournalDamage(source.path, cursor.offset, reason))
            }
            untrimmed.append((cursor.name, sealEnd))
        }
        return advance(after: seal)
    }

    private mutating func advance(after seal: SealRecord) -> LaneStatus? {
        guard seal.reason == .rotated else { return .ended(seal.reason) }
        previous = (cursor.name, notedOffset)
        cursor.index += 1
        cursor.offset = UInt64(SegmentHeader.bytes)
        source = nil
        return nil
    }

    // MARK: Scanning

    private enum Stop {
        /// The window is used up.
        case window
        case limit
        case seal(SealRecord)
        case invalid(JournalDecodeError)
        /// Intact, but it cannot be.
        case broken(JournalDamage.Reason)
    }

    private mutating func scan(
        _ source: SegmentSource, limit: UInt64, byteLimit: Int,
        _ body: (JournalFrame) throws(JournalError) -> Void
    ) throws(JournalError) -> Stop {
        // Behind a live writer little is new: read no more than that (and some records' room).
        let wanted = min(UInt64(SegmentSource.blockBytes), limit - cursor.position)
        var length = Int(min(wanted, UInt64(clamping: byteLimit))) + 4_096
        let first = cursor.offset
        var window = try source.window(at: Int(first), length: length)
        while true {
            let stop = try scan(window, from: first, limit: limit, body)
            guard case .invalid(.truncated) = stop else { return stop }
            // Progress, or a record longer than the window: read again from there. Where the
            // content has ended, the record is cut off.
            if cursor.offset > first && window.count == length { return .window }
            guard window.count == length, length < buffer.region.count else { return stop }
            length = buffer.region.count
            window = try source.window(at: Int(first), length: length)
        }
    }

    private mutating func scan(
        _ window: UnsafeRawBufferPointer, from start: UInt64, limit: UInt64,
        _ body: (JournalFrame) throws(JournalError) -> Void
    ) throws(JournalError) -> Stop {
        while true {
            if cursor.position >= limit { return .limit }
            let isControl = LaneReader.isControl(window, at: Int(cursor.offset - start))
            if cursor.position == cursor.batchEnd || isControl {
                if let stop = readControl(window, at: Int(cursor.offset - start)) { return stop }
                continue
            }
            let frame: JournalFrame
            do throws(JournalDecodeError) {
                frame = try JournalFrame.parse(window, at: Int(cursor.offset - start))
            } catch { return .invalid(error) }
            let verdict = tracker.accept(
                shard: frame.shard, epoch: frame.epoch, sequence: frame.sequence)
            if case .broken(let reason) = verdict { return .broken(reason) }
            guard frame.kind != nil else { return .invalid(.unknownKind(frame.rawKind)) }
            let length = UInt64(frame.length)
            guard length <= cursor.batchEnd - cursor.position else {
                return .broken(.contradiction("an entry reaches past its batch"))
            }
            if verdict == .new {
                try body(frame)
                entries += 1
            } else {
                coveredEntries += 1
            }
            audit.note(frame)
            cursor.offset += length
            cursor.position += length
        }
    }

    private static func isControl(_ window: UnsafeRawBufferPointer, at offset: Int) -> Bool {
        offset + 8 < window.count && window[offset + 8] >= JournalFrame.firstControlKind
    }

    /// Takes the batch record at the cursor; anything else stops the scan.
    private mutating func readControl(_ window: UnsafeRawBufferPointer, at offset: Int) -> Stop? {
        let frame: JournalFrame
        do throws(JournalDecodeError) {
            frame = try JournalFrame.parse(window, at: offset, limit: ControlKind.limit)
        } catch { return .invalid(error) }
        if let seal = SealRecord(frame, lane: cursor.lane, offset: cursor.offset) {
            // Recovery may have cut the last batch off in its middle.
            let isWhole = cursor.position == cursor.batchEnd || seal.reason == .recovered
            guard seal.endPosition == cursor.position, isWhole else {
                return .broken(.contradiction("the seal names position \(seal.endPosition)"))
            }
            return .seal(seal)
        }
        guard cursor.position == cursor.batchEnd else {
            return .broken(.contradiction("a record inside of a batch"))
        }
        guard let batch = BatchRecord(frame, lane: cursor.lane, offset: cursor.offset) else {
            return .broken(.contradiction("an entry or a foreign record outside of a batch"))
        }
        guard batch.startPosition == cursor.position, batch.bodyBytes <= 1 << 40 else {
            return .broken(.contradiction("the batch names position \(batch.startPosition)"))
        }
        audit.note(frame)
        notedOffset = max(notedOffset, min(batch.durableOffset, cursor.offset))
        cursor.batchEnd = batch.startPosition + batch.bodyBytes
        cursor.offset += UInt64(frame.length)
        return nil
    }
}

extension SegmentAudit {
    static func digest(_ frame: UnsafeRawBufferPointer, continuing previous: UInt32) -> UInt32 {
        Checksum.crc32c(UnsafeRawBufferPointer(rebasing: frame[..<8]), continuing: previous)
    }
}

/// What a reader has seen of a segment, to be compared with the seal's account.
struct SegmentAudit {
    private(set) var entries: UInt64 = 0
    private(set) var digest: UInt32 = 0
    /// Whether it was read from its beginning.
    private(set) var isWhole = false

    init(isWhole: Bool = false) { self.isWhole = isWhole }

    mutating func note(_ frame: JournalFrame) {
        note(frame.bytes, isEntry: frame.rawKind < JournalFrame.firstControlKind)
    }

    mutating func note(_ frame: UnsafeRawBufferPointer, isEntry: Bool) {
        digest = SegmentAudit.digest(frame, continuing: digest)
        if isEntry { entries += 1 }
    }

    func contradiction(with seal: SealRecord, ranges: [SealedRange]) -> String? {
        guard isWhole else { return nil }
        if seal.entries != entries {
            return "the seal counts \(seal.entries) entries, not \(entries)"
        }
        if seal.digest != digest { return "the seal's digest differs" }
        if seal.ranges != ranges { return "the seal's list of shards differs" }
        return nil
    }
}
