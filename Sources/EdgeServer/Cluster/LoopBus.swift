import EdgeMemory
import EdgeTypes
import EdgeWire
import Logging
import NIOCore

/// One event loop's links to the other nodes: what it asks them, and what they ask it.
///
/// A loop dials every other node, and sends requests and frames on the links that it has dialed;
/// answers come back on the same. What others ask comes on links that they have dialed, is stepped
/// with the requests of this loop's clients, and is answered once it is durable.
final class LoopBus: BusOwner, @unchecked Sendable {
    // SAFETY: all mutable state is confined to the loop's `eventLoop`.
    unowned let loop: ServerLoop
    private(set) var plan: ClusterPlan
    private let node: BusNode
    private let view: ClusterView
    let log: Logger
    /// By node's number; nil for this one.
    private(set) var links: [BusLink?] = []
    /// The same for beacons, on the first loop of a node with replicas: what else waits between two
    /// nodes, and a disk that is behind, must not make them look dead.
    private(set) var beaconLinks: [BusLink?] = []
    /// All that are up, dialed and accepted.
    private var connections: [BusConnection] = []
    private var dirty: [BusConnection] = []

    private var asked = SlotTable<Asked>()
    private var owed = SlotTable<Owed>()
    private var held: [Held<HeldReply>] = []
    /// What the core was told last that all nodes speak.
    private var spoken: SpokenProtocol?
    var statistics = LoopBusStatistics()
    /// The node stops: no more is taken from other nodes, what was taken is answered.
    var isClosing = false
    /// Of a cluster with replicas.
    var replicas: LoopReplicas?

    /// The slot of tickets of requests that other nodes sent.
    static let ticketSlot = UInt32.max - 1

    /// A request that another node was asked.
    private struct Asked {
        var node: Int
        var connection: BusConnection
        var ticket: Ticket
    }

    /// A request of another node.
    private struct Owed {
        var connection: BusConnection
        var id: UInt64
    }

    private struct HeldReply {
        var reply: Reply
        var body: Value?
    }

    init(
        _ loop: ServerLoop, _ plan: ClusterPlan, _ node: BusNode, _ view: ClusterView, _ log: Logger
    ) {
        self.loop = loop
        self.plan = plan
        self.node = node
        self.view = view
        self.log = log
        makeLinks()
    }

    /// Makes what is missing, and replaces what leads to another address now.
    private func makeLinks() {
        makeLinks(&links, .work)
        if plan.replicas != nil, loop.index == 0 { makeLinks(&beaconLinks, .beacons) }
    }

    private func makeLinks(_ links: inout [BusLink?], _ purpose: BusPurpose) {
        while links.count < plan.nodes.count { links.append(nil) }
        for number in plan.nodes.indices where number != plan.own {
            let peer = plan.nodes[number]
            if let link = links[number] {
                guard link.host != peer.host || link.port != peer.bus else { continue }
                link.close()
            }
            let salt = UInt64(loop.index) << 32 | UInt64(purpose.rawValue) << 16 | UInt64(number)
            links[number] = BusLink(
                on: loop.eventLoop, to: peer.host, port: peer.bus, node: node, owner: self,
                jitterSeed: Hash64.mix(node.hello.boot, salt), purpose: purpose)
        }
    }

    // MARK: Links

    /// Dials all others, from now on. On the loop.
    func start() {
        for link in links + beaconLinks { link?.start() }
        speak()
    }

    /// There are more nodes, or some have other addresses. On the loop.
    func follow(_ next: ClusterPlan) {
        guard !isClosing else { return }
        let before = plan
        plan = next
        makeLinks()
        start()
        // Whoever has just come may have dialed before it was known here.
        for connection in connections where !connection.isDialed {
            let name = connection.peer?.name
            guard before.number(of: name) == nil, let number = plan.number(of: name) else {
                continue
            }
            hear(connection)
            replicas?.linkUp(connection, number)
        }
    }

    /// The node stops: no more is taken from other nodes, who are told so. On the loop.
    func beginClosing() {
        isClosing = true
        for connection in connections where !connection.isDialed { sayClosing(connection) }
    }

    /// Whether all who have heard that it stops have said that they ask no more. What they had asked
    /// before is here by then: nobody is left in doubt by the links' end.
    var isHeard: Bool {
        connections.allSatisfy { $0.isDialed || $0.purpose != .work || $0.isQuiet }
    }

    private func sayClosing(_ connection: BusConnection) {
        guard connection.purpose == .work,
            connection.append({ BusCodec.encodeClosing(into: &$0) })
        else { return }
        mark(connection)
    }

    /// The other side stops, or has heard that this one does.
    private func fallSilent(_ connection: BusConnection) {
        if connection.isDialed, !connection.isQuiet { sayClosing(connection) }
        connection.isQuiet = true
    }

    /// Ends all links for good. On the loop.
    func stop() {
        isClosing = true
        for link in links + beaconLinks { link?.close() }
        for connection in connections { connection.close() }
    }

    /// The nodes that this loop can reach.
    var reached: [Int] { links.indices.filter { links[$0]?.connection != nil } }

    func linkUp(_ connection: BusConnection) {
        connections.append(connection)
        hear(connection)
        guard connection.isDialed else {
            if isClosing { sayClosing(connection) }
            // It is there: a dialer that waits after failures need not.
            if let number = plan.number(of: connection.peer?.name) {
                if number < links.count { links[number]?.dialNow() }
                if number < beaconLinks.count { beaconLinks[number]?.dialNow() }
                replicas?.linkUp(connection, number)
            }
            return
        }
        guard let number = number(of: connection) else { return connection.close() }
        guard connection.purpose == .work else { return connection.peerNumber = number }
        loop.batch.linked.append(UInt16(number))
        replicas?.linkUp(connection, number)
        loop.scheduleTick()
    }

    /// What all nodes speak may be another version now.
    private func hear(_ connection: BusConnection) {
        guard let hello = connection.peer, let number = plan.number(of: hello.name) else { return }
        let before = view.spoken
        view.hear(number, hello.versions)
        guard view.spoken != before else { return }
        for peer in loop.peers { peer.eventLoop.execute { peer.bus?.speak() } }
    }

    /// Has the core write what all nodes speak. On the loop.
    func speak() {
        let told = view.spoken
        guard told != spoken else { return }
        if told.common != spoken?.common {
            log.info("what all nodes speak", metadata: ["protocol": "\(told.common)"])
        }
        spoken = told
        loop.batch.spoken = told
        loop.scheduleTick()
    }

    /// Whom a dialed link leads to; nil where somebody else has the address that the plan says.
    private func number(of connection: BusConnection) -> Int? {
        let links = connection.purpose == .work ? links : beaconLinks
        guard let number = links.firstIndex(where: { $0?.connection === connection }) else {
            return nil
        }
        if plan.number(of: connection.peer?.name) == number { return number }
        statistics.misplaced &+= 1
        log.warning(
            "another node has the address that the topology says",
            metadata: [
                "wanted": "\(plan.nodes[number].name)",
                "found": "\(connection.peer.map { "\($0.name)" } ?? "nobody")",
            ])
        return nil
    }

    func linkDown(_ connection: BusConnection, _ end: BusEnd) {
        connections.removeAll { $0 === connection }
        replicas?.linkDown(connection)
        guard connection.isDialed, connection.purpose == .work else { return }
        // They were sent, and nobody knows what came of them.
        for request in asked.takeAll(where: { $0.connection === connection }) {
            let reply = Reply(ticket: request.ticket, shape: .error, error: .unknown)
            loop.answered(reply, .text("the link to \(plan.nodes[request.node].name) broke"))
        }
    }

    func linkFailed(_ connection: BusConnection, _ end: BusEnd) {}

    /// Where one journal of the node is far behind, none of its links is read: entries for its core
    /// come on all of them.
    var isOverloaded: Bool { loop.peers.contains { $0.isHeldBack } }

    /// The loop has caught up: links are read again.
    func resume() { for connection in connections { connection.resume() } }

    // MARK: Sending

    /// Asks another node.
    ///
    /// - Returns: false where it cannot be reached: nothing was sent.
    func ask(_ forward: Forward) -> Bool {
        let node = forward.to.node
        guard node < links.count, let connection = links[node]?.connection,
            !connection.isOverloaded, !connection.isQuiet
        else { return false }
        let id = asked.add(
            Asked(node: node, connection: connection, ticket: forward.request.ticket))
        let hops = forward.request.hops
        let isTaken = connection.append { sink in
            if let payload = forward.payload {
                BusCodec.encode(forward.request, payload, id: id, hops: hops, into: &sink)
            } else {
                BusCodec.encode(forward.request, id: id, hops: hops, into: &sink)
            }
        }
        if !isTaken {
            _ = asked.take(id)
            return false
        }
        statistics.asked &+= 1
        mark(connection)
        return true
    }

    /// Sends a durable frame, where the node can be reached: the core sends it again otherwise.
    func send(_ frame: OutboundFrame) {
        if frame.to == .everyNode {
            for link in links.indices { send(frame.frame, frame.shard, to: link) }
        } else {
            send(frame.frame, frame.shard, to: frame.to.node)
        }
    }

    private func send(_ frame: Frame, _ shard: ShardID, to node: Int) {
        // Who is slow gets it later: what is not confirmed is sent again.
        guard node < links.count, let connection = links[node]?.connection,
            !connection.isOverloaded
        else { return }
        if connection.append({ BusCodec.encode(frame, for: shard, into: &$0) }) {
            mark(connection)
        }
    }

    func mark(_ connection: BusConnection) {
        guard connection.mark == 0 else { return }
        connection.mark = 1
        dirty.append(connection)
        loop.scheduleTick()
    }

    /// Seals and writes what the tick has left. At its end.
    func flush() {
        // A link that ends meanwhile may leave answers for others: they go with the next tick.
        var connections: [BusConnection] = []
        swap(&connections, &dirty)
        for connection in connections {
            connection.mark = 0
            connection.flush()
        }
    }

    // MARK: Receiving

    func received(
        _ message: BusMessage, _ attached: UnsafeRawBufferPointer, on connection: BusConnection
    ) {
        guard !loop.isHalted else { return refuse(message, on: connection) }
        if isClosing, message.isAsked { return refuse(message, on: connection) }
        switch message {
        case .request(_, _, let request) where !request.operation.takes(nil),
            .command(_, _, let request, _) where !isSound(message, request):
            // Another version's, or a bug's: it is not for this core.
            statistics.unknown &+= 1
            return connection.close()
        case .request(let id, let hops, let request):
            if let request = owing(id, hops, request, connection) {
                loop.batch.requests.append(request)
                loop.stepIfFull()
            }
        case .command(let id, let hops, let request, let payload):
            if let request = owing(id, hops, request, connection) {
                loop.batch.append(request, payload: payload)
            }
        case .reply(let id, var reply, let body):
            // One that came too late, of a link that broke: its asker was told that.
            guard let request = asked.take(id) else { return }
            reply.ticket = request.ticket
            loop.answered(reply, body)
        case .frame(let shard, let frame): loop.received(frame, for: shard)
        case .replica, .entries, .copy, .beacon, .beaconAnswer:
            guard let replicas else {
                statistics.unknown &+= 1
                break
            }
            replicas.received(message, attached, on: connection)
        case .closing: fallSilent(connection)
        case .ping, .pong: statistics.unknown &+= 1
        }
        loop.scheduleTick()
    }

    /// The node stops: nothing of it was applied.
    private func refuse(_ message: BusMessage, on connection: BusConnection) {
        let (id, ticket): (UInt64, Ticket)
        switch message {
        case .request(let number, _, let request): (id, ticket) = (number, request.ticket)
        case .command(let number, _, let request, _): (id, ticket) = (number, request.ticket)
        default: return
        }
        reply(
            Reply(ticket: ticket, shape: .error, error: .tryAgain), .text("this node stops"),
            Owed(connection: connection, id: id))
        connection.mark = 0
        connection.flush()
    }

    func receivedAll(on connection: BusConnection) {}

    private func isSound(_ message: BusMessage, _ request: Request) -> Bool {
        guard case .command(_, _, _, let payload) = message, request.operation.takes(payload)
        else { return false }
        guard case .definition(let definition, _) = payload else { return true }
        return PoolKey.of(definition.kind.family, definition.name) == request.pool
    }

    /// The request as this loop's own, with a ticket that leads back to the link.
    private func owing(
        _ id: UInt64, _ hops: UInt8, _ request: Request, _ connection: BusConnection
    ) -> Request? {
        guard owed.count < loop.limits.forwardsPerLoop else {
            let refusal = Reply(
                ticket: request.ticket, shape: .error, error: .tryAgain)
            reply(refusal, .text("this node is too busy"), Owed(connection: connection, id: id))
            return nil
        }
        statistics.owed &+= 1
        let number = owed.add(Owed(connection: connection, id: id))
        var request = request
        request.hops = hops
        request.ticket = Ticket(
            core: loop.index, generation: UInt16(truncatingIfNeeded: number >> 32),
            connection: Self.ticketSlot, position: UInt32(truncatingIfNeeded: number))
        return request
    }

    // MARK: Answering

    /// Answers another node's request, once it may leave.
    func answer(_ reply: Reply, _ body: Value?, needs: Release) {
        if needs.position == 0 || loop.mayLeave(needs) {
            finish(reply, body)
        } else {
            held.append(Held(needs: needs, item: HeldReply(reply: reply, body: body)))
        }
    }

    /// Lets go the answers that may leave.
    func release() {
        guard !held.isEmpty else { return }
        for answer in held.take(where: loop.mayLeave) { finish(answer.reply, answer.body) }
    }

    /// Answers that wait on one of these streams may be lost: nobody knows.
    func fail(_ streams: UInt16) {
        for answer in held.take(where: { $0.isAmong(streams) }) {
            finish(
                Reply(ticket: answer.reply.ticket, shape: .error, error: .unknown),
                ServerLoop.movedText)
        }
    }

    private func finish(_ reply: Reply, _ body: Value?) {
        guard
            let request = owed.take(
                slot: reply.ticket.position, generation: reply.ticket.generation)
        else { preconditionFailure("another node's request was answered twice") }
        self.reply(reply, body, request)
    }

    private func reply(_ reply: Reply, _ body: Value?, _ request: Owed) {
        let connection = request.connection
        var fits = true
        let isTaken = connection.append { sink in
            if let body {
                fits = BusCodec.encode(reply, body, id: request.id, into: &sink)
                guard !fits else { return }
                // More than a message holds: whoever asked hears that much.
                let refusal = Reply(ticket: reply.ticket, shape: .error, error: .badArgument)
                fits = BusCodec.encode(
                    refusal, .text("the answer is too long: ask for less"), id: request.id,
                    into: &sink)
            } else {
                BusCodec.encode(reply, id: request.id, into: &sink)
            }
        }
        precondition(fits, "a short text does not fit into a message")
        if isTaken { mark(connection) }
    }
}

extension BusMessage {
    /// Whether another node waits for an answer.
    fileprivate var isAsked: Bool {
        switch self {
        case .request, .command: true
        case .reply, .frame, .replica, .entries, .copy, .beacon, .beaconAnswer, .ping, .pong,
            .closing:
            false
        }
    }
}

/// What a loop's links have carried since it started.
struct LoopBusStatistics: Sendable {
    /// Requests that other nodes were asked, and that they asked.
    var asked: UInt64 = 0
    var owed: UInt64 = 0
    /// Messages of later versions.
    var unknown: UInt64 = 0
    /// Links that led to another node than the topology says.
    var misplaced: UInt64 = 0

    mutating func add(_ other: LoopBusStatistics) {
        asked += other.asked
        owed += other.owed
        unknown += other.unknown
        misplaced += other.misplaced
    }
}
