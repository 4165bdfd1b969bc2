public import Glibc

/// What the journal asks of an operating system: files, names, the lock, and the time of day.
///
/// Results are those of the system calls named, with `-errno` in the place of -1: nothing is
/// retried here and nothing throws. Descriptors are closed on every `exec`.
public protocol FileSystem: AnyObject, Sendable {
    // MARK: Files

    /// As open(2). Returns a descriptor.
    func open(_ path: String, _ flags: Int32, mode: mode_t) -> Int32
    /// As close(2).
    func close(_ descriptor: Int32)
    /// As fstat(2). Returns the size in bytes.
    func size(_ descriptor: Int32) -> Int
    /// As pread(2).
    func read(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer, at offset: Int)
        -> Int
    /// As pwritev(2).
    func write(_ descriptor: Int32, _ slices: UnsafeBufferPointer<iovec>, at offset: Int) -> Int
    /// As ftruncate(2).
    func truncate(_ descriptor: Int32, to size: Int) -> Int32
    /// As posix_fallocate(3) from offset 0.
    func allocate(_ descriptor: Int32, size: Int) -> Int32
    /// As fsync(2); of a directory: makes creations, renames and removals in it durable.
    func sync(_ descriptor: Int32) -> Int32
    /// As fdatasync(2).
    func syncData(_ descriptor: Int32) -> Int32
    /// As flock(2) with LOCK_EX and LOCK_NB.
    func lock(_ descriptor: Int32) -> Int32
    /// As flock(2) with LOCK_UN.
    func unlock(_ descriptor: Int32)

    // MARK: Names

    /// As mkdir(2).
    func makeDirectory(_ path: String, mode: mode_t) -> Int32
    /// Appends the names in a directory, in any order, without "." and "..".
    func list(_ path: String, into names: inout [String]) -> Int32
    /// As stat(2); nil where that fails.
    func status(_ path: String) -> FileStatus?
    /// As unlink(2).
    func remove(_ path: String) -> Int32
    /// As rename(2).
    func rename(_ from: String, to path: String) -> Int32

    // MARK: The process

    /// Wall clock, Unix milliseconds.
    func wallMs() -> Int64
    /// Monotonic clock, nanoseconds.
    func monotonicNs() -> UInt64
    /// As getpid(2).
    var processID: Int32 { get }
}

/// What a path leads to.
public struct FileStatus: Hashable, Sendable {
    public var isDirectory: Bool
    public var sizeBytes: UInt64

    public init(isDirectory: Bool, sizeBytes: UInt64) {
        self.isDirectory = isDirectory
        self.sizeBytes = sizeBytes
    }
}

/// The system calls themselves. Tests subclass it to make some fail.
public class LiveFileSystem: FileSystem, @unchecked Sendable {
    // SAFETY: there is no state; what subclasses add, they guard.
    public static let shared = LiveFileSystem()

    init() {}

    private static func result(_ code: Int32) -> Int32 { code < 0 ? -errno : code }
    private static func result(_ count: Int) -> Int { count < 0 ? -Int(errno) : count }

    // MARK: Files

    public func open(_ path: String, _ flags: Int32, mode: mode_t) -> Int32 {
        Self.result(Glibc.open(path, flags | O_CLOEXEC, mode))
    }

    public func close(_ descriptor: Int32) { _ = Glibc.close(descriptor) }

    public func size(_ descriptor: Int32) -> Int {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? Int(status.st_size) : -Int(errno)
    }

    public func read(
        _ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer, at offset: Int
    ) -> Int {
        Self.result(pread(descriptor, buffer.baseAddress, buffer.count, offset))
    }

    public func write(
        _ descriptor: Int32, _ slices: UnsafeBufferPointer<iovec>, at offset: Int
    ) -> Int {
        Self.result(pwritev(descriptor, slices.baseAddress, Int32(slices.count), offset))
    }

    public func truncate(_ descriptor: Int32, to size: Int) -> Int32 {
        Self.result(ftruncate(descriptor, size))
    }

    public func allocate(_ descriptor: Int32, size: Int) -> Int32 {
        // Returns its errno, and leaves that of the thread alone.
        -posix_fallocate(descriptor, 0, size)
    }

    public func sync(_ descriptor: Int32) -> Int32 { Self.result(fsync(descriptor)) }

    public func syncData(_ descriptor: Int32) -> Int32 { Self.result(fdatasync(descriptor)) }

    public func lock(_ descriptor: Int32) -> Int32 {
        Self.result(flock(descriptor, LOCK_EX | LOCK_NB))
    }

    public func unlock(_ descriptor: Int32) { flock(descriptor, LOCK_UN) }

    // MARK: Names

    public func makeDirectory(_ path: String, mode: mode_t) -> Int32 {
        Self.result(mkdir(path, mode))
    }

    public func list(_ path: String, into names: inout [String]) -> Int32 {
        guard let stream = opendir(path) else { return -errno }
        defer { closedir(stream) }
        while true {
            errno = 0
            guard let entry = readdir(stream) else { return -errno }
            // SAFETY: the kernel ends d_name with a zero byte.
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
    }

    public func status(_ path: String) -> FileStatus? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return FileStatus(
            isDirectory: status.st_mode & S_IFMT == S_IFDIR, sizeBytes: UInt64(status.st_size))
    }

    public func remove(_ path: String) -> Int32 { Self.result(unlink(path)) }

    public func rename(_ from: String, to path: String) -> Int32 {
        Self.result(Glibc.rename(from, path))
    }

    // MARK: The process

    public func wallMs() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }

    public func monotonicNs() -> UInt64 { Clock.nowNs() }

    public var processID: Int32 { getpid() }
}
