import EdgeCluster
import EdgeStores
import EdgeTypes
import Foundation
import Hummingbird

/// `/v1/topology`: who holds each shard, who should, and operators' decisions about that.
enum AdminTopology {
    /// 16,384 shards with three names each.
    private static let bodyBytes = 2 << 20

    /// An operator's decision.
    private struct Decision: Decodable {
        /// The version that it was made for.
        var version: Int64
        /// By shard: names of nodes, whoever should lead first.
        var members: [[String]]
        /// Names of the nodes that are to stay; absent: all of them.
        var nodes: [String]?
        var shardsAtOnce: Int?
        var bytesPerSecond: Int64?
    }

    static func addReading(to router: Router<BasicRequestContext>, _ runner: NodeRunner) {
        router.get("v1/topology") { _, _ in
            let (cluster, replicas) = try parts(runner)
            return AdminJSON.response(try await status(cluster, replicas))
        }
    }

    static func add(to router: RouterGroup<BasicRequestContext>, _ runner: NodeRunner) {
        router.post("v1/topology") { request, _ in
            let (cluster, replicas) = try parts(runner)
            let buffer: ByteBuffer
            do {
                buffer = try await request.body.collect(upTo: bodyBytes)
            } catch {
                throw AdminProblem(
                    status: .contentTooLarge, code: "too-large", detail: "at most 2 MiB")
            }
            let decision: Decision
            do {
                decision = try JSONDecoder().decode(
                    Decision.self, from: Data(buffer.readableBytesView))
            } catch {
                throw AdminProblem.badRequest("version and members are expected")
            }
            var next = try await replicas.target()
            next.previous = next.members
            next.members = try members(decision, cluster.plan)
            next.retired = try retired(decision, cluster.plan)
            next.version = decision.version
            next.isPaused = false
            next.shardsAtOnce = decision.shardsAtOnce ?? ReplicaAgent.usualAtOnce
            next.bytesPerSecond = decision.bytesPerSecond ?? 0
            guard (1...1_024).contains(next.shardsAtOnce), next.bytesPerSecond >= 0 else {
                throw AdminProblem.badRequest("shardsAtOnce: 1 to 1024; bytesPerSecond: 0 or more")
            }
            return try await decide(next, cluster, replicas)
        }
        for (action, change) in actions {
            router.post("v1/topology/\(action)") { _, _ in
                let (cluster, replicas) = try parts(runner)
                var next = try await replicas.target()
                change(&next)
                return try await decide(next, cluster, replicas)
            }
        }
    }

    private static let actions: [(String, @Sendable (inout PlacementTarget) -> Void)] = [
        ("pause", { $0.isPaused = true }), ("resume", { $0.isPaused = false }),
        (
            "abort",
            {
                $0.members = $0.previous
                $0.retired = []
                $0.isPaused = false
            }
        ),
    ]

    private static func parts(
        _ runner: NodeRunner
    ) throws -> (ClusterService, ReplicaService) {
        guard let cluster = runner.cluster, let replicas = cluster.replicas else {
            throw AdminProblem(
                status: .notFound, code: "no-replicas",
                detail: "shards can be moved in a cluster with replicas only")
        }
        return (cluster, replicas)
    }

    private static func decide(
        _ next: PlacementTarget, _ cluster: ClusterService, _ replicas: ReplicaService
    ) async throws -> Response {
        guard try await replicas.decide(next) else {
            throw AdminProblem(
                status: .conflict, code: "stale",
                detail: "somebody has decided otherwise meanwhile: plan again")
        }
        return AdminJSON.response(try await status(cluster, replicas))
    }

    /// Names become numbers; every shard has as many different nodes.
    private static func members(_ decision: Decision, _ plan: ClusterPlan) throws -> [[UInt16]] {
        guard decision.members.count == plan.shards else {
            throw AdminProblem.badRequest("the cluster has \(plan.shards) shards for good")
        }
        let count = decision.members[0].count
        guard (1...Topology.replicaLimit).contains(count) else {
            throw AdminProblem.badRequest("1 to \(Topology.replicaLimit) nodes a shard")
        }
        return try decision.members.map { names in
            guard names.count == count, Set(names).count == count else {
                throw AdminProblem.badRequest("\(count) different nodes for every shard")
            }
            return try names.map { name in
                guard let number = plan.nodes.firstIndex(where: { $0.name == name }) else {
                    throw AdminProblem.badRequest(
                        "\(name) is none of this cluster's nodes: it joins when it is started "
                            + "with a topology file that names it")
                }
                return UInt16(number)
            }
        }
    }

    private static func retired(_ decision: Decision, _ plan: ClusterPlan) throws -> [UInt16] {
        guard let names = decision.nodes.map(Set.init) else { return [] }
        guard names.isSuperset(of: Set(decision.members.joined())) else {
            throw AdminProblem.badRequest("a node that is not to stay is to hold a shard")
        }
        return plan.nodes.indices.filter { !names.contains(plan.nodes[$0].name) }.map(UInt16.init)
    }

    private static func status(
        _ cluster: ClusterService, _ replicas: ReplicaService
    ) async throws -> Value {
        let standing = try await replicas.standing()
        let target = standing.target
        let names = cluster.plan.nodes.map(\.name)
        func named(_ numbers: some Sequence<Int>) -> Value {
            .array(numbers.map { .text(names.indices.contains($0) ? names[$0] : "?") })
        }
        let isDone = standing.settled == cluster.plan.shards
        return .map([
            .init("cluster", .text(cluster.plan.name)),
            .init("version", .integer(target.version)),
            .init("state", .text(isDone ? "settled" : target.isPaused ? "paused" : "moving")),
            .init("settled", .integer(Int64(standing.settled))),
            .init("shards_at_once", .integer(Int64(target.shardsAtOnce))),
            .init("bytes_per_second", .integer(target.bytesPerSecond)),
            .init(
                "nodes",
                .array(
                    cluster.plan.nodes.map {
                        .map([
                            .init("name", .text($0.name)), .init("region", .text($0.region)),
                            .init("zone", .text($0.zone)),
                        ])
                    })),
            .init(
                "shards",
                .array(
                    standing.rows.enumerated().map { shard, row in
                        .map([
                            .init("epoch", .integer(Int64(row?.epoch ?? 0))),
                            .init("nodes", named(row.map(Self.nodes) ?? [])),
                            .init("wanted", named(target.members[shard].map { Int($0) })),
                        ])
                    })),
        ])
    }

    /// Whoever leads first.
    private static func nodes(_ row: ShardConfiguration) -> [Int] {
        ([row.primary] + row.members.filter { $0 != row.primary }).map { Int($0.node) }
    }
}
