import EdgeLedger
import EdgeTypes
import Testing

@Suite("Rules")
struct RulesTests {
    private func header(_ sequence: UInt64) -> EntryHeader {
        EntryHeader(
            shard: 1, epoch: 1, sequence: sequence, timeMs: 1_000 + UnixMs(sequence))
    }

    private func order(_ state: OrderState) throws -> OrderRecord {
        let reserved = OrderReserved(
            order: OrderID(shard: 1, number: 0), pool: PoolKey(rawValue: 5), slice: 0, user: 9,
            quantity: 3, priceFen: 100, expiresMs: 9_000, requestHash: 0)
        var record = OrderRecord(header(1), reserved)
        switch state {
        case .reserved: break
        case .paid: try record.pay(header(2), paid(late: false))
        case .cancelled: try record.cancel(header(2))
        case .expired: try record.expire(header(2))
        case .refunded:
            try record.pay(header(2), paid(late: false))
            try record.refund(header(3), refund(300, 3))
        }
        return record
    }

    private func paid(late: Bool) -> OrderPaid {
        OrderPaid(
            order: OrderID(shard: 1, number: 0), payment: "p", amountFen: 300, late: late)
    }

    private func refund(_ fen: Fen, _ restock: UInt32) -> OrderRefunded {
        OrderRefunded(
            order: OrderID(shard: 1, number: 0), request: "r", amountFen: fen, restock: restock)
    }

    @Test("An order moves only where its state allows it, else nothing changes")
    func transitions() throws {
        let moves: [(String, Set<OrderState>, (inout OrderRecord) throws -> Void)] = [
            ("paid", [.reserved], { try $0.pay(header(9), paid(late: false)) }),
            ("late", [.expired], { try $0.pay(header(9), paid(late: true)) }),
            ("cancelled", [.reserved], { try $0.cancel(header(9)) }),
            ("expired", [.reserved], { try $0.expire(header(9)) }),
            ("refunded", [.paid], { try $0.refund(header(9), refund(1, 0)) }),
        ]
        for state in OrderState.allCases {
            for (name, allowed, move) in moves {
                var record = try order(state)
                let before = record
                if allowed.contains(state) {
                    try move(&record)
                    #expect(record != before, "\(name) from \(state)")
                } else {
                    #expect(throws: HistoryFault.self, "\(name) from \(state)") {
                        try move(&record)
                    }
                    #expect(record == before)
                }
            }
        }
    }

    @Test("Refunds stay within what was paid and restocks within what was sold")
    func refunds() throws {
        var record = try order(.paid)
        try record.refund(header(3), refund(100, 1))
        #expect(record.state == .paid && record.soldUnits == 2)
        #expect(throws: HistoryFault(header(4), .refundAbovePaid)) {
            try record.refund(header(4), refund(201, 0))
        }
        #expect(throws: HistoryFault(header(4), .restockAboveSold)) {
            try record.refund(header(4), refund(200, 3))
        }
        try record.refund(header(4), refund(200, 2))
        #expect(record.state == .refunded && record.soldUnits == 0)
    }

    @Test("What comes to a slice that is out of play is, too, until an operator resolves it")
    func quarantine() {
        func transfer(_ number: UInt32, _ units: Int64, final: Bool = false) -> Transfer {
            Transfer(
                pool: PoolKey(rawValue: 5), slice: 0, number: number, final: final,
                ranges: [UnitRange(start: 0, count: units)])
        }
        var books = SliceBooks()
        books.credit(transfer(1, 10))
        books.claim(7)
        books.quarantine()
        books.credit(transfer(2, 5))
        #expect(books.quarantined == 14 && books.held == 0)
        books.resolve(.retire)
        #expect(books.retired == 14 && books.held == 0 && books.lost)
        books.credit(transfer(3, 3))
        #expect(books.quarantined == 3)
        books.resolve(.release)
        #expect(books.quarantined == 0 && books.held == 3 && !books.lost)
        books.giveBack(transfer(1, 3, final: true))
        #expect(books.held == 0 && books.quarantined == 0)
        #expect(books.credited == 18 && books.granted + books.returned + books.retired == 18)
        // More than there was stays to be seen.
        books.claim(7)
        #expect(books.held == -1)
    }

    @Test("A packet set answers as a plain set does, in runs and at random")
    func packets() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("packet seed \(seed)")
        var state = seed
        var set = PacketSet()
        var plain: Set<Int64> = []
        for step in 0..<60_000 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let packet =
                step % 3 == 0 ? Int64(step / 3) : Int64((state >> 33) % 30_000)
            #expect(set.insert(packet) == plain.insert(packet).inserted)
        }
        #expect(set.count == Int64(plain.count))
        for packet in 0..<Int64(31_000) {
            if set.contains(packet) != plain.contains(packet) {
                Issue.record("packet \(packet), seed \(seed)")
            }
        }
    }

    @Test("A packet set knows full pages: every second insert is refused")
    func fullPages() {
        var set = PacketSet()
        var refused = 0
        for packet in 0..<Int64(20_000) where !set.insert(packet) { refused += 1 }
        #expect(refused == 0)
        for packet in 0..<Int64(20_000) where !set.insert(packet) { refused += 1 }
        #expect(refused == 20_000)
        #expect(set.count == 20_000)
    }

    @Test("The sketch never clears a user above the limit, and clears nearly all others")
    func sketch() {
        let pool = PoolKey(rawValue: 0x1234)
        var sketch = UserSketch(claims: 100_000)
        for user in 0..<UserID(100_000) { sketch.add(pool, user) }
        for user in 0..<UserID(1_000) { sketch.add(pool, user * 100) }
        var doubted = 0
        for user in 0..<UserID(100_000) {
            let may = sketch.mayExceed(1, pool, user)
            if user % 100 == 0 { #expect(may) } else if may { doubted += 1 }
        }
        #expect(doubted < 3_000, "\(doubted) of 99,000 in doubt")
        #expect(sketch.mayExceed(300, pool, 0) == false)
        for _ in 0..<400 { sketch.add(pool, 5) }
        #expect(sketch.mayExceed(300, pool, 5), "beyond 255 it does not know")
    }

    @Test("A report counts each kind and keeps the words of the first")
    func report() {
        var report = AuditReport()
        #expect(report.isClean)
        report.add(.claimMissing, "a", "row", expected: "1", found: "2")
        report.add(.claimMissing, "b", "row", expected: "3", found: "4")
        var other = AuditReport()
        other.add(.claimMissing, "c", "row", expected: "5", found: "6")
        other.add(.packetTwice, "d", "row", expected: "7", found: "8")
        report.merge(other)
        #expect(report[.claimMissing]?.count == 3)
        #expect(report[.claimMissing]?.subject == "a")
        #expect(report[.packetTwice]?.subject == "d")
        #expect(!report.isClean)
    }
}
