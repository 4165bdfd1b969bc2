import EdgeCluster
import EdgeDomain
import EdgeMemory
import EdgeTypes
import EdgeWire

/// One core of a node: its shards, and everything that happens to them.
///
/// `step` is the only way in. It is given decoded requests and the time, and leaves what is to be
/// done in an effect buffer: replies, journal entries, frames and forwards. It does no IO, reads
/// no clock, draws no randomness, and gives the same effects wherever batches are cut. A server
/// and a simulator run it unchanged.
///
/// Where to look: a grab is in `EdgeNode+Grab.swift`, a reservation and everything about orders
/// in `EdgeNode+Orders.swift`, operators' commands in `EdgeNode+Pools.swift`.
public struct EdgeNode: ~Copyable {
    // What every grab reads comes first: see `hotBytes`.
    public internal(set) var configuration: NodeConfiguration
    let placement: Placement
    /// The last pool looked up: a herd asks for one.
    var lastPool = PoolKey(rawValue: 0)
    var lastPoolIndex = -1
    var plans = PlainList<GrabPlan>(capacity: Self.prefetchWindow)
    /// The rain slices of this core's shards.
    var slices = SlotArray<RainSlice>(capacity: 64)
    var shards: PlainList<ShardState>
    /// When time alone brings something about next; kept until orders or closing times change.
    var deadlineMs: UnixMs = .max
    var holdsChanged = false
    /// Some slice does.
    var awaitsDurability = false
    /// Something was sent that is not confirmed, or somebody waits for slices.
    var isUnconfirmed = false
    /// Every pool the node knows, whichever core its home is on.
    var pools: PoolTable
    public internal(set) var counters = NodeCounters()

    /// Who has each shard of the cluster: a node's number, or `Self.nobody`.
    var owners: PlainList<UInt16>
    /// Per local shard: its SKU slices and orders.
    var books = SlotArray<StockBook>(capacity: 64)
    /// The treasuries of pools whose home is here.
    var treasuries: [Treasury] = []
    /// Replies that wait until every slice of a pool has confirmed.
    var settling: [SettlingReply] = []
    var inquiries: [Inquiry] = []
    /// What operators decided about quarantined units, and slices have not done.
    var decisions: [PendingDecision] = []
    var nextInquiry: UInt64 = 1
    /// Pools by the time at which they close by themselves, soonest first.
    var closings: [(timeMs: UnixMs, pool: Int)] = []
    /// Frames for shards of this same core: taken before the step ends.
    var localFrames: [Frame] = []
    /// What was sent and is not confirmed: see `EdgeNode+Resend.swift`.
    var unconfirmed = Unconfirmed()

    /// Slices and treasuries that were given back, to be used again.
    var freeSlices: [Int] = []
    var freeTreasuries: [Int] = []
    /// Of a cluster with replicas.
    var replicas: Replicas?
    /// The epoch of the configuration from which `owners` is known, by shard.
    var epochs: [UInt32] = []
    // Slices that have run dry, and treasuries that have: see `EdgeNode+Tails.swift`.
    var tails: [Tail] = []
    var tailIndex: [SliceName: Int] = [:]
    /// Tails of slices that are gone, to be used again.
    var freeTails: [Int] = []
    /// Those where somebody waits, or something is denied.
    var activeTails: [Int] = []
    var waiterCount = 0
    var dryParts: [DryPart] = []
    var roundCount: UInt64 = 0
    /// When time alone brings something about there, by the monotonic clock.
    var tailDueNs: UInt64 = .max
    /// Since when those have waited who are taken again.
    var waitingSinceNs: UInt64?
    /// Who has won in slices elsewhere: see `EdgeNode+Doors.swift`.
    var doors = Doors()
    /// Who has won in slices here, as others were told: see `EdgeNode+Winners.swift`.
    var told = ToldWinners()
    /// Claims that leave memory: see `EdgeNode+Archive.swift`.
    var archive: Archive
    /// Requests whose shard nobody serves now: see `EdgeNode+Moving.swift`.
    var moving: [MovingRequest] = []
    var isServing = false
    /// What may be written: every node of the cluster knows it.
    public private(set) var spoken = ProtocolVersion.oldest
    /// The oldest version among the nodes that were heard.
    private(set) var heard = ProtocolVersion.newest
    /// What the step was told.
    var current = Instant(wallMs: 0)
    var isStorageFull = false

    /// Up to the counters of grabs: what a caller with many nodes asks for ahead.
    public static let hotBytes = 320

    /// Grabs that are prefetched together before they are applied.
    static let prefetchWindow = 32
    /// Orders that one step lets expire at most on one shard; the rest follow in the next.
    static let expiriesPerStep = 256
    /// A shard that no node serves, as far as this one knows.
    public static let nobody = UInt16.max

    public init(_ configuration: NodeConfiguration) {
        self.configuration = configuration
        placement = Placement(shards: configuration.shards, cores: configuration.cores)
        let count = placement.shardCount(ofCore: configuration.core)
        shards = PlainList(capacity: max(1, count))
        for index in 0..<count {
            let id = ShardID(index * configuration.cores + configuration.core)
            shards.append(ShardState(id: id, isReplicated: configuration.replica != nil))
            books.append(StockBook(shard: id, touchLimit: configuration.touchedOrders))
        }
        pools = PoolTable()
        archive = Archive(shards: count, isOn: configuration.isArchiving)
        owners = PlainList(capacity: configuration.shards)
        let isReplicated = configuration.replica != nil
        for _ in 0..<configuration.shards {
            owners.append(isReplicated ? Self.nobody : UInt16(configuration.node))
        }
        if configuration.nodes == 1, !isReplicated { spoken = ProtocolVersion.newest }
        guard let me = configuration.replica else { return }
        replicas = Replicas(configuration, me, shards: shardIDs)
        epochs = Array(repeating: 0, count: configuration.shards)
    }

    /// Takes one batch.
    ///
    /// Complexity: O(requests + frames + orders that expire), about 100 ns a grab.
    public mutating func step(
        _ batch: borrowing RequestBatch, now: Instant, into effects: inout EffectBuffer
    ) {
        counters.steps &+= 1
        current = now
        if told.startedNs == 0 { told.startedNs = max(1, now.monotonicNs) }
        isStorageFull = batch.storageIsFull
        if let said = batch.spoken { (spoken, heard) = (said.common, said.heard) }
        // First of all: what this step is about to ask for is not durable yet.
        if awaitsDurability && batch.isCaughtUp { durable() }
        if !batch.replicas.isEmpty { takeReplicaInputs(batch, now: now, into: &effects) }
        if has(.timeGoesBack) { forgetTimes() }
        for node in batch.linked { greet(Int(node), into: &effects) }
        for frame in batch.frames {
            receive(frame, now: now, into: &effects)
            settle(now: now, into: &effects)
        }
        if !moving.isEmpty { takeMoving(now: now, into: &effects) }
        counters.requests &+= UInt64(batch.requests.count)
        takeRequests(batch, now: now, into: &effects)
        if now.wallMs >= deadlineMs { expire(now: now, into: &effects) }
        effects.nextDeadlineMs = .max
        if tailDueNs != .max { passTails(into: &effects) }
        if told.isMaking { makeFilters(into: &effects) }
        // Those who waited may have reserved something.
        if holdsChanged { deadlineMs = earliestDeadlineMs() }
        effects.nextDeadlineMs = min(effects.nextDeadlineMs, deadlineMs)
        if archive.dueNs != .max { tendArchive(isFull: batch.storageIsFull, into: &effects) }
        if isUnconfirmed { resend(now: now, into: &effects) }
        if configuration.replica != nil { replicate(batch, now: now, into: &effects) }
    }

    /// Takes the batch's requests in their order, grabs in runs.
    @inline(__always)
    mutating func takeRequests(
        _ batch: borrowing RequestBatch, now: Instant, into effects: inout EffectBuffer
    ) {
        let count = batch.requests.count
        var index = 0
        while index < count {
            if batch.requests[index].operation == .grab {
                let end = min(index + Self.prefetchWindow, count)
                index = grab(batch, from: index, to: end, now: now, into: &effects)
            } else {
                dispatch(batch.requests[index], batch, now: now, into: &effects)
                settle(now: now, into: &effects)
                index += 1
            }
        }
    }

    mutating func dispatch(
        _ request: Request, _ batch: borrowing RequestBatch, now: Instant,
        into effects: inout EffectBuffer
    ) {
        let payload = request.payload < 0 ? nil : batch.payloads[Int(request.payload)]
        let first = effects.replies.count
        defer { if configuration.replica != nil { mark(first, request, &effects) } }
        switch request.operation {
        case .grab: preconditionFailure("grabs go in runs")
        case .claims: claims(request, now: now, into: &effects)
        case .reserve:
            reserve(request, now: now, isFull: batch.storageIsFull, into: &effects)
        case .orders: orders(request, now: now, into: &effects)
        case .orderPay, .orderCancel, .orderRefund, .orderInfo:
            order(request, payload, now: now, into: &effects)
        case .poolCreate, .poolInfo, .poolWarm, .poolAlter, .poolPause, .poolResume, .poolClose,
            .poolRefill, .poolResolve:
            pool(request, payload, batch, now: now, into: &effects)
        case .poolList: list(request, payload, now: now, into: &effects)
        }
    }

    /// Everything that the passing of time alone brings about.
    private mutating func expire(now: Instant, into effects: inout EffectBuffer) {
        holdsChanged = true
        for local in 0..<books.count
        where shards[local].isServing && books[local].nextDeadlineMs <= now.wallMs {
            expireOrders(local, now: now, into: &effects)
        }
        let closeMs = has(.stockClosesLate) ? now.wallMs - 2_000 : now.wallMs
        while let first = closings.first, first.timeMs <= closeMs {
            closings.removeFirst()
            closeByItself(first.pool, at: first.timeMs, now: now, into: &effects)
        }
        settle(now: now, into: &effects)
    }

    /// When time alone brings something about next. 0: at once. `UnixMs.max`: never.
    mutating func earliestDeadlineMs() -> UnixMs {
        holdsChanged = false
        var deadline = closings.first?.timeMs ?? .max
        for local in 0..<books.count where shards[local].isServing {
            deadline = min(deadline, books[local].nextDeadlineMs)
        }
        // A wheel in the middle of its turn says `.min`, from which no clock can be taken off.
        return max(0, deadline)
    }

    // MARK: The journal

    /// The header of a shard's next entry.
    @inline(__always)
    mutating func nextHeader(_ local: Int, _ nowMs: UnixMs) -> EntryHeader {
        if !shards[local].isTouched { touch(local) }
        counters.entries &+= 1
        let header = shards[local].following(nowMs)
        shards[local].advance(header)
        return header
    }

    /// Journals an entry of a local shard and returns its header.
    mutating func journal(
        _ entry: Entry, _ shard: ShardID, now: Instant, into effects: inout EffectBuffer
    ) -> EntryHeader {
        let header = nextHeader(placement.localIndex(of: shard), now.wallMs)
        JournalCodec.encode(entry, header: header, into: &effects.journal)
        return header
    }
}

/// Where a shard's history stands.
struct ShardState: BitwiseCopyable, Sendable {
    let id: ShardID
    var epoch: UInt32 = 1
    var sequence: UInt64 = 0
    var timeMs: UnixMs = 0
    /// Until when no other process serves it, by the monotonic clock.
    var leaseUntilNs: UInt64
    /// On whom answers about it wait: see `CommitStream`.
    var stream = CommitStream.disk
    /// Requests are answered here.
    var isServing: Bool
    /// It is known that this step appends to it. Without replicas nobody asks.
    var isTouched: Bool
    /// Which partners are sent its entries as they come: bits by their number.
    var followers: UInt16 = 0
    /// Counts how often what was held of it was dropped.
    var incarnation: UInt32 = 0
    /// Its sequence before this step.
    var stepStart: UInt64 = 0

    init(id: ShardID, isReplicated: Bool) {
        self.id = id
        leaseUntilNs = isReplicated ? 0 : .max
        isServing = !isReplicated
        isTouched = !isReplicated
    }

    /// The header of the entry that would follow. The shard's time is the later of its last
    /// entry and the wall clock.
    @inline(__always)
    func following(_ nowMs: UnixMs) -> EntryHeader {
        EntryHeader(
            shard: id, epoch: epoch, sequence: sequence &+ 1, timeMs: max(timeMs, nowMs))
    }

    @inline(__always)
    mutating func advance(_ header: EntryHeader) {
        sequence = header.sequence
        timeMs = header.timeMs
    }
}
