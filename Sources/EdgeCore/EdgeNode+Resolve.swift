import EdgeCluster
import EdgeDomain
import EdgeMemory
import EdgeTypes

/// What an operator wants to become of a pool's quarantined units.
struct Decision: Sendable {
    var resolution: Resolution
    var requestHash: UInt64
    var actor: Text64

    /// What the pool remembers under the request's id: whether every slice has done it is its
    /// lowest bit.
    func value(isDone: Bool) -> Int64 {
        let hash = Hash64.mix(0x7265_736f_6c76_6521, UInt64(resolution.rawValue))
        return Int64(bitPattern: hash & ~1 | (isDone ? 1 : 0))
    }
}

/// A slice whose units are quarantined, as it has told.
struct QuarantinedSlice: Sendable {
    var slice: UInt32
    var quarantines: UInt32
}

/// A decision on its way: the slices that have not done it.
struct PendingDecision: Sendable {
    var id: UInt64
    var ticket: Ticket
    var treasury: Int
    var sinceNs: UInt64
    var decision: Decision
    var slices: [QuarantinedSlice]
}

/// Quarantined units: what a crash may have granted without a trace stays out of play until an
/// operator decides. At a pool's home the slices are asked first, so that a decision is about the
/// crashes that have happened: one that comes later is not meant, however late a frame arrives.
///
/// `release` puts a slice back in play with all it had: its users are served again, and hear of
/// claims that survived. Where somebody was told of a claim that did not, the packet may be granted
/// to somebody else, and that user may be granted another. `retire` takes the units out of the pool
/// for good, for whoever funded it; the slice stays out of play, and what comes to it later is
/// quarantined anew. A pool that closes leaves what is quarantined where it is; from then on it can
/// only be retired.
extension EdgeNode {
    mutating func decide(
        _ request: Request, _ payload: Payload?, _ treasury: Int, now: Instant,
        into effects: inout EffectBuffer
    ) {
        guard let resolution = UInt8(exactly: request.quantity).flatMap(Resolution.init),
            request.requestHash != 0
        else {
            return effects.fail(
                request.ticket, .badArgument, "RELEASE or RETURN, and a request id, are required")
        }
        var actor = Text64()
        if case .actor(let name) = payload { actor = name }
        let decision = Decision(
            resolution: resolution, requestHash: request.requestHash, actor: actor)
        let isPending =
            inquiries.contains {
                $0.treasury == treasury && $0.decision?.requestHash == request.requestHash
            }
            || decisions.contains {
                $0.treasury == treasury && $0.decision.requestHash == request.requestHash
            }
        if isPending {
            return effects.fail(request.ticket, .tryAgain, "the same request is under way")
        }
        if let seen = treasuries[treasury].request(request.requestHash) {
            if seen.value == decision.value(isDone: true) {
                return effects.replies.append(
                    Reply(ticket: request.ticket, shape: .ok, stream: operatorStream))
            }
            // One whose home was gone before every slice had done it is decided once more: about
            // what is quarantined by now.
            guard seen.value == decision.value(isDone: false) else {
                return fail(request, .mismatch, into: &effects)
            }
        } else {
            if let problem = problem(decision, treasury) {
                return effects.fail(request.ticket, .badArgument, problem)
            }
            guard treasuries[treasury].operatorRequests.count < Limits.operatorRequestsPerPool
            else { return effects.fail(request.ticket, .full, "too many changes of one pool") }
        }
        inquire(request.ticket, treasury, for: decision, now: now, into: &effects)
    }

    private func problem(_ decision: Decision, _ treasury: Int) -> String? {
        guard decision.resolution == .release, treasuries[treasury].control.closing else {
            return nil
        }
        return "the pool is closed: what is quarantined can only be returned"
    }

    /// All slices have told: those that the decision is about are told of it.
    mutating func decide(
        _ inquiry: Inquiry, _ decision: Decision, now: Instant, into effects: inout EffectBuffer
    ) {
        let slices = inquiry.quarantined(decision.resolution)
        let pending = PendingDecision(
            id: inquiry.id, ticket: inquiry.ticket, treasury: inquiry.treasury,
            sinceNs: now.monotonicNs, decision: decision, slices: slices)
        if slices.isEmpty {
            guard treasuries[inquiry.treasury].request(decision.requestHash) == nil else {
                return finish(pending, now: now, into: &effects)
            }
            return effects.fail(inquiry.ticket, .badArgument, "nothing is quarantined")
        }
        // It may have begun to close meanwhile.
        if let problem = problem(decision, inquiry.treasury) {
            return effects.fail(inquiry.ticket, .badArgument, problem)
        }
        note(decision, inquiry.treasury, isDone: false, now: now, into: &effects)
        isUnconfirmed = true
        decisions.append(pending)
        tell(pending, into: &effects)
    }

    private mutating func note(
        _ decision: Decision, _ treasury: Int, isDone: Bool, now: Instant,
        into effects: inout EffectBuffer
    ) {
        let key = treasuries[treasury].pool
        _ = journal(
            .poolResolved(
                key, decision.resolution, isDone: isDone, requestHash: decision.requestHash,
                actor: decision.actor), placement.home(of: key), now: now, into: &effects)
        treasuries[treasury].applyDecision(
            decision.requestHash, value: decision.value(isDone: isDone))
    }

    /// Tells the slices that have not done it.
    mutating func tell(_ pending: PendingDecision, into effects: inout EffectBuffer) {
        let key = treasuries[pending.treasury].pool
        for target in pending.slices {
            let told = Resolve(
                inquiry: pending.id, quarantines: target.quarantines,
                resolution: pending.decision.resolution, actor: pending.decision.actor)
            send(
                .resolve(key, slice: target.slice, told),
                to: placement.shard(of: key, slice: target.slice), into: &effects)
        }
    }

    /// A slice has done it.
    mutating func resolved(
        _ key: PoolKey, _ slice: UInt32, _ id: UInt64, now: Instant,
        into effects: inout EffectBuffer
    ) {
        guard let index = decisions.firstIndex(where: { $0.id == id }),
            treasuries[decisions[index].treasury].pool == key
        else { return }
        decisions[index].slices.removeAll { $0.slice == slice }
        guard decisions[index].slices.isEmpty else { return }
        finish(decisions.remove(at: index), now: now, into: &effects)
    }

    private mutating func finish(
        _ pending: PendingDecision, now: Instant, into effects: inout EffectBuffer
    ) {
        note(pending.decision, pending.treasury, isDone: true, now: now, into: &effects)
        effects.replies.append(
            Reply(ticket: pending.ticket, shape: .ok, stream: operatorStream))
    }

    // MARK: At a slice

    /// Does what was decided, where it is about this quarantine and not done.
    mutating func resolve(
        _ key: PoolKey, _ slice: UInt32, _ told: Resolve, now: Instant,
        into effects: inout EffectBuffer
    ) {
        guard let place = place(key, slice) else { return }
        if canResolve(place, told) {
            let shard = placement.shard(of: key, slice: slice)
            let entry = Entry.sliceResolved(
                key, slice: slice, told.resolution, actor: told.actor)
            if !has(.resolutionNotJournaled) || place.isStock {
                let header = journal(entry, shard, now: now, into: &effects)
                if place.isStock {
                    let applied = books[place.local].apply(entry, header)
                    precondition(applied, "a decision that was looked at is refused")
                }
            }
            if !place.isStock {
                slices[place.slot].resolve(
                    has(.retiredGranted) && !slices[place.slot].isSealed
                        ? .release : told.resolution)
                // Or a crash would forget that it may grant, and the packet be granted again.
                awaitDurability(place.slot, into: &effects)
            }
            if has(.resolvedTwice), told.resolution == .release { conjure(place) }
            cameBack(
                SlicePlace(
                    pool: place.pool, local: place.local, slot: place.slot,
                    isStock: place.isStock), slice, into: &effects)
            if place.isStock {
                sealStock(place.local, place.slot, now: now, into: &effects)
            } else if slices[place.slot].control.closing {
                sealRain(place.slot, now: now, into: &effects)
            }
        }
        send(
            .resolved(key, slice: slice, inquiry: told.inquiry), to: placement.home(of: key),
            into: &effects)
    }

    private func canResolve(_ place: Place, _ told: Resolve) -> Bool {
        let standing =
            place.isStock
            ? books[place.local].standing(slot: place.slot) : slices[place.slot].standing
        guard standing.quarantines == told.quarantines else {
            return false
        }
        return place.isStock
            ? books[place.local].canResolve(slot: place.slot, told.resolution)
            : slices[place.slot].canResolve(told.resolution)
    }

    /// What a slice holds, once more: only a built-in bug does (see `Mutant`).
    private mutating func conjure(_ place: Place) {
        if place.isStock {
            let held = books[place.local].holdings(slot: place.slot)
            books[place.local].conjure(held, slot: place.slot)
        } else {
            let slot = place.slot
            slices[slot].creditAgain(
                Transfer(
                    pool: slices[slot].pool, slice: slices[slot].slice,
                    number: slices[slot].creditedNumber, final: false,
                    ranges: slices[slot].heldRanges))
        }
    }
}
