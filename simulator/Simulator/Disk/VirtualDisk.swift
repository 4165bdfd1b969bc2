public import EdgeJournal
import EdgeMemory
public import EdgeTypes
public import Glibc

/// A node's disk in memory: the journal's real code runs over it, one call after the other, and
/// the same calls always leave the same bytes.
///
/// What is modelled:
/// - Reads see every write at once (the page cache). A write, a new size or a reservation is
///   durable once the file has been synced; fsync and fdatasync do the same.
/// - A file's sync says nothing of its name. Creations, renames and removals are durable with the
///   next sync of their directory; a rename is one step. This is POSIX; ext4 does more.
/// - `crash` loses the power: of what is not durable, each change of a file is kept, lost, or torn
///   into sectors of 512 bytes, and each change of a name kept or lost, in any combination. A
///   sector is written as a whole, with what the page cache held when that change was made.
/// - `processCrash` ends the process: descriptors and the lock go, nothing else.
/// - A descriptor is never used twice: what a dead process's objects still close is not there.
///
/// Not modelled: delays (see `counts`), permissions, hard and symbolic links, renames between
/// directories, room for names, a page cache that forgets. A sync costs O(changes since the last).
public final class VirtualDisk: FileSystem, @unchecked Sendable {
    // SAFETY: used by the simulator's one thread.

    /// Part of what a crash's random numbers are drawn by.
    public let number: UInt64
    public var faults = DiskFaults()
    public private(set) var counts = DiskCounts()
    /// The node's clocks.
    public var now: Instant
    public var processID: Int32 = 1
    /// Space taken by all files, reserved space included.
    public internal(set) var usedBytes = 0

    var root = VirtualFolder(parent: nil)
    /// Folders by the paths that they were asked for.
    var folders: [String: VirtualFolder] = [:]
    private var opened: [Int32: Opened] = [:]
    private var nextDescriptor: Int32 = 3

    private struct Opened {
        var node: VirtualNode
        var canWrite: Bool
    }

    /// - Parameter number: of the node, so that disks of one run crash differently.
    public init(number: UInt64, now: Instant = Instant(wallMs: 0)) {
        self.number = number
        self.now = now
    }

    public func wallMs() -> Int64 { now.wallMs }

    public func monotonicNs() -> UInt64 { now.monotonicNs }

    // MARK: Files

    public func open(_ path: String, _ flags: Int32, mode: mode_t) -> Int32 {
        guard begin() else { return -EIO }
        let canWrite = flags & O_ACCMODE != O_RDONLY
        guard let (folder, name) = split(path) else { return missing(path) }
        var node = name.isEmpty ? .folder(folder) : folder[name]
        if faults.isReadOnly && (canWrite || node == nil && flags & O_CREAT != 0) { return -EROFS }
        if node == nil {
            guard flags & O_CREAT != 0 else { return -ENOENT }
            let file = VirtualFile()
            file.links = 1
            folder.link(name, .file(file))
            node = .file(file)
        }
        guard let node else { return -ENOENT }
        switch node {
        case .folder: if canWrite { return -EISDIR }
        case .file(let file):
            if flags & O_DIRECTORY != 0 { return -ENOTDIR }
            if flags & O_TRUNC != 0 { resize(file, to: 0) }
            file.opens += 1
        }
        defer { nextDescriptor += 1 }
        opened[nextDescriptor] = Opened(node: node, canWrite: canWrite)
        return nextDescriptor
    }

    public func close(_ descriptor: Int32) {
        guard let entry = opened.removeValue(forKey: descriptor), case .file(let file) = entry.node
        else { return }
        file.opens -= 1
        if file.lockHolder == descriptor { file.lockHolder = nil }
        release(file)
    }

    public func size(_ descriptor: Int32) -> Int {
        guard begin() else { return -Int(EIO) }
        guard let file = file(descriptor) else { return -Int(EBADF) }
        return file.image.size
    }

    public func read(
        _ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer, at offset: Int
    ) -> Int {
        guard begin() else { return -Int(EIO) }
        guard let file = file(descriptor) else { return -Int(EBADF) }
        guard offset >= 0 else { return -Int(EINVAL) }
        let count = file.image.read(into: buffer, at: offset)
        counts.bytesRead += UInt64(count)
        return count
    }

    public func write(
        _ descriptor: Int32, _ slices: UnsafeBufferPointer<iovec>, at offset: Int
    ) -> Int {
        guard begin() else { return -Int(EIO) }
        guard let file = file(descriptor, toWrite: true) else { return -Int(EBADF) }
        guard offset >= 0 else { return -Int(EINVAL) }
        if faults.isReadOnly { return -Int(EROFS) }
        let total = slices.reduce(0) { $0 + $1.iov_len }
        guard total > 0 else { return 0 }
        var place = offset
        if let distance = faults.misdirectsBy {
            faults.misdirectsBy = nil
            place = min(max(0, offset + distance), max(0, file.image.size - total))
        }
        guard hasRoom(for: file, growingTo: place + total) else { return -Int(ENOSPC) }
        change(file) { $0.write(slices, total: total, at: place) }
        counts.writes += 1
        counts.bytesWritten += UInt64(total)
        return total
    }

    public func truncate(_ descriptor: Int32, to size: Int) -> Int32 {
        guard begin() else { return -EIO }
        guard let file = file(descriptor, toWrite: true) else { return -EBADF }
        guard size >= 0 else { return -EINVAL }
        if faults.isReadOnly { return -EROFS }
        guard hasRoom(for: file, growingTo: size) else { return -ENOSPC }
        resize(file, to: size)
        return 0
    }

    public func allocate(_ descriptor: Int32, size: Int) -> Int32 {
        guard begin() else { return -EIO }
        guard let file = file(descriptor, toWrite: true) else { return -EBADF }
        guard size > 0 else { return -EINVAL }
        if faults.isReadOnly { return -EROFS }
        guard hasRoom(for: file, growingTo: size) else { return -ENOSPC }
        if size > file.image.size { resize(file, to: size) }
        return 0
    }

    public func sync(_ descriptor: Int32) -> Int32 {
        guard begin() else { return -EIO }
        guard let entry = opened[descriptor] else { return -EBADF }
        counts.syncs += 1
        switch entry.node {
        case .folder(let folder):
            if faults.failsSync { return -EIO }
            folder.sync()
        case .file(let file):
            if faults.failsSync {
                file.failSync()
                return -EIO
            }
            counts.bytesSynced += UInt64(file.sync())
        }
        return 0
    }

    public func syncData(_ descriptor: Int32) -> Int32 { sync(descriptor) }

    public func lock(_ descriptor: Int32) -> Int32 {
        guard begin() else { return -EIO }
        guard let file = file(descriptor) else { return -EBADF }
        guard file.lockHolder == nil || file.lockHolder == descriptor else { return -EWOULDBLOCK }
        file.lockHolder = descriptor
        return 0
    }

    public func unlock(_ descriptor: Int32) {
        guard let file = file(descriptor), file.lockHolder == descriptor else { return }
        file.lockHolder = nil
    }

    /// The process is killed. `faults.callsLeft` is over; the other faults are the disk's own.
    public func processCrash() {
        faults.callsLeft = nil
        // In order, so that nothing ever depends on that of a dictionary.
        for descriptor in opened.keys.sorted() { close(descriptor) }
    }

    // MARK: Parts

    /// Counts a call. False where the process is as good as dead.
    func begin() -> Bool {
        counts.calls += 1
        guard let left = faults.callsLeft else { return true }
        guard left > 0 else { return false }
        faults.callsLeft = left - 1
        return true
    }

    private func file(_ descriptor: Int32, toWrite: Bool = false) -> VirtualFile? {
        guard let entry = opened[descriptor], entry.canWrite || !toWrite,
            case .file(let file) = entry.node
        else { return nil }
        return file
    }

    private func hasRoom(for file: VirtualFile, growingTo size: Int) -> Bool {
        let growth = VirtualFile.blocks(size) - file.blockBytes
        return growth <= 0 || growth <= faults.spaceBytes - usedBytes
    }

    private func change(_ file: VirtualFile, _ body: (VirtualFile) -> Void) {
        let before = file.blockBytes
        body(file)
        usedBytes += file.blockBytes - before
    }

    private func resize(_ file: VirtualFile, to size: Int) { change(file) { $0.resize(to: size) } }

    /// Gives back the space of a file that nothing leads to any more.
    func release(_ file: VirtualFile) {
        if file.links == 0 && file.opens == 0 { usedBytes -= file.blockBytes }
    }
}
