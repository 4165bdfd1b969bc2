import EdgeJournal
import EdgeMemory
import EdgeTypes
import EdgeWire
import Simulator

/// A node's journal through many starts and ends on one virtual disk, all drawn from a seed.
///
/// Keeps account of what was appended, committed and recovered, and tells what contradicts it.
struct LaneHistory {
    /// What one core appended in one life.
    struct Lane {
        var life: Int
        var core: Int
        var entries: [Item] = []
        var committed = 0
        /// As many as a finished recovery has handed over: no more and no fewer from then on.
        var recovered: Int?
    }

    struct Item: Equatable {
        var shard: ShardID
        var sequence: UInt64
    }

    struct Mix {
        var powerLoss = 0.6
        /// Of a life, that it is cut off in the middle of a call.
        var killedCall = 0.6
        /// Of a step, that syncs fail from then on.
        var failedSync = 0.0
        /// Of a life, that snapshots are saved and what they cover is removed.
        var retention = 0.3
        var lives = 5
    }

    let seed: UInt64
    let mix: Mix
    let disk: VirtualDisk
    private let random: RandomSource
    private var draws: UInt64 = 0
    private(set) var lanes: [Lane] = []
    private var sequences = ShardSequences()
    private var life = 0
    private var newestBoot: UInt32 = 0
    /// Whether the next recovery must find a clean end; nil where it may be either.
    private var isClean: Bool? = true
    private(set) var failures: [String] = []
    /// So that tests can tell that what they look for has happened.
    private(set) var cuts = 0
    private(set) var deaths = 0
    private(set) var recoveries = 0
    private(set) var lostEntries = 0
    private(set) var removed = 0

    static let shards = 6

    init(seed: UInt64, mix: Mix = Mix()) {
        self.seed = seed
        self.mix = mix
        disk = VirtualDisk(number: 1, now: Instant(wallMs: 1_000))
        random = RandomSource(seed: seed)
    }

    private mutating func below(_ bound: Int) -> Int {
        draws += 1
        return Int(random.below(UInt64(bound), .plan, 0, draws))
    }

    private mutating func happens(_ probability: Double) -> Bool {
        draws += 1
        return random.happens(probability, .plan, 0, draws)
    }

    private mutating func fail(_ text: String) {
        failures.append("seed \(seed), life \(life): \(text)")
    }

    mutating func run() {
        for _ in 0..<mix.lives where failures.isEmpty {
            life += 1
            disk.now.wallMs += 10_000
            disk.now.monotonicNs += 10_000_000_000
            if happens(mix.killedCall) { disk.faults.callsLeft = below(below(2) == 0 ? 120 : 500) }
            do {
                try live()
            } catch {
                let wasKilled = disk.faults.callsLeft == 0
                if !wasKilled && !disk.faults.failsSync { fail("\(error)") }
            }
            die()
        }
        // Whatever happened: an undisturbed start finds everything.
        guard failures.isEmpty else { return }
        life += 1
        do {
            let directory = try open()
            _ = try recover(directory)
            isClean = nil
            _ = try recover(directory)
        } catch { fail("at the end: \(error)") }
    }

    private mutating func die() {
        deaths += 1
        disk.faults.failsSync = false
        if happens(mix.powerLoss) {
            disk.crash(random, UInt64(life))
        } else {
            disk.processCrash()
        }
    }

    private func open() throws -> JournalDirectory {
        var configuration = JournalConfiguration()
        configuration.segmentBytes = 128 << 10
        configuration.zeroFills = false
        return try JournalDirectory(
            path: "/data", identity: JournalIdentity(cluster: 1, node: 2),
            configuration: configuration, system: disk)
    }

    // MARK: A life

    private mutating func live() throws {
        let directory = try open()
        let report = try recover(directory)
        let boot = try directory.beginBoot()
        if boot <= newestBoot { fail("boot \(boot) comes after \(newestBoot)") }
        newestBoot = boot
        if happens(mix.retention) { try retire(directory) }
        if happens(0.2) { try directory.compressSegments(sealedBeforeMs: .max, limit: 2) }
        let cores = 1 + below(3)
        isClean = nil
        var writers: [SteppedWriter] = []
        let first = lanes.count
        for core in 0..<cores {
            writers.append(
                try directory.makeSteppedWriter(
                    boot: boot, core: UInt16(core), cores: UInt16(cores),
                    resuming: report.sequences))
            isClean = false
            lanes.append(Lane(life: life, core: core))
        }
        // Also where a call has failed: what was committed until then stays so.
        defer {
            for (core, writer) in writers.enumerated() { note(writer, first + core) }
        }
        for _ in 0..<below(40) {
            let core = below(cores)
            try act(writers[core], first + core, cores)
            if happens(mix.failedSync) { disk.faults.failsSync = true }
        }
        guard happens(0.3) else { return }
        isClean = nil
        for writer in writers { try writer.close() }
        isClean = true
    }

    /// Saves snapshots, and removes what two of each shard cover.
    private mutating func retire(_ directory: JournalDirectory) throws {
        for shard in 0..<LaneHistory.shards {
            let sequence = sequences[ShardID(shard)]
            guard sequence > 0 else { continue }
            let header = SnapshotHeader(
                shard: ShardID(shard), epoch: 1, sequence: sequence,
                lane: JournalLane(boot: newestBoot, core: 0), position: 0)
            let content = [UInt8](repeating: UInt8(shard), count: 100)
            try content.withUnsafeBytes {
                try directory.snapshots.save(header, committed: 0, content: $0)
            }
        }
        let covered = try directory.snapshots.coveredSequences(keeping: 2)
        removed += try directory.removeSegments(coveredBy: covered, sealedBeforeMs: .max)
        try directory.snapshots.removeOld(keeping: 2)
    }

    private mutating func note(_ writer: SteppedWriter, _ lane: Int) {
        lanes[lane].committed = Int(writer.committedPosition) / JournalCodec.claimOnceBytes
    }

    private mutating func act(_ writer: SteppedWriter, _ lane: Int, _ cores: Int) throws {
        let ms = below(100)
        disk.now.wallMs += Int64(ms)
        disk.now.monotonicNs += UInt64(ms) * 1_000_000
        switch below(10) {
        case 0...5:
            var sink = ByteSink()
            let count = 1 + below(below(12) == 0 ? 1_500 : 40)
            for _ in 0..<count {
                let own = (LaneHistory.shards - lanes[lane].core + cores - 1) / cores
                let shard = ShardID(lanes[lane].core + cores * below(own))
                append(shard, lane, to: &sink)
            }
            try writer.append(&sink)
        case 6...8: try writer.sync()
        default: try writer.mark()
        }
    }

    private mutating func append(_ shard: ShardID, _ lane: Int, to sink: inout ByteSink) {
        let index = lanes[lane].entries.count
        sequences[shard] += 1
        lanes[lane].entries.append(Item(shard: shard, sequence: sequences[shard]))
        let header = EntryHeader(
            shard: shard, epoch: 1, sequence: sequences[shard], timeMs: Int64(life))
        let claim = Claim(
            pool: PoolKey(rawValue: 7), slice: UInt32(lanes[lane].core),
            user: UInt64(lanes[lane].life), packet: Int64(index), amountFen: 5, requestHash: 0)
        JournalCodec.encode(claim, header: header, into: &sink)
    }

    // MARK: Recovery

    /// What snapshots hold, each the newest good one of its shard.
    private mutating func loadSnapshots(_ directory: JournalDirectory) throws -> ShardSequences {
        var covered = ShardSequences()
        for shard in try directory.snapshots.shards() {
            guard let snapshot = try directory.snapshots.load(shard) else { continue }
            if !snapshot.damaged.isEmpty { fail("a damaged snapshot: \(snapshot.damaged)") }
            if Array(snapshot.content.bytes) != [UInt8](repeating: UInt8(shard), count: 100) {
                fail("another snapshot")
            }
            covered[shard] = snapshot.header.sequence
        }
        return covered
    }

    /// Recovers and compares; what was found holds from then on.
    private mutating func recover(_ directory: JournalDirectory) throws -> RecoveryReport {
        let covered = try loadSnapshots(directory)
        var account = Account(lanes: lanes, covered: covered)
        let report = try directory.recover(covered: covered) { (frame) throws(JournalError) in
            account.take(frame)
        }
        if let problem = account.problem { fail(problem) }
        recoveries += 1
        cuts += report.cuts.count
        if let isClean, report.wasClean != isClean { fail("clean: \(report.wasClean)") }
        isClean = report.wasClean
        var found = ShardSequences()
        for lane in lanes.indices {
            let count = account.finish(lane)
            if count < lanes[lane].committed {
                fail("\(count) of \(lanes[lane].committed) committed, lane \(lane)")
            }
            if let before = lanes[lane].recovered, before != count {
                fail("\(count) entries where there were \(before), lane \(lane)")
            }
            lostEntries += lanes[lane].entries.count - count
            lanes[lane].recovered = count
            lanes[lane].entries.removeLast(lanes[lane].entries.count - count)
            for item in lanes[lane].entries { found[item.shard] = item.sequence }
        }
        if report.sequences != found { fail("other sequences") }
        sequences = found
        return report
    }

    /// Follows one recovery.
    private struct Account {
        let lanes: [Lane]
        let covered: ShardSequences
        var problem: String?
        /// Of each lane, the entries that are there: handed over, or covered before such a one.
        private var counts: [Int]
        private var current = 0

        init(lanes: [Lane], covered: ShardSequences) {
            self.lanes = lanes
            self.covered = covered
            counts = [Int](repeating: 0, count: lanes.count)
        }

        mutating func take(_ frame: JournalFrame) {
            guard let claim = frame.claim,
                let lane = lanes.firstIndex(where: {
                    $0.life == Int(claim.user) && $0.core == Int(claim.slice)
                })
            else {
                problem = problem ?? "an entry of nobody: \(frame.header)"
                return
            }
            let index = Int(claim.packet)
            let item = Item(shard: frame.shard, sequence: frame.sequence)
            pass(lane, to: index)
            guard lane >= current, counts[lane] == index, index < lanes[lane].entries.count,
                lanes[lane].entries[index] == item, item.sequence > covered[item.shard]
            else {
                problem = problem ?? "not what was appended: \(frame.header)"
                return
            }
            current = lane
            counts[lane] = index + 1
        }

        /// Passes over what is covered.
        private mutating func pass(_ lane: Int, to index: Int) {
            while counts[lane] < min(index, lanes[lane].entries.count) {
                let item = lanes[lane].entries[counts[lane]]
                guard item.sequence <= covered[item.shard] else { return }
                counts[lane] += 1
            }
        }

        mutating func finish(_ lane: Int) -> Int {
            pass(lane, to: .max)
            return counts[lane]
        }
    }
}
