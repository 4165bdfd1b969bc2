import EdgeDomain
import EdgeTypes
import Testing

@Suite("A stock book against a plain model of its rules")
struct StockModelTests {
    /// One run: the book, the model, and what must hold whatever either says.
    final class Run {
        let shop = StockShop()
        var model: StockModel
        var random: StockRandom
        var states: [OrderState] = []
        /// Payments captured: which order and id, and how each ended.
        var captured: [String: Set<Bool>] = [:]
        /// How often each answer was given.
        var answers: [String: Int] = [:]
        var requests = 0
        var failures = 0
        /// Closed slices are archived, and the book is compacted now and then.
        let archives: Bool
        /// Draws of their own.
        var archiveRandom: StockRandom

        init(seed: UInt64, archives: Bool = false) {
            self.archives = archives
            archiveRandom = StockRandom(seed: seed &+ 1_000)
            random = StockRandom(seed: seed)
            model = StockModel(shard: shop.shard)
        }

        func expect(_ holds: Bool, _ what: @autoclosure () -> String) {
            if holds { return }
            failures += 1
            // One broken rule would otherwise fill the log.
            if failures <= 5 { Issue.record("\(what())") }
        }

        func agree(
            _ got: StockShop.Answer, _ expected: StockShop.Answer, _ what: String
        ) {
            let kind = got.description.split(separator: " ").prefix(1).joined()
            answers["\(what) \(kind)", default: 0] += 1
            if case .error(let code) = got { answers["\(what) \(code)", default: 0] += 1 }
            expect(got == expected, "\(what): \(got), not \(expected)")
        }

        func openSlice() {
            let price = Fen([0, 1, 250, 99_900][random.next(below: 4)])
            let limit = [1, 2, 5, 40][random.next(below: 4)]
            let holdMs = Int64([2_000, 30_000, 1_800_000][random.next(below: 3)])
            _ = shop.open(
                units: 0, price: price, limit: UInt32(limit), holdMs: holdMs,
                slice: UInt32(random.next(below: 4)))
            model.slices.append(
                StockModel.Slice(price: price, holdMs: holdMs, limit: Int64(limit)))
            let slot = model.slices.count - 1
            model.places.append(
                ArchivedSlice(
                    pool: shop.book.poolKey(slot: slot), slice: shop.book.sliceNumber(slot: slot)))
            credit(model.slices.count - 1)
        }

        func credit(_ slot: Int) {
            let units = Int64(1 + random.next(below: 60))
            shop.credit(slot, units)
            model.slices[slot].credited += units
            if model.slices[slot].quarantinedFlag {
                model.slices[slot].quarantined += units
            } else {
                model.slices[slot].held += units
            }
            if random.next(below: 3) == 0 {
                // The frame again: known.
                shop.commit(
                    .sliceCredited(
                        shop.transfer(slot, shop.book.creditNumber(slot: slot), units)))
            }
        }

        func someSlot() -> Int { random.next(below: model.slices.count) }

        /// Mostly one of the last orders: those that still move.
        func someOrder() -> Int {
            let count = model.orders.count
            if count == 0 || random.next(below: 50) == 0 { return count }
            if random.next(below: 3) == 0 { return random.next(below: count) }
            return count - 1 - random.next(below: min(count, 60))
        }

        /// Compares what an operation on a slice and an order may have touched.
        func compare(_ slot: Int, _ number: Int?, _ what: String) {
            let totals = shop.book.totals(slot: slot)
            expect(
                totals.credited == totals.held + totals.pending + totals.granted + totals.returned
                    + totals.quarantined + totals.retired, "\(what): books \(totals)")
            expect(totals.held == model.slices[slot].held, "\(what): held")
            expect(totals.credited == model.slices[slot].credited, "\(what): credited")
            expect(totals.quarantined == model.slices[slot].quarantined, "\(what): quarantined")
            guard let number, number < model.orders.count else { return }
            let order = model.orders[number]
            if model.slices[slot].archived {
                expect(shop.book.place(of: model.id(number)) == .archived, "\(what): place")
                return expect(shop.book.info(model.id(number)) == nil, "\(what): in reach")
            }
            let info = shop.book.info(model.id(number))
            expect(info?.state == order.state, "\(what): state")
            expect(info?.payment == order.payment.map { Text64($0) }, "\(what): payment")
            expect(info?.refundedFen == order.refundedFen, "\(what): refunded")
            expect(info.map { Int64($0.restocked) } == order.restocked, "\(what): restocked")
            expect(info?.user == order.user, "\(what): user")
            expect(info.map { Int64($0.quantity) } == order.quantity, "\(what): quantity")
            let units = shop.book.unitsOfUser(slot: slot, user: order.user)
            expect(Int64(units) == model.unitsOfUser(slot, order.user), "\(what): user's units")
            transition(number, order.state, what)
        }

        /// One terminal state: an order only ever moves along these.
        func transition(_ number: Int, _ state: OrderState, _ what: String) {
            while states.count <= number { states.append(.reserved) }
            let before = states[number]
            states[number] = shop.book.state(of: model.id(number)) ?? .reserved
            switch (before, states[number]) {
            case (.reserved, _), (.expired, .paid), (.paid, .refunded): break
            // A free order is refunded at once.
            case (let a, let b): expect(a == b, "\(what): \(a) became \(b)")
            }
        }

        func step() {
            switch random.next(below: 100) {
            case 0..<40: reserve()
            case 40..<62: pay()
            case 62..<72: cancel()
            case 72..<84: refund()
            case 84..<95: pass()
            default: operate()
            }
        }

        func reserve() {
            let slot = someSlot()
            let user = UInt64(random.next(below: 40))
            let quantity = Int64(random.next(below: 40) == 0 ? 0 : 1 + random.next(below: 3))
            var request = "r\(requests)"
            if random.next(below: 4) == 0, requests > 0 {
                let mine = model.slices[slot].users[user] ?? []
                request = "r\(random.next(below: requests))"
                if let number = mine.last { request = model.orders[number].request }
                if mine.count > 2 {
                    request = model.orders[mine[random.next(below: mine.count)]].request
                }
            } else if random.next(below: 20) == 0 {
                request = ""
            } else {
                requests += 1
            }
            let expected = model.reserve(slot, user, quantity, request, shop.nowMs)
            var got = shop.reserve(slot, user, quantity, request)
            if got == .archived, model.slices[slot].archived {
                answers["reserve archived", default: 0] += 1
                // The store is asked; whoever made nothing before hears that it is closed.
                switch expected {
                case .reserve(.repeat, _, _), .reserve(.closed, _, _), .error(.mismatch):
                    got = expected
                default: break
                }
            }
            agree(got, expected, "reserve")
            if case .reserve(.reserved, _, _) = got {
                let units = Int64(shop.book.unitsOfUser(slot: slot, user: user))
                expect(units <= model.slices[slot].limit, "over the limit")
                compare(slot, model.orders.count - 1, "reserve")
            } else {
                compare(slot, nil, "reserve")
            }
        }

        func pay() {
            let number = someOrder()
            let payment = "p\(random.next(below: 3))"
            var fen: Fen = -1
            if number < model.orders.count {
                let order = model.orders[number]
                let due = order.quantity * model.slices[order.slot].price
                fen = [due, due, -1, due + 1][random.next(below: 4)]
            }
            let dry = random.next(below: 2) == 0
            let recalled = model.recalled(number, payment: payment, asOf: shop.journal.count)
            let expected = model.pay(number, payment, fen, dry: dry)
            let got = shop.pay(model.id(number), payment, fen, dry: dry, recalled: recalled)
            agree(got, expected, "pay")
            guard case .outcome(let outcome) = got else { return }
            captured["\(number)/\(payment)", default: []].insert(outcome != .refund)
            let slot = model.orders[number].slot
            if outcome == .late {
                let user = model.orders[number].user
                let units = Int64(shop.book.unitsOfUser(slot: slot, user: user))
                expect(units <= model.slices[slot].limit, "late over the limit")
            }
            compare(slot, number, "pay")
        }

        func cancel() {
            let number = someOrder()
            if number < model.orders.count, model.slices[model.orders[number].slot].archived {
                return expect(shop.cancel(model.id(number)) == .error(.noOrder), "cancel")
            }
            let expected = model.cancel(number)
            let got = shop.cancel(model.id(number))
            agree(got, expected, "cancel")
            if number < model.orders.count { compare(model.orders[number].slot, number, "cancel") }
        }

        func refund() {
            let number = someOrder()
            let request = "x\(random.next(below: 6))"
            var fen: Fen = 0
            var restock: Int64 = 0
            if number < model.orders.count {
                let order = model.orders[number]
                let due = order.quantity * model.slices[order.slot].price
                fen = [0, due, due / 2, due / 3, due + 1, -1][random.next(below: 6)]
                restock = Int64(random.next(below: 5)) - 1
                if random.next(below: 3) == 0, let before = order.refunds[request] {
                    fen = before.fen
                    restock = before.restock
                }
            }
            let recalled = model.recalled(number, request: request, asOf: shop.journal.count)
            let expected = model.refund(number, request, fen, restock)
            let got = shop.refund(
                model.id(number), request, fen, restock: restock, recalled: recalled)
            if recalled != nil { answers["archived \(got)", default: 0] += 1 }
            agree(got, expected, "refund")
            if number < model.orders.count { compare(model.orders[number].slot, number, "refund") }
        }

        /// Time goes on, now and then far or back; what is due expires, or not yet.
        func pass() {
            switch random.next(below: 40) {
            case 0: shop.nowMs += 7_200_000
            // The shard's time does not go back behind its last entry.
            case 1: shop.nowMs = max(shop.nowMs - 60_000, shop.book.lastEntryMs)
            default: shop.nowMs += Int64(random.next(below: 3_000))
            }
            if random.next(below: 3) == 0 { return }
            let expired = shop.expire().map { Int($0.number) }
            for number in expired {
                expect(model.expire(number, shop.nowMs), "expired \(number) early or again")
            }
            for number in expired { compare(model.orders[number].slot, number, "expire") }
            let late = model.orders.suffix(500).contains {
                $0.state == .reserved && $0.expiresMs + 64 <= shop.nowMs
            }
            expect(!late, "an order outlived its hold")
        }

        func operate() {
            if archives { archive() }
            let slot = someSlot()
            if model.slices[slot].archived {
                resolve(slot, .retire)
                return compare(slot, nil, "archived")
            }
            switch random.next(below: 13) {
            case 0..<5: credit(slot)
            case 5..<7:
                if let transfer = shop.book.returning(
                    slot: slot, units: Int64(1 + random.next(below: 20)))
                {
                    send(slot, transfer)
                }
            case 7..<9:
                let limit = Int64(1 + random.next(below: 6))
                let paused = random.next(below: 5) == 0
                let opensMs = random.next(below: 5) == 0 ? shop.nowMs + 30_000 : 0
                shop.control(slot) {
                    $0.terms.limit = UInt32(limit)
                    $0.terms.opensMs = opensMs
                    $0.paused = paused
                }
                model.slices[slot].limit = limit
                model.slices[slot].opensMs = opensMs
                model.slices[slot].paused = paused
            case 9:
                if random.next(below: 4) != 0 { return }
                shop.control(slot) { $0.closing = true }
                model.slices[slot].closing = true
                openSlice()
            case 10: seal(slot)
            case 11: resolve(slot, random.next(below: 2) == 0 ? .release : .retire)
            default:
                if random.next(below: 100) != 0 { return }
                shop.commit(
                    .sliceQuarantined(
                        shop.book.poolKey(slot: slot), slice: shop.book.sliceNumber(slot: slot)))
                model.slices[slot].quarantinedFlag = true
                model.slices[slot].quarantined += model.slices[slot].held
                model.slices[slot].held = 0
                openSlice()
            }
            compare(slot, nil, "operate")
        }

        func archive() {
            let slot = archiveRandom.next(below: model.slices.count)
            let slice = model.slices[slot]
            let may =
                slice.sealed && !slice.archived && slice.quarantined == 0 && slice.held == 0
            expect(shop.book.canArchive(slot: slot) == may, "archive slot \(slot)")
            if may {
                shop.archive(slot)
                model.slices[slot].archived = true
                answers["archive done", default: 0] += 1
            }
            guard shop.book.isWorthCompacting || archiveRandom.next(below: 200) == 0 else { return }
            let before = shop.snapshot()
            shop.book.compact()
            expect(shop.snapshot() == before, "compacting has changed the book")
            answers["compact done", default: 0] += 1
        }

        func resolve(_ slot: Int, _ resolution: Resolution) {
            let slice = model.slices[slot]
            let may =
                resolution == .release
                ? slice.quarantinedFlag && !slice.sealed : slice.quarantined > 0
            expect(shop.book.canResolve(slot: slot, resolution) == may, "resolve slot \(slot)")
            guard may else { return }
            shop.commit(
                .sliceResolved(
                    shop.book.poolKey(slot: slot), slice: shop.book.sliceNumber(slot: slot),
                    resolution, actor: "op"))
            if resolution == .release {
                model.slices[slot].quarantinedFlag = false
                model.slices[slot].held += slice.quarantined
            } else {
                model.slices[slot].retired += slice.quarantined
            }
            model.slices[slot].quarantined = 0
            answers["\(resolution) done", default: 0] += 1
        }

        func seal(_ slot: Int) {
            let slice = model.slices[slot]
            let may = slice.closing && !slice.sealed && model.openOrders(slot) == 0
            let transfer = shop.book.sealing(slot: slot)
            expect((transfer != nil) == may, "seal of slot \(slot)")
            guard let transfer else { return }
            send(slot, transfer)
            model.slices[slot].sealed = true
        }

        func send(_ slot: Int, _ transfer: Transfer) {
            shop.commit(.sliceReturned(transfer))
            shop.book.acknowledgeReturn(slot: slot, number: transfer.number)
            model.slices[slot].held -= transfer.units
            model.slices[slot].returned += transfer.units
        }

        func compareAll() {
            let difference = shop.book.checkBooks()
            expect(difference == nil, "books: \(difference ?? "")")
            for slot in 0..<model.slices.count {
                expect(shop.book.totals(slot: slot) == model.totals(slot), "totals of \(slot)")
                expect(shop.book.openOrders(slot: slot) == model.openOrders(slot), "open")
            }
        }

        /// Every captured payment ended in exactly one of goods and refund, and no order was
        /// bought twice.
        func comparePayments() {
            var bought: Set<Substring> = []
            for (key, ends) in captured {
                expect(ends.count == 1, "payment \(key) ended in goods and in a refund")
                guard ends.contains(true), let order = key.split(separator: "/").first else {
                    continue
                }
                expect(bought.insert(order).inserted, "order \(order) was bought twice")
            }
        }
    }

    @Test(
        "random operations end as the model says, and replaying the journal gives the same book",
        arguments: [1, 2, 3] as [UInt64])
    func random(seed: UInt64) throws {
        print("StockModelTests.random seed \(seed)")
        try check(Run(seed: seed), [])
    }

    @Test(
        "closed slices leave memory, and whoever asks hears what they would have heard",
        arguments: [4, 5, 6] as [UInt64])
    func randomArchive(seed: UInt64) throws {
        print("StockModelTests.randomArchive seed \(seed)")
        try check(
            Run(seed: seed, archives: true),
            [
                "archive done", "compact done", "reserve archived", "archived refunded",
                "archived repeat", "archived error mismatch", "archived error badArgument",
            ])
    }

    private func check(_ run: Run, _ met: [String]) throws {
        for _ in 0..<6 { run.openSlice() }
        for index in 0..<80_000 {
            run.step()
            if index % 10_000 == 0 { run.compareAll() }
            if run.failures > 5 { break }
        }
        run.compareAll()
        run.comparePayments()
        let snapshot = run.shop.snapshot()
        #expect(run.shop.replayed().snapshot() == snapshot)
        let reloaded = try run.shop.reloaded()
        #expect(reloaded.snapshot() == snapshot)
        #expect(reloaded.book.checkBooks() == nil)
        let counts = run.shop.book.counts
        print(
            "  \(run.shop.journal.count) entries, \(counts.orders) orders, \(counts.slices) slices,",
            "\(counts.payments) paid, \(counts.refused) refused, \(counts.refunds) refunds")
        // A run that never met the rules would prove nothing.
        for answer in [
            "reserve reserved", "reserve repeat", "reserve soldOut", "reserve limit",
            "reserve early", "reserve paused", "reserve closed", "reserve mismatch",
            "reserve badArgument", "pay paid", "pay repeat", "pay late", "pay refund", "pay needs",
            "pay mismatch", "pay noOrder", "cancel cancelled", "cancel paid", "cancel refunded",
            "refund refunded", "refund repeat", "refund mismatch", "refund badArgument",
        ] + met {
            // What is archived is seldom asked about.
            let least = run.archives ? 5 : 20
            #expect(run.answers[answer, default: 0] >= least, "\(answer)")
        }
    }
}
