import EdgeCluster
import EdgeStores
import EdgeTypes
import Logging
import Synchronization

/// Who the cluster's nodes are, who of them is there, as gossip says, and who holds what. Guards
/// itself.
final class ClusterView: GossipOwner {
    enum State: String {
        case alive, suspect, dead, left, unknown
    }

    private struct Known {
        var plan: ClusterPlan
        /// Also of those that gossip tells of before the arbiter does.
        var states: [String: State] = [:]
        /// Numbers of nodes that the cluster is to do without.
        var retired: [UInt16] = []
        var wantedCopies = 1
        /// By shard: who holds it, whoever serves it first.
        var holders: [[Int]]
        var versions: SpokenVersions
        /// By node: whether it holds something, or should; empty: not known yet.
        var isMember: [Bool] = []
    }

    private let log: Logger
    private let known: Mutex<Known>
    /// Who must know of those that go.
    let replicas = Mutex<ReplicaService?>(nil)

    /// What this node speaks.
    let ownVersions: ProtocolRange

    /// - Parameter newest: the newest version of the protocol that this node may speak.
    init(_ plan: ClusterPlan, newest: UInt16, _ log: Logger) {
        self.log = log
        ownVersions = ProtocolRange(oldest: ProtocolVersion.oldest, newest: newest)
        var known = Known(
            plan: plan,
            holders: plan.owners.isEmpty
                ? Array(repeating: [], count: plan.shards) : plan.owners.map { [Int($0)] },
            versions: SpokenVersions(own: plan.own, newest: newest, nodes: plan.nodes.count))
        known.states[plan.nodes[plan.own].name] = .alive
        known.wantedCopies = plan.replicas?.replicas ?? 1
        self.known = Mutex(known)
    }

    var plan: ClusterPlan { known.withLock { $0.plan } }

    /// How many copies of each shard operators want.
    var wantedCopies: Int { known.withLock { $0.wantedCopies } }

    /// By shard: the numbers of the nodes that hold it now, whoever serves it first; nobody where
    /// it is not served.
    var copies: [[Int]] { known.withLock { $0.holders } }

    /// By shard: the number of the node that serves it.
    var owners: [Int?] { copies.map(\.first) }

    /// Of nodes that this one exchanges no beacons with, gossip knows whether they are there.
    ///
    /// - Parameters:
    ///   - copies: by shard, who holds it and is heard.
    ///   - isMember: by node, whether a shard's configuration names it, heard or not.
    func hold(_ copies: [[Int]], isMember: [Bool]) {
        known.withLock { known in
            known.isMember = isMember
            let isGone = known.plan.nodes.map { node in
                known.states[node.name] == .dead || known.states[node.name] == .left
            }
            known.holders = copies.map { holders in
                guard let first = holders.first, !isGone[first] else { return [] }
                return holders.filter { !isGone[$0] }
            }
        }
    }

    /// What the nodes of the cluster speak together, as far as this one has heard. One that the
    /// cluster is to do without counts until it has given away all it holds.
    var spoken: SpokenProtocol {
        known.withLock { known in
            known.versions.spoken(
                without: known.retired.filter { number in
                    known.isMember.indices.contains(Int(number)) && !known.isMember[Int(number)]
                })
        }
    }

    /// A node says what it speaks.
    func hear(_ number: Int, _ versions: ProtocolRange) {
        known.withLock { $0.versions.hear(number, newest: versions.newest) }
    }

    func state(_ number: Int) -> State {
        known.withLock { $0.states[$0.plan.nodes[number].name] ?? .unknown }
    }

    func isRetired(_ number: Int) -> Bool {
        known.withLock { $0.retired.contains(UInt16(number)) }
    }

    func name(_ number: Int) -> String {
        known.withLock { known in
            known.plan.nodes.indices.contains(number) ? known.plan.nodes[number].name : "?"
        }
    }

    /// What a node is asked about another.
    func fields(_ number: Int) -> [Value.Field] {
        let (peer, version) = known.withLock {
            ($0.plan.nodes[number], $0.versions.version(of: number))
        }
        return [
            .init("name", .text(peer.name)),
            .init("protocol", version.map { .integer(Int64($0)) } ?? .null),
            .init("state", .text(state(number).rawValue)),
            .init("region", .text(peer.region)),
            .init("zone", .text(peer.zone)),
            .init("http", .text(peer.address(peer.http))),
            .init("resp", .text(peer.address(peer.resp))),
            .init("bus", .text(peer.address(peer.bus))),
            .init("admin", .text(peer.address(peer.admin))),
        ]
    }

    // MARK: What the arbiter tells

    /// Nodes have come, or have other addresses.
    ///
    /// - Returns: all nodes, where that is news.
    func learn(_ nodes: [UInt16: ClusterNode]) -> ClusterPlan? {
        known.withLock { known in
            let before = known.plan.nodes
            for number in nodes.keys.sorted() {
                guard let node = nodes[number], Int(number) <= known.plan.nodes.count else {
                    continue
                }
                if Int(number) == known.plan.nodes.count {
                    known.plan.nodes.append(node)
                    known.versions.grow(nodes: known.plan.nodes.count)
                    log.info(
                        "a node has joined the cluster",
                        metadata: ["name": "\(node.name)", "number": "\(number)"])
                } else if Int(number) != known.plan.own {
                    known.plan.nodes[Int(number)] = node
                }
            }
            return known.plan.nodes == before ? nil : known.plan
        }
    }

    /// What operators want.
    func want(_ target: PlacementTarget) {
        known.withLock { known in
            known.retired = target.retired
            known.wantedCopies = target.members.first?.count ?? known.wantedCopies
        }
    }

    // MARK: What gossip tells

    func gossip(_ event: MemberEvent, _ record: MemberRecord?) {
        guard let record else { return }
        let name = "\(record.name)"
        let state: State =
            switch event.kind {
            case .joined, .updated, .trusted: .alive
            case .suspected: .suspect
            case .died: .dead
            case .left: .left
            case .forgotten: .unknown
            }
        let (number, before) = known.withLock { known -> (Int?, State?) in
            guard known.plan.nodes[known.plan.own].name != name else { return (nil, state) }
            let before = known.states[name]
            // Names are as many as members: gossip forgets the dead.
            known.states[name] = state == .unknown ? nil : state
            return (known.plan.number(of: record.name), before)
        }
        if let number { tellAgent(event.kind, of: number) }
        if before != state {
            log.info("member", metadata: ["name": "\(name)", "state": "\(state.rawValue)"])
        }
    }

    private func tellAgent(_ kind: MemberEvent.Kind, of number: Int) {
        switch kind {
        case .left: replicas.withLock { $0 }?.setLeaving(number, true)
        case .joined: replicas.withLock { $0 }?.setLeaving(number, false)
        case .updated, .trusted, .suspected, .died, .forgotten: break
        }
    }

    func gossip(_ rejection: MembershipRejection) {
        log.warning("a member is refused", metadata: ["reason": "\(rejection)"])
    }

    func gossipStopped() { log.info("gossip has stopped") }
}
