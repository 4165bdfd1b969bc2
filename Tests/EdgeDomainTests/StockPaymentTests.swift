import EdgeDomain
import EdgeTypes
import Testing

@Suite("Payments and refunds")
struct StockPaymentTests {
    let shop = StockShop()

    func sound(_ location: SourceLocation = #_sourceLocation) {
        #expect(shop.book.checkBooks() == nil, sourceLocation: location)
        #expect(shop.replayed().snapshot() == shop.snapshot(), sourceLocation: location)
    }

    func expired(_ slot: Int, _ quantity: Int64 = 1, user: UserID = 1) -> OrderID {
        let order = shop.order(slot, user, quantity, "to expire")
        shop.nowMs += 1_800_064
        #expect(shop.expire().contains(order))
        return order
    }

    @Test("a payment buys; the same again is a repeat; another is refunded, each time the same")
    func paying() {
        let slot = shop.open(units: 10, price: 250, limit: 5)
        let order = shop.order(slot, 1, 2, "a")
        #expect(shop.pay(order, "p1", 500) == .outcome(.paid))
        #expect(shop.units(slot) == [8, 0, 2])
        let entries = shop.journal.count
        #expect(shop.pay(order, "p1", 500) == .outcome(.repeat))
        #expect(shop.pay(order, "p1") == .outcome(.repeat))
        #expect(shop.journal.count == entries)
        #expect(shop.pay(order, "p2") == .outcome(.refund))
        #expect(shop.journal.count == entries + 1)
        #expect(shop.pay(order, "p2", 500) == .outcome(.refund))
        #expect(shop.pay(order, "p1") == .outcome(.repeat))
        #expect(shop.journal.count == entries + 1)
        #expect(shop.book.money(slot: slot) == StockMoney(paidFen: 500, refundedFen: 0))
        #expect(shop.book.info(order)?.payment == "p1")
        sound()
    }

    @Test("a wrong amount is a mismatch, in every state of the order and for known payments")
    func wrongAmount() {
        let slot = shop.open(units: 10, price: 250, limit: 9)
        let order = shop.order(slot, 1, 2, "a")
        for fen in [0, 1, 250, 499, 501, -2, .max, .min] as [Fen] {
            #expect(shop.pay(order, "p", fen) == .error(.mismatch))
        }
        #expect(shop.state(order) == .reserved)
        _ = shop.pay(order, "p")
        #expect(shop.pay(order, "p", 499) == .error(.mismatch))
        #expect(shop.pay(order, "q", 499) == .error(.mismatch))
        _ = shop.pay(order, "q")
        #expect(shop.pay(order, "q", 1) == .error(.mismatch))
        let cancelled = shop.order(slot, 1, 1, "b")
        _ = shop.cancel(cancelled)
        #expect(shop.pay(cancelled, "p", 1) == .error(.mismatch))
        sound()
    }

    @Test("payment ids are an order's own, up to 64 bytes and to the last of them")
    func ids() {
        let slot = shop.open(units: 100, limit: 100)
        let long = String(repeating: "x", count: 63)
        for id in ["p", "12345678", "123456789", long, long + "y", long + "z"] {
            let order = shop.order(slot, 1, 1, id)
            #expect(shop.pay(order, id) == .outcome(.paid))
            #expect(shop.pay(order, id) == .outcome(.repeat))
            #expect(shop.book.info(order)?.payment == Text64(id))
        }
        let order = shop.order(slot, 1, 1, "last")
        _ = shop.pay(order, long + "y")
        #expect(shop.pay(order, long + "z") == .outcome(.refund))
        #expect(shop.pay(order, long) == .outcome(.refund))
        #expect(shop.pay(order, "") == .error(.badArgument))
        sound()
    }

    @Test("ids whose hashes agree in the index are told apart by their text")
    func idsThatCollide() {
        let slot = shop.open()
        let order = shop.order(slot)
        _ = shop.cancel(order)
        let header = EntryHeader(shard: 3, epoch: 1, sequence: 1, timeMs: shop.nowMs)
        var payment = Text64(String(repeating: "x", count: 64))
        // So many that several pairs agree in 32 bits of hash; they differ in the last word only.
        var refused = 0
        for number in 0..<200_000 as Range<UInt64> {
            payment.words.7 = 0x3030_3030_0000_0000 | number
            let decision = shop.book.decidePay(
                order: order, payment: payment, amountFen: -1, nowMs: shop.nowMs)
            if case .refuse(let entry) = decision, shop.book.apply(entry, header) { refused += 1 }
        }
        #expect(refused == 200_000)
    }

    @Test("unknown orders take no payment")
    func unknown() {
        _ = shop.open()
        for order in [
            OrderID(shard: 3, number: 0), OrderID(shard: 4, number: 0), OrderID(rawValue: 0),
            OrderID(rawValue: .max),
        ] {
            #expect(shop.pay(order, "p") == .error(.noOrder))
            #expect(shop.refund(order, "p", 1) == .error(.noOrder))
            #expect(shop.book.info(order) == nil && shop.book.owner(of: order) == nil)
        }
    }

    @Test("a payment on a cancelled order is refunded, also when units are free")
    func cancelled() {
        let slot = shop.open(units: 10, limit: 5)
        let order = shop.order(slot)
        _ = shop.cancel(order)
        #expect(shop.pay(order, "p") == .outcome(.refund))
        #expect(shop.pay(order, "p") == .outcome(.refund))
        #expect(shop.pay(order, "q") == .outcome(.refund))
        #expect(shop.units(slot) == [10, 0, 0])
        #expect(shop.state(order) == .cancelled)
        #expect(shop.book.info(order)?.payment == nil)
        sound()
    }

    @Test("past its time but not yet expired, an order is simply paid")
    func tardy() {
        let slot = shop.open(units: 1)
        let order = shop.order(slot)
        shop.nowMs += 10_000_000
        #expect(shop.pay(order, "p") == .outcome(.paid))
        sound()
    }

    @Test("after expiry a payment takes units anew, in one entry")
    func late() {
        let slot = shop.open(units: 3, limit: 2)
        let order = expired(slot, 2)
        let entries = shop.journal.count
        #expect(shop.pay(order, "p", 200) == .outcome(.late))
        #expect(shop.journal.count == entries + 1)
        #expect(shop.units(slot) == [1, 0, 2])
        #expect(shop.book.unitsOfUser(slot: slot, user: 1) == 2)
        #expect(shop.pay(order, "p") == .outcome(.repeat))
        #expect(shop.pay(order, "q") == .outcome(.refund))
        #expect(shop.state(order) == .paid)
        sound()
    }

    @Test("after expiry without units a payment is refunded for good; another may still buy")
    func lateWithoutUnits() {
        let slot = shop.open(units: 2, limit: 2)
        let order = expired(slot, 2)
        let rival = shop.order(slot, 2, 1, "a")
        #expect(shop.pay(order, "p") == .outcome(.refund))
        _ = shop.cancel(rival)
        #expect(shop.pay(order, "p") == .outcome(.refund))
        #expect(shop.state(order) == .expired)
        #expect(shop.pay(order, "q") == .outcome(.late))
        #expect(shop.pay(order, "p") == .outcome(.refund))
        #expect(shop.units(slot) == [0, 0, 2])
        sound()
    }

    @Test("after expiry the treasury is asked before a payment is refunded")
    func lateAsksTreasury() {
        let slot = shop.open(units: 2, limit: 2)
        let order = expired(slot, 2)
        _ = shop.order(slot, 2, 1, "a")
        #expect(shop.pay(order, "p", dry: false) == .needs(1))
        shop.credit(slot, 1)
        #expect(shop.pay(order, "p", dry: false) == .outcome(.late))
        sound()
    }

    @Test("after expiry the limit is asked: who reserved anew meanwhile is refunded")
    func lateLimit() {
        let slot = shop.open(units: 10, limit: 2)
        let order = expired(slot, 2)
        let second = shop.order(slot, 1, 1, "b")
        #expect(shop.pay(order, "p", dry: false) == .outcome(.refund))
        _ = shop.cancel(second)
        #expect(shop.pay(order, "q") == .outcome(.late))
        sound()
    }

    @Test("a closing sale serves open holds and late payments until it is sealed")
    func closing() {
        let slot = shop.open(units: 10, limit: 5)
        let late = expired(slot, 1)
        let tooLate = expired(slot, 1, user: 2)
        let open = shop.order(slot, 3, 1, "b")
        shop.control(slot) { $0.closing = true }
        #expect(shop.reserve(slot, 4, 1, "c") == .reserve(.closed, StockShop.noOrder, 0))
        #expect(shop.book.canSeal(slot: slot) == false)
        #expect(shop.pay(late, "p") == .outcome(.late))
        #expect(shop.pay(open, "p") == .outcome(.paid))
        guard let sealing = shop.book.sealing(slot: slot) else {
            Issue.record("no reservation is open")
            return
        }
        #expect(sealing.units == 8 && sealing.final && sealing.number == 1)
        shop.commit(.sliceReturned(sealing))
        #expect(shop.pay(tooLate, "p", dry: false) == .outcome(.refund))
        sound()
    }

    // MARK: Refunds

    @Test("refunds go up to what was paid, restocks up to the quantity")
    func refunding() {
        let slot = shop.open(units: 10, price: 100, limit: 5)
        let order = shop.order(slot, 1, 3, "a")
        #expect(shop.refund(order, "x", 1) == .error(.badArgument))
        _ = shop.pay(order, "p")
        #expect(shop.refund(order, "x", 301) == .error(.badArgument))
        #expect(shop.refund(order, "x", 1, restock: 4) == .error(.badArgument))
        #expect(shop.refund(order, "x", -1) == .error(.badArgument))
        #expect(shop.refund(order, "x", 1, restock: -1) == .error(.badArgument))
        #expect(shop.refund(order, "x", 0) == .error(.badArgument))
        #expect(shop.refund(order, "x", .max, restock: .max) == .error(.badArgument))
        #expect(shop.refund(order, "", 1) == .error(.badArgument))
        #expect(shop.refund(order, "x", 120, restock: 1) == .outcome(.refunded))
        #expect(shop.state(order) == .paid)
        #expect(shop.units(slot) == [8, 0, 2])
        #expect(shop.refund(order, "y", 181) == .error(.badArgument))
        #expect(shop.refund(order, "y", 100, restock: 3) == .error(.badArgument))
        #expect(shop.refund(order, "y", 180, restock: 1) == .outcome(.refunded))
        #expect(shop.state(order) == .refunded)
        #expect(shop.refund(order, "z", 1) == .error(.badArgument))
        #expect(shop.refund(order, "z", 0, restock: 1) == .outcome(.refunded))
        #expect(shop.units(slot) == [10, 0, 0])
        #expect(shop.book.money(slot: slot) == StockMoney(paidFen: 300, refundedFen: 300))
        #expect(shop.book.totals(slot: slot).grantedFen == 0)
        let info = shop.book.info(order)
        #expect(info?.refundedFen == 300 && info?.restocked == 3)
        sound()
    }

    @Test("a refund's request returns the first result; other values are a mismatch")
    func refundRepeats() {
        let slot = shop.open(units: 10, price: 100, limit: 5)
        let order = shop.order(slot, 1, 3, "a")
        _ = shop.pay(order, "p")
        // Payments and refunds have names of their own.
        #expect(shop.refund(order, "p", 100, restock: 1) == .outcome(.refunded))
        let entries = shop.journal.count
        #expect(shop.refund(order, "p", 100, restock: 1) == .outcome(.repeat))
        #expect(shop.refund(order, "p", 100) == .error(.mismatch))
        #expect(shop.refund(order, "p", 99, restock: 1) == .error(.mismatch))
        #expect(shop.journal.count == entries)
        #expect(shop.refund(order, "q", 200) == .outcome(.refunded))
        #expect(shop.refund(order, "p", 100, restock: 1) == .outcome(.repeat))
        #expect(shop.pay(order, "p") == .outcome(.repeat))
        #expect(shop.pay(order, "new") == .outcome(.refund))
        sound()
    }

    @Test("what was never paid is not refunded")
    func refundUnpaid() {
        let slot = shop.open(units: 10, limit: 5)
        let cancelled = shop.order(slot, 1, 1, "a")
        _ = shop.cancel(cancelled)
        let order = expired(slot)
        _ = shop.pay(cancelled, "refused")
        for order in [cancelled, order] {
            #expect(shop.refund(order, "x", 1) == .error(.badArgument))
            #expect(shop.refund(order, "x", 0, restock: 1) == .error(.badArgument))
        }
        sound()
    }

    @Test("a free order is paid with nothing, and refunded with nothing")
    func free() throws {
        let slot = shop.open(units: 10, price: 0, limit: 5)
        let order = shop.order(slot, 1, 2, "a")
        #expect(shop.pay(order, "p", 1) == .error(.mismatch))
        #expect(shop.pay(order, "p", 0) == .outcome(.paid))
        #expect(try shop.reloaded().snapshot() == shop.snapshot())
        #expect(shop.refund(order, "x", 0) == .outcome(.refunded))
        #expect(shop.state(order) == .refunded)
        #expect(shop.refund(order, "y", 0) == .error(.badArgument))
        #expect(shop.refund(order, "y", 0, restock: 2) == .outcome(.refunded))
        #expect(try shop.reloaded().snapshot() == shop.snapshot())
        sound()
    }

    // MARK: Entries that do not follow

    @Test("entries that do not follow from the book are refused and change nothing")
    func impossibleEntries() {
        let slot = shop.open(units: 10, price: 100, limit: 5)
        let pool = shop.book.poolKey(slot: slot)
        let open = shop.order(slot, 1, 2, "a")
        let paid = shop.order(slot, 1, 1, "b")
        _ = shop.pay(paid, "p")
        func reserved(
            number: UInt64 = 2, shard: ShardID = 3, pool: PoolKey = pool, slice: UInt32 = 0,
            quantity: UInt32 = 1, price: Fen = 100, user: UserID = 1
        ) -> Entry {
            .orderReserved(
                OrderReserved(
                    order: OrderID(shard: shard, number: number), pool: pool, slice: slice,
                    user: user, quantity: quantity, priceFen: price, expiresMs: 1, requestHash: 9))
        }
        let absent = OrderID(shard: 3, number: 77)
        let impossible: [Entry] = [
            reserved(number: 1), reserved(number: 3), reserved(shard: 2),
            reserved(pool: PoolKey(rawValue: 5)), reserved(slice: 1), reserved(quantity: 0),
            reserved(quantity: 8), reserved(quantity: 10_001), reserved(price: 99),
            .orderPaid(OrderPaid(order: paid, payment: "q", amountFen: 100, late: false)),
            .orderPaid(OrderPaid(order: open, payment: "q", amountFen: 200, late: true)),
            .orderPaid(OrderPaid(order: open, payment: "q", amountFen: 199, late: false)),
            .orderPaid(OrderPaid(order: open, payment: "", amountFen: 200, late: false)),
            .orderPaid(OrderPaid(order: absent, payment: "q", amountFen: 200, late: false)),
            .orderCancelled(paid), .orderExpired(paid), .orderCancelled(absent),
            .paymentRefused(PaymentRefused(order: open, payment: "q", amountFen: 200)),
            .paymentRefused(PaymentRefused(order: paid, payment: "p", amountFen: 100)),
            .paymentRefused(PaymentRefused(order: paid, payment: "q", amountFen: 99)),
            .orderRefunded(OrderRefunded(order: open, request: "x", amountFen: 1, restock: 0)),
            .orderRefunded(OrderRefunded(order: paid, request: "x", amountFen: 101, restock: 0)),
            .orderRefunded(OrderRefunded(order: paid, request: "x", amountFen: 1, restock: 2)),
            .poolClosed(pool),
            .claim(
                Claim(pool: pool, slice: 0, user: 1, packet: 0, amountFen: 1, requestHash: 0)),
        ]
        for entry in impossible { #expect(shop.refuses(entry), "\(entry)") }
        sound()
    }
}
