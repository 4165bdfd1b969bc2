import EdgeCore
import EdgeJournal
import EdgeMemory
import EdgeTypes
import EdgeWire

/// One event loop of a simulated node: its core, its lane of the journal, what waits for that,
/// and its mail. What a server's loop does with threads and sockets, it does with virtual time.
final class SimulatedCore {
    var node: EdgeNode
    var batch = RequestBatch(capacity: 64)
    /// What the core was told last that nodes speak.
    var spoken: SpokenProtocol?
    var effects = EffectBuffer(capacity: 64)
    let writer: SteppedWriter
    /// Submitted and not yet written.
    var pending = ByteSink(capacity: 4_096)
    /// Positions in the lane: given out last, written last, durable.
    var submitted: UInt64 = 0
    var written: UInt64 = 0
    var committed: UInt64 = 0
    /// Somebody waits for all up to here.
    var wanted: UInt64 = 0
    /// The core wants to know when all up to here is durable.
    var noticed: UInt64 = 0
    var isSyncing = false
    var isFlushScheduled = false
    var isTickScheduled = false
    var isResendScheduled = false
    /// Requests of its connections that are on other cores.
    var forwardsInFlight = 0
    /// So much waits to be written that no connection is read.
    var isHeldBack = false
    var unread: [Arrival] = []

    /// The server's limits, small enough to be reached by small worlds.
    static let mostForwards = 12
    static let mostBacklogBytes = 4_096

    /// A request whose bytes have come.
    struct Arrival {
        var slot: Int
        var generation: UInt16
        var operation: Int
        var attempt: Int
    }

    /// What may leave once the lane is durable so far; in order.
    var held: [Held] = []
    /// By stream: the lane's position up to which everything may leave.
    var released = Array(repeating: UInt64.max, count: CommitStream.count)
    /// Replicas wait for the disk.
    var wantsDurable = false

    struct Held {
        var needs: UInt64
        var stream: UInt8
        var item: Outbound

        func waits(onAny streams: UInt16) -> Bool {
            CommitStream.isAll(stream) || streams & 1 << UInt16(stream & 0x0f) != 0
        }
    }

    /// Whether what waits on `stream` for a position may leave.
    func hasReached(_ needs: UInt64, _ stream: UInt8) -> Bool {
        if CommitStream.needsDisk(stream), committed < needs { return false }
        if CommitStream.isAll(stream) {
            return (1..<CommitStream.count).allSatisfy { released[$0] >= needs }
        }
        let group = stream & 0x0f
        return group == CommitStream.disk || released[Int(group)] >= needs
    }
    /// Mail on its way here, with the time it arrives: in order.
    var mailbox: [Mail] = []
    /// Mail ever posted here: names the next in draws.
    var mailCount: UInt64 = 0

    var deadlineMs: UnixMs = .max
    var deadlineGeneration = 0

    enum Outbound {
        case reply(Reply, Value?)
        case frame(OutboundFrame)
    }

    struct Mail {
        var arrivesNs: UInt64
        var content: Content

        enum Content {
            case forward(Forward)
            case frame(Frame)
            case reply(Reply, Value?)
        }
    }

    init(node: consuming EdgeNode, writer: SteppedWriter) {
        self.node = node
        self.writer = writer
    }

    var isOverBacklog: Bool { pending.count + writer.backlogBytes > Self.mostBacklogBytes }

    /// Whether all that was submitted is durable.
    var isDurable: Bool { committed == submitted }
}
