import EdgeMemory
public import EdgeTypes
import EdgeWire
public import NIOCore

/// One connection to another node, dialed or accepted: who it is, then sealed records of messages.
///
/// `BusHandshake` describes the bytes. Messages that are appended between two flushes leave in
/// one record (more only beyond 1 MiB), and come out in order at the other side. Warm, a message
/// costs no allocation here.
public final class BusConnection: ChannelInboundHandler, RemovableChannelHandler,
    @unchecked Sendable
{
    // SAFETY: all mutable state is confined to the channel's event loop.
    public typealias InboundIn = ByteBuffer
    public typealias OutboundOut = ByteBuffer

    enum State {
        case idle
        /// Accepted: a stranger so far.
        case awaitsOpening
        /// Accepted, and proved once to know a key: perhaps a replay.
        case awaitsHello
        /// Dialed.
        case awaitsReply(BusHandshake.Half)
        case awaitsListener
        case up
        case over
    }

    let node: BusNode
    private let owner: any BusOwner
    /// Where a stream of gossip that comes to the same port goes.
    private let door: BusDoor?
    /// The dialer that made it; nil where it was accepted.
    private(set) var link: BusLink?
    private var context: ChannelHandlerContext?
    private var state = State.idle

    /// Who is at the other end; nil before `linkUp`.
    public private(set) var peer: BusHello?
    /// Where it is.
    public private(set) var address: SocketAddress?
    /// The version that both speak best, from `linkUp` on.
    public private(set) var version: UInt16 = 0
    /// The owner's own mark.
    public var mark = 0
    /// Of an owner: the other side stops, and is asked nothing more on it; or was told that this side
    /// does, and asks nothing more.
    public var isQuiet = false
    /// The owner's own number of the other side; -1: it has none.
    public var peerNumber = -1

    private var sealing: SealStream?
    private var opening: SealStream?
    private var keyIDs: [UInt32] = []

    private var input = ByteQueue()
    private var output = ByteQueue()
    /// Where records end in `output`, but the last; from its front.
    private var cuts: [Int] = []
    private var lastCut = 0
    private var out = ByteBuffer()

    private var isCounted = false
    private var isReadingPaused = false
    private var begun = NIODeadline.uptimeNanoseconds(0)
    private var heard = NIODeadline.uptimeNanoseconds(0)
    private var probed = NIODeadline.uptimeNanoseconds(0)
    private var blocked: NIODeadline?
    private var swept = NIODeadline.uptimeNanoseconds(0)
    private var timer: RepeatedTask?
    private var sweepStep = TimeAmount.zero

    static let recordBytes = BusLimits.messageBytes

    init(node: BusNode, owner: any BusOwner, link: BusLink?, door: BusDoor? = nil) {
        self.node = node
        self.owner = owner
        self.link = link
        self.door = door
    }

    /// The only one on which it may be used; nil before it is in a channel.
    public private(set) var eventLoop: (any EventLoop)?

    /// Whether this side opened it.
    public var isDialed: Bool { link != nil }

    /// What it is for, once that is known.
    public var purpose: BusPurpose { link?.purpose ?? peer?.purpose ?? .work }

    public var isUp: Bool {
        if case .up = state { true } else { false }
    }

    // MARK: Sending

    /// Whether more waits to be sent than should. Messages are still taken.
    public var isOverloaded: Bool { output.count > node.limits.outputHighBytes }

    /// Bytes that wait to be sealed.
    public var outputBytes: Int { output.count }

    /// Appends one message, to leave with the next `flush`.
    ///
    /// - Parameter encode: appends exactly one message, by `BusCodec`.
    /// - Returns: false where the connection is not up: the message is lost.
    @inline(__always) @discardableResult
    func append(_ encode: (inout ByteSink) -> Void) -> Bool {
        guard isUp else { return false }
        let start = output.count
        output.append(encode)
        cut(before: start)
        return true
    }

    /// Appends any message.
    ///
    /// - Parameter attached: entries, or a copy's piece.
    /// - Returns: false where the connection is not up, or the message is too long: it is lost.
    @discardableResult
    public func send(
        _ message: BusMessage, attached: UnsafeRawBufferPointer = .init(start: nil, count: 0)
    ) -> Bool {
        var isEncoded = false
        let isTaken = append { isEncoded = BusCodec.encode(message, attached: attached, into: &$0) }
        return isTaken && isEncoded
    }

    /// Ends a record before the message that begins at `start`, where the two do not fit into one.
    @inline(__always)
    private func cut(before start: Int) {
        if output.count - lastCut > Self.recordBytes {
            precondition(output.count - start <= Self.recordBytes, "more than one message")
            cuts.append(start)
            lastCut = start
        }
    }

    /// Seals what was appended, and writes it. Once a tick.
    public func flush() {
        guard isUp, let context, output.count > 0 else { return }
        if output.count > node.limits.outputBytes {
            node.count { $0.overflows += 1 }
            return end(.overflow)
        }
        guard context.channel.isWritable else { return }
        writeRecords(context)
    }

    private func writeRecords(_ context: ChannelHandlerContext) {
        out.clear()
        var done = 0
        var index = 0
        while done < output.count {
            let next = index < cuts.count ? cuts[index] : output.count
            seal(done..<next)
            index += 1
            done = next
            // What the socket may not take waits unsealed.
            if out.readableBytes >= Self.recordBytes { break }
        }
        output.consume(done)
        cuts.removeFirst(min(index, cuts.count))
        for place in cuts.indices { cuts[place] -= done }
        lastCut = cuts.last ?? 0
        context.writeAndFlush(wrapOutboundOut(out), promise: nil)
        if out.capacity > 4 * 65_536 { out = ByteBuffer() }
        if output.count > 0, context.channel.isWritable { writeRecords(context) }
    }

    private func seal(_ range: Range<Int>) {
        let plain = UnsafeRawBufferPointer(rebasing: output.bytes[range])
        Self.seal(plain, with: sealing, into: &out)
    }

    private static func seal(
        _ plain: UnsafeRawBufferPointer, with stream: SealStream?, into buffer: inout ByteBuffer
    ) {
        guard let stream else { preconditionFailure("sealed before there was a key") }
        let size = plain.count + SealCipher.tagBytes
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: 4 + size) { region in
            region.storeBytes(of: UInt32(size).littleEndian, as: UInt32.self)
            stream.seal(
                plain, header: UnsafeRawBufferPointer(rebasing: region[..<4]),
                into: UnsafeMutableRawBufferPointer(rebasing: region[4..<(4 + size)]))
            return 4 + size
        }
    }

    /// Reads again, where the owner said that it was overloaded.
    public func resume() {
        guard isReadingPaused, let context else { return }
        isReadingPaused = false
        heard = context.eventLoop.now
        // Fails only on a closed channel, which reads nothing anyway.
        try? context.channel.syncOptions?.setOption(.autoRead, value: true)
    }

    public func close() { end(.stopped) }

    // MARK: Channel

    public func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        eventLoop = context.eventLoop
        if context.channel.isActive { begin(context) }
    }

    public func channelActive(context: ChannelHandlerContext) { begin(context) }

    public func channelInactive(context: ChannelHandlerContext) {
        switch state {
        case .awaitsReply: end(.rejected)
        case .idle, .awaitsOpening, .awaitsHello, .awaitsListener, .up, .over: end(.closed)
        }
    }

    public func errorCaught(context: ChannelHandlerContext, error: any Error) { end(.closed) }

    public func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        timer?.cancel()
    }

    public func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            blocked = nil
            flush()
        } else {
            blocked = context.eventLoop.now
        }
    }

    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        heard = context.eventLoop.now
        unwrapInboundIn(data).withUnsafeReadableBytes { input.append($0) }
        take(context)
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard case .idle = state else { return }
        address = context.channel.remoteAddress
        begun = context.eventLoop.now
        heard = begun
        let limits = node.limits
        let shortest = min(limits.handshakeMs, limits.probeMs, limits.silenceMs)
        let step = TimeAmount.milliseconds(max(1, shortest / 4))
        sweepStep = step
        swept = begun
        timer = context.eventLoop.scheduleRepeatedTask(initialDelay: step, delay: step) {
            [weak self] _ in self?.sweep()
        }
        guard isDialed else {
            node.count { $0.accepted += 1 }
            isCounted = node.enter()
            state = .awaitsOpening
            if !isCounted {
                node.count { $0.crowded += 1 }
                end(.crowded)
            }
            return
        }
        node.count { $0.dialed += 1 }
        let half = BusHandshake.Half(
            key: node.keys.first, random: KeyDerivation.random(BusHandshake.randomBytes))
        state = .awaitsReply(half)
        write(BusHandshake.opening(half), context)
    }

    private func write(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
    }

    // MARK: Receiving

    private func take(_ context: ChannelHandlerContext) {
        while true {
            switch state {
            case .idle, .over: return
            case .awaitsOpening: if !takeOpening(context) { return }
            case .awaitsReply(let half): if !takeReply(half) { return }
            case .awaitsHello, .awaitsListener: if !takeHello(context) { return }
            case .up:
                takeRecords()
                if isUp { readIsOver(context) }
                return
            }
        }
    }

    /// - Returns: whether there may be more to take.
    private func takeOpening(_ context: ChannelHandlerContext) -> Bool {
        if input.count >= 4, let gossip = door?.gossip, gossip.wants(input.bytes) {
            handOver(to: gossip, context)
            return false
        }
        guard input.count >= BusHandshake.openingBytes else { return false }
        let bytes = UnsafeRawBufferPointer(rebasing: input.bytes[..<BusHandshake.openingBytes])
        guard let dialer = BusHandshake.readOpening(bytes, node.keys) else {
            node.count { $0.strangers += 1 }
            end(.stranger)
            return false
        }
        input.consume(BusHandshake.openingBytes)
        let listener = BusHandshake.Half(
            key: node.keys.first, random: KeyDerivation.random(BusHandshake.randomBytes))
        setKeys(.listener, dialer: dialer, listener: listener)
        state = .awaitsHello
        write(BusHandshake.reply(listener), context)
        writeHello(context)
        return true
    }

    private func takeReply(_ dialer: BusHandshake.Half) -> Bool {
        guard input.count >= BusHandshake.replyBytes else { return false }
        let bytes = UnsafeRawBufferPointer(rebasing: input.bytes[..<BusHandshake.replyBytes])
        guard let listener = BusHandshake.readReply(bytes, node.keys) else {
            node.count { $0.strangers += 1 }
            end(.stranger)
            return false
        }
        input.consume(BusHandshake.replyBytes)
        setKeys(.dialer, dialer: dialer, listener: listener)
        state = .awaitsListener
        return true
    }

    private func setKeys(
        _ side: BusHandshake.Side, dialer: BusHandshake.Half, listener: BusHandshake.Half
    ) {
        let other: BusHandshake.Side =
            switch side {
            case .dialer: .listener
            case .listener: .dialer
            }
        keyIDs = [dialer.key.id, listener.key.id]
        sealing = SealStream(
            key: BusHandshake.key(of: side, dialer: dialer, listener: listener), seals: true)
        opening = SealStream(
            key: BusHandshake.key(of: other, dialer: dialer, listener: listener), seals: false)
    }

    private func writeHello(_ context: ChannelHandlerContext) {
        var buffer = ByteBuffer()
        var hello = node.hello
        hello.purpose = purpose
        hello.bytes.withUnsafeBytes { Self.seal($0, with: sealing, into: &buffer) }
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }

    private func takeHello(_ context: ChannelHandlerContext) -> Bool {
        guard let size = nextRecord(limit: BusHello.limitBytes) else { return false }
        guard let plain = openRecord(size) else {
            // Whoever dialed has proved a key with bytes that were genuine: but not today's.
            if isDialed {
                node.count { $0.strangers += 1 }
                end(.stranger)
            } else {
                node.count { $0.replays += 1 }
                end(.replay)
            }
            return false
        }
        let hello = BusHello(plain)
        input.consume(4 + size)
        guard let hello else {
            node.count { $0.damaged += 1 }
            end(.damaged)
            return false
        }
        // The other side hears who this is whatever comes of it: both know the reason then.
        if isDialed { writeHello(context) }
        if let refusal = node.hello.refusal(of: hello) {
            node.count { $0.refused += 1 }
            end(.refused(refusal))
            return false
        }
        leaveBeginning()
        peer = hello
        version = min(hello.versions.newest, node.hello.versions.newest)
        state = .up
        node.count { $0.agreed += 1 }
        link?.isUp(self)
        owner.linkUp(self)
        return true
    }

    /// Opens all records that are there, and hands their messages on.
    private func takeRecords() {
        while isUp, let size = nextRecord(limit: Self.recordBytes) {
            guard let plain = openRecord(size) else {
                node.count { $0.damaged += 1 }
                return end(.damaged)
            }
            var reader = BusReader(plain)
            do throws(BusDecodeError) {
                while isUp, let message = try reader.next() {
                    switch message {
                    case .ping: append { BusCodec.encodePong(into: &$0) }
                    case .pong: break
                    default: owner.received(message, reader.attached, on: self)
                    }
                }
            } catch {
                node.count { $0.damaged += 1 }
                return end(.malformed(error))
            }
            input.consume(4 + size)
        }
    }

    /// The size of the record that is there as a whole; nil where there is none.
    private func nextRecord(limit: Int) -> Int? {
        guard input.count >= 4 else { return nil }
        let size = Int(
            UInt32(littleEndian: input.bytes.loadUnaligned(fromByteOffset: 0, as: UInt32.self)))
        guard size >= SealCipher.tagBytes, size <= limit + SealCipher.tagBytes else {
            node.count { $0.damaged += 1 }
            end(.tooLong)
            return nil
        }
        return input.count >= 4 + size ? size : nil
    }

    /// What the first record holds, decrypted in its place; nil where its tag is wrong.
    private func openRecord(_ size: Int) -> UnsafeRawBufferPointer? {
        guard let opening else { preconditionFailure("opened before there was a key") }
        let header = UnsafeRawBufferPointer(rebasing: input.bytes[..<4])
        let sealed = input.mutableBytes(4..<(4 + size))
        guard opening.open(sealed, header: header) else { return nil }
        return UnsafeRawBufferPointer(rebasing: sealed[..<(size - SealCipher.tagBytes)])
    }

    private func readIsOver(_ context: ChannelHandlerContext) {
        owner.receivedAll(on: self)
        guard isUp else { return }
        if !isReadingPaused, owner.isOverloaded, purpose == .work {
            isReadingPaused = true
            try? context.channel.syncOptions?.setOption(.autoRead, value: false)
        }
    }

    /// What came is a stream of gossip: this handler was only the door.
    private func handOver(to gossip: GossipSocket, _ context: ChannelHandlerContext) {
        state = .over
        timer?.cancel()
        leaveBeginning()
        guard let stream = gossip.accept(context.channel) else {
            return context.close(promise: nil)
        }
        let bytes = ByteBuffer(bytes: input.bytes[4...])
        let pipeline = context.pipeline.syncOperations
        do {
            try pipeline.addHandler(stream, position: .after(self))
        } catch {
            return context.close(promise: nil)
        }
        context.fireChannelRead(NIOAny(bytes))
        pipeline.removeHandler(self, promise: nil)
    }

    // MARK: The end

    private func leaveBeginning() {
        if isCounted { node.leave() }
        isCounted = false
    }

    /// Looks after time: whoever is late, silent or stuck.
    private func sweep() {
        guard let context else { return }
        let now = context.eventLoop.now
        let limits = node.limits
        // This process stood still: what came meanwhile has not been read.
        if now - swept >= sweepStep * 4 {
            heard = now
            blocked = blocked.map { _ in now }
        }
        swept = now
        switch state {
        case .idle, .over: return
        case .awaitsOpening, .awaitsHello, .awaitsReply, .awaitsListener:
            if now - begun >= .milliseconds(limits.handshakeMs) {
                node.count { $0.timeouts += 1 }
                end(.timeout)
            }
        case .up:
            sweepUp(now, limits)
        }
    }

    private func sweepUp(_ now: NIODeadline, _ limits: BusConnectionLimits) {
        let keys = node.keys
        guard keyIDs.allSatisfy({ keys.key(id: $0) != nil }) else {
            node.count { $0.keysRemoved += 1 }
            return end(.keyRemoved)
        }
        let silence = TimeAmount.milliseconds(limits.silenceMs)
        if let blocked, now - blocked >= silence {
            node.count { $0.stalled += 1 }
            return end(.stalled)
        }
        // What is not read cannot be heard.
        if isReadingPaused { heard = now }
        if now - heard >= silence {
            node.count { $0.silent += 1 }
            return end(.silent)
        }
        let probe = TimeAmount.milliseconds(limits.probeMs)
        // Whoever is not read from must still hear that this side lives.
        let last = isReadingPaused ? probed : max(heard, probed)
        if now - last >= probe {
            probed = now
            append { BusCodec.encodePing(into: &$0) }
        }
        // Pings and pongs of an owner that has nothing to say.
        flush()
    }

    /// Ends it; calls beyond the first do nothing.
    func end(_ end: BusEnd) {
        let wasUp: Bool
        switch state {
        case .over: return
        case .up: wasUp = true
        case .idle, .awaitsOpening, .awaitsHello, .awaitsReply, .awaitsListener: wasUp = false
        }
        state = .over
        timer?.cancel()
        timer = nil
        leaveBeginning()
        // After what was written, so that the other side hears the reason.
        context?.close(promise: nil)
        if wasUp { owner.linkDown(self, end) } else { owner.linkFailed(self, end) }
        link?.ended(end)
        link = nil
    }
}
