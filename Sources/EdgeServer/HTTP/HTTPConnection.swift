import EdgeMemory
import EdgeTypes
import EdgeWire
import NIOCore
import NIOHTTP1

/// An HTTP/1.1 client, behind NIO's decoder. Answers are bytes: there is no encoder.
final class HTTPConnection: ClientConnection, ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = ByteBuffer

    /// The request being read.
    var current = HTTPExchange()
    var fields = HTTPFields()
    private var isReading = false
    private var bodyBytes: [UInt8] = []
    private var awaitsContinue = false
    var isLoopback = false

    /// Requests that wait for their answers, by number modulo the size (a power of two).
    private var exchanges = [HTTPExchange](repeating: HTTPExchange(), count: 4)

    /// The Authorization header verified last, and what it said.
    var lastAuthorization = ""
    var lastClaims: TokenClaims?

    init(loop: ServerLoop) { super.init(loop: loop, rate: loop.limits.httpRate) }

    // MARK: channel events

    func channelActive(context: ChannelHandlerContext) {
        switch context.remoteAddress {
        case .v4(let address)?: isLoopback = address.host.hasPrefix("127.") || isLocal(context)
        case .v6?: isLoopback = isLocal(context)
        case .unixDomainSocket?, nil: isLoopback = true
        }
        guard loop.shared.enter() else {
            let text =
                "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
                + "Downpour-Node: \(loop.shared.settings.profile.name)\r\n"
                + "Connection: close\r\n\r\n"
            context.writeAndFlush(NIOAny(ByteBuffer(string: text)), promise: nil)
            context.close(promise: nil)
            return
        }
        opened(context)
        if loop.shared.isClosingNow { closeNow() }
    }

    private func isLocal(_ context: ChannelHandlerContext) -> Bool {
        guard let ip = context.remoteAddress?.ipAddress else { return false }
        return ip == "::1" || ip.hasPrefix("127.") || ip.hasPrefix("::ffff:127.")
    }

    func channelInactive(context: ChannelHandlerContext) {
        closed()
        bodyBytes = []
        exchanges = [HTTPExchange()]
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        writabilityChanged(context)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .inputClosed? = event as? ChannelEvent { finish() }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard self.context != nil, let error = error as? HTTPParserError else {
            return context.close(promise: nil)
        }
        // After its last request a connection's input means nothing; its answers still leave.
        if isFinishing { return }
        loop.statistics.protocolErrors &+= 1
        current = HTTPExchange()
        current.keepsAlive = false
        switch error {
        case .headerOverflow:
            refuse(.init(.headersTooLarge, "headers-too-large", "the header fields are too large"))
        case .invalidVersion:
            refuse(.init(.versionNotSupported, "version", "this is an HTTP/1.1 server"))
        default: refuse(.init(.badRequest, "bad-request", "the request is not HTTP"))
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isFinishing, self.context != nil else { return }
        switch unwrapInboundIn(data) {
        case .head(let head):
            isReading = true
            bodyBytes.removeAll(keepingCapacity: true)
            partialSinceMs = max(1, loop.nowMs)
            readHead(head)
            if current.expectsContinue { sendContinue() }
        case .body(let part):
            guard bodyBytes.count + part.readableBytes <= loop.limits.bodyBytes else {
                current.keepsAlive = false
                refuse(.init(.contentTooLarge, "too-large", "the body is too large"))
                return
            }
            bodyBytes.append(contentsOf: part.readableBytesView)
        case .end:
            isReading = false
            awaitsContinue = false
            partialSinceMs = 0
            lastRequestMs = loop.nowMs
            dispatch(bodyBytes)
            limitDepth()
        }
    }

    private func limitDepth() {
        let depth = UInt32(loop.limits.pipelineDepth)
        if outstanding >= depth { pause(.depth) }
        // What one read brought beyond the depth is served; a decoder cannot be stopped.
        if outstanding >= depth + 8_192 { cutOff() }
    }

    /// `100 Continue`, in its turn: after the answers of earlier requests.
    private func sendContinue() {
        current.expectsContinue = false
        guard outstanding == 0 else { return awaitsContinue = true }
        awaitsContinue = false
        loop.openRun(self, needs: .now)
        loop.sink.append("HTTP/1.1 100 Continue\r\n\r\n")
        loop.scheduleTick()
    }

    // MARK: requests under way

    /// Remembers what the next request's answer depends on.
    func remember(_ exchange: HTTPExchange) {
        if Int(outstanding) >= exchanges.count {
            var larger = [HTTPExchange](repeating: HTTPExchange(), count: exchanges.count * 2)
            for offset in 0..<outstanding {
                let position = Int(nextOut &+ offset)
                larger[position & (larger.count - 1)] = exchanges[position & (exchanges.count - 1)]
            }
            exchanges = larger
        }
        exchanges[Int(nextIn) & (exchanges.count - 1)] = exchange
    }

    func send(_ request: Request) {
        remember(current)
        loop.batch.requests.append(request)
        nextIn &+= 1
        if !current.keepsAlive { finish() }
        loop.scheduleTick()
        loop.stepIfFull()
    }

    func refuse(_ problem: HTTPProblem) {
        let exchange = closing(current)
        answer { write(problem, exchange, to: &$0) }
        if !exchange.keepsAlive { finish() }
    }

    /// Answers with a short text, or with nothing.
    func reply(_ status: HTTPStatusLine, _ text: StaticString, allow: StaticString = "") {
        let exchange = closing(current)
        answer { sink in
            loop.body.removeAll()
            loop.body.append(text)
            sink.append(status.text)
            loop.httpTexts.plain.withUnsafeBytes { sink.append($0) }
            if allow.utf8CodeUnitCount > 0 {
                sink.append("Allow: ")
                sink.append(allow)
                sink.append("\r\n")
            }
            writeRest(exchange, hasBody: status != .noContent, to: &sink)
        }
        if !exchange.keepsAlive { finish() }
    }

    /// The exchange, but closed after its answer where the node is closing.
    private func closing(_ exchange: HTTPExchange) -> HTTPExchange {
        var exchange = exchange
        if loop.shared.isClosingNow, outstanding == 0 {
            exchange.keepsAlive = false
        }
        return exchange
    }

    // MARK: answers

    override func encode(_ reply: Reply, body: Value?, to sink: inout ByteSink) {
        var exchange = exchanges[Int(nextOut) & (exchanges.count - 1)]
        if loop.shared.isClosingNow, outstanding == 1, !isReading {
            exchange.keepsAlive = false
        }
        write(reply, body, exchange, to: &sink)
        if !exchange.keepsAlive { finish() }
        if awaitsContinue, outstanding == 1 {
            awaitsContinue = false
            sink.append("HTTP/1.1 100 Continue\r\n\r\n")
        }
    }

    override func finishAnswers() {
        if outstanding == 0, !isReading { finish() }
    }

    override func sweepProtocol(nowMs: Int64) {
        guard !isFinishing else { return }
        if partialSinceMs != 0, nowMs - partialSinceMs >= loop.limits.stallMs {
            current.keepsAlive = false
            loop.statistics.cutOff &+= 1
            return refuse(.init(.requestTimeout, "timeout", "the request took too long"))
        }
        if outstanding == 0, partialSinceMs == 0, nowMs - lastRequestMs >= loop.limits.httpIdleMs {
            cutOff()
        }
    }
}

/// What the answer to a request depends on.
struct HTTPExchange {
    enum Shape: UInt8 {
        case grab, claims, reserve, orders, order, cancel, pool
    }

    var shape = Shape.grab
    var isHead = false
    var keepsAlive = true
    /// HTTP/1.0 has to be told that the connection stays.
    var isOld = false
    /// A body was announced and the client waits for a word before it sends it.
    var expectsContinue = false
    /// The browser's origin, where it may read the answer.
    var origin: String?
}
