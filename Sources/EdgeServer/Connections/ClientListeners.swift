public import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// The listening sockets of a node's clients. Each accepted connection goes to the next loop.
public final class ClientListeners: Sendable {
    public struct Address: Sendable, Hashable {
        public var host: String
        /// 0: any free port.
        public var port: Int

        public init(host: String, port: Int) {
            self.host = host
            self.port = port
        }
    }

    public enum Kind: Sendable {
        case resp, http
    }

    private let loops: [ServerLoop]
    private let shared: ServerShared
    private let channels: [any Channel]
    /// Where clients reach it, with the real ports.
    public let respAddress: SocketAddress?
    public let httpAddress: SocketAddress?

    private init(loops: [ServerLoop], resp: (any Channel)?, http: (any Channel)?) {
        self.loops = loops
        shared = loops[0].shared
        channels = [resp, http].compactMap { $0 }
        respAddress = resp?.localAddress
        httpAddress = http?.localAddress
    }

    /// Binds and serves.
    ///
    /// - Parameters:
    ///   - loops: connected to each other; all the event loops of `group`, in any order.
    ///   - tls: where given, both listeners speak TLS only.
    /// - Throws: where an address cannot be bound; nothing then stays bound.
    public static func start(
        group: any EventLoopGroup, loops: [ServerLoop], resp: Address?, http: Address?,
        tls: TLSHolder? = nil
    ) async throws -> ClientListeners {
        precondition(!loops.isEmpty)
        let byLoop = LoopTable(loops)
        for loop in loops { try await loop.start().get() }
        var respChannel: (any Channel)?
        if let resp { respChannel = try await bind(.resp, resp, group, byLoop, tls) }
        do {
            var httpChannel: (any Channel)?
            if let http { httpChannel = try await bind(.http, http, group, byLoop, tls) }
            return ClientListeners(loops: loops, resp: respChannel, http: httpChannel)
        } catch {
            try? await respChannel?.close()
            throw error
        }
    }

    private static func bind(
        _ kind: Kind, _ address: Address, _ group: any EventLoopGroup, _ table: LoopTable,
        _ tls: TLSHolder?
    ) async throws -> any Channel {
        let limits = table.limits
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: limits.backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try prepare(channel, kind, table.loop(of: channel.eventLoop), tls)
                }
            }
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            .childChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.maxMessagesPerRead, value: 4)
            // A read that does not fill the buffer is the last one of its turn; the buffer is
            // the channel's own and is used again, since nobody keeps it.
            .childChannelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(
                    minimum: 1_024, initial: 2_048, maximum: 65_536)
            )
            .childChannelOption(
                .writeBufferWaterMark,
                value: ChannelOptions.Types.WriteBufferWaterMark(low: 32_768, high: 65_536)
            )
            // A peer that has said all it wants still gets its answers.
            .childChannelOption(.allowRemoteHalfClosure, value: tls == nil)
        return try await bootstrap.bind(host: address.host, port: address.port).get()
    }

    static func prepare(
        _ channel: any Channel, _ kind: Kind, _ loop: ServerLoop, _ tls: TLSHolder?
    ) throws {
        let pipeline = channel.pipeline.syncOperations
        if let tls { try pipeline.addHandler(NIOSSLServerHandler(context: tls.context)) }
        switch kind {
        case .resp: try pipeline.addHandler(RESPConnection(loop: loop))
        case .http:
            var limits = NIOHTTPDecoderLimitConfiguration()
            limits.maxHeaderFieldSize = loop.limits.headerBytes
            limits.maxHeaderListSize = loop.limits.headerBytes
            limits.maxHeaderFieldCount = loop.limits.headerFields
            let decoder = HTTPRequestDecoder(
                leftOverBytesStrategy: .dropBytes, limitConfiguration: limits)
            try pipeline.addHandler(ByteToMessageHandler(decoder))
            try pipeline.addHandler(HTTPConnection(loop: loop))
        }
    }

    /// `/readyz` turns 503; everything is still served.
    public func beginDrain() { shared.setReady(false) }

    /// Stops accepting, tells clients to go (`Connection: close`), closes what is idle at once
    /// and the rest after its answers, everything after `grace`. Once.
    public func close(grace: TimeAmount) async throws {
        shared.setReady(false)
        shared.setClosing()
        for channel in channels { try? await channel.close() }
        let deadline = NIODeadline.now() + grace
        let all = loops.map { $0.closeConnections(deadline: deadline) }
        for future in all { try await future.get() }
    }
}

/// Finds the server loop of an event loop.
private final class LoopTable: Sendable {
    private let loops: [ObjectIdentifier: ServerLoop]
    let limits: ServerLimits

    init(_ loops: [ServerLoop]) {
        limits = loops[0].limits
        self.loops = Dictionary(
            uniqueKeysWithValues: loops.map { (ObjectIdentifier($0.eventLoop), $0) })
    }

    func loop(of eventLoop: any EventLoop) -> ServerLoop {
        guard let loop = loops[ObjectIdentifier(eventLoop)] else {
            preconditionFailure("an event loop without a server loop")
        }
        return loop
    }
}
