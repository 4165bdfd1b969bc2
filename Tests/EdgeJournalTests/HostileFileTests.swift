import EdgeMemory
import EdgeTypes
import EdgeWire
import Glibc
import Testing

@testable import EdgeJournal

/// Files whose checksums are good and whose contents cannot be: what the fuzzers came upon.
@Suite("Files that nobody wrote")
struct HostileFileTests {
    static let lane = JournalLane(boot: 1, core: 0)

    /// As maintenance packs a segment; `seal` is the copy that goes in front.
    static func packed(_ content: [UInt8], seal: [UInt8] = []) throws -> [UInt8] {
        let head = RawBuffer(zeros: 8)
        defer { withExtendedLifetime(head) {} }
        head.region.put(SegmentSource.skippableMagic, at: 0)
        head.region.put(UInt32(seal.count), at: 4)
        let zstd = try content.withUnsafeBytes { try Zstd.compress($0) }
        defer { withExtendedLifetime(zstd) {} }
        return Array(head.bytes) + seal + Array(zstd.bytes)
    }

    static func header(_ name: SegmentName) -> [UInt8] {
        let block = SegmentHeader(name: name, cores: 1, identity: identity, createdMs: 1).encode()
        defer { withExtendedLifetime(block) {} }
        return Array(block.bytes)
    }

    static func batch(_ record: BatchRecord, at offset: Int) -> [UInt8] {
        let buffer = RawBuffer(zeros: BatchRecord.bytes)
        defer { withExtendedLifetime(buffer) {} }
        record.encode(into: buffer.region, lane: lane, offset: offset, timeMs: 1)
        return Array(buffer.bytes)
    }

    static func seal(_ record: SealRecord, at offset: Int) -> [UInt8] {
        let buffer = record.encode(lane: lane, offset: offset)
        defer { withExtendedLifetime(buffer) {} }
        return Array(buffer.bytes)
    }

    /// An empty directory with the files given, by segment.
    static func directory(_ files: [(name: String, bytes: [UInt8])]) throws -> Scratch {
        let scratch = Scratch()
        _ = try JournalDirectory(
            path: scratch.data, identity: identity, configuration: smallSegments())
        for file in files { try writeFile(scratch.data + "/journal/" + file.name, file.bytes) }
        return scratch
    }

    /// Recovery says that the journal is damaged, and leaves every file as it was.
    @discardableResult
    static func expectDamage(
        _ scratch: Scratch, covered: ShardSequences = ShardSequences(),
        _ place: SourceLocation = #_sourceLocation
    ) throws -> JournalDamage.Reason? {
        let before = try DirectoryImage(scratch.data)
        let directory = try JournalDirectory(
            path: scratch.data, identity: identity, configuration: smallSegments())
        let error = #expect(throws: JournalError.self, sourceLocation: place) {
            _ = try directory.recover(covered: covered) { (_) throws(JournalError) in }
        }
        guard case .damaged(let damage) = error else {
            Issue.record("\(String(describing: error))", sourceLocation: place)
            return nil
        }
        let after = try DirectoryImage(scratch.data)
        for (old, new) in zip(before.files, after.files) where old.name != "lock" {
            #expect(old.name == new.name && old.bytes == new.bytes, sourceLocation: place)
        }
        #expect(before.files.count == after.files.count, sourceLocation: place)
        return damage.reason
    }

    @Test("a packed segment without a seal is damage: what is open is never packed")
    func packedTail() throws {
        let unclean = try DamageTests.unclean(Scratch(), mark: true)
        let index = unclean.image.index(DamageTests.first)
        let content = Array(unclean.image.files[index].bytes[..<unclean.end])
        try Self.expectDamage(
            Self.directory([(DamageTests.first.compressedName, try Self.packed(content))]))
    }

    @Test("a packed segment that goes on after its seal is damage")
    func packedSurplus() throws {
        let image = try DamageTests.clean(Scratch(), entries: 100)
        let content = image.files[image.index(DamageTests.first)].bytes
        let surplus = content + [UInt8](repeating: 0, count: 64)
        try Self.expectDamage(
            Self.directory([(DamageTests.first.compressedName, try Self.packed(surplus))]))
    }

    @Test("a packed segment behind an open one is damage, whatever it holds")
    func packedSuccessor() throws {
        let unclean = try DamageTests.unclean(Scratch(), mark: true)
        let index = unclean.image.index(DamageTests.first)
        let second = SegmentName(lane: Self.lane, index: 1)
        let third = SegmentName(lane: Self.lane, index: 2)
        try Self.expectDamage(
            Self.directory([
                (DamageTests.first.fileName, unclean.image.files[index].bytes),
                (second.fileName, Self.header(second)),
                (third.compressedName, try Self.packed(Self.header(third))),
            ]))
    }

    @Test("a batch at the end of all positions is damage, not an overflow")
    func overflowingBatch() throws {
        let name = SegmentName(lane: Self.lane, index: 1)
        let record = BatchRecord(startPosition: .max - 8, bodyBytes: 64, durableOffset: 0)
        let scratch = try Self.directory([
            (name.fileName, Self.header(name) + Self.batch(record, at: SegmentHeader.bytes))
        ])
        let directory = try JournalDirectory(
            path: scratch.data, identity: identity, configuration: smallSegments())
        let error = #expect(throws: JournalError.self) {
            var reader = directory.reader(from: .start(of: Self.lane, segment: 1))
            _ = try reader.read(upTo: nil) { (_) throws(JournalError) in }
        }
        guard case .damaged(let damage) = error else { return }
        #expect(
            damage.reason
                == .contradiction("an entry or a foreign record outside of a batch"))
    }

    /// A segment of nothing but a seal that covers shard 0 up to sequence 5.
    static func sealed(
        _ index: UInt32, end: UInt64, entries: UInt64 = 5
    ) -> (name: String, bytes: [UInt8]) {
        let name = SegmentName(lane: lane, index: index)
        let record = SealRecord(
            reason: .rotated, endPosition: end, durableOffset: 0, entries: entries, digest: 0,
            timeMs: 1,
            ranges: [
                SealedRange(
                    shard: 0, epoch: 1, first: 5 * UInt64(index) + 1, last: 5 * UInt64(index) + 5)
            ])
        return (name.fileName, header(name) + seal(record, at: SegmentHeader.bytes))
    }

    @Test("a covered segment whose seal goes back in the lane is damage")
    func sealGoesBack() throws {
        var covered = ShardSequences()
        covered[0] = 100
        let reason = try Self.expectDamage(
            Self.directory([Self.sealed(0, end: 1_000), Self.sealed(1, end: 10)]),
            covered: covered)
        #expect(reason == .contradiction("the seal names position 10"))
    }

    @Test("a seal at the end of all positions is no seal")
    func sealAtTheEnd() throws {
        var covered = ShardSequences()
        covered[0] = 100
        try Self.expectDamage(
            Self.directory([Self.sealed(0, end: 1_000), Self.sealed(1, end: .max)]),
            covered: covered)
    }

    @Test("a seal that counts more entries than a segment can hold is no seal")
    func absurdCount() throws {
        var covered = ShardSequences()
        covered[0] = 100
        try Self.expectDamage(
            Self.directory([
                Self.sealed(0, end: 1_000, entries: .max), Self.sealed(1, end: 2_000, entries: 5),
            ]), covered: covered)
    }

    @Test("a packed snapshot may not ask for more memory than its header says")
    func snapshotSize() throws {
        let scratch = try Self.directory([])
        let content = [UInt8](repeating: 7, count: 500)
        let directory = try JournalDirectory(path: scratch.data, identity: identity)
        let header = SnapshotHeader(
            shard: 3, epoch: 1, sequence: 2, lane: Self.lane, position: 10)
        try content.withUnsafeBytes {
            try directory.snapshots.save(header, committed: 10, content: $0)
        }
        let path = scratch.data + "/snapshots/3-1-2.snap.zst"
        var bytes = try readFile(path)
        // A zstd frame in one segment that announces 7 GiB.
        let packed: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0xc0, 1, 0, 0, 0, 1, 0, 0]
        bytes.removeLast(bytes.count - SnapshotStore.headerBytes)
        bytes += packed
        bytes.withUnsafeMutableBytes { bytes in
            bytes.put(UInt64(packed.count), at: 56)
            let checked = UnsafeRawBufferPointer(rebasing: bytes[12..<SnapshotStore.headerBytes])
            bytes.put(Checksum.crc32c(checked), at: 8)
        }
        try writeFile(path, bytes)
        let error = #expect(throws: JournalError.self) { _ = try directory.snapshots.load(3) }
        guard case .damaged(let damage) = error else { return }
        #expect(damage.reason == .compression("no believable size"))
    }
}
