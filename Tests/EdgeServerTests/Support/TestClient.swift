import Glibc
import NIOCore

/// A blocking socket with a deadline: ten seconds for anything to come.
final class TestClient {
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    private let descriptor: Int32
    private var buffer: [UInt8] = []

    init(port: Int, receiveBuffer: Int32? = nil) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        if var size = receiveBuffer {
            setsockopt(
                descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        var one: Int32 = 1
        setsockopt(
            descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: port)
        let result = address.withSockAddr { connect(descriptor, $0, socklen_t($1)) }
        guard result == 0 else { throw Failure(description: "connect: \(errno)") }
    }

    deinit { close(descriptor) }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure(description: "send: \(errno)") }
            sent += count
        }
    }

    /// Sends what the socket takes without blocking.
    ///
    /// - Returns: false once the peer is gone; nil where nothing more fits.
    func offer(_ bytes: [UInt8]) -> Bool? {
        let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
        let count = bytes.withUnsafeBytes {
            Glibc.send(descriptor, $0.baseAddress, $0.count, flags)
        }
        if count > 0 { return true }
        return errno == EAGAIN ? nil : false
    }

    func endOutput() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// - Returns: false at the end of the stream.
    private func fill() throws -> Bool {
        var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard Glibc.poll(&poll, 1, 10_000) == 1 else {
            throw Failure(
                description: "nothing came; have \(String(decoding: buffer, as: UTF8.self))")
        }
        var chunk = [UInt8](repeating: 0, count: 65_536)
        let count = recv(descriptor, &chunk, chunk.count, 0)
        guard count > 0 else { return false }
        buffer.append(contentsOf: chunk[0..<count])
        return true
    }

    /// Whether anything comes within `ms`.
    func hasInput(withinMs ms: Int32) -> Bool {
        if !buffer.isEmpty { return true }
        var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return Glibc.poll(&poll, 1, ms) == 1
    }

    func read(_ count: Int) throws -> String {
        while buffer.count < count {
            guard try fill() else { throw Failure(description: "closed early") }
        }
        let text = String(decoding: buffer[0..<count], as: UTF8.self)
        buffer.removeFirst(count)
        return text
    }

    /// A line without its end.
    func line() throws -> String {
        while true {
            if let end = buffer.firstIndex(of: 0x0a) {
                let text = String(decoding: buffer[0..<end], as: UTF8.self)
                buffer.removeFirst(end + 1)
                return text.hasSuffix("\r") ? String(text.dropLast()) : text
            }
            guard try fill() else { throw Failure(description: "closed early") }
        }
    }

    func expect(_ text: String) throws {
        let got = try read(text.utf8.count)
        guard got == text else { throw Failure(description: "got \(got) for \(text)") }
    }

    /// Everything until the peer closes.
    func rest() throws -> String {
        while try fill() {}
        defer { buffer = [] }
        return String(decoding: buffer, as: UTF8.self)
    }

    /// One RESP value, as a flat text: arrays in brackets.
    func value() throws -> String {
        let head = try line()
        let rest = String(head.dropFirst())
        switch head.first {
        case "$":
            guard let size = Int(rest), size >= 0 else { return "nil" }
            let text = try read(size)
            try expect("\r\n")
            return text
        case "*", "%":
            guard let count = Int(rest), count >= 0 else { return "nil" }
            var items: [String] = []
            for _ in 0..<(head.first == "%" ? 2 * count : count) { items.append(try value()) }
            return (head.first == "%" ? "%" : "") + "[" + items.joined(separator: " ") + "]"
        case ":": return rest
        case "_": return "nil"
        default: return head
        }
    }

    func command(_ line: String) throws -> String {
        try send(line + "\r\n")
        return try value()
    }

    struct Response {
        var status: Int
        var headers: [String: String]
        var body: String
    }

    /// One HTTP answer.
    func response(isHead: Bool = false) throws -> Response {
        let status = try line().split(separator: " ")
        guard status.count >= 2, let code = Int(status[1]) else {
            throw Failure(description: "not a status line: \(status)")
        }
        var headers: [String: String] = [:]
        while true {
            let line = try line()
            if line.isEmpty { break }
            let colon = line.firstIndex(of: ":") ?? line.endIndex
            headers[line[..<colon].lowercased()] = String(line[colon...].dropFirst(2))
        }
        let size = isHead ? 0 : Int(headers["content-length"] ?? "0") ?? 0
        return Response(status: code, headers: headers, body: try read(size))
    }

    func request(_ text: String) throws -> Response {
        try send(text)
        return try response(isHead: text.hasPrefix("HEAD"))
    }
}
