import EdgeCluster
import EdgeDomain
import EdgeLedger
import EdgeMemory
import EdgeTypes

/// The archive of closed SKUs: as of rains, see `EdgeNode+Archive.swift`.
///
/// A slice of a SKU archives itself where it is sealed, its home has taken its last return, nothing
/// of it is quarantined, the store has the shard up to the last entry about it, and
/// `archiveOrdersAfterMs` have gone by since that. What a request about its orders needs is asked of
/// the store by the shell at the client's node. A payment or a refund comes back from there with
/// what the store says (`RecalledOrder`), and is decided here if nothing has happened to the order
/// since: see `StockBook+Archive.swift`.
extension EdgeNode {
    var archivesOrders: Bool { configuration.archiveOrdersAfterMs != .max }

    // MARK: Leaving

    /// Bounded as `archiveSome`.
    ///
    /// - Returns: whether all slices were looked at.
    mutating func archiveSomeOrders(into effects: inout EffectBuffer) -> Bool {
        guard archivesOrders else { return true }
        var looked = 0
        var archived = 0
        while archive.book < books.count {
            let local = archive.book
            while archive.bookSlot < books[local].sliceCount {
                guard looked < Archive.looksPerStep, archived < Archive.slicesPerStep else {
                    return false
                }
                let slot = archive.bookSlot
                archive.bookSlot += 1
                looked += 1
                guard isReady(local, slot) else { continue }
                archived += 1
                archiveOrders(local, slot, into: &effects)
            }
            archive.book += 1
            archive.bookSlot = 0
        }
        archive.book = 0
        return true
    }

    private func isReady(_ local: Int, _ slot: Int) -> Bool {
        guard shards[local].isServing, isLeased(shards[local].id, current),
            let pool = pools.find(books[local].poolKey(slot: slot))
        else { return false }
        if has(.archivedOrderOpen) {
            return !books[local].isArchived(slot: slot) && books[local].openOrders(slot: slot) > 0
        }
        guard books[local].canArchive(slot: slot),
            books[local].isReturnTaken(slot: slot) || pools[pool].isClosed,
            archive.stored[local] >= books[local].touchedAt(slot: slot)
                || has(.archivedOrdersUnstored)
        else { return false }
        let nowMs = max(shards[local].timeMs, current.wallMs)
        return nowMs - books[local].touchedMs(slot: slot) >= configuration.archiveOrdersAfterMs
    }

    private mutating func archiveOrders(
        _ local: Int, _ slot: Int, into effects: inout EffectBuffer
    ) {
        let entry = Entry.sliceArchived(
            books[local].poolKey(slot: slot), slice: books[local].sliceNumber(slot: slot), first: 0)
        let held = books[local].orders(slot: slot)
        let header = journal(entry, shards[local].id, now: current, into: &effects)
        if has(.archivedOrderOpen) {
            books[local].archiveAnyway(slot: slot)
        } else {
            let applied = books[local].apply(entry, header)
            precondition(applied, "a slice that can be archived is not")
        }
        archivedOrders(local, slot, held)
    }

    /// A slice's orders have left its book.
    mutating func archivedOrders(_ local: Int, _ slot: Int, _ held: Int) {
        counters.archivedSlices &+= 1
        counters.archivedOrders &+= UInt64(held)
        // The home has taken what it gave back, whoever has heard that.
        unconfirmed.returnTaken(
            books[local].poolKey(slot: slot), books[local].sliceNumber(slot: slot),
            books[local].returnNumber(slot: slot))
        unconfirmed.isStale = true
        guard books[local].isWorthCompacting,
            !archive.sparse.contains(where: { $0.local == local })
        else { return }
        let waitNs = shards[local].isServing ? 0 : Archive.followersWaitNs
        archive.sparse.append(SparseBook(local: local, dueNs: current.monotonicNs &+ waitNs))
        archive.isDue(current)
    }

    /// Compacts one book, if it is time for one.
    ///
    /// Who asks this core waits meanwhile: see `StockBook.compact` for how long. So it is not done at
    /// the same time where the shard is served and where it is followed, for one book after another
    /// only with a rest between them, and where it would take longer than others wait for a sign of
    /// life, at the next start instead (`compactAll`) or once the memory is needed.
    mutating func compactOne() {
        let nowNs = current.monotonicNs
        guard nowNs >= archive.restsUntilNs,
            let next = archive.sparse.firstIndex(where: { $0.dueNs <= nowNs })
        else { return }
        let local = archive.sparse.remove(at: next).local
        let isShort = books[local].liveOrders <= Archive.mostMoved
        guard books[local].isWorthCompacting, isShort || books[local].isFullOfArchived else {
            return
        }
        archive.restsUntilNs = nowNs &+ Archive.restNs
        compact(local)
    }

    /// Compacts all books that are worth it. At a start, when nobody waits for answers.
    public mutating func compactAll() {
        archive.sparse.removeAll()
        for local in 0..<books.count where books[local].isWorthCompacting { compact(local) }
    }

    private mutating func compact(_ local: Int) {
        // Filters are made of orders by their position.
        told.drop { $0.isStock && $0.local == local }
        books[local].compact(
            forgetsOne: has(.compactionForgets), reusesNumbers: has(.numbersReused))
        holdsChanged = true
        counters.compactions &+= 1
    }

    // MARK: Asking the store

    /// A request for an archived slice of a SKU: its orders, or a reservation.
    @inline(never)
    mutating func askArchive(
        _ request: Request, stock slot: Int, _ local: Int, into effects: inout EffectBuffer
    ) {
        if request.operation == .reserve, request.requestHash == 0 || has(.archivedRepeatClosed) {
            counters.orders[Int(Outcome.closed.rawValue)] &+= 1
            return effects.replies.append(
                Reply(ticket: request.ticket, shape: .reserve, outcome: .closed))
        }
        ask(
            ArchivedOrders(
                request, sku: books[local].definition(slot: slot).name,
                slice: books[local].sliceNumber(slot: slot),
                last: EntryID.of(
                    shard: shards[local].id, sequence: books[local].touchedAt(slot: slot))),
            request.ticket, into: &effects)
    }

    /// A request about an order that has left memory.
    @inline(never)
    mutating func archivedOrder(
        _ request: Request, _ payload: Payload?, _ local: Int, now: Instant,
        into effects: inout EffectBuffer
    ) {
        var text = Text64()
        if case .text(let given) = payload { text = given }
        if case .recalled(let given, var recalled) = payload {
            if has(.recalledLosesPayment), recalled.known == .bought { recalled.known = .new }
            if books[local].believes(recalled, request.order) || has(.recalledStale) {
                return decide(request, given, recalled, local, now: now, into: &effects)
            }
            if books[local].touchedAt(order: request.order) <= recalled.asOf {
                // It is not older: memory and store contradict each other.
                return effects.fail(
                    request.ticket, .tryAgain, "the store and memory differ about the order")
            }
            // Whoever asks again now is told of the entry that came in between, once the store has it.
            counters.recalledStale &+= 1
            return effects.fail(request.ticket, .tryAgain, "the order has just changed")
        }
        ask(
            ArchivedOrders(
                request, text: text,
                last: EntryID.of(
                    shard: shards[local].id,
                    sequence: books[local].touchedAt(order: request.order))),
            request.ticket, into: &effects)
    }

    private mutating func ask(
        _ question: ArchivedOrders, _ ticket: Ticket, into effects: inout EffectBuffer
    ) {
        counters.archivedQuestions &+= 1
        effects.replies.append(
            Reply(
                ticket: ticket, shape: .archived, outcome: .closed, waitsForJournal: false,
                body: Int32(effects.bodies.count)))
        effects.bodies.append(question.value)
    }

    // MARK: Deciding

    private mutating func decide(
        _ request: Request, _ text: Text64, _ recalled: RecalledOrder, _ local: Int,
        now: Instant, into effects: inout EffectBuffer
    ) {
        counters.recalledOrders &+= 1
        if has(.evictionForgets) { books[local].forgetOldestTouch() }
        if request.operation == .orderPay {
            let decision = books[local].decidePay(
                recalled, order: request.order, payment: text, amountFen: request.amountFen)
            switch decision {
            case .refuse(let entry):
                apply(.paymentRefused(entry), local, now: now, into: &effects)
                answer(request, .refund, into: &effects)
            case .answer(let outcome): answer(request, outcome, into: &effects)
            case .error(let code): fail(request, code, into: &effects)
            case .pay, .needsUnits: preconditionFailure("an archived order is bought")
            }
            return
        }
        let decision = books[local].decideRefund(
            recalled, order: request.order, request: text, amountFen: request.amountFen,
            restock: request.quantity)
        switch decision {
        case .refund(let entry):
            apply(.orderRefunded(entry), local, now: now, into: &effects)
            answer(request, .refunded, into: &effects)
        case .answer(let outcome): answer(request, outcome, into: &effects)
        case .error(let code): fail(request, code, into: &effects)
        }
    }

    // MARK: For simulators

    /// Orders that this core holds of a SKU's slice, and whether they have left it; nil: the slice
    /// is not here.
    public func orders(ofSlice slice: UInt32, _ key: PoolKey) -> (held: Int, isArchived: Bool)? {
        guard let pool = pools.find(key), pools[pool].definition.kind == .stock,
            let slot = pools[pool].held(slice)
        else { return nil }
        let shard = placement.shard(of: key, slice: slice)
        guard placement.core(of: shard) == configuration.core else { return nil }
        let local = placement.localIndex(of: shard)
        return (books[local].orders(slot: slot), books[local].isArchived(slot: slot))
    }

    /// Orders in the memory of a shard's book, archived or not; the bytes of its tables; and whether
    /// it is about to be compacted.
    public func bookSize(of shard: ShardID) -> (orders: Int, bytes: Int, isSparse: Bool) {
        let local = placement.localIndex(of: shard)
        return (
            books[local].loggedOrders, books[local].counts.allocatedBytes,
            archive.sparse.contains { $0.local == local }
        )
    }
}
