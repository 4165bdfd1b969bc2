public import EdgeCluster
import EdgeMemory
public import EdgeTypes
import EdgeWire
public import NIOCore
import NIOPosix
import Synchronization

/// Whoever wants to know who is in the cluster. All calls come on the socket's event loop.
public protocol GossipOwner: AnyObject, Sendable {
    /// - Parameter record: nil where the member is forgotten already.
    func gossip(_ event: MemberEvent, _ record: MemberRecord?)
    func gossip(_ rejection: MembershipRejection)
    /// This node takes part no more: it has left, or another process bears its name.
    func gossipStopped()
}

/// A member as this node sees it.
public struct GossipMember: Hashable, Sendable {
    public var record: MemberRecord
    public var state: MemberState
    public var incarnation: Incarnation
}

/// Membership's shell: its datagrams, its streams, its clock, its keys.
///
/// Runs on one event loop. Datagrams and streams are sealed with the node's key ring; what is not
/// genuine costs a checksum and a count.
public final class GossipSocket: @unchecked Sendable {
    // SAFETY: all mutable state is confined to `eventLoop`, but what guards itself.
    public let eventLoop: any EventLoop
    /// Where datagrams come, with the real port.
    public let address: SocketAddress
    let settings: GossipSettings
    private let node: BusNode
    private let owner: any GossipOwner
    private let channel: any Channel
    private let boot: BootID

    private var membership: Membership
    private var effects = MembershipEffects()
    private var updates = PlainList<MembershipUpdate>(capacity: 64)
    private var records: [MemberRecord] = []
    private let sealer: GossipSealer
    private var datagrams = GossipReplays()
    private var messages = GossipReplays()
    private var plain = ByteSink(capacity: 2_048)
    private var sealed = ByteSink(capacity: 2_048)

    private struct Stream {
        var handler: GossipStream
        var isAnswered = false
    }
    private var streams: [UInt32: Stream] = [:]
    private var opened = 0
    private let accepted = Atomic<Int>(0)
    private let nextStream = Atomic<UInt32>(1)
    private let counted = Mutex(GossipCounters())

    private var timer: Scheduled<Void>?
    private var timerNs = UInt64.max
    private var resolver: Scheduled<Void>?
    private var joinedBy: Set<MemberAddress> = []
    private var hasStarted = false
    private var hasStopped = false
    private let stopPromise: EventLoopPromise<Void>

    private init(
        _ channel: any Channel, _ address: SocketAddress, record: MemberRecord, node: BusNode,
        settings: GossipSettings, owner: any GossipOwner
    ) {
        self.channel = channel
        self.address = address
        self.node = node
        self.settings = settings
        self.owner = owner
        eventLoop = channel.eventLoop
        boot = record.boot
        sealer = GossipSealer(node: node, boot: boot)
        stopPromise = eventLoop.makePromise()
        let cluster = UInt32(truncatingIfNeeded: Hash64.text(node.hello.cluster))
        // Each process decides for itself whom it probes and tells.
        let seed = KeyDerivation.random(8).reduce(UInt64(0)) { ($0 << 8) | UInt64($1) }
        membership = Membership(
            record, cluster: cluster, seed: seed, configuration: settings.membership)
    }

    /// Binds, and joins by the seeds.
    ///
    /// - Parameters:
    ///   - record: what this node says of itself; its address is where others reach this port, for
    ///     datagrams and for the streams that `BusListener.serve` hands over.
    ///   - port: not 0, unless nobody opens streams to this node.
    /// - Throws: where the address cannot be bound.
    public static func start(
        on eventLoop: any EventLoop, host: String, port: Int, record: MemberRecord, node: BusNode,
        settings: GossipSettings, owner: any GossipOwner
    ) async throws -> GossipSocket {
        // A longer datagram is cut, and its tag is wrong then.
        let allocator = FixedSizeRecvByteBufferAllocator(capacity: 2_048)
        let channel = try await DatagramBootstrap(group: eventLoop)
            .channelOption(.recvAllocator, value: allocator)
            // Thousands of members may speak while this process stands still for a moment.
            .channelOption(.socketOption(.so_rcvbuf), value: 1 << 20)
            .bind(host: host, port: port).get()
        guard let address = channel.localAddress else {
            preconditionFailure("a socket without an address")
        }
        let socket = GossipSocket(
            channel, address, record: record, node: node, settings: settings, owner: owner)
        try await eventLoop.submit {
            try channel.pipeline.syncOperations.addHandler(GossipDatagrams(socket: socket))
            socket.resolve(sinceMs: 0)
        }.get()
        return socket
    }

    public var counters: GossipCounters {
        counted.withLock { $0 }
    }

    func count(_ body: (inout GossipCounters) -> Void) { counted.withLock { body(&$0) } }

    private var nowNs: UInt64 { eventLoop.now.uptimeNanoseconds }

    // MARK: What it knows, on the event loop

    /// Everybody it remembers, this node first.
    public var members: [GossipMember] {
        eventLoop.preconditionInEventLoop()
        var list: [GossipMember] = []
        for slot in 0..<membership.slotCount {
            guard let state = membership.state(slot) else { continue }
            list.append(
                GossipMember(
                    record: membership.record(slot), state: state,
                    incarnation: membership.incarnation(slot)))
        }
        return list
    }

    public var isMember: Bool { membership.isMember }
    public var isStopped: Bool { membership.isStopped }
    public var isRebalancingFrozen: Bool { membership.isRebalancingFrozen }
    public var membershipCounters: MembershipCounters { membership.counters }

    /// Everybody it remembers, this node first. From any thread.
    public func readMembers() -> EventLoopFuture<[GossipMember]> {
        eventLoop.submit { [self] in members }
    }

    /// Tells the cluster what has changed about this node.
    public func update(_ record: MemberRecord) {
        eventLoop.preconditionInEventLoop()
        membership.update(record, nowNs: nowNs)
        arm()
    }

    /// Says goodbye. From any thread.
    ///
    /// - Returns: when it has stopped: once others have heard.
    public func leave() -> EventLoopFuture<Void> {
        eventLoop.execute { [self] in
            if hasStarted {
                membership.leave(nowNs: nowNs, into: &effects)
                carryOut()
            } else {
                stop()
            }
        }
        return stopPromise.futureResult
    }

    /// Stops without a word, as a crash would. From any thread.
    public func close() -> EventLoopFuture<Void> {
        eventLoop.execute { [self] in stop() }
        return stopPromise.futureResult
    }

    // MARK: Seeds

    /// Looks the seeds' names up in a thread of NIO's pool, and joins by what they mean.
    private func resolve(sinceMs: Int64) {
        guard !hasStopped else { return }
        let seeds = settings.seeds
        guard !seeds.isEmpty else { return join([]) }
        NIOThreadPool.singleton.runIfActive(eventLoop: eventLoop) {
            seeds.map { $0.resolve() }
        }.whenComplete { [weak self] result in
            self?.resolved((try? result.get()) ?? [], sinceMs: sinceMs)
        }
    }

    private func resolved(_ found: [[MemberAddress]], sinceMs: Int64) {
        guard !hasStopped else { return }
        let all = found.flatMap { $0 }
        let isComplete = found.count == settings.seeds.count && found.allSatisfy { !$0.isEmpty }
        if all.isEmpty { count { $0.unresolved += 1 } }
        if hasStarted {
            // The same ones anew would begin a joining node's round again.
            if !all.isEmpty, Set(all) != joinedBy {
                joinedBy = Set(all)
                membership.setSeeds(all)
            }
            return resolveAgain(in: settings.resolveMs, sinceMs: 0)
        }
        // A name without an address may be a node that is about to start: without it this one
        // could take itself for the whole cluster.
        if all.isEmpty || (!isComplete && sinceMs < settings.resolveGraceMs) {
            let waitMs = settings.resolveRetryMs
            return resolveAgain(in: waitMs, sinceMs: sinceMs + waitMs)
        }
        join(all)
        resolveAgain(in: settings.resolveMs, sinceMs: 0)
    }

    private func resolveAgain(in ms: Int64, sinceMs: Int64) {
        resolver = eventLoop.scheduleTask(in: .milliseconds(ms)) { [weak self] in
            self?.resolve(sinceMs: sinceMs)
        }
    }

    private func join(_ seeds: [MemberAddress]) {
        hasStarted = true
        joinedBy = Set(seeds)
        membership.start(seeds: seeds, nowNs: nowNs, into: &effects)
        carryOut()
    }

    // MARK: Time

    private func arm() {
        guard hasStarted, !hasStopped else { return }
        let next = membership.nextDeadlineNs
        // One that is earlier than needed does no harm: it looks again.
        if timer != nil, timerNs <= next { return }
        timer?.cancel()
        timer = nil
        guard next < UInt64(Int64.max) else { return }
        timerNs = next
        timer = eventLoop.scheduleTask(deadline: .uptimeNanoseconds(next)) { [weak self] in
            guard let self else { return }
            timer = nil
            tick()
        }
    }

    private func tick() {
        guard !hasStopped else { return }
        membership.tick(nowNs: nowNs, into: &effects)
        carryOut()
    }

    // MARK: Effects

    private func carryOut() {
        for index in 0..<effects.datagrams.count { send(effects.datagrams[index]) }
        if effects.datagrams.count > 0 { channel.flush() }
        for index in 0..<effects.streams.count { carryOut(effects.streams[index]) }
        // An owner may call back: its events are handed over once everything else is done.
        var events: [(MemberEvent, MemberRecord?)] = []
        for index in 0..<effects.events.count {
            let event = effects.events[index]
            let slot = Int(event.slot)
            var record: MemberRecord?
            if slot < membership.slotCount, membership.state(slot) != nil,
                membership.record(slot).boot == event.boot
            {
                record = membership.record(slot)
            }
            if event.kind == .forgotten {
                datagrams.forget(event.boot)
                messages.forget(event.boot)
            }
            events.append((event, record))
        }
        var rejections: [MembershipRejection] = []
        for index in 0..<effects.rejections.count { rejections.append(effects.rejections[index]) }
        effects.removeAll()
        arm()
        for (event, record) in events { owner.gossip(event, record) }
        for rejection in rejections { owner.gossip(rejection) }
        if membership.isStopped { stop() }
    }

    private func send(_ out: OutboundDatagram) {
        guard let address = SocketAddress(out.address) else { return }
        plain.removeAll()
        GossipCodec.encode(
            out.datagram, updates: effects.updates, first: Int(out.firstUpdate),
            count: Int(out.updateCount), records: effects.records, into: &plain)
        sealed.removeAll()
        sealer.seal(plain.bytes, .datagram, into: &sealed)
        count { $0.datagramsSent += 1 }
        let envelope = AddressedEnvelope(
            remoteAddress: address, data: ByteBuffer(bytes: sealed.bytes))
        channel.write(envelope, promise: nil)
    }

    private func carryOut(_ out: OutboundStream) {
        plain.removeAll()
        GossipCodec.encode(
            out.message, updates: effects.updates, first: Int(out.firstUpdate),
            count: Int(out.updateCount), records: effects.records, into: &plain)
        var bytes = ByteSink(capacity: plain.count + GossipSeal.overheadBytes)
        sealer.seal(plain.bytes, .stream, into: &bytes)
        let message = Array(bytes.bytes)
        if plain.count > 64 << 10 { plain = ByteSink(capacity: 2_048) }
        switch out.kind {
        case .open: open(out.address, message)
        case .reply, .replyAndClose:
            streams[out.stream]?.handler.write(message, thenClose: out.kind == .replyAndClose)
        }
    }

    // MARK: Datagrams

    func received(_ envelope: AddressedEnvelope<ByteBuffer>) {
        guard hasStarted, !hasStopped else { return }
        var data = envelope.data
        count { $0.datagramsReceived += 1 }
        guard data.readableBytes <= MembershipLimits.datagramBytes + MembershipLimits.sealBytes
        else { return count { $0.tooLong += 1 } }
        guard let from = MemberAddress(envelope.remoteAddress) else { return }
        let nowNs = nowNs
        let isTaken = data.withUnsafeMutableReadableBytes { bytes in
            guard let (seal, plain) = sealer.open(bytes, .datagram) else {
                count { $0.strangers += 1 }
                return false
            }
            let isKnown = membership.slot(boot: seal.sender) != nil
            guard datagrams.accept(seal, isMember: isKnown) else {
                count { $0.replays += 1 }
                return false
            }
            guard
                let datagram = try? GossipCodec.decode(
                    datagram: plain, updates: &updates, records: &records),
                datagram.sender == seal.sender
            else {
                count { $0.malformed += 1 }
                return false
            }
            membership.receive(
                datagram, updates: updates, records: records, from: from, nowNs: nowNs,
                into: &effects)
            return true
        }
        if isTaken { carryOut() }
    }

    // MARK: Streams

    /// Whether what came first on a connection is a stream of gossip.
    func wants(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count >= 4
            && UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self)) == GossipStream.magic
    }

    /// Takes over a connection that somebody else made to this node. On its own event loop.
    ///
    /// - Returns: the handler that goes into its pipeline; nil where there are too many.
    func accept(_ channel: any Channel) -> GossipStream? {
        let before = accepted.wrappingAdd(1, ordering: .relaxed).oldValue
        guard before < settings.streams, let remote = channel.remoteAddress,
            let address = MemberAddress(remote)
        else {
            accepted.wrappingSubtract(1, ordering: .relaxed)
            count { $0.streamsRefused += 1 }
            return nil
        }
        let stream = GossipStream(
            id: nextStream.wrappingAdd(1, ordering: .relaxed).oldValue, address: address,
            on: channel.eventLoop, socket: self, opening: nil,
            lifetime: .milliseconds(settings.streamMs))
        eventLoop.execute { [self] in streams[stream.id] = Stream(handler: stream) }
        return stream
    }

    private func open(_ address: MemberAddress, _ message: [UInt8]) {
        guard opened < settings.streams, let remote = SocketAddress(address) else {
            count { $0.streamsRefused += 1 }
            // Not at once: membership is in the middle of something.
            return eventLoop.execute { [self] in failed(address) }
        }
        opened += 1
        let stream = GossipStream(
            id: nextStream.wrappingAdd(1, ordering: .relaxed).oldValue, address: address,
            on: eventLoop, socket: self, opening: message,
            lifetime: .milliseconds(settings.streamMs))
        streams[stream.id] = Stream(handler: stream)
        ClientBootstrap(group: eventLoop)
            .connectTimeout(.milliseconds(settings.connectMs))
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(stream)
                }
            }
            .connect(to: remote)
            .whenFailure { _ in stream.end() }
    }

    func received(_ bytes: [UInt8], on stream: GossipStream) {
        guard hasStarted, !hasStopped, streams[stream.id] != nil else { return stream.end() }
        var bytes = bytes
        let nowNs = nowNs
        let isTaken = bytes.withUnsafeMutableBytes { bytes in
            guard let (seal, plain) = sealer.open(bytes, .stream) else {
                count { $0.strangers += 1 }
                return false
            }
            let isKnown = membership.slot(boot: seal.sender) != nil
            guard messages.accept(seal, isMember: isKnown) else {
                count { $0.replays += 1 }
                return false
            }
            guard
                let message = try? GossipCodec.decode(
                    stream: plain, updates: &updates, records: &records),
                message.sender == seal.sender
            else {
                count { $0.malformed += 1 }
                return false
            }
            streams[stream.id]?.isAnswered = true
            membership.receive(
                message, updates: updates, records: records, on: stream.id, from: stream.address,
                nowNs: nowNs, into: &effects)
            return true
        }
        if isTaken { carryOut() } else { stream.end() }
    }

    func ended(_ stream: GossipStream) {
        let known = streams.removeValue(forKey: stream.id)
        if stream.isOpener {
            opened -= 1
            if let known, !known.isAnswered { failed(stream.address) }
        } else {
            accepted.wrappingSubtract(1, ordering: .relaxed)
        }
    }

    private func failed(_ address: MemberAddress) {
        guard hasStarted, !hasStopped else { return }
        membership.streamFailed(address, nowNs: nowNs, into: &effects)
        carryOut()
    }

    // MARK: The end

    private func stop() {
        guard !hasStopped else { return }
        hasStopped = true
        timer?.cancel()
        resolver?.cancel()
        for id in streams.keys.sorted() { streams[id]?.handler.end() }
        channel.close(promise: nil)
        owner.gossipStopped()
        stopPromise.succeed()
    }
}

/// Hands datagrams to the socket.
private final class GossipDatagrams: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    private let socket: GossipSocket

    init(socket: GossipSocket) { self.socket = socket }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        socket.received(unwrapInboundIn(data))
    }

    /// One datagram could not be sent or read: the rest goes on.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}

extension MemberAddress {
    /// nil where it is neither IPv4 nor IPv6.
    public init?(_ address: SocketAddress) {
        let made = address.withSockAddr { pointer, size in
            // SAFETY: SwiftNIO's addresses are as long as it says.
            MemberAddress(socketAddress: UnsafeRawBufferPointer(start: pointer, count: size))
        }
        guard let made else { return nil }
        self = made
    }
}

extension SocketAddress {
    public init?(_ address: MemberAddress) {
        var bytes = ByteBuffer()
        if let ipv4 = address.ipv4 {
            bytes.writeInteger(ipv4)
        } else {
            bytes.writeInteger(address.hostHigh)
            bytes.writeInteger(address.hostLow)
        }
        guard
            let made = try? SocketAddress(packedIPAddress: bytes, port: Int(address.port))
        else { return nil }
        self = made
    }
}
