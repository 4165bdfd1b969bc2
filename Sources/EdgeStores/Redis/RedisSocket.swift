import EdgeReconciler
import Glibc

/// Bytes to and from a Redis. Every call blocks for its timeout at most.
protocol RedisTransport: AnyObject {
    /// - Returns: how many bytes came: at least one.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(RedisError) -> Int
    func write(_ bytes: UnsafeRawBufferPointer) throws(RedisError)
    /// Idempotent.
    func close()
}

/// A TCP connection.
final class RedisSocket: RedisTransport {
    private var descriptor: Int32
    private let timeoutMs: Int

    /// Connects to the first of the host's addresses that answers. Looking the name up takes as
    /// long as the system's resolver lets it.
    init(_ address: RedisAddress) throws(RedisError) {
        timeoutMs = address.timeoutMs
        descriptor = -1
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(address.host, "\(address.port)", &hints, &found)
        guard status == 0 else {
            throw .unreachable("\(address.host): \(String(cString: gai_strerror(status)))")
        }
        defer { freeaddrinfo(found) }
        let deadline = Self.nowMs() + Int64(address.connectTimeoutMs)
        var problem = "\(address.host) has no address"
        var next = found
        // SAFETY: the list stays until `freeaddrinfo`.
        while let candidate = next?.pointee {
            switch Self.connect(candidate, deadline) {
            case .success(let made):
                descriptor = made
                return
            case .failure(let error): problem = error.text
            }
            next = candidate.ai_next
        }
        throw .unreachable("\(address.host):\(address.port): \(problem)")
    }

    deinit { close() }

    private let noSignal = Int32(MSG_NOSIGNAL)

    func close() {
        if descriptor >= 0 { _ = Glibc.close(descriptor) }
        descriptor = -1
    }

    private struct Problem: Error {
        let text: String
        init(_ code: Int32) { text = String(cString: strerror(code)) }
    }

    private static func connect(
        _ candidate: addrinfo, _ deadline: Int64
    ) -> Result<Int32, Problem> {
        let flags = Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let made = socket(candidate.ai_family, candidate.ai_socktype | flags, 0)
        guard made >= 0 else { return .failure(Problem(errno)) }
        var one: Int32 = 1
        setsockopt(made, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(4))
        setsockopt(made, SOL_SOCKET, SO_KEEPALIVE, &one, socklen_t(4))
        var code: Int32 = 0
        if Glibc.connect(made, candidate.ai_addr, candidate.ai_addrlen) != 0 {
            code = errno
            if code == EINPROGRESS {
                code = wait(made, POLLOUT, Int(max(0, deadline - nowMs()))) ? 0 : ETIMEDOUT
                var size = socklen_t(4)
                if code == 0 { getsockopt(made, SOL_SOCKET, SO_ERROR, &code, &size) }
            }
        }
        guard code != 0 else { return .success(made) }
        _ = Glibc.close(made)
        return .failure(Problem(code))
    }

    private static func nowMs() -> Int64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
    }

    /// - Returns: whether it is ready, or broken, in time.
    private static func wait(_ descriptor: Int32, _ events: Int32, _ timeoutMs: Int) -> Bool {
        let deadline = nowMs() + Int64(timeoutMs)
        while true {
            var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
            let ready = poll(&entry, 1, Int32(clamping: max(0, deadline - nowMs())))
            if ready > 0 { return true }
            if ready == 0 || errno != EINTR { return false }
        }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws(RedisError) -> Int {
        guard descriptor >= 0 else { throw .unreachable("the connection is closed") }
        while true {
            // SAFETY: at most the buffer's size is written.
            let count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
            if count > 0 { return count }
            if count == 0 { throw .unreachable("it closed the connection") }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                guard Self.wait(descriptor, POLLIN, timeoutMs) else {
                    throw .unreachable("no answer within \(timeoutMs) ms")
                }
            default: throw .unreachable(Problem(errno).text)
            }
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws(RedisError) {
        guard descriptor >= 0 else { throw .unreachable("the connection is closed") }
        var rest = bytes
        while !rest.isEmpty {
            // SAFETY: at most the buffer's size is read. Without a signal where nobody listens.
            let count = send(descriptor, rest.baseAddress, rest.count, noSignal)
            if count > 0 {
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                guard Self.wait(descriptor, POLLOUT, timeoutMs) else {
                    throw .unreachable("it takes nothing for \(timeoutMs) ms")
                }
            default: throw .unreachable(Problem(errno).text)
            }
        }
    }
}
