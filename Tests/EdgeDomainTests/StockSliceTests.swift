import EdgeDomain
import EdgeMemory
import EdgeTypes
import Testing

@Suite("Slices of stock")
struct StockSliceTests {
    let shop = StockShop()

    func transfer(_ slot: Int, _ number: UInt32, _ units: Int64, final: Bool = false) -> Transfer {
        var transfer = shop.transfer(slot, number, units)
        transfer.final = final
        if units == 0 { transfer.ranges = [] }
        return transfer
    }

    @Test("a slice is found by its SKU and number once it was opened, and holds nothing yet")
    func opening() {
        let definition = StockShop.definition("shoe")
        let pool = PoolKey.of(.stock, "shoe")
        #expect(shop.book.slot(of: pool, slice: 1) == nil)
        #expect(shop.book.decideOpen(definition, slice: 1) == .take)
        let control = PoolControl(version: 4, terms: PoolTerms(opensMs: 5, limit: 2), paused: true)
        shop.commit(.sliceOpened(definition, slice: 1, control))
        #expect(shop.book.slot(of: pool, slice: 1) == 0)
        #expect(shop.book.slot(of: pool, slice: 0) == nil)
        #expect(shop.book.definition(slot: 0) == definition)
        #expect(shop.book.control(slot: 0) == control)
        #expect(shop.book.durability(slot: 0) == .journal)
        #expect(shop.book.totals(slot: 0) == SliceTotals())
        #expect(shop.book.decideOpen(definition, slice: 1) == .known)
        let before = shop.snapshot()
        shop.commit(.sliceOpened(definition, slice: 1, PoolControl(version: 9, terms: PoolTerms())))
        #expect(shop.snapshot() == before)
    }

    @Test("only sound stock pools open")
    func unsound() {
        let sound = StockShop.definition("shoe")
        var broken = [PoolDefinition](repeating: sound, count: 8)
        broken[0].kind = .spread
        broken[1].name = Text64()
        broken[2].amountFen = -1
        broken[3].amountFen = Limits.amountFen + 1
        broken[4].holdMs = 0
        broken[5].holdMs = Limits.holdMs + 1
        broken[6].slices = 1
        broken[7].regions = [RegionShare](repeating: sound.regions[0], count: 17)
        for definition in broken {
            #expect(shop.book.decideOpen(definition, slice: 1) == .error(.badArgument))
            let control = PoolControl(version: 1, terms: PoolTerms())
            #expect(shop.refuses(.sliceOpened(definition, slice: 1, control)))
        }
        #expect(shop.book.decideOpen(sound, slice: 1) == .take)
    }

    @Test("many slices keep their definitions apart")
    func many() {
        for index in 0..<200 {
            let slot = shop.open(units: Int64(index), price: Int64(index))
            #expect(slot == index)
        }
        for index in 0..<200 {
            let name = Text64("sku-\(index)")
            #expect(shop.book.slot(of: PoolKey.of(.stock, name), slice: 0) == index)
            #expect(shop.book.definition(slot: index).name == name)
            #expect(shop.book.holdings(slot: index) == Int64(index))
        }
    }

    @Test("only a newer control changes the terms")
    func control() {
        let slot = shop.open(limit: 2)
        let terms = PoolTerms(limit: 9)
        let pool = shop.book.poolKey(slot: slot)
        let newer = PoolControl(version: 3, terms: terms, paused: true)
        #expect(shop.book.decideControl(slot: slot, newer) == .take)
        shop.commit(.sliceControlled(pool, slice: 0, newer))
        #expect(shop.book.control(slot: slot) == newer)
        for version in 1...3 as ClosedRange<UInt32> {
            let older = PoolControl(version: version, terms: PoolTerms())
            #expect(shop.book.decideControl(slot: slot, older) == .known)
            shop.commit(.sliceControlled(pool, slice: 0, older))
            #expect(shop.book.control(slot: slot) == newer)
        }
        #expect(shop.refuses(.sliceControlled(pool, slice: 3, newer)))
    }

    @Test("each transfer of units counts once, in order")
    func crediting() {
        let slot = shop.open(units: 0)
        #expect(shop.book.decideCredit(slot: slot, transfer(slot, 1, 5)) == .take)
        shop.commit(.sliceCredited(transfer(slot, 1, 5)))
        #expect(shop.book.decideCredit(slot: slot, transfer(slot, 1, 5)) == .known)
        shop.commit(.sliceCredited(transfer(slot, 1, 5)))
        #expect(shop.book.holdings(slot: slot) == 5)
        #expect(shop.book.decideCredit(slot: slot, transfer(slot, 3, 5)) == .wait)
        #expect(shop.refuses(.sliceCredited(transfer(slot, 3, 5))))
        var ranges = transfer(slot, 2, 5)
        ranges.ranges = [UnitRange(start: 0, count: 2), UnitRange(start: 0, count: 3)]
        shop.commit(.sliceCredited(ranges))
        #expect(shop.book.totals(slot: slot).credited == 10)
        #expect(shop.book.checkBooks() == nil)
    }

    @Test(
        "malformed transfers are refused",
        arguments: [
            UnitRange(start: 1, count: 1), UnitRange(start: 0, count: 0),
            UnitRange(start: 0, count: -1), UnitRange(start: 0, count: .max),
            UnitRange(start: .min, count: 1),
        ])
    func malformed(range: UnitRange) {
        let slot = shop.open(units: 3)
        var transfer = transfer(slot, 2, 1)
        transfer.ranges = [range]
        #expect(shop.book.decideCredit(slot: slot, transfer) == .error(.badArgument))
        #expect(shop.refuses(.sliceCredited(transfer)))
        transfer.number = 1
        #expect(shop.refuses(.sliceReturned(transfer)))
        var many = transfer
        many.ranges = [UnitRange](repeating: UnitRange(start: 0, count: 1), count: 257)
        #expect(shop.refuses(.sliceReturned(many)))
        var most = transfer
        most.number = 2
        most.ranges = [UnitRange](repeating: UnitRange(start: 0, count: 1 << 60), count: 256)
        #expect(shop.refuses(.sliceCredited(most)))
    }

    @Test("units go back one return at a time, and the last one is sent until it is taken")
    func returning() throws {
        let slot = shop.open(units: 10)
        #expect(shop.book.unacknowledgedReturn(slot: slot) == nil)
        let first = try #require(shop.returning(slot: slot, units: 4))
        #expect(first == transfer(slot, 1, 4))
        shop.commit(.sliceReturned(first))
        #expect(shop.book.totals(slot: slot).returned == 4)
        #expect(shop.book.unacknowledgedReturn(slot: slot) == first)
        #expect(shop.book.returning(slot: slot) == nil)
        shop.commit(.sliceReturned(first))
        #expect(shop.book.holdings(slot: slot) == 6)
        // A restart cannot know whether it was taken, and asks again.
        #expect(shop.replayed().book.unacknowledgedReturn(slot: slot) == first)
        #expect(try shop.reloaded().book.unacknowledgedReturn(slot: slot) == first)
        shop.book.acknowledgeReturn(slot: slot, number: 7)
        #expect(shop.book.unacknowledgedReturn(slot: slot) == first)
        shop.book.acknowledgeReturn(slot: slot, number: 1)
        #expect(shop.book.unacknowledgedReturn(slot: slot) == nil)
        let second = try #require(shop.returning(slot: slot))
        #expect(second == transfer(slot, 2, 6))
        #expect(shop.refuses(.sliceReturned(transfer(slot, 3, 1))))
        #expect(shop.refuses(.sliceReturned(transfer(slot, 2, 7))))
        shop.commit(.sliceReturned(second))
        shop.book.acknowledgeReturn(slot: slot, number: 2)
        #expect(shop.book.returning(slot: slot) == nil)
        #expect(shop.book.checkBooks() == nil)
        #expect(shop.replayed().snapshot() == shop.snapshot())
    }

    @Test("a slice is sealed once it is closing and no reservation is open")
    func sealing() throws {
        let slot = shop.open(units: 10, limit: 5)
        let order = shop.order(slot, 1, 2)
        let paid = shop.order(slot, 2, 3)
        _ = shop.pay(paid, "p")
        #expect(shop.book.canSeal(slot: slot) == false)
        shop.control(slot) { $0.closing = true }
        #expect(shop.book.canSeal(slot: slot) == false)
        #expect(shop.refuses(.sliceReturned(transfer(slot, 1, 5, final: true))))
        // What is free may already go back.
        let early = try #require(shop.returning(slot: slot))
        #expect(early.units == 5 && !early.final)
        shop.commit(.sliceReturned(early))
        shop.nowMs += 1_800_064
        #expect(shop.expire() == [order])
        #expect(shop.book.canSeal(slot: slot) == false)
        shop.book.acknowledgeReturn(slot: slot, number: 1)
        let last = try #require(shop.sealing(slot: slot))
        #expect(last == transfer(slot, 2, 2, final: true))
        #expect(shop.refuses(.sliceReturned(transfer(slot, 2, 1, final: true))))
        shop.commit(.sliceReturned(last))
        #expect(shop.book.isSealed(slot: slot) == true)
        #expect(shop.book.canSeal(slot: slot) == false)
        #expect(shop.book.unacknowledgedReturn(slot: slot) == last)
        #expect(shop.reserve(slot, 9, 1, "a") == .reserve(.closed, StockShop.noOrder, 0))
        // Restocked after that: out of play, for an operator.
        #expect(shop.refund(paid, "x", 300, restock: 2) == .outcome(.refunded))
        let totals = shop.book.totals(slot: slot)
        #expect(totals.held == 0 && totals.quarantined == 2 && totals.granted == 1)
        #expect(shop.book.checkBooks() == nil)
        #expect(shop.replayed().snapshot() == shop.snapshot())
    }

    @Test("an empty slice is sealed by a return of nothing")
    func sealingNothing() throws {
        let slot = shop.open(units: 0)
        shop.control(slot) { $0.closing = true }
        #expect(shop.book.returning(slot: slot) == nil)
        let last = try #require(shop.sealing(slot: slot))
        #expect(last.ranges.isEmpty && last.final)
        shop.commit(.sliceReturned(last))
        #expect(shop.book.isSealed(slot: slot) == true)
    }

    @Test("units that reach a sealed slice can only go back")
    func creditedAfterSeal() throws {
        let slot = shop.open(units: 0)
        shop.control(slot) { $0.closing = true }
        shop.commit(.sliceReturned(try #require(shop.sealing(slot: slot))))
        shop.credit(slot, 4)
        #expect(shop.reserve(slot, 1, 1, "a") == .reserve(.closed, StockShop.noOrder, 0))
        shop.book.acknowledgeReturn(slot: slot, number: 1)
        #expect(shop.book.returning(slot: slot) == transfer(slot, 2, 4))
    }

    @Test("quarantine takes what is held out of play; open holds end as they would")
    func quarantine() {
        let slot = shop.open(units: 10, limit: 5)
        let toPay = shop.order(slot, 1, 1)
        let toCancel = shop.order(slot, 2, 2)
        let late = shop.order(slot, 3, 3)
        shop.nowMs += 1_800_064
        _ = shop.pay(toPay, "p")
        _ = shop.cancel(toCancel)
        #expect(shop.expire() == [late])
        let open = shop.order(slot, 4, 1)
        shop.commit(.sliceQuarantined(shop.book.poolKey(slot: slot), slice: 0))
        #expect(shop.book.isQuarantined(slot: slot) == true)
        #expect(shop.book.totals(slot: slot).quarantined == 8)
        #expect(shop.reserve(slot, 5, 1, "a") == .reserve(.closed, StockShop.noOrder, 0))
        #expect(shop.pay(late, "p", dry: false) == .outcome(.refund))
        #expect(shop.cancel(open) == .outcome(.cancelled))
        shop.credit(slot, 2)
        let totals = shop.book.totals(slot: slot)
        #expect(totals.quarantined == 11 && totals.held == 0 && totals.granted == 1)
        #expect(shop.book.checkBooks() == nil)
        #expect(shop.replayed().snapshot() == shop.snapshot())
    }

    @Test("what is quarantined is sold again once released, or gone once returned")
    func resolve() {
        let slot = shop.open(units: 10, limit: 5)
        let open = shop.order(slot, 1, 2)
        let key = shop.book.poolKey(slot: slot)
        for resolution in Resolution.allCases {
            let may = shop.book.canResolve(slot: slot, resolution)
            #expect(!may)
            let none = EntryHeader(shard: 3, epoch: 1, sequence: 99, timeMs: shop.nowMs)
            let applied = shop.book.apply(
                .sliceResolved(key, slice: 0, resolution, actor: "op"), none)
            #expect(!applied)
        }
        shop.commit(.sliceQuarantined(key, slice: 0))
        var standing = shop.book.standing(slot: slot)
        #expect(standing == SliceStanding(quarantines: 1, isLost: true))
        shop.commit(.sliceResolved(key, slice: 0, .release, actor: "op"))
        #expect(shop.book.totals(slot: slot).held == 8)
        standing = shop.book.standing(slot: slot)
        #expect(standing == SliceStanding(quarantines: 1, isLost: false))
        _ = shop.order(slot, 2, 3)
        shop.commit(.sliceQuarantined(key, slice: 0))
        standing = shop.book.standing(slot: slot)
        #expect(standing == SliceStanding(quarantines: 2, isLost: true))
        #expect(shop.cancel(open) == .outcome(.cancelled))
        shop.commit(.sliceResolved(key, slice: 0, .retire, actor: "op"))
        let totals = shop.book.totals(slot: slot)
        #expect(totals.retired == 7 && totals.quarantined == 0 && totals.held == 0)
        #expect(shop.reserve(slot, 5, 1, "a") == .reserve(.closed, StockShop.noOrder, 0))
        // Lost as it is, it may be let in again, with what comes.
        shop.credit(slot, 4)
        shop.commit(.sliceResolved(key, slice: 0, .release, actor: "op"))
        #expect(shop.book.totals(slot: slot).held == 4)
        #expect(shop.book.checkBooks() == nil)
        #expect(shop.replayed().snapshot() == shop.snapshot())
        let other = StockShop()
        #expect(other.load(shop.snapshot()) == nil)
        standing = other.book.standing(slot: slot)
        #expect(standing == SliceStanding(quarantines: 2, isLost: false))
        #expect(other.snapshot() == shop.snapshot())
    }
}
