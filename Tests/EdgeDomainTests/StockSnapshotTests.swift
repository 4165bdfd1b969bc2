import EdgeDomain
import EdgeMemory
import EdgeTypes
import Testing

@Suite("Snapshots of a stock book")
struct StockSnapshotTests {
    /// A book with some of everything.
    static func busy(orders: Int = 60) -> StockShop {
        let shop = StockShop()
        let slots = [
            shop.open(units: 500, price: 250, limit: 6), shop.open(units: 20, price: 0, limit: 9),
            shop.open(units: 500, limit: 4, opensMs: 5, closesMs: .max, slice: 3),
        ]
        var random = StockRandom(seed: 11)
        for index in 0..<orders {
            let slot = slots[random.next(below: 3)]
            let user = UInt64(random.next(below: 12))
            let answer = shop.reserve(slot, user, Int64(1 + random.next(below: 3)), "r\(index)")
            guard case .reserve(.reserved, let order, _) = answer else { continue }
            switch random.next(below: 6) {
            case 0: _ = shop.cancel(order)
            case 1:
                shop.nowMs += 1_800_064
                shop.expire()
                _ = shop.pay(order, "late-\(index)")
            case 2: break
            default:
                _ = shop.pay(order, "payment-number-\(index)")
                if random.next(below: 2) == 0 { _ = shop.pay(order, "second-\(index)") }
                if random.next(below: 2) == 0 { _ = shop.refund(order, "x\(index)", 0, restock: 1) }
                if random.next(below: 2) == 0 { _ = shop.refund(order, "y\(index)", 250) }
            }
        }
        if let transfer = shop.book.returning(slot: slots[0], units: 10) {
            shop.commit(.sliceReturned(transfer))
        }
        return shop
    }

    /// The bytes with a correct hash at their end.
    static func sealed(_ body: [UInt8]) -> [UInt8] {
        let hash = body.withUnsafeBytes { Hash64.bytes($0, salt: 0x7374_6f63_6b73) }
        return body + (0..<8).map { UInt8(truncatingIfNeeded: hash >> (UInt64($0) * 8)) }
    }

    @Test("an empty book and a busy one load as they were written")
    func roundTrip() throws {
        let empty = StockShop()
        #expect(try empty.reloaded().snapshot() == empty.snapshot())
        let shop = Self.busy()
        let again = try shop.reloaded()
        #expect(again.snapshot() == shop.snapshot())
        #expect(again.book.checkBooks() == nil)
        #expect(Self.sealed(Array(shop.snapshot().dropLast(8))) == shop.snapshot())
    }

    @Test("a loaded book decides as the one that was written")
    func sameDecisions() throws {
        let shop = Self.busy()
        let again = try shop.reloaded()
        #expect(again.book.lastEntryMs == shop.book.lastEntryMs)
        for slot in 0..<3 {
            for user in 0..<12 as Range<UInt64> {
                let rows = shop.book.orders(slot: slot, user: user)
                #expect(again.book.orders(slot: slot, user: user) == rows)
                for row in rows {
                    #expect(again.book.info(row.order) == shop.book.info(row.order))
                }
            }
        }
        // Both go on alike: repeats, limits, payments, refunds, expiries.
        for index in 0..<60 {
            let user = UInt64(index % 12)
            let slot = index % 3
            let request = "r\(index)"
            #expect(again.reserve(slot, user, 1, request) == shop.reserve(slot, user, 1, request))
            let order = OrderID(shard: 3, number: UInt64(index))
            let payment = "payment-number-\(index)"
            #expect(again.pay(order, payment) == shop.pay(order, payment))
            #expect(again.refund(order, "x\(index)", 1) == shop.refund(order, "x\(index)", 1))
        }
        shop.nowMs += 3_600_000
        again.nowMs = shop.nowMs
        let expired = (shop.expire(), again.expire())
        #expect(Set(expired.0) == Set(expired.1) && !expired.0.isEmpty)
        #expect(again.snapshot() == shop.snapshot())
    }

    @Test("a snapshot cut short anywhere is an error, and changes nothing")
    func truncated() {
        let bytes = Self.busy(orders: 25).snapshot()
        let shop = Self.busy(orders: 3)
        let before = shop.snapshot()
        for count in 0..<bytes.count {
            let failure = shop.load(Array(bytes[..<count]))
            #expect(failure != nil, "cut at \(count)")
            // With a correct hash too: the structure itself tells.
            let sealed = shop.load(Self.sealed(Array(bytes[..<count])))
            #expect(count == bytes.count - 8 || sealed != nil, "cut at \(count), sealed")
            if count == bytes.count - 8 {
                let restored = shop.load(before)
                #expect(restored == nil)
            }
        }
        #expect(shop.snapshot() == before)
    }

    @Test("every flipped bit is an error")
    func flipped() {
        let bytes = Self.busy(orders: 10).snapshot()
        let shop = StockShop()
        let before = shop.snapshot()
        for bit in 0..<(bytes.count * 8) {
            var damaged = bytes
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            let failure = shop.load(damaged)
            #expect(failure != nil, "bit \(bit)")
        }
        #expect(shop.snapshot() == before)
    }

    @Test("what is foreign, too new, or of another shard is named")
    func named() {
        let bytes = Self.busy(orders: 3).snapshot()
        let shop = StockShop()
        var foreign = bytes
        foreign[0] = 0
        #expect(shop.load(foreign) == .foreign)
        var newer = bytes
        newer[4] = 4
        #expect(shop.load(newer) == .unsupportedVersion(4))
        var damaged = bytes
        damaged[100] ^= 1
        #expect(shop.load(damaged) == .damaged)
        #expect(shop.load([]) == .truncated)
        #expect(shop.load(Self.sealed(Array(bytes.dropLast(8)) + [0])) == .inconsistent("length"))
        #expect(StockShop(shard: 4).load(bytes) == .inconsistent("shard"))
        #expect(StockShop(orderLimit: 0).load(bytes) == .inconsistent("counts"))
    }

    @Test(
        "whatever the bytes say, a book loads sound or not at all", arguments: [1, 2] as [UInt64])
    func hostile(seed: UInt64) {
        print("StockSnapshotTests.hostile seed \(seed)")
        var random = StockRandom(seed: seed)
        let body = Array(Self.busy(orders: 40).snapshot().dropLast(8))
        var loads = 0
        for _ in 0..<6_000 {
            var bytes = body
            for _ in 0...random.next(below: 3) {
                let position = 8 + random.next(below: bytes.count - 8)
                switch random.next(below: 4) {
                case 0: bytes[position] = UInt8(random.next(below: 256))
                case 1: bytes[position] ^= 1 << UInt8(random.next(below: 8))
                case 2: bytes[position] = [0, 1, 0x7f, 0x80, 0xff][random.next(below: 5)]
                default:
                    let end = min(position + 8, bytes.count)
                    for index in position..<end { bytes[index] = index == end - 1 ? 0x7f : 0xff }
                }
            }
            let shop = StockShop()
            if shop.load(Self.sealed(bytes)) == nil {
                loads += 1
                let difference = shop.book.checkBooks()
                #expect(difference == nil)
                // Nor does using it trap.
                shop.nowMs += 100_000_000
                shop.expire()
                _ = shop.reserve(0, 1, 1, "new")
            }
        }
        // Users, request hashes and the like say nothing about the rest.
        #expect(loads > 100)
    }
}
