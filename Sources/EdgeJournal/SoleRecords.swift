import EdgeMemory
public import EdgeTypes
import Glibc

/// A small file that holds the last record of each shard, and which lives this node's processes had.
/// Replaced whole: before or after a crash it is one or the other.
///
///     8 magic   4 count   4 crc32c of what follows   8 boot   8 clean boot
///     24 for each: 2 shard, 2 zero, 4 epoch, 8 boot, 4 born, 4 zero
public struct SoleRecords {
    static let magic: UInt64 = 0x3145_4c4f_5350_4444
    static let fileName = "sole"
    private static let headBytes = 32
    private static let recordBytes = 24

    private let directory: Directory
    /// By shard; in ascending order.
    public private(set) var records: [SoleRecord] = []
    /// The life of the last process that began here (`ReplicaID.boot`); 0: none did.
    public private(set) var boot: UInt64 = 0
    /// The life of the last process that ended in good order.
    public private(set) var cleanBoot: UInt64 = 0

    /// Whether a node's data directory is that of a cluster with replicas.
    public static func exist(in path: String) -> Bool {
        access(path + "/" + fileName, F_OK) == 0
    }

    init(_ directory: Directory) throws(JournalError) {
        self.directory = directory
        guard directory.exists(Self.fileName) else { return }
        let file = try directory.open(Self.fileName, O_RDONLY)
        let size = try file.size()
        let buffer = RawBuffer(capacity: max(1, size))
        defer { withExtendedLifetime(buffer) {} }
        let isSound = size <= Self.headBytes + Limits.shards * Self.recordBytes
        let read = isSound ? try file.read(into: buffer.region, at: 0) : 0
        guard read == size,
            decode(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer.region)[..<size]))
        else {
            let path = directory.path(of: Self.fileName)
            throw .damaged(JournalDamage(path, 0, .contradiction("not a list of shards")))
        }
    }

    public subscript(shard: ShardID) -> SoleRecord? { records.first { $0.shard == shard } }

    /// Makes records durable, each in the place of an earlier one of its shard.
    ///
    /// Complexity: O(records); two syncs.
    public mutating func note(_ news: [SoleRecord]) throws(JournalError) {
        var next = records.filter { old in !news.contains { $0.shard == old.shard } } + news
        next.sort { $0.shard < $1.shard }
        let before = records
        records = next
        do throws(JournalError) { try save() } catch {
            records = before
            throw error
        }
    }

    /// A process begins.
    ///
    /// - Precondition: no earlier one had a greater number.
    public mutating func begin(boot: UInt64) throws(JournalError) {
        precondition(boot > self.boot)
        self.boot = boot
        try save()
    }

    /// This process has ended in good order: all that it held is on the disk.
    public mutating func noteCleanStop() throws(JournalError) {
        cleanBoot = boot
        try save()
    }

    private func save() throws(JournalError) {
        let file = encoded()
        try directory.replace(Self.fileName, with: file.bytes)
    }

    private func encoded() -> ByteSink {
        var sink = ByteSink(capacity: Self.headBytes + records.count * Self.recordBytes)
        sink.append(integer: boot)
        sink.append(integer: cleanBoot)
        for record in records {
            sink.append(integer: record.shard)
            sink.append(integer: UInt16(0))
            sink.append(integer: record.epoch)
            sink.append(integer: record.boot)
            sink.append(integer: record.born)
            sink.append(integer: UInt32(0))
        }
        var file = ByteSink(capacity: 16 + sink.count)
        file.append(integer: Self.magic)
        file.append(integer: UInt32(records.count))
        file.append(integer: Checksum.crc32c(sink.bytes))
        file.append(sink.bytes)
        return file
    }

    /// - Returns: whether the bytes are what was saved.
    private mutating func decode(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count >= Self.headBytes, bytes.get(0, UInt64.self) == Self.magic else {
            return false
        }
        let count = Int(bytes.get(8, UInt32.self))
        guard count <= Limits.shards, bytes.count == Self.headBytes + count * Self.recordBytes
        else {
            return false
        }
        let body = UnsafeRawBufferPointer(rebasing: bytes[16...])
        guard Checksum.crc32c(body) == bytes.get(12, UInt32.self) else { return false }
        boot = bytes.get(16)
        cleanBoot = bytes.get(24)
        records = (0..<count).map { index in
            let at = Self.headBytes + index * Self.recordBytes
            return SoleRecord(
                shard: bytes.get(at), epoch: bytes.get(at + 4), boot: bytes.get(at + 8),
                born: bytes.get(at + 16))
        }
        return true
    }
}
