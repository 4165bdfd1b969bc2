import ArgumentParser
import EdgeTypes
import Foundation
import Glibc

/// One command that shows the whole thing: a node, a rain, a sale, a crowd, the audit.
struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Start a node, let a crowd loose on a rain and a sale, audit the result.")

    @Option(help: "Nodes. One for now.") var nodes = 1
    @Option(help: "Users who grab.") var users = 1_000_000
    @Option(help: "Packets of the rain.") var packets: Int64 = 500_000
    @Option(help: "Fen in the rain.") var amount: Int64 = 1_000_000_000
    @Option(help: "Units of the sale.") var units: Int64 = 1_000
    @Option(help: "The store (sqlite:PATH); otherwise in the demo's own directory.")
    var store: String?
    @Option(help: "A Redis to mirror to.") var redis: String?
    @Flag(help: "Keep the data directory.") var keep = false
    @Flag(help: "Print one JSON document.") var json = false

    private static let price: Int64 = 19_900

    func validate() throws {
        guard nodes == 1 else { throw ValidationError("--nodes: one node for now") }
        guard redis == nil else { throw ValidationError("--redis: this build has no mirror yet") }
        guard users >= 1, users <= 20_000_000 else {
            throw ValidationError("--users: 1 to 20000000")
        }
        guard packets >= 1, amount >= packets, units >= 1 else {
            throw ValidationError("--packets, --amount and --units: at least 1, a fen a packet")
        }
    }

    func run() async throws {
        let place = FileManager.default.temporaryDirectory
            .appendingPathComponent("downpour-demo-\(ProcessInfo.processInfo.processIdentifier)")
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        defer { if !keep { try? FileManager.default.removeItem(at: place) } }
        let node = try await DemoNode.start(in: place, store: store)
        defer { node.kill() }
        let result: DemoResult
        do { result = try await play(node) } catch {
            Console.note(node.log)
            throw error
        }
        try await node.stop()
        if json {
            let data = try JSONSerialization.data(
                withJSONObject: result.document, options: [.sortedKeys, .prettyPrinted])
            Console.say(String(decoding: data, as: UTF8.self))
        } else {
            Console.say(result.text)
            if keep { Console.say("\nkept: \(place.path)") }
        }
        guard result.holds else { throw Exit.failed }
    }

    private func play(_ node: DemoNode) async throws -> DemoResult {
        let client = AdminClient(base: "http://\(node.admin)")
        _ = try await client.require(
            "POST", "/v1/rains", ["id": "demo-rain", "amount": amount, "count": packets])
        _ = try await client.require(
            "POST", "/v1/stock", ["sku": "demo-sku", "units": units, "price": Self.price])
        Console.note("\(users) users are coming for \(packets) packets and \(units) units …")
        let buyers = min(Int(units) * 5, 100_000)
        let load = try await node.crowd([
            "load-worker", "--resp", node.resp, "--rain", "demo-rain", "--sku", "demo-sku",
            "--users", "\(users)", "--buyers", "\(buyers)", "--price", "\(Self.price)",
        ])
        Console.note("closing the rain; the store catches up …")
        _ = try await client.require("POST", "/v1/rains/demo-rain/close")
        try await drain(client)
        let rain = try await client.require("GET", "/v1/rains/demo-rain")
        let sale = try await client.require("GET", "/v1/stock/demo-sku")
        Console.note("verifying every amount, auditing …")
        let verdict = try await RainVerify.verify("demo-rain", client)
        let audit = try await client.require("POST", "/v1/audit", timeoutSeconds: 600)
        return DemoResult(
            users: users, packets: packets, amountFen: amount, units: units, price: Self.price,
            load: load, rain: rain, sale: sale, verdict: verdict, audit: audit)
    }

    private func drain(_ client: AdminClient) async throws {
        for _ in 0..<1_200 {
            let status = try await client.require("GET", "/v1/status")
            if status.integer("lagEntries") == 0 { return }
            try await Task.sleep(for: .milliseconds(100))
        }
        Console.note("downpour demo: the store did not catch up within two minutes")
        throw Exit.failed
    }
}

/// The demo's node: this same executable, as a process of its own.
final class DemoNode: Sendable {
    let http: String
    let resp: String
    let admin: String
    private let process: Process
    private let directory: URL

    private init(_ process: Process, _ directory: URL, _ ready: [String: Any]) {
        self.process = process
        self.directory = directory
        http = ready["http"] as? String ?? ""
        resp = ready["resp"] as? String ?? ""
        admin = ready["admin"] as? String ?? ""
    }

    private static var executable: URL {
        URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    }

    static func start(in directory: URL, store: String?) async throws -> DemoNode {
        let process = Process()
        process.executableURL = executable
        let readyFile = directory.appendingPathComponent("ready.json")
        process.arguments = [
            "node", "--name", "demo-1", "--data", directory.appendingPathComponent("data").path,
            "--http", "127.0.0.1:0", "--resp", "127.0.0.1:0", "--admin", "127.0.0.1:0",
            "--ready-file", readyFile.path, "--drain", "0s",
        ]
        var environment = ProcessInfo.processInfo.environment
        for key in environment.keys where key.hasPrefix("DOWNPOUR_") { environment[key] = nil }
        if let store { environment["DOWNPOUR_STORE_URL"] = store }
        process.environment = environment
        let logPath = directory.appendingPathComponent("node.log").path
        _ = FileManager.default.createFile(atPath: logPath, contents: nil)
        process.standardError = FileHandle(forWritingAtPath: logPath)
        try process.run()
        for _ in 0..<600 {
            if let data = try? Data(contentsOf: readyFile),
                let ready = try? JSONSerialization.jsonObject(with: data) as? [String: Any]
            {
                return DemoNode(process, directory, ready)
            }
            guard process.isRunning else { break }
            try await Task.sleep(for: .milliseconds(50))
        }
        Console.note((try? String(contentsOfFile: logPath, encoding: .utf8)) ?? "")
        Console.note("downpour demo: the node did not start")
        if process.isRunning { process.terminate() }
        throw Exit.unreachable
    }

    var log: String {
        let path = directory.appendingPathComponent("node.log").path
        return (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    }

    /// Runs the crowd to its end.
    func crowd(_ arguments: [String]) async throws -> [String: Any] {
        let worker = Process()
        worker.executableURL = Self.executable
        worker.arguments = arguments
        let pipe = Pipe()
        worker.standardOutput = pipe
        try worker.run()
        let data = try await Task.detached { try pipe.fileHandleForReading.readToEnd() }.value
        worker.waitUntilExit()
        guard worker.terminationStatus == 0, let data,
            let report = try JSONSerialization.jsonObject(with: data) as? [String: Any]
        else {
            Console.note("downpour demo: the crowd failed")
            throw Exit.failed
        }
        return report
    }

    /// SIGTERM, and its clean end.
    func stop() async throws {
        process.terminate()
        await Task.detached { [process] in process.waitUntilExit() }.value
        guard process.terminationStatus == 0 else {
            Console.note(log)
            Console.note("downpour demo: the node ended with \(process.terminationStatus)")
            throw Exit.failed
        }
    }

    func kill() {
        if process.isRunning { Glibc.kill(process.processIdentifier, SIGKILL) }
    }
}
