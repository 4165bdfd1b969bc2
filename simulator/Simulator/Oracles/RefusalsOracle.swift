import EdgeMemory
import EdgeTypes

/// A refusal is true: something was so, at a moment between question and answer, that the promise
/// allows to refuse for.
///
/// A user's units are in one slice of the pool: what it holds must be out. What others hold is the
/// stranded oracle's.
final class RefusalsOracle: Oracle {
    let name = "refusals"

    private let operators: OperatorLog
    /// So long a node may refuse whoever is in no filter that it has of a SKU's slice, by the
    /// fastest and the slowest clock.
    private static let doorsNs: UInt64 = 405_000_000

    init(_ operators: OperatorLog) { self.operators = operators }

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        func fail(_ text: String) {
            world.fail(
                name,
                "\(world.pools[operation.pool].name), operation \(operation.id), "
                    + "\(operation.words.joined(separator: " ")): \(text)")
        }
        if let code = answer.errorCode {
            if !isEarned(code, world, operation, sentNs) { fail("\(answer)") }
            return
        }
        if operation.actor >= 0,
            world.pools[operation.pool].isForeign(operation.actor, world.random)
        {
            return fail("answered to a region that the pool does not have")
        }
        guard operation.kind == .grab || operation.kind == .reserve else { return }
        if let why = untruth(world, operation, answer, sentNs) { fail("\(answer): \(why)") }
    }

    // MARK: Outcomes

    /// Why an outcome cannot be true; nil where it can.
    private func untruth(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, _ sentNs: UInt64
    ) -> String? {
        guard let outcome = answer.items.first?.text,
            !["granted", "reserved", "repeat"].contains(outcome)
        else { return nil }
        let plan = world.pools[operation.pool]
        let key = plan.key
        let history = world.histories[operation.node]
        guard
            let number = history.slice(of: operation.user, key, region: operation.region),
            let shard = history.shard(of: key, slice: number)
        else { return "there is no such slice" }
        let slices = history.slice(key, number, since: sentNs)
        let times = history.timeMs(shard, since: sentNs)
        let quantity = plan.isStock ? operation.quantity : 1
        switch outcome {
        case "soldout":
            // What comes back to a SKU's slice is nobody's until all doors are open again.
            let sinceNs = plan.isStock ? sentNs - min(sentNs, Self.doorsNs) : sentNs
            let since = history.slice(key, number, since: sinceNs)
            let least = since.map(\.totals.held).min() ?? 0
            return least < quantity ? nil : "slice \(number) holds \(least) all the time"
        case "limit":
            let most = history.units(key, operation.user, since: sentNs).upperBound
            let limits = operators.values(.limit, operation.pool, since: sentNs)
            return most + quantity > limits.min() ?? 0
                ? nil : "the user has at most \(most), the limit can only be \(limits)"
        case "early":
            let opens = operators.values(.opens, operation.pool, since: sentNs)
            let told = answer.items.last?.integer
            let isSo = opens.contains { $0 > times.lowerBound && (told ?? $0) == $0 }
            return isSo ? nil : "at \(times), it can only open at \(opens)"
        case "closed":
            if slices.contains(where: { $0.control.closing || $0.isOver }) { return nil }
            let closes = operators.values(.closes, operation.pool, since: sentNs)
            return closes.contains { $0 != 0 && times.upperBound >= $0 }
                ? nil : "at \(times), it can only close at \(closes)"
        case "paused":
            return slices.contains { $0.control.paused } ? nil : "it was not paused"
        case "lost":
            return slices.contains(where: \.isQuarantined) ? nil : "nothing is out of play"
        default: return "no such outcome"
        }
    }

    // MARK: Refunds

    /// A payment buys nothing only where its order has ended, and cannot be had anew.
    func wrote(_ world: World, _ node: Int, _ header: EntryHeader, _ entry: Entry) {
        let history = world.histories[node]
        guard case .paymentRefused(let refused) = entry,
            let order = history.live.orders[refused.order],
            let slice = history.live.slices[order.key]
        else { return }
        func fail(_ text: String) {
            world.fail(
                name, "payment \(refused.payment) of order \(refused.order.text): refund: \(text)")
        }
        switch order.state {
        case .reserved: fail("it can be paid")
        case .paid, .cancelled: break
        case .expired:
            let user = NodeBooks.UserKey(pool: order.key.pool, user: order.user)
            let units = history.live.units[user] ?? 0
            if !slice.isOver, slice.totals.held >= order.quantity,
                units + order.quantity <= Int64(slice.control.terms.limit)
            {
                fail("\(slice.totals.held) units are there, the user has \(units)")
            }
        }
    }

    // MARK: Errors

    private func isEarned(
        _ code: String, _ world: World, _ operation: Operation, _ sentNs: UInt64
    ) -> Bool {
        let plan = world.pools[operation.pool]
        switch code {
        case "TRYAGAIN", "UNKNOWN": return true
        case "FULL": return hasFullDisk(world, operation.node, sentNs)
        // All that could tell of it may be gone.
        case "NOORDER": return world.mayHaveLost(plan)
        case "NORAIN", "NOSTOCK": return sentNs <= operators.createdNs(operation.pool)
        case "MISMATCH":
            return operation.kind == .pay && operation.fen != plan.amountFen * operation.quantity
        case "EXISTS": return operation.kind == .createOther
        case "BADARG":
            switch operation.kind {
            case .pause, .resume, .refill: return canBeClosed(world, operation, sentNs)
            case .alter:
                return canBeClosed(world, operation, sentNs)
                    || contradicts(operation, sentNs)
            // Together more than was paid or sold; and what cannot be a pool at all.
            case .refund, .createOther: return true
            case .grab, .claims, .reserve, .orders:
                return plan.isForeign(operation.actor, world.random)
            case .resolve: return isResolvedInVain(world, operation, sentNs)
            case .pay, .cancel, .create, .warm, .info, .close: return false
            }
        default: return false
        }
    }

    /// Whether nothing may have been quarantined, or the pool was closing and only a return is
    /// taken. What was done once is not refused.
    private func isResolvedInVain(
        _ world: World, _ operation: Operation, _ sentNs: UInt64
    ) -> Bool {
        if let first = operation.retryOf, world.clients.operations[first].answer?.text == "OK" {
            return false
        }
        let isRelease = operation.words.contains("RELEASE")
        if isRelease, canBeClosed(world, operation, sentNs) { return true }
        let key = world.pools[operation.pool].key
        let history = world.histories[operation.node]
        return (0..<(history.live.definitions[key]?.slices ?? 0)).allSatisfy { slice in
            let states = history.slice(key, slice, since: sentNs)
            return states.isEmpty
                || states.contains { isRelease ? !$0.isQuarantined : $0.totals.quarantined == 0 }
        }
    }

    private func canBeClosed(_ world: World, _ operation: Operation, _ sentNs: UInt64) -> Bool {
        world.histories[operation.node].home(world.pools[operation.pool].key, since: sentNs)
            .contains(where: \.control.closing)
    }

    /// Whether the pool would close before it opens.
    private func contradicts(_ operation: Operation, _ sentNs: UInt64) -> Bool {
        func values(_ term: OperatorLog.Term) -> [Int64] {
            operation.value(of: term).map { [$0] }
                ?? operators.values(term, operation.pool, since: sentNs)
        }
        let opens = values(.opens).max() ?? 0
        return values(.closes).contains { $0 != 0 && $0 <= opens }
    }

    /// Whether its disk was full at some time since shortly before.
    private func hasFullDisk(_ world: World, _ node: Int, _ sentNs: UInt64) -> Bool {
        world.plan.faults.contains { fault in
            fault.kind == .diskFull && (fault.node == node || world.scenario.isCluster)
                && fault.startNs <= world.nowNs
                && fault.endNs + 2_000_000_000 >= sentNs
        }
    }
}
