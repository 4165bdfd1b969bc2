import EdgeTypes

/// What one step is given: requests from clients and other cores, and frames between a pool's
/// home and its slices. Reused from step to step; warm, it allocates nothing.
public struct RequestBatch: ~Copyable {
    public var requests: PlainList<Request>
    public var payloads: [Payload] = []
    public var frames: [Frame] = []
    /// Nodes that can be reached since now: they are told what everybody must know.
    public var linked: [UInt16] = []
    /// What the nodes of the cluster speak (`ProtocolVersion`), where that has changed.
    public var spoken: SpokenProtocol?
    /// About the replicas of this core's shards, in order; taken before everything else.
    public var replicas: [ReplicaInput] = []
    /// Where the core's lane ends before this step.
    public var laneEnd: UInt64 = 0
    /// Whether the journal has no room for new grants (pays, expiries and transfers still fit).
    public var storageIsFull = false
    /// Whether all that a step asked to be durable (`EffectBuffer.asksForDurability`) is.
    public var isCaughtUp = true

    public init(capacity: Int = 1_024) {
        requests = PlainList(capacity: capacity)
        payloads.reserveCapacity(64)
        frames.reserveCapacity(64)
    }

    @inlinable public var isEmpty: Bool {
        requests.isEmpty && frames.isEmpty && linked.isEmpty && replicas.isEmpty && spoken == nil
    }

    public mutating func append(_ request: Request, payload: Payload) {
        var request = request
        request.payload = Int32(payloads.count)
        payloads.append(payload)
        requests.append(request)
    }

    public mutating func removeAll() {
        requests.removeAll()
        if !payloads.isEmpty { payloads.removeAll(keepingCapacity: true) }
        if !frames.isEmpty { frames.removeAll(keepingCapacity: true) }
        if !linked.isEmpty { linked.removeAll(keepingCapacity: true) }
        if !replicas.isEmpty { replicas.removeAll(keepingCapacity: true) }
        spoken = nil
    }
}

/// A request for a shard of another core or node.
public struct Forward: Sendable {
    public var to: Route
    public var request: Request
    public var payload: Payload?

    public init(to: Route, request: Request, payload: Payload?) {
        self.to = to
        self.request = request
        self.payload = payload
    }
}

/// A frame for a shard of another core or node. Leaves once the journal holds what this step
/// appended.
public struct OutboundFrame: Sendable {
    public var to: Route
    /// Whom the frame is for, beyond the route; of an announcement: whom it is from.
    public var shard: ShardID
    public var frame: Frame
    /// On whom it waits: see `CommitStream`.
    public var stream: UInt8

    public init(to: Route, shard: ShardID, frame: Frame, stream: UInt8 = CommitStream.disk) {
        self.to = to
        self.shard = shard
        self.frame = frame
        self.stream = stream
    }
}

/// What one step wants done: values in buffers that are reused from step to step.
///
/// The shell first appends `journal` to the core's journal, then sends the replies (those that
/// wait, once it is durable), the frames (once durable) and the forwards (at once).
public struct EffectBuffer: ~Copyable {
    public var replies: PlainList<Reply>
    public var bodies: [Value] = []
    public var forwards: [Forward] = []
    public var frames: [OutboundFrame] = []
    /// Journal entries of this step, encoded, in order.
    public var journal = ByteSink()
    /// Whether the core wants to know when this step's entries are durable: the shell syncs them,
    /// and from then on sets `RequestBatch.isCaughtUp`. Until then it is false.
    public var asksForDurability = false
    /// When the core next wants a step even without requests; `Int64.max`: never.
    public var nextDeadlineMs: UnixMs = .max
    /// Whether something that the core has sent is not confirmed: it wants another step within
    /// `resendMs`, whatever comes.
    public var awaitsFrames = false
    public static let resendMs: Int64 = 500
    /// What is to be done about replicas, in order, after the journal was taken.
    public var replicas: [ReplicaOutput] = []
    /// By stream: the lane's position up to which everything may leave. Only of a core with
    /// replicas; the disk's stream is the shell's own.
    public var released = InlineArray<16, UInt64>(repeating: .max)
    /// Shards without other members wait for the disk: the shell syncs, and tells how far it came
    /// (`ReplicaInput.durable`).
    public var wantsDisk = false

    public init(capacity: Int = 1_024) {
        replies = PlainList(capacity: capacity)
        bodies.reserveCapacity(64)
        forwards.reserveCapacity(64)
        frames.reserveCapacity(64)
    }

    public mutating func fail(
        _ ticket: Ticket, _ code: ErrorCode, _ detail: String, waits: Bool = true,
        stream: UInt8 = CommitStream.disk
    ) {
        replies.append(
            Reply(
                ticket: ticket, shape: .error, error: code, waitsForJournal: waits,
                stream: stream, body: Int32(bodies.count)))
        bodies.append(.text(detail))
    }

    public mutating func answer(
        _ ticket: Ticket, _ body: Value, waits: Bool = true, stream: UInt8 = CommitStream.disk
    ) {
        replies.append(
            Reply(
                ticket: ticket, shape: .body, waitsForJournal: waits, stream: stream,
                body: Int32(bodies.count)))
        bodies.append(body)
    }

    /// Empties everything but the journal, which the shell takes over.
    public mutating func removeAll() {
        replies.removeAll()
        asksForDurability = false
        awaitsFrames = false
        wantsDisk = false
        if !replicas.isEmpty { replicas.removeAll(keepingCapacity: true) }
        if !bodies.isEmpty { bodies.removeAll(keepingCapacity: true) }
        if !forwards.isEmpty { forwards.removeAll(keepingCapacity: true) }
        if !frames.isEmpty { frames.removeAll(keepingCapacity: true) }
    }
}
