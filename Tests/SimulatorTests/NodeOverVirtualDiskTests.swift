import EdgeCore
import EdgeJournal
import EdgeMemory
import EdgeRecovery
import EdgeTypes
import EdgeWire
import Simulator
import Testing

@Suite("A node over a virtual disk")
struct NodeOverVirtualDiskTests {
    static let seed = UInt64.random(in: 0 ... .max)

    /// One core and its writer, from start to crash.
    final class Node {
        let recovery: NodeRecovery
        let report: RecoveryReport
        let writer: SteppedWriter
        private var batch = RequestBatch()
        private var effects = EffectBuffer()

        init(_ disk: VirtualDisk) throws {
            let directory = try DiskLane.open(disk)
            recovery = NodeRecovery(shards: 8, cores: 1)
            report = try recovery.run(directory)
            writer = try directory.makeSteppedWriter(
                boot: try directory.beginBoot(), core: 0, cores: 1, resuming: report.sequences)
            recovery.cores[0].finishRecovery(
                cleanStop: report.wasClean, now: Instant(wallMs: 2_000), into: &effects)
            try flush()
        }

        private func flush() throws {
            try writer.append(&effects.journal)
            effects.removeAll()
        }

        func create(_ name: Text64, _ count: Int64) throws {
            let definition = PoolDefinition(
                name: name, kind: .spread, units: count, amountFen: 100 * count, minFen: 1,
                maxFen: 0, holdMs: 0, slices: 1, regions: [], seed: Bits256(1, 2, 3, 4),
                seedWasGiven: true, commitment: Bits256(9, 9, 9, 1), durability: .journal,
                initial: PoolTerms(opensMs: 0, closesMs: 0, limit: 1))
            batch.removeAll()
            batch.append(
                Request(
                    ticket: ticket(0), operation: .poolCreate, family: .rain,
                    pool: PoolKey.of(.rain, name)),
                payload: .definition(definition, actor: "tester"))
            recovery.cores[0].step(batch, now: Instant(wallMs: 2_000), into: &effects)
            #expect(effects.replies.count == 1 && effects.replies[0].shape == .ok)
            try flush()
        }

        /// What each user is told.
        func grab(_ name: Text64, _ users: Range<UInt64>) throws -> [Int64] {
            batch.removeAll()
            for user in users {
                batch.requests.append(
                    Request(
                        ticket: ticket(UInt32(user)), operation: .grab,
                        pool: PoolKey.of(.rain, name), user: user))
            }
            recovery.cores[0].step(batch, now: Instant(wallMs: 3_000), into: &effects)
            var packets = [Int64](repeating: -1, count: users.count)
            for index in 0..<effects.replies.count {
                let reply = effects.replies[index]
                let place = Int(reply.ticket.position) - Int(users.lowerBound)
                packets[place] = reply.packet << 32 | Int64(reply.fen)
            }
            try flush()
            return packets
        }

        private func ticket(_ position: UInt32) -> Ticket {
            Ticket(core: 0, generation: 0, connection: 0, position: position)
        }
    }

    @Test("whoever was told of a packet after a sync is told the same after a loss of power")
    func acknowledged() throws {
        print("seed \(Self.seed)")
        var lost = 0
        var cuts = 0
        for round in 0..<60 as Range<UInt64> {
            let disk = VirtualDisk(number: round)
            let before = try Node(disk)
            try before.create("rain", 2_000)
            let told = try before.grab("rain", 0..<100)
            try before.writer.sync()
            _ = try before.grab("rain", 100..<130)
            _ = try before.grab("rain", 130..<160)
            #expect(Set(told).count == 100)
            disk.crash(RandomSource(seed: Self.seed), round)
            let after = try Node(disk)
            #expect(!after.report.wasClean && after.report.entries >= 101)
            cuts += after.report.cuts.count
            if after.report.entries < 161 { lost += 1 }
            #expect(try after.grab("rain", 0..<100) == told, "seed \(Self.seed) round \(round)")
            let rest = try after.grab("rain", 100..<500)
            #expect(Set(rest + told).count == 500, "no packet is given twice")
            try after.writer.sync()
            disk.crash(RandomSource(seed: Self.seed), 1_000 + round)
            let again = try Node(disk)
            #expect(try again.grab("rain", 100..<500) == rest)
            #expect(try again.writer.close())
            disk.crash(RandomSource(seed: Self.seed), 2_000 + round)
            #expect(try Node(disk).report.wasClean)
        }
        #expect(lost > 10 && cuts > 2, "seed \(Self.seed): \(lost) lost, \(cuts) cuts")
    }

    /// - Returns: the disk of a node whose snapshot of shard 0 says `value` at an offset.
    private func disk(saying value: UInt32, at offset: Int) throws -> VirtualDisk {
        let disk = VirtualDisk(number: 1)
        let node = try Node(disk)
        try node.create("rain", 2_000)
        try node.writer.sync()
        var sink = ByteSink()
        node.recovery.cores[0].writeSnapshot(0, into: &sink)
        var content = Array(sink.bytes)
        content.withUnsafeMutableBytes {
            $0.storeBytes(of: value, toByteOffset: offset, as: UInt32.self)
        }
        let header = SnapshotHeader(
            shard: 0, epoch: node.recovery.cores[0].epoch(of: 0),
            sequence: node.recovery.cores[0].sequence(of: 0), lane: node.writer.lane, position: 0)
        let directory = try DiskLane.open(disk)
        try content.withUnsafeBytes {
            try directory.snapshots.save(header, committed: 0, content: $0)
        }
        return disk
    }

    @Test("a snapshot that another release can read is not given up: the node does not start")
    func otherRelease() throws {
        for replica in [nil, ReplicaID(node: 0, boot: 9)] {
            let recovery = NodeRecovery(shards: 8, cores: 1, replica: replica)
            let directory = try DiskLane.open(try disk(saying: 99, at: 0))
            let error = #expect(throws: SnapshotError.self) { _ = try recovery.run(directory) }
            #expect(error?.isOfOtherRelease == true)
        }
    }

    @Test(
        "a snapshot that nobody can read is given up where other nodes have copies, and only there")
    func unreadable() throws {
        let alone = NodeRecovery(shards: 8, cores: 1)
        #expect(throws: SnapshotError.self) {
            _ = try alone.run(try DiskLane.open(try disk(saying: 77, at: 4)))
        }
        let replica = NodeRecovery(shards: 8, cores: 1, replica: ReplicaID(node: 0, boot: 9))
        _ = try replica.run(try DiskLane.open(try disk(saying: 77, at: 4)))
        #expect(replica.lost == [0])
    }
}
