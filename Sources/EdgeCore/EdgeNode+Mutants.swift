import EdgeCluster
import EdgeDomain
import EdgeMemory
import EdgeTypes

/// The built-in bugs of the core. Off but where a simulator says otherwise: each place that asks
/// costs a compare of a byte that is in the cache.
extension EdgeNode {
    @inline(__always)
    func has(_ mutant: Mutant) -> Bool { configuration.mutant == mutant }

    @inline(never)
    mutating func mutated(
        _ decision: GrabDecision, _ slot: Int, _ user: UserID, requestHash: UInt64,
        nowMs: UnixMs
    ) -> GrabDecision {
        let terms = slices[slot].control.terms
        switch (configuration.mutant, decision) {
        case (.soldOutEarly, .grant) where slices[slot].books.held == 1:
            return .refuse(.soldOut, timeMs: 0)
        case (.limitEarly, .grant)
        where terms.limit > 1 && slices[slot].claims(of: user).count + 1 == Int(terms.limit):
            return .refuse(.limit, timeMs: 0)
        case (.earlyTooLong, .grant) where terms.opensMs != 0 && nowMs < terms.opensMs + 500:
            return .refuse(.early, timeMs: terms.opensMs)
        case (.closedTooSoon, .grant) where terms.closesMs != 0 && nowMs >= terms.closesMs - 500:
            return .refuse(.closed, timeMs: terms.closesMs)
        case (.latestAfterLimitOne, .repeat)
        where terms.limit > 1 && pools[slices[slot].poolIndex].definition.initial.limit == 1:
            return slices[slot].claims(of: user).last.map { .repeat(position: $0) } ?? decision
        default: break
        }
        guard slices[slot].holdsPackets else { return decision }
        let grant = GrabDecision.grant(packet: slices[slot].headPacket)
        switch (configuration.mutant, decision) {
        case (.dedupOff, .repeat) where requestHash == 0: return grant
        case (.requestForgotten, .repeat) where requestHash != 0: return grant
        case (.repeatOfAnother, .repeat(let position)):
            return .repeat(position: max(0, position - 1))
        case (.limitIgnored, .refuse(.limit, _)): return grant
        case (.grantsAfterClose, .refuse(.closed, _)): return grant
        case (.grantsBeforeOpening, .refuse(.early, _)): return grant
        case (.grantsWhilePaused, .refuse(.paused, _)): return grant
        case (.grantsQuarantined, .refuse(.lost, _)): return grant
        default: return decision
        }
    }

    /// - Parameter local: the shard of the slice.
    @inline(never)
    mutating func mutated(
        _ decision: ReserveDecision, _ request: Request, _ local: Int, _ slot: Int, nowMs: UnixMs
    ) -> ReserveDecision {
        switch (configuration.mutant, decision) {
        case (.reserveForgotten, .answer(.repeat, _, _)):
            return books[local].decideReserve(
                slot: slot, user: request.user, quantity: request.quantity,
                requestHash: Hash64.mix(request.requestHash, shards[local].sequence), nowMs: nowMs)
        case (.stockClosesLate, .answer(.closed, _, _))
        where !books[local].control(slot: slot).closing:
            let closesMs = books[local].control(slot: slot).terms.closesMs
            let earlier = books[local].decideReserve(
                slot: slot, user: request.user, quantity: request.quantity,
                requestHash: request.requestHash, nowMs: closesMs - 1)
            guard case .reserve(var entry) = earlier else { return earlier }
            entry.expiresMs += nowMs - (closesMs - 1)
            return .reserve(entry)
        case (.soldOutEarly, .reserve)
        where books[local].totals(slot: slot).held == request.quantity:
            return .answer(.soldOut, order: OrderID(rawValue: 0), timeMs: 0)
        case (.reserveLimitIgnored, .answer(.limit, _, _)), (.oversell, .answer(.soldOut, _, _)):
            return .reserve(
                books[local].reserveAnyway(
                    slot: slot, user: request.user, quantity: request.quantity,
                    requestHash: request.requestHash, nowMs: nowMs))
        default: return decision
        }
    }

    @inline(never)
    func mutated(_ decision: PayDecision, isPaid: Bool) -> PayDecision {
        switch (configuration.mutant, decision) {
        case (.paymentForgotten, .answer(.repeat)): return .answer(.refund)
        case (.secondPaymentPaid, .refuse) where isPaid: return .answer(.paid)
        case (.latePaymentRefused, .pay(let entry)) where entry.late:
            return .refuse(
                PaymentRefused(
                    order: entry.order, payment: entry.payment, amountFen: entry.amountFen))
        case (.refundDueDropped, .refuse): return .answer(.refund)
        case (.latePaymentNotJournaled, .pay(let entry)) where entry.late: return .answer(.late)
        default: return decision
        }
    }

    /// A repeated refund under another id.
    @inline(never)
    func mutated(_ decision: RefundDecision, _ request: Request, _ local: Int) -> RefundDecision {
        guard has(.refundTwice), case .answer(.repeat) = decision else { return decision }
        return books[local].decideRefund(
            order: request.order, request: Text64("again-\(shards[local].sequence)"),
            amountFen: request.amountFen, restock: request.quantity)
    }

    /// What a rain's slice makes of a change, whatever the journal says of it.
    @inline(never)
    func mutated(_ control: PoolControl, _ known: PoolControl) -> PoolControl {
        var control = control
        switch configuration.mutant {
        case .limitNeverLowered:
            control.terms.limit = max(control.terms.limit, known.terms.limit)
        case .pausedForGood: control.paused = control.paused || known.paused
        default: break
        }
        return control
    }

    /// The units of an order, once more.
    @inline(never)
    mutating func conjureUnits(of order: OrderID, _ local: Int) {
        guard let info = books[local].info(order), let slot = books[local].slot(of: order) else {
            return
        }
        books[local].conjure(Int64(info.quantity), slot: slot)
    }

    /// Forgets the shards' times.
    @inline(never)
    mutating func forgetTimes() {
        for index in 0..<shards.count { shards[index].timeMs = 0 }
    }
}
