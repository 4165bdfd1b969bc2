import EdgeCluster
import EdgeMemory
import EdgeTypes

/// What a core has sent to other shards and heard no confirmation of.
///
/// Only names are kept: what is sent again is read from the state, as it is by then.
struct Unconfirmed: Sendable {
    fileprivate struct Return: Sendable {
        var pool: PoolKey
        var slice: UInt32
        var number: UInt32
    }

    /// Treasuries with slices that have not confirmed everything.
    fileprivate(set) var treasuries: [Int] = []
    fileprivate var isWatched: [Bool] = []
    /// Returns whose home has not taken them.
    private var returns: [Return] = []
    /// When everything is sent again, by the monotonic clock; 0: not said yet.
    fileprivate var dueNs: UInt64 = 0
    /// Something was confirmed since the list was looked through.
    var isStale = false

    var isEmpty: Bool { treasuries.isEmpty && returns.isEmpty }

    mutating func watch(_ treasury: Int) {
        while isWatched.count <= treasury { isWatched.append(false) }
        guard !isWatched[treasury] else { return }
        isWatched[treasury] = true
        treasuries.append(treasury)
    }

    mutating func returned(_ transfer: Transfer) {
        guard !returns.contains(where: { $0.isOf(transfer.pool, transfer.slice) }) else { return }
        owe(transfer)
    }

    /// The same where the slice is known not to be listed.
    mutating func owe(_ transfer: Transfer) {
        returns.append(
            Return(pool: transfer.pool, slice: transfer.slice, number: transfer.number))
    }

    mutating func returnTaken(_ pool: PoolKey, _ slice: UInt32, _ number: UInt32) {
        returns.removeAll { $0.isOf(pool, slice) && $0.number <= number }
    }

    /// The slices that returned something, oldest first.
    var returning: [(pool: PoolKey, slice: UInt32)] { returns.map { ($0.pool, $0.slice) } }
}

extension Unconfirmed.Return {
    fileprivate func isOf(_ pool: PoolKey, _ slice: UInt32) -> Bool {
        self.pool == pool && self.slice == slice
    }
}

/// Sending again what others have not confirmed. Links break and mailboxes overflow; frames that
/// come twice change nothing.
extension EdgeNode {
    static let resendNs = UInt64(EffectBuffer.resendMs) * 1_000_000
    /// For so long an operator's command waits for slices that do not answer.
    static let patienceNs: UInt64 = 10_000_000_000

    /// Looks what is still open, and sends it again where it is time.
    mutating func resend(now: Instant, into effects: inout EffectBuffer) {
        if unconfirmed.isStale { dropSettled() }
        if unconfirmed.dueNs == 0 { unconfirmed.dueNs = now.monotonicNs &+ Self.resendNs }
        if now.monotonicNs >= unconfirmed.dueNs {
            unconfirmed.dueNs = now.monotonicNs &+ Self.resendNs
            for treasury in unconfirmed.treasuries { sendUnconfirmed(treasury, into: &effects) }
            for item in unconfirmed.returning { returnAgain(item.pool, item.slice, into: &effects) }
            for inquiry in inquiries { ask(inquiry, into: &effects) }
            giveUp(now: now, into: &effects)
            settle(now: now, into: &effects)
        }
        isUnconfirmed = !unconfirmed.isEmpty || !settling.isEmpty || !inquiries.isEmpty
        effects.awaitsFrames = isUnconfirmed
        if !isUnconfirmed { unconfirmed.dueNs = 0 }
    }

    private mutating func dropSettled() {
        unconfirmed.isStale = false
        var left: [Int] = []
        for treasury in unconfirmed.treasuries {
            if treasuries[treasury].isSettled {
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
    }

    // MARK: Other nodes

    /// Tells a node that has just been linked of every pool whose home is here.
    mutating func greet(_ node: Int, into effects: inout EffectBuffer) {
        for treasury in treasuries where isLocal(placement.home(of: treasury.pool)) {
            effects.frames.append(
                OutboundFrame(
                    to: .node(node), shard: placement.home(of: treasury.pool),
                    frame: .announce(
                        treasury.definition, treasury.control, closed: treasury.isClosed)))
        }
        // What is open goes to it at once.
        unconfirmed.dueNs = 1
    }

    /// Says who serves a shard from now on. Before recovery, as often as one likes.
    public mutating func setOwner(of shard: ShardID, to node: UInt16) {
        precondition(Int(node) < configuration.nodes || node == Self.nobody)
        precondition(
            Int(shard) % configuration.cores != configuration.core
                || shards[placement.localIndex(of: shard)].sequence == 0,
            "a shard that holds something does not move")
        owners[Int(shard)] = node
    }

    /// The shard that a frame is for; nil: for everyone.
    func shard(of frame: Frame) -> ShardID? {
        switch frame {
        case .open(let definition, let slice, _):
            let key = PoolKey.of(definition.kind.family, definition.name)
            return placement.shard(of: key, slice: slice)
        case .control(let key, let slice, _, _), .returnTaken(let key, let slice, _),
            .recall(let key, let slice, _), .inquire(let key, let slice, _):
            return placement.shard(of: key, slice: slice)
        case .lease(let transfer):
            return placement.shard(of: transfer.pool, slice: transfer.slice)
        case .opened(let key, _), .controlled(let key, _, _), .leaseTaken(let key, _, _),
            .ask(let key, _, _), .nothingToReturn(let key, _, _), .report(let key, _, _, _):
            return placement.home(of: key)
        case .returned(let transfer): return placement.home(of: transfer.pool)
        case .announce: return nil
        }
    }
}
