public import EdgeTypes
import EdgeWire
import Glibc

extension JournalDirectory {
    /// Removes sealed segments that nobody needs any more. Any thread; blocks.
    ///
    /// From each lane's beginning, as long as each segment: holds nothing above `covered`, lies
    /// before every cursor in its lane, and was sealed before `sealedBeforeMs`.
    /// - Parameters:
    ///   - covered: per shard, what snapshots and every store hold for sure
    ///     (`SnapshotStore.coveredSequences`, lowered to the stores' watermarks).
    ///   - cursors: where readers stand.
    ///   - sealedBeforeMs: now less the retention time.
    /// - Returns: how many were removed.
    @discardableResult
    public func removeSegments(
        coveredBy covered: ShardSequences, cursors: [JournalCursor] = [], sealedBeforeMs: UnixMs
    ) throws(JournalError) -> Int {
        maintenance.lock()
        defer { maintenance.unlock() }
        let tracker = ShardTracker(covered: covered)
        var removed = 0
        let catalog = try SegmentCatalog(journal)
        for (lane, names) in catalog.lanes {
            let fence = cursors.filter { $0.lane == lane }.map(\.index).min() ?? .max
            for name in names {
                guard name.index < fence,
                    let seal = try SealIndex.read(name, in: journal),
                    seal.timeMs < sealedBeforeMs, tracker.covers(seal.ranges),
                    // The last boot's end tells the next start whether it was a clean one.
                    seal.reason == .rotated || lane.boot < catalog.newestBoot
                else { break }
                try journal.remove(name.fileName)
                try journal.remove(name.compressedName)
                // One by one: whatever a crash leaves of the lane has no gap.
                try journal.synchronize()
                removed += 1
            }
        }
        return removed
    }

    /// Compresses segments sealed before a time, oldest first. Any thread; blocks. Readers notice
    /// nothing.
    ///
    /// - Parameters:
    ///   - limit: most segments in this call.
    ///   - shouldStop: asked between segments.
    /// - Returns: how many were compressed. `noSpace` changes nothing.
    @discardableResult
    public func compressSegments(
        sealedBeforeMs: UnixMs, limit: Int = .max, shouldStop: () -> Bool = { false }
    ) throws(JournalError) -> Int {
        maintenance.lock()
        defer { maintenance.unlock() }
        var done = 0
        for name in try SegmentCatalog(journal).names {
            if done >= limit || shouldStop() { break }
            guard journal.exists(name.fileName),
                let seal = try SealIndex.read(name, in: journal), seal.timeMs < sealedBeforeMs
            else { continue }
            try compress(name, seal)
            done += 1
        }
        return done
    }

    private func compress(_ name: SegmentName, _ seal: SealRecord) throws(JournalError) {
        let path = journal.path(of: name.fileName)
        let content: RawBuffer
        do {
            let file = try journal.open(name.fileName, O_RDONLY)
            content = RawBuffer(capacity: try file.size())
            content.count = try file.read(into: content.region, at: 0)
        }
        defer { withExtendedLifetime(content) {} }
        try verify(name, content, seal, path)
        let packed: RawBuffer
        do throws(Zstd.Failure) {
            packed = try Zstd.compress(content.bytes)
        } catch {
            throw .damaged(JournalDamage(path, 0, .compression(error.detail)))
        }
        defer { withExtendedLifetime(packed) {} }
        let sealBytes = SealRecord.bytes(ranges: seal.ranges.count)
        let file = RawBuffer(capacity: 8 + sealBytes + packed.count)
        defer { withExtendedLifetime(file) {} }
        file.count = file.region.count
        file.region.put(SegmentSource.skippableMagic, at: 0)
        file.region.put(UInt32(sealBytes), at: 4)
        let copy = UnsafeRawBufferPointer(rebasing: content.bytes[(content.count - sealBytes)...])
        UnsafeMutableRawBufferPointer(rebasing: file.region[8...]).copyMemory(from: copy)
        UnsafeMutableRawBufferPointer(rebasing: file.region[(8 + sealBytes)...])
            .copyMemory(from: packed.bytes)
        try journal.replace(name.compressedName, with: file.bytes)
        try journal.remove(name.fileName)
    }

    /// The original goes: what replaces it must be good. Checks every record against the seal.
    private func verify(
        _ name: SegmentName, _ content: RawBuffer, _ seal: SealRecord, _ path: String
    ) throws(JournalError) {
        _ = try SegmentHeader.decode(
            content.bytes, file: path, expecting: name, identity: identity)
        let end = content.count - SealRecord.bytes(ranges: seal.ranges.count)
        var audit = SegmentAudit(isWhole: true)
        var offset = SegmentHeader.bytes
        while offset < end {
            do {
                let frame = try JournalFrame.parse(
                    content.bytes, at: offset, limit: ControlKind.limit)
                audit.note(frame)
                offset += frame.length
            } catch {
                throw .damaged(JournalDamage(path, UInt64(offset), .undecodable(error)))
            }
        }
        if offset != end || audit.entries != seal.entries || audit.digest != seal.digest {
            let reason = JournalDamage.Reason.contradiction("the records differ from the seal")
            throw .damaged(JournalDamage(path, UInt64(offset), reason))
        }
    }
}
