import Glibc

/// An open file with one owner; closed when that goes.
struct File: ~Copyable, Sendable {
    let descriptor: Int32
    let path: String

    init(_ path: String, _ flags: Int32, mode: mode_t = 0o640) throws(JournalError) {
        var descriptor: Int32
        repeat {
            descriptor = open(path, flags | O_CLOEXEC, mode)
        } while descriptor < 0 && errno == EINTR
        guard descriptor >= 0 else { throw .from(errno, "open", path) }
        self.descriptor = descriptor
        self.path = path
    }

    deinit { close(descriptor) }

    func size() throws(JournalError) -> Int {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .from(errno, "fstat", path) }
        return Int(status.st_size)
    }

    /// Bytes of the file at `path`; nil where there is none.
    static func size(_ path: String) -> UInt64? {
        var status = stat()
        return stat(path, &status) == 0 ? UInt64(status.st_size) : nil
    }

    /// Reads until the buffer is full or the file ends.
    ///
    /// - Returns: bytes read.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(JournalError)
        -> Int
    {
        var done = 0
        while done < buffer.count {
            // SAFETY: `done < buffer.count`.
            let target = buffer.baseAddress.unsafelyUnwrapped + done
            let count = pread(descriptor, target, buffer.count - done, offset + done)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .from(errno, "read", path) }
            if count == 0 { break }
            done += count
        }
        return done
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(JournalError) {
        var done = 0
        while done < bytes.count {
            // SAFETY: `done < bytes.count`.
            let source = bytes.baseAddress.unsafelyUnwrapped + done
            let count = pwrite(descriptor, source, bytes.count - done, offset + done)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw .from(count < 0 ? errno : EIO, "write", path) }
            done += count
        }
    }

    func truncate(to size: Int) throws(JournalError) {
        guard ftruncate(descriptor, size) == 0 else { throw .from(errno, "truncate", path) }
    }

    func synchronize() throws(JournalError) {
        guard fsync(descriptor) == 0 else { throw .from(errno, "fsync", path) }
    }
}

/// What is done with names rather than with contents.
enum Directory {
    /// Makes the directory where there is none; its parents must exist.
    static func make(_ path: String) throws(JournalError) {
        if mkdir(path, 0o750) == 0 { return }
        let code = errno
        var status = stat()
        guard stat(path, &status) == 0 else { throw .from(code, "mkdir", path) }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw .notADirectory(path: path) }
    }

    /// Names of the entries, sorted; without "." and "..".
    static func list(_ path: String) throws(JournalError) -> [String] {
        guard let stream = opendir(path) else { throw .from(errno, "opendir", path) }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 { throw .from(errno, "readdir", path) }
                return names.sorted()
            }
            // SAFETY: the kernel ends d_name with a zero byte.
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
    }

    /// Makes creations, renames and removals in the directory durable.
    static func synchronize(_ path: String) throws(JournalError) {
        try File(path, O_RDONLY | O_DIRECTORY).synchronize()
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// A file that is not there is no error.
    static func remove(_ path: String) throws(JournalError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw .from(errno, "unlink", path) }
    }

    static func rename(_ from: String, to path: String) throws(JournalError) {
        guard Glibc.rename(from, path) == 0 else { throw .from(errno, "rename", path) }
    }

    /// Writes a whole file so that a crash leaves either what was there before or all of this.
    static func replace(_ name: String, in directory: String, with bytes: UnsafeRawBufferPointer)
        throws(JournalError)
    {
        let path = directory + "/" + name
        let temporary = path + ".tmp"
        do throws(JournalError) {
            let file = try File(temporary, O_WRONLY | O_CREAT | O_TRUNC)
            try file.write(bytes, at: 0)
            try file.synchronize()
            try rename(temporary, to: path)
        } catch {
            try? remove(temporary)
            throw error
        }
        try synchronize(directory)
    }
}

enum Clock {
    /// Monotonic, in nanoseconds.
    static func nowNs() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// Wall clock, Unix milliseconds.
    static func wallMs() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }
}
