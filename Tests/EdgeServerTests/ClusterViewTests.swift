import EdgeCluster
import EdgeStores
import EdgeTypes
import Logging
import Testing

@testable import EdgeServer

@Suite("What a node knows of its cluster")
struct ClusterViewTests {
    @Test("a node that the cluster is to do without counts until no configuration names it")
    func retired() {
        let newest = ProtocolVersion.newest
        let nodes = (0..<3).map { number in
            ClusterNode(
                name: "n\(number)", region: "r", zone: "z", host: "127.0.0.1", http: 1, resp: 2,
                bus: 3, admin: 4)
        }
        let plan = ClusterPlan(
            name: "c", nodes: nodes,
            replicas: ReplicaPlan(replicas: 2, candidates: [[0, 1], [1, 0]]), own: 0)
        let view = ClusterView(plan, newest: newest, Logger(label: "test"))
        #expect(view.spoken.common == ProtocolVersion.oldest)
        view.hear(1, ProtocolRange(oldest: ProtocolVersion.oldest, newest: newest))
        view.hear(2, ProtocolRange(oldest: ProtocolVersion.oldest, newest: ProtocolVersion.oldest))
        view.hold([[0, 1], [1, 2]], isMember: [true, true, true])
        #expect(view.spoken.common == ProtocolVersion.oldest)
        // Asked to go, and it still has a copy, heard or not.
        var target = PlacementTarget(members: [[0, 1], [1, 0]], previous: [[0, 1], [1, 2]])
        target.retired = [2]
        view.want(target)
        #expect(view.spoken.common == ProtocolVersion.oldest)
        view.hold([[0, 1], [1]], isMember: [true, true, true])
        #expect(view.spoken.common == ProtocolVersion.oldest)
        view.hold([[0, 1], [1, 0]], isMember: [true, true, false])
        #expect(view.spoken.common == newest)
        // One that is not to go counts, whether it holds something or not.
        target.retired = []
        view.want(target)
        #expect(view.spoken.common == ProtocolVersion.oldest)
    }
}
