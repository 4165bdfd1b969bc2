import EdgeCluster
import EdgeDomain
import EdgeLedger
import EdgeMemory
import EdgeTypes
import EdgeWire

extension EdgeNode {
    /// One reservation, from request to reply: decide, journal, apply.
    mutating func reserve(
        _ request: Request, now: Instant, isFull: Bool, into effects: inout EffectBuffer
    ) {
        guard let place = stockPlace(request, now, into: &effects) else { return }
        let (local, slot) = place
        let nowMs = max(now.wallMs, shards[local].timeMs)
        var decision = books[local].decideReserve(
            slot: slot, user: request.user, quantity: request.quantity,
            requestHash: request.requestHash, nowMs: nowMs)
        if configuration.mutant != .none {
            decision = mutated(decision, request, local, slot, nowMs: nowMs)
        }
        switch decision {
        case .reserve where awaitsDoors(local, slot):
            queue(
                request, nil, units: request.quantity, stock: slot, local, into: &effects)
        case .reserve(var entry):
            if isFull { return refuseFull(request.ticket, true, into: &effects) }
            told.forget(local, slot)
            if has(.holdHalved) { entry.expiresMs -= (entry.expiresMs - nowMs) / 2 }
            let toldMs = entry.expiresMs
            if has(.holdCutShort) { entry.expiresMs -= (toldMs - nowMs) / 2 }
            apply(.orderReserved(entry), local, now: now, into: &effects)
            counters.orders[Int(Outcome.reserved.rawValue)] &+= 1
            effects.replies.append(
                Reply(
                    ticket: request.ticket, shape: .reserve, outcome: .reserved,
                    timeMs: toldMs, order: entry.order))
            ranLow(stock: slot, local, into: &effects)
        case .answer(.soldOut, _, _)
        where mayGetMore(stock: slot, local, units: request.quantity):
            queue(
                request, nil, units: request.quantity, stock: slot, local, into: &effects)
        case .answer(let outcome, let order, let timeMs):
            counters.orders[Int(outcome.rawValue)] &+= 1
            effects.replies.append(
                Reply(
                    ticket: request.ticket, shape: .reserve, outcome: outcome, timeMs: timeMs,
                    order: order))
            if outcome == .soldOut { seekCertificate(stock: slot, local, into: &effects) }
        case .archived: askArchive(request, stock: slot, local, into: &effects)
        case .error(let code): fail(request, code, into: &effects)
        }
    }

    /// Where a request's SKU slice is; answers or forwards the request where it is not here.
    private mutating func stockPlace(
        _ request: Request, _ now: Instant, into effects: inout EffectBuffer
    ) -> (local: Int, slot: Int)? {
        guard let pool = pools.find(request.pool) else {
            if isElsewhere(homeOf: request.pool) {
                forward(request, nil, to: placement.home(of: request.pool), into: &effects)
            } else if !isLeased(placement.home(of: request.pool), now) {
                refuseUnleased(request.ticket, into: &effects)
            } else {
                effects.fail(request.ticket, .noStock, "no such SKU")
            }
            return nil
        }
        guard let slice = pools[pool].map.slice(of: request.user, region: request.region) else {
            effects.fail(request.ticket, .badArgument, "no such region")
            return nil
        }
        let shard = placement.shard(of: request.pool, slice: slice)
        guard isLocal(shard) else {
            if isRefusedAtDoor(request, into: &effects) { return nil }
            forward(request, nil, to: shard, into: &effects)
            return nil
        }
        guard isLeased(shard, now) else {
            refuseUnleased(request.ticket, into: &effects)
            return nil
        }
        let slot = Int(pools[pool].slots[Int(slice)])
        guard slot >= 0 else {
            effects.fail(request.ticket, .tryAgain, "the SKU is being set up")
            return nil
        }
        return (placement.localIndex(of: shard), slot)
    }

    /// Payments, cancellations, refunds and look-ups of one order.
    mutating func order(
        _ request: Request, _ payload: Payload?, now: Instant, into effects: inout EffectBuffer
    ) {
        let shard = request.order.shard
        guard request.order.isWellFormed, Int(shard) < placement.shards else {
            return fail(request, .noOrder, into: &effects)
        }
        guard isLocal(shard) else {
            return forward(request, payload, to: shard, into: &effects)
        }
        guard isLeased(shard, now) else { return refuseUnleased(request.ticket, into: &effects) }
        let local = placement.localIndex(of: shard)
        if books[local].place(of: request.order) == .archived {
            return archivedOrder(request, payload, local, now: now, into: &effects)
        }
        guard let owner = books[local].owner(of: request.order),
            !request.ownOnly || owner == request.user
        else { return fail(request, .noOrder, into: &effects) }
        var text = Text64()
        if case .text(let given) = payload { text = given }
        if case .recalled(let given, _) = payload { text = given }
        switch request.operation {
        case .orderPay: pay(request, text, local, now: now, into: &effects)
        case .orderCancel: cancel(request, local, now: now, into: &effects)
        case .orderRefund: refund(request, text, local, now: now, into: &effects)
        default: info(request, local, into: &effects)
        }
    }

    private mutating func pay(
        _ request: Request, _ payment: Text64, _ local: Int, now: Instant,
        into effects: inout EffectBuffer
    ) {
        let nowMs = max(now.wallMs, shards[local].timeMs)
        let isDry = !mayGetMore(of: request.order, local)
        var decision = books[local].decidePay(
            order: request.order, payment: payment,
            amountFen: has(.mismatchPaid) ? -1 : request.amountFen, nowMs: nowMs,
            treasuryIsDry: isDry)
        if configuration.mutant != .none {
            decision = mutated(
                decision, isPaid: books[local].info(request.order)?.state == .paid)
        }
        switch decision {
        case .pay(let entry):
            apply(.orderPaid(entry), local, now: now, into: &effects)
            if has(.latePaymentTakesNothing), entry.late { conjureUnits(of: request.order, local) }
            answer(request, entry.late ? .late : .paid, into: &effects)
            sealIfDone(local, request.order, now: now, into: &effects)
        case .refuse(let entry):
            apply(.paymentRefused(entry), local, now: now, into: &effects)
            answer(request, .refund, into: &effects)
        case .answer(let outcome): answer(request, outcome, into: &effects)
        case .needsUnits(let units):
            guard let slot = books[local].slot(of: request.order) else {
                preconditionFailure("an order without its slice")
            }
            queue(
                request, .text(payment), units: books[local].holdings(slot: slot) + units,
                stock: slot, local, into: &effects)
        case .error(let code): fail(request, code, into: &effects)
        }
    }

    /// Whether units may be found for an order that has lost its own.
    private func mayGetMore(of order: OrderID, _ local: Int) -> Bool {
        guard let info = books[local].info(order), info.state == .expired,
            let slot = books[local].slot(of: order)
        else { return false }
        return mayGetMore(stock: slot, local, units: Int64(info.quantity))
    }

    private mutating func cancel(
        _ request: Request, _ local: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        let nowMs = max(now.wallMs, shards[local].timeMs)
        switch books[local].decideCancel(order: request.order, nowMs: nowMs) {
        case .cancel where has(.cancelNotJournaled):
            answer(request, .cancelled, into: &effects)
        case .cancel(let order):
            apply(.orderCancelled(order), local, now: now, into: &effects)
            if has(.cancelReturnsTwice) { conjureUnits(of: order, local) }
            answer(request, .cancelled, into: &effects)
            sealIfDone(local, order, now: now, into: &effects)
            freed(order, local, into: &effects)
        case .answer(let outcome):
            answer(request, has(.cancelsPaid) ? .cancelled : outcome, into: &effects)
        case .error(let code): fail(request, code, into: &effects)
        }
    }

    private mutating func refund(
        _ request: Request, _ id: Text64, _ local: Int, now: Instant,
        into effects: inout EffectBuffer
    ) {
        var request = request
        if has(.restocksLess), request.amountFen > 0 {
            request.quantity = max(0, request.quantity - 1)
        }
        var decision = books[local].decideRefund(
            order: request.order, request: id, amountFen: request.amountFen,
            restock: request.quantity)
        if configuration.mutant != .none { decision = mutated(decision, request, local) }
        switch decision {
        case .refund(let entry):
            apply(.orderRefunded(entry), local, now: now, into: &effects)
            if has(.restockTwice), let slot = books[local].slot(of: request.order) {
                books[local].conjure(Int64(entry.restock), slot: slot)
            }
            answer(request, .refunded, into: &effects)
            freed(request.order, local, into: &effects)
        case .answer(let outcome): answer(request, outcome, into: &effects)
        case .error(let code): fail(request, code, into: &effects)
        }
    }

    private mutating func info(
        _ request: Request, _ local: Int, into effects: inout EffectBuffer
    ) {
        guard let info = books[local].info(request.order) else {
            return fail(request, .noOrder, into: &effects)
        }
        effects.answer(
            request.ticket,
            OrderAnswers.info(
                request.order, state: "\(info.state)", sku: info.sku, user: info.user,
                quantity: info.quantity, priceFen: info.priceFen, expiresMs: info.expiresMs,
                payment: info.payment, refundedFen: info.refundedFen,
                restocked: info.restocked))
    }

    /// A user's orders of a SKU.
    mutating func orders(_ request: Request, now: Instant, into effects: inout EffectBuffer) {
        guard let (local, slot) = stockPlace(request, now, into: &effects) else { return }
        if books[local].isArchived(slot: slot) {
            return askArchive(request, stock: slot, local, into: &effects)
        }
        var rows = books[local].orders(slot: slot, user: request.user)
        if has(.ordersOfAnother) { rows = rows.dropLast() }
        effects.answer(
            request.ticket,
            .array(
                rows.map { row in
                    OrderAnswers.row(row.order, "\(row.state)", row.quantity, row.expiresMs)
                }))
    }

    mutating func expireOrders(_ local: Int, now: Instant, into effects: inout EffectBuffer) {
        for _ in 0..<Self.expiriesPerStep {
            guard let order = books[local].nextExpired(nowMs: now.wallMs) else { return }
            apply(.orderExpired(order), local, now: now, into: &effects)
            if has(.expiryReturnsTwice) { conjureUnits(of: order, local) }
            counters.expiredOrders &+= 1
            sealIfDone(local, order, now: now, into: &effects)
            freed(order, local, into: &effects)
        }
    }

    /// An order has given units back: those who wait for some take them.
    private mutating func freed(
        _ order: OrderID, _ local: Int, into effects: inout EffectBuffer
    ) {
        guard let slot = books[local].slot(of: order) else { return }
        freed(local, slot, into: &effects)
    }

    mutating func apply(
        _ entry: Entry, _ local: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        let header = journal(entry, shards[local].id, now: now, into: &effects)
        let applied = books[local].apply(entry, header)
        holdsChanged = true
        precondition(applied, "an entry that was just decided does not apply")
    }

    /// A closing slice whose last reservation ended gives back what it holds.
    private mutating func sealIfDone(
        _ local: Int, _ order: OrderID, now: Instant, into effects: inout EffectBuffer
    ) {
        guard let slot = books[local].slot(of: order), books[local].canSeal(slot: slot) else {
            return
        }
        sealStock(local, slot, now: now, into: &effects)
    }

    mutating func answer(
        _ request: Request, _ outcome: Outcome, into effects: inout EffectBuffer
    ) {
        counters.orders[Int(outcome.rawValue)] &+= 1
        effects.replies.append(
            Reply(ticket: request.ticket, shape: .outcome, outcome: outcome))
    }

    mutating func fail(
        _ request: Request, _ code: ErrorCode, into effects: inout EffectBuffer
    ) {
        counters.errors &+= 1
        let detail: String
        switch code {
        case .noRain: detail = "no such rain"
        case .noStock: detail = "no such SKU"
        case .noOrder: detail = "no such order"
        case .exists: detail = "it exists with other values"
        case .badArgument: detail = Self.badArgument(request.operation)
        case .mismatch: detail = Self.mismatch(request.operation)
        case .noPermission: detail = "not permitted"
        case .tryAgain: detail = "nothing was applied; retry the same"
        case .unknown: detail = "perhaps applied; retry with the same request id"
        case .throttled: detail = "too many requests"
        case .full: detail = "a limit was reached; nothing was applied"
        }
        effects.fail(request.ticket, code, detail)
    }

    private static func badArgument(_ operation: Operation) -> String {
        switch operation {
        case .reserve: "qty must be 1 to \(Limits.unitsPerOrder)"
        case .orderRefund: "more than was paid or sold, or nothing at all"
        default: "bad argument"
        }
    }

    private static func mismatch(_ operation: Operation) -> String {
        switch operation {
        case .orderPay: "the amount is not quantity x price"
        default: "the same request id came with other values before"
        }
    }
}
