import EdgeTypes
import EdgeWire

extension LaneReader {
    /// Decides what an undecodable record at the cursor is, at the end of all that can be read.
    ///
    /// A write that was under way when the power failed may leave any part of itself. It is a torn
    /// tail, and nobody was ever told of it, unless something proves that these bytes were once
    /// durable: a later record of this segment says so (each names the offset below which all
    /// was synced when it was written), or the lane went on in another segment.
    /// - Returns: bytes from the cursor to the last that is not zero.
    func judgeTail(_ source: SegmentSource, _ damage: JournalDamage) throws(JournalError) -> UInt64
    {
        var last = cursor.offset
        var at = cursor.offset
        while at < UInt64(source.size) {
            let window = try source.window(at: Int(at), length: 2 * SegmentSource.blockBytes)
            if let used = LaneReader.lastNonZero(window) { last = at + UInt64(used) + 1 }
            if mutant != .damageCutOff, proves(window, at: at, source) { throw .damaged(damage) }
            // Windows overlap by the longest record, so that none is cut in two.
            guard window.count == 2 * SegmentSource.blockBytes else { break }
            at += UInt64(window.count - ControlKind.limit)
        }
        if mutant != .damageCutOff, try laterContent() != nil { throw .damaged(damage) }
        return last - cursor.offset
    }

    /// Whether a genuine record in the window tells that the bytes at the cursor were durable.
    private func proves(
        _ window: UnsafeRawBufferPointer, at start: UInt64, _ source: SegmentSource
    ) -> Bool {
        var offset = 0
        while offset + BatchRecord.bytes <= window.count {
            defer { offset += 8 }
            guard window.get(offset + 32, UInt64.self) == ControlKind.magic,
                let frame = try? JournalFrame.parse(
                    window, at: offset, limit: ControlKind.limit)
            else { continue }
            let place = start + UInt64(offset)
            let durable =
                BatchRecord(frame, lane: cursor.lane, offset: place)?.durableOffset
                ?? SealRecord(frame, lane: cursor.lane, offset: place)?.durableOffset
            if let durable, durable > cursor.offset { return true }
        }
        return false
    }

    /// The first later segment of the lane that holds anything.
    func laterContent() throws(JournalError) -> SegmentName? {
        let names = try SegmentCatalog(directory).names
        for name in names where name.lane == cursor.lane && name.index > cursor.index {
            let buffer = RawBuffer(capacity: SegmentSource.blockBytes)
            defer { withExtendedLifetime(buffer) {} }
            let source = try SegmentSource.open(
                name, in: directory, identity: identity, buffer: buffer)
            guard let source else { continue }
            defer { withExtendedLifetime(source) {} }
            // Only what was sealed is ever compressed.
            if source.isCompressed { return name }
            var at = SegmentHeader.bytes
            while at < source.size {
                let window = try source.window(at: at, length: SegmentSource.blockBytes)
                if window.isEmpty { break }
                if LaneReader.lastNonZero(window) != nil { return name }
                at += window.count
            }
        }
        return nil
    }

    static func lastNonZero(_ bytes: UnsafeRawBufferPointer) -> Int? {
        var end = bytes.count
        // SAFETY: eight bytes before `end` are inside.
        while end >= 8, bytes.loadUnaligned(fromByteOffset: end - 8, as: UInt64.self) == 0 {
            end -= 8
        }
        while end > 0, bytes[end - 1] == 0 { end -= 1 }
        return end == 0 ? nil : end - 1
    }
}
