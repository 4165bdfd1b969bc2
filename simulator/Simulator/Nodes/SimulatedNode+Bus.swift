import EdgeMemory
import EdgeTypes
import EdgeWire

/// A request that another node was asked.
struct AskedRequest {
    var peer: Int
    var ticket: Ticket
}

/// A request of another node that is answered here.
struct OwedAnswer {
    var peer: Int
    var generation: Int
    var id: UInt64
}

/// What is open between nodes, by number, oldest first.
struct BusLedger<Item> {
    private(set) var items: [(number: UInt64, item: Item)] = []
    private var next: UInt64 = 1

    mutating func add(_ item: Item) -> UInt64 {
        items.append((next, item))
        next += 1
        return next - 1
    }

    mutating func take(_ number: UInt64) -> Item? {
        guard let place = items.firstIndex(where: { $0.number == number }) else { return nil }
        return items.remove(at: place).item
    }

    mutating func takeAll(where isTaken: (Item) -> Bool) -> [Item] {
        let taken = items.filter { isTaken($0.item) }.map(\.item)
        items.removeAll { isTaken($0.item) }
        return taken
    }
}

/// What goes to other nodes and comes from them: encoded, as on a real link.
extension SimulatedNode {
    /// The slot of tickets of requests that came from other nodes.
    static let busSlot = UInt32.max - 1

    private func encode(_ message: BusMessage) -> [UInt8] {
        var sink = ByteSink(capacity: 64)
        let fits = BusCodec.encode(message, into: &sink)
        precondition(fits, "an answer beyond the bus's limits")
        return Array(sink.bytes)
    }

    /// Which core of a node takes what is not for one of its shards.
    private func anyCore(_ peer: Int, _ core: Int) -> Int { core % world.nodes[peer].coreCount }

    /// Passes a request on to another node.
    func send(_ forward: Forward, from core: Int, toNode peer: Int) {
        let ticket = forward.request.ticket
        guard world.bus.isUp(index, peer) else {
            world.probe(.forwardRefused)
            let refusal = Reply(ticket: ticket, shape: .error, error: .tryAgain)
            return back(refusal, .text("node \(peer) cannot be reached"), core)
        }
        world.probe(.forwardedToNode)
        let id = asked.add(AskedRequest(peer: peer, ticket: ticket))
        let message: BusMessage =
            if let payload = forward.payload {
                .command(id: id, hops: forward.request.hops, forward.request, payload)
            } else {
                .request(id: id, hops: forward.request.hops, forward.request)
            }
        world.send(encode(message), from: self, core, to: peer, anyCore(peer, core))
    }

    /// Sends a frame that is durable.
    func send(_ frame: OutboundFrame, from core: Int) {
        if frame.to == .everyNode {
            for peer in world.nodes.indices where peer != index && world.bus.isUp(index, peer) {
                send(frame.frame, frame.shard, core, peer)
            }
        } else {
            send(frame.frame, frame.shard, core, frame.to.node)
        }
    }

    private func send(_ frame: Frame, _ shard: ShardID, _ core: Int, _ peer: Int) {
        world.send(
            encode(.frame(shard, frame)), from: self, core, to: peer,
            Int(shard) % world.nodes[peer].coreCount)
    }

    /// A message of another node arrives at a core.
    func receive(_ peer: Int, _ core: Int, _ bytes: [UInt8]) {
        if case .paused = state {
            let happening = Happening.bus(
                from: peer, to: place(core), generation: world.bus.generation(peer, index),
                bytes: bytes)
            return backlog.append(happening)
        }
        guard isRunning, !isHalted else { return }
        bytes.withUnsafeBytes { bytes in
            var reader = BusReader(bytes)
            guard let message = try? reader.next() else {
                return world.fail("bus", "a message that is none: \(Array(bytes))")
            }
            take(message, Array(reader.attached), peer, core)
        }
    }

    private func take(_ message: BusMessage, _ attached: [UInt8], _ peer: Int, _ core: Int) {
        switch message {
        case .request(let id, let hops, let request):
            cores[core].batch.requests.append(owing(id, hops, request, peer, core))
        case .command(let id, let hops, let request, let payload):
            cores[core].batch.append(owing(id, hops, request, peer, core), payload: payload)
        case .frame(_, let frame):
            if frame.isForEveryCore {
                for other in cores.indices {
                    cores[other].batch.frames.append(frame)
                    scheduleTick(other)
                }
            } else {
                cores[core].batch.frames.append(frame)
            }
        case .reply(let id, var reply, let body):
            guard let request = asked.take(id) else {
                return world.fail("bus", "node \(peer) answers what it was not asked: \(id)")
            }
            reply.ticket = request.ticket
            back(reply, body, core)
        case .replica, .entries, .copy, .beacon, .beaconAnswer:
            about(message, attached, peer, core)
        case .ping, .pong, .closing: world.fail("bus", "a message that nobody sends here")
        }
        scheduleTick(core)
    }

    private func owing(
        _ id: UInt64, _ hops: UInt8, _ request: Request, _ peer: Int, _ core: Int
    ) -> Request {
        let number = owed.add(
            OwedAnswer(peer: peer, generation: world.bus.generation(peer, index), id: id))
        var request = request
        request.hops = hops
        request.ticket = Ticket(
            core: UInt16(core), generation: 0, connection: Self.busSlot,
            position: UInt32(truncatingIfNeeded: number))
        return request
    }

    /// Sends another node the answer to its request.
    func answerNode(_ reply: Reply, _ body: Value?) {
        guard let request = owed.take(UInt64(reply.ticket.position)),
            world.bus.generation(request.peer, index) == request.generation
        else { return }
        world.send(
            encode(.reply(id: request.id, reply, body)), from: self, Int(reply.ticket.core),
            to: request.peer, anyCore(request.peer, Int(reply.ticket.core)))
    }

    /// An answer that another node gave goes to the core that asked.
    private func back(_ reply: Reply, _ body: Value?, _ core: Int) {
        cores[Int(reply.ticket.core)].forwardsInFlight -= 1
        precondition(cores[Int(reply.ticket.core)].forwardsInFlight >= 0)
        answer(reply, body)
    }

    // MARK: Links

    func linked(_ peer: Int) {
        linkedReplica(peer)
        versions.hear(peer, newest: world.nodes[peer].newestVersion)
        speak()
        for core in cores.indices {
            cores[core].batch.linked.append(UInt16(peer))
            scheduleTick(core)
        }
    }

    /// What this node's executable knows.
    var newestVersion: UInt16 {
        world.scenario.isUpgraded && boot <= 1 ? ProtocolVersion.oldest : ProtocolVersion.newest
    }

    /// Cores write what all nodes of the cluster know, from their next step on.
    func speak() {
        let spoken = versions.spoken()
        for core in cores.indices where cores[core].spoken != spoken {
            cores[core].spoken = spoken
            cores[core].batch.spoken = spoken
        }
    }

    /// Whoever waits for the peer's answer hears that nobody knows.
    func linkLost(_ peer: Int) {
        _ = owed.takeAll { $0.peer == peer }
        for request in asked.takeAll(where: { $0.peer == peer }) {
            let reply = Reply(ticket: request.ticket, shape: .error, error: .unknown)
            back(reply, .text("the link to node \(peer) broke"), Int(request.ticket.core))
        }
    }

    static func describe(_ bytes: [UInt8]) -> String {
        bytes.withUnsafeBytes { bytes in
            var reader = BusReader(bytes)
            return (try? reader.next()).map { "\($0)" } ?? "unreadable"
        }
    }
}
