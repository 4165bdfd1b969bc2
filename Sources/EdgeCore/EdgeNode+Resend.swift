import EdgeCluster
import EdgeMemory
import EdgeTypes

/// What a core has sent to other shards and heard no confirmation of.
///
/// Only names are kept: what is sent again is read from the state, as it is by then.
struct Unconfirmed: Sendable {
    struct Return: Hashable, Sendable {
        var pool: PoolKey
        var slice: UInt32
    }

    /// Treasuries with slices that have not confirmed everything.
    fileprivate(set) var treasuries: [Int] = []
    fileprivate var isWatched: [Bool] = []
    /// Returns that were sent, oldest first, and the number of each that its home has not taken.
    private var returns: [Return] = []
    private var openReturns: [Return: UInt32] = [:]
    /// When everything is sent again, by the monotonic clock; 0: not said yet.
    fileprivate var dueNs: UInt64 = 0
    /// Something was confirmed since the list was looked through.
    var isStale = false

    var isEmpty: Bool { treasuries.isEmpty && openReturns.isEmpty }

    private var cursor = 0

    /// The next treasuries whose turn it is, at most so many.
    mutating func next(_ count: Int) -> [Int] {
        guard treasuries.count > count else { return treasuries }
        let taken = (0..<count).map { treasuries[(cursor + $0) % treasuries.count] }
        cursor = (cursor + count) % treasuries.count
        return taken
    }

    mutating func watch(_ treasury: Int) {
        while isWatched.count <= treasury { isWatched.append(false) }
        guard !isWatched[treasury] else { return }
        isWatched[treasury] = true
        treasuries.append(treasury)
    }

    mutating func returned(_ transfer: Transfer) {
        let item = Return(pool: transfer.pool, slice: transfer.slice)
        if openReturns.updateValue(transfer.number, forKey: item) == nil { returns.append(item) }
    }

    mutating func returnTaken(_ pool: PoolKey, _ slice: UInt32, _ number: UInt32) {
        let item = Return(pool: pool, slice: slice)
        if let open = openReturns[item], open <= number { openReturns[item] = nil }
    }

    /// Drops returns of slices that are not served here any more.
    mutating func forget(where isGone: (Return) -> Bool) {
        for item in returns where isGone(item) { openReturns[item] = nil }
    }

    /// The slices whose returns are not taken, oldest first.
    mutating func returning() -> [Return] {
        returns.removeAll { openReturns[$0] == nil }
        return returns
    }
}

/// Sending again what others have not confirmed. Links break and mailboxes overflow; frames that
/// come twice change nothing.
extension EdgeNode {
    static let resendNs = UInt64(EffectBuffer.resendMs) * 1_000_000
    /// Pools that are sent again at once; the others follow by turns.
    static let resentPools = 256
    /// For so long an operator's command waits for slices that do not answer.
    static let patienceNs: UInt64 = 10_000_000_000

    /// Looks what is still open, and sends it again where it is time.
    mutating func resend(now: Instant, into effects: inout EffectBuffer) {
        if unconfirmed.isStale { dropSettled() }
        if unconfirmed.dueNs == 0 { unconfirmed.dueNs = now.monotonicNs &+ Self.resendNs }
        if now.monotonicNs >= unconfirmed.dueNs, !has(.unconfirmedForgotten) {
            unconfirmed.dueNs = now.monotonicNs &+ Self.resendNs
            for treasury in unconfirmed.next(Self.resentPools) where isServedHere(treasury) {
                sendUnconfirmed(treasury, into: &effects)
            }
            for item in unconfirmed.returning() {
                returnAgain(item.pool, item.slice, into: &effects)
            }
            for inquiry in inquiries { ask(inquiry, into: &effects) }
            for pending in decisions { tell(pending, into: &effects) }
            giveUp(now: now, into: &effects)
            settle(now: now, into: &effects)
        }
        isUnconfirmed =
            !unconfirmed.isEmpty || !settling.isEmpty || !inquiries.isEmpty
            || !decisions.isEmpty || !activeTails.isEmpty || !dryParts.isEmpty
        effects.awaitsFrames = isUnconfirmed
        if !isUnconfirmed { unconfirmed.dueNs = 0 }
    }

    private mutating func dropSettled() {
        unconfirmed.isStale = false
        var left: [Int] = []
        for treasury in unconfirmed.treasuries {
            if treasuries[treasury].isConfirmed || !isServedHere(treasury) {
                unconfirmed.isWatched[treasury] = false
            } else {
                left.append(treasury)
            }
        }
        unconfirmed.treasuries = left
    }

    /// Answers operators whose commands wait for what does not answer.
    private mutating func giveUp(now: Instant, into effects: inout EffectBuffer) {
        func isOver(_ sinceNs: UInt64) -> Bool { now.monotonicNs &- sinceNs >= Self.patienceNs }
        for reply in settling where isOver(reply.sinceNs) {
            counters.errors &+= 1
            effects.fail(reply.ticket, .unknown, "taken; not every slice has confirmed it")
        }
        settling.removeAll { isOver($0.sinceNs) }
        for inquiry in inquiries where isOver(inquiry.sinceNs) {
            counters.errors &+= 1
            effects.fail(inquiry.ticket, .tryAgain, "\(inquiry.missing) slices do not answer")
        }
        inquiries.removeAll { isOver($0.sinceNs) }
        for pending in decisions where isOver(pending.sinceNs) {
            counters.errors &+= 1
            effects.fail(pending.ticket, .unknown, "taken; not every slice has done it")
        }
        decisions.removeAll { isOver($0.sinceNs) }
    }

    /// Tells a node that has just been linked of every pool whose home is here.
    mutating func greet(_ node: Int, into effects: inout EffectBuffer) {
        for index in treasuries.indices where isServedHere(index) {
            let treasury = treasuries[index]
            let home = placement.home(of: treasury.pool)
            effects.frames.append(
                OutboundFrame(
                    to: .node(node), shard: home,
                    frame: .announce(
                        treasury.definition, treasury.control, closed: treasury.isClosed),
                    stream: shards[placement.localIndex(of: home)].stream))
            for part in treasury.parts where part.soldOut.stands {
                effects.frames.append(
                    OutboundFrame(
                        to: .node(node), shard: home,
                        frame: .soldOut(treasury.pool, part.soldOut),
                        stream: shards[placement.localIndex(of: home)].stream))
            }
        }
        // What is open goes to it at once.
        if isUnconfirmed { unconfirmed.dueNs = 1 }
    }
}
