import EdgeDomain
import EdgeTypes
import Testing

@Suite("Orders of stock")
struct StockOrderTests {
    let shop = StockShop()

    func sound(_ location: SourceLocation = #_sourceLocation) {
        #expect(shop.book.checkBooks() == nil, sourceLocation: location)
        #expect(shop.replayed().snapshot() == shop.snapshot(), sourceLocation: location)
    }

    // MARK: Reserving

    @Test("a reservation moves its units and says when it expires")
    func reserving() {
        let slot = shop.open(units: 10, limit: 5)
        let answer = shop.reserve(slot, 42, 3, "a")
        let order = OrderID(shard: 3, number: 0)
        #expect(answer == .reserve(.reserved, order, shop.nowMs + 1_800_000))
        #expect(shop.units(slot) == [7, 3, 0])
        #expect(shop.state(order) == .reserved)
        #expect(shop.book.owner(of: order) == 42)
        #expect(shop.book.poolKey(of: order) == shop.book.poolKey(slot: slot))
        sound()
    }

    @Test("the same request returns the first order, whatever has become of it or of the sale")
    func repeated() {
        let slot = shop.open(units: 2, limit: 2)
        let order = shop.order(slot, 1, 2, "a")
        let again = StockShop.Answer.reserve(.repeat, order, shop.nowMs + 1_800_000)
        #expect(shop.reserve(slot, 1, 2, "a") == again)
        shop.nowMs += 1_000
        #expect(shop.reserve(slot, 1, 2, "a") == again)
        _ = shop.pay(order, "p")
        #expect(shop.reserve(slot, 1, 2, "a") == again)
        shop.control(slot) { $0.paused = true }
        #expect(shop.reserve(slot, 1, 2, "a") == again)
        shop.control(slot) { $0.closing = true }
        #expect(shop.reserve(slot, 1, 2, "a") == again)
        #expect(shop.units(slot) == [0, 0, 2])
        sound()
    }

    @Test("a request is found again among many orders of its user, and is the user's own")
    func repeatedAmongMany() {
        let slot = shop.open(units: 1_000, limit: 500)
        let other = shop.open(units: 1_000, limit: 500)
        let orders = (0..<300).map { shop.order(slot, 1, 1, "r\($0)") }
        for (index, order) in orders.enumerated() {
            let expected = StockShop.Answer.reserve(.repeat, order, shop.nowMs + 1_800_000)
            #expect(shop.reserve(slot, 1, 1, "r\(index)") == expected)
        }
        #expect(shop.order(slot, 2, 1, "r7") != orders[7])
        #expect(shop.order(other, 1, 1, "r7") != orders[7])
        sound()
    }

    @Test("the same request with another quantity is a mismatch and takes nothing")
    func mismatch() {
        let slot = shop.open(units: 10, limit: 5)
        _ = shop.order(slot, 1, 2, "a")
        #expect(shop.reserve(slot, 1, 3, "a") == .error(.mismatch))
        _ = shop.order(slot, 1, 1, "b")
        #expect(shop.reserve(slot, 1, 3, "a") == .error(.mismatch))
        #expect(shop.reserve(slot, 1, 2, "b") == .error(.mismatch))
        #expect(shop.units(slot) == [7, 3, 0])
    }

    @Test("only successes remember their request")
    func refusalsAreForgotten() {
        let slot = shop.open(units: 1, limit: 2)
        #expect(shop.reserve(slot, 1, 2, "a") == .reserve(.soldOut, StockShop.noOrder, 0))
        shop.credit(slot, 1)
        #expect(shop.order(slot, 1, 2, "a") == OrderID(shard: 3, number: 0))
    }

    @Test("without a request id every reservation is a new one")
    func withoutRequest() {
        let slot = shop.open(units: 10, limit: 5)
        #expect(shop.order(slot, 1, 1, "") != shop.order(slot, 1, 1, ""))
        #expect(shop.order(slot, 1, 1, "a") != shop.order(slot, 1, 1, ""))
        #expect(shop.units(slot) == [6, 4, 0])
        sound()
    }

    @Test(
        "quantities outside 1 … 10,000 are bad arguments", arguments: [0, -1, 10_001, .max, .min])
    func quantities(quantity: Int64) {
        let slot = shop.open(units: 100_000, limit: 10_000)
        #expect(shop.reserve(slot, 1, quantity, "a") == .error(.badArgument))
        #expect(shop.reserve(slot, 1, 10_000, "a") != .error(.badArgument))
    }

    struct Terms: Sendable, CustomTestStringConvertible {
        var opensIn: Int64 = 0
        var closesIn: Int64 = 0
        var paused = false
        var closing = false
        var outcome: Outcome
        var testDescription: String { "\(outcome) \(opensIn) \(closesIn) \(paused) \(closing)" }
    }

    @Test(
        "terms decide in the order closed, early, paused",
        arguments: [
            Terms(outcome: .reserved),
            Terms(opensIn: 1, outcome: .early),
            Terms(opensIn: -1, closesIn: 1, outcome: .reserved),
            Terms(closesIn: -1, outcome: .closed),
            Terms(opensIn: 5, closesIn: -1, outcome: .closed),
            Terms(paused: true, outcome: .paused),
            Terms(opensIn: 1, paused: true, outcome: .early),
            Terms(paused: true, closing: true, outcome: .closed),
            Terms(opensIn: 1, closing: true, outcome: .closed),
        ])
    func terms(terms: Terms) {
        let now = shop.nowMs
        let slot = shop.open(
            opensMs: terms.opensIn == 0 ? 0 : now + terms.opensIn,
            closesMs: terms.closesIn == 0 ? 0 : now + terms.closesIn)
        shop.control(slot) {
            $0.paused = terms.paused
            $0.closing = terms.closing
        }
        guard case .reserve(let outcome, let order, let timeMs) = shop.reserve(slot, 1, 1, "a")
        else {
            Issue.record("an error")
            return
        }
        #expect(outcome == terms.outcome)
        if outcome != .reserved { #expect(order == StockShop.noOrder) }
        if outcome == .early { #expect(timeMs == now + terms.opensIn) }
    }

    @Test("opening and closing times are met to the millisecond")
    func edges() {
        let slot = shop.open(opensMs: shop.nowMs + 10, closesMs: shop.nowMs + 20)
        let times: [(Int64, Outcome)] = [
            (9, .early), (10, .reserved), (19, .reserved), (20, .closed),
        ]
        for (offset, outcome) in times {
            shop.nowMs = StockShop.startMs + offset
            guard case .reserve(let got, _, _) = shop.reserve(slot, UInt64(offset), 1, "a") else {
                Issue.record("an error")
                return
            }
            #expect(got == outcome, "at \(offset)")
        }
    }

    // MARK: Limits

    @Test("a user reserves up to the limit, and is then told of the open order")
    func limit() {
        let slot = shop.open(units: 10, limit: 3)
        #expect(shop.reserve(slot, 1, 4, "z") == .reserve(.limit, StockShop.noOrder, 0))
        let first = shop.order(slot, 1, 1, "a")
        shop.nowMs += 5
        let second = shop.order(slot, 1, 2, "b")
        let secondExpires = shop.nowMs + 1_800_000
        #expect(shop.reserve(slot, 1, 1, "c") == .reserve(.limit, second, secondExpires))
        _ = shop.pay(second, "p")
        #expect(shop.reserve(slot, 1, 1, "c") == .reserve(.limit, first, secondExpires - 5))
        _ = shop.pay(first, "p")
        #expect(shop.reserve(slot, 1, 1, "c") == .reserve(.limit, StockShop.noOrder, 0))
        #expect(shop.order(slot, 2, 3, "c") != first)
        sound()
    }

    @Test("cancelled, expired and restocked units do not count against the limit; sold ones do")
    func limitCounts() {
        let slot = shop.open(units: 10, limit: 2)
        _ = shop.cancel(shop.order(slot, 1, 2, "a"))
        #expect(shop.book.unitsOfUser(slot: slot, user: 1) == 0)
        _ = shop.order(slot, 1, 2, "b")
        shop.nowMs += 1_800_064
        #expect(shop.expire().count == 1)
        let order = shop.order(slot, 1, 2, "c")
        _ = shop.pay(order, "p")
        _ = shop.refund(order, "x", 200)
        #expect(shop.state(order) == .refunded)
        #expect(shop.book.unitsOfUser(slot: slot, user: 1) == 2)
        #expect(shop.reserve(slot, 1, 1, "d") == .reserve(.limit, StockShop.noOrder, 0))
        #expect(shop.refund(order, "y", 0, restock: 1) == .outcome(.refunded))
        #expect(shop.order(slot, 1, 1, "d") != order)
        #expect(shop.units(slot) == [8, 1, 1])
        sound()
    }

    @Test("a limit lowered or raised counts from the next reservation on")
    func limitAltered() {
        let slot = shop.open(units: 100, limit: 4)
        _ = shop.order(slot, 1, 3, "a")
        shop.control(slot) { $0.terms.limit = 2 }
        guard case .reserve(.limit, _, _) = shop.reserve(slot, 1, 1, "b") else {
            Issue.record("over the limit")
            return
        }
        shop.control(slot) { $0.terms.limit = .max }
        _ = shop.order(slot, 1, 50, "b")
        #expect(shop.book.unitsOfUser(slot: slot, user: 1) == 53)
        // No limit goes beyond the system's own.
        shop.credit(slot, 100_000)
        guard case .reserve(.limit, _, _) = shop.reserve(slot, 1, 9_948, "c") else {
            Issue.record("over the system's limit")
            return
        }
        _ = shop.order(slot, 1, 9_947, "c")
        sound()
    }

    @Test("limits of the shard answer full; every order can still be paid")
    func full() {
        let shop = StockShop(orderLimit: 3, ledgerLimit: 2)
        let slot = shop.open(units: 100, limit: 100)
        let orders = (0..<3).map { shop.order(slot, 1, 1, "r\($0)") }
        #expect(shop.reserve(slot, 1, 1, "r3") == .error(.full))
        #expect(shop.pay(orders[0], "p") == .outcome(.paid))
        #expect(shop.pay(orders[0], "q") == .outcome(.refund))
        #expect(shop.refund(orders[0], "x", 1) == .outcome(.refunded))
        #expect(shop.pay(orders[0], "s") == .error(.full))
        #expect(shop.refund(orders[0], "y", 1) == .error(.full))
        #expect(shop.pay(orders[1], "p") == .outcome(.paid))
        #expect(shop.pay(orders[2], "p") == .outcome(.paid))
        #expect(shop.pay(orders[0], "q") == .outcome(.refund))
        #expect(shop.book.checkBooks() == nil)
    }

    @Test("money stays far from overflow: dear orders are refused as full")
    func dear() {
        let slot = shop.open(units: 100_000, price: Limits.amountFen, limit: 10_000)
        #expect(shop.reserve(slot, 1, 2, "a") == .error(.full))
        #expect(shop.reserve(slot, 1, 10_000, "a") == .error(.full))
        for user in 0..<40 as Range<UInt64> { _ = shop.order(slot, user, 1, "a") }
        #expect(shop.reserve(slot, 41, 1, "a") == .error(.full))
        sound()
    }

    // MARK: Cancelling and expiring

    @Test("cancelling gives the units back once; cancelling again says so again")
    func cancelling() {
        let slot = shop.open(units: 10, limit: 5)
        let order = shop.order(slot, 1, 3, "a")
        #expect(shop.cancel(order) == .outcome(.cancelled))
        let entries = shop.journal.count
        #expect(shop.cancel(order) == .outcome(.cancelled))
        #expect(shop.journal.count == entries)
        #expect(shop.units(slot) == [10, 0, 0])
        #expect(shop.state(order) == .cancelled)
        sound()
    }

    @Test("a paid order stays paid, a refunded one refunded, an expired one has nothing to cancel")
    func cancellingLater() {
        let slot = shop.open(units: 10, limit: 5)
        let paid = shop.order(slot, 1, 1, "a")
        _ = shop.pay(paid, "p")
        let refunded = shop.order(slot, 1, 1, "b")
        _ = shop.pay(refunded, "p")
        _ = shop.refund(refunded, "x", 100)
        let expired = shop.order(slot, 1, 1, "c")
        shop.nowMs += 1_800_064
        #expect(shop.expire() == [expired])
        let entries = shop.journal.count
        #expect(shop.cancel(paid) == .outcome(.paid))
        #expect(shop.cancel(refunded) == .outcome(.refunded))
        #expect(shop.cancel(expired) == .outcome(.cancelled))
        #expect(shop.state(expired) == .expired)
        #expect(shop.cancel(OrderID(shard: 3, number: 9)) == .error(.noOrder))
        #expect(shop.cancel(OrderID(shard: 4, number: 0)) == .error(.noOrder))
        #expect(shop.cancel(OrderID(rawValue: 0)) == .error(.noOrder))
        #expect(shop.journal.count == entries)
    }

    @Test("an order expires at its time or a tick later, never before, and only once")
    func expiring() {
        let slot = shop.open(units: 10, limit: 5, holdMs: 1_000)
        let order = shop.order(slot, 1, 3, "a")
        #expect(shop.book.nextDeadlineMs <= shop.nowMs + 1_000 + 64)
        shop.nowMs += 999
        #expect(shop.expire() == [])
        shop.nowMs += 65
        #expect(shop.expire() == [order])
        #expect(shop.expire() == [])
        #expect(shop.state(order) == .expired)
        #expect(shop.units(slot) == [10, 0, 0])
        #expect(shop.book.nextDeadlineMs == .max)
        #expect(shop.refuses(.orderExpired(order)))
        sound()
    }

    @Test("an order found due is found again until its expiry is applied, or it is paid instead")
    func expiryRace() {
        let slot = shop.open(units: 10, limit: 5, holdMs: 1_000)
        let order = shop.order(slot, 1, 3, "a")
        shop.nowMs += 5_000
        #expect(shop.book.nextExpired(nowMs: shop.nowMs) == order)
        #expect(shop.book.nextExpired(nowMs: shop.nowMs) == order)
        #expect(shop.pay(order, "p") == .outcome(.paid))
        #expect(shop.book.nextExpired(nowMs: shop.nowMs) == nil)
        #expect(shop.refuses(.orderExpired(order)))
        #expect(shop.units(slot) == [7, 0, 3])
    }

    @Test("a user's orders are listed newest first")
    func listing() {
        let slot = shop.open(units: 10, limit: 5)
        let first = shop.order(slot, 1, 1, "a")
        _ = shop.order(slot, 2, 1, "a")
        let second = shop.order(slot, 1, 2, "b")
        _ = shop.cancel(first)
        let expiresMs = shop.nowMs + 1_800_000
        #expect(
            shop.book.orders(slot: slot, user: 1) == [
                OrderRow(order: second, state: .reserved, quantity: 2, expiresMs: expiresMs),
                OrderRow(order: first, state: .cancelled, quantity: 1, expiresMs: expiresMs),
            ])
        #expect(shop.book.orders(slot: slot, user: 1, limit: 1).map(\.order) == [second])
        #expect(shop.book.orders(slot: slot, user: 3) == [])
    }
}
