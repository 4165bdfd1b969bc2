import EdgeDomain
import EdgeMemory
import EdgeTypes
import Testing

/// splitmix64: the same numbers on every machine.
struct StockRandom {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    mutating func next(below bound: Int) -> Int {
        Int(next().multipliedFullWidth(by: UInt64(bound)).high)
    }
}

/// A book with what surrounds it in the core: decide, journal, apply, answer.
final class StockShop {
    struct Record: Equatable {
        var header: EntryHeader
        var entry: Entry
    }

    /// What a client sees.
    enum Answer: Equatable, CustomStringConvertible {
        case outcome(Outcome)
        case reserve(Outcome, OrderID, UnixMs)
        case needs(Int64)
        /// Only the store knows.
        case archived
        case error(ErrorCode)

        var description: String {
            switch self {
            case .outcome(let outcome): "\(outcome)"
            case .reserve(let outcome, let order, let timeMs): "\(outcome) \(order.text) \(timeMs)"
            case .needs(let units): "needs \(units)"
            case .archived: "archived"
            case .error(let code): "error \(code)"
            }
        }
    }

    static let noOrder = OrderID(rawValue: 0)
    static let startMs: UnixMs = 1_753_000_000_000
    let shard: ShardID
    var book: StockBook
    var journal: [Record] = []
    var nowMs = startMs
    /// Who leads the shard; every restart and every takeover has a later one.
    var epoch: UInt32 = 1
    private var nextSku = 0
    /// Entries before those in `journal`: of a book that was loaded.
    private var journalled = 0

    init(
        shard: ShardID = 3, orderLimit: Int = 1_000_000, ledgerLimit: Int = 1_000_000,
        touchLimit: Int = Limits.touchedOrders
    ) {
        self.shard = shard
        book = StockBook(
            shard: shard, orderLimit: orderLimit, ledgerLimit: ledgerLimit, touchLimit: touchLimit)
    }

    @discardableResult
    func commit(_ entry: Entry, sourceLocation: SourceLocation = #_sourceLocation) -> Bool {
        let header = EntryHeader(
            shard: shard, epoch: epoch, sequence: UInt64(journalled + journal.count + 1),
            timeMs: nowMs)
        let applied = book.apply(entry, header)
        #expect(applied, "\(entry)", sourceLocation: sourceLocation)
        journal.append(Record(header: header, entry: entry))
        return applied
    }

    /// Whether the book refuses an entry, and stays as it was.
    func refuses(_ entry: Entry) -> Bool {
        let before = snapshot()
        let header = EntryHeader(shard: shard, epoch: epoch, sequence: 0, timeMs: nowMs)
        let applied = book.apply(entry, header)
        return !applied && snapshot() == before
    }

    static func definition(
        _ name: String, units: Int64 = 10, price: Fen = 100, holdMs: Int64 = 1_800_000,
        slices: UInt32 = 4, limit: UInt32 = 2
    ) -> PoolDefinition {
        PoolDefinition(
            name: Text64(name), kind: .stock, units: units, amountFen: price, minFen: 0, maxFen: 0,
            holdMs: holdMs, slices: slices,
            regions: [RegionShare(name: "hangzhou", weight: 60)], seed: Bits256(1, 2, 3, 4),
            seedWasGiven: false, commitment: Bits256(5, 6, 7, 8), durability: .journal,
            initial: PoolTerms(limit: limit))
    }

    /// Opens a slice and credits it.
    func open(
        units: Int64 = 10, price: Fen = 100, limit: UInt32 = 2, holdMs: Int64 = 1_800_000,
        opensMs: UnixMs = 0, closesMs: UnixMs = 0, slice: UInt32 = 0
    ) -> Int {
        let definition = Self.definition(
            "sku-\(nextSku)", units: units, price: price, holdMs: holdMs, limit: limit)
        nextSku += 1
        let terms = PoolTerms(opensMs: opensMs, closesMs: closesMs, limit: limit)
        commit(
            .sliceOpened(definition, slice: slice, PoolControl(version: 1, terms: terms)))
        let slot = book.sliceCount - 1
        if units > 0 { credit(slot, units) }
        return slot
    }

    func credit(_ slot: Int, _ units: Int64) {
        commit(.sliceCredited(transfer(slot, book.creditNumber(slot: slot) + 1, units)))
    }

    func transfer(_ slot: Int, _ number: UInt32, _ units: Int64) -> Transfer {
        Transfer(
            pool: book.poolKey(slot: slot), slice: book.sliceNumber(slot: slot), number: number,
            final: false, ranges: [UnitRange(start: 0, count: units)])
    }

    func control(_ slot: Int, _ change: (inout PoolControl) -> Void) {
        var control = book.control(slot: slot)
        control.version += 1
        change(&control)
        commit(
            .sliceControlled(
                book.poolKey(slot: slot), slice: book.sliceNumber(slot: slot), control))
    }

    static func hash(_ request: String) -> UInt64 {
        request.isEmpty ? 0 : Hash64.text(Text64(request))
    }

    func reserve(_ slot: Int, _ user: UserID, _ quantity: Int64, _ request: String) -> Answer {
        let decision = book.decideReserve(
            slot: slot, user: user, quantity: quantity, requestHash: Self.hash(request),
            nowMs: nowMs)
        switch decision {
        case .reserve(let entry):
            commit(.orderReserved(entry))
            return .reserve(.reserved, entry.order, entry.expiresMs)
        case .answer(let outcome, let order, let timeMs): return .reserve(outcome, order, timeMs)
        case .archived: return .archived
        case .error(let code): return .error(code)
        }
    }

    /// Reserves, and expects it to succeed.
    func order(
        _ slot: Int, _ user: UserID = 1, _ quantity: Int64 = 1, _ request: String = "r",
        sourceLocation: SourceLocation = #_sourceLocation
    ) -> OrderID {
        if case .reserve(.reserved, let order, _) = reserve(slot, user, quantity, request) {
            return order
        }
        Issue.record("not reserved", sourceLocation: sourceLocation)
        return Self.noOrder
    }

    /// - Parameter recalled: what the store says, of an archived order.
    func pay(
        _ order: OrderID, _ payment: String, _ fen: Fen = -1, dry: Bool = true,
        recalled: RecalledOrder? = nil
    ) -> Answer {
        let decision: PayDecision
        if let recalled, book.place(of: order) == .archived {
            guard book.believes(recalled, order) else { return .error(.tryAgain) }
            decision = book.decidePay(
                recalled, order: order, payment: Text64(payment), amountFen: fen)
        } else {
            decision = book.decidePay(
                order: order, payment: Text64(payment), amountFen: fen, nowMs: nowMs,
                treasuryIsDry: dry)
        }
        switch decision {
        case .pay(let entry):
            commit(.orderPaid(entry))
            return .outcome(entry.late ? .late : .paid)
        case .refuse(let entry):
            commit(.paymentRefused(entry))
            return .outcome(.refund)
        case .answer(let outcome): return .outcome(outcome)
        case .needsUnits(let units): return .needs(units)
        case .error(let code): return .error(code)
        }
    }

    func cancel(_ order: OrderID) -> Answer {
        switch book.decideCancel(order: order, nowMs: nowMs) {
        case .cancel(let order):
            commit(.orderCancelled(order))
            return .outcome(.cancelled)
        case .answer(let outcome): return .outcome(outcome)
        case .error(let code): return .error(code)
        }
    }

    func refund(
        _ order: OrderID, _ request: String, _ fen: Fen, restock: Int64 = 0,
        recalled: RecalledOrder? = nil
    ) -> Answer {
        let decision: RefundDecision
        if let recalled, book.place(of: order) == .archived {
            guard book.believes(recalled, order) else { return .error(.tryAgain) }
            decision = book.decideRefund(
                recalled, order: order, request: Text64(request), amountFen: fen, restock: restock)
        } else {
            decision = book.decideRefund(
                order: order, request: Text64(request), amountFen: fen, restock: restock)
        }
        switch decision {
        case .refund(let entry):
            commit(.orderRefunded(entry))
            return .outcome(.refunded)
        case .answer(let outcome): return .outcome(outcome)
        case .error(let code): return .error(code)
        }
    }

    /// Lets the time come and expires what is due.
    @discardableResult
    func expire() -> [OrderID] {
        var expired: [OrderID] = []
        while true {
            if let order = book.nextExpired(nowMs: nowMs) {
                commit(.orderExpired(order))
                expired.append(order)
            } else if book.nextDeadlineMs > nowMs {
                return expired
            }
        }
    }

    func state(_ order: OrderID) -> OrderState? { book.state(of: order) }

    func units(_ slot: Int) -> [Int64] {
        let totals = book.totals(slot: slot)
        return [totals.held, totals.pending, totals.granted]
    }

    func returning(slot: Int, units: Int64? = nil) -> Transfer? {
        book.returning(slot: slot, units: units)
    }

    func sealing(slot: Int) -> Transfer? { book.sealing(slot: slot) }

    func snapshot(isPlain: Bool = false) -> [UInt8] {
        var sink = ByteSink()
        book.writeSnapshot(into: &sink, isPlain: isPlain)
        return Array(sink.bytes)
    }

    /// Closes a slice for good: nothing of it may be open.
    func close(_ slot: Int) {
        control(slot) { $0.closing = true }
        guard let transfer = book.sealing(slot: slot) else {
            Issue.record("slot \(slot) cannot be sealed")
            return
        }
        commit(.sliceReturned(transfer))
        book.acknowledgeReturn(slot: slot, number: transfer.number)
    }

    func archived(_ slot: Int) -> Entry {
        .sliceArchived(book.poolKey(slot: slot), slice: book.sliceNumber(slot: slot), first: 0)
    }

    func archive(_ slot: Int) { commit(archived(slot)) }

    /// The same book again from the journal alone.
    func replayed() -> StockShop {
        let again = StockShop(shard: shard)
        for record in journal {
            let applied = again.book.apply(record.entry, record.header)
            #expect(applied, "\(record.entry)")
        }
        again.journal = journal
        again.nextSku = nextSku
        again.nowMs = nowMs
        return again
    }

    /// Loads a snapshot over the book; nil where that went well.
    func load(_ bytes: [UInt8], sequence: UInt64 = 1 << 40) -> StockSnapshotError? {
        bytes.withUnsafeBytes { bytes -> StockSnapshotError? in
            do throws(StockSnapshotError) {
                try book.loadSnapshot(bytes, sequence: sequence)
                return nil
            } catch {
                return error
            }
        }
    }

    /// The same book again from its snapshot.
    func reloaded() throws -> StockShop {
        let again = StockShop(shard: shard)
        again.journalled = journalled + journal.count
        if let failure = again.load(snapshot(), sequence: UInt64(again.journalled)) {
            throw failure
        }
        again.nowMs = nowMs
        again.nextSku = nextSku
        return again
    }
}
