import EdgeCluster
import EdgeJournal
import EdgeMemory
public import EdgeTypes
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// A node's part in its cluster: the port where others connect, the links to them, and gossip.
public final class ClusterService: Sendable {
    public let plan: ClusterPlan
    public let node: BusNode
    private let listener: BusListener
    private let gossip: GossipSocket
    private let loops: [NodeLoop]
    let view: ClusterView
    /// nil: one copy of each shard.
    let replicas: ReplicaService?

    private init(
        _ plan: ClusterPlan, _ node: BusNode, _ listener: BusListener, _ gossip: GossipSocket,
        _ loops: [NodeLoop], _ view: ClusterView, _ replicas: ReplicaService?
    ) {
        self.replicas = replicas
        self.plan = plan
        self.node = node
        self.listener = listener
        self.gossip = gossip
        self.loops = loops
        self.view = view
    }

    /// Where others reach this node, with the real port.
    public var address: SocketAddress { listener.address }

    /// Listens, dials and gossips.
    ///
    /// - Parameter clients: the ports of the client and admin listeners, for others to know.
    /// - Throws: where the port cannot be bound, or this node's host means nothing.
    static func start(
        _ plan: ClusterPlan, keys: ClusterKeys, boot: BootID, bind: ClientListeners.Address,
        seeds: [GossipSeed], shards: Int, group: MultiThreadedEventLoopGroup, loops: [NodeLoop],
        lanes: [JournalLane], view: ClusterView, replicas: ReplicaService?, log: Logger
    ) async throws -> ClusterService {
        let own = plan.nodes[plan.own]
        let hello = BusHello(
            name: Text64(own.name), boot: boot, cluster: Text64(plan.name),
            shards: UInt32(shards), owners: plan.ownersKey)
        let node = BusNode(hello, keys: keys)
        let buses = loops.map { LoopBus($0, plan, node, log) }
        // Before anybody can connect: what comes must find its way back.
        for (place, loop) in loops.enumerated() {
            try await loop.eventLoop.submit {
                let bus = buses[place]
                bus.replicas = replicas.map { LoopReplicas(loop, bus, $0, lane: lanes[place]) }
                loop.bus = bus
            }.get()
        }
        let listener = try await BusListener.start(
            group: group, host: bind.host, port: bind.port, node: node,
            owner: { eventLoop in
                guard let place = loops.firstIndex(where: { $0.eventLoop === eventLoop }) else {
                    preconditionFailure("a connection on no loop of this node")
                }
                return buses[place]
            })
        guard let port = listener.address.port.flatMap({ UInt16(exactly: $0) }) else {
            preconditionFailure("a listener without a port")
        }
        // Looked up off the loops: it may take long.
        let places = try await BackgroundThread.run {
            GossipSeed(host: own.host, port: port).resolve()
        }
        guard let place = places.first else {
            throw ClusterError(description: "\(own.host): this node's own host means nothing")
        }
        let record = MemberRecord(
            name: Text64(own.name), region: Text64(own.region), zone: Text64(own.zone),
            boot: boot, address: place, httpPort: UInt16(own.http), respPort: UInt16(own.resp),
            adminPort: UInt16(own.admin))
        var settings = GossipSettings()
        settings.seeds =
            seeds.isEmpty
            ? plan.nodes.map { GossipSeed(host: $0.host, port: UInt16($0.bus)) } : seeds
        let gossip = try await GossipSocket.start(
            on: loops[0].eventLoop, host: bind.host, port: Int(port), record: record, node: node,
            settings: settings, owner: view)
        listener.serve(gossip)
        for (place, loop) in loops.enumerated() {
            try await loop.eventLoop.submit { buses[place].start() }.get()
        }
        if let replicas {
            view.replicas.withLock { $0 = replicas }
            try await loops[0].eventLoop.submit { replicas.start() }.get()
        }
        return ClusterService(plan, node, listener, gossip, loops, view, replicas)
    }

    /// Says goodbye to the others; links stay.
    func leave() async throws {
        let left = gossip.leave()
        // Nobody may be there to hear it.
        let timer = gossip.eventLoop.scheduleTask(in: .seconds(2)) { [gossip] in
            _ = gossip.close()
        }
        try await left.get()
        timer.cancel()
    }

    /// Ends all links. After the loops have halted: who waits for an answer hears that nobody knows.
    func stop() async throws {
        try await listener.close()
        for loop in loops {
            try await loop.eventLoop.submit { loop.bus?.stop() }.get()
        }
        try await replicas?.end()
    }

    /// What all loops and gossip have counted.
    struct Numbers: Sendable {
        /// By a node's number: how many loops of this node can reach it.
        var reach: [Int]
        var loops = LoopBusStatistics()
        var gossip: GossipCounters
    }

    func numbers() async throws -> Numbers {
        var numbers = Numbers(
            reach: Array(repeating: 0, count: plan.nodes.count), gossip: gossip.counters)
        for loop in loops {
            let (reached, counted) = try await loop.eventLoop.submit {
                (loop.bus?.reached ?? [], loop.bus?.statistics ?? LoopBusStatistics())
            }.get()
            for number in reached { numbers.reach[number] += 1 }
            numbers.loops.add(counted)
        }
        return numbers
    }

    /// The cluster as this node sees it.
    public func status() async throws -> Value {
        let reach = try await numbers().reach
        var shards = Array(repeating: 0, count: plan.nodes.count)
        var copies = shards
        let held = view.copies
        for holders in held {
            if let owner = holders.first { shards[owner] += 1 }
            for holder in holders { copies[holder] += 1 }
        }
        let wanted = plan.replicas?.replicas ?? 1
        let short = held.count { $0.count < wanted }
        let unserved = held.count { $0.isEmpty }
        let members = plan.nodes.indices.map { number in
            let isOwn = number == plan.own
            return Value.map(
                view.fields(number) + [
                    .init("shards", .integer(Int64(shards[number]))),
                    .init("copies", .integer(Int64(copies[number]))),
                    .init("linked", .integer(isOwn || reach[number] == loops.count ? 1 : 0)),
                ])
        }
        return .map([
            .init("cluster", .text(plan.name)),
            .init("node", .text(plan.nodes[plan.own].name)),
            .init("shards", .integer(Int64(plan.shards))),
            .init("replicas", .integer(Int64(wanted))),
            .init("short", .integer(Int64(short))),
            .init("unserved", .integer(Int64(unserved))),
            .init("nodes", .array(members)),
        ])
    }
}

/// A node cannot take its part in the cluster.
public struct ClusterError: Error, CustomStringConvertible {
    public let description: String
}

/// Who is there, as gossip says. Guards itself.
final class ClusterView: GossipOwner {
    enum State: String {
        case alive, suspect, dead, left, unknown
    }

    let plan: ClusterPlan
    private let log: Logger
    private let states: Mutex<[State]>
    /// Who must know of those that go.
    let replicas = Mutex<ReplicaService?>(nil)
    /// By shard: who holds it, whoever serves it first.
    private let holders: Mutex<[[Int]]>

    init(_ plan: ClusterPlan, _ log: Logger) {
        self.plan = plan
        self.log = log
        var states = [State](repeating: .unknown, count: plan.nodes.count)
        states[plan.own] = .alive
        self.states = Mutex(states)
        holders = Mutex(
            plan.owners.isEmpty
                ? Array(repeating: [], count: plan.shards) : plan.owners.map { [Int($0)] })
    }

    /// By shard: the numbers of the nodes that hold it now, whoever serves it first; nobody where
    /// it is not served.
    var copies: [[Int]] { holders.withLock { $0 } }

    /// By shard: the number of the node that serves it.
    var owners: [Int?] { copies.map(\.first) }

    func hold(_ copies: [[Int]]) { holders.withLock { $0 = copies } }

    func state(_ number: Int) -> State { states.withLock { $0[number] } }

    func name(_ number: Int) -> String {
        plan.nodes.indices.contains(number) ? plan.nodes[number].name : "?"
    }

    /// What a node is asked about another.
    func fields(_ number: Int) -> [Value.Field] {
        let peer = plan.nodes[number]
        return [
            .init("name", .text(peer.name)),
            .init("state", .text(state(number).rawValue)),
            .init("region", .text(peer.region)),
            .init("zone", .text(peer.zone)),
            .init("http", .text(peer.address(peer.http))),
            .init("resp", .text(peer.address(peer.resp))),
            .init("bus", .text(peer.address(peer.bus))),
            .init("admin", .text(peer.address(peer.admin))),
        ]
    }

    func gossip(_ event: MemberEvent, _ record: MemberRecord?) {
        guard let record, let number = plan.number(of: record.name), number != plan.own else {
            return
        }
        let state: State =
            switch event.kind {
            case .joined, .updated, .trusted: .alive
            case .suspected: .suspect
            case .died: .dead
            case .left: .left
            case .forgotten: .unknown
            }
        let before = states.withLock { states in
            defer { states[number] = state }
            return states[number]
        }
        switch event.kind {
        case .left: replicas.withLock { $0 }?.setLeaving(number, true)
        case .joined: replicas.withLock { $0 }?.setLeaving(number, false)
        case .updated, .trusted, .suspected, .died, .forgotten: break
        }
        if before != state {
            log.info(
                "member", metadata: ["name": "\(record.name)", "state": "\(state.rawValue)"])
        }
    }

    func gossip(_ rejection: MembershipRejection) {
        log.warning("a member is refused", metadata: ["reason": "\(rejection)"])
    }

    func gossipStopped() { log.info("gossip has stopped") }
}
