import EdgeMemory
import EdgeTypes
import EdgeWire
import Glibc
import Synchronization

/// A node's data directory: `boot`, `lock`, `journal/` and `snapshots/`. Whoever holds this object
/// holds the directory's lock.
///
/// The order of a start: `open`, load snapshots, `recover`, `beginBoot`, one `makeWriter` a core.
public final class JournalDirectory: Sendable {
    public let path: String
    public let identity: JournalIdentity
    public let configuration: JournalConfiguration
    public let snapshots: SnapshotStore
    let system: any FileSystem
    let journal: Directory
    private let folder: Directory
    /// nil: it is only read, perhaps beside the process that writes it.
    private let lock: File?
    private let lockDescriptor: Int32?
    /// The boot number last persisted.
    private let lastBoot: Mutex<UInt32>
    /// Compression and retention take turns.
    let maintenance = Monitor()

    static let bootMagic: UInt64 = 0x544f_4f42_4e57_4f44

    /// Opens or creates the directory (its parent must exist) and locks it.
    ///
    /// Errors: `locked` where another process has it, `foreign` where it belongs to another node,
    /// `readOnly`, `permissionDenied`, `notADirectory`, `noSpace`, `damaged`.
    public init(
        path: String, identity: JournalIdentity,
        configuration: JournalConfiguration = JournalConfiguration(),
        system: any FileSystem = LiveFileSystem.shared
    ) throws(JournalError) {
        configuration.check()
        self.path = path
        self.identity = identity
        self.configuration = configuration
        self.system = system
        folder = Directory(system, path)
        journal = folder.folder("journal")
        try folder.make()
        let taken = try JournalDirectory.takeLock(folder)
        lockDescriptor = taken.descriptor
        lock = consume taken
        try journal.make()
        try folder.folder("snapshots").make()
        try folder.synchronize()
        snapshots = try SnapshotStore(folder.folder("snapshots"), identity: identity)
        let boot = try JournalDirectory.readBoot(folder)
        if let boot, boot.identity != identity {
            throw .foreign(path: folder.path, expected: identity, found: boot.identity)
        }
        lastBoot = Mutex(boot?.number ?? 0)
        if boot == nil {
            guard try SegmentCatalog(journal).names.isEmpty else {
                throw .damaged(JournalDamage(path + "/boot", 0, .missingFile))
            }
            if configuration.mutant != .directoryNotSynced { try syncParent() }
            try persist(boot: 0)
        }
    }

    /// Opens a directory for reading, whoever it belongs to and whether or not a process writes it. A
    /// file that this process lists may be gone when it is read: the reader says `missingFile`, and
    /// may begin anew.
    ///
    /// Errors: `damaged` where it is no node's directory, `permissionDenied`.
    public init(
        reading path: String, system: any FileSystem = LiveFileSystem.shared
    ) throws(JournalError) {
        self.path = path
        self.system = system
        folder = Directory(system, path)
        journal = folder.folder("journal")
        guard let boot = try JournalDirectory.readBoot(folder) else {
            throw .damaged(JournalDamage(path + "/boot", 0, .missingFile))
        }
        identity = boot.identity
        var configuration = JournalConfiguration()
        configuration.isReplicated = SoleRecords.exist(in: path)
        self.configuration = configuration
        snapshots = try SnapshotStore(folder.folder("snapshots"), identity: boot.identity)
        lastBoot = Mutex(boot.number)
        lock = nil
        lockDescriptor = nil
    }

    /// Makes the directory's own name durable: until there is a boot file, nobody else has.
    private func syncParent() throws(JournalError) {
        do throws(JournalError) {
            try folder.folder("..").synchronize()
        } catch .permissionDenied {
            // What may not be read, an operator has prepared.
        }
    }

    deinit {
        // A child process that is just being started may still hold a copy of the descriptor.
        if let lockDescriptor { system.unlock(lockDescriptor) }
    }

    private static func takeLock(_ folder: Directory) throws(JournalError) -> File {
        let file = try folder.open("lock", O_RDWR | O_CREAT)
        let system = folder.system
        let holder = RawBuffer(capacity: 64)
        defer { withExtendedLifetime(holder) {} }
        let code = system.lock(file.descriptor)
        if code < 0 {
            guard code == -EWOULDBLOCK else { throw .from(-code, "flock", file.path) }
            holder.count = try file.read(into: holder.region, at: 0)
            let text = String(decoding: holder.bytes, as: UTF8.self)
            throw .locked(path: file.path, holder: text.isEmpty ? "another process" : text)
        }
        try file.truncate(to: 0)
        let name = "process \(system.processID)"
        holder.region.copyBytes(from: name.utf8)
        holder.count = name.utf8.count
        do throws(JournalError) {
            try file.write(holder.bytes, at: 0)
        } catch .noSpace {
            // The name is only for people; the lock is held without it.
        }
        return file
    }

    private static func readBoot(
        _ folder: Directory
    ) throws(JournalError) -> (number: UInt32, identity: JournalIdentity)? {
        guard folder.exists("boot") else { return nil }
        let name = folder.path(of: "boot")
        let buffer = RawBuffer(capacity: 64)
        defer { withExtendedLifetime(buffer) {} }
        buffer.count = try folder.open("boot", O_RDONLY).read(into: buffer.region, at: 0)
        let bytes = buffer.bytes
        guard bytes.count == 40, bytes.get(0, UInt64.self) == bootMagic,
            Checksum.crc32c(UnsafeRawBufferPointer(rebasing: bytes[12...]))
                == bytes.get(8, UInt32.self)
        else { throw .damaged(JournalDamage(name, 0, .badHeader)) }
        let version = bytes.get(12, UInt32.self)
        guard version == 1 else { throw .unsupportedFormat(path: name, version: version) }
        let identity = JournalIdentity(cluster: bytes.get(24), node: bytes.get(32))
        return (bytes.get(16, UInt32.self), identity)
    }

    private func persist(boot: UInt32) throws(JournalError) {
        let buffer = RawBuffer(capacity: 40)
        defer { withExtendedLifetime(buffer) {} }
        buffer.count = 40
        let region = buffer.region
        region.put(JournalDirectory.bootMagic, at: 0)
        region.put(UInt32(1), at: 12)
        region.put(boot, at: 16)
        region.put(UInt32(0), at: 20)
        region.put(identity.cluster, at: 24)
        region.put(identity.node, at: 32)
        region.put(Checksum.crc32c(UnsafeRawBufferPointer(rebasing: buffer.bytes[12...])), at: 8)
        try folder.replace("boot", with: buffer.bytes)
    }

    /// Begins a new boot: its number is durable when this returns. After `recover`.
    public func beginBoot() throws(JournalError) -> UInt32 {
        let newest = try SegmentCatalog(journal).newestBoot
        let boot = max(newest, lastBoot.withLock { $0 }) + 1
        try persist(boot: boot)
        lastBoot.withLock { $0 = boot }
        return boot
    }

    // MARK: Reading

    /// All lanes that have segments, in replay order.
    public func lanes() throws(JournalError) -> [JournalLane] {
        try catalog().lanes.map(\.lane)
    }

    /// The numbers of a lane's segments, in order.
    public func segments(of lane: JournalLane) throws(JournalError) -> [UInt32] {
        let names = try SegmentCatalog(journal).lanes.first { $0.lane == lane }?.names
        return names?.map(\.index) ?? []
    }

    /// Bytes that a lane's segments have on disk, from one of them on.
    public func bytes(of lane: JournalLane, from segment: UInt32) throws(JournalError) -> UInt64 {
        let names = try SegmentCatalog(journal).lanes.first { $0.lane == lane }?.names ?? []
        return names.reduce(0) { sum, name in
            guard name.index >= segment else { return sum }
            let original = journal.size(name.fileName)
            return sum + (original ?? journal.size(name.compressedName) ?? 0)
        }
    }

    /// Reads a lane from its oldest segment on. nil where there is no such lane.
    ///
    /// - Parameter covered: entries up to here are left out, segments of nothing else not read.
    public func reader(
        of lane: JournalLane, covered: ShardSequences = ShardSequences()
    ) throws(JournalError) -> LaneReader? {
        let names = try catalog().lanes.first { $0.lane == lane }?.names
        guard let first = names?.first else { return nil }
        return reader(from: .start(of: first), covered: covered)
    }

    /// Which shards this node's processes were alone with. For one thread.
    ///
    /// Errors: `damaged`.
    public func openSoleRecords() throws(JournalError) -> SoleRecords { try SoleRecords(folder) }

    /// Listed while nobody replaces files: a listing may miss both of a file's names otherwise.
    private func catalog() throws(JournalError) -> SegmentCatalog {
        maintenance.lock()
        defer { maintenance.unlock() }
        return try SegmentCatalog(journal)
    }

    /// Goes on where another reader's `cursor` was. What came before is not checked again: the
    /// first entry of each shard may have any sequence.
    public func reader(
        from cursor: JournalCursor, covered: ShardSequences = ShardSequences()
    ) -> LaneReader {
        LaneReader(
            directory: journal, identity: identity, cursor: cursor,
            tracker: ShardTracker(
                covered: covered, isPartial: true, isReplicated: configuration.isReplicated))
    }
}
