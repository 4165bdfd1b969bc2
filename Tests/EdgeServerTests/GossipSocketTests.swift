import EdgeCluster
import EdgeMemory
import EdgeTypes
import EdgeWire
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import EdgeServer

/// Writes down what gossip tells.
private final class GossipRecorder: GossipOwner {
    struct Log {
        var events: [MemberEvent] = []
        var rejections: [MembershipRejection] = []
        var hasStopped = false
    }
    private let mutex = Mutex(Log())
    var log: Log { mutex.withLock { $0 } }

    func gossip(_ event: MemberEvent, _ record: MemberRecord?) {
        mutex.withLock { $0.events.append(event) }
    }
    func gossip(_ rejection: MembershipRejection) {
        mutex.withLock { $0.rejections.append(rejection) }
    }
    func gossipStopped() { mutex.withLock { $0.hasStopped = true } }

    func has(_ kind: MemberEvent.Kind, _ boot: BootID) -> Bool {
        log.events.contains { $0.kind == kind && $0.boot == boot }
    }
}

/// A node that gossips on a free loopback port.
private final class GossipNode: Sendable {
    let side: BusSide
    let owner = GossipRecorder()
    let listener: BusListener
    let socket: GossipSocket
    let port: UInt16
    let boot: BootID

    /// Everything ten times as quick as in production, and a little more.
    static var configuration: MembershipConfiguration {
        var fast = MembershipConfiguration.lan
        fast.probeIntervalNs = 40_000_000
        fast.probeTimeoutNs = 15_000_000
        fast.relayTimeoutNs = 15_000_000
        fast.gossipIntervalNs = 20_000_000
        fast.gossipDelayNs = 2_000_000
        fast.suspicionFloorNs = 100_000_000
        fast.recheckNs = 50_000_000
        fast.exchangeIntervalNs = 500_000_000
        fast.exchangeSpacingNs = 20_000_000
        fast.reconnectIntervalNs = 200_000_000
        fast.joinTimeoutNs = 200_000_000
        fast.nameCheckNs = 50_000_000
        fast.leaveNs = 200_000_000
        return fast
    }

    init(
        _ name: Text64, boot: BootID, keys: ClusterKeys, seeds: [UInt16], cluster: Text64 = "shop",
        host: String = "127.0.0.1", on group: MultiThreadedEventLoopGroup
    ) async throws {
        let side = BusSide(name, boot: boot, keys: keys, cluster: cluster)
        self.side = side
        self.boot = boot
        var settings = GossipSettings()
        settings.membership = Self.configuration
        settings.seeds = seeds.map { GossipSeed(host: host, port: $0) }
        let recorder = side.owner
        // One port for both: of several tries, one finds it free.
        var made: (BusListener, GossipSocket)?
        for _ in 0..<20 where made == nil {
            let listener = try await BusListener.start(
                group: group, host: "127.0.0.1", port: 0, node: side.node
            ) { _ in recorder }
            let port = listener.address.port ?? 0
            let record = MemberRecord(
                name: name, boot: boot,
                address: MemberAddress(ipv4: 0x7f00_0001, port: UInt16(port)))
            if let socket = try? await GossipSocket.start(
                on: group.next(), host: "127.0.0.1", port: port, record: record, node: side.node,
                settings: settings, owner: owner)
            {
                listener.serve(socket)
                made = (listener, socket)
            } else {
                try await listener.close()
            }
        }
        guard let (listener, socket) = made else { throw ChannelError.operationUnsupported }
        self.listener = listener
        self.socket = socket
        port = UInt16(listener.address.port ?? 0)
    }

    /// Those it believes to be alive, itself among them.
    func alive() async throws -> [BootID] {
        try await socket.readMembers().get().filter { $0.state == .alive }
            .map(\.record.boot).sorted()
    }

    func stop() async throws {
        try await socket.close().get()
        try await listener.close()
    }
}

extension ServerTests {
    @Suite("Gossip over sockets", .serialized)
    struct GossipSocketTests {
        private func withGroup(
            _ body: (MultiThreadedEventLoopGroup) async throws -> Void
        ) async throws {
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
            do { try await body(group) } catch {
                try await group.shutdownGracefully()
                throw error
            }
            try await group.shutdownGracefully()
        }

        @Test("three find each other by one address; one that stops is declared dead")
        func three() async throws {
            try await withGroup { group in
                let keys = try BusKeys.ring(BusKeys.one)
                let a = try await GossipNode("a", boot: 1, keys: keys, seeds: [], on: group)
                let b = try await GossipNode("b", boot: 2, keys: keys, seeds: [a.port], on: group)
                #expect(try await eventually { try await a.alive() == [1, 2] })
                #expect(try await eventually { try await b.alive() == [1, 2] })
                let c = try await GossipNode("c", boot: 3, keys: keys, seeds: [a.port], on: group)
                for node in [a, b, c] {
                    #expect(try await eventually { try await node.alive() == [1, 2, 3] })
                }
                #expect(a.owner.has(.joined, 3) && b.owner.has(.joined, 3))
                try await c.stop()
                #expect(c.owner.log.hasStopped)
                for node in [a, b] {
                    #expect(try await eventually { node.owner.has(.died, 3) })
                    #expect(try await eventually { try await node.alive() == [1, 2] })
                }
                for node in [a, b] {
                    let counters = node.socket.counters
                    #expect(counters.strangers == 0 && counters.replays == 0)
                    #expect(counters.malformed == 0 && counters.tooLong == 0)
                    #expect(counters.datagramsReceived > 0 && counters.datagramsSent > 0)
                }
                try await a.stop()
                try await b.stop()
            }
        }

        @Test("links and streams of gossip share a port, whichever loop accepts them")
        func sharedPort() async throws {
            try await withGroup { group in
                let keys = try BusKeys.ring(BusKeys.one)
                let a = try await GossipNode("a", boot: 1, keys: keys, seeds: [], on: group)
                let b = try await GossipNode("b", boot: 2, keys: keys, seeds: [a.port], on: group)
                var links: [BusLink] = []
                for _ in 0..<3 {
                    let link = BusLink(
                        on: group.next(), to: "127.0.0.1", port: Int(a.port), node: b.side.node,
                        owner: b.side.owner, jitterSeed: 1)
                    try await link.eventLoop.submit { link.start() }.get()
                    links.append(link)
                }
                #expect(try await eventually { b.side.owner.log.ups.count == 3 })
                #expect(try await eventually { a.side.owner.log.ups.count == 3 })
                #expect(try await eventually { try await a.alive() == [1, 2] })
                // Exchanges go on beside the links.
                func same() async throws -> UInt64 {
                    try await b.socket.eventLoop.submit {
                        b.socket.membershipCounters.exchangesSame
                    }.get()
                }
                #expect(try await eventually { try await same() > 0 })
                #expect(a.side.node.counters.strangers == 0)
                for link in links { try await link.eventLoop.submit { link.close() }.get() }
                #expect(try await eventually { a.side.owner.log.downs.count == 3 })
                try await b.stop()
                try await a.stop()
            }
        }

        @Test("who says goodbye has left, and its own side stops by itself")
        func goodbye() async throws {
            try await withGroup { group in
                let keys = try BusKeys.ring(BusKeys.one)
                let a = try await GossipNode("a", boot: 1, keys: keys, seeds: [], on: group)
                let b = try await GossipNode("b", boot: 2, keys: keys, seeds: [a.port], on: group)
                #expect(try await eventually { try await a.alive() == [1, 2] })
                try await b.socket.leave().get()
                #expect(b.owner.log.hasStopped)
                #expect(try await eventually { a.owner.has(.left, 2) })
                try await b.listener.close()
                try await a.stop()
            }
        }

        @Test("of two processes with one name the later one stops")
        func names() async throws {
            try await withGroup { group in
                let keys = try BusKeys.ring(BusKeys.one)
                let a = try await GossipNode("a", boot: 1, keys: keys, seeds: [], on: group)
                let b = try await GossipNode("b", boot: 2, keys: keys, seeds: [a.port], on: group)
                #expect(try await eventually { try await a.alive() == [1, 2] })
                let rival = try await GossipNode(
                    "b", boot: 9, keys: keys, seeds: [a.port], on: group)
                #expect(try await eventually { rival.owner.log.hasStopped })
                #expect(rival.owner.log.rejections.map(\.reason) == [.nameTaken])
                #expect(try await eventually { try await a.alive() == [1, 2] })
                try await rival.listener.close()
                try await a.stop()
                try await b.stop()
            }
        }

        @Test("who knows no key, or belongs to another cluster, never joins")
        func strangers() async throws {
            try await withGroup { group in
                let keys = try BusKeys.ring(BusKeys.one)
                let a = try await GossipNode("a", boot: 1, keys: keys, seeds: [], on: group)
                let b = try await GossipNode("b", boot: 2, keys: keys, seeds: [a.port], on: group)
                let wrong = try await GossipNode(
                    "w", boot: 3, keys: try BusKeys.ring(BusKeys.two), seeds: [a.port, b.port],
                    on: group)
                let other = try await GossipNode(
                    "o", boot: 4, keys: keys, seeds: [a.port], cluster: "other", on: group)
                #expect(try await eventually { a.socket.counters.strangers >= 3 })
                #expect(
                    try await eventually {
                        other.owner.log.rejections.contains { $0.reason == .otherCluster }
                    })
                #expect(
                    try await eventually {
                        a.owner.log.rejections.contains { $0.reason == .otherCluster }
                    })
                #expect(try await eventually { try await a.alive() == [1, 2] })
                #expect(try await eventually { try await b.alive() == [1, 2] })
                #expect(try await eventually { try await wrong.alive() == [3] })
                #expect(!a.owner.has(.joined, 3) && !a.owner.has(.joined, 4))
                for node in [a, b, wrong, other] { try await node.stop() }
            }
        }

        @Test("keys are exchanged while all stay members")
        func rotation() async throws {
            try await withGroup { group in
                let one = try BusKeys.ring(BusKeys.one)
                let a = try await GossipNode("a", boot: 1, keys: one, seeds: [], on: group)
                let b = try await GossipNode("b", boot: 2, keys: one, seeds: [a.port], on: group)
                for node in [a, b] {
                    #expect(try await eventually { try await node.alive() == [1, 2] })
                }
                let steps = [
                    try BusKeys.ring(BusKeys.one, BusKeys.two),
                    try BusKeys.ring(BusKeys.two, BusKeys.one), try BusKeys.ring(BusKeys.two),
                ]
                for ring in steps {
                    for node in [a, b] {
                        node.side.node.keys = ring
                        // Some probes between each two changes.
                        let before = node.socket.counters.datagramsReceived
                        #expect(
                            try await eventually {
                                node.socket.counters.datagramsReceived > before + 20
                            })
                    }
                }
                for node in [a, b] {
                    #expect(node.socket.counters.strangers == 0)
                    #expect(try await eventually { try await node.alive() == [1, 2] })
                }
                let c = try await GossipNode(
                    "c", boot: 3, keys: try BusKeys.ring(BusKeys.two), seeds: [b.port], on: group)
                #expect(try await eventually { try await a.alive() == [1, 2, 3] })
                for node in [a, b, c] { try await node.stop() }
            }
        }

        @Test("datagrams that come again, from somewhere else, too long, or from nobody, count")
        func garbage() async throws {
            try await withGroup { group in
                let keys = try BusKeys.ring(BusKeys.one)
                let a = try await GossipNode("a", boot: 1, keys: keys, seeds: [], on: group)
                let channel = try await DatagramBootstrap(group: group)
                    .bind(host: "127.0.0.1", port: 0).get()
                let target = try SocketAddress(ipAddress: "127.0.0.1", port: Int(a.port))
                func send(_ bytes: [UInt8]) async throws {
                    try await channel.writeAndFlush(
                        AddressedEnvelope(remoteAddress: target, data: ByteBuffer(bytes: bytes)))
                }
                func sealed(_ plain: [UInt8], _ sealer: GossipSealer) -> [UInt8] {
                    var sink = ByteSink(capacity: 64)
                    plain.withUnsafeBytes { sealer.seal($0, .datagram, into: &sink) }
                    return Array(sink.bytes)
                }
                let sealer = GossipSealer(node: a.side.node, boot: 55)
                var ping = ByteSink(capacity: 64)
                GossipCodec.encode(
                    GossipDatagram(
                        kind: .ping, cluster: UInt32(truncatingIfNeeded: Hash64.text("shop")),
                        sender: 55, incarnation: Incarnation(life: 1), sequence: 1, target: 1),
                    updates: PlainList<MembershipUpdate>(), first: 0, count: 0, records: [],
                    into: &ping)
                let genuine = sealed(Array(ping.bytes), sealer)
                for _ in 0..<3 { try await send(genuine) }
                try await send([UInt8](repeating: 1, count: 500))
                try await send([UInt8](repeating: 1, count: 1_900))
                try await send([])
                try await send(sealed([1, 2, 3], sealer))
                var damaged = genuine
                damaged[30] ^= 1
                try await send(damaged)
                // Nobody speaks for somebody else.
                let thief = GossipSealer(node: a.side.node, boot: 66)
                try await send(sealed(Array(ping.bytes), thief))
                // Received is counted first, what came of it a moment later.
                #expect(
                    try await eventually {
                        let seen = a.socket.counters
                        return seen.replays + seen.tooLong + seen.strangers + seen.malformed == 8
                    })
                let counters = a.socket.counters
                #expect(counters.datagramsReceived == 9)
                #expect(counters.replays == 2)
                #expect(counters.tooLong == 1)
                #expect(counters.strangers == 3)
                #expect(counters.malformed == 2)
                #expect(try await eventually { try await a.alive() == [1] })
                try await channel.close()
                try await a.stop()
            }
        }

        @Test("streams of strangers, slow ones and too many of them are closed")
        func streams() async throws {
            try await withGroup { group in
                let keys = try BusKeys.ring(BusKeys.one)
                let a = try await GossipNode("a", boot: 1, keys: keys, seeds: [], on: group)
                let head: [UInt8] = Array("DPG1".utf8)
                let stranger = try TestClient(port: Int(a.port))
                try stranger.send(head + [60, 0, 0, 0] + [UInt8](repeating: 7, count: 60))
                #expect(try stranger.rest() == "")
                let long = try TestClient(port: Int(a.port))
                try long.send(head + [0, 0, 2, 0])
                #expect(try long.rest() == "")
                #expect(a.socket.counters.strangers == 1)
                #expect(a.socket.counters.tooLong == 1)
                var waiting: [TestClient] = []
                for _ in 0..<64 {
                    let client = try TestClient(port: Int(a.port))
                    try client.send(head)
                    waiting.append(client)
                }
                let last = try TestClient(port: Int(a.port))
                try last.send(head)
                #expect(try await eventually { a.socket.counters.streamsRefused > 0 })
                // Once they are gone, there is room again.
                waiting = []
                let b = try await GossipNode("b", boot: 2, keys: keys, seeds: [a.port], on: group)
                #expect(try await eventually { try await a.alive() == [1, 2] })
                try await a.stop()
                try await b.stop()
            }
        }

        @Test("addresses of both families are the same in sockets and in membership")
        func addresses() throws {
            let four = try SocketAddress(ipAddress: "10.1.2.3", port: 80)
            #expect(MemberAddress(four) == MemberAddress(ipv4: 0x0a01_0203, port: 80))
            #expect(SocketAddress(MemberAddress(ipv4: 0x0a01_0203, port: 80)) == four)
            let six = try SocketAddress(ipAddress: "2001:db8::5", port: 9_000)
            let member = MemberAddress(hostHigh: 0x2001_0db8_0000_0000, hostLow: 5, port: 9_000)
            #expect(MemberAddress(six) == member)
            #expect(SocketAddress(member) == six)
            #expect(MemberAddress(try SocketAddress(unixDomainSocketPath: "/tmp/x")) == nil)
        }

        @Test("seeds are names; those that mean nothing are asked again")
        func seeds() async throws {
            try await withGroup { group in
                #expect(try GossipSeed("[::1]:9000").host == "::1")
                #expect(try GossipSeed("n1.example:9000").description == "n1.example:9000")
                for text in ["n1", "n1:", ":1", "n1:0", "n1:70000", "::1:9000"] {
                    #expect(throws: GossipSeed.FormatError.self) { try GossipSeed(text) }
                }
                let keys = try BusKeys.ring(BusKeys.one)
                let a = try await GossipNode("a", boot: 1, keys: keys, seeds: [], on: group)
                let b = try await GossipNode(
                    "b", boot: 2, keys: keys, seeds: [a.port], host: "localhost", on: group)
                #expect(try await eventually { try await a.alive() == [1, 2] })
                let lost = try await GossipNode(
                    "c", boot: 3, keys: keys, seeds: [a.port], host: "no-such-host.invalid",
                    on: group)
                #expect(try await eventually { lost.socket.counters.unresolved > 0 })
                let isMember = try await lost.socket.eventLoop.submit { lost.socket.isMember }
                    .get()
                #expect(!isMember)
                for node in [a, b, lost] { try await node.stop() }
            }
        }
    }
}
