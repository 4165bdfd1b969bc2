import Testing

@testable import EdgeCluster

@Suite("Shard map values")
struct ShardMapValueTests {
    @Test("a set of nodes is the same in whatever order it was made")
    func nodeSets() {
        let set = NodeSet([7, 0, 300])
        #expect(set.numbers == [0, 7, 300] && set == NodeSet([300, 7, 0]))
        #expect(set.contains(7) && !set.contains(1) && !NodeSet().contains(0xffff))
        #expect(set.removing(7).adding(1).numbers == [0, 1, 300])
        #expect(set.subtracting(NodeSet([0, 5])).numbers == [7, 300])
        #expect(set.isSuperset(of: NodeSet([300])) && !set.isSuperset(of: NodeSet([1])))
        #expect(NodeSet() == set.subtracting(set) && NodeSet().count == 0)
    }

    static func move(
        _ before: (primary: Int, members: [Int]), _ after: (primary: Int, members: [Int])
    ) -> ShardMove {
        func owner(_ end: (primary: Int, members: [Int]), _ epoch: UInt64) -> ShardMap.Owner {
            ShardMap.Owner(
                region: 0, epoch: epoch, primary: end.primary, members: NodeSet(end.members))
        }
        return ShardMove(shard: 3, before: owner(before, 8), after: owner(after, 9))
    }

    @Test("a backup is replaced: copy, promote in its place, drop")
    func replacesBackup() {
        #expect(
            Self.move((1, [1, 2]), (1, [1, 3])).steps == [
                .addLearner(3), .promote(3, replacing: 2), .drop(2),
            ])
    }

    @Test("a primary that leaves hands over first, to a member or to its successor")
    func replacesPrimary() {
        #expect(
            Self.move((1, [1, 2]), (2, [2, 3])).steps == [
                .addLearner(3), .handOver(to: 2), .promote(3, replacing: 1), .drop(1),
            ])
        #expect(
            Self.move((1, [1, 2]), (3, [2, 3])).steps == [
                .addLearner(3), .promote(3, replacing: 1), .drop(1),
            ])
        #expect(
            Self.move((1, [1]), (2, [2])).steps == [
                .addLearner(2), .promote(2, replacing: 1), .drop(1),
            ])
    }

    @Test("a new member becomes primary beside the old one only once it is a member")
    func promotesThenHandsOver() {
        #expect(
            Self.move((1, [1, 2]), (3, [1, 3])).steps == [
                .addLearner(3), .promote(3, replacing: 2), .handOver(to: 3), .drop(2),
            ])
        #expect(Self.move((1, [1, 2]), (2, [1, 2])).steps == [.handOver(to: 2)])
    }

    @Test("copies are added and taken away one by one")
    func changesCount() {
        #expect(
            Self.move((1, [1]), (1, [1, 4])).steps == [
                .addLearner(4), .promote(4, replacing: nil),
            ])
        #expect(Self.move((1, [1, 2, 3]), (2, [2, 3])).steps == [.handOver(to: 2), .drop(1)])
    }

    @Test("every broken rule is found")
    func violations() throws {
        let topology = try Cluster(nodes: 12, zones: 3, replicas: 2, shards: 64).made()
        let map = try ShardMapPlanner.plan(from: nil, to: topology).target
        #expect(map.violation(of: topology) == nil)
        func broken(_ change: (inout [ShardMap.Owner]) -> Void) -> PlacementViolation? {
            var owners = map.owners
            change(&owners)
            return ShardMap(
                nodes: map.nodes + ["zz"], regions: map.regions + ["s"], owners: owners
            ).violation(of: topology)
        }
        // By name: n-0 n-1 n-10 n-11 n-2 n-3 …, zones a third each.
        let zone0 = ["n-0", "n-3", "n-6"].compactMap(map.number(ofNode:))
        #expect(
            broken {
                $0[5].members = NodeSet(zone0[0...1]); $0[5].primary = zone0[0]
            }
                == .zone(shard: 5))
        #expect(broken { $0[6].region = 1 } == .region(shard: 6))
        #expect(broken { $0[7].members = NodeSet([$0[7].primary]) } == .replicas(shard: 7))
        #expect(
            broken { $0[8].members = NodeSet([$0[8].primary, 12]) } == .member(shard: 8, node: 12))
        #expect(broken { $0.removeLast(32) } == .shardCount)
        let lone = try #require(map.number(ofNode: "n-0"))
        let others = map.nodes.indices.filter { node in
            topology.regions[0].nodes.first { $0.name == map.nodes[node] }?.zone != "z0"
        }
        #expect(others.count == 8)
        #expect(
            broken { owners in
                for (shard, other) in others.enumerated() {
                    owners[shard].members = NodeSet([lone, other])
                    owners[shard].primary = lone
                }
            } == nil)
    }

    @Test("partners are counted, and nine are too many")
    func partners() throws {
        let nodes = (0..<10).map { Topology.Node(name: "n\($0)", zone: "z") }
        let topology = try Cluster(nodes: 10, zones: 1, replicas: 2, shards: 16).made(nodes)
        func map(_ partners: Int) -> ShardMap {
            ShardMap(
                nodes: nodes.map(\.name), regions: ["r"],
                owners: (0..<16).map { shard in
                    ShardMap.Owner(
                        region: 0, epoch: 1, primary: 0,
                        members: NodeSet([0, 1 + shard % partners]))
                })
        }
        #expect(map(8).violation(of: topology) == nil && map(8).partners()[0] == 8)
        #expect(map(9).violation(of: topology) == .partners(node: 0))
    }

    @Test("a topology tells what is wrong with it, and where")
    func problems() {
        func problem(
            shards: Int = 64, replicas: Int = 2, _ regions: [Topology.Region]
        ) -> Topology.Problem? {
            do {
                _ = try Topology(
                    cluster: "c", shards: shards, replicas: replicas, regions: regions)
                return nil
            } catch { return error }
        }
        let nodes = [
            Topology.Node(name: "a", zone: "z"), Topology.Node(name: "b", zone: "z"),
        ]
        let region = Topology.Region(name: "r", nodes: nodes)
        #expect(problem([region]) == nil)
        #expect(problem(shards: 65, [region])?.place == .shards)
        #expect(problem(shards: 32_768, [region])?.place == .shards)
        #expect(problem(replicas: 4, [region])?.place == .replicas)
        #expect(problem(replicas: 3, [region])?.place == .region(0))
        #expect(problem([])?.place == .regions)
        #expect(problem([region, region])?.place == .region(1))
        #expect(
            problem([region, Topology.Region(name: "s", nodes: nodes)])?.place
                == .node(region: 1, 0))
        let many = (0...Topology.nodeLimit).map { Topology.Node(name: "n\($0)", zone: "z") }
        #expect(problem([Topology.Region(name: "r", nodes: many)])?.place == .regions)
        let heavy = [Topology.Node(name: "x", zone: "z", weightMilli: 1_000_001)] + nodes
        #expect(problem([Topology.Region(name: "r", nodes: heavy)])?.place == .node(region: 0, 0))
        let small = Topology.Region(
            name: "s", weightMilli: 1,
            nodes: [
                Topology.Node(name: "c", zone: "z"), Topology.Node(name: "d", zone: "z"),
            ])
        #expect(problem([region, small])?.place == .region(1))
    }
}
