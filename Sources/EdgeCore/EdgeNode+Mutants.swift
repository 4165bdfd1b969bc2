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
        _ decision: GrabDecision, _ slot: Int, requestHash: UInt64
    ) -> GrabDecision {
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
