import EdgeReconciler
import Foundation
import Synchronization

@testable import EdgeStores

/// A real mariadbd on a free loopback port and a socket, with a directory of its own. It ends with
/// the tests' process, however that ends: a shell holds it, and lets go when its pipe closes.
final class MariaServer: @unchecked Sendable {
    // SAFETY: `state` is behind a lock, the rest never changes.
    let port: UInt16
    let directory: String
    private struct State {
        var holder: Process
        var pipe: Pipe
        var pid: pid_t
    }
    private let state: Mutex<State?> = Mutex(nil)
    private let count = Mutex(0)

    struct Problem: Error, CustomStringConvertible { let description: String }

    /// One for all suites: no test stops it.
    static let shared = Result { try MariaServer() }

    var socket: String { directory + "/sock" }
    var authorityFile: String { directory + "/tls/ca.pem" }
    static let user = "down'pour"
    static let password = "p@ss:w/ö%r?d#'\\"

    /// - Parameter data: a data directory to begin with a copy of; nil: an empty one.
    init(copyOf data: String? = nil) throws {
        let parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/var/tmp"
        directory = parent + "/downpour-maria-" + UUID().uuidString.prefix(8)
        port = try Self.freePort()
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true)
        let template = try data ?? Self.template.get()
        try Self.run("/bin/cp", ["-a", template, directory + "/data"])
        try makeCertificates()
        try start()
    }

    deinit { try? stop(removing: true) }

    private static let templatePath =
        NSTemporaryDirectory() + "downpour-maria-template-\(getpid())"

    private static let template = Result {
        guard FileManager.default.isExecutableFile(atPath: "/usr/sbin/mariadbd") else {
            throw Problem(
                description: "these tests need mariadbd: apt-get install mariadb-server "
                    + "(./Tests/run does)")
        }
        let path = templatePath
        atexit { try? FileManager.default.removeItem(atPath: MariaServer.templatePath) }
        try run(
            "/usr/bin/mariadb-install-db",
            [
                "--no-defaults", "--datadir=\(path)", "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ] + asRoot)
        return path
    }

    private static var asRoot: [String] { getuid() == 0 ? ["--user=root"] : [] }

    // MARK: Life

    func start() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        // A line: ends the server; the pipe's end: removes everything too. Not sh: dash waits for a
        // signal that this process has blocked.
        let script = """
            dir=$1; shift
            "$@" >/dev/null 2>&1 &
            pid=$!; echo $pid
            if read _; then kill -9 $pid; wait; else kill -9 $pid; wait; rm -rf "$dir"; fi
            """
        process.arguments =
            [
                "-c", script, "bash", directory, "/usr/sbin/mariadbd", "--no-defaults",
                "--datadir=\(directory)/data", "--tmpdir=\(directory)", "--socket=\(socket)",
                "--port=\(port)",
                "--bind-address=127.0.0.1", "--pid-file=\(directory)/pid",
                "--log-error=\(directory)/log", "--innodb-flush-log-at-trx-commit=1",
                "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=48M",
                "--skip-log-bin", "--max-allowed-packet=4M", "--max-connections=200",
                "--ssl-ca=\(authorityFile)", "--ssl-cert=\(directory)/tls/server.pem",
                "--ssl-key=\(directory)/tls/server.key",
            ] + Self.asRoot
        let input = Pipe()
        let output = Pipe()
        process.standardInput = input
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let line = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
        guard let pid = pid_t(line.trimmingCharacters(in: .newlines)) else {
            throw Problem(description: "mariadbd did not start")
        }
        state.withLock { $0 = State(holder: process, pipe: input, pid: pid) }
        try waitUntilUp()
    }

    private func waitUntilUp() throws {
        let deadline = Date(timeIntervalSinceNow: 60)
        while true {
            do {
                let root = try MySQLConnection.open(root())
                try root.run(
                    """
                    CREATE USER IF NOT EXISTS 'down\\'pour'@'%'
                        IDENTIFIED BY '\(Self.password.replacing("\\", with: "\\\\")
                            .replacing("'", with: "\\'"))'
                    """)
                try root.run("GRANT ALL ON *.* TO 'down\\'pour'@'%'")
                return
            } catch {
                guard Date() < deadline else {
                    let log = (try? String(contentsOfFile: directory + "/log", encoding: .utf8))
                    throw Problem(description: "mariadbd: \(error)\n\(log ?? "")")
                }
                usleep(20_000)
            }
        }
    }

    /// As a machine without power would.
    func kill() {
        state.withLock { held in
            guard let now = held else { return }
            Foundation.kill(now.pid, SIGKILL)
            now.pipe.fileHandleForWriting.write(Data("stop\n".utf8))
            now.holder.waitUntilExit()
            held = nil
        }
    }

    /// Leaves a directory that another server can be a copy of.
    func stopInGoodOrder() throws {
        try MySQLConnection.open(root()).run("SHUTDOWN")
        state.withLock { held in
            guard let now = held else { return }
            // The shell's child: it is gone once the shell has reaped it.
            while Foundation.kill(now.pid, 0) == 0, !Self.isZombie(now.pid) { usleep(5_000) }
            now.pipe.fileHandleForWriting.write(Data("stop\n".utf8))
            now.holder.waitUntilExit()
            held = nil
        }
    }

    private static func isZombie(_ pid: pid_t) -> Bool {
        let text = (try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)) ?? ""
        return text.contains(") Z ") || text.isEmpty
    }

    private func stop(removing: Bool) throws {
        kill()
        if removing { try FileManager.default.removeItem(atPath: directory) }
    }

    // MARK: Addresses

    func root(_ database: String = "mysql") throws -> MySQLAddress {
        try MySQLAddress("mysql://root@/\(database)?socket=\(socket)")
    }

    func url(
        _ database: String, user: String = MariaServer.user,
        password: String = MariaServer.password, _ parameters: String = "", port: UInt16? = nil
    ) -> String {
        "mysql://\(Self.encode(user)):\(Self.encode(password))@127.0.0.1:\(port ?? self.port)/"
            + database + (parameters.isEmpty ? "" : "?" + parameters)
    }

    func address(_ database: String, _ parameters: String = "") throws -> MySQLAddress {
        try MySQLAddress(url(database, parameters))
    }

    /// A database of its own for a test.
    func newDatabase() throws -> String {
        let name = count.withLock { number in
            number += 1
            return "t\(number)"
        }
        try MySQLConnection.open(root()).run("CREATE DATABASE \(name)")
        return name
    }

    private static func encode(_ text: String) -> String {
        text.utf8.map { byte in
            let isPlain = byte < 0x80 && Character(UnicodeScalar(byte)).isLetter
            return isPlain
                ? String(UnicodeScalar(byte)) : "%" + String(Int(byte) + 0x100, radix: 16).suffix(2)
        }.joined()
    }

    // MARK: Helpers

    private func makeCertificates() throws {
        let folder = directory + "/tls"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for name in ["ca", "other"] {
            try Self.run(
                "/usr/bin/openssl",
                [
                    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-days", "2", "-subj", "/CN=\(name)",
                    "-keyout", "\(folder)/\(name).key", "-out", "\(folder)/\(name).pem",
                ])
        }
        try "subjectAltName=DNS:localhost,IP:127.0.0.1\n".write(
            toFile: folder + "/names", atomically: true, encoding: .utf8)
        try Self.run(
            "/usr/bin/openssl",
            [
                "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", "/CN=localhost", "-keyout", "\(folder)/server.key",
                "-out", "\(folder)/server.csr",
            ])
        try Self.run(
            "/usr/bin/openssl",
            [
                "x509", "-req", "-in", "\(folder)/server.csr", "-CA", "\(folder)/ca.pem",
                "-CAkey", "\(folder)/ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", "\(folder)/names", "-out", "\(folder)/server.pem",
            ])
    }

    private static func run(_ path: String, _ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let text = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Problem(description: "\(path): \(String(decoding: text, as: UTF8.self))")
        }
    }

    static func freePort() throws -> UInt16 {
        let descriptor = Foundation.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard isBound else { throw Problem(description: "no free port") }
        return UInt16(bigEndian: address.sin_port)
    }
}

/// Runs SQL as root and gives the first column of the first row.
@discardableResult
func maria(_ server: MariaServer, _ database: String, _ sql: String) throws -> String? {
    let connection = try MySQLConnection.open(server.root(database))
    var found: String?
    try connection.query(sql) { row in
        if found == nil, !row.isNull(0) { found = row.text(0) }
    }
    return found
}
