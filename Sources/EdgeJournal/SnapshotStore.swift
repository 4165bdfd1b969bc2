public import EdgeMemory
public import EdgeTypes
import Glibc

/// What a snapshot says of itself.
public struct SnapshotHeader: Hashable, Sendable {
    public var shard: ShardID
    public var epoch: UInt32
    /// It holds the effect of every entry up to here.
    public var sequence: UInt64
    /// The lane that held that entry, and a position in it at or after the entry.
    public var lane: JournalLane
    public var position: UInt64

    public init(
        shard: ShardID, epoch: UInt32, sequence: UInt64, lane: JournalLane, position: UInt64
    ) {
        self.shard = shard
        self.epoch = epoch
        self.sequence = sequence
        self.lane = lane
        self.position = position
    }
}

/// A snapshot read back.
public struct Snapshot: ~Copyable {
    public let header: SnapshotHeader
    public let content: ByteSink
    /// Newer ones that could not be used. Where there are any, and the journal does not reach
    /// back to this one, recovery throws a sequence error.
    public let damaged: [JournalDamage]
}

/// Snapshots of shards: one file each, replaced as a whole, compressed, checked when read.
public final class SnapshotStore: Sendable {
    private let directory: Directory
    private let identity: JournalIdentity

    static let headerBytes = 112
    static let magic: UInt64 = 0x5041_4e53_4e57_4f44
    /// Longest content of one shard.
    public static let contentLimit = 8 << 30

    /// Removes what unfinished saves have left. A finished one that was not synced when its process
    /// was killed is durable from here on: entries are removed by it.
    init(_ directory: Directory, identity: JournalIdentity) throws(JournalError) {
        self.directory = directory
        self.identity = identity
        for name in try directory.list() where name.hasSuffix(".tmp") {
            try directory.remove(name)
        }
        try directory.synchronize()
    }

    private struct Name: Comparable {
        var shard: ShardID
        var epoch: UInt32
        var sequence: UInt64

        var file: String { "\(shard)-\(epoch)-\(sequence).snap.zst" }

        init(shard: ShardID, epoch: UInt32, sequence: UInt64) {
            self.shard = shard
            self.epoch = epoch
            self.sequence = sequence
        }

        init?(_ file: String) {
            guard file.hasSuffix(".snap.zst") else { return nil }
            let parts = file.dropLast(9).split(separator: "-", omittingEmptySubsequences: false)
            guard parts.count == 3, let shard = ShardID(parts[0]), let epoch = UInt32(parts[1]),
                let sequence = UInt64(parts[2])
            else { return nil }
            self.init(shard: shard, epoch: epoch, sequence: sequence)
            guard self.file == file, Int(shard) < Limits.shards else { return nil }
        }

        static func < (a: Name, b: Name) -> Bool {
            // A replica's log may begin anew at a later epoch, with fewer entries.
            (a.shard, a.epoch, a.sequence) < (b.shard, b.epoch, b.sequence)
        }
    }

    private func names() throws(JournalError) -> [Name] {
        try directory.list().compactMap(Name.init).sorted()
    }

    /// Writes a snapshot; it is durable when this returns. Blocks; any thread.
    ///
    /// A snapshot counts only once the journal holds all that is in it: save it only when
    /// `committedPosition` of the lane's writer has reached `header.position`.
    /// - Parameters:
    ///   - committed: that committed position.
    ///   - content: what the core gave; at most `contentLimit`.
    public func save(
        _ header: SnapshotHeader, committed: UInt64, content: UnsafeRawBufferPointer
    ) throws(JournalError) {
        precondition(committed >= header.position, "the journal does not hold it yet")
        precondition(content.count <= SnapshotStore.contentLimit)
        let name = Name(shard: header.shard, epoch: header.epoch, sequence: header.sequence)
        let packed: RawBuffer
        do {
            packed = try Zstd.compress(content)
        } catch {
            throw .damaged(JournalDamage(name.file, 0, .compression(error.detail)))
        }
        let file = RawBuffer(capacity: SnapshotStore.headerBytes + packed.count)
        defer { withExtendedLifetime((packed, file)) {} }
        file.count = file.region.count
        let region = file.region
        region.put(SnapshotStore.magic, at: 0)
        region.put(UInt32(1), at: 12)
        region.put(header.shard, at: 16)
        region.put(header.lane.core, at: 18)
        region.put(header.epoch, at: 20)
        region.put(header.sequence, at: 24)
        region.put(header.position, at: 32)
        region.put(header.lane.boot, at: 40)
        region.put(Checksum.crc32c(content), at: 44)
        region.put(UInt64(content.count), at: 48)
        region.put(UInt64(packed.count), at: 56)
        region.put(identity.cluster, at: 64)
        region.put(identity.node, at: 72)
        region.put(directory.system.wallMs(), at: 80)
        for at in [88, 96, 104] { region.put(UInt64(0), at: at) }
        let checked = UnsafeRawBufferPointer(rebasing: region[12..<SnapshotStore.headerBytes])
        region.put(Checksum.crc32c(checked), at: 8)
        UnsafeMutableRawBufferPointer(rebasing: region[SnapshotStore.headerBytes...])
            .copyMemory(from: packed.bytes)
        try directory.replace(name.file, with: file.bytes)
    }

    /// The newest good snapshot of a shard, or nil where there is none at all.
    ///
    /// Errors: `damaged` where there are some and none is good.
    public func load(_ shard: ShardID) throws(JournalError) -> Snapshot? {
        var damaged: [JournalDamage] = []
        for name in try names().reversed() where name.shard == shard {
            do throws(JournalError) {
                return try read(name, damaged: damaged)
            } catch .damaged(let damage) {
                damaged.append(damage)
            }
        }
        if let first = damaged.first { throw .damaged(first) }
        return nil
    }

    /// The shards that have snapshots.
    public func shards() throws(JournalError) -> [ShardID] {
        var result: [ShardID] = []
        for name in try names() where result.last != name.shard { result.append(name.shard) }
        return result
    }

    private func read(_ name: Name, damaged earlier: [JournalDamage]) throws(JournalError)
        -> Snapshot
    {
        let path = directory.path(of: name.file)
        func damaged(_ reason: JournalDamage.Reason, at offset: UInt64 = 0) -> JournalError {
            .damaged(JournalDamage(path, offset, reason))
        }
        let file = try directory.open(name.file, O_RDONLY)
        let buffer = RawBuffer(capacity: try file.size())
        buffer.count = try file.read(into: buffer.region, at: 0)
        defer { withExtendedLifetime(buffer) {} }
        let bytes = buffer.bytes
        guard bytes.count >= SnapshotStore.headerBytes,
            bytes.get(0, UInt64.self) == SnapshotStore.magic,
            Checksum.crc32c(UnsafeRawBufferPointer(rebasing: bytes[12..<SnapshotStore.headerBytes]))
                == bytes.get(8, UInt32.self)
        else { throw damaged(.badHeader) }
        let version = bytes.get(12, UInt32.self)
        guard version == 1 else { throw .unsupportedFormat(path: path, version: version) }
        let header = SnapshotHeader(
            shard: bytes.get(16), epoch: bytes.get(20), sequence: bytes.get(24),
            lane: JournalLane(boot: bytes.get(40), core: bytes.get(18)), position: bytes.get(32))
        let found = JournalIdentity(cluster: bytes.get(64), node: bytes.get(72))
        guard found == identity else {
            throw .foreign(path: path, expected: identity, found: found)
        }
        guard header.shard == name.shard, header.epoch == name.epoch,
            header.sequence == name.sequence
        else { throw damaged(.misplaced) }
        let packed = UnsafeRawBufferPointer(rebasing: bytes[SnapshotStore.headerBytes...])
        guard UInt64(packed.count) == bytes.get(56, UInt64.self) else {
            throw damaged(.contradiction("the content has \(packed.count) bytes"))
        }
        // The header passed its checksum: what is packed may not ask for more memory than it says.
        let size = min(bytes.get(48, UInt64.self), UInt64(SnapshotStore.contentLimit))
        let content: RawBuffer
        do {
            content = try Zstd.decompress(packed, limit: Int(size))
        } catch {
            throw damaged(.compression(error.detail), at: UInt64(SnapshotStore.headerBytes))
        }
        defer { withExtendedLifetime(content) {} }
        guard UInt64(content.count) == bytes.get(48, UInt64.self),
            Checksum.crc32c(content.bytes) == bytes.get(44, UInt32.self)
        else { throw damaged(.contradiction("the content fails its checksum")) }
        var sink = ByteSink(capacity: max(1, content.count))
        sink.append(content.bytes)
        return Snapshot(header: header, content: sink, damaged: earlier)
    }

    /// The sequence that the journal must reach back to, for each shard, so that `keeping`
    /// snapshots could each be the one that recovery starts from: 0 where there are fewer.
    ///
    /// Only names are read; pass it to `JournalDirectory.removeSegments`.
    public func coveredSequences(keeping: Int = 2) throws(JournalError) -> ShardSequences {
        precondition(keeping > 0)
        var covered = ShardSequences()
        var group: [Name] = []
        func close() {
            guard group.count >= keeping, let shard = group.first?.shard else { return }
            covered[shard] = group.suffix(keeping).map(\.sequence).min() ?? 0
        }
        for name in try names() {
            if group.last?.shard != name.shard {
                close()
                group.removeAll()
            }
            group.append(name)
        }
        close()
        return covered
    }

    /// Removes all but the newest `keeping` of each shard.
    public func removeOld(keeping: Int = 2) throws(JournalError) {
        precondition(keeping > 0)
        var kept = 0
        var previous: ShardID?
        for name in try names().reversed() {
            kept = previous == name.shard ? kept + 1 : 1
            previous = name.shard
            if kept > keeping { try directory.remove(name.file) }
        }
        try directory.synchronize()
    }
}
