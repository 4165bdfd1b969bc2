import EdgeCore
import EdgeJournal
import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeRecovery
import EdgeTypes
import EdgeWire

/// Numbers for draws, one after the other.
struct DrawCounter {
    private var count: UInt64 = 0

    mutating func next() -> UInt64 {
        count += 1
        return count
    }
}

/// One node: a machine with a disk, a clock and a store, and the process that runs on it.
///
/// The process is the real one but for threads and sockets: `EdgeNode`, the journal's files and
/// their recovery, RESP, the reconciler's cycle.
final class SimulatedNode {
    enum State {
        /// Why it does not run; nil: an order of the plan.
        case down(String?)
        case running
        /// Stands still; what arrives waits in the kernel.
        case paused
    }

    /// An open connection: one request each.
    struct Connection {
        var operation: Int
        var attempt: Int
        var generation: UInt16
    }

    let index: Int
    unowned let world: World
    private(set) var disk: VirtualDisk
    let store: StoreModel
    /// Behind the store; nil: there is none.
    let redis: RedisModel?
    var clock: SimulatedClock
    var state = State.down(nil)
    /// Counts the starts of the process.
    var boot = 0
    /// What the nodes of the cluster know, as far as this process has heard.
    var versions = SpokenVersions(own: 0, newest: ProtocolVersion.newest, nodes: 1)
    /// Counts what asks for it to be down: it restarts when all of them have ended.
    var stops = 0
    var coreCount: Int
    /// Event loops from the next start on.
    var nextCoreCount: Int?
    private let segmentBytes: Int
    var cores: [SimulatedCore] = []
    var directory: JournalDirectory?
    var reconciler: ReconcilerCycle?
    var status = ReconcilerStatus()
    var isReconcileScheduled = false
    var follower = SimulatedFollower()

    var connections: [Connection?] = []
    var freeConnections: [Int] = []
    var generations: [UInt16] = []
    /// Requests of this node that others were asked, and requests of others that are answered here.
    var asked = BusLedger<AskedRequest>()
    var owed = BusLedger<OwedAnswer>()
    /// What the store is being asked, for clients of this node.
    var askedStore = BusLedger<AskedStore>()
    /// What came while the process stood still.
    var backlog: [Happening] = []
    var maintenance = Maintenance()
    /// Of a world with replicas.
    var replicas: ReplicaShell?
    var stop = CleanStop.none
    /// The last process ended in good order.
    var stoppedCleanly = false
    /// The last start was refused.
    private var hasFailedStart = false
    /// Memory slices were put out of play by a crash.
    var crashes = 0

    // Set by faults.
    var cpuFactor = 1.0
    var diskFactor = 1.0
    var snapshotted = ShardSequences()
    /// What the last restart found, before anything was added to it.
    var recovered = ShardSequences()
    /// Count its own draws: what happens elsewhere does not change them.
    var steps = DrawCounter()
    var syncs = DrawCounter()
    var transactions = DrawCounter()
    var storeQuestions = DrawCounter()

    /// Most connections that wait while the process stands still.
    static let mostBacklog = 1_024
    static let supervisorNs: UInt64 = 300_000_000

    init(index: Int, store: StoreModel, redis: RedisModel?, world: World) {
        self.index = index
        self.world = world
        let id = UInt64(index)
        disk = VirtualDisk(number: id, now: Instant(wallMs: World.startMs))
        self.store = store
        self.redis = redis
        clock = SimulatedClock(
            baseMs: World.startMs, startsNs: 1 + world.random.below(1 << 40, .clocks, id))
        let draw = Int(world.random.below(3, .plan, 2_000 + id))
        let asked = world.scenario.segmentBytes
        segmentBytes = asked > 0 ? asked : [16 << 10, 32 << 10, 128 << 10][draw]
        coreCount = 1 + Int(world.random.below(UInt64(world.scenario.mostCores), .plan, 1_000 + id))
    }

    var isRunning: Bool {
        if case .running = state { return true }
        return false
    }

    var isDown: Bool {
        if case .down = state { return true }
        return false
    }

    var now: Instant { clock.read(world.nowNs) }

    // MARK: Start and end

    /// Starts the process from what is on the disk, as the server does.
    func start() {
        precondition(isDown && cores.isEmpty)
        if let count = nextCoreCount.take() { coreCount = count }
        disk.now = now
        boot += 1
        isReconcileScheduled = false
        status = ReconcilerStatus()
        do {
            try recover()
            hasFailedStart = false
        } catch {
            hasFailedStart = true
            cores = []
            directory = nil
            reconciler = nil
            disk.processCrash()
            state = .down("\(error)")
            world.startRefused(self, "\(error)")
            return
        }
        state = .running
        if boot > 1 { world.probe(.restarted) }
        for oracle in world.oracles { oracle.restarted(world, self) }
        for core in cores.indices { execute(core) }
        if replicas != nil { scheduleAgent() }
        let others = world.scenario.isCluster ? world.scenario.nodes : 1
        versions = SpokenVersions(
            own: others == 1 ? 0 : index, newest: newestVersion, nodes: others)
        speak()
        world.startsLinks(of: index)
        scheduleReconciler(afterNs: 0)
        scheduleFollower(afterNs: 0)
        scheduleMaintenance(afterNs: world.scenario.maintenanceNs)
    }

    private func recover() throws {
        var configuration = JournalConfiguration()
        configuration.segmentBytes = segmentBytes
        configuration.zeroFills = false
        configuration.isReplicated = world.scenario.replicas > 1
        configuration.mutant = world.mutant
        let directory = try JournalDirectory(
            path: "/node", identity: JournalIdentity(cluster: 0, node: UInt64(index)),
            configuration: configuration, system: disk)
        let shards = world.scenario.shards
        let isCluster = world.scenario.isCluster
        let recovery = NodeRecovery(
            shards: shards, cores: coreCount, node: isCluster ? index : 0,
            nodes: isCluster ? world.scenario.nodes : 1,
            owners: isCluster && world.scenario.replicas == 1
                ? (0..<shards).map { UInt16(world.scenario.owner(of: ShardID($0))) } : [],
            replica: world.scenario.replicas > 1 ? replicaID : nil,
            archiveAfterMs: world.scenario.archiveAfterNs > 0
                ? Int64(world.scenario.archiveAfterNs / 1_000_000) : .max,
            archiveOrdersAfterMs: world.scenario.archiveOrdersAfterNs > 0
                ? Int64(world.scenario.archiveOrdersAfterNs / 1_000_000) : .max,
            // Few, so that more than these change.
            touchedOrders: 2,
            mutant: world.mutant)
        let history = world.histories[index]
        history.begin(index, cores: coreCount)
        if world.scenario.replicas == 1 { recovery.observer = { history.take($0) } }
        let report = try recovery.run(directory)
        // Told by how the last process ended, not by the code that is looked at.
        let isVouchedFor = stoppedCleanly && (report.wasClean || !history.isDamaged)
        if boot > 1, !isVouchedFor { crashes += 1 }
        if boot > 1, stoppedCleanly, !report.wasClean, !hasFailedStart, !history.isDamaged {
            world.fail("restart", "node \(index) takes a clean stop for a crash")
        }
        let cleanBoot = stoppedCleanly && report.wasClean ? boot - 1 : nil
        stoppedCleanly = false
        let number = try directory.beginBoot()
        var made: [SimulatedCore] = []
        for core in (0..<coreCount).reversed() {
            let writer = try directory.makeSteppedWriter(
                boot: number, core: UInt16(core), cores: UInt16(coreCount),
                resuming: report.sequences)
            made.append(
                SimulatedCore(node: recovery.cores.removeLast(), writer: writer))
        }
        self.directory = directory
        recovered = report.sequences
        cores = made.reversed()
        snapshotted = try directory.snapshots.coveredSequences(keeping: 1)
        openReconciler(directory, number)
        openFollower()
        if world.scenario.replicas > 1 {
            try beginAgent(directory, lost: recovery.lost, cleanBoot: cleanBoot)
        }
        for core in cores.indices {
            cores[core].node.finishRecovery(
                cleanStop: report.wasClean, now: now, into: &cores[core].effects)
        }
    }

    /// The process is gone: kill -9, or its own end. What the kernel holds stays.
    func die(_ reason: String?) {
        if world.mutant == .cleanStopForged { for core in cores { _ = try? core.writer.close() } }
        loseProcess()
        disk.processCrash()
        state = .down(reason)
        // The kernel says that the process is gone.
        world.breakLinks(of: index, afterNs: 100_000)
    }

    /// The machine stops.
    func losePower(_ id: UInt64) {
        loseProcess()
        disk.crash(world.random, id)
        state = .down(nil)
        // Nobody says anything: others notice by the silence.
        world.breakLinks(of: index, afterNs: Bus.silenceNs)
    }

    /// Another disk, with nothing on it.
    func loseDisk() {
        disk = VirtualDisk(number: UInt64(index) | UInt64(boot) << 32, now: now)
        snapshotted = ShardSequences()
    }

    func loseProcess() {
        if cores.contains(where: { !$0.held.isEmpty }) { world.probe(.crashWithAnswersWaiting) }
        if cores.contains(where: { !$0.isDurable }) { world.probe(.crashWithEntriesWaiting) }
        if cores.contains(where: { core in
            core.held.contains { if case .frame = $0.item { true } else { false } }
        }) {
            world.probe(.crashWithTransferWaiting)
        }
        cores = []
        directory = nil
        reconciler = nil
        follower = SimulatedFollower()
        replicas = nil
        backlog = []
        maintenance = Maintenance()
        stop = .none
        asked = BusLedger()
        owed = BusLedger()
        askedStore = BusLedger()
        breakConnections()
    }

    /// Its own end: a supervisor starts it again.
    func abort(_ reason: String) {
        world.note("node \(index) ends itself: \(reason)")
        world.probe(.nodeAborted)
        die(reason)
        stops += 1
        world.schedule(
            world.nowNs + Self.supervisorNs, .restart(node: index, stops: 1))
    }

    func pause() {
        guard isRunning else { return }
        state = .paused
    }

    func resume() {
        guard case .paused = state else { return }
        state = .running
        let waiting = backlog
        backlog = []
        for happening in waiting { world.schedule(world.nowNs, happening) }
        for core in cores.indices { scheduleTick(core) }
        scheduleReconciler(afterNs: 0)
        scheduleFollower(afterNs: 0)
    }

    func breakConnections() {
        for slot in connections.indices {
            guard let connection = connections[slot] else { continue }
            close(slot)
            world.clientLosesConnection(connection.operation, connection.attempt)
        }
    }
}
