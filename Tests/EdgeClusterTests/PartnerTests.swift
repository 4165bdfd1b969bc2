import EdgeCluster
import EdgeTypes
import Testing

/// With whom a node of a large cluster exchanges beacons.
@Suite("Partners")
struct PartnerTests {
    private static let secondNs: UInt64 = 1_000_000_000
    private static let tickNs: UInt64 = 50_000_000
    private static let nodes = 20

    private func id(_ node: Int, _ boot: UInt64 = 1) -> ReplicaID {
        ReplicaID(node: UInt64(node), boot: boot)
    }

    /// Node 0 of many, linked to all others. Shard s should be held by nodes s and s + 1, and the
    /// nodes after those stand in.
    private struct Node {
        var agent: ReplicaAgent
        var nowNs = secondNs
        var outputs: [AgentOutput] = []
        /// Beacons sent so far, by node.
        var beacons: [Int]
        /// Who answers beacons, and sends its own.
        var answering: Set<Int> = []
        /// Who sends beacons, as long as it answers them.
        var sending: Set<Int> = [1, 4, 19]

        init(nodes: Int = PartnerTests.nodes) {
            beacons = Array(repeating: 0, count: nodes)
            let candidates = (0..<nodes).map { shard in
                (0..<nodes).map { UInt16((shard + $0) % nodes) }
            }
            agent = ReplicaAgent(
                ReplicaID(node: 0, boot: 1),
                plan: ReplicaPlan(replicas: 2, candidates: candidates), nodes: nodes,
                nowNs: secondNs)
            for other in 1..<nodes {
                agent.linked(ReplicaID(node: UInt64(other), boot: 1), nowNs: nowNs)
            }
        }

        mutating func read(_ rows: [ShardConfiguration]) {
            agent.read(rows, revision: UInt64(rows.count), nowNs: nowNs, into: &outputs)
        }

        /// Some time passes.
        mutating func run(_ seconds: Double) {
            let untilNs = nowNs + UInt64(seconds * Double(secondNs))
            while nowNs < untilNs {
                nowNs += tickNs
                var latest: [AgentOutput] = []
                agent.tick(nowNs: nowNs, into: &latest)
                for case .beacon(let number, let other) in latest {
                    beacons[Int(other.node)] += 1
                    guard answering.contains(Int(other.node)) else { continue }
                    agent.beaconAnswered(number, from: other, nowNs: nowNs, into: &outputs)
                }
                outputs += latest
                for other in answering.intersection(sending).sorted() {
                    agent.beacon(
                        nowNs, from: ReplicaID(node: UInt64(other), boot: 1), nowNs: nowNs,
                        into: &outputs)
                }
            }
        }

        var beaconed: [Int] { beacons.indices.filter { beacons[$0] > 0 } }
    }

    private func row(_ shard: ShardID, _ epoch: UInt32, _ members: [Int]) -> ShardConfiguration {
        ShardConfiguration(
            shard: shard, epoch: epoch, primary: id(members[0]), members: members.map { id($0) })
    }

    @Test("only those who share a shard, or are to, are sent beacons")
    func few() {
        var node = Node()
        node.answering = [1, 19]
        node.read([row(0, 2, [0, 1]), row(19, 2, [19, 0]), row(5, 2, [5, 6])])
        node.run(3)
        #expect(node.beaconed == [1, 19])
        #expect(node.agent.partners == [1, 19])
        // Fifteen rounds of 200 ms.
        #expect((14...16).contains(node.beacons[1]))
        // Somebody who stood in has a shard with it as well.
        node.answering.insert(4)
        node.read([row(0, 3, [0, 4])])
        node.run(1)
        #expect(node.agent.partners == [1, 4, 19])
        node.read([row(0, 4, [0, 1])])
        node.run(1)
        #expect(node.agent.partners == [1, 19])
    }

    @Test("a few others are asked while a copy is missing, and others again where those are silent")
    func standIns() {
        var node = Node()
        node.answering = [1, 5]
        node.read([row(0, 2, [0, 1])])
        node.run(2)
        #expect(node.beaconed.allSatisfy { [1, 19].contains($0) })
        node.answering.remove(1)
        node.run(0.8)
        node.read([row(0, 3, [0])])
        node.run(0.8)
        // Nodes 2 and 3 are silent: nobody else is asked before that is known.
        #expect(node.beaconed == [1, 2, 3, 19])
        node.run(1)
        #expect(node.beaconed == [1, 2, 3, 4, 5, 19])
        node.run(5)
        let invited = node.outputs.compactMap { output in
            if case .invite(_, let other) = output { other } else { nil }
        }
        #expect(Set(invited) == [id(5)])
        // Once it has what it needs it asks nobody.
        node.sending.insert(5)
        node.read([row(0, 4, [0, 5])])
        node.run(1)
        #expect(node.agent.partners == [1, 5, 19])
    }

    @Test("whoever stands in for one that is not there stays until that is back and has learned")
    func substitutes() {
        var node = Node()
        node.sending = [1, 5]
        node.answering = [5]
        node.read([row(0, 4, [0, 5])])
        node.run(10)
        func dropped() -> Bool { node.outputs.contains(.drop(0, id(5))) }
        #expect(!dropped())
        // Back, and about to learn.
        node.answering.insert(1)
        node.run(2)
        #expect(node.outputs.contains(.invite(0, id(1))))
        #expect(!dropped())
        // It has learned, and is silent again before it was found so.
        node.read([row(0, 5, [0, 5, 1])])
        node.answering.remove(1)
        node.run(10)
        #expect(!dropped())
        node.answering.insert(1)
        node.run(2)
        #expect(dropped())
    }

    @Test("however many of those who come first are dead, the first who is not is found")
    func deadCandidates() {
        var node = Node(nodes: 60)
        node.sending = []
        node.answering = [58]
        node.read([row(0, 4, [0])])
        func isInvited() -> Bool { node.outputs.contains(.invite(0, id(58))) }
        node.run(12)
        #expect(!isInvited())
        // Those who come first are asked anew all the while, ever less often.
        node.run(108)
        #expect(isInvited())
        #expect(node.agent.partners.count <= 4)
    }

    @Test("a later life that only a configuration tells of is lost when it is silent")
    func untoldLife() {
        var node = Node()
        node.answering = [19]
        // Node 1 was linked in its first life, and node 2 leads with its second.
        let again = id(1, 2)
        func isLost() -> Bool { node.outputs.contains(.lost(again)) }
        func isGone() -> Bool { node.outputs.contains(.graceIsOver(again)) }
        node.read([
            ShardConfiguration(shard: 0, epoch: 7, primary: id(0), members: [id(0), again]),
            ShardConfiguration(shard: 19, epoch: 7, primary: again, members: [again, id(0)]),
        ])
        node.run(0.5)
        #expect(!isLost() && !isGone())
        node.run(1)
        #expect(isLost() && isGone())
    }

    @Test("whoever goes waits for a partner that it has just met")
    func leavingEarly() {
        var node = Node()
        node.read([row(0, 2, [0, 1])])
        node.run(0.2)
        node.agent.setLeaving(0, true)
        node.agent.linked(id(1, 2), nowNs: node.nowNs)
        node.agent.setLeaving(1, false)
        for other in 2..<Self.nodes { node.agent.setLeaving(other, true) }
        node.run(0.3)
        #expect(node.agent.hasHeirs(nowNs: node.nowNs))
        node.run(1)
        #expect(!node.agent.hasHeirs(nowNs: node.nowNs))
    }

    @Test("whoever goes asks everybody, and waits for their answers and no longer")
    func leaving() {
        var node = Node()
        node.read([row(0, 2, [0])])
        node.run(2)
        node.agent.setLeaving(0, true)
        #expect(node.agent.hasHeirs(nowNs: node.nowNs))
        node.answering = [7]
        node.run(0.5)
        #expect(node.beaconed.count == Self.nodes - 1)
        #expect(node.agent.hasHeirs(nowNs: node.nowNs))
        #expect(node.outputs.contains(.invite(0, id(7))))
        node.answering = []
        node.run(3)
        #expect(!node.agent.hasHeirs(nowNs: node.nowNs))
    }

    @Test("a primary whose beacons do not come is taken for dead, though it answers")
    func answersOnly() {
        var node = Node()
        node.answering = [1]
        node.sending = []
        node.read([row(0, 2, [1, 0])])
        node.run(2)
        #expect(node.outputs.contains(.graceIsOver(id(1))))
    }

    @Test("whoever becomes a partner long after it was linked is not taken for dead at once")
    func strangers() {
        var node = Node()
        node.answering = [1, 19]
        node.read([row(19, 2, [19, 0])])
        node.run(60)
        // Its first word is on its way.
        node.read([row(7, 5, [8, 0])])
        let before = node.outputs.count
        node.run(0.5)
        #expect(!node.outputs[before...].contains(.graceIsOver(id(8))))
        node.run(1)
        #expect(node.outputs[before...].contains(.graceIsOver(id(8))))
    }
}
