import EdgeDomain
import EdgeTypes
import Testing

@Suite("Orders that leave memory")
struct StockArchiveTests {
    /// What the store says of an order that was bought by payment "p" for 100 fen.
    private func bought(
        _ shop: StockShop, _ slot: Int, known: RecalledOrder.Known = .new, refundedFen: Fen = 0
    ) -> RecalledOrder {
        RecalledOrder(
            place: ArchivedSlice(
                pool: shop.book.poolKey(slot: slot), slice: shop.book.sliceNumber(slot: slot)),
            user: 1, quantity: 1, priceFen: 100, state: OrderState.paid.rawValue, paidFen: 100,
            refundedFen: refundedFen, restocked: 0, known: known,
            asOf: UInt64(shop.journal.count))
    }

    /// A shop with one archived slice whose one order was bought, and what it was.
    private func archivedShop() -> (StockShop, slot: Int, order: OrderID) {
        let shop = StockShop()
        let slot = shop.open()
        let order = shop.order(slot)
        #expect(shop.pay(order, "p") == .outcome(.paid))
        shop.close(slot)
        shop.archive(slot)
        return (shop, slot, order)
    }

    @Test("an archived slice keeps its totals and nothing of its orders")
    func archives() {
        let shop = StockShop()
        let slot = shop.open()
        let paid = shop.order(slot)
        #expect(shop.pay(paid, "p") == .outcome(.paid))
        #expect(shop.pay(paid, "q") == .outcome(.refund))
        #expect(shop.refund(paid, "x", 40) == .outcome(.refunded))
        shop.close(slot)
        let totals = shop.book.totals(slot: slot)
        let touched = shop.book.touchedAt(slot: slot)
        shop.archive(slot)
        #expect(shop.book.isArchived(slot: slot) == true)
        #expect(shop.book.totals(slot: slot) == totals)
        #expect(shop.book.money(slot: slot) == StockMoney(paidFen: 100, refundedFen: 40))
        #expect(shop.book.place(of: paid) == .archived)
        #expect(shop.book.place(of: OrderID(shard: shop.shard, number: 1)) == .nowhere)
        #expect(shop.book.place(of: OrderID(shard: 9, number: 0)) == .nowhere)
        #expect(shop.book.info(paid) == nil)
        #expect(shop.book.owner(of: paid) == nil)
        #expect(shop.book.orders(slot: slot) == 0)
        #expect(shop.book.touchedAt(slot: slot) == touched)
        #expect(shop.book.touchedAt(order: paid) == touched)
        #expect(shop.reserve(slot, 1, 1, "r") == .archived)
        #expect(shop.reserve(slot, 1, 0, "r") == .error(.badArgument))
        let counts = shop.book.counts
        #expect(counts.orders == 0 && counts.payments == 0)
        #expect(counts.refused == 0 && counts.refunds == 0)
        #expect(shop.book.checkBooks() == nil)
    }

    @Test("a slice that is open, holds units or is quarantined is not archived")
    func refuses() {
        let shop = StockShop()
        let slot = shop.open()
        #expect(shop.refuses(shop.archived(slot)))
        let order = shop.order(slot)
        shop.control(slot) { $0.closing = true }
        #expect(shop.sealing(slot: slot) == nil)
        #expect(shop.refuses(shop.archived(slot)))
        #expect(shop.pay(order, "p") == .outcome(.paid))
        #expect(shop.refuses(shop.archived(slot)))
        if let transfer = shop.sealing(slot: slot) { shop.commit(.sliceReturned(transfer)) }
        #expect(shop.refund(order, "x", 0, restock: 1) == .outcome(.refunded))
        // What came back too late waits for an operator.
        #expect(shop.book.totals(slot: slot).quarantined == 1)
        #expect(shop.refuses(shop.archived(slot)))
        let key = shop.book.poolKey(slot: slot)
        shop.commit(.sliceResolved(key, slice: 0, .retire, actor: "op"))
        #expect(shop.refuses(.sliceArchived(key, slice: 0, first: 1)))
        shop.archive(slot)
        #expect(shop.refuses(shop.archived(slot)))
    }

    @Test("compaction keeps every other SKU's orders, their numbers, and what comes next")
    func compacts() throws {
        let shop = StockShop()
        let old = shop.open(units: 50, limit: 12)
        let kept = shop.open(units: 50, limit: 12)
        var others: [OrderID] = []
        for user in 0..<10 {
            let order = shop.order(old, UInt64(user), 1, "r\(user)")
            #expect(shop.pay(order, "p") == .outcome(.paid))
            others.append(shop.order(kept, 7, 1, "k\(user)"))
            if user < 5 { _ = shop.order(old, UInt64(user), 1, "again") }
        }
        #expect(shop.pay(others[2], "p2") == .outcome(.paid))
        #expect(shop.pay(others[2], "p3") == .outcome(.refund))
        #expect(shop.refund(others[2], "x", 60, restock: 1) == .outcome(.refunded))
        shop.nowMs += 1_800_001
        shop.control(kept) { $0.terms.limit = 20 }
        _ = shop.expire()
        shop.close(old)
        shop.archive(old)
        let infos = others.map { shop.book.info($0) }
        let rows = shop.book.orders(slot: kept, user: 7)
        let before = shop.snapshot()
        let next = shop.order(kept, 8)
        #expect(shop.cancel(next) == .outcome(.cancelled))
        let logged = shop.book.loggedOrders
        shop.book.compact()
        #expect(shop.book.loggedOrders == 11)
        #expect(logged == 26)
        #expect(others.map { shop.book.info($0) } == infos)
        #expect(shop.book.orders(slot: kept, user: 7) == rows)
        #expect(rows.count == 10)
        #expect(shop.book.checkBooks() == nil)
        #expect(shop.pay(others[2], "p2") == .outcome(.repeat))
        #expect(shop.pay(others[2], "p3") == .outcome(.refund))
        #expect(shop.refund(others[2], "x", 60, restock: 1) == .outcome(.repeat))
        #expect(shop.order(kept, 9).number == next.number + 1)
        #expect(shop.book.place(of: OrderID(shard: shop.shard, number: 0)) == .archived)
        #expect(shop.replayed().snapshot() == shop.snapshot() && before != shop.snapshot())
        // Twice more, with gaps in front of gaps.
        shop.book.compact()
        let reloaded = try shop.reloaded()
        #expect(reloaded.snapshot() == shop.snapshot())
        #expect(reloaded.book.checkBooks() == nil)
        #expect(others.map { reloaded.book.info($0) } == infos)
        #expect(reloaded.order(kept, 10).number == next.number + 2)
    }

    @Test("numbers of orders that are lost are never given again, whoever loses them how often")
    func gaps() throws {
        let shop = StockShop()
        let sku = shop.open(units: 50, limit: 12)
        let kept = (0..<3).map { shop.order(sku, UInt64($0)) }
        var given = Set(kept.map(\.number))
        /// What another takes up from the journal as it was, and the numbers that it gives.
        func takeUp(_ epoch: UInt32, isComplete: Bool, orders: Int) -> (StockShop, [OrderID]) {
            let next = shop.replayed()
            next.epoch = epoch
            next.book.skipNumbers(epoch: epoch, isComplete: isComplete)
            #expect(next.snapshot() == shop.snapshot(), "nothing is left out before it is needed")
            return (next, (0..<orders).map { next.order(sku, 10 + UInt64($0)) })
        }
        var last: StockShop?
        for epoch: UInt32 in 2...5 {
            // Each loses all that it has done.
            let (taken, orders) = takeUp(epoch, isComplete: epoch == 4, orders: 5)
            for order in orders { #expect(given.insert(order.number).inserted) }
            #expect(orders[4].number == orders[0].number + 4)
            last = taken
        }
        let shopAfter = try #require(last)
        for order in kept { #expect(shopAfter.pay(order, "p") == .outcome(.paid)) }
        // Whoever follows takes the gap as it is told, and so does a snapshot.
        for other in [shopAfter.replayed(), try shopAfter.reloaded()] {
            #expect(other.snapshot() == shopAfter.snapshot())
            #expect(other.book.checkBooks() == nil)
            for order in kept { #expect(other.pay(order, "p") == .outcome(.repeat)) }
        }
        // All of the epoch before is here: numbers go on.
        let handed = shopAfter.replayed()
        handed.epoch = 6
        let next = handed.order(sku, 30)
        shopAfter.epoch = 6
        shopAfter.book.skipNumbers(epoch: 6, isComplete: true)
        #expect(shopAfter.order(sku, 30) == next)
        // Nobody has given one in the epoch before: it may have left some out.
        shopAfter.epoch = 8
        shopAfter.book.skipNumbers(epoch: 8, isComplete: true)
        #expect(shopAfter.order(sku, 31).number > next.number + 1)
        let before = shopAfter.snapshot()
        shopAfter.book.compact()
        #expect(shopAfter.snapshot() == before && shopAfter.book.checkBooks() == nil)
        #expect(shopAfter.book.place(of: OrderID(shard: shopAfter.shard, number: 3)) == .archived)
    }

    @Test("numbers are left out as long as there are many, and an order never goes back")
    func scarceNumbers() {
        let shop = StockShop()
        let sku = shop.open(units: 50, limit: 12)
        shop.book.skipNumbers(epoch: 1 << 23, isComplete: false)
        #expect(shop.order(sku, 1).number == 0)
        shop.epoch = 1 << 22
        shop.book.skipNumbers(epoch: 1 << 22, isComplete: false)
        let order = shop.order(sku, 2)
        #expect(order.number == 1 + 1 << 38)
        // Once in an epoch.
        shop.book.skipNumbers(epoch: 1 << 22, isComplete: false)
        #expect(shop.order(sku, 3).number == order.number + 1)
        let key = shop.book.poolKey(slot: sku)
        for number in [order.number, order.number + 1, order.number + 3] {
            #expect(
                shop.refuses(
                    .orderReserved(
                        OrderReserved(
                            order: OrderID(shard: shop.shard, number: number), pool: key, slice: 0,
                            user: 9, quantity: 1, priceFen: 100, expiresMs: shop.nowMs + 1_000,
                            requestHash: 0))))
        }
    }

    @Test("compaction keeps what was done to archived orders, and how far the store must have come")
    func compactsTouches() throws {
        let shop = StockShop(touchLimit: 2)
        let slot = shop.open(units: 50)
        let orders = (0..<4).map { shop.order(slot, UInt64($0)) }
        for order in orders { #expect(shop.pay(order, "p") == .outcome(.paid)) }
        shop.close(slot)
        shop.archive(slot)
        for order in orders.prefix(3) {
            #expect(
                shop.refund(order, "x", 60, recalled: bought(shop, slot)) == .outcome(.refunded))
        }
        let last = UInt64(shop.journal.count)
        func touched() -> [UInt64] { orders.map { shop.book.touchedAt(order: $0) } }
        // The first gave way to the third; the store must have it before any other is believed.
        #expect(touched() == [last - 2, last - 1, last, last - 2])
        let before = shop.snapshot()
        shop.book.compact()
        #expect(shop.book.loggedOrders == 0)
        #expect(touched() == [last - 2, last - 1, last, last - 2])
        #expect(shop.snapshot() == before)
        var stale = bought(shop, slot)
        stale.asOf = last - 1
        #expect(shop.refund(orders[2], "y", 60, recalled: stale) == .error(.tryAgain))
        stale.asOf = last - 3
        #expect(shop.refund(orders[0], "y", 60, recalled: stale) == .error(.tryAgain))
    }

    @Test("what is paid and refunded counts in what is worth compacting")
    func compactsLedger() {
        let shop = StockShop()
        let old = shop.open(units: 50)
        let kept = shop.open(units: 50)
        let order = shop.order(old)
        #expect(shop.pay(order, "p") == .outcome(.paid))
        for number in 0..<9 { #expect(shop.pay(order, "late\(number)") == .outcome(.refund)) }
        for user in 0..<5 {
            #expect(shop.pay(shop.order(kept, UInt64(user)), "p") == .outcome(.paid))
        }
        shop.close(old)
        shop.archive(old)
        #expect(shop.book.isWorthCompacting == true)
        shop.book.compact()
        #expect(shop.book.isWorthCompacting == false)
        #expect(shop.book.counts.payments == 5)
        #expect(shop.book.checkBooks() == nil)
    }

    @Test("a few payments are no reason to move many orders that were not paid")
    func keepsUnpaid() {
        let shop = StockShop()
        let old = shop.open()
        let kept = shop.open(units: 50)
        #expect(shop.pay(shop.order(old), "p") == .outcome(.paid))
        for user in 0..<20 { _ = shop.order(kept, UInt64(user)) }
        shop.close(old)
        shop.archive(old)
        #expect(shop.book.isWorthCompacting == false)
        #expect(shop.book.liveOrders == 20 && shop.book.isFullOfArchived == false)
    }

    @Test("a book whose orders are all archived goes on with the next number")
    func emptied() throws {
        let (shop, _, order) = archivedShop()
        #expect(shop.book.isWorthCompacting == true)
        shop.book.compact()
        #expect(shop.book.loggedOrders == 0)
        #expect(shop.book.isWorthCompacting == false)
        #expect(shop.book.place(of: order) == .archived)
        let reloaded = try shop.reloaded()
        #expect(reloaded.book.place(of: order) == .archived)
        let slot = reloaded.open()
        #expect(reloaded.order(slot).number == 1)
        #expect(reloaded.book.checkBooks() == nil)
    }

    @Test("a late payment is refused once, and asks for one refund whoever retries")
    func paysLate() {
        let (shop, slot, order) = archivedShop()
        #expect(
            shop.pay(order, "p", recalled: bought(shop, slot, known: .bought))
                == .outcome(.repeat))
        #expect(shop.pay(order, "q", 99, recalled: bought(shop, slot)) == .error(.mismatch))
        #expect(shop.journal.last?.entry == shop.archived(slot))
        let stale = bought(shop, slot)
        #expect(shop.pay(order, "q", recalled: stale) == .outcome(.refund))
        #expect(
            shop.journal.last?.entry
                == .paymentRefused(
                    PaymentRefused(
                        order: order, payment: "q", amountFen: 100, archived: stale.place)))
        // What the store said before knows nothing of it.
        #expect(shop.pay(order, "q", recalled: stale) == .error(.tryAgain))
        #expect(shop.book.touchedAt(order: order) == UInt64(shop.journal.count))
        #expect(
            shop.pay(order, "q", recalled: bought(shop, slot, known: .refused))
                == .outcome(.refund))
        #expect(shop.journal.count == Int(shop.book.touchedAt(order: order)))
    }

    @Test("refunds never exceed what was paid, and what they put back is out of play")
    func refunds() throws {
        let (shop, slot, order) = archivedShop()
        #expect(shop.refund(order, "x", 101, recalled: bought(shop, slot)) == .error(.badArgument))
        let before = bought(shop, slot)
        #expect(shop.refund(order, "x", 60, restock: 1, recalled: before) == .outcome(.refunded))
        #expect(shop.refund(order, "y", 60, recalled: before) == .error(.tryAgain))
        let totals = shop.book.totals(slot: slot)
        #expect(totals.quarantined == 1 && totals.granted == 0 && totals.grantedFen == 40)
        let known = RecalledOrder.Known.refund(amountFen: 60, restocked: 1)
        var after = bought(shop, slot, known: known, refundedFen: 60)
        after.restocked = 1
        #expect(shop.refund(order, "x", 60, restock: 1, recalled: after) == .outcome(.repeat))
        #expect(shop.refund(order, "x", 61, restock: 1, recalled: after) == .error(.mismatch))
        after.known = .new
        #expect(shop.refund(order, "y", 41, recalled: after) == .error(.badArgument))
        #expect(shop.refund(order, "y", 1, restock: 1, recalled: after) == .error(.badArgument))
        #expect(shop.refund(order, "y", 40, recalled: after) == .outcome(.refunded))
        #expect(shop.replayed().snapshot() == shop.snapshot())
        let reloaded = try shop.reloaded()
        #expect(reloaded.snapshot() == shop.snapshot())
        #expect(reloaded.book.money(slot: slot) == StockMoney(paidFen: 100, refundedFen: 100))
        // A snapshot says how far the store must have come, of all of them together.
        #expect(reloaded.book.touchedAt(order: order) == UInt64(shop.journal.count))
    }

    @Test("what is said of an order of another slice, or another price, is not believed")
    func disbelieves() {
        let (shop, slot, order) = archivedShop()
        let other = shop.open()
        #expect(shop.book.believes(bought(shop, slot), order) == true)
        #expect(shop.book.believes(bought(shop, other), order) == false)
        var dearer = bought(shop, slot)
        dearer.priceFen = 101
        #expect(shop.book.believes(dearer, order) == false)
        for change: (inout RecalledOrder) -> Void in [
            { $0.quantity = 0 }, { $0.quantity = .max }, { $0.restocked = 2 },
            { $0.refundedFen = 101 }, { $0.refundedFen = -1 }, { $0.paidFen = .max },
            // More than the slice has taken and sold.
            { $0.paidFen = 101 }, { $0.quantity = 2 },
        ] {
            var impossible = bought(shop, slot)
            change(&impossible)
            #expect(shop.book.believes(impossible, order) == false)
        }
        let place = ArchivedSlice(pool: shop.book.poolKey(slot: other), slice: 0)
        for entry in [
            Entry.paymentRefused(
                PaymentRefused(order: order, payment: "z", amountFen: 100, archived: place)),
            .orderRefunded(
                OrderRefunded(
                    order: order, request: "z", amountFen: 101, restock: 0,
                    archived: bought(shop, slot).place)),
            .paymentRefused(PaymentRefused(order: order, payment: "z", amountFen: 100)),
            .orderPaid(OrderPaid(order: order, payment: "z", amountFen: 100, late: true)),
            .orderCancelled(order),
        ] {
            #expect(shop.refuses(entry), "\(entry)")
        }
    }

    @Test("of more orders than are told apart, the store must have the entry that was forgotten")
    func floor() {
        let shop = StockShop()
        let slot = shop.open(units: 2_000, limit: 1)
        let orders = (0..<1_030).map { shop.order(slot, UInt64($0)) }
        for order in orders { #expect(shop.cancel(order) == .outcome(.cancelled)) }
        shop.close(slot)
        let floor = shop.book.touchedAt(slot: slot)
        shop.archive(slot)
        var recalled = bought(shop, slot)
        recalled.state = OrderState.cancelled.rawValue
        recalled.paidFen = 0
        for order in orders.prefix(1_024) {
            #expect(shop.book.touchedAt(order: order) == floor)
            #expect(shop.pay(order, "p", recalled: recalled) == .outcome(.refund))
        }
        #expect(shop.book.touchedAt(order: orders[1_029]) == floor)
        let first = shop.book.touchedAt(order: orders[0])
        for order in orders.suffix(6) {
            recalled.asOf = UInt64(shop.journal.count)
            #expect(shop.pay(order, "p", recalled: recalled) == .outcome(.refund))
        }
        #expect(shop.book.touchedAt(order: orders[0]) == first + 5)
        #expect(shop.book.touchedAt(order: orders[6]) == first + 6)
        #expect(shop.book.touchedAt(order: orders[1_029]) == UInt64(shop.journal.count))
    }

    @Test("a snapshot of the release before is read, and written while nothing is archived")
    func plain() throws {
        let shop = StockShop()
        let slot = shop.open()
        let order = shop.order(slot)
        let plain = shop.snapshot(isPlain: true)
        #expect(plain != shop.snapshot() && plain[4] == 2 && shop.snapshot()[4] == 3)
        #expect(shop.book.hasArchived == false)
        let again = StockShop()
        #expect(again.load(plain, sequence: 77) == nil)
        #expect(again.snapshot(isPlain: true) == plain)
        #expect(again.book.info(order) == shop.book.info(order))
        // Since when nothing has happened it does not say.
        #expect(again.book.touchedAt(slot: slot) == 77)
        #expect(again.book.touchedMs(slot: slot) == shop.book.lastEntryMs)
        #expect(shop.book.touchedAt(slot: slot) == 3)
    }
}
