import CapacitySimulator
import Glibc
import Histogram

/// What the kernel takes: small messages, and syncs.
extension CalibrationBench {
    /// One small message over loopback TCP, the reading and the writing of it.
    func messages() -> [Calibration.Measurement] {
        var reads = Self.histogram()
        var writes = Self.histogram()
        guard let pair = Self.loopbackPair() else {
            preconditionFailure("no loopback connection")
        }
        defer {
            close(pair.0)
            close(pair.1)
        }
        var bytes = [UInt8](repeating: 7, count: 64)
        for step in 0..<Self.steps {
            let start = Self.nowNs()
            let sent = write(pair.0, &bytes, 64)
            let middle = Self.nowNs()
            let received = read(pair.1, &bytes, 64)
            let end = Self.nowNs()
            precondition(sent == 64 && received == 64, "a loopback message was cut")
            if step >= 1_000 {
                record(middle - start, 1, &writes)
                record(end - middle, 1, &reads)
            }
        }
        return [
            Self.measurement(.receive, 1, reads), Self.measurement(.send, 1, writes),
        ]
    }

    private static func loopbackPair() -> (Int32, Int32)? {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        // SAFETY: `sockaddr_in` is laid out as the `sockaddr` that the calls are told the size of.
        let isConnected = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                bind(listener, generic, size) == 0 && listen(listener, 1) == 0
                    && getsockname(listener, generic, &size) == 0
                    && connect(client, generic, size) == 0
            }
        }
        guard isConnected else { return nil }
        let server = accept(listener, nil, nil)
        guard server >= 0 else { return nil }
        var one: Int32 = 1
        for descriptor in [client, server] {
            setsockopt(
                descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one,
                socklen_t(MemoryLayout<Int32>.size))
        }
        return (client, server)
    }

    /// fdatasync after four kilobytes appended to a file in the working directory.
    func sync() -> Calibration.Measurement {
        var histogram = Self.histogram()
        let path = ".downpour-calibrate-\(getpid())"
        let file = Glibc.open(path, O_RDWR | O_CREAT | O_EXCL, 0o600)
        precondition(file >= 0, "cannot create \(path)")
        defer {
            close(file)
            unlink(path)
        }
        let size = 4_096
        let bytes = [UInt8](repeating: 7, count: size)
        // As the journal does: written over space that is there already.
        for _ in 0..<1_000 { precondition(write(file, bytes, size) == size) }
        fdatasync(file)
        lseek(file, 0, SEEK_SET)
        for _ in 0..<1_000 {
            precondition(write(file, bytes, size) == size)
            let start = Self.nowNs()
            fdatasync(file)
            record(Self.nowNs() - start, 1, &histogram)
        }
        return Self.measurement(.sync, 1, histogram)
    }
}
