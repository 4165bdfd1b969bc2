import EdgeLedger
import EdgeTypes
import Testing

private func header(
    _ sequence: UInt64, shard: ShardID = 3, epoch: UInt32 = 1, timeMs: UnixMs = 1_000
) -> EntryHeader {
    EntryHeader(shard: shard, epoch: epoch, sequence: sequence, timeMs: timeMs)
}

private let claim = Claim(
    pool: PoolKey(rawValue: 1), slice: 0, user: 7, packet: 0, amountFen: 5, requestHash: 0)

@Suite("Watermarks")
struct WatermarkTests {
    @Test("A range is taken only where the store is exactly at its start")
    func startsWhereTheStoreIs() throws {
        let from = Watermark(epoch: 1, sequence: 5, timeMs: 10)
        let range = ShardRange(
            shard: 2, from: from, to: Watermark(epoch: 1, sequence: 9, timeMs: 20))
        try WatermarkRule.check(range, store: from)
        let others = [
            Watermark(epoch: 1, sequence: 4, timeMs: 10),
            Watermark(epoch: 1, sequence: 6, timeMs: 10),
            Watermark(epoch: 2, sequence: 5, timeMs: 10), .origin,
        ]
        for store in others {
            #expect(
                throws: WatermarkRefusal.startsElsewhere(shard: 2, batchFrom: from, store: store)
            ) { try WatermarkRule.check(range, store: store) }
        }
    }

    @Test("Entries follow each other without gap, and neither epoch nor time goes back")
    func follows() throws {
        let mark = Watermark(epoch: 4, sequence: 10, timeMs: 500)
        try WatermarkRule.check(header(11, epoch: 4, timeMs: 500), follows: mark)
        try WatermarkRule.check(header(11, epoch: 6, timeMs: 900), follows: mark)
        #expect(throws: WatermarkRefusal.gap(shard: 3, expected: 11, found: 12)) {
            try WatermarkRule.check(header(12, epoch: 4), follows: mark)
        }
        #expect(throws: WatermarkRefusal.gap(shard: 3, expected: 11, found: 10)) {
            try WatermarkRule.check(header(10, epoch: 4), follows: mark)
        }
        #expect(
            throws: WatermarkRefusal.epochWentBack(shard: 3, sequence: 11, known: 4, found: 3)
        ) { try WatermarkRule.check(header(11, epoch: 3), follows: mark) }
        #expect(
            throws: WatermarkRefusal.timeWentBack(shard: 3, sequence: 11, known: 500, found: 499)
        ) { try WatermarkRule.check(header(11, epoch: 4, timeMs: 499), follows: mark) }
    }

    @Test("A batch skips what the store has, takes what follows, and is full when it is full")
    func admits() throws {
        var marks = WatermarkTable()
        marks[3] = Watermark(epoch: 1, sequence: 2, timeMs: 1_000)
        var batch = EntryBatch(capacity: 2)
        batch.restart(at: marks)
        #expect(try batch.append(header(1), claim: claim) == .skipped)
        #expect(try batch.append(header(2), claim: claim) == .skipped)
        #expect(try batch.append(header(3), claim: claim) == .taken)
        #expect(
            try batch.append(header(1, shard: 9), .orderExpired(OrderID(rawValue: 1))) == .taken)
        #expect(try batch.append(header(4), claim: claim) == .full)
        #expect(batch.count == 2 && batch.skipped == 2)
        #expect(batch.ranges.map(\.shard) == [3, 9])
        #expect(batch.ranges[0].from.sequence == 2 && batch.ranges[0].to.sequence == 3)
        #expect(batch.others[0].claimsBefore == 1)
        batch.next()
        #expect(try batch.append(header(4), claim: claim) == .taken)
        #expect(batch.ranges.count == 1 && batch.ranges[0].from.sequence == 3)
    }

    @Test("A batch refuses a gap and an entry that is not the one the store applied")
    func refuses() throws {
        var marks = WatermarkTable()
        marks[3] = Watermark(epoch: 1, sequence: 2, timeMs: 1_000)
        var batch = EntryBatch()
        batch.restart(at: marks)
        #expect(throws: WatermarkRefusal.gap(shard: 3, expected: 3, found: 4)) {
            _ = try batch.append(header(4), claim: claim)
        }
        #expect(
            throws: WatermarkRefusal.otherHistory(
                shard: 3, store: marks[3], found: Watermark(epoch: 2, sequence: 2, timeMs: 1_000))
        ) { _ = try batch.append(header(2, epoch: 2), claim: claim) }
        #expect(batch.isEmpty)
    }

    @Test("Only a reader that asks for it starts a shard after sequence 1")
    func adopts() throws {
        var strict = EntryBatch()
        #expect(throws: WatermarkRefusal.self) {
            _ = try strict.append(header(40), claim: claim)
        }
        var lenient = EntryBatch(adoptsStarts: true)
        #expect(try lenient.append(header(40), claim: claim) == .taken)
        #expect(throws: WatermarkRefusal.gap(shard: 3, expected: 41, found: 42)) {
            _ = try lenient.append(header(42), claim: claim)
        }
    }

    @Test(
        "An entry's id holds its shard and sequence", arguments: [0, 1, 255, 16_383] as [ShardID])
    func ids(shard: ShardID) {
        for sequence in [1, 77, (1 << 48) - 1] as [UInt64] {
            let id = EntryID.of(shard: shard, sequence: sequence)
            #expect(id > 0)
            #expect(EntryID.shard(of: id) == shard && EntryID.sequence(of: id) == sequence)
        }
    }
}
