import EdgeCluster
import Foundation

/// What a node tells of its cluster's shards: `GET /v1/topology`.
struct RunningCluster {
    let client: AdminClient
    let name: String
    /// Decisions carry the version that they were made for.
    let version: Int64
    /// `settled`, `moving` or `paused`.
    let state: String
    let settled: Int
    let map: ShardMap
    /// By shard: names, whoever should lead first.
    let wanted: [[String]]

    init(_ admin: String) async throws {
        let base = admin.hasSuffix("/") ? String(admin.dropLast()) : admin
        try await self.init(AdminClient(base: base))
    }

    init(_ client: AdminClient) async throws {
        try self.init(client, try await client.require("GET", "/v1/topology"))
    }

    init(_ client: AdminClient, _ answer: AdminClient.Answer) throws {
        self.client = client
        name = answer.string("cluster") ?? ""
        version = answer.integer("version") ?? 0
        state = answer.string("state") ?? ""
        settled = Int(answer.integer("settled") ?? 0)
        let nodes = answer["nodes"] as? [[String: Any]] ?? []
        let shards = answer["shards"] as? [[String: Any]] ?? []
        wanted = shards.map { $0["wanted"] as? [String] ?? [] }
        map = try Self.map(nodes, shards)
    }

    /// A shard belongs to the region of whoever leads it.
    private static func map(
        _ nodes: [[String: Any]], _ shards: [[String: Any]]
    ) throws -> ShardMap {
        let names = nodes.compactMap { $0["name"] as? String }.sorted()
        var regionOf: [String: String] = [:]
        for node in nodes {
            if let name = node["name"] as? String { regionOf[name] = node["region"] as? String }
        }
        var regions: [String] = []
        for region in names.compactMap({ regionOf[$0] }).sorted() where regions.last != region {
            regions.append(region)
        }
        let owners = try shards.enumerated().map { shard, row in
            let held = (row["nodes"] as? [String] ?? []).compactMap { names.firstIndex(of: $0) }
            guard let primary = held.first,
                let region = regionOf[names[primary]].flatMap({ regions.firstIndex(of: $0) })
            else {
                Console.note("downpour topology: nobody has shard \(shard) yet: try again later")
                throw Exit.tryLater
            }
            return ShardMap.Owner(
                region: region, epoch: UInt64((row["epoch"] as? NSNumber)?.uint64Value ?? 0),
                primary: primary, members: NodeSet(held.prefix(Topology.replicaLimit)))
        }
        guard !owners.isEmpty else {
            Console.note("downpour topology: the node tells of no shards")
            throw Exit.failed
        }
        return ShardMap(nodes: names, regions: regions, owners: owners)
    }

    /// The plan to a topology, whose nodes this cluster knows.
    func plan(to topology: Topology) throws -> ShardMapPlan {
        guard topology.cluster == name else {
            Console.note("downpour topology: the file is of \(topology.cluster), this is \(name)")
            throw Exit.badInput
        }
        for node in topology.regions.flatMap(\.nodes) where map.number(ofNode: node.name) == nil {
            Console.note(
                "downpour topology: \(node.name) has not joined: start it with this file, and it "
                    + "waits for shards")
            throw Exit.badInput
        }
        return try TopologyCommand.plan(from: map, to: topology)
    }

    /// One line: how far it has come.
    var progress: String {
        let count = map.owners.count
        switch state {
        case "settled": return "all \(count) shards are where they should be"
        default: return "\(state): \(settled) of \(count) shards are where they should be"
        }
    }
}
