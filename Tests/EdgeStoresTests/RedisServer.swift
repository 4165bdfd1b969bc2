import EdgeReconciler
import EdgeStores
import Foundation
import Glibc
import Testing

/// A redis-server on a free loopback port with a directory of its own; it goes with the test.
final class RedisServer {
    let directory: Scratch
    let port: UInt16
    private let arguments: [String]
    private var process: Process?

    /// - Parameter arguments: as on redis-server's command line.
    init(_ arguments: String...) throws {
        directory = try Scratch()
        var found = try Self.freePort()
        // A cluster's bus is 10,000 above.
        while found > 55_000 { found = try Self.freePort() }
        port = found
        self.arguments = arguments
        try start()
    }

    deinit { kill() }

    static func freePort() throws -> UInt16 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                bind(descriptor, raw, size) == 0 && getsockname(descriptor, raw, &size) == 0
            }
        }
        try #require(bound)
        return UInt16(bigEndian: address.sin_port)
    }

    /// With TLS, the plain port is another.
    var usesTLS: Bool { arguments.contains("--tls-port") }

    func start() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/redis-server")
        let ports =
            usesTLS
            ? ["--port", "0"] : ["--port", "\(port)"]
        process.arguments =
            ports + ["--bind", "127.0.0.1", "--dir", directory.path, "--save", "", "--loglevel"]
            + ["warning", "--repl-diskless-sync-delay", "0"]
            + arguments.map { $0.replacingOccurrences(of: "PORT", with: "\(port)") }
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        self.process = process
        try eventually("redis-server answers") {
            // A port that nobody listens on may connect to itself sooner or later.
            try #require(process.isRunning, "redis-server has ended")
            return Self.listens(port)
        }
    }

    private static func listens(_ port: UInt16) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                Glibc.connect(descriptor, raw, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }

    /// As kill -9 does.
    func kill() {
        guard let process, process.isRunning else { return }
        Glibc.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    func signal(_ number: Int32) {
        if let process { Glibc.kill(process.processIdentifier, number) }
    }

    func restart() throws {
        kill()
        try start()
    }

    var url: String { "redis://127.0.0.1:\(port)" }

    var address: RedisAddress { get throws { try RedisAddress(url) } }

    func connect(name: String = "test") throws -> RedisConnection {
        try RedisConnection(try address, name: name)
    }
}

extension RedisConnection {
    /// A hash, as text.
    func hash(_ key: String) throws -> [String: String] {
        try call("HGETALL", key).pairs.compactMapValues(\.text)
    }

    /// The fields of a stream's entries, in order.
    func stream(_ key: String) throws -> [[String: String]] {
        try call("XRANGE", key, "-", "+").array.map { entry in
            entry.array[1].pairs.compactMapValues(\.text)
        }
    }

    func integer(_ words: String...) throws -> Int64 {
        var command = RedisCommand()
        for word in words { command.append(word) }
        return try call(command).integer ?? -1
    }
}

extension RedisServer {
    /// A follower of some rows, which has begun.
    func follow(
        _ rows: MemoryRows, _ settings: RedisSettings = quickSettings()
    ) throws -> RedisFollower {
        let follower = RedisFollower(
            try address, settings: settings, openSource: { rows.source() })
        follower.start()
        return follower
    }
}
