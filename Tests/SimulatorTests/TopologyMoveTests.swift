import EdgeTypes
import Foundation
import Simulator
import Testing

/// Clusters as topology files describe them, and moves to another one in mid-run.
@Suite("Worlds with a topology")
struct TopologyMoveTests {
    /// Four nodes in two zones; at first the last one has nothing.
    private static func scenario(moves: Bool) -> Scenario {
        var scenario = Scenario()
        scenario.name = "rehearsal"
        scenario.isCluster = true
        scenario.nodes = 4
        scenario.replicas = 2
        scenario.mostCores = 2
        scenario.poolsPerNode = 2
        let nodes = (0..<4).map { number in
            ScenarioTopology.Node(
                name: "n\(number)", region: "here", zone: number % 2 == 0 ? "a" : "b")
        }
        // Zone a: 0 and 2; zone b: 1 and 3.
        let before = (0..<scenario.shards).map { shard -> [UInt16] in
            let pair: [UInt16] = [shard % 4 < 2 ? 0 : 2, 1]
            return shard % 2 == 0 ? pair : pair.reversed()
        }
        let after = before.enumerated().map { shard, members -> [UInt16] in
            guard shard % 3 == 0 else { return members }
            return members.map { $0 == 1 ? 3 : $0 }
        }
        var topology = ScenarioTopology(nodes: nodes, members: before)
        if moves {
            topology.move = ScenarioTopology.Move(
                members: after, atNs: 5_000_000_000, atOnce: 2, copies: 6, handOvers: 3)
        }
        scenario.topology = topology
        return scenario
    }

    @Test("everything holds where shards are where a file wants them", arguments: 1...2)
    func stands(seed: UInt64) {
        let world = RunBundle(Self.scenario(moves: false), seed: seed).run()
        #expect(world.failure == nil)
        #expect(world.moveReport == nil)
    }

    @Test("everything holds while shards move under faults, and all get there", arguments: 1...4)
    func moves(seed: UInt64) throws {
        let world = RunBundle(Self.scenario(moves: true), seed: seed).run()
        #expect(world.failure == nil)
        let report = try #require(world.moveReport)
        #expect(report.shards == 6 && report.done == 6)
        #expect(report.tookNs ?? 0 > 0 && report.answers > 0)
        #expect(report.slowest != nil && report.slowestNs <= report.tookNs ?? 0)
        #expect(world.probes.contains(.shardMoved))
    }

    @Test("one that nobody carries out is not live")
    func never() {
        var scenario = Self.scenario(moves: true)
        // Nobody may ever take what it should: the node is cut off for good.
        scenario.faults = [.pause]
        scenario.patienceNs = 5_000_000_000
        var bundle = RunBundle(scenario, seed: 1)
        bundle.plan = FaultPlan([
            Fault(
                kind: .pause, startNs: 4_000_000_000, endNs: 1 << 49, node: 3, magnitude: 1,
                id: 1)
        ])
        let world = bundle.run()
        #expect(world.failure?.kind == .liveness)
        #expect(world.moveReport?.tookNs == nil)
    }

    @Test("a bundle keeps the topology, and refuses one that makes no sense")
    func bundles() throws {
        var bundle = RunBundle(Self.scenario(moves: true), seed: 2)
        let read = try RunBundle.decode(bundle.encoded())
        #expect(read.run().digest == bundle.run().digest)
        let changes: [(inout ScenarioTopology) -> Void] = [
            { $0.members.removeLast() }, { $0.members[3] = [1, 1] }, { $0.members[3] = [9, 1] },
            { $0.move?.members[0] = [0] }, { $0.move?.atOnce = 0 }, { $0.nodes.removeLast() },
        ]
        for change in changes {
            bundle = RunBundle(Self.scenario(moves: true), seed: 2)
            if var topology = bundle.scenario.topology {
                change(&topology)
                bundle.scenario.topology = topology
            }
            #expect(throws: RunBundle.FileError.self) { try RunBundle.decode(bundle.encoded()) }
        }
    }
}
