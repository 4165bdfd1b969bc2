public import NIOCore
import NIOPosix
import Synchronization

/// Where streams of gossip go that come to the same port.
final class BusDoor: Sendable {
    private let socket = Mutex<GossipSocket?>(nil)

    var gossip: GossipSocket? {
        get { socket.withLock { $0 } }
        set { socket.withLock { $0 = newValue } }
    }
}

/// The port where other nodes connect: messages, and streams of gossip.
public final class BusListener: Sendable {
    private let channel: any Channel
    private let door: BusDoor
    /// With the real port.
    public let address: SocketAddress

    static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(
        low: 256 << 10, high: 1 << 20)
    static let allocator = AdaptiveRecvByteBufferAllocator(
        minimum: 1_024, initial: 4_096, maximum: 65_536)

    private init(_ channel: any Channel, _ address: SocketAddress, _ door: BusDoor) {
        self.channel = channel
        self.door = door
        self.address = address
    }

    /// Binds and accepts. Each connection goes to the next loop of the group.
    ///
    /// - Parameters:
    ///   - port: 0: any free port.
    ///   - owner: whoever gets the messages that come on an event loop; asked on that loop.
    /// - Throws: where the address cannot be bound.
    public static func start(
        group: any EventLoopGroup, host: String, port: Int, node: BusNode,
        owner: @escaping @Sendable (any EventLoop) -> any BusOwner
    ) async throws -> BusListener {
        let door = BusDoor()
        let channel = try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 256)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        BusConnection(
                            node: node, owner: owner(channel.eventLoop), link: nil, door: door))
                }
            }
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            .childChannelOption(.writeBufferWaterMark, value: waterMark)
            .childChannelOption(.maxMessagesPerRead, value: 4)
            .childChannelOption(.recvAllocator, value: allocator)
            .bind(host: host, port: port).get()
        guard let address = channel.localAddress else {
            preconditionFailure("a listener without an address")
        }
        return BusListener(channel, address, door)
    }

    /// Hands streams of gossip over to a socket from now on; before, they are strangers.
    public func serve(_ gossip: GossipSocket?) { door.gossip = gossip }

    /// Accepts no more; connections stay.
    public func close() async throws { try await channel.close() }
}
