import CZstd
import Glibc

/// A segment opened for reading, compressed or not: windows into its content.
final class SegmentSource {
    let name: SegmentName
    let path: String
    let header: SegmentHeader
    /// Bytes of the content; of a live segment, its reserved size.
    let size: Int
    private let file: File
    /// The whole content of a compressed segment, made on first use.
    private var image: RawBuffer?
    let isCompressed: Bool
    private let buffer: RawBuffer

    /// Where the zstd frame begins: behind a skippable frame that holds a copy of the seal, so
    /// that what a segment covers is known without unpacking it.
    private let frameOffset: Int

    static let skippableMagic: UInt32 = 0x184D_2A5D
    static let blockBytes = 1 << 20

    /// - Returns: nil where there is neither form of the segment.
    static func open(
        _ name: SegmentName, in directory: Directory, identity: JournalIdentity, buffer: RawBuffer
    ) throws(JournalError) -> SegmentSource? {
        // A segment is compressed while it is being read: what was there may have another name.
        for _ in 0..<2 {
            for isCompressed in [false, true] {
                let fileName = isCompressed ? name.compressedName : name.fileName
                do throws(JournalError) {
                    let file = try directory.open(fileName, O_RDONLY)
                    return try SegmentSource(
                        name, file, isCompressed: isCompressed, identity: identity, buffer: buffer)
                } catch {
                    if case .system(_, _, ENOENT) = error { continue }
                    throw error
                }
            }
        }
        return nil
    }

    private init(
        _ name: SegmentName, _ file: consuming File, isCompressed: Bool,
        identity: JournalIdentity, buffer: RawBuffer
    ) throws(JournalError) {
        self.name = name
        path = file.path
        self.isCompressed = isCompressed
        self.buffer = buffer
        let path = file.path
        let fileSize = try file.size()
        if isCompressed {
            let head = RawBuffer(capacity: 8)
            defer { withExtendedLifetime(head) {} }
            let got = try file.read(into: head.region, at: 0)
            head.count = got
            guard got == 8, head.bytes.get(0, UInt32.self) == SegmentSource.skippableMagic else {
                throw .damaged(JournalDamage(path, 0, .compression("no skippable frame")))
            }
            frameOffset = 8 + Int(head.bytes.get(4, UInt32.self))
            guard frameOffset <= fileSize else {
                throw .damaged(JournalDamage(path, 4, .compression("skippable frame too long")))
            }
            let image = try SegmentSource.unpack(file, from: frameOffset, size: fileSize)
            defer { withExtendedLifetime(image) {} }
            self.image = image
            size = image.count
            header = try SegmentHeader.decode(
                image.bytes, file: path, expecting: name, identity: identity)
        } else {
            frameOffset = 0
            size = fileSize
            let head = RawBuffer(capacity: SegmentHeader.bytes)
            defer { withExtendedLifetime(head) {} }
            head.count = try file.read(into: head.region, at: 0)
            header = try SegmentHeader.decode(
                head.bytes, file: path, expecting: name, identity: identity)
        }
        self.file = file
    }

    private static func unpack(_ file: borrowing File, from offset: Int, size: Int)
        throws(JournalError) -> RawBuffer
    {
        let packed = RawBuffer(capacity: size - offset)
        defer { withExtendedLifetime(packed) {} }
        packed.count = try file.read(
            into: UnsafeMutableRawBufferPointer(rebasing: packed.region[..<(size - offset)]),
            at: offset)
        do {
            return try Zstd.decompress(
                packed.bytes, limit: JournalConfiguration.largestSegment + ControlKind.limit)
        } catch {
            throw .damaged(JournalDamage(file.path, UInt64(offset), .compression(error.detail)))
        }
    }

    /// Up to `length` bytes from `offset`; fewer only where the content ends. Valid until the
    /// next call, and as long as this object and the buffer it was opened with.
    func window(at offset: Int, length: Int) throws(JournalError) -> UnsafeRawBufferPointer {
        let length = min(length, max(0, size - offset))
        if let image {
            return UnsafeRawBufferPointer(rebasing: image.bytes[offset...].prefix(length))
        }
        precondition(length <= buffer.region.count)
        let target = UnsafeMutableRawBufferPointer(rebasing: buffer.region[..<length])
        buffer.count = try file.read(into: target, at: offset)
        return buffer.bytes
    }
}
