import ArgumentParser
import EdgeCluster
import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeServer
import EdgeStores
import EdgeTypes
import Foundation
import Synchronization

/// One command that shows the whole thing: nodes, a rain, a sale, a crowd, a crash, the audit.
struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Start nodes, let a crowd loose on a rain and a sale, kill one, audit it all.",
        discussion: """
            With several nodes, each shard has two copies; one node is killed with kill -9 when half \
            of the users have come, and the others take over.
            """)

    @Option(help: "Nodes, one cluster where there are several: 1 to 9.") var nodes = 3
    @Option(help: "Users who grab.") var users = 1_000_000
    @Option(help: "Packets of the rain.") var packets: Int64 = 500_000
    @Option(help: "Fen in the rain.") var amount: Int64 = 1_000_000_000
    @Option(help: "Units of the sale.") var units: Int64 = 1_000
    @Option(
        help: """
            The store: sqlite:PATH, or mysql://USER:PASSWORD@HOST/DATABASE, which must be empty; \
            otherwise in the demo's own directory.
            """)
    var store: String?
    @Option(help: "A Redis to mirror to (redis://HOST:PORT), which must be empty.")
    var redis: String?
    @Flag(help: "Keep the data directory.") var keep = false
    @Flag(help: "Print one JSON document.") var json = false

    private static let price: Int64 = 19_900

    func validate() throws {
        guard (1...9).contains(nodes) else { throw ValidationError("--nodes: 1 to 9") }
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
        try expectEmpty()
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        defer { if !keep { try? FileManager.default.removeItem(at: place) } }
        let cluster = try await DemoCluster.start(nodes, in: place, store: store, redis: redis)
        defer { cluster.kill() }
        var result: DemoResult
        do {
            result = try await play(cluster)
            try await cluster.stop()
            let data = cluster.nodes.map(\.data)
            result.audit = try AuditCommand.audit(
                data[0], data.dropFirst(), store: cluster.storeURL, redis: redis)
        } catch {
            // How a node ended is known a moment after its connections break.
            try? await Task.sleep(for: .milliseconds(200))
            Console.note(cluster.log)
            throw error
        }
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

    /// Pools of another time would be in the way of the demo's own.
    private func expectEmpty() throws {
        guard let store else { return }
        do {
            let url = try StoreURL(store)
            if case .sqlite(let path) = url, !FileManager.default.fileExists(atPath: path) {
                return
            }
            guard try StoreAudit.watermarks(store: url).shards.isEmpty else {
                Console.note("downpour demo: --store holds something already: name an empty one")
                throw Exit.configuration
            }
        } catch StoreError.foreign {
            // It has no tables yet.
        } catch let error as StoreError {
            Console.note("downpour demo: \(error)")
            throw Exit.configuration
        }
    }

    private func play(_ cluster: DemoCluster) async throws -> DemoResult {
        let first = cluster.nodes[0].client
        // Enough for every node to get its part, as far as there are packets for them.
        let slices = nodes == 1 ? 1 : min(packets, Int64(16 * nodes))
        _ = try await first.require(
            "POST", "/v1/rains",
            ["id": "demo-rain", "amount": amount, "count": packets, "slices": slices])
        _ = try await first.require(
            "POST", "/v1/stock", ["sku": "demo-sku", "units": units, "price": Self.price])
        Console.note("\(users) users are coming for \(packets) packets and \(units) units …")
        let buyers = min(Int(units) * 5, 100_000)
        let crash = DemoCrash(nodes > 1 ? cluster.nodes[1] : nil)
        let load = try await cluster.crowd(
            [
                "load-worker", "--resp", cluster.nodes.map(\.resp).joined(separator: ","),
                "--rain", "demo-rain", "--sku", "demo-sku", "--users", "\(users)",
                "--buyers", "\(buyers)", "--price", "\(Self.price)",
            ], halfway: { crash.begin() })
        let crashed = crash.end()
        try await cluster.waitUntilLinked()
        Console.note("closing the rain; the store catches up …")
        _ = try await first.require("POST", "/v1/rains/demo-rain/close")
        let rain = try await first.require("GET", "/v1/rains/demo-rain")
        let shares = try await drain(cluster, claims: rain.integer("granted") ?? 0)
        let sale = try await first.require("GET", "/v1/stock/demo-sku")
        Console.note("verifying every amount, auditing …")
        let verdict = try await RainVerify.verify("demo-rain", first)
        return DemoResult(
            users: users, packets: packets, amountFen: amount, units: units, price: Self.price,
            wanted: wanted(slices), load: load, rain: rain, sale: sale, verdict: verdict,
            shares: shares, crash: crashed)
    }

    /// Packets for which somebody came: a user draws from the slice that their id leads to.
    private func wanted(_ slices: Int64) -> Int64 {
        let name: Text64 = "demo-rain"
        let definition = PoolDefinition(
            name: name, kind: .spread, units: packets, amountFen: amount, minFen: 1, maxFen: amount,
            holdMs: 0, slices: UInt32(slices), regions: [], seed: Bits256(0, 0, 0, 0),
            seedWasGiven: false, commitment: Bits256(0, 0, 0, 0), durability: .journal,
            initial: PoolTerms())
        let map = SliceMap(definition, pool: PoolKey.of(.rain, name))
        var came = [Int64](repeating: 0, count: Int(slices))
        for user in 0..<users {
            if let slice = map.slice(of: UserID(user), region: 0) { came[Int(slice)] += 1 }
        }
        return zip(came, map.shares(of: packets)).reduce(0) { $0 + min($1.0, $1.1.count) }
    }

    /// What each node's shards gave, as the store has it: those that it serves now.
    private func shares(_ cluster: DemoCluster) async throws -> [DemoResult.Share] {
        let store = try StoreURL(cluster.storeURL)
        let totals = try StoreHistory(store).claimsByShard(ofPool: "demo-rain")
        let told = try await cluster.nodes[0].client.require("GET", "/v1/shards")
        let rows = told["shards"] as? [[String: Any]] ?? []
        let owners = rows.map { ($0["nodes"] as? [String])?.first }
        return cluster.nodes.map { node in
            let owned = totals.filter {
                cluster.nodes.count == 1 || owners[Int($0.shard)] == node.name
            }
            return DemoResult.Share(
                node: node.name,
                shards: cluster.nodes.count == 1
                    ? owners.count : owners.count { $0 == node.name },
                grants: owned.reduce(0) { $0 + $1.claims }, fen: owned.reduce(0) { $0 + $1.fen })
        }
    }

    /// Waits until the store has every claim of the rain: a node's word that it lags behind by
    /// nothing may be some milliseconds old.
    private func drain(_ cluster: DemoCluster, claims: Int64) async throws -> [DemoResult.Share] {
        for _ in 0..<2_400 {
            var lag: Int64 = 0
            for node in cluster.nodes where node.isRunning {
                lag += try await node.client.require("GET", "/v1/status").integer("lagEntries") ?? 0
            }
            if lag == 0 {
                let shares = try await shares(cluster)
                if shares.reduce(0, { $0 + $1.grants }) >= claims { return shares }
            }
            try await Task.sleep(for: .milliseconds(50))
        }
        Console.note("downpour demo: the store did not catch up within two minutes")
        throw Exit.failed
    }
}

/// kill -9 of a node in the middle of the rain.
final class DemoCrash: Sendable {
    private let node: DemoNode?
    private let isDone = Mutex<Bool>(false)

    init(_ node: DemoNode?) { self.node = node }

    func begin() {
        guard let node else { return }
        node.kill()
        isDone.withLock { $0 = true }
        Console.note("\(node.name) was killed with kill -9")
    }

    /// - Returns: who was killed.
    func end() -> String? { isDone.withLock { $0 } ? node?.name : nil }
}
