import EdgeJournal
import EdgeMemory
import EdgeTypes
import EdgeWire
import Glibc
import Simulator
import Testing

/// A data directory on a virtual disk, and entries by number: n has sequence n + 1 of shard 0.
struct DiskLane {
    let disk: VirtualDisk
    var directory: JournalDirectory
    var writer: SteppedWriter
    var count: UInt64

    static let identity = JournalIdentity(cluster: 1, node: 2)
    static let first = "/data/journal/0000000001-00000-0000000000.log"
    static let headerBytes = 4_096

    static func open(_ disk: VirtualDisk) throws(JournalError) -> JournalDirectory {
        var configuration = JournalConfiguration()
        configuration.segmentBytes = 128 << 10
        configuration.zeroFills = false
        return try JournalDirectory(
            path: "/data", identity: identity, configuration: configuration, system: disk)
    }

    /// Entries that recovery hands over; all must be the right ones.
    static func recover(_ directory: JournalDirectory) throws(JournalError) -> (
        count: UInt64, report: RecoveryReport
    ) {
        var count: UInt64 = 0
        var wrong = 0
        let report = try directory.recover { (frame) throws(JournalError) in
            count += 1
            if frame.sequence != count || frame.timeMs != Int64(count) { wrong += 1 }
        }
        #expect(wrong == 0)
        return (count, report)
    }

    init(_ disk: VirtualDisk) throws(JournalError) {
        self.disk = disk
        directory = try DiskLane.open(disk)
        let (count, report) = try DiskLane.recover(directory)
        self.count = count
        writer = try directory.makeSteppedWriter(
            boot: try directory.beginBoot(), core: 0, cores: 1, resuming: report.sequences)
    }

    /// Appends claims.
    mutating func append(_ entries: Int) throws(JournalError) {
        var sink = ByteSink()
        for _ in 0..<entries {
            count += 1
            let claim = Claim(
                pool: PoolKey(rawValue: 7), slice: 0, user: count, packet: Int64(count),
                amountFen: 5, requestHash: 0)
            JournalCodec.encode(claim, header: header, into: &sink)
        }
        try writer.append(&sink)
    }

    /// Appends one entry of about 48 KB: two fill a segment.
    mutating func appendLong() throws(JournalError) {
        count += 1
        var sink = ByteSink()
        let ranges = [UnitRange](repeating: UnitRange(start: 0, count: 9), count: 3_000)
        let transfer = Transfer(
            pool: PoolKey(rawValue: 7), slice: 1, number: 2, final: false, ranges: ranges)
        JournalCodec.encode(.poolLeased(transfer), header: header, into: &sink)
        try writer.append(&sink)
    }

    private var header: EntryHeader {
        EntryHeader(shard: 0, epoch: 1, sequence: count, timeMs: Int64(count))
    }

    /// Entries and bytes up to the end of those.
    static func end(_ claims: Int, batches: Int) -> Int {
        headerBytes + 64 * batches + claims * JournalCodec.claimOnceBytes
    }
}

@Suite("The journal over a virtual disk")
struct JournalOverVirtualDiskTests {
    static let seed = UInt64.random(in: 0 ... .max)
    /// More with `DOWNPOUR_HISTORIES=100000 swift test -c release`.
    static let histories = getenv("DOWNPOUR_HISTORIES").flatMap { UInt64(String(cString: $0)) }

    @Test("whatever ends a life, the next finds a prefix of what was appended, and all committed")
    func histories() {
        print("seed \(Self.seed)")
        var cuts = 0
        var lost = 0
        var removed = 0
        for round in 0..<(Self.histories ?? 500) {
            var history = LaneHistory(seed: Self.seed &+ round)
            history.run()
            cuts += history.cuts
            lost += history.lostEntries
            removed += history.removed
            #expect(history.failures.first == nil)
        }
        #expect(
            cuts > 20 && lost > 1_000 && removed > 100,
            "seed \(Self.seed): \(cuts) cuts, \(lost) lost, \(removed) removed")
    }

    @Test("after a failed sync, what a start has recovered holds, whatever the kernel has dropped")
    func failedSyncs() {
        print("seed \(Self.seed)")
        var mix = LaneHistory.Mix()
        mix.failedSync = 0.05
        mix.killedCall = 0.2
        mix.retention = 0
        for round in 0..<(Self.histories ?? 500) {
            var history = LaneHistory(seed: Self.seed &+ round, mix: mix)
            history.run()
            #expect(history.failures.first == nil)
        }
    }

    @Test("what is not synced is lost or torn by some crashes, and the torn tail is cut off")
    func tornTails() throws {
        print("seed \(Self.seed)")
        var lost = 0
        var whole = 0
        var cuts = 0
        for round in 0..<100 as Range<UInt64> {
            let disk = VirtualDisk(number: 1)
            var lane = try DiskLane(disk)
            try lane.append(30)
            try lane.writer.sync()
            let end = UInt64(DiskLane.end(30, batches: 1))
            for _ in 0..<4 { try lane.append(20) }
            disk.crash(RandomSource(seed: Self.seed), round)
            let (count, report) = try DiskLane.recover(try DiskLane.open(disk))
            #expect(count >= 30 && count <= 110 && !report.wasClean, "round \(round)")
            if count == 110 { whole += 1 } else { lost += 1 }
            cuts += report.cuts.count
            for cut in report.cuts { #expect(cut.offset >= end && cut.bytes > 0) }
            let (again, second) = try DiskLane.recover(try DiskLane.open(disk))
            #expect(again == count && second.cuts.isEmpty && !second.wasClean)
        }
        #expect(lost > 30 && whole > 5 && cuts > 10, "seed \(Self.seed): \(lost) \(whole) \(cuts)")
    }

    @Test("a flipped bit before the tail stops recovery with its place, and changes nothing")
    func rot() throws {
        print("seed \(Self.seed)")
        for round in 0..<200 as Range<UInt64> {
            let random = RandomSource(seed: Self.seed)
            let disk = VirtualDisk(number: 1)
            var lane = try DiskLane(disk)
            for _ in 0..<5 { try lane.append(10) }
            try lane.writer.sync()
            try lane.writer.mark()
            let end = disk.contents(DiskLane.first)?.count ?? 0
            try lane.append(10)
            disk.crash(random, round)
            var offset = Int.max
            var draw = 0 as UInt64
            // The mark says of all before it that it was durable, not of itself.
            while offset >= end - 64 {
                let before = disk.contents(DiskLane.first) ?? []
                offset = try #require(disk.rot(DiskLane.first, random, 1_000 * round + draw))
                draw += 1
                if offset >= end - 64 {
                    let after = disk.contents(DiskLane.first) ?? []
                    let bit = (before[offset] ^ after[offset]).trailingZeroBitCount
                    disk.flip(DiskLane.first, at: offset, bit: UInt8(bit))
                }
            }
            let before = disk.contents(DiskLane.first)
            let error = #expect(throws: JournalError.self, "round \(round), byte \(offset)") {
                _ = try DiskLane.recover(try DiskLane.open(disk))
            }
            guard case .damaged(let damage) = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
            #expect(damage.file == DiskLane.first && damage.offset <= UInt64(offset))
            #expect(disk.contents(DiskLane.first) == before)
        }
    }

    @Test("a write that went astray is damage as soon as a later one was synced")
    func misdirected() throws {
        let disk = VirtualDisk(number: 1)
        var lane = try DiskLane(disk)
        try lane.append(10)
        try lane.writer.sync()
        disk.faults.misdirectsBy = 8_192
        try lane.append(10)
        try lane.writer.sync()
        try lane.append(10)
        try lane.writer.sync()
        disk.processCrash()
        let error = #expect(throws: JournalError.self) {
            _ = try DiskLane.recover(try DiskLane.open(disk))
        }
        guard case .damaged(let damage) = error else { return }
        #expect(damage.offset == UInt64(DiskLane.end(10, batches: 1)))
    }

    @Test("a full disk is told, loses nothing, and is used again when there is room")
    func fullDisk() throws {
        let disk = VirtualDisk(number: 1)
        var lane = try DiskLane(disk)
        #expect(lane.writer.space == .free)
        disk.faults.spaceBytes = disk.usedBytes
        while lane.writer.space == .free {
            try lane.append(100)
            try lane.writer.sync()
        }
        #expect(lane.writer.space == .full && lane.writer.backlogBytes == 0)
        let atFull = lane.count
        while lane.writer.space == .full {
            try lane.append(100)
            try lane.writer.sync()
        }
        #expect(lane.count >= atFull + 1_500, "a segment's worth of room from the announcement on")
        let committed = lane.writer.committedPosition / UInt64(JournalCodec.claimOnceBytes)
        #expect(lane.writer.isFull && committed < lane.count && committed > lane.count - 101)
        disk.faults.spaceBytes = .max
        disk.now.monotonicNs += 200_000_000
        try lane.writer.sync()
        #expect(lane.writer.space == .free)
        #expect(lane.writer.committedPosition == lane.writer.submittedPosition)
        disk.faults.spaceBytes = disk.usedBytes
        #expect(try lane.writer.close(), "a clean stop needs no room")
        disk.crash(RandomSource(seed: 1), 0)
        let (count, report) = try DiskLane.recover(try DiskLane.open(disk))
        #expect(count == lane.count && report.wasClean)
    }

    @Test("a failed sync throws, nothing is committed by it, and the next start finds what was")
    func failedSync() throws {
        for round in 0..<50 as Range<UInt64> {
            let disk = VirtualDisk(number: 1)
            var lane = try DiskLane(disk)
            try lane.append(10)
            try lane.writer.sync()
            let committed = lane.writer.committedPosition
            try lane.append(10)
            disk.faults.failsSync = true
            let error = #expect(throws: JournalError.self) { try lane.writer.sync() }
            guard case .system("fdatasync", DiskLane.first, EIO) = error else {
                Issue.record("\(String(describing: error))")
                return
            }
            disk.faults.failsSync = false
            #expect(throws: JournalError.self) { try lane.writer.sync() }
            #expect(lane.writer.committedPosition == committed)
            disk.crash(RandomSource(seed: Self.seed), round)
            let (count, _) = try DiskLane.recover(try DiskLane.open(disk))
            #expect(count >= 10 && count <= 20)
        }
    }

    @Test("a read-only disk is refused with the first name that cannot be written")
    func readOnly() throws {
        let disk = VirtualDisk(number: 1)
        _ = try DiskLane(disk)
        disk.processCrash()
        disk.faults.isReadOnly = true
        #expect(throws: JournalError.readOnly(path: "/data/lock")) { _ = try DiskLane.open(disk) }
    }

    @Test("two processes never share a data directory, and a killed one leaves it free")
    func locked() throws {
        let disk = VirtualDisk(number: 1)
        let lane = try DiskLane(disk)
        #expect(throws: JournalError.locked(path: "/data/lock", holder: "process 1")) {
            _ = try DiskLane.open(disk)
        }
        disk.processCrash()
        _ = try DiskLane.open(disk)
        withExtendedLifetime(lane) {}
    }

    @Test("a snapshot that a killed process has left holds before its entries are removed")
    func unsyncedSnapshot() throws {
        let random = RandomSource(seed: Self.seed)
        for round in 0..<60 as Range<UInt64> {
            let disk = VirtualDisk(number: 1)
            do {
                var lane = try DiskLane(disk)
                try lane.append(10)
                #expect(try lane.writer.close())
            }
            do {
                let lane = try DiskLane(disk)
                let header = SnapshotHeader(
                    shard: 0, epoch: 1, sequence: 10, lane: lane.writer.lane, position: 0)
                // Killed between the rename and the sync of its directory.
                disk.faults.callsLeft = 4
                #expect(throws: JournalError.self) {
                    try [1, 2, 3].withUnsafeBytes {
                        try lane.directory.snapshots.save(header, committed: 0, content: $0)
                    }
                }
                disk.processCrash()
            }
            do {
                let directory = try DiskLane.open(disk)
                let covered = try directory.snapshots.coveredSequences(keeping: 1)
                #expect(covered[0] == 10)
                let removed = try directory.removeSegments(
                    coveredBy: covered, sealedBeforeMs: .max)
                #expect(removed == 1)
            }
            disk.crash(random, round)
            let directory = try DiskLane.open(disk)
            var covered = ShardSequences()
            if let snapshot = try directory.snapshots.load(0) {
                covered[0] = snapshot.header.sequence
            }
            let report = try directory.recover(covered: covered) { (_) throws(JournalError) in }
            #expect(report.sequences[0] == 10, "seed \(Self.seed) round \(round)")
        }
    }

    @Test("retention that is cut off at any call leaves a lane without a gap")
    func interruptedRetention() throws {
        print("seed \(Self.seed)")
        let random = RandomSource(seed: Self.seed)
        var covered = ShardSequences()
        covered[0] = 8
        var fewest = Int.max
        for round in 0..<240 as Range<UInt64> {
            let disk = VirtualDisk(number: 1)
            do {
                var lane = try DiskLane(disk)
                for _ in 0..<8 { try lane.appendLong() }
                #expect(try lane.writer.close())
            }
            do {
                let lane = try DiskLane(disk)
                disk.faults.callsLeft = Int(round % 40)
                _ = try? lane.directory.removeSegments(coveredBy: covered, sealedBeforeMs: .max)
            }
            disk.crash(random, round)
            let directory = try DiskLane.open(disk)
            let segments = try directory.segments(of: JournalLane(boot: 1, core: 0))
            fewest = min(fewest, segments.count)
            let report = try directory.recover(covered: covered) { (_) throws(JournalError) in }
            #expect(report.sequences[0] == 8, "seed \(Self.seed) round \(round)")
        }
        #expect(fewest < 3)
    }

    /// Fills a segment, so that the next entry rotates, and dies at a call of that step; what a
    /// recovery does then is cut off at each of its calls.
    @Test("killed at any call of a rotation, and again at any call of the recovery")
    func everyCall() throws {
        print("seed \(Self.seed)")
        let random = RandomSource(seed: Self.seed)
        var round: UInt64 = 0
        var rotations = 0
        var step = 0
        while true {
            var recovery = 0
            var isOver = false
            while !isOver {
                round += 1
                let disk = VirtualDisk(number: 1)
                var lane = try DiskLane(disk)
                for _ in 0..<2 { try lane.appendLong() }
                try lane.writer.sync()
                disk.faults.callsLeft = step
                let wasKilled: Bool
                do throws(JournalError) {
                    try lane.appendLong()
                    try lane.writer.sync()
                    wasKilled = false
                } catch { wasKilled = true }
                let committed: UInt64 = wasKilled ? 2 : 3
                if !wasKilled { rotations += 1 }
                if round % 3 == 0 { disk.processCrash() } else { disk.crash(random, 2 * round) }
                disk.faults.callsLeft = recovery
                do throws(JournalError) {
                    _ = try DiskLane.recover(try DiskLane.open(disk))
                    isOver = true
                } catch {
                    guard disk.faults.callsLeft == 0 else { throw error }
                }
                if round % 5 == 0 { disk.processCrash() } else { disk.crash(random, 2 * round + 1) }
                let (count, _) = try DiskLane.recover(try DiskLane.open(disk))
                #expect(count >= committed && count <= 3, "step \(step), recovery \(recovery)")
                recovery += 1 + Int(round % 3)
            }
            if rotations > 0 { break }
            step += 1
        }
        #expect(step >= 15 && round > 200, "\(step) calls, \(round) rounds")
    }
}
