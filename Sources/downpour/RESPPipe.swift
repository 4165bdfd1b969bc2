import Glibc

/// A blocking-free RESP connection for generating load: commands go out in runs, replies come
/// back in order.
struct RESPPipe: ~Copyable {
    struct Failure: Error, CustomStringConvertible { let description: String }

    /// One reply, flat: grabs, reservations and outcomes are all such arrays.
    struct Reply {
        var text = ""
        var numbers: [Int64] = []
        var second = ""
        var isError = false

        /// The same is to be sent again: nothing was applied, or nobody knows.
        var saysTryAgain: Bool {
            isError && (text.hasPrefix("TRYAGAIN ") || text.hasPrefix("UNKNOWN "))
        }
    }

    let descriptor: Int32
    private var output: [UInt8] = []
    private var sent = 0
    private var input: [UInt8] = []
    private var parsed = 0

    init(host: String, port: UInt16) throws {
        guard let descriptor = Self.dial(host, port) else {
            throw Failure(description: "cannot connect to \(host):\(port)")
        }
        self.descriptor = descriptor
    }

    /// A connected socket that blocks no more.
    private static func dial(_ host: String, _ port: UInt16) -> Int32? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        inet_pton(AF_INET, host, &address.sin_addr)
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            close(descriptor)
            return nil
        }
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        var one: Int32 = 1
        setsockopt(
            descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one,
            socklen_t(MemoryLayout<Int32>.size))
        return descriptor
    }

    deinit { close(descriptor) }

    var hasOutput: Bool { sent < output.count }

    mutating func append(_ command: String) {
        output.append(contentsOf: command.utf8)
        output.append(13)
        output.append(10)
    }

    /// Writes what the socket takes.
    mutating func flush() throws {
        while sent < output.count {
            let count = output.withUnsafeBytes {
                send(descriptor, $0.baseAddress! + sent, output.count - sent, Int32(MSG_NOSIGNAL))
            }
            if count < 0 {
                if errno == EAGAIN { return }
                throw Failure(description: "the node closed the connection")
            }
            sent += count
        }
        output.removeAll(keepingCapacity: true)
        sent = 0
    }

    /// Reads what has come.
    mutating func fill() throws {
        if parsed > 0 {
            input.removeFirst(parsed)
            parsed = 0
        }
        while true {
            let before = input.count
            let room = 65_536
            input.append(contentsOf: repeatElement(0, count: room))
            let count = input.withUnsafeMutableBytes {
                recv(descriptor, $0.baseAddress! + before, room, 0)
            }
            input.removeLast(room - max(0, count))
            if count == 0 { throw Failure(description: "the node closed the connection") }
            if count < 0 {
                if errno == EAGAIN { return }
                throw Failure(description: "cannot read from the node")
            }
            if count < room { return }
        }
    }

    /// The next complete reply; nil where there is none yet.
    mutating func next() -> Reply? {
        let start = parsed
        var reply = Reply()
        guard let head = line() else {
            parsed = start
            return nil
        }
        if head.kind == UInt8(ascii: "-") || head.kind == UInt8(ascii: "+") {
            reply.text = head.text
            reply.isError = head.kind == UInt8(ascii: "-")
            return reply
        }
        guard head.kind == UInt8(ascii: "*") else {
            reply.isError = true
            reply.text = "unexpected reply"
            return reply
        }
        for item in 0..<head.number {
            guard let value = line() else {
                parsed = start
                return nil
            }
            switch value.kind {
            case UInt8(ascii: ":"): reply.numbers.append(value.number)
            case UInt8(ascii: "$") where value.number >= 0:
                let end = parsed + Int(value.number)
                guard end + 2 <= input.count else {
                    parsed = start
                    return nil
                }
                let text = String(decoding: input[parsed..<end], as: UTF8.self)
                if item == 0 { reply.text = text } else { reply.second = text }
                parsed = end + 2
            default: reply.numbers.append(-1)
            }
        }
        return reply
    }

    private mutating func line() -> (kind: UInt8, number: Int64, text: String)? {
        var end = parsed
        while end + 1 < input.count && !(input[end] == 13 && input[end + 1] == 10) { end += 1 }
        guard end + 1 < input.count else { return nil }
        let kind = input[parsed]
        var number: Int64 = 0
        var text = ""
        if kind == UInt8(ascii: "-") || kind == UInt8(ascii: "+") {
            text = String(decoding: input[(parsed + 1)..<end], as: UTF8.self)
        } else {
            var isNegative = false
            for byte in input[(parsed + 1)..<end] {
                if byte == UInt8(ascii: "-") {
                    isNegative = true
                } else {
                    number = number * 10 + Int64(byte &- 48)
                }
            }
            if isNegative { number = -number }
        }
        parsed = end + 2
        return (kind, number, text)
    }
}
