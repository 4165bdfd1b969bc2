import EdgeTypes
import EdgeWire
import NIOCore

/// A stream of gossip on its channel: cuts it into sealed messages, which `GossipSocket` opens on
/// its own loop, and writes what that sealed.
///
///     opener: 0 "DPG1", once; both: length (u32), then as `GossipSeal` says
///
/// It lives for a few seconds; a stranger gets nothing out of it and may send a few kilobytes.
final class GossipStream: ChannelInboundHandler, @unchecked Sendable {
    // SAFETY: all mutable state is confined to the channel's event loop.
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// "DPG1", read as a number.
    static let magic: UInt32 = 0x3147_5044
    private static let firstBytes = 4_096

    let id: UInt32
    /// The other end, as membership knows it.
    let address: MemberAddress
    /// Whether this side opened it.
    let isOpener: Bool
    /// The channel's.
    private let eventLoop: any EventLoop
    private let socket: GossipSocket
    private let first: [UInt8]
    private let lifetime: TimeAmount
    private var input = ByteQueue()
    private var limit: Int
    private var context: ChannelHandlerContext?
    private var timer: Scheduled<Void>?
    private var isOver = false

    /// - Parameter first: of a stream that this side opens: its first message, sealed.
    init(
        id: UInt32, address: MemberAddress, on eventLoop: any EventLoop, socket: GossipSocket,
        opening first: [UInt8]?, lifetime: TimeAmount
    ) {
        self.eventLoop = eventLoop
        self.id = id
        self.address = address
        self.socket = socket
        isOpener = first != nil
        self.first = first ?? []
        self.lifetime = lifetime
        limit = first == nil ? Self.firstBytes : Self.longest
    }

    private static var longest: Int { MembershipLimits.streamBytes + GossipSeal.overheadBytes }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        timer = context.eventLoop.scheduleTask(in: lifetime) { [weak self] in self?.close() }
        if context.channel.isActive { begin(context) }
    }

    func channelActive(context: ChannelHandlerContext) { begin(context) }

    private func begin(_ context: ChannelHandlerContext) {
        guard isOpener else { return }
        var buffer = ByteBuffer()
        buffer.writeInteger(Self.magic, endianness: .little)
        Self.frame(first, into: &buffer)
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }

    private static func frame(_ sealed: [UInt8], into buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt32(sealed.count), endianness: .little)
        buffer.writeBytes(sealed)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        unwrapInboundIn(data).withUnsafeReadableBytes { input.append($0) }
        while !isOver, input.count >= 4 {
            let size = Int(
                UInt32(littleEndian: input.bytes.loadUnaligned(fromByteOffset: 0, as: UInt32.self)))
            guard size >= GossipSeal.overheadBytes, size <= limit else {
                socket.count { $0.tooLong += 1 }
                return close()
            }
            guard input.count >= 4 + size else { return }
            let message = Array(input.bytes[4..<(4 + size)])
            input.consume(4 + size)
            socket.eventLoop.execute { [socket, self] in socket.received(message, on: self) }
        }
    }

    /// Writes a sealed message. From any loop.
    func write(_ sealed: [UInt8], thenClose: Bool) {
        eventLoop.execute { [self] in
            guard let context, !isOver else { return }
            // Who was answered is no stranger.
            limit = Self.longest
            var buffer = ByteBuffer()
            Self.frame(sealed, into: &buffer)
            let promise = thenClose ? context.eventLoop.makePromise(of: Void.self) : nil
            promise?.futureResult.whenComplete { [self] _ in close() }
            context.writeAndFlush(wrapOutboundOut(buffer), promise: promise)
        }
    }

    /// From any loop.
    func end() { eventLoop.execute { [self] in close() } }

    func channelInactive(context: ChannelHandlerContext) { close() }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { close() }

    func handlerRemoved(context: ChannelHandlerContext) {
        close()
        self.context = nil
    }

    private func close() {
        guard !isOver else { return }
        isOver = true
        timer?.cancel()
        context?.close(promise: nil)
        socket.eventLoop.execute { [socket, self] in socket.ended(self) }
    }
}
