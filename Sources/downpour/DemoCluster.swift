import EdgeServer
import Foundation
import Glibc

/// The demo's nodes: this same executable, as processes of their own, one cluster where there are
/// several.
final class DemoCluster {
    let nodes: [DemoNode]
    /// nil: a node on its own.
    let topology: String?
    /// The store that all nodes fill.
    let storeURL: String

    private init(_ nodes: [DemoNode], _ topology: String?, _ storeURL: String) {
        self.nodes = nodes
        self.topology = topology
        self.storeURL = storeURL
    }

    /// Starts them all, and waits until they serve and reach each other.
    static func start(
        _ count: Int, in directory: URL, store: String?, redis: String?
    ) async throws -> DemoCluster {
        let names = (1...count).map { "demo-\($0)" }
        let storeURL = store ?? "sqlite:" + directory.appendingPathComponent("store.sqlite").path
        var environment = ProcessInfo.processInfo.environment
        for key in environment.keys where key.hasPrefix("DOWNPOUR_") { environment[key] = nil }
        environment["DOWNPOUR_STORE_URL"] = storeURL
        environment["DOWNPOUR_REDIS_URL"] = redis
        var topology: String?
        if count > 1 {
            let path = directory.appendingPathComponent("topology.yaml").path
            try topologyText(names).write(toFile: path, atomically: true, encoding: .utf8)
            topology = path
            environment["DOWNPOUR_TOPOLOGY"] = path
            environment["DOWNPOUR_CLUSTER_KEY"] = (0..<32).map { _ in
                String(format: "%02x", UInt8.random(in: .min ... .max))
            }.joined()
        }
        let nodes = names.map { name in
            var environment = environment
            if topology == nil {
                for listener in ["HTTP", "RESP", "ADMIN"] {
                    environment["DOWNPOUR_\(listener)"] = "127.0.0.1:0"
                }
            }
            return DemoNode(
                name, directory: directory.appendingPathComponent(name), environment: environment)
        }
        let cluster = DemoCluster(nodes, topology, storeURL)
        do {
            for node in nodes { try node.launch() }
            for node in nodes { try await node.waitUntilReady() }
            try await cluster.waitUntilLinked()
        } catch {
            cluster.kill()
            throw error
        }
        return cluster
    }

    /// Each node in a zone of its own, on ports that are free.
    private static func topologyText(_ names: [String]) throws -> String {
        var ports = freePorts(names.count * 4)[...]
        guard ports.count == names.count * 4 else {
            Console.note("downpour demo: no free ports on 127.0.0.1")
            throw Exit.unreachable
        }
        var text = """
            version: 1
            cluster: demo
            shards: 64
            replicas: 2
            arbiter: store
            regions:
              - name: here
                nodes:

            """
        for name in names {
            let own = Array(ports.prefix(4))
            ports = ports.dropFirst(4)
            text += "      - {name: \(name), zone: \(name), host: 127.0.0.1, http: \(own[0]), "
            text += "resp: \(own[1]), bus: \(own[2]), admin: \(own[3])}\n"
        }
        return text
    }

    /// Ports that nobody has now, below those that the kernel gives to connections.
    private static func freePorts(_ count: Int) -> [Int] {
        var held: [Int32] = []
        defer { for descriptor in held { close(descriptor) } }
        var found: [Int] = []
        let first = Int.random(in: 20_000..<30_000)
        for port in first..<(first + 2_000) where found.count < count {
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            guard descriptor >= 0 else { return [] }
            held.append(descriptor)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = UInt16(port).bigEndian
            inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
            let result = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            if result == 0 { found.append(port) }
        }
        return found
    }

    /// Every node that runs sees every other one that runs, alive and linked, and every shard has
    /// two copies.
    func waitUntilLinked() async throws {
        guard topology != nil else { return }
        for _ in 0..<600 {
            if try await areLinked() { return }
            try await Task.sleep(for: .milliseconds(20))
        }
        Console.note("downpour demo: the nodes did not find each other")
        throw Exit.unreachable
    }

    private func areLinked() async throws -> Bool {
        let running = nodes.filter(\.isRunning)
        for node in running {
            let status = try await node.client.send("GET", "/v1/cluster")
            let members = status["nodes"] as? [[String: Any]] ?? []
            let isWhole = running.allSatisfy { other in
                members.contains { $0["name"] as? String == other.name && ClusterStatus.isWell($0) }
            }
            guard isWhole, status.integer("short") == 0 else { return false }
        }
        return true
    }

    /// Runs the crowd to its end.
    ///
    /// - Parameter halfway: called in another thread when half of the users have come.
    func crowd(
        _ arguments: [String], halfway: @escaping @Sendable () -> Void
    ) async throws -> [String: Any] {
        let worker = Process()
        worker.executableURL = DemoNode.executable
        worker.arguments = arguments
        let pipe = Pipe()
        worker.standardOutput = pipe
        try worker.run()
        let output = pipe.fileHandleForReading
        let data = await Task.detached {
            var data = Data()
            let mark = Data((LoadWorker.halfway + "\n").utf8)
            while case let more = output.availableData, !more.isEmpty {
                data += more
                guard data.starts(with: mark) else { continue }
                data = Data(data.dropFirst(mark.count))
                halfway()
            }
            return data
        }.value
        worker.waitUntilExit()
        guard worker.terminationStatus == 0,
            let report = try JSONSerialization.jsonObject(with: data) as? [String: Any]
        else {
            Console.note("downpour demo: the crowd failed")
            throw Exit.failed
        }
        return report
    }

    /// SIGTERM to all that run, and their clean ends.
    func stop() async throws {
        let running = nodes.filter(\.isRunning)
        for node in running { node.terminate() }
        for node in running { try await node.waitForCleanEnd() }
    }

    func kill() { for node in nodes { node.kill() } }

    var log: String { nodes.map(\.log).joined() }
}

/// One process of the demo. It may be started again.
final class DemoNode: @unchecked Sendable {
    // SAFETY: used by one task at a time.
    let name: String
    private let directory: URL
    private let environment: [String: String]
    private var process = Process()
    private var ready: [String: Any] = [:]

    init(_ name: String, directory: URL, environment: [String: String]) {
        self.name = name
        self.directory = directory
        self.environment = environment
    }

    static var executable: URL {
        URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    }

    var data: String { directory.appendingPathComponent("data").path }
    var resp: String { ready["resp"] as? String ?? "" }
    var client: AdminClient { AdminClient(base: "http://\(ready["admin"] as? String ?? "")") }
    var isRunning: Bool { process.isRunning }

    func launch() throws {
        let files = FileManager.default
        try files.createDirectory(at: directory, withIntermediateDirectories: true)
        try? files.removeItem(at: readyFile)
        process = Process()
        process.executableURL = Self.executable
        process.arguments = [
            "node", "--name", name, "--data", data, "--ready-file", readyFile.path, "--drain", "0s",
        ]
        process.environment = environment
        if !files.fileExists(atPath: logPath) {
            _ = files.createFile(atPath: logPath, contents: nil)
        }
        let output = FileHandle(forWritingAtPath: logPath)
        _ = try output?.seekToEnd()
        process.standardError = output
        try process.run()
    }

    func waitUntilReady() async throws {
        for _ in 0..<3_000 {
            if let data = try? Data(contentsOf: readyFile),
                let fields = try? JSONSerialization.jsonObject(with: data) as? [String: Any]
            {
                ready = fields
                return
            }
            guard process.isRunning else { break }
            try await Task.sleep(for: .milliseconds(10))
        }
        Console.note(log)
        Console.note("downpour demo: \(name) did not start")
        throw Exit.unreachable
    }

    private var readyFile: URL { directory.appendingPathComponent("ready.json") }
    private var logPath: String { directory.appendingPathComponent("node.log").path }

    /// What it wrote, and how it ended where nobody asked it to.
    var log: String {
        let text = (try? String(contentsOfFile: logPath, encoding: .utf8)) ?? ""
        guard !process.isRunning, process.terminationStatus != 0 else { return text }
        return text + "\(name) ended with \(process.terminationStatus)\n"
    }

    func terminate() { process.terminate() }

    func waitForCleanEnd() async throws {
        await Task.detached { [process] in process.waitUntilExit() }.value
        guard process.terminationStatus == 0 else {
            Console.note(log)
            Console.note("downpour demo: \(name) ended with \(process.terminationStatus)")
            throw Exit.failed
        }
    }

    /// kill -9, as a crash of the process.
    func kill() {
        guard process.isRunning else { return }
        Glibc.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }
}
