import EdgeLedger
import EdgeMemory
import EdgeStores
import EdgeTypes
import Foundation
import StoresTestSupport
import Testing

struct Injury: CustomTestStringConvertible, Sendable {
    var sql: String
    var kind: FindingKind
    var mentions: String
    var count: Int64 = 1

    var testDescription: String { "\(kind): \(sql)" }
}

private let anyClaim = "(SELECT grant_id FROM claims ORDER BY grant_id LIMIT 1 OFFSET 17)"
private let anyPaid = "(SELECT order_id FROM orders WHERE state = 'paid' LIMIT 1)"

private let injuries = [
    Injury(
        sql: "UPDATE claims SET amount = amount + 1 WHERE grant_id = \(anyClaim)",
        kind: .claimDiffers, mentions: "amount"),
    Injury(
        sql: "UPDATE claims SET user = user - 1 WHERE grant_id = \(anyClaim)",
        kind: .claimDiffers, mentions: "user"),
    Injury(
        sql: "UPDATE claims SET packet = packet + 1 WHERE grant_id = \(anyClaim)",
        kind: .claimDiffers, mentions: "packet"),
    Injury(
        sql: "UPDATE claims SET granted_at = granted_at + 1 WHERE grant_id = \(anyClaim)",
        kind: .claimDiffers, mentions: "granted_at"),
    Injury(
        sql: "UPDATE claims SET request_hash = request_hash + 1 WHERE grant_id = \(anyClaim)",
        kind: .claimDiffers, mentions: "request_hash"),
    Injury(
        sql: "UPDATE claims SET pool = 'rain:9' WHERE grant_id = \(anyClaim)",
        kind: .claimDiffers, mentions: "pool"),
    Injury(
        sql: "UPDATE claims SET user = 'nobody' WHERE grant_id = \(anyClaim)",
        kind: .claimDiffers, mentions: "no user"),
    Injury(
        sql: "DELETE FROM claims WHERE grant_id = \(anyClaim)", kind: .claimMissing,
        mentions: "none"),
    Injury(
        sql: "DELETE FROM claims WHERE grant_id IN (SELECT max(grant_id) FROM claims)",
        kind: .claimMissing, mentions: "none"),
    Injury(
        sql: """
            INSERT INTO claims (grant_id, pool, user, packet, amount, granted_at)
            SELECT grant_id + 100000, pool, user, packet, amount, granted_at FROM claims
            WHERE grant_id = \(anyClaim)
            """, kind: .claimDoubled, mentions: "another"),
    Injury(
        sql: "INSERT INTO claims (grant_id, pool, user, packet, amount, granted_at) "
            + "VALUES ((60 << 48) | 5, 'rain:0', 1, 399, 100, 1)",
        kind: .claimExtra, mentions: "shard 60, sequence 5"),
    Injury(
        sql: "UPDATE orders SET state = 'reserved' WHERE order_id = \(anyPaid)",
        kind: .orderDiffers, mentions: "state: expected paid, found reserved"),
    Injury(
        sql: "UPDATE orders SET paid_fen = paid_fen - 1 WHERE order_id = \(anyPaid)",
        kind: .orderDiffers, mentions: "paid_fen"),
    Injury(
        sql: "UPDATE orders SET request_hash = 7 WHERE order_id = \(anyPaid)",
        kind: .orderDiffers, mentions: "request_hash"),
    Injury(
        sql: "DELETE FROM orders WHERE order_id = \(anyPaid)", kind: .orderMissing,
        mentions: "paid"),
    Injury(
        sql: """
            INSERT INTO orders SELECT '1zzzzzzzzzzzz', sku, slice, user, qty, price, state,
                reserved_at, expires_at, paid_at, ended_at, payment, paid_fen, refunded_fen,
                restocked, request_hash
            FROM orders WHERE order_id = \(anyPaid)
            """, kind: .orderExtra, mentions: "1zzzzzzzzzzzz"),
    Injury(
        sql: "UPDATE payments SET fen = fen + 1 WHERE id = (SELECT min(id) FROM payments)",
        kind: .paymentDiffers, mentions: "payment of order"),
    Injury(
        sql: "UPDATE payments SET outcome = 'captured' "
            + "WHERE id = (SELECT min(id) FROM payments WHERE outcome = 'refund_due')",
        kind: .paymentDiffers, mentions: "refund_due"),
    Injury(
        sql: "DELETE FROM payments WHERE id = (SELECT max(id) FROM payments)",
        kind: .paymentMissing, mentions: "none"),
    Injury(
        sql: "INSERT INTO payments SELECT id + 1000000, order_id, payment, fen, outcome, at "
            + "FROM payments WHERE id = (SELECT min(id) FROM payments)",
        kind: .paymentExtra, mentions: "none"),
    Injury(
        sql: "UPDATE refunds SET fen = fen + 1 WHERE id = (SELECT min(id) FROM refunds)",
        kind: .refundDiffers, mentions: "refund of order"),
    Injury(
        sql: "DELETE FROM refunds WHERE id = (SELECT min(id) FROM refunds)",
        kind: .refundMissing, mentions: "none"),
    Injury(
        sql: "UPDATE stock_movements SET units = units + 1 "
            + "WHERE id = (SELECT min(id) FROM stock_movements WHERE movement = 'paid')",
        kind: .movementDiffers, mentions: "paid"),
    Injury(
        sql: "UPDATE stock_movements SET sku = 'sku:9' "
            + "WHERE id = (SELECT min(id) FROM stock_movements WHERE movement = 'reserved')",
        kind: .movementDiffers, mentions: "sku:9"),
    Injury(
        sql: "DELETE FROM stock_movements WHERE id = (SELECT max(id) FROM stock_movements)",
        kind: .movementMissing, mentions: "none"),
    Injury(
        sql: "INSERT INTO stock_movements SELECT id + 1000000, sku, order_id, movement, units, at "
            + "FROM stock_movements WHERE id = (SELECT min(id) FROM stock_movements)",
        kind: .movementExtra, mentions: "none"),
    Injury(
        sql: "UPDATE rains SET amount = amount - 1 WHERE pool = 'rain:2'", kind: .poolDiffers,
        mentions: "pool rain:2: amount"),
    Injury(
        sql: "UPDATE rains SET seed = commitment WHERE pool = 'rain:0'", kind: .poolDiffers,
        mentions: "seed"),
    Injury(
        sql: "UPDATE stock SET price = price + 1 WHERE sku = 'sku:1'", kind: .poolDiffers,
        mentions: "pool sku:1: price"),
    Injury(
        sql: "UPDATE pools SET funded = funded + 1 WHERE name = 'sku:0'", kind: .poolDiffers,
        mentions: "treasury"),
    Injury(sql: "DELETE FROM rains WHERE pool = 'rain:0'", kind: .poolMissing, mentions: "rains"),
    Injury(
        sql: "UPDATE slices SET granted_amount = granted_amount + 1 WHERE slice = 2 "
            + "AND pool_key = (SELECT key FROM pools WHERE name = 'rain:0')",
        kind: .sliceDiffers, mentions: "slice 2 of pool rain:0"),
    Injury(
        sql: "UPDATE slices SET sold = sold - 1 WHERE slice = 0 "
            + "AND pool_key = (SELECT key FROM pools WHERE name = 'sku:0')",
        kind: .sliceDiffers, mentions: "slice 0 of pool sku:0"),
    Injury(
        sql: "DELETE FROM slices WHERE slice = 1 "
            + "AND pool_key = (SELECT key FROM pools WHERE name = 'sku:0')",
        kind: .sliceMissing, mentions: "19"),
]

@Suite("Audit")
struct AuditTests {
    @Test("An injury to the store is found and named", arguments: injuries)
    func found(_ injury: Injury) throws {
        let scratch = try Scratch()
        let lanes = History(seed: 21).sources()
        let store = try SQLStore(path: scratch.file())
        try ship(lanes, to: store, seed: 5)
        store.close()
        #expect(try audit(scratch.file(), lanes).isClean)
        let before = try Data(contentsOf: URL(fileURLWithPath: scratch.file()))
        try tamper(scratch.file(), injury.sql)
        try tamper(scratch.file(), "PRAGMA wal_checkpoint(TRUNCATE)")
        try #require(
            try Data(contentsOf: URL(fileURLWithPath: scratch.file())) != before,
            "the injury did nothing")
        var options = AuditOptions()
        options.ordersAtOnce = 40
        options.rowsAtOnce = 64
        let report = try audit(scratch.file(), lanes, options: options)
        let finding = try #require(report[injury.kind], "\(report)")
        #expect(finding.count == injury.count, "\(report)")
        #expect(finding.description.contains(injury.mentions), "\(finding)")
    }

    /// A history in which the rules themselves are broken.
    private func broken(_ change: (inout [LaneEntry]) throws -> Void) throws -> AuditReport {
        let scratch = try Scratch()
        var shape = History.Shape()
        shape.lanes = 1
        var entries = History(seed: 31, shape: shape).lanes[0]
        try change(&entries)
        let lane = MemoryLane(name: "lane", entries: entries)
        let store = try SQLStore(path: scratch.file())
        try ship([lane], to: store, seed: 1)
        store.close()
        return try audit(scratch.file(), [lane])
    }

    private func claims(_ entries: [LaneEntry], of pool: PoolKey) -> [Int] {
        entries.indices.filter {
            if case .claim(let claim) = entries[$0].entry { return claim.pool == pool }
            return false
        }
    }

    private func changeClaim(
        _ entries: inout [LaneEntry], _ index: Int, _ change: (inout Claim) -> Void
    ) {
        guard case .claim(var claim) = entries[index].entry else { return }
        change(&claim)
        entries[index].entry = .claim(claim)
    }

    private let pool = PoolKey.of(.rain, "rain:2")

    @Test("A packet granted twice is found in journal and store alike")
    func packetTwice() throws {
        let report = try broken { entries in
            let found = claims(entries, of: pool)
            guard case .claim(let first) = entries[found[0]].entry else { return }
            changeClaim(&entries, found[9]) { $0.packet = first.packet }
        }
        #expect(report[.packetTwice]?.count == 1, "\(report)")
        #expect(report[.claimDoubled]?.count == 1, "\(report)")
        #expect(report[.claimDiffers] == nil)
    }

    @Test("A user above the limit is found, over shards too", arguments: [2_000_000, 4])
    func aboveLimit(usersAtOnce: Int) throws {
        let scratch = try Scratch()
        var shape = History.Shape()
        shape.lanes = 1
        var entries = History(seed: 31, shape: shape).lanes[0]
        for index in claims(entries, of: pool).prefix(70) {
            changeClaim(&entries, index) { $0.user = 424_242 }
        }
        let lane = MemoryLane(name: "lane", entries: entries)
        let store = try SQLStore(path: scratch.file())
        try ship([lane], to: store, seed: 1)
        store.close()
        var options = AuditOptions()
        options.usersAtOnce = usersAtOnce
        options.sketchBytes = 1_024
        let report = try audit(scratch.file(), [lane], options: options)
        #expect(report[.userAboveLimit]?.count == 1, "\(report)")
        #expect(report[.userAboveLimit]?.subject == "pool rain:2, user 424242")
        #expect(report[.userAboveLimit]?.found == "70")
    }

    @Test("Amounts above the total, and packets that do not exist, are found")
    func amounts() throws {
        let report = try broken { entries in
            let found = claims(entries, of: pool)
            changeClaim(&entries, found[0]) { $0.amountFen += 1_000_000 }
            changeClaim(&entries, found[1]) { $0.packet = 400 }
        }
        #expect(report[.amountAboveFunded]?.count == 1, "\(report)")
        #expect(report[.packetUnknown]?.count == 1, "\(report)")
    }

    @Test("A slice that grants what it does not have is found")
    func overdrawn() throws {
        let report = try broken { entries in
            for index in entries.indices {
                guard case .sliceCredited(var transfer) = entries[index].entry,
                    transfer.pool == pool, transfer.number == 1, transfer.slice == 0
                else { continue }
                transfer.ranges = [UnitRange(start: 0, count: 1)]
                entries[index].entry = .sliceCredited(transfer)
            }
        }
        #expect(report[.sliceOverdrawn] != nil, "\(report)")
    }

    @Test("Units that vanish between a treasury and its slices show once the pool is closed")
    func vanished() throws {
        let report = try broken { entries in
            let closed = PoolKey.of(.rain, "rain:0")
            let index = try #require(
                entries.lastIndex { item in
                    if case .poolTookBack(let transfer) = item.entry {
                        return transfer.pool == closed && transfer.units > 0
                    }
                    return false
                })
            guard case .poolTookBack(var transfer) = entries[index].entry else { return }
            transfer.ranges.removeLast()
            entries[index].entry = .poolTookBack(transfer)
        }
        #expect(report[.unitsLost]?.subject == "pool rain:0", "\(report)")
    }

    @Test("A journal that ends before the store's watermark, or is another's, is found")
    func short() throws {
        let scratch = try Scratch()
        let lanes = History(seed: 8).sources()
        let store = try SQLStore(path: scratch.file())
        try ship(lanes, to: store, seed: 5)
        store.close()
        let cut = MemoryLane(name: "lane-0", entries: Array(lanes[0].entries.dropLast(30)))
        #expect(try audit(scratch.file(), [cut, lanes[1]])[.journalShort] != nil)
        let other = try audit(scratch.file(), History(seed: 9).sources())
        #expect(!other.isClean)
    }

    @Test("A journal whose beginning is gone still shows a one-fen difference in the rest")
    func trimmed() throws {
        let scratch = try Scratch()
        let lanes = History(seed: 8).sources()
        let store = try SQLStore(path: scratch.file())
        try ship(lanes, to: store, seed: 5)
        store.close()
        let clean = try audit(scratch.file(), lanes, oldest: 200)
        #expect(clean.isClean, "\(clean)")
        #expect(clean.beyondJournal > 0)
        try tamper(
            scratch.file(),
            "UPDATE claims SET amount = amount + 1 "
                + "WHERE grant_id = (SELECT max(grant_id) FROM claims)")
        #expect(try audit(scratch.file(), lanes, oldest: 200)[.claimDiffers]?.count == 1)
    }

    @Test("What the store does not have yet is not held against it")
    func behind() throws {
        let scratch = try Scratch()
        let lanes = History(seed: 8).sources()
        let store = try SQLStore(path: scratch.file())
        let half = lanes.map {
            MemoryLane(name: $0.name, entries: $0.entries, committed: $0.entries.count / 2)
        }
        try ship(half, to: store, seed: 5)
        store.close()
        let report = try audit(scratch.file(), lanes)
        #expect(report.isClean, "\(report)")
        #expect(report.entries == half.reduce(0) { $0 + Int64($1.committed) })
    }
}
