import COpenSSL
import EdgeReconciler

/// A Lua script, known to Redis by the SHA-1 of its text.
package struct LuaScript: Sendable {
    package let source: String
    package let sha1: String

    package init(_ source: String) {
        self.source = source
        var digest = [UInt8](repeating: 0, count: 20)
        let bytes = Array(source.utf8)
        // SAFETY: SHA-1 has 20 bytes.
        _ = SHA1(bytes, bytes.count, &digest)
        sha1 = digest.map { byte in
            let text = String(byte, radix: 16)
            return byte < 16 ? "0" + text : text
        }.joined()
    }
}

/// A connection to a Redis, on which every call blocks: for a thread of its own.
///
/// Once a call has failed as `unreachable` or `malformed` the connection is of no more use.
package final class RedisConnection: RedisLink {
    /// Commands that are sent before answers are read: neither side's buffers grow beyond it.
    private static let inFlightBytes = 1 << 20
    private static let readBytes = 64 << 10

    package let address: RedisAddress
    /// Changes whenever the server's process does.
    package let runID: String
    /// It evicts keys that have no expiry once its memory is full.
    package let evictsAnything: Bool
    private let transport: any RedisTransport
    private let reader = RedisReplyReader()
    private var buffer = [UInt8](repeating: 0, count: readBytes)

    /// Connects, and shows who asks.
    ///
    /// - Parameter name: what `CLIENT LIST` shows.
    package init(_ address: RedisAddress, name: String) throws(RedisError) {
        self.address = address
        let socket = try RedisSocket(address)
        transport = address.isTLS ? try RedisTLS(socket, address) : socket
        var hello: [RedisCommand] = []
        if let password = address.password {
            if let user = address.user {
                hello.append(RedisCommand("AUTH", user, password))
            } else {
                hello.append(RedisCommand("AUTH", password))
            }
        }
        if address.database != 0 { hello.append(RedisCommand("SELECT", "\(address.database)")) }
        hello.append(RedisCommand("CLIENT", "SETNAME", name))
        hello.append(RedisCommand("INFO", "memory"))
        hello.append(RedisCommand("INFO", "server"))
        let answers = try Self.exchange(hello, transport, reader, &buffer)
        for answer in answers {
            if case .error(let text) = answer { throw RedisError(answer: text) }
        }
        let facts = Self.facts(answers.last?.text ?? "")
        guard facts["redis_mode"] != "cluster" else { throw .unsupported(RedisError.noCluster) }
        let version = (facts["redis_version"] ?? "").split(separator: ".").compactMap { Int($0) }
        guard version.count >= 2, (version[0], version[1]) >= (6, 2) else {
            throw .unsupported(
                "Redis \(facts["redis_version"] ?? "?") is too old: streams need 6.2 or later")
        }
        runID = facts["run_id"] ?? ""
        let memory = Self.facts(answers[answers.count - 2].text ?? "")
        evictsAnything =
            memory["maxmemory"] != "0"
            && memory["maxmemory_policy"]?.hasPrefix("allkeys") == true
    }

    deinit { close() }

    package func close() { transport.close() }

    private static func facts(_ info: String) -> [String: String] {
        var found: [String: String] = [:]
        for line in info.split(whereSeparator: \.isNewline) {
            let pair = line.split(separator: ":", maxSplits: 1)
            if pair.count == 2 { found[String(pair[0])] = String(pair[1]) }
        }
        return found
    }

    /// Sends commands one after the other and returns their answers, errors among them, in order.
    package func send(_ commands: [RedisCommand]) throws(RedisError) -> [RedisValue] {
        try Self.exchange(commands, transport, reader, &buffer)
    }

    /// Each by its text, read once.
    private static let scripts: [RedisScript: LuaScript] = Dictionary(
        uniqueKeysWithValues: RedisScript.allCases.map { ($0, LuaScript($0.source)) })

    package func run(
        _ script: RedisScript, _ arguments: RedisCommand
    ) throws(RedisError) -> RedisValue {
        guard let text = Self.scripts[script] else { preconditionFailure("all are there") }
        return try run(text, arguments)
    }

    /// Runs a script, which Redis is given where it does not know it.
    package func run(
        _ script: LuaScript, _ arguments: RedisCommand = RedisCommand()
    ) throws(RedisError) -> RedisValue {
        var command = RedisCommand("EVALSHA", script.sha1, "0")
        command.append(contentsOf: arguments)
        let answers = try send([command])
        guard case .error(let text) = answers[0] else { return answers[0] }
        guard text.hasPrefix("NOSCRIPT") else { throw RedisError(answer: text) }
        try call("SCRIPT", "LOAD", script.source)
        return try call(command)
    }

    private static func exchange(
        _ commands: [RedisCommand], _ transport: any RedisTransport, _ reader: RedisReplyReader,
        _ buffer: inout [UInt8]
    ) throws(RedisError) -> [RedisValue] {
        var answers: [RedisValue] = []
        answers.reserveCapacity(commands.count)
        var next = 0
        while next < commands.count {
            var out: [UInt8] = []
            var sent = 0
            while next + sent < commands.count, sent == 0 || out.count < inFlightBytes {
                commands[next + sent].encode(into: &out)
                sent += 1
            }
            next += sent
            try write(out, transport)
            while answers.count < next {
                if let answer = try reader.next() {
                    answers.append(answer)
                } else {
                    try read(transport, reader, &buffer)
                }
            }
        }
        return answers
    }

    private static func write(
        _ bytes: [UInt8], _ transport: any RedisTransport
    ) throws(RedisError) {
        do {
            try bytes.withUnsafeBytes { try transport.write($0) }
        } catch let error as RedisError {
            transport.close()
            throw error
        } catch {
            throw .unreachable("\(error)")
        }
    }

    private static func read(
        _ transport: any RedisTransport, _ reader: RedisReplyReader, _ buffer: inout [UInt8]
    ) throws(RedisError) {
        do {
            let count = try buffer.withUnsafeMutableBytes { try transport.read(into: $0) }
            try buffer.withUnsafeBytes { raw in
                try reader.feed(UnsafeRawBufferPointer(rebasing: raw[..<count]))
            }
        } catch let error as RedisError {
            transport.close()
            throw error
        } catch {
            throw .unreachable("\(error)")
        }
    }
}
