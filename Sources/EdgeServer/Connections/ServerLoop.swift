import EdgeMemory
import EdgeTypes
import EdgeWire
public import NIOCore
import Synchronization

/// One event loop's share of a node: its core, the connections it holds, and its mail.
///
/// A tick gathers the requests of every connection that was readable, steps the core once, hands
/// the journal its entries, writes each connection's answers with one call, and posts what is
/// for other loops. Everything here runs on `eventLoop`, but what says otherwise.
public class ServerLoop: @unchecked Sendable {
    // SAFETY: all mutable state is confined to `eventLoop`; the mail box and the commit position
    // guard themselves.
    public let index: UInt16
    public let eventLoop: any EventLoop
    public let shared: ServerShared
    final let limits: ServerLimits
    final let journal: (any LoopJournal)?

    final var batch = RequestBatch()
    final var effects = EffectBuffer()
    final var now = Instant(wallMs: 0)
    /// Commands are decoded into it, one at a time.
    final var arguments = RESPArguments()
    final var statistics = LoopStatistics()

    // Answers on their way into a connection's output: one connection's run at a time.
    final var sink = ByteSink(capacity: 64 * 1_024)
    final var body = ByteSink(capacity: 4 * 1_024)
    private final var run: ClientConnection?
    private final var runNeeds = Release.now
    private final var spareBuffers: [ByteBuffer] = []
    private final var dirty: [ClientConnection] = []
    private final var waiting: [ClientConnection] = []
    private final var resumable: [ClientConnection] = []

    // Connections by slot.
    final var table: [ClientConnection?] = []
    private final var generations: [UInt16] = []
    private final var freeSlots: [UInt32] = []
    final var live = 0
    final var emptied: EventLoopPromise<Void>?

    // The journal's positions: given out last, committed last.
    private final var submitted: UInt64 = 0
    /// What the journal must hold for everything that the core has done.
    final var lastPosition: UInt64 { submitted }
    /// Up to here the journal was told that somebody waits.
    private final var wanted: UInt64 = 0
    final var committed: UInt64 = 0
    /// By stream: up to where everything may leave, on a node with replicas (`CommitStream`).
    private final var released = InlineArray<16, UInt64>(repeating: .max)
    /// What has replicas is waited for beyond the journal.
    private final let isReplicated: Bool
    /// Replicas wait for the journal to hold this much; nil: none does.
    private final var diskAwaited: UInt64?
    /// How far the core was told that it does.
    private final var diskTold: UInt64 = 0
    /// The core wants to know when all up to here is durable.
    private final var noticed: UInt64 = 0
    private let reported = Atomic<UInt64>(0)
    private let isCommitScheduled = Atomic<Bool>(false)
    /// Since when clients are not read from, for the journal's backlog, ns; 0: they are. Read by all
    /// loops.
    private final let heldBackNs = Atomic<UInt64>(0)
    final var isHeldBack: Bool { heldBackNs.load(ordering: .relaxed) != 0 }
    /// Since when somebody waits for the disk and it has taken nothing, ns; 0: nobody does.
    private final let diskSilentNs = Atomic<UInt64>(0)
    /// The node stops: nothing is stepped any more.
    final private(set) var isHalted = false

    // Mail.
    final let mailbox = Mailbox()
    final var peers: [ServerLoop] = []
    final var outgoing: [Mail] = []
    final var incoming = Mail()
    final var forwardsInFlight = 0
    /// Questions of the admin plane, by position.
    final var asks: [UInt32: CheckedContinuation<CoreAnswer, Never>] = [:]
    final var nextAsk: UInt32 = 0
    final var heldAnswers: [Held<HeldAnswer>] = []
    final var heldReplies: [Held<RemoteReply>] = []
    final var heldFrames: [Held<OutboundFrame>] = []
    /// nil: a node on its own.
    final var bus: LoopBus?

    private final var isTickScheduled = false
    private final var isResendScheduled = false
    private final var tickTask: (@Sendable () -> Void)!
    private final var commitTask: (@Sendable () -> Void)!
    private final var deadlineMs: UnixMs = .max
    private final var deadlineTimer: Scheduled<Void>?
    /// Timers made and cancelled so far: only the last one counts.
    private final var deadlineTimers: UInt64 = 0
    private final var sweepTimer: RepeatedTask?

    final var respUserBuckets: UserBuckets
    final var httpUserBuckets: UserBuckets
    final let httpTexts: HTTPTexts

    /// - Parameter journal: nil where nothing is durable: then no answer waits.
    public init(
        index: UInt16, eventLoop: any EventLoop, shared: ServerShared,
        journal: (any LoopJournal)?
    ) {
        self.index = index
        self.eventLoop = eventLoop
        self.shared = shared
        self.journal = journal
        limits = shared.settings.limits
        isReplicated = shared.settings.profile.replicates
        respUserBuckets = UserBuckets(limits.respUserRate, users: limits.ratedUsers)
        httpUserBuckets = UserBuckets(limits.httpUserRate, users: limits.ratedUsers)
        httpTexts = HTTPTexts(shared.settings)
        now = shared.settings.clock()
        tickTask = { [unowned self] in tick() }
        commitTask = { [unowned self] in takeCommit() }
    }

    /// Steps the core with the batch. The one call that knows what the core is.
    func stepCore(now: Instant) { preconditionFailure("a loop without a core") }

    // MARK: ticks

    /// Makes sure that a tick follows once every readable connection has been read.
    @inline(__always)
    final func scheduleTick() {
        if isTickScheduled { return }
        isTickScheduled = true
        eventLoop.execute(tickTask)
    }

    private final func tick() {
        isTickScheduled = false
        guard !isHalted else { return }
        now = shared.settings.clock()
        statistics.ticks &+= 1
        takeMail()
        if !batch.isEmpty || now.wallMs >= deadlineMs { step() }
        resumeReaders()
        // Before any answer leaves: whoever hears it may ask another loop the next moment.
        postMail()
        flushDirty()
        bus?.flush()
        if !batch.isEmpty { scheduleTick() }
        // What came after the step took its time: sockets are read before the next one all the same.
        if deadlineMs <= now.wallMs { armTimer() }
    }

    /// Steps without a request.
    final func forceStep() {
        guard !isHalted else { return }
        now = shared.settings.clock()
        step()
        postMail()
        flushDirty()
        bus?.flush()
    }

    /// Steps early where one tick has read more than a step should hold.
    @inline(__always)
    final func stepIfFull() {
        guard batch.requests.count >= limits.requestsPerStep, !isHalted else { return }
        now = shared.settings.clock()
        step()
    }

    private final func step() {
        batch.storageIsFull = journal?.isFull ?? false
        batch.isCaughtUp =
            journal == nil
            || (committed >= noticed
                && mayLeave(Release(position: noticed, stream: CommitStream.all)))
        batch.laneEnd = submitted
        statistics.steps &+= 1
        statistics.requests &+= UInt64(batch.requests.count)
        stepCore(now: now)
        batch.removeAll()
        execute()
    }

    /// Does what a step left to do.
    final func execute() {
        submitEntries()
        if isReplicated { executeReplicas() }
        // What waits for replicas may not leave though the journal has it all.
        let end = isReplicated || submitted > committed ? submitted : 0
        deliverReplies(end)
        routeEffects(end)
        let next = effects.nextDeadlineMs
        effects.nextDeadlineMs = .max
        if effects.awaitsFrames { scheduleResend() }
        effects.removeAll()
        setDeadline(next)
        if let journal, journal.isOverBacklog { holdBack() }
        if isReplicated { releaseHeld() }
    }

    /// What a step says of replicas: before its answers wait with others.
    private final func executeReplicas() {
        for stream in 1..<CommitStream.count { released[stream] = effects.released[stream] }
        if effects.wantsDisk {
            diskAwaited = submitted
            tellDisk()
        }
        for output in effects.replicas {
            if case .stops(_, let streams) = output { failHeld(streams) }
        }
        bus?.replicas?.execute(effects.replicas)
    }

    /// The core hears how far the journal holds what replicas wait for: at every commit, since with
    /// steady load somebody always waits for more.
    final func tellDisk() {
        guard let awaited = diskAwaited, committed > diskTold || committed >= awaited else {
            return
        }
        if committed >= awaited { diskAwaited = nil }
        diskTold = committed
        batch.replicas.append(.durable(position: committed))
        scheduleTick()
    }

    /// Has the journal take to the disk what was submitted. On this loop.
    final func wantDisk() {
        guard let journal, submitted > max(committed, wanted) else { return }
        _ = journal.submit(&effects.journal, needsSync: true)
        waitForDisk(upTo: submitted)
    }

    private final func waitForDisk(upTo position: UInt64) {
        wanted = position
        if isReplicated, position > committed, diskSilentNs.load(ordering: .relaxed) == 0 {
            diskSilentNs.store(max(1, now.monotonicNs), ordering: .relaxed)
        }
    }

    private final func submitEntries() {
        guard let journal else { return effects.journal.removeAll() }
        let isWaitedFor =
            effects.asksForDurability || effects.wantsDisk
            || effects.frames.contains { CommitStream.needsDisk($0.stream) }
            || effects.replies.contains { $0.waitsForJournal && CommitStream.needsDisk($0.stream) }
        let hasEntries = effects.journal.count > 0
        // An answer may have read what was left to become durable lazily.
        let isOwed = isWaitedFor && submitted > max(committed, wanted)
        guard hasEntries || isOwed else { return }
        let position = journal.submit(&effects.journal, needsSync: isWaitedFor)
        precondition(position >= submitted && effects.journal.count == 0)
        submitted = position
        if isWaitedFor { waitForDisk(upTo: position) }
        if effects.asksForDurability { noticed = position }
    }

    /// Has everything that was submitted made durable now. From any thread.
    final func demandSync() -> EventLoopFuture<Void> {
        eventLoop.submit { [unowned self] in wantDisk() }
    }

    /// Ends stepping, so that nothing follows what the journal is about to close on. Questions
    /// that are open are told that nobody knows. From any thread.
    final func halt() -> EventLoopFuture<Void> {
        eventLoop.submit { [unowned self] in
            isHalted = true
            cancelTimer()
            refuseAsks()
        }
    }

    private final func deliverReplies(_ position: UInt64) {
        let count = effects.replies.count
        var index = 0
        while index < count {
            let reply = effects.replies[index]
            index &+= 1
            let body = reply.body >= 0 ? effects.bodies[Int(reply.body)] : nil
            let needs =
                reply.waitsForJournal
                ? Release(position: position, stream: reply.stream) : .now
            if reply.ticket.core == self.index {
                deliver(reply, body: body, needs: needs)
            } else {
                sendBack(RemoteReply(reply: reply, body: body), needs: needs)
            }
        }
        closeRun()
    }

    @inline(__always)
    final func deliver(_ reply: Reply, body: Value?, needs: Release) {
        let slot = Int(reply.ticket.connection)
        if reply.ticket.connection >= LoopBus.ticketSlot {
            return deliverElsewhere(reply, body, needs)
        }
        if body != nil, reply.shape == .archived { return askStore(reply, body) }
        // A connection that closed meanwhile, or its slot's next holder: nobody to tell.
        guard slot < table.count, let connection = table[slot],
            connection.generation == reply.ticket.generation
        else { return }
        connection.deliver(reply, body: body, needs: needs)
    }

    /// The core looks again what other loops and nodes have not confirmed.
    private final func scheduleResend() {
        guard !isResendScheduled else { return }
        isResendScheduled = true
        eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(EffectBuffer.resendMs)) {
            [unowned self] in
            isResendScheduled = false
            forceStep()
        }
    }

    /// To whom is no client's connection.
    private final func deliverElsewhere(_ reply: Reply, _ body: Value?, _ needs: Release) {
        if reply.ticket.connection == Self.askSlot {
            if reply.shape == .archived { return askStore(reply, body) }
            return answerAsk(reply, body, needs)
        }
        // What another node's client asked of an archived slice, that node asks the store.
        bus?.answer(reply, body, needs: needs)
    }

    /// Before a core that wants to go on is stepped again. NIO reads no socket as long as a timer is
    /// due.
    private static let shortestWait = TimeAmount.microseconds(100)

    private final func setDeadline(_ next: UnixMs) {
        guard next != deadlineMs || deadlineTimer == nil else { return }
        deadlineMs = next
        armTimer()
    }

    private final func cancelTimer() {
        deadlineTimers &+= 1
        deadlineTimer?.cancel()
        deadlineTimer = nil
    }

    private final func armTimer() {
        cancelTimer()
        guard deadlineMs != .max else { return }
        let delay = max(.milliseconds(min(deadlineMs - now.wallMs, 60_000)), Self.shortestWait)
        let timer = deadlineTimers
        deadlineTimer = eventLoop.assumeIsolated().scheduleTask(in: delay) { [unowned self] in
            // NIO runs what was cancelled in the very turn in which it came due, too.
            guard timer == deadlineTimers, !isHalted else { return }
            deadlineTimer = nil
            tick()
            // The wall clock may lag behind the timer, or the delay have been cut short.
            if deadlineTimer == nil { armTimer() }
        }
    }

    // MARK: runs of answers

    /// Makes `sink` the place for `connection`'s next answers.
    @inline(__always)
    final func openRun(_ connection: ClientConnection, needs: Release) {
        if run === connection, runNeeds == needs { return }
        closeRun()
        run = connection
        runNeeds = needs
    }

    final func closeRun() {
        guard let connection = run else { return }
        run = nil
        connection.accept(sink.bytes, needs: runNeeds)
        sink.removeAll()
    }

    @inline(__always)
    final func markDirty(_ connection: ClientConnection) {
        dirty.append(connection)
        scheduleTick()
    }

    private final func flushDirty() {
        closeRun()
        var index = 0
        while index < dirty.count {
            dirty[index].flush()
            index &+= 1
        }
        dirty.removeAll(keepingCapacity: true)
    }

    final func waitForCommit(_ connection: ClientConnection) { waiting.append(connection) }

    final func mayResume(_ connection: ClientConnection) {
        resumable.append(connection)
        scheduleTick()
    }

    private final func resumeReaders() {
        guard !resumable.isEmpty else { return }
        // Those that are blocked again meanwhile wait for the next tick.
        var connections: [ClientConnection] = []
        swap(&connections, &resumable)
        for connection in connections { connection.resume() }
    }

    final func takeBuffer() -> ByteBuffer {
        spareBuffers.popLast() ?? ByteBufferAllocator().buffer(capacity: 4_096)
    }

    /// Keeps a buffer for the next connection: idle connections hold none.
    final func giveBack(_ buffer: consuming ByteBuffer) {
        guard spareBuffers.count < 256, buffer.capacity <= 64 * 1_024 else { return }
        buffer.clear()
        spareBuffers.append(buffer)
    }

    // MARK: the journal

    /// Tells the loop that everything up to `position` is durable. From any thread; wakes the
    /// loop at most once for all the commits that it has not looked at.
    public final func journalCommitted(upTo position: UInt64) {
        reported.max(position, ordering: .releasing)
        if isCommitScheduled.exchange(true, ordering: .acquiringAndReleasing) { return }
        eventLoop.execute(commitTask)
    }

    private final func takeCommit() {
        isCommitScheduled.store(false, ordering: .sequentiallyConsistent)
        committed = reported.load(ordering: .sequentiallyConsistent)
        if isReplicated {
            let waits = wanted > committed
            diskSilentNs.store(
                waits ? max(1, shared.settings.clock().monotonicNs) : 0, ordering: .relaxed)
        }
        releaseHeld()
        postMail()
        bus?.flush()
        tellDisk()
        bus?.replicas?.diskHolds(committed)
        if let journal, isHeldBack, !journal.isOverBacklog {
            heldBackNs.store(0, ordering: .relaxed)
            for connection in table { connection?.endHold() }
            for peer in peers where peer.bus != nil { peer.resumeLinks() }
        }
    }

    /// Whether what waits for `needs` may leave.
    @inline(__always)
    final func mayLeave(_ needs: Release) -> Bool {
        if needs.stream == CommitStream.disk { return needs.position <= committed }
        return isReplicated ? haveReplicas(needs) : needs.position <= committed
    }

    private final func haveReplicas(_ needs: Release) -> Bool {
        if CommitStream.needsDisk(needs.stream), needs.position > committed { return false }
        if CommitStream.isAll(needs.stream) {
            for stream in 1..<CommitStream.count where released[stream] < needs.position {
                return false
            }
            return true
        }
        let group = Int(needs.stream & 0x0f)
        return group == Int(CommitStream.disk) || released[group] >= needs.position
    }

    /// Lets go what the journal or the replicas hold now.
    private final func releaseHeld() {
        var connections: [ClientConnection] = []
        swap(&connections, &waiting)
        closeRun()
        releaseMail()
        for connection in connections { connection.release() }
        releaseAnswers()
        bus?.release()
        connections.removeAll(keepingCapacity: true)
        if waiting.isEmpty { swap(&connections, &waiting) }
    }

    /// A shard has gone: what waits on its streams may be lost, and nobody knows. Clients lose
    /// their connection: the answer is among others that are encoded already.
    private final func failHeld(_ streams: UInt16) {
        guard streams != 0 else { return }
        closeRun()
        for connection in table { connection?.fail(on: streams) }
        failMail(streams)
        failAnswers(streams)
        bus?.fail(streams)
    }

    /// From any thread.
    private final func resumeLinks() {
        eventLoop.execute { [unowned self] in
            if bus?.isOverloaded == false { bus?.resume() }
        }
    }

    /// For how long the disk has taken nothing that somebody waits for, or so little that nothing is
    /// read, ns. A full disk is another matter: it refuses, and goes on. From any thread.
    final func diskStandsStillForNs(nowNs: UInt64) -> UInt64 {
        var longest: UInt64 = 0
        for since in [heldBackNs.load(ordering: .relaxed), diskSilentNs.load(ordering: .relaxed)]
        where since != 0 && since < nowNs {
            longest = max(longest, nowNs - since)
        }
        return journal?.isFull == true ? 0 : longest
    }

    private final func holdBack() {
        guard !isHeldBack else { return }
        heldBackNs.store(max(1, now.monotonicNs), ordering: .relaxed)
        statistics.holds &+= 1
        for connection in table { connection?.hold() }
    }

    // MARK: connections

    /// Gives a connection its slot. It must be removed once.
    final func add(_ connection: ClientConnection) {
        let slot: UInt32
        if let free = freeSlots.popLast() {
            slot = free
            generations[Int(slot)] &+= 1
        } else {
            slot = UInt32(table.count)
            table.append(nil)
            generations.append(0)
        }
        table[Int(slot)] = connection
        connection.slot = slot
        connection.generation = generations[Int(slot)]
        live += 1
        statistics.accepted &+= 1
        startSweeping()
        if isHeldBack { connection.hold() }
    }

    final func remove(_ connection: ClientConnection) {
        precondition(table[Int(connection.slot)] === connection)
        if run === connection { closeRun() }
        table[Int(connection.slot)] = nil
        freeSlots.append(connection.slot)
        live -= 1
        if live == 0 {
            emptied?.succeed()
            emptied = nil
        }
    }

    private final func startSweeping() {
        guard sweepTimer == nil else { return }
        sweepTimer = eventLoop.scheduleRepeatedTask(
            initialDelay: .milliseconds(500), delay: .milliseconds(500)
        ) { [unowned self] _ in
            now = shared.settings.clock()
            let nowMs = Int64(now.monotonicNs / 1_000_000)
            for connection in table { connection?.sweep(nowMs: nowMs) }
        }
    }

    /// Milliseconds of the monotonic clock, as of this tick.
    final var nowMs: Int64 { Int64(now.monotonicNs / 1_000_000) }
}

/// What a loop has done, since it started.
public struct LoopStatistics: Sendable {
    public var ticks: UInt64 = 0
    public var steps: UInt64 = 0
    /// Requests that reached the core.
    public var requests: UInt64 = 0
    public var accepted: UInt64 = 0
    /// Connections closed because they did not read, or were silent for too long.
    public var cutOff: UInt64 = 0
    /// Requests refused by a rate limit.
    public var throttled: UInt64 = 0
    public var protocolErrors: UInt64 = 0
    /// Frames that found no room among those that wait for the journal.
    public var droppedFrames: UInt64 = 0
    /// Times that reading stopped for the journal's backlog.
    public var holds: UInt64 = 0
    /// Connections open now.
    public var connections = 0

    public init() {}
}

/// A loop with its core.
public final class CoreLoop<Core: SteppingCore & ~Copyable>: ServerLoop, @unchecked Sendable {
    // SAFETY: as the loop itself: the core is touched on `eventLoop` only.
    public var core: Core

    public init(
        index: UInt16, eventLoop: any EventLoop, shared: ServerShared,
        journal: (any LoopJournal)?, core: consuming Core
    ) {
        self.core = core
        super.init(index: index, eventLoop: eventLoop, shared: shared, journal: journal)
    }

    override func stepCore(now: Instant) { core.step(batch, now: now, into: &effects) }
}
