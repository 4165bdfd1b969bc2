import EdgeMemory
import EdgeServer
import EdgeTypes
import EdgeWire
import NIOCore
import NIOEmbedded
import Synchronization

@testable import EdgeServer

/// Writes down what comes over connections.
final class BusRecorder: BusOwner {
    struct Log {
        var ups: [BusHello] = []
        var downs: [BusEnd] = []
        var failures: [BusEnd] = []
        var messages: [String] = []
        var attached: [[UInt8]] = []
        var ends = 0
        var connections: [BusConnection] = []
    }

    private let mutex = Mutex(Log())
    private let overloaded = Atomic<Bool>(false)
    /// Whether each message is sent back as it came.
    let echoes: Bool

    init(echoes: Bool = false) { self.echoes = echoes }

    var log: Log { mutex.withLock { $0 } }
    var connection: BusConnection? { log.connections.last }

    func linkUp(_ connection: BusConnection) {
        mutex.withLock { log in
            if let peer = connection.peer { log.ups.append(peer) }
            log.connections.append(connection)
        }
    }

    func linkDown(_ connection: BusConnection, _ end: BusEnd) {
        mutex.withLock { log in
            log.downs.append(end)
            log.connections.removeAll { $0 === connection }
        }
    }

    func linkFailed(_ connection: BusConnection, _ end: BusEnd) {
        mutex.withLock { $0.failures.append(end) }
    }

    func received(
        _ message: BusMessage, _ attached: UnsafeRawBufferPointer, on connection: BusConnection
    ) {
        mutex.withLock { log in
            log.messages.append("\(message)")
            if !attached.isEmpty { log.attached.append(Array(attached)) }
        }
        if echoes { connection.send(message, attached: attached) }
    }

    func receivedAll(on connection: BusConnection) {
        mutex.withLock { $0.ends += 1 }
        if echoes { connection.flush() }
    }

    var isOverloaded: Bool { overloaded.load(ordering: .relaxed) }
    func setOverloaded(_ value: Bool) { overloaded.store(value, ordering: .relaxed) }
}

enum BusKeys {
    static let one = String(repeating: "1a", count: 32)
    static let two = String(repeating: "2B", count: 32)
    static let three = String(repeating: "3c", count: 32)

    static func ring(_ keys: String...) throws -> ClusterKeys {
        try ClusterKeys(ring: keys.joined(separator: ","))
    }
}

/// A node as its peers see it.
struct BusSide {
    let node: BusNode
    let owner: BusRecorder

    init(
        _ name: Text64, boot: BootID, keys: ClusterKeys, cluster: Text64 = "shop",
        shards: UInt32 = 64, versions: ProtocolRange = ProtocolRange(oldest: 1, newest: 1),
        limits: BusConnectionLimits = BusConnectionLimits(), echoes: Bool = false
    ) {
        let hello = BusHello(
            name: name, boot: boot, cluster: cluster, shards: shards, versions: versions)
        node = BusNode(hello, keys: keys, limits: limits)
        owner = BusRecorder(echoes: echoes)
    }
}

/// Two ends of a connection without a network: bytes pass only when `pump` is called, and time
/// only by `advance`.
final class BusPair {
    let loop = EmbeddedEventLoop()
    let dialer: EmbeddedChannel
    let listener: EmbeddedChannel
    let dialed: BusConnection
    let accepted: BusConnection
    private let link: BusLink
    /// All that passed, in both directions.
    private(set) var toListener: [UInt8] = []
    private(set) var toDialer: [UInt8] = []
    /// Changes what passes.
    var tamper: ((inout [UInt8], _ toListener: Bool) -> Void)?

    init(_ from: BusSide, _ to: BusSide) throws {
        dialer = EmbeddedChannel(loop: loop)
        listener = EmbeddedChannel(loop: loop)
        // Stopped: it makes a connection a dialed one, and never calls again.
        link = BusLink(
            on: loop, to: "127.0.0.1", port: 1, node: from.node, owner: from.owner, jitterSeed: 1)
        dialed = BusConnection(node: from.node, owner: from.owner, link: link)
        accepted = BusConnection(node: to.node, owner: to.owner, link: nil)
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: 1)
        try listener.pipeline.syncOperations.addHandler(accepted)
        try dialer.pipeline.syncOperations.addHandler(dialed)
        listener.connect(to: address, promise: nil)
        dialer.connect(to: address, promise: nil)
    }

    deinit {
        _ = try? dialer.finish()
        _ = try? listener.finish()
    }

    private static func drain(_ channel: EmbeddedChannel) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while let buffer = try channel.readOutbound(as: ByteBuffer.self) {
            bytes += Array(buffer.readableBytesView)
        }
        return bytes
    }

    /// Lets bytes pass until both sides have nothing to say.
    func pump(chunk: Int = .max) throws {
        while true {
            var forth = try Self.drain(dialer)
            var back = try Self.drain(listener)
            if forth.isEmpty, back.isEmpty { break }
            tamper?(&forth, true)
            tamper?(&back, false)
            toListener += forth
            toDialer += back
            try Self.feed(listener, forth, chunk)
            try Self.feed(dialer, back, chunk)
        }
        // What one side closed, the other hears of.
        if !dialer.isActive, listener.isActive { listener.close(promise: nil) }
        if !listener.isActive, dialer.isActive { dialer.close(promise: nil) }
    }

    static func feed(_ channel: EmbeddedChannel, _ bytes: [UInt8], _ chunk: Int) throws {
        var offset = 0
        while offset < bytes.count, channel.isActive {
            let end = bytes.count - offset <= chunk ? bytes.count : offset + chunk
            try channel.writeInbound(ByteBuffer(bytes: bytes[offset..<end]))
            offset = end
        }
    }

    func advance(ms: Int64) { loop.advanceTime(by: .milliseconds(ms)) }
}
