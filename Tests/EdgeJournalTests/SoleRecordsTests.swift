import EdgeTypes
import Glibc
import Testing

@testable import EdgeJournal

@Suite("Records of replicas")
struct SoleRecordsTests {
    @Test("the last record of each shard is there after a restart, in order of shards")
    func restarts() throws {
        let scratch = Scratch()
        do {
            let directory = try WriterTests.open(scratch)
            var records = try directory.openSoleRecords()
            #expect(records.records.isEmpty)
            try records.note([
                SoleRecord(shard: 900, epoch: 1, boot: 5, born: 0),
                SoleRecord(shard: 3, epoch: 2, boot: 5, born: 1),
            ])
            try records.note([SoleRecord(shard: 900, epoch: 0, boot: 6, born: 4)])
        }
        let records = try WriterTests.open(scratch).openSoleRecords()
        #expect(
            records.records == [
                SoleRecord(shard: 3, epoch: 2, boot: 5, born: 1),
                SoleRecord(shard: 900, epoch: 0, boot: 6, born: 4),
            ])
        #expect(records[900]?.boot == 6 && records[4] == nil)
    }

    @Test("a byte that was altered is damage, wherever it is")
    func damage() throws {
        let scratch = Scratch()
        do {
            var records = try WriterTests.open(scratch).openSoleRecords()
            try records.note([SoleRecord(shard: 7, epoch: 9, boot: 1 << 40, born: 2)])
        }
        let path = scratch.data + "/sole"
        let good = try readFile(path)
        for place in good.indices {
            var bad = good
            bad[place] ^= 0x40
            try bad.withUnsafeBytes { try File(path, O_WRONLY).write($0, at: 0) }
            #expect(throws: JournalError.self) {
                _ = try WriterTests.open(scratch).openSoleRecords()
            }
        }
    }

    @Test("of two snapshots that of the later epoch counts, though its log has fewer entries")
    func snapshotOfALaterEpoch() throws {
        let scratch = Scratch()
        let directory = try WriterTests.open(scratch)
        for (epoch, sequence) in [(6, 5), (7, 0)] as [(UInt32, UInt64)] {
            let header = SnapshotHeader(
                shard: 12, epoch: epoch, sequence: sequence, lane: JournalLane(boot: 1, core: 0),
                position: 0)
            let content = [UInt8(truncatingIfNeeded: epoch)]
            try content.withUnsafeBytes {
                try directory.snapshots.save(header, committed: 0, content: $0)
            }
        }
        guard let newest = try directory.snapshots.load(12) else {
            Issue.record("there is none")
            return
        }
        let epoch = newest.header.epoch
        #expect(epoch == 7)
        // What the new log will hold from its first entry on is not covered by the old one.
        #expect(try directory.snapshots.coveredSequences()[12] == 0)
    }
}
