import Glibc

/// An open file with one owner; closed when that goes.
struct File: ~Copyable, Sendable {
    let system: any FileSystem
    let descriptor: Int32
    let path: String

    init(_ system: any FileSystem, _ path: String, _ flags: Int32, mode: mode_t = 0o640)
        throws(JournalError)
    {
        var descriptor: Int32
        repeat {
            descriptor = system.open(path, flags, mode: mode)
        } while descriptor == -EINTR
        guard descriptor >= 0 else { throw .from(-descriptor, "open", path) }
        self.system = system
        self.descriptor = descriptor
        self.path = path
    }

    deinit { system.close(descriptor) }

    func size() throws(JournalError) -> Int {
        let size = system.size(descriptor)
        guard size >= 0 else { throw .from(Int32(-size), "fstat", path) }
        return size
    }

    /// Reads until the buffer is full or the file ends.
    ///
    /// - Returns: bytes read.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(JournalError)
        -> Int
    {
        var done = 0
        while done < buffer.count {
            let target = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let count = system.read(descriptor, into: target, at: offset + done)
            if count == -Int(EINTR) { continue }
            guard count >= 0 else { throw .from(Int32(-count), "read", path) }
            if count == 0 { break }
            done += count
        }
        return done
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(JournalError) {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return }
        var slices = [
            iovec(iov_base: UnsafeMutableRawPointer(mutating: base), iov_len: bytes.count)
        ]
        try write(&slices, total: bytes.count, at: offset)
    }

    /// Writes all of the slices, however many calls it takes; they are used up then.
    func write(_ slices: inout [iovec], total: Int, at offset: Int) throws(JournalError) {
        var done = 0
        var first = 0
        while done < total {
            let count = slices.withUnsafeBufferPointer { all in
                system.write(
                    descriptor, UnsafeBufferPointer(rebasing: all[first...]), at: offset + done)
            }
            if count == -Int(EINTR) { continue }
            guard count > 0 else { throw .from(count < 0 ? Int32(-count) : EIO, "write", path) }
            done += count
            var left = count
            while first < slices.count && left >= slices[first].iov_len {
                left -= slices[first].iov_len
                first += 1
            }
            if left > 0 {
                slices[first].iov_base += left
                slices[first].iov_len -= left
            }
        }
    }

    func truncate(to size: Int) throws(JournalError) {
        let code = system.truncate(descriptor, to: size)
        guard code >= 0 else { throw .from(-code, "truncate", path) }
    }

    /// Reserves space from the file's beginning.
    func allocate(_ size: Int) throws(JournalError) {
        let code = system.allocate(descriptor, size: size)
        guard code >= 0 else { throw .from(-code, "allocate", path) }
    }

    func synchronize() throws(JournalError) {
        let code = system.sync(descriptor)
        guard code >= 0 else { throw .from(-code, "fsync", path) }
    }

    /// As `synchronize`, without times that nobody reads.
    func synchronizeData() throws(JournalError) {
        let code = system.syncData(descriptor)
        guard code >= 0 else { throw .from(-code, "fdatasync", path) }
    }
}

/// A directory, and what is done in it with names rather than with contents.
struct Directory: Sendable {
    let system: any FileSystem
    let path: String

    init(_ system: any FileSystem, _ path: String) {
        self.system = system
        self.path = path
    }

    func path(of name: String) -> String { path + "/" + name }

    func folder(_ name: String) -> Directory { Directory(system, path(of: name)) }

    /// Makes the directory where there is none; its parents must exist.
    func make() throws(JournalError) {
        let code = system.makeDirectory(path, mode: 0o750)
        if code >= 0 { return }
        guard let status = system.status(path) else { throw .from(-code, "mkdir", path) }
        guard status.isDirectory else { throw .notADirectory(path: path) }
    }

    /// Names of the entries, sorted; without "." and "..".
    func list() throws(JournalError) -> [String] {
        var names: [String] = []
        let code = system.list(path, into: &names)
        guard code >= 0 else { throw .from(-code, "readdir", path) }
        return names.sorted()
    }

    func open(_ name: String, _ flags: Int32) throws(JournalError) -> File {
        try File(system, path(of: name), flags)
    }

    /// Makes creations, renames and removals in the directory durable.
    func synchronize() throws(JournalError) {
        try File(system, path, O_RDONLY | O_DIRECTORY).synchronize()
    }

    func exists(_ name: String) -> Bool { system.status(path(of: name)) != nil }

    /// Bytes of a file; nil where there is none.
    func size(_ name: String) -> UInt64? { system.status(path(of: name))?.sizeBytes }

    /// A file that is not there is no error.
    func remove(_ name: String) throws(JournalError) {
        let code = system.remove(path(of: name))
        guard code >= 0 || code == -ENOENT else { throw .from(-code, "unlink", path(of: name)) }
    }

    func rename(_ from: String, to name: String) throws(JournalError) {
        let code = system.rename(path(of: from), to: path(of: name))
        guard code >= 0 else { throw .from(-code, "rename", path(of: name)) }
    }

    /// Writes a whole file so that a crash leaves either what was there before or all of this.
    func replace(_ name: String, with bytes: UnsafeRawBufferPointer) throws(JournalError) {
        let temporary = name + ".tmp"
        do throws(JournalError) {
            let file = try open(temporary, O_WRONLY | O_CREAT | O_TRUNC)
            try file.write(bytes, at: 0)
            try file.synchronize()
            try rename(temporary, to: name)
        } catch {
            try? remove(temporary)
            throw error
        }
        try synchronize()
    }
}

enum Clock {
    /// Monotonic, in nanoseconds: for waits of threads only.
    static func nowNs() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
