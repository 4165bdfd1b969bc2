public import EdgeCore
public import EdgeJournal
public import EdgeMemory
public import EdgeTypes
public import EdgeWire

/// The node cannot start from what is on disk.
public struct RecoveryFailure: Error, CustomStringConvertible {
    public let description: String
}

/// Brings the cores back from snapshots and journal, whatever the number of cores was before.
///
/// Used once, by one thread, before `JournalDirectory.beginBoot`. What it made of the cores is
/// to be thrown away where `run` throws.
public final class NodeRecovery {
    /// The cores, by number: recovered once `run` has returned. Take them from the last on.
    public var cores: SlotArray<EdgeNode>
    /// Shards that began from a snapshot.
    public private(set) var snapshots = 0
    private let shards: Int
    /// Of a cluster with replicas: shards whose log does not follow from what is here. They are
    /// empty: other nodes have them.
    public private(set) var lost: Set<ShardID> = []
    private let isReplicated: Bool
    /// Then, by shard: the last entry that was read.
    private var ends: [(sequence: UInt64, epoch: UInt32)] = []
    /// Is given every entry that is replayed, before it is applied. For simulators.
    public var observer: ((JournalFrame) -> Void)?
    /// Claims that were read and not applied yet: what they will touch is on its way from memory.
    private var waiting = PlainList<WaitingClaim>(capacity: NodeRecovery.window)

    private struct WaitingClaim: BitwiseCopyable {
        var claim: Claim
        var header: EntryHeader
    }

    /// Claims that are applied together.
    private static let window = 32

    /// - Parameters:
    ///   - shards: of the cluster; a power of two, the same for good.
    ///   - count: event loops of the node. It may differ from start to start.
    ///   - node, nodes: its number in its cluster, and how many there are.
    ///   - owners: which node has each shard; empty: this one has all.
    ///   - replica: this process's life, in a cluster with replicas.
    ///   - hasStore: whether what is committed goes to a store.
    ///   - archiveAfterMs, archiveOrdersAfterMs: how long closed rains and SKUs stay in memory;
    ///     `Int64.max`: for good.
    ///   - touchedOrders: archived orders of a shard whose last changes are told apart.
    ///   - mutant: a built-in bug; only simulators set one.
    public init(
        shards: Int, cores count: Int, node: Int = 0, nodes: Int = 1, owners: [UInt16] = [],
        replica: ReplicaID? = nil, hasStore: Bool = true, archiveAfterMs: Int64 = .max,
        archiveOrdersAfterMs: Int64 = .max,
        touchedOrders: Int = Limits.touchedOrders, mutant: Mutant = .none
    ) {
        precondition(owners.isEmpty || owners.count == shards)
        self.shards = shards
        isReplicated = replica != nil
        if isReplicated { ends = Array(repeating: (0, 0), count: shards) }
        cores = SlotArray(capacity: count)
        for core in 0..<count {
            var configuration = NodeConfiguration(
                shards: shards, cores: count, core: core, node: node, nodes: nodes,
                replica: replica, mutant: mutant)
            configuration.hasStore = hasStore
            configuration.archiveAfterMs = hasStore ? archiveAfterMs : .max
            configuration.archiveOrdersAfterMs = hasStore ? archiveOrdersAfterMs : .max
            configuration.touchedOrders = touchedOrders
            cores.append(EdgeNode(configuration))
            for (shard, owner) in owners.enumerated() {
                cores[core].setOwner(of: ShardID(shard), to: owner)
            }
        }
    }

    /// Loads the snapshots and replays the journal after them.
    ///
    /// Errors: `JournalError`, above all `damaged`; `RecoveryFailure` where the data is of another
    /// number of shards. Both leave the files as they were.
    /// Complexity: O(snapshots + journal after them).
    public func run(_ directory: JournalDirectory) throws -> RecoveryReport {
        let covered = try loadSnapshots(directory)
        let report = try directory.recover(covered: covered) { frame throws(JournalError) in
            if let failure = self.replay(frame) { throw Self.contradiction(failure) }
        }
        if let failure = applyWaiting() { throw Self.contradiction(failure) }
        let count = cores.count
        for core in 0..<count {
            for announcement in cores[core].announcements {
                for other in 0..<count where other != core { cores[other].adopt(announcement) }
            }
            cores[core].compactAll()
        }
        return report
    }

    /// No entry on disk is touched: the journal is kept as it was found.
    private static func contradiction(_ failure: String) -> JournalError {
        .damaged(JournalDamage("the journal", 0, .contradiction(failure)))
    }

    private func loadSnapshots(_ directory: JournalDirectory) throws -> ShardSequences {
        var covered = ShardSequences()
        for shard in try directory.snapshots.shards() {
            guard Int(shard) < shards else { throw RecoveryFailure(description: tooManyShards) }
            guard let snapshot = try directory.snapshots.load(shard) else { continue }
            let core = Int(shard) % cores.count
            do {
                try cores[core].loadSnapshot(shard, snapshot.content.bytes)
            } catch {
                // What another release can read is not given up: this one does not start.
                guard isReplicated, !error.isOfOtherRelease else { throw error }
                lose(shard)
                continue
            }
            covered[shard] = snapshot.header.sequence
            snapshots += 1
        }
        return covered
    }

    private var tooManyShards: String { "the data is of a cluster with more than \(shards) shards" }

    /// - Returns: why the entry cannot be; nil where it was applied.
    private func replay(_ frame: JournalFrame) -> String? {
        guard Int(frame.shard) < shards else { return tooManyShards }
        observer?(frame)
        let core = Int(frame.shard) % cores.count
        // Of a log that was dropped since.
        if isReplicated, isOld(frame, core) { return nil }
        if let claim = frame.claim {
            cores[core].prefetch(claim)
            waiting.append(WaitingClaim(claim: claim, header: frame.header))
            return waiting.count < Self.window ? nil : applyWaiting()
        }
        if let failure = applyWaiting() { return failure }
        do {
            try cores[core].replay(try frame.entry(), frame.header)
        } catch {
            if isReplicated {
                lose(frame.shard)
                return nil
            }
            return Self.refusal(frame.header, error)
        }
        return nil
    }

    /// Whether an entry is of a log that was dropped since, or is known: a replica may learn a shard
    /// twice from one primary.
    private func isOld(_ frame: JournalFrame, _ core: Int) -> Bool {
        if lost.contains(frame.shard) { return true }
        let place = Int(frame.shard)
        // Those that wait to be applied count, too.
        let epoch = max(ends[place].epoch, cores[core].epoch(of: frame.shard))
        let sequence = max(ends[place].sequence, cores[core].sequence(of: frame.shard))
        if frame.epoch < epoch || (frame.epoch == epoch && frame.sequence <= sequence) {
            return true
        }
        ends[place] = (frame.sequence, frame.epoch)
        return false
    }

    /// Drops what does not follow: the replica learns the shard anew.
    private func lose(_ shard: ShardID) {
        lost.insert(shard)
        cores[Int(shard) % cores.count].drop(shard)
    }

    /// Applies the claims that wait, in order.
    private func applyWaiting() -> String? {
        defer { waiting.removeAll() }
        for index in 0..<waiting.count {
            let header = waiting[index].header
            do {
                try cores[Int(header.shard) % cores.count].replay(waiting[index].claim, header)
            } catch {
                if isReplicated {
                    lose(header.shard)
                    continue
                }
                return Self.refusal(header, error)
            }
        }
        return nil
    }

    private static func refusal(_ header: EntryHeader, _ error: any Error) -> String {
        "shard \(header.shard), sequence \(header.sequence): \(error)"
    }
}
