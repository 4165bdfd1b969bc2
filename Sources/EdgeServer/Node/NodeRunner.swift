import EdgeCluster
import EdgeCore
import EdgeJournal
public import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeRecovery
public import EdgeStores
public import EdgeTypes
import Foundation
public import Logging
import NIOCore
import NIOPosix
import Synchronization

/// One running node: its journal, its cores on their loops, its listeners and its reconciler.
///
/// Start: lock the directory, load snapshots, replay the journal, begin a boot, start a writer a
/// core, finish recovery, start the reconciler, listen. Stop: the same backwards.
public final class NodeRunner: Sendable {
    public let options: NodeOptions
    public let loops: [NodeLoop]
    public let shared: ServerShared
    let directory: JournalDirectory
    let writers: [LoopWriter]
    let group: MultiThreadedEventLoopGroup
    public let reconciler: Reconciler?
    /// Who answers questions about the past; nil where there is no store.
    public let history: HistoryPool?
    /// Who asks the store for what has left memory; nil where there is none.
    public let archive: ArchiveReader?
    /// nil where there is no Redis behind the store.
    public let follower: RedisFollower?
    public let tls: TLSHolder?
    private let listeners = Mutex<ClientListeners?>(nil)
    private let joined = Mutex<ClusterService?>(nil)
    private let snapshotted: SavedSnapshots
    private let replicas: ReplicaParts?
    let log: Logger
    /// Entries that the start replayed from the journal, beyond snapshots.
    let replayedEntries: UInt64

    public static let version = "0.1.0"

    public init(_ options: NodeOptions, log: Logger) async throws {
        self.log = log
        var configuration = JournalConfiguration()
        configuration.segmentBytes = Self.segmentBytes(options)
        configuration.isReplicated = options.cluster?.replicas != nil
        let directory = try Self.open(
            path: options.dataDirectory,
            identity: JournalIdentity(
                cluster: options.cluster?.ownersKey ?? 0, node: options.cluster?.nodeKey ?? 0),
            configuration: configuration)
        self.directory = directory
        var parts = try ReplicaParts(options, directory, log)
        var options = options
        if let parts { options.cluster = parts.cluster }
        self.options = options
        let cluster = options.cluster
        let recovery = NodeRecovery(
            shards: options.shards, cores: options.cores, node: cluster?.own ?? 0,
            nodes: cluster?.nodes.count ?? 1, owners: cluster?.owners ?? [],
            replica: parts?.start.me, hasStore: try Self.storeURL(options) != nil,
            archiveAfterMs: options.archiveAfterMs,
            archiveOrdersAfterMs: options.archiveOrdersAfterMs)
        let report = try recovery.run(directory)
        parts?.recovered(recovery, report)
        let boot = try directory.beginBoot()
        try parts?.begin()
        replicas = parts
        history = try Self.storeURL(options).map { store in
            HistoryPool(primary: store, replicas: options.storeReadURLs)
        }
        archive = history.map { ArchiveReader($0) }
        var settings = try Self.settings(options)
        settings.archive = archive
        shared = ServerShared(settings)
        shared.setReady(false)
        tls = try options.tlsCertificate.map {
            try TLSHolder(certificatePath: $0, keyPath: options.tlsKey ?? "")
        }
        group = MultiThreadedEventLoopGroup(numberOfThreads: options.cores)
        let relays = (0..<options.cores).map { _ in CommitRelay() }
        let writers = try (0..<options.cores).map { core in
            LoopWriter(
                try directory.makeWriter(
                    boot: boot, core: UInt16(core), cores: UInt16(options.cores),
                    resuming: report.sequences,
                    onCommit: { [relay = relays[core]] in relay.committed($0) }))
        }
        self.writers = writers
        var loops: [NodeLoop] = []
        var iterator = group.makeIterator()
        for core in (0..<options.cores).reversed() {
            guard let eventLoop = iterator.next() else { preconditionFailure("a loop a core") }
            loops.append(
                NodeLoop(
                    index: UInt16(core), eventLoop: eventLoop, shared: shared,
                    journal: writers[core], core: recovery.cores.removeLast()))
        }
        loops.reverse()
        ServerLoop.connect(loops)
        self.loops = loops
        let follower = try Self.follower(options, log)
        self.follower = follower
        reconciler = try Self.reconciler(
            options, directory, writers, parts?.shipping, log, follow: { follower?.take($0) })
        let wake = reconciler.map { reconciler in { @Sendable in reconciler.wake() } }
        for core in 0..<options.cores { relays[core].connect(loops[core], wake: wake) }
        snapshotted = SavedSnapshots(try directory.snapshots.coveredSequences(keeping: 1))
        for loop in loops { try await loop.finishRecovery(cleanStop: report.wasClean).get() }
        Self.report(report, recovery.snapshots, log)
        replayedEntries = report.entries
        follower?.start()
        reconciler?.start()
    }

    private static func open(
        path: String, identity: JournalIdentity, configuration: JournalConfiguration
    ) throws -> JournalDirectory {
        do throws(JournalError) {
            return try JournalDirectory(
                path: path, identity: identity, configuration: configuration)
        } catch .foreign {
            throw ClusterError(
                description: "\(path) is of another node, of another cluster, or of a topology "
                    + "that gives shards to other nodes: they cannot be moved yet")
        }
    }

    private static func report(_ report: RecoveryReport, _ snapshots: Int, _ log: Logger) {
        log.info(
            "recovered",
            metadata: [
                "entries": "\(report.entries)", "covered": "\(report.coveredEntries)",
                "snapshots": "\(snapshots)", "clean": "\(report.wasClean)",
            ])
        for cut in report.cuts {
            log.warning(
                "cut a torn tail: an unfinished write that nobody was told of",
                metadata: [
                    "file": "\(cut.file)", "offset": "\(cut.offset)", "bytes": "\(cut.bytes)",
                ])
        }
    }

    /// Segments as asked for, or smaller where the disk could not hold a few of them.
    private static func segmentBytes(_ options: NodeOptions) -> Int {
        var status = statvfs()
        let parent = (options.dataDirectory as NSString).deletingLastPathComponent
        let places: [String] = [options.dataDirectory, parent.isEmpty ? "." : parent]
        let path = places.first { place in statvfs(place, &status) == 0 }
        guard path != nil else { return options.segmentBytes }
        let free = Int(clamping: UInt64(status.f_bavail) * UInt64(status.f_frsize))
        let share = free / (8 * options.cores)
        var size = options.segmentBytes
        while size > share && size >= 256 << 10 { size = (size / 2) & ~4_095 }
        return size
    }

    private static func settings(_ options: NodeOptions) throws -> ServerShared.Settings {
        var profile = NodeProfile(name: options.name, version: version)
        profile.durability = options.durability
        profile.shards = options.shards
        profile.startedMs = SystemClock.now().wallMs
        profile.isClustered = options.cluster != nil
        profile.replicates = options.cluster?.replicas != nil
        var settings = ServerShared.Settings(profile: profile)
        settings.limits = options.limits
        settings.corsOrigins = options.corsOrigins
        if let users = options.respUsers { settings.respUsers = try RESPUser.parse(users) }
        if let keys = options.tokenKeys {
            settings.tokens = try TokenVerifier(ring: keys)
        } else {
            settings.acceptsUserHeader = options.insecure
        }
        return settings
    }

    private static func reconciler(
        _ options: NodeOptions, _ directory: JournalDirectory, _ writers: [LoopWriter],
        _ shipping: ShippingTable?, _ log: Logger,
        follow: @escaping @Sendable (StoreChanges) -> Void
    ) throws -> Reconciler? {
        guard let store = try storeURL(options) else { return nil }
        return Reconciler(
            openSources: { try sources(directory, writers, shipping) },
            openStore: {
                let opened = try store.open(extraEvents: options.extraEvents)
                for weakness in try opened.weaknesses() {
                    log.warning(
                        "after a crash the store may lack what it has acknowledged",
                        metadata: ["setting": "\(weakness)"])
                }
                return opened
            }, follow: follow)
    }

    /// Where the store is; nil where there is none (`DOWNPOUR_STORE_URL=none`).
    public static func storeURL(_ options: NodeOptions) throws -> StoreURL? {
        guard let url = options.storeURL else {
            return .sqlite(path: options.dataDirectory + "/store.sqlite")
        }
        return url == "none" ? nil : try StoreURL(url)
    }

    /// Every lane of the journal, the running ones as far as they are durable.
    static func sources(
        _ directory: JournalDirectory, _ writers: [LoopWriter], _ shipping: ShippingTable? = nil
    ) throws -> [any EntrySource] {
        let verdict: ((EntryHeader) -> ShippingVerdict)? = shipping.map { shipping in
            { shipping.verdict($0) }
        }
        return try directory.lanes().map { lane in
            guard let writer = writers.first(where: { $0.lane == lane }) else {
                return JournalSource(directory: directory, lane: lane, verdict: verdict)
            }
            return JournalSource(
                directory: directory, lane: lane, committed: { writer.committedPosition },
                verdict: verdict)
        }
    }

    // MARK: Serving

    /// nil: a node on its own, or one that has not joined yet.
    public var cluster: ClusterService? { joined.withLock { $0 } }

    /// Takes its part in the cluster, where there is one.
    private func join() async throws {
        guard let plan = options.cluster, let keys = options.clusterKeys else {
            for loop in loops {
                let own = options.newestProtocol
                let spoken = SpokenProtocol(common: own, heard: own)
                try await loop.eventLoop.submit { loop.batch.spoken = spoken }.get()
            }
            return
        }
        let view = ClusterView(plan, newest: options.newestProtocol, log)
        let service = try await ClusterService.start(
            plan, keys: keys, boot: replicas?.start.me.boot ?? .random(in: 1 ... .max),
            bind: options.bus, seeds: options.join, shards: options.shards, group: group,
            loops: loops, lanes: writers.map(\.lane), view: view,
            replicas: replicas?.service(
                loops: loops, saved: snapshotted, reconciler: reconciler, view: view, log: log,
                onReady: { [shared] in shared.setReady(true) }), log: log)
        joined.withLock { $0 = service }
        shared.cluster = service.view
    }

    /// Binds the listeners.
    public func listen() async throws -> (http: SocketAddress?, resp: SocketAddress?) {
        try await join()
        let started = try await ClientListeners.start(
            group: group, loops: loops, resp: options.resp, http: options.http, tls: tls)
        listeners.withLock { $0 = started }
        // With replicas: once the arbiter has answered.
        if replicas == nil { shared.setReady(true) }
        return (started.httpAddress, started.respAddress)
    }

    /// Asks whichever core owns what is asked for; the answer is durable.
    public func ask(_ request: Request, payload: Payload?) async -> CoreAnswer {
        await loops[0].ask(request, payload: payload)
    }

    /// `/readyz` turns 503 while everything is still served; the other nodes hear that this one
    /// goes, and take its shards over.
    ///
    /// - Parameter ms: how long proxies have to notice.
    public func drain(ms: Int64) async {
        listeners.withLock { $0 }?.beginDrain()
        let begun = ContinuousClock.now
        async let goodbye: Void = sayGoodbye()
        await giveShards(untilMs: max(ms, Self.giveMs), since: begun)
        await goodbye
        let left = Duration.milliseconds(ms) - (ContinuousClock.now - begun)
        if left > .zero { try? await Task.sleep(for: left) }
    }

    private func sayGoodbye() async {
        do { try await cluster?.leave() } catch {
            log.warning("gossip did not end well", metadata: ["error": "\(error)"])
        }
    }

    /// For other nodes to hear that this one stops.
    private static let hearing = Duration.seconds(1)
    /// For shards to be handed over, at most.
    private static let giveMs: Int64 = 5_000

    private func giveShards(untilMs ms: Int64, since begun: ContinuousClock.Instant) async {
        guard let service = cluster?.replicas, let own = options.cluster?.own else { return }
        service.setLeaving(own, true)
        while ContinuousClock.now - begun < .milliseconds(ms) {
            guard (try? await service.hasGivenAll()) == false else { return }
            try? await Task.sleep(for: .milliseconds(20))
        }
        log.warning("some shards were not handed over in time")
    }

    /// Closes listeners and connections, saves what is in memory, notes the clean stop.
    ///
    /// - Returns: whether the journal's end is clean and the store has everything.
    public func stop() async throws -> Bool {
        try await listeners.withLock { $0 }?.close(grace: .seconds(5))
        await archive?.stop()
        do {
            try await saveSnapshots()
        } catch {
            // A full disk has no room for them; the next start replays the journal instead.
            log.warning("no snapshots at the stop", metadata: ["error": "\(error)"])
        }
        await closeToOthers()
        await catchUp()
        if let service = cluster?.replicas {
            try await loops[0].eventLoop.submit { service.stop() }.get()
        }
        for loop in loops { try await loop.halt().get() }
        await letAnswersLeave()
        do { try await cluster?.stop() } catch {
            log.warning("the bus did not end well", metadata: ["error": "\(error)"])
        }
        var isClean = true
        for writer in writers { isClean = writer.stop() && isClean }
        do { try await replicas?.disk.stop(isClean: isClean) } catch {
            log.warning("the clean stop was not noted", metadata: ["error": "\(error)"])
        }
        let reconciler = reconciler
        let hasAll = reconciler?.stop() ?? true
        // What it does not get now, it reads from the store at the next start.
        if let follower, !follower.stop() { log.info("Redis lags behind the store at the stop") }
        try await group.shutdownGracefully()
        return isClean && hasAll
    }

    /// Entries journaled since the start, on all cores.
    func entries() async throws -> UInt64 {
        var sum: UInt64 = 0
        for loop in loops { sum += try await loop.readCounters().get().entries }
        return sum
    }

    /// Claims and orders that have left memory since the start, on all cores.
    func archivedRecords() async throws -> UInt64 {
        var sum: UInt64 = 0
        for loop in loops {
            let counters = try await loop.readCounters().get()
            sum += counters.archivedClaims + counters.archivedOrders
        }
        return sum
    }

    /// Tells the cores how far the store has come; with replicas their service does.
    func tellStored() {
        guard replicas == nil, options.isArchiving, let reconciler else { return }
        let marks = reconciler.status.watermarks
        for (core, loop) in loops.enumerated() {
            let told = marks.shards.filter { Int($0) % loops.count == core }
                .map { ReplicaInput.stored($0, marks[$0].sequence) }
            if told.isEmpty { continue }
            loop.eventLoop.execute {
                loop.batch.replicas.append(contentsOf: told)
                loop.scheduleTick()
            }
        }
    }

    // MARK: Snapshots

    /// Saves every shard that has changed since it was saved last, one at a time.
    public func saveSnapshots() async throws {
        for (core, loop) in loops.enumerated() {
            let saved = snapshotted.all
            for shard in try await loop.shards(above: saved).get() {
                let copy = try await loop.snapshot(shard).get()
                try await waitForCommit(of: copy.position, core)
                // One whose log was dropped meanwhile is of no use.
                guard try await loop.holds(copy, of: shard).get() else { continue }
                let standing = copy.snapshot.header
                let header = SnapshotHeader(
                    shard: shard, epoch: standing.epoch, sequence: standing.sequence,
                    lane: writers[core].lane, position: copy.position)
                let directory = directory
                let committed = writers[core].committedPosition
                let save: @Sendable () throws -> Void = {
                    try directory.snapshots.save(
                        header, committed: committed, content: copy.snapshot.content.bytes)
                }
                if let disk = replicas?.disk {
                    try await disk.perform(save)
                } else {
                    try await BackgroundThread.run(save)
                }
                snapshotted[shard] = standing.sequence
            }
        }
        try directory.snapshots.removeOld(keeping: 2)
    }

    /// No more is taken from other nodes; what was taken is done and answered, also where it goes
    /// through several cores.
    private func closeToOthers() async {
        guard cluster != nil else { return }
        for loop in loops { try? await loop.eventLoop.submit { loop.bus?.beginClosing() }.get() }
        let deadline = ContinuousClock.now + Self.hearing
        for loop in loops {
            while ContinuousClock.now < deadline,
                (try? await loop.eventLoop.submit { loop.bus?.isHeard ?? true }.get()) == false
            {
                try? await Task.sleep(for: .milliseconds(2))
            }
        }
        await passMail()
        await letAnswersLeave()
        await passMail()
    }

    /// What one core has for another is there: a request that hops, and its answer.
    private func passMail() async {
        for _ in 0...Int(Limits.hops) {
            for loop in loops { try? await loop.eventLoop.submit { loop.scheduleTick() }.get() }
        }
    }

    /// The cores hear that their last entries are durable, and the reconciler what is committed: after
    /// `halt` nobody tells them.
    private func catchUp() async {
        guard replicas != nil else { return }
        await letAnswersLeave()
        for loop in loops {
            try? await loop.eventLoop.submit {
                loop.tellDisk()
                loop.forceStep()
                loop.bus?.replicas?.publishAll()
            }.get()
        }
    }

    /// What was done for other nodes becomes durable, and is answered, as far as that takes no
    /// longer than a few seconds (a full disk takes for ever).
    private func letAnswersLeave() async {
        guard cluster != nil else { return }
        let deadline = ContinuousClock.now + .seconds(3)
        for (core, loop) in loops.enumerated() {
            guard let position = try? await loop.eventLoop.submit({ loop.lastPosition }).get()
            else { continue }
            try? await loop.demandSync().get()
            while writers[core].committedPosition < position, ContinuousClock.now < deadline {
                try? await Task.sleep(for: .milliseconds(1))
            }
        }
        // The loops hear of the commit, and write.
        try? await Task.sleep(for: .milliseconds(10))
    }

    private func waitForCommit(of position: UInt64, _ core: Int) async throws {
        let writer = writers[core]
        guard writer.committedPosition < position else { return }
        try await loops[core].demandSync().get()
        let deadline = ContinuousClock.now + .seconds(10)
        while writer.committedPosition < position {
            // A full disk would take for ever.
            guard ContinuousClock.now < deadline else { throw SlowJournal() }
            try await Task.sleep(for: .milliseconds(1))
        }
    }
}

/// The journal has not taken to the disk what a snapshot follows.
struct SlowJournal: Error, CustomStringConvertible {
    let description = "the journal did not become durable within 10 s"
}

// MARK: The store

extension NodeRunner {
    /// Committed entries that the store lacks, about.
    public var unreconciled: UInt64 { reconciler?.status.lagEntries ?? 0 }

    /// Compares the journal with the store as of the store's watermarks. Blocks a thread of its
    /// own, not the loops.
    public func audit(_ store: StoreURL) async throws -> AuditReport {
        let directory = directory
        let writers = writers
        let redis = options.redis
        return try await BackgroundThread.run {
            var report = try StoreAudit.run(
                store: store, sources: try NodeRunner.sources(directory, writers))
            if let redis { report.merge(try MirrorAudit.run(store: store, redis: redis)) }
            return report
        }
    }
}
