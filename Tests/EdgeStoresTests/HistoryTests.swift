import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeStores
import EdgeTypes
import Foundation
import StoresTestSupport
import Testing

@Suite("Random histories")
struct HistoryTests {
    @Test("A store that took a random history in random batches holds exactly that history")
    func storeEqualsFold() throws {
        let base = ProcessInfo.processInfo.environment["DOWNPOUR_SEED"].flatMap { UInt64($0) }
        for round in 0..<(base == nil ? 8 : 1) {
            let seed = base ?? UInt64.random(in: 0...UInt64.max)
            print("history seed \(seed) (round \(round)); replay with DOWNPOUR_SEED=\(seed)")
            let scratch = try Scratch()
            let lanes = History(seed: seed).sources()
            let store = try SQLStore(path: scratch.file())
            try ship(lanes, to: store, seed: seed)
            store.close()
            var options = AuditOptions()
            options.ordersAtOnce = 50
            options.batchEntries = 300
            let report = try audit(scratch.file(), lanes, options: options)
            #expect(report.isClean, "seed \(seed): \(report)")
            #expect(report.claims > 100, "seed \(seed)")
            #expect(report.orders > 100, "seed \(seed)")
            #expect(report.payments > 20 && report.refunds > 5, "seed \(seed)")
            #expect(report.pools == 5 && report.slices == 20)
            #expect(report.entries == lanes.reduce(0) { $0 + Int64($1.entries.count) })
            let outbox = try number(scratch.file(), "SELECT count(*) FROM outbox")
            #expect(outbox == events(lanes), "seed \(seed)")
        }
    }

    @Test("Two folds of one history agree whatever the order of its lanes, and a change shows")
    func foldsAgree() throws {
        let lanes = History(seed: 7).sources()
        var forward = LedgerFold()
        var backward = LedgerFold()
        for lane in lanes {
            for item in lane.entries { try forward.apply(item.header, item.entry) }
        }
        // Lanes hold every slice's opening, so the other order is as good, but for entries of a
        // home in one lane, which come after slices of another.
        for lane in lanes.reversed() {
            for item in lane.entries { try backward.apply(item.header, item.entry) }
        }
        #expect(forward.differences(to: backward).isClean)
        #expect(forward.checkEnd().isClean, "\(forward.checkEnd())")

        var changed = LedgerFold()
        var done = false
        for lane in lanes {
            for item in lane.entries {
                var entry = item.entry
                if !done, case .claim(var claim) = entry {
                    claim.amountFen += 1
                    entry = .claim(claim)
                    done = true
                }
                try changed.apply(item.header, entry)
            }
        }
        #expect(!forward.differences(to: changed).isClean)
    }

    @Test("A rain's seed is in the store only after closing, its commitment before")
    func seedsAreKept() throws {
        let scratch = try Scratch()
        let lanes = History(seed: 11).sources()
        let store = try SQLStore(path: scratch.file())
        try ship(lanes, to: store, seed: 1)
        store.close()
        let open = "SELECT count(*) FROM rains WHERE state <> 'closed' AND seed IS NULL"
        #expect(try number(scratch.file(), open) == 2)
        let closed = "SELECT count(*) FROM rains WHERE state = 'closed' AND length(seed) = 64"
        #expect(try number(scratch.file(), closed) == 1)
        #expect(try number(scratch.file(), "SELECT count(*) FROM pool_secrets") == 2)
        let committed = "SELECT count(*) FROM rains WHERE length(commitment) = 64"
        #expect(try number(scratch.file(), committed) == 3)
    }

    @Test("Only the owner may read a new store")
    func fileMode() throws {
        let scratch = try Scratch()
        let store = try SQLStore(path: scratch.file())
        store.close()
        let attributes = try FileManager.default.attributesOfItem(atPath: scratch.file())
        #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600)
    }

    @Test("Questions about the past are answered, for users beyond Int64.max as well")
    func queries() throws {
        let scratch = try Scratch()
        let lanes = History(seed: 5).sources()
        let store = try SQLStore(path: scratch.file())
        try ship(lanes, to: store, seed: 2)
        store.close()
        var fold = LedgerFold()
        for lane in lanes { for item in lane.entries { try fold.apply(item.header, item.entry) } }
        let history = try StoreHistory(.sqlite(path: scratch.file()))

        let big = try #require(fold.users.first { $0.user > UserID(Int64.max) })
        let small = try #require(fold.users.first { $0.user < 5_000 })
        for total in [big, small] {
            let claims = try history.claims(of: total.user, pool: fold.name(total.pool))
            #expect(Int64(claims.count) == total.packets)
            #expect(claims.reduce(0) { $0 + $1.amountFen } == total.fen)
        }
        let buyer = try #require(fold.orders.first { $0.user > UserID(Int64.max) })
        #expect(try history.orders(of: buyer.user).contains(buyer))
        #expect(try history.order(buyer.order) == buyer)

        let rains = try history.rains()
        #expect(rains.map(\.pool) == ["rain:0", "rain:1", "rain:2"])
        for rain in rains {
            let users = fold.users.filter { fold.name($0.pool) == rain.pool }
            #expect(rain.granted == users.reduce(0) { $0 + $1.packets })
            #expect(rain.grantedFen == users.reduce(0) { $0 + $1.fen })
        }
        #expect(try history.rains(after: "rain:0", limit: 1).map(\.pool) == ["rain:1"])
        #expect(try history.rain("rain:1")?.quarantined ?? 0 > 0)
        let stock = try history.stock()
        #expect(stock.map(\.sku) == ["sku:0", "sku:1"])
        // One has lost a slice, whose units were taken out of it.
        #expect(stock.allSatisfy { $0.sold > 0 && $0.units >= $0.pending + $0.sold + $0.available })
        #expect(stock[1].units == stock[1].pending + stock[1].sold + stock[1].available)
    }

    @Test("A user's claims between two entries of a shard are found, with their request ids")
    func archivedClaims() throws {
        let scratch = try Scratch()
        let lanes = History(seed: 21).sources()
        let store = try SQLStore(path: scratch.file())
        try ship(lanes, to: store, seed: 4)
        store.close()
        let history = try StoreHistory(.sqlite(path: scratch.file()))
        var records: [ClaimRecord] = []
        var fold = LedgerFold()
        for lane in lanes {
            for item in lane.entries {
                try fold.apply(item.header, item.entry)
                if case .claim(let claim) = item.entry {
                    records.append(ClaimRecord(item.header, claim))
                }
            }
        }
        #expect(records.contains { $0.requestHash > UInt64(Int64.max) })
        let big = try #require(records.first { $0.user > UserID(Int64.max) })
        for record in [big, records[0], records[records.count / 2]] {
            let own = records.filter {
                $0.user == record.user && $0.pool == record.pool
                    && EntryID.shard(of: $0.grantID) == EntryID.shard(of: record.grantID)
            }
            .sorted { $0.grantID < $1.grantID }
            let name = try #require(Text64(fold.name(record.pool).utf8))
            func ask(_ first: Int64, _ last: Int64) throws -> [ArchivedClaim] {
                try history.claims(of: record.user, pool: name, from: first, through: last)
            }
            let expected = own.map {
                ArchivedClaim(
                    packet: $0.packet, amountFen: $0.amountFen, timeMs: $0.timeMs,
                    requestHash: $0.requestHash)
            }
            #expect(try ask(own[0].grantID, own[own.count - 1].grantID) == expected)
            #expect(try ask(own[0].grantID + 1, .max).first != expected[0])
            #expect(try ask(0, own[0].grantID - 1).isEmpty)
        }
    }

    @Test("Claims of an archived slice are indexed in its transaction, and found as before")
    func indexed() throws {
        let scratch = try Scratch()
        let lanes = History(seed: 33).sources()
        let store = try SQLStore(path: scratch.file())
        try ship(lanes, to: store, seed: 5)
        let entries = lanes.flatMap(\.entries)
        let claims = entries.compactMap { item in
            if case .claim(let claim) = item.entry { ClaimRecord(item.header, claim) } else { nil }
        }
        let some = try #require(claims.first { $0.user > UserID(Int64.max) })
        let shard = EntryID.shard(of: some.grantID)
        let opened = try #require(
            entries.first { item in
                guard case .sliceOpened(let definition, let slice, _) = item.entry else {
                    return false
                }
                return slice == some.slice && item.header.shard == shard
                    && PoolKey.of(.rain, definition.name) == some.pool
            })
        let own = claims.filter {
            $0.pool == some.pool && $0.slice == some.slice
                && EntryID.shard(of: $0.grantID) == shard
        }
        let history = try StoreHistory(.sqlite(path: scratch.file()))
        let first = EntryID.of(shard: shard, sequence: opened.header.sequence)
        let last = try #require(own.map(\.grantID).max())
        guard case .sliceOpened(let definition, _, _) = opened.entry else { return }
        func ask(_ user: UserID, _ last: Int64) throws -> [ArchivedClaim] {
            try history.claims(of: user, pool: definition.name, from: first, through: last)
        }
        let users = Set(own.map(\.user)).sorted() + [0, 1 << 40]
        let before = try users.map { try ask($0, last) }
        #expect(before.map(\.count).reduce(0, +) == own.count)

        let mark = try store.watermarks()[shard]
        var batch = EntryBatch()
        batch.restart(at: try store.watermarks())
        let header = EntryHeader(
            shard: shard, epoch: mark.epoch, sequence: mark.sequence + 1, timeMs: mark.timeMs)
        let entry = Entry.sliceArchived(
            some.pool, slice: some.slice, first: opened.header.sequence)
        guard case .taken = try batch.append(header, entry) else {
            Issue.record("an entry that follows is not taken")
            return
        }
        #expect(batch.isFull)
        try store.apply(batch, cursors: [])
        store.close()
        let rows = "SELECT count(*) FROM archived_claims WHERE first_id = \(first)"
        #expect(try number(scratch.file(), rows) >= Int64(own.count))
        #expect(try users.map { try ask($0, last) } == before)
        // By the index alone: what it lacks is not found.
        try tamper(scratch.file(), "DELETE FROM archived_claims")
        #expect(try ask(some.user, last).isEmpty)
        #expect(try ask(some.user, first).isEmpty)
    }

    @Test("What is asked about archived orders is answered as the history has it")
    func archivedOrders() throws {
        let scratch = try Scratch()
        let lanes = History(seed: 34).sources()
        let store = try SQLStore(path: scratch.file())
        try ship(lanes, to: store, seed: 6)
        let history = try StoreHistory(.sqlite(path: scratch.file()))
        try checkArchivedOrders(history, lanes)
        // A SKU's slice has no claims to be indexed.
        let shard = try #require(lanes.first?.entries.first?.header.shard)
        let mark = try store.watermarks()[shard]
        var batch = EntryBatch()
        batch.restart(at: try store.watermarks())
        let header = EntryHeader(
            shard: shard, epoch: mark.epoch, sequence: mark.sequence + 1, timeMs: mark.timeMs)
        guard
            case .taken = try batch.append(
                header, .sliceArchived(PoolKey.of(.stock, "sku:0"), slice: 0, first: 0))
        else {
            Issue.record("an entry that follows is not taken")
            return
        }
        try store.apply(batch, cursors: [])
        #expect(try number(scratch.file(), "SELECT count(*) FROM archived_slices") == 0)
        store.close()
    }

    @Test("Events are CloudEvents 1.0, each with its own id")
    func cloudEvents() throws {
        let scratch = try Scratch()
        let lanes = History(seed: 3).sources()
        let store = try SQLStore(path: scratch.file())
        try ship(lanes, to: store, seed: 3)
        let history = try StoreHistory(.sqlite(path: scratch.file()))
        let shards = try store.watermarks().shards
        func all() throws -> [String] {
            try shards.flatMap { try history.events(ofShard: $0, limit: 100_000).map(\.event) }
        }
        let events = try all()
        var ids: Set<String> = []
        var types: Set<String> = []
        for event in events {
            let json = try JSONSerialization.jsonObject(with: Data(event.utf8))
            let fields = try #require(json as? [String: Any])
            #expect(fields["specversion"] as? String == "1.0")
            ids.insert(try #require(fields["id"] as? String))
            types.insert(try #require(fields["type"] as? String))
            #expect((fields["time"] as? String)?.hasSuffix("Z") == true)
            let data = try #require(fields["data"] as? [String: Any])
            if fields["type"] as? String != "rain.closed" {
                #expect(data["order"] as? String == fields["subject"] as? String)
                #expect(data["user"] is String)
            }
        }
        #expect(ids.count == events.count)
        let expected: Set<String> = [
            "order.reserved", "order.paid", "order.cancelled", "order.expired", "order.refunded",
            "refund.due", "rain.closed",
        ]
        #expect(types == expected)
        let shard = try #require(
            try shards.first { try history.events(ofShard: $0).count > 10 })
        let own = try history.events(ofShard: shard, limit: 100_000)
        #expect(own.map(\.sequence) == own.map(\.sequence).sorted())
        let rows = try StoreURL.sqlite(path: scratch.file()).openRows()
        let last = EntryID.of(shard: shard, sequence: own[7].sequence)
        let kept = EntryID.of(shard: shard, sequence: own[3].sequence)
        func delete(after: Int64, upTo: Int64, olderThanMs: UnixMs = .max) throws -> Int {
            try rows.deleteEvents(
                ofShard: shard, after: after, upTo: upTo, olderThanMs: olderThanMs)
        }
        let first = EntryID.of(shard: shard, sequence: 0)
        #expect(try delete(after: first, upTo: last, olderThanMs: 0) == 0)
        #expect(try delete(after: first, upTo: kept - 1) == 3)
        #expect(try delete(after: kept, upTo: last) == 4)
        rows.close()
        #expect(try all().count == events.count - 7)
        #expect(
            try history.events(ofShard: shard).prefix(2).map(\.sequence)
                == [own[3].sequence, own[8].sequence])
        store.close()
    }
}
