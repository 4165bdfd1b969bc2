import EdgeCluster
import EdgeJournal
import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeStores
import EdgeTypes
import Glibc
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// A node's agent (`ReplicaAgent`) with what it needs: the time, the arbiter, and the disk's small
/// records. It runs on the first loop; arbiter and disk have a thread each.
final class ReplicaService: @unchecked Sendable {
    // SAFETY: `agent` and what belongs to it are confined to `loop`'s event loop; `sole` to the
    // disk's thread; the rest guards itself.
    let me: ReplicaID
    let shipping: ShippingTable
    let saved: SavedSnapshots
    private let loops: [NodeLoop]
    private let loop: NodeLoop
    private let log: Logger
    private let reconciler: Reconciler?
    private let arbiter: any Arbiter
    private let arbiterThread = NIOThreadPool(numberOfThreads: 1)
    private let disk: DiskThread
    private let view: ClusterView

    private var agent: ReplicaAgent
    /// By shard: what the disk told at the start.
    private let born: [ShardID: UInt32]
    /// What the disk held of each shard at the start.
    private let heldAtStart: [ReplicaAgent.Held]
    private var timer: RepeatedTask?
    private var told = ShardSequences()
    private var turns = 0
    private var spoken: SpokenProtocol?
    private var arbiterIsSilent = false
    private var hasRead = false
    private let onReady: @Sendable () -> Void
    private let registers: ReplicaParts.Registration?

    /// What operators have decided last.
    private var decided: PlacementTarget

    private static let tickMs: Int64 = 50
    /// A disk that takes nothing for so long is given up: others go on with what is here. Reading
    /// goes on with the first bytes that it takes, so that one that is merely slow is kept.
    private static let stuckNs: UInt64 = 3_000_000_000
    private var isStuck = false

    init(
        _ parts: ReplicaParts, loops: [NodeLoop], saved: SavedSnapshots, reconciler: Reconciler?,
        view: ClusterView, log: Logger, onReady: @escaping @Sendable () -> Void
    ) {
        self.onReady = onReady
        let start = parts.start
        me = start.me
        self.loops = loops
        loop = loops[0]
        arbiter = parts.arbiter
        disk = parts.disk
        registers = parts.registers
        shipping = parts.shipping
        self.saved = saved
        self.reconciler = reconciler
        self.view = view
        self.log = log
        let records = start.records.filter { !start.lost.contains($0.shard) }
        born = Dictionary(uniqueKeysWithValues: records.map { ($0.shard, $0.born) })
        heldAtStart = start.held
        decided = start.target
        agent = ReplicaAgent(
            me, plan: Self.plan(start.target, nodes: start.nodes), nodes: start.nodes,
            sole: records, held: start.held, cleanBoot: start.cleanBoot,
            nowNs: SystemClock.now().monotonicNs)
        agent.follow(agent.plan, isPaused: decided.isPaused, atOnce: decided.shardsAtOnce)
        view.want(decided)
        arbiterThread.start()
    }

    /// Who should hold each shard, and who stands in: the others, from another one on for each.
    private static func plan(_ target: PlacementTarget, nodes: Int) -> ReplicaPlan {
        ReplicaPlan(
            replicas: target.members[0].count,
            candidates: target.members.enumerated().map { shard, members in
                let others = (0..<nodes).map { UInt16((shard + $0) % nodes) }
                return members
                    + others.filter { !members.contains($0) && !target.retired.contains($0) }
            })
    }

    /// Begins to keep time. On the first loop.
    func start() {
        setCopyRate()
        timer = loop.eventLoop.scheduleRepeatedTask(
            initialDelay: .zero, delay: .milliseconds(Self.tickMs)
        ) { [weak self] _ in self?.tick() }
    }

    /// No more beacons, no more answers to them. On the first loop.
    func stop() {
        timer?.cancel()
        timer = nil
    }

    func end() async throws { try await arbiterThread.shutdownGracefully() }

    private var nowNs: UInt64 { SystemClock.now().monotonicNs }
    private var isRunning: Bool { timer != nil }

    private func tick() {
        var outputs: [AgentOutput] = []
        lookAtDisk()
        agent.tick(nowNs: nowNs, into: &outputs)
        execute(outputs)
        turns += 1
        if turns % 4 == 0 {
            tellStored()
            let now = nowNs
            view.hold(
                agent.plan.candidates.indices.map { agent.holders(ShardID($0), nowNs: now) },
                isMember: agent.members)
            speak()
        }
    }

    /// What all nodes speak may be another version: one of them has nothing left.
    private func speak() {
        let told = view.spoken
        guard told != spoken else { return }
        spoken = told
        for loop in loops { loop.eventLoop.execute { loop.bus?.speak() } }
    }

    /// Who cannot keep anything plays dead until it can.
    private func lookAtDisk() {
        let now = nowNs
        let isStuckNow = loops.contains {
            $0.diskStandsStillForNs(nowNs: now) >= Self.stuckNs
        }
        guard isStuckNow != isStuck else { return }
        isStuck = isStuckNow
        if isStuck {
            log.error("the disk takes nothing: the other nodes go on without this one")
        } else {
            log.info("the disk takes entries again")
        }
    }

    /// What the store has, for whoever admits replicas.
    private func tellStored() {
        guard let marks = reconciler?.status.watermarks else { return }
        // Less than before, where the store was restored.
        for shard in marks.shards where marks[shard].sequence != told[shard] {
            told[shard] = marks[shard].sequence
            loop.tell(.stored(shard, marks[shard].sequence), shard)
        }
    }

    // MARK: Who should hold what

    /// What is held of every shard, and what should be.
    struct Standing: Sendable {
        var rows: [ShardConfiguration?]
        var target: PlacementTarget
        /// Shards that are where they should be.
        var settled: Int
    }

    /// From any thread.
    func standing() async throws -> Standing {
        // One that was decided at another node a moment ago counts.
        if let target = try? await target() {
            try await loop.eventLoop.submit { [self] in
                if target.version > decided.version { follow(target) }
            }.get()
        }
        return try await loop.eventLoop.submit { [self] in
            let shards = agent.plan.candidates.indices
            return Standing(
                rows: agent.rows, target: decided,
                settled: shards.count { agent.isSettled(ShardID($0)) })
        }.get()
    }

    /// What the arbiter holds now. From any thread.
    func target() async throws -> PlacementTarget {
        let held = try await arbiterThread.runIfActive { [arbiter] in
            try arbiter.target(after: 0)
        }
        if let held { return held }
        return try await loop.eventLoop.submit { [self] in decided }.get()
    }

    /// Has the arbiter hold a decision, where it was made for what is held now. From any thread.
    func decide(_ next: PlacementTarget) async throws -> Bool {
        let isHeld = try await arbiterThread.runIfActive { [arbiter] in try arbiter.decide(next) }
        guard isHeld else { return false }
        try await loop.eventLoop.submit { [self] in
            var held = next
            held.version += 1
            if held.version > decided.version { follow(held) }
        }.get()
        return true
    }

    private func follow(_ target: PlacementTarget) {
        guard target.members.count == agent.plan.shards else {
            return log.error("the arbiter's target is of another cluster")
        }
        decided = target
        followDecided()
        view.want(target)
        setCopyRate()
        log.info(
            "shards have another target",
            metadata: ["version": "\(target.version)", "paused": "\(target.isPaused)"])
    }

    private func setCopyRate() {
        for loop in loops {
            loop.eventLoop.execute { [decided] in
                loop.bus?.replicas?.setCopyRate(bytesPerSecond: decided.bytesPerSecond)
            }
        }
    }

    private func followDecided() {
        agent.follow(
            Self.plan(decided, nodes: agent.leaving.count), isPaused: decided.isPaused,
            atOnce: decided.shardsAtOnce)
    }

    // MARK: Coming and going

    /// Nodes have come, or have other addresses: links lead there from now on.
    private func learn(_ nodes: [UInt16: ClusterNode]) {
        guard !nodes.isEmpty, let plan = view.learn(nodes) else { return }
        agent.grow(nodes: plan.nodes.count)
        followDecided()
        for loop in loops {
            loop.eventLoop.execute {
                loop.bus?.follow(plan)
                loop.tell(.nodes(plan.nodes.count), core: Int(loop.index))
            }
        }
    }

    /// A node has said goodbye, or is back.
    func setLeaving(_ node: Int, _ isLeaving: Bool) {
        onLoop { $0.agent.setLeaving(node, isLeaving) }
    }

    /// Whether nothing is left that others could take over. From any thread.
    func hasGivenAll() async throws -> Bool {
        try await loop.eventLoop.submit { [self] in
            agent.heldShards == 0 || !agent.hasHeirs(nowNs: nowNs)
        }.get()
    }

    // MARK: What the loops tell, from any of them

    private func onLoop(_ body: @escaping @Sendable (ReplicaService) -> Void) {
        if loop.eventLoop.inEventLoop { return body(self) }
        loop.eventLoop.execute { [self] in body(self) }
    }

    func linked(_ other: ReplicaID) {
        onLoop { $0.agent.linked(other, nowNs: $0.nowNs) }
    }

    func heard(_ row: ShardConfiguration) {
        onLoop { service in
            var outputs: [AgentOutput] = []
            service.agent.heard(row, nowNs: service.nowNs, into: &outputs)
            service.execute(outputs)
        }
    }

    func holding(_ shard: ShardID, _ message: ReplicaMessage, _ from: ReplicaID) {
        guard case .holding(let epoch, let logEpoch, let last, let isComplete) = message else {
            preconditionFailure("not that message")
        }
        onLoop {
            $0.agent.holding(
                shard, epoch: epoch, logEpoch: logEpoch, last: last, isComplete: isComplete,
                from: from)
        }
    }

    func beacon(_ number: UInt64, _ from: ReplicaID) {
        onLoop { service in
            guard service.isRunning else { return }
            var outputs: [AgentOutput] = []
            service.agent.beacon(number, from: from, nowNs: service.nowNs, into: &outputs)
            service.execute(outputs)
        }
    }

    func beaconAnswered(_ number: UInt64, _ from: ReplicaID) {
        onLoop { service in
            var outputs: [AgentOutput] = []
            service.agent.beaconAnswered(number, from: from, nowNs: service.nowNs, into: &outputs)
            service.execute(outputs)
        }
    }

    /// What cores say to the agent.
    func take(_ outputs: [ReplicaOutput]) {
        onLoop { service in
            var changes: [ConfigurationChange] = []
            for output in outputs {
                switch output {
                case .propose(let change): changes.append(change)
                case .read: service.agent.wantsRows()
                case .depose(let shard, let other): service.agent.deposed(other, shard)
                case .noted(let shard, let other): service.agent.noted(shard, by: other)
                case .send, .live, .tail, .copy, .secure, .learned, .discarded, .serves, .stops:
                    preconditionFailure("not for the agent")
                }
            }
            guard !changes.isEmpty, service.isRunning else { return }
            var wanted: [AgentOutput] = []
            service.agent.propose(changes, nowNs: service.nowNs, into: &wanted)
            service.execute(wanted)
        }
    }

    /// This node serves a shard from now on: the journal is read again, and whoever admits replicas
    /// of it must hear what the store has.
    func serves(_ shard: ShardID) {
        reconciler?.restart()
        onLoop { $0.told[shard] = 0 }
    }

    // MARK: What the agent wants

    private func execute(_ outputs: [AgentOutput]) {
        guard !outputs.isEmpty else { return }
        for output in outputs { execute(output) }
    }

    private func execute(_ output: AgentOutput) {
        switch output {
        case .beacon(let number, let to): if !isStuck { loop.bus?.sendBeacon(number, to) }
        case .beaconAnswer(let number, let to):
            if !isStuck { loop.bus?.answerBeacon(number, to) }
        case .send(let shard, let message, let to): loop.bus?.send(message, shard, to)
        case .adopt(let row):
            loop.tellAll(.configuration(row))
        case .resume(let row, let sole):
            loop.tell(
                .resume(row, boot: sole.boot, epoch: sole.epoch, born: sole.born), row.shard)
        case .reopen(let row, let isSealed):
            log.warning(
                "all members of a shard have restarted: this node goes on with it",
                metadata: ["shard": "\(row.shard)", "sealed": "\(isSealed)"])
            loop.tell(
                .reopen(row, isSealed: isSealed, born: born[row.shard] ?? 0), row.shard)
        case .forget(let shard): loop.tell(.forget(shard), shard)
        case .decided(let change, let outcome):
            loop.tell(.decided(change, outcome), change.next.shard)
        case .lost(let other): loop.tellAll(.lost(other))
        case .graceIsOver(let other): loop.tellAll(.graceIsOver(other))
        case .lease(let other, let untilNs): loop.tellAll(.lease(other, untilNs: untilNs))
        case .invite(let shard, let other): loop.tell(.invite(shard, other), shard)
        case .drop(let shard, let other): loop.tell(.drop(shard, other), shard)
        case .handOver(let shard, let other): loop.tell(.handOver(shard, other), shard)
        case .remind: loop.tellAll(.remind)
        case .compareAndSet(let changes): compareAndSet(changes)
        case .insert(let rows): insert(rows)
        case .read(let revision): read(after: revision)
        }
    }

    // MARK: The arbiter

    private func ask<Answer: Sendable>(
        _ question: @escaping @Sendable (any Arbiter) -> Answer,
        _ take: @escaping @Sendable (ReplicaService, Answer) -> Void
    ) {
        arbiterThread.submit { [self] state in
            guard case .active = state else { return }
            let answer = question(arbiter)
            loop.eventLoop.execute { [self] in
                if isRunning { take(self, answer) }
            }
        }
    }

    private func compareAndSet(_ changes: [ConfigurationChange]) {
        ask {
            $0.compareAndSet(changes)
        } _: { service, outcomes in
            for (change, outcome) in zip(changes, outcomes) {
                service.tell(change, outcome)
            }
            var outputs: [AgentOutput] = []
            service.agent.answered(changes, outcomes, nowNs: service.nowNs, into: &outputs)
            service.execute(outputs)
        }
    }

    /// First configurations: the disk tells of them before the arbiter does.
    private func insert(_ rows: [ShardConfiguration]) {
        let records = rows.map {
            DiskRecord(
                record: SoleRecord(shard: $0.shard, epoch: 1, boot: me.boot, born: 0), order: 0)
        }
        note(records, on: loop.eventLoop) { [self] isNoted in
            guard isNoted else { return agent.inserted() }
            ask { arbiter in
                do { try arbiter.insert(rows) } catch { return "\(error)" }
                return ""
            } _: { service, problem in
                service.heardArbiter(problem)
                service.agent.inserted()
            }
        }
    }

    private func read(after revision: UInt64) {
        let version = decided.version
        ask { arbiter in
            Result { () throws in
                (try arbiter.read(after: revision), try arbiter.target(after: version))
            }
        } _: { service, answer in
            var outputs: [AgentOutput] = []
            switch answer {
            case .success((let news, let target)):
                service.heardArbiter("")
                // First of all: the rest names them.
                service.learn(news.nodes)
                if let target { service.follow(target) }
                let held = service.agent.rows
                let isBehind = news.configurations.contains { row in
                    Int(row.shard) < held.count && held[Int(row.shard)]?.epoch ?? 0 > row.epoch
                }
                if isBehind { service.keepForArbiter() }
                service.agent.read(
                    news.configurations, revision: news.revision, nowNs: service.nowNs,
                    into: &outputs)
                service.begin(news.configurations)
            case .failure(let error):
                service.heardArbiter("\(error)")
                if case StoreError.otherIdentity = error { service.keepForArbiter() }
                service.agent.read(
                    nil, revision: revision, nowNs: service.nowNs, into: &outputs)
            }
            service.execute(outputs)
        }
    }

    /// The arbiter may be another server, which has lost what this node has heard, also from others.
    /// It is told once an operator has accepted it, and kept until then; where it has only been
    /// overtaken by the news, telling changes nothing.
    private func keepForArbiter() {
        let rows = agent.rows.compactMap(\.self)
        ask { arbiter in
            try? arbiter.raise(rows)
        } _: { _, _ in
        }
    }

    /// What has changed, for the log: a shard's nodes, whoever leads first.
    private func tell(_ change: ConfigurationChange, _ outcome: ConfigurationOutcome) {
        guard outcome == .applied, Int(change.next.shard) < agent.plan.shards,
            agent.rows[Int(change.next.shard)] != change.next
        else { return }
        let next = change.next
        let names = ([next.primary] + next.members.filter { $0 != next.primary }).map {
            view.name(Int($0.node))
        }
        log.info(
            "shard has another configuration",
            metadata: [
                "shard": "\(next.shard)", "epoch": "\(next.epoch)",
                "nodes": "\(names.joined(separator: " "))",
            ])
    }

    private func heardArbiter(_ problem: String) {
        if !problem.isEmpty, !arbiterIsSilent {
            log.warning("the arbiter does not answer", metadata: ["error": "\(problem)"])
        } else if problem.isEmpty, arbiterIsSilent {
            log.info("the arbiter answers again")
        }
        arbiterIsSilent = !problem.isEmpty
    }

    /// The first word of the arbiter: a life must not be older than one that it knows.
    private func begin(_ rows: [ShardConfiguration]) {
        guard !hasRead else { return }
        hasRead = true
        let later = rows.flatMap(\.members).first { $0.node == me.node && $0.boot > me.boot }
        guard later == nil else {
            log.critical(
                "the arbiter knows a later life of this node: its clock is behind, or another process has its name"
            )
            exit(1)
        }
        // Entries come after the first configuration: an arbiter without it is not the one that was.
        var epochs = Array(repeating: UInt32(0), count: heldAtStart.count)
        for row in rows where Int(row.shard) < epochs.count { epochs[Int(row.shard)] = row.epoch }
        for shard in heldAtStart.indices where heldAtStart[shard].last > 0 {
            guard epochs[shard] > 0 else {
                log.critical(
                    "the arbiter knows nothing of a shard that this disk holds: it was lost or replaced",
                    metadata: ["shard": "\(shard)"])
                exit(1)
            }
            // Whoever leads by that row may lack what was acknowledged at the later epoch.
            guard epochs[shard] >= heldAtStart[shard].logEpoch else {
                log.critical(
                    "the arbiter is older than this disk: it has lost configurations of a shard",
                    metadata: [
                        "shard": "\(shard)", "epoch": "\(epochs[shard])",
                        "disk": "\(heldAtStart[shard].logEpoch)",
                    ])
                exit(1)
            }
        }
        if let registers {
            // Its addresses may be others than the copy says.
            ask { arbiter in
                do {
                    _ = try arbiter.register(registers.own, founding: registers.founding)
                    return ""
                } catch {
                    return "\(error)"
                }
            } _: { service, problem in
                service.heardArbiter(problem)
            }
        }
        onReady()
    }

    // MARK: The disk

    /// Makes records durable.
    func note(
        _ records: [DiskRecord], on eventLoop: any EventLoop,
        _ done: @escaping @Sendable (Bool) -> Void
    ) {
        disk.note(records, on: eventLoop, done)
    }

    /// Makes durable that a shard was learned, then the snapshot of it. After a crash between the two
    /// the log of an earlier life, still whole, counts no more: whoever gave the copy has all of it.
    /// The other way round the copy would pass for that log, and it lacks the single entries.
    func save(
        _ header: SnapshotHeader, committed: UInt64, content: ByteBox, _ record: DiskRecord,
        on eventLoop: any EventLoop, _ done: @escaping @Sendable (Bool) -> Void
    ) {
        let directory = disk.directory
        disk.note(
            [record], on: eventLoop,
            before: {
                try directory.snapshots.save(
                    header, committed: committed, content: content.bytes)
            }, done)
    }
}

/// Which snapshots are on the disk, by shard: their last entries.
final class SavedSnapshots: Sendable {
    private let sequences: Mutex<ShardSequences>

    init(_ sequences: ShardSequences) { self.sequences = Mutex(sequences) }

    var all: ShardSequences { sequences.withLock { $0 } }

    subscript(shard: ShardID) -> UInt64 {
        get { sequences.withLock { $0[shard] } }
        set { sequences.withLock { $0[shard] = newValue } }
    }
}
