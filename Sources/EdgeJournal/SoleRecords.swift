import EdgeMemory
public import EdgeTypes
import Glibc

/// A small file that holds the last record of each shard. Replaced whole: before or after a crash
/// it is one or the other.
///
///     8 magic   4 count   4 crc32c of what follows   24 for each: 2 shard, 2 zero, 4 epoch,
///     8 boot, 4 born, 4 zero
public struct SoleRecords {
    static let magic: UInt64 = 0x3145_4c4f_5350_4444
    static let fileName = "sole"
    private static let recordBytes = 24

    private let directory: Directory
    /// By shard; in ascending order.
    public private(set) var records: [SoleRecord] = []

    init(_ directory: Directory) throws(JournalError) {
        self.directory = directory
        guard directory.exists(Self.fileName) else { return }
        let file = try directory.open(Self.fileName, O_RDONLY)
        let size = try file.size()
        let buffer = RawBuffer(capacity: max(1, size))
        defer { withExtendedLifetime(buffer) {} }
        let isSound = size <= 16 + Limits.shards * Self.recordBytes
        let read = isSound ? try file.read(into: buffer.region, at: 0) : 0
        guard read == size,
            let records = Self.decode(
                UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer.region)[..<size]))
        else {
            let path = directory.path(of: Self.fileName)
            throw .damaged(JournalDamage(path, 0, .contradiction("not a list of shards")))
        }
        self.records = records
    }

    public subscript(shard: ShardID) -> SoleRecord? { records.first { $0.shard == shard } }

    /// Makes records durable, each in the place of an earlier one of its shard.
    ///
    /// Complexity: O(records); two syncs.
    public mutating func note(_ news: [SoleRecord]) throws(JournalError) {
        var next = records.filter { old in !news.contains { $0.shard == old.shard } } + news
        next.sort { $0.shard < $1.shard }
        let file = Self.encode(next)
        try directory.replace(Self.fileName, with: file.bytes)
        records = next
    }

    private static func encode(_ records: [SoleRecord]) -> ByteSink {
        var sink = ByteSink(capacity: 16 + records.count * recordBytes)
        for record in records {
            sink.append(integer: record.shard)
            sink.append(integer: UInt16(0))
            sink.append(integer: record.epoch)
            sink.append(integer: record.boot)
            sink.append(integer: record.born)
            sink.append(integer: UInt32(0))
        }
        var file = ByteSink(capacity: 16 + sink.count)
        file.append(integer: magic)
        file.append(integer: UInt32(records.count))
        file.append(integer: Checksum.crc32c(sink.bytes))
        file.append(sink.bytes)
        return file
    }

    private static func decode(_ bytes: UnsafeRawBufferPointer) -> [SoleRecord]? {
        guard bytes.count >= 16, bytes.get(0, UInt64.self) == magic else { return nil }
        let count = Int(bytes.get(8, UInt32.self))
        guard count <= Limits.shards, bytes.count == 16 + count * recordBytes else { return nil }
        let body = UnsafeRawBufferPointer(rebasing: bytes[16...])
        guard Checksum.crc32c(body) == bytes.get(12, UInt32.self) else { return nil }
        return (0..<count).map { index in
            let at = 16 + index * recordBytes
            return SoleRecord(
                shard: bytes.get(at), epoch: bytes.get(at + 4), boot: bytes.get(at + 8),
                born: bytes.get(at + 16))
        }
    }
}
