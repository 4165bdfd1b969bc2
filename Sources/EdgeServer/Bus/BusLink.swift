import EdgeMemory
public import NIOCore
import NIOPosix

/// A dialer: keeps one connection from one event loop to one address, again and again.
///
/// After a failure it waits, twice as long each time between the limits' first and last; a random
/// half of that is left out, so that a node that comes back is not called by all at once.
public final class BusLink: @unchecked Sendable {
    // SAFETY: all mutable state is confined to `eventLoop`.
    public let eventLoop: any EventLoop
    public let host: String
    public let port: Int
    let purpose: BusPurpose
    private let node: BusNode
    private let owner: any BusOwner

    /// The connection, once both sides agreed.
    public private(set) var connection: BusConnection?
    private var current: BusConnection?
    private var isStopped = true
    private var failures = 0
    private var timer: Scheduled<Void>?
    private var draws: UInt64 = 0
    private let jitterSeed: UInt64

    /// - Parameters:
    ///   - host: an address, or a name that is resolved for each attempt.
    ///   - jitterSeed: any number that other links do not have.
    public init(
        on eventLoop: any EventLoop, to host: String, port: Int, node: BusNode,
        owner: any BusOwner, jitterSeed: UInt64, purpose: BusPurpose = .work
    ) {
        self.eventLoop = eventLoop
        self.host = host
        self.port = port
        self.node = node
        self.owner = owner
        self.jitterSeed = jitterSeed
        self.purpose = purpose
    }

    /// Connects, and goes on until `close`. On the event loop, as all the rest.
    public func start() {
        eventLoop.preconditionInEventLoop()
        guard isStopped else { return }
        isStopped = false
        connect()
    }

    /// Ends the connection and does not make another.
    public func close() {
        eventLoop.preconditionInEventLoop()
        isStopped = true
        timer?.cancel()
        timer = nil
        current?.close()
    }

    /// Dials at once where it waits after a failure: there is a sign that the other side is back.
    func dialNow() {
        guard let timer else { return }
        timer.cancel()
        connect()
    }

    private func connect() {
        timer = nil
        guard !isStopped, current == nil else { return }
        let made = BusConnection(node: node, owner: owner, link: self)
        current = made
        ClientBootstrap(group: eventLoop)
            .connectTimeout(.milliseconds(node.limits.connectMs))
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .channelOption(.writeBufferWaterMark, value: BusListener.waterMark)
            .channelOption(.maxMessagesPerRead, value: 4)
            .channelOption(.recvAllocator, value: BusListener.allocator)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(made)
                }
            }
            .connect(host: host, port: port)
            .whenFailure { error in made.end(.unreachable("\(error)")) }
    }

    func isUp(_ connection: BusConnection) {
        failures = 0
        self.connection = connection
    }

    func ended(_ end: BusEnd) {
        connection = nil
        current = nil
        guard !isStopped else { return }
        // Who was refused stays so until somebody changes something.
        if case .refused = end { failures = 62 }
        timer = eventLoop.scheduleTask(in: .milliseconds(retryMs())) { [weak self] in
            self?.connect()
        }
        failures += 1
    }

    private func retryMs() -> Int64 {
        let limits = node.limits
        var wait = limits.firstRetryMs
        var left = failures
        while left > 0, wait < limits.lastRetryMs {
            wait *= 2
            left -= 1
        }
        wait = min(wait, limits.lastRetryMs)
        draws &+= 1
        let random = Hash64.keyed(draws, salt: jitterSeed)
        return wait / 2 + Int64(Hash64.reduce(random, below: UInt64(wait / 2 + 1)))
    }
}
