public import EdgeJournal
public import EdgeLedger
import EdgeTypes
import EdgeWire

/// What becomes of an entry on its way to the store, where shards have replicas.
public enum ShippingVerdict: Sendable {
    /// This node leads the shard, and every replica has the entry.
    case ship
    /// Another node leads it, or the entry is of a log that was dropped.
    case skip
    /// This node leads the shard, and not every replica has the entry yet.
    case wait
}

/// One lane of a node's journal, as the reconciler and the audit read it.
///
/// Used from one thread at a time. Memory: the reader's buffer, and the few entries that a full
/// batch did not take.
public final class JournalSource: EntrySource {
    public let lane: String
    public var generation: UInt32 { journalLane.boot }
    private let directory: JournalDirectory
    private let journalLane: JournalLane
    /// How far the lane is durable; nil for a lane that nobody writes to any more.
    private let committed: (() -> UInt64)?
    /// Of a node with replicas: what is to be done with an entry.
    private let verdict: ((EntryHeader) -> ShippingVerdict)?
    /// An entry waits: nothing after it is offered.
    private var isWaiting = false
    private var reader: ReaderBox?
    /// Entries that were read and not taken, and the segment that reading began in.
    private var overflow: [(EntryHeader, Entry)] = []
    private var overflowSegment: UInt32 = 0
    private var hasEnded = false

    /// A place for a reader, which cannot be copied.
    private final class ReaderBox {
        var reader: LaneReader
        init(_ reader: consuming LaneReader) { self.reader = reader }
    }

    /// - Parameter committed: asked at each read, for the lane of a running writer.
    ///   - verdict: asked for each entry; nil: all of them are offered.
    public init(
        directory: JournalDirectory, lane: JournalLane, committed: (() -> UInt64)? = nil,
        verdict: ((EntryHeader) -> ShippingVerdict)? = nil
    ) {
        self.verdict = verdict
        self.directory = directory
        self.committed = committed
        journalLane = lane
        // Nodes of a cluster share a store.
        let node = directory.identity.node
        let place = node == 0 ? "" : String(node, radix: 16) + "-"
        self.lane = place + "\(lane.boot)-\(lane.core)"
    }

    /// Every lane of a journal that nobody writes to.
    public static func all(of directory: JournalDirectory) throws(JournalError) -> [JournalSource] {
        try directory.lanes().map { JournalSource(directory: directory, lane: $0) }
    }

    /// The segment alone: where a batch ended inside of it the watermarks tell.
    public var cursor: SourceCursor {
        guard overflow.isEmpty else {
            return SourceCursor(segment: UInt64(overflowSegment), offset: 0)
        }
        return SourceCursor(segment: UInt64(reader?.reader.cursor.index ?? 0), offset: 0)
    }

    public func seek(_ cursor: SourceCursor?) throws(SourceError) {
        reader = nil
        hasEnded = false
        overflow = []
        let segments: [UInt32]
        do {
            segments = try directory.segments(of: journalLane)
        } catch { throw Self.wrap(error) }
        guard let first = segments.first else {
            // A running writer has not begun its first segment yet.
            hasEnded = committed == nil
            return
        }
        var start = first
        if let cursor, let index = UInt32(exactly: cursor.segment), segments.contains(index) {
            start = index
        }
        reader = ReaderBox(
            directory.reader(from: .start(of: journalLane, segment: start)))
    }

    public func read(into batch: inout EntryBatch) throws(SourceError) -> Bool {
        try drainOverflow(into: &batch)
        guard overflow.isEmpty else { return !isWaiting }
        if reader == nil, !hasEnded { try seek(nil) }
        guard let reader, !hasEnded else { return batch.isFull }
        overflowSegment = reader.reader.cursor.index
        var refusal: WatermarkRefusal?
        while !batch.isFull {
            let status: LaneStatus
            do throws(JournalError) {
                // Claims are 64 bytes and more: hardly more than the batch takes.
                let byteLimit = max(4 << 10, min(256 << 10, batch.room * 64))
                status = try reader.reader.read(upTo: committed?(), byteLimit: byteLimit) {
                    frame throws(JournalError) in
                    guard refusal == nil else { return }
                    do {
                        try self.offer(frame, to: &batch)
                    } catch let error as WatermarkRefusal {
                        refusal = error
                    } catch let error as JournalDecodeError {
                        throw .damaged(
                            JournalDamage(self.lane, 0, .undecodable(error)))
                    } catch {
                        preconditionFailure("\(error)")
                    }
                }
            } catch { throw wrap(error, readingAt: reader.reader.cursor.index) }
            if let refusal { throw .refused(refusal) }
            if isWaiting { return false }
            switch status {
            case .more: continue
            case .caughtUp: return batch.isFull
            case .ended, .tail:
                hasEnded = true
                return batch.isFull
            }
        }
        return true
    }

    private func drainOverflow(into batch: inout EntryBatch) throws(SourceError) {
        var taken = 0
        defer { overflow.removeFirst(taken) }
        isWaiting = false
        while taken < overflow.count {
            let (header, entry) = overflow[taken]
            switch verdict?(header) ?? .ship {
            case .ship: break
            case .skip:
                taken += 1
                continue
            case .wait:
                isWaiting = true
                return
            }
            do {
                if case .full = try batch.append(header, entry) { return }
            } catch { throw .refused(error) }
            taken += 1
        }
    }

    private func offer(_ frame: JournalFrame, to batch: inout EntryBatch) throws {
        let header = frame.header
        if overflow.isEmpty {
            switch verdict?(header) ?? .ship {
            case .ship: break
            case .skip: return
            case .wait:
                isWaiting = true
                overflow.append((header, try frame.entry()))
                return
            }
            if let claim = frame.claim {
                if case .full = try batch.append(header, claim: claim) {
                    overflow.append((header, .claim(claim)))
                }
                return
            }
            let entry = try frame.entry()
            if case .full = try batch.append(header, entry) { overflow.append((header, entry)) }
            return
        }
        overflow.append((header, try frame.entry()))
    }

    /// A segment that is gone by now was removed because snapshots and the store are past it: the
    /// sources are opened anew, and whatever is missing all the same shows as a gap.
    private func wrap(_ error: JournalError, readingAt segment: UInt32) -> SourceError {
        if let left = try? directory.segments(of: journalLane), !left.contains(segment) {
            return .io("segment \(segment) of lane \(lane) was removed while it was read")
        }
        return Self.wrap(error)
    }

    private static func wrap(_ error: JournalError) -> SourceError {
        if case .damaged = error { return .damaged("\(error)") }
        return .io("\(error)")
    }

    /// Entries are 40 bytes and more, claims 64: an estimate for gauges, but 0 only where nothing
    /// is left.
    public func backlog() -> UInt64 {
        guard let committed else { return UInt64(overflow.count) + (hasEnded ? 0 : unread()) }
        let place = reader?.reader.cursor.position ?? 0
        let end = committed()
        return UInt64(overflow.count) + (end > place ? max(1, (end - place) / 64) : 0)
    }

    /// Of a lane that nobody writes to: about how many entries its reader has before it.
    private func unread() -> UInt64 {
        let cursor = reader?.reader.cursor
        let bytes = try? directory.bytes(of: journalLane, from: cursor?.index ?? 0)
        let read = min(cursor?.offset ?? 0, bytes ?? 0)
        return max(1, ((bytes ?? 0) - read) / 64)
    }
}
