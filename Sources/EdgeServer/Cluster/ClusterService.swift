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
    public let node: BusNode
    private let listener: BusListener
    private let gossip: GossipSocket
    private let loops: [NodeLoop]
    let view: ClusterView
    /// nil: one copy of each shard.
    let replicas: ReplicaService?

    /// Its nodes, as far as this one knows of them.
    public var plan: ClusterPlan { view.plan }

    private init(
        _ node: BusNode, _ listener: BusListener, _ gossip: GossipSocket,
        _ loops: [NodeLoop], _ view: ClusterView, _ replicas: ReplicaService?
    ) {
        self.replicas = replicas
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
            shards: UInt32(shards), versions: view.ownVersions, owners: plan.ownersKey)
        let node = BusNode(hello, keys: keys)
        let buses = loops.map { LoopBus($0, plan, node, view, log) }
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
            adminPort: UInt16(own.admin), versions: view.ownVersions)
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
        return ClusterService(node, listener, gossip, loops, view, replicas)
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
            reach: Array(repeating: 0, count: Limits.nodes), gossip: gossip.counters)
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
        let plan = plan
        var shards = Array(repeating: 0, count: Limits.nodes)
        var copies = shards
        let held = view.copies
        for holders in held {
            if let owner = holders.first { shards[owner] += 1 }
            for holder in holders { copies[holder] += 1 }
        }
        let wanted = view.wantedCopies
        let short = held.count { $0.count < wanted }
        let unserved = held.count { $0.isEmpty }
        // Those that are no longer wanted are told of as long as they are there.
        let told = plan.nodes.indices.filter { number in
            !view.isRetired(number) || copies[number] > 0 || view.state(number) == .alive
        }
        let members = told.map { number in
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
            .init("protocol", .integer(Int64(view.spoken.common))),
            .init("nodes", .array(members)),
        ])
    }
}

/// A node cannot take its part in the cluster.
public struct ClusterError: Error, CustomStringConvertible {
    public let description: String
}
