import EdgeMemory
import EdgeTypes
import EdgeWire
import NIOCore

/// A RESP client. One handler is its whole pipeline (behind TLS, where there is TLS).
final class RESPConnection: ClientConnection, ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let decoder: RESPDecoder
    /// What was read of a command whose rest has not come, or that has to wait.
    private var pending = ByteBuffer()
    var isRESP3 = false
    var role: RESPRole
    var userName: Text64
    var clientName = Text64()
    private let isRated: Bool
    private let isUserRated: Bool

    init(loop: ServerLoop) {
        decoder = RESPDecoder(limits: loop.limits.resp)
        let open = loop.shared.settings.respUsers.isEmpty
        role = open ? .operator : .anyone
        userName = open ? "default" : Text64()
        isRated = !loop.limits.respRate.isOff
        isUserRated = !loop.limits.respUserRate.isOff
        super.init(loop: loop, rate: loop.limits.respRate)
    }

    // MARK: channel events

    func channelActive(context: ChannelHandlerContext) {
        guard loop.shared.enter() else {
            let refusal = ByteBuffer(string: "-ERR max number of clients reached\r\n")
            context.writeAndFlush(NIOAny(refusal), promise: nil)
            context.close(promise: nil)
            return
        }
        opened(context)
        if loop.shared.isClosingNow { closeNow() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        closed()
        pending = ByteBuffer()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        writabilityChanged(context)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .inputClosed? = event as? ChannelEvent { finish() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isFinishing, self.context != nil else { return }
        var buffer = unwrapInboundIn(data)
        guard pending.readableBytes == 0 else {
            pending.writeBuffer(&buffer)
            if pauses.isDisjoint(with: .decoding) { decodeMore() }
            return
        }
        let used = pauses.isDisjoint(with: .decoding) ? decode(buffer) : 0
        guard used < buffer.readableBytes, !isFinishing else { return }
        buffer.moveReaderIndex(forwardBy: used)
        // A copy, so that the socket's buffer can be used again.
        pending = loop.takeBuffer()
        pending.writeBuffer(&buffer)
        noteRest()
    }

    override func decodeMore() {
        guard pending.readableBytes > 0 else { return }
        let used = decode(pending)
        pending.moveReaderIndex(forwardBy: used)
        guard !isFinishing, pending.readableBytes > 0 else {
            let buffer = pending
            pending = ByteBuffer()
            partialSinceMs = 0
            loop.giveBack(buffer)
            return
        }
        pending.discardReadBytes()
        noteRest()
    }

    /// What is left is either the beginning of a command, or waits behind a pause.
    private func noteRest() {
        guard pauses.isDisjoint(with: .decoding) else {
            partialSinceMs = 0
            return
        }
        if partialSinceMs == 0 { partialSinceMs = max(1, loop.nowMs) }
        if pending.readableBytes > loop.limits.respRequestBytes {
            refuseProtocol("too big request")
        }
    }

    // MARK: decoding

    /// Decodes every complete command into the loop's batch.
    ///
    /// - Returns: the bytes used.
    private func decode(_ buffer: ByteBuffer) -> Int {
        let bytes = buffer.readableBytesSpan
        let depth = UInt32(loop.limits.pipelineDepth)
        var at = 0
        while at < bytes.byteCount {
            let inline: Bool
            let end: Int
            switch decoder.decode(bytes, from: at, into: &loop.arguments) {
            case .command(let next, let isInline):
                end = next
                inline = isInline
            case .incomplete:
                return at
            case .malformed(let error):
                refuseProtocol(error.text)
                return bytes.byteCount
            }
            let accepted: Bool
            if inline {
                let words = loop.arguments.inlineBytes
                accepted = command(words.span.bytes)
            } else {
                accepted = command(bytes)
            }
            // A command that has to wait is decoded again later.
            guard accepted else { return at }
            at = end
            if isFinishing { return bytes.byteCount }
            if outstanding >= depth { pause(.depth) }
            if !pauses.isDisjoint(with: .decoding) { return at }
        }
        return at
    }

    private func refuseProtocol(_ text: String) {
        loop.statistics.protocolErrors &+= 1
        answer { RESPEncoder.append(error: "ERR", "Protocol error: \(text)", to: &$0) }
        finish()
    }

    /// Handles one command.
    ///
    /// - Returns: false where it has to wait for the answers of those before it.
    @inline(__always)
    private func command(_ bytes: RawSpan) -> Bool {
        guard loop.arguments.count > 0 else { return true }
        lastRequestMs = loop.nowMs
        partialSinceMs = 0
        if role >= .app, !isRated, !isUserRated,
            let grab = RESPRequests.plainGrab(bytes, loop.arguments, ticket: ticket)
        {
            enqueue(grab)
            return true
        }
        return otherCommand(bytes)
    }

    @inline(__always)
    private func enqueue(_ request: Request) {
        loop.batch.requests.append(request)
        sent()
    }

    private func enqueue(_ request: Request, _ payload: Payload) {
        loop.batch.append(request, payload: payload)
        sent()
    }

    @inline(__always)
    private func sent() {
        nextIn &+= 1
        loop.scheduleTick()
        loop.stepIfFull()
    }

    @inline(never)
    private func otherCommand(_ bytes: RawSpan) -> Bool {
        guard let command = RESPRequests.command(bytes, loop.arguments) else {
            refuseUnknown(bytes)
            return true
        }
        guard role >= command.info.role else {
            if role == .anyone {
                refuse(RESPRefusal("NOAUTH", "Authentication required."))
            } else {
                refuse(
                    RESPRefusal(
                        "NOPERM",
                        "this user has no permissions to run the '\(command.info.name)' command"))
            }
            return true
        }
        if outstanding > 0, command.isBarrier {
            pause(.barrier)
            return false
        }
        let parsed = RESPRequests.parse(
            command, bytes, loop.arguments, ticket: ticket, actor: userName)
        if let waitMs = throttle(parsed) {
            loop.statistics.throttled &+= 1
            refuse(RESPRefusal("THROTTLED", String(waitMs)))
            return true
        }
        switch parsed {
        case .request(let request): enqueue(request)
        case .payload(let request, let payload): enqueue(request, payload)
        case .create(let request, let draft): create(request, draft)
        case .local(let command): local(command, bytes)
        case .refused(let refusal): refuse(refusal)
        }
        return true
    }

    private func throttle(_ parsed: RESPRequest) -> Int64? {
        if isRated {
            let waitMs = bucket.take(loop.limits.respRate, nowMs: loop.nowMs)
            if waitMs > 0 { return waitMs }
        }
        guard isUserRated, case .request(let request) = parsed,
            request.operation == .grab || request.operation == .reserve
        else { return nil }
        let waitMs = loop.respUserBuckets.take(request.user, nowMs: loop.nowMs)
        return waitMs > 0 ? waitMs : nil
    }

    private func create(_ request: Request, _ draft: PoolDraft) {
        switch PoolSeed.definition(of: draft, profile: loop.shared.settings.profile) {
        case .success(let definition):
            enqueue(request, .definition(definition, actor: userName))
        case .failure(let refusal): refuse(RESPRefusal("BADARG", refusal.text))
        }
    }

    func refuse(_ refusal: RESPRefusal) {
        answer { RESPEncoder.append(error: refusal.code, refusal.text, to: &$0) }
    }

    private func refuseUnknown(_ bytes: RawSpan) {
        guard role >= .app else {
            return refuse(RESPRefusal("NOAUTH", "Authentication required."))
        }
        var text = "unknown command '\(word(bytes, 0))', with args beginning with: "
        for index in 1..<max(1, min(loop.arguments.count, 8)) {
            text += "'\(word(bytes, index))' "
        }
        refuse(RESPRefusal("ERR", text))
    }

    /// An argument as text, cut after 128 bytes.
    func word(_ bytes: RawSpan, _ index: Int) -> String {
        let range = loop.arguments.range(index).prefix(128)
        return bytes.extracting(range).withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    // MARK: answers

    override func encode(_ reply: Reply, body: Value?, to sink: inout ByteSink) {
        RESPEncoder.append(reply, body: body, resp3: isRESP3, to: &sink)
    }

    override func finishAnswers() { finish() }

    override func sweepProtocol(nowMs: Int64) {
        if partialSinceMs != 0, nowMs - partialSinceMs >= loop.limits.stallMs {
            return cutOff()
        }
        let idleMs = loop.limits.respIdleMs
        if idleMs > 0, outstanding == 0, nowMs - lastRequestMs >= idleMs { cutOff() }
    }
}

extension RESPCommand {
    /// Whether it changes how answers are written, or ends them.
    fileprivate var isBarrier: Bool { self == .hello || self == .reset }
}
