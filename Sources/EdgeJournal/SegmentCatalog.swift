import EdgeTypes
import EdgeWire
import Glibc

/// The segments of a directory, in replay order.
struct SegmentCatalog {
    private(set) var names: [SegmentName] = []
    /// Compressed copies whose originals are still there: a crash came in between.
    private(set) var needlessCopies: [String] = []
    /// What was being made when a process ended.
    private(set) var temporaries: [String] = []

    init(_ directory: Directory) throws(JournalError) {
        var compressed: [SegmentName] = []
        for file in try directory.list() {
            if file.hasSuffix(".tmp") {
                temporaries.append(file)
            } else if file.hasSuffix(".log"), let name = SegmentName(stem: file.dropLast(4)) {
                names.append(name)
            } else if file.hasSuffix(".log.zst"), let name = SegmentName(stem: file.dropLast(8)) {
                compressed.append(name)
            }
        }
        let originals = Set(names)
        for name in compressed {
            if originals.contains(name) {
                needlessCopies.append(name.compressedName)
            } else {
                names.append(name)
            }
        }
        names.sort()
    }

    /// Each lane's segments, in order.
    var lanes: [(lane: JournalLane, names: [SegmentName])] {
        var result: [(lane: JournalLane, names: [SegmentName])] = []
        for name in names {
            if result.last?.lane == name.lane {
                result[result.count - 1].names.append(name)
            } else {
                result.append((name.lane, [name]))
            }
        }
        return result
    }

    var newestBoot: UInt32 { names.last?.lane.boot ?? 0 }
}

/// Finds a sealed segment's account without reading the segment.
enum SealIndex {
    /// nil where the segment is not sealed, not trimmed yet, or not there.
    static func read(_ name: SegmentName, in directory: Directory) throws(JournalError)
        -> SealRecord?
    {
        do throws(JournalError) {
            return try readOriginal(name, directory)
        } catch {
            guard case .system(_, _, ENOENT) = error else { throw error }
        }
        do throws(JournalError) {
            return try readCompressed(name, directory)
        } catch {
            guard case .system(_, _, ENOENT) = error else { throw error }
            return nil
        }
    }

    private static func readOriginal(_ name: SegmentName, _ directory: Directory)
        throws(JournalError) -> SealRecord?
    {
        let file = try directory.open(name.fileName, O_RDONLY)
        let size = try file.size()
        guard size >= SegmentHeader.bytes + SealRecord.bytes(ranges: 0) else { return nil }
        let tail = RawBuffer(capacity: 8)
        defer { withExtendedLifetime(tail) {} }
        tail.count = try file.read(into: tail.region, at: size - 8)
        let length = tail.count == 8 ? Int(tail.bytes.get(0, UInt32.self)) : 0
        guard tail.count == 8, tail.bytes.get(4, UInt32.self) == SealRecord.trailer,
            length <= min(ControlKind.limit, size - SegmentHeader.bytes)
        else { return nil }
        return try parse(name, file, at: size - length, length: length, place: size - length)
    }

    private static func readCompressed(_ name: SegmentName, _ directory: Directory)
        throws(JournalError) -> SealRecord?
    {
        let file = try directory.open(name.compressedName, O_RDONLY)
        let head = RawBuffer(capacity: 32)
        defer { withExtendedLifetime(head) {} }
        head.count = try file.read(into: head.region, at: 0)
        guard head.count == 32, head.bytes.get(0, UInt32.self) == SegmentSource.skippableMagic
        else { return nil }
        let length = Int(head.bytes.get(4, UInt32.self))
        guard length <= ControlKind.limit else { return nil }
        // The record names its own place in the content.
        let place = Int(truncatingIfNeeded: head.bytes.get(24, UInt64.self))
        return try parse(name, file, at: 8, length: length, place: place)
    }

    private static func parse(
        _ name: SegmentName, _ file: borrowing File, at offset: Int, length: Int, place: Int
    ) throws(JournalError) -> SealRecord? {
        guard place >= SegmentHeader.bytes else { return nil }
        let buffer = RawBuffer(capacity: length)
        defer { withExtendedLifetime(buffer) {} }
        let target = UnsafeMutableRawBufferPointer(rebasing: buffer.region[..<length])
        buffer.count = try file.read(into: target, at: offset)
        guard let frame = try? JournalFrame.parse(buffer.bytes, limit: ControlKind.limit) else {
            return nil
        }
        return SealRecord(frame, lane: name.lane, offset: UInt64(place))
    }
}
