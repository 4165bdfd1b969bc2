import EdgeMemory
import EdgeTypes

/// Terms are kept: nothing is granted before a pool opens, after it closes, while it is paused, or
/// above the limit, by the terms that can be in force at that moment; and terms change only where
/// an operator asked for it, or the clock brings it about.
///
/// A grant is judged twice at the step that decides it: by the terms that its slice has taken,
/// and these by what operators asked for and were told.
final class TermsOracle: Oracle {
    let name = "terms"

    private struct Pool {
        /// When the operator heard that it is closing.
        var closedNs = UInt64.max
        /// Heard to be paused, and not yet asked to resume.
        var pausedNs = UInt64.max
        /// Somebody may resume it at any time from now on.
        var isResumeAsked = false
    }

    private let operators: OperatorLog
    private var pools: [Pool] = []

    init(_ operators: OperatorLog) { self.operators = operators }

    private func prepare(_ world: World) {
        if pools.isEmpty { pools = Array(repeating: Pool(), count: world.pools.count) }
    }

    // MARK: What operators are told

    func asked(_ world: World, _ operation: Operation) {
        prepare(world)
        if operation.kind == .resume {
            pools[operation.pool].isResumeAsked = true
            pools[operation.pool].pausedNs = .max
        }
    }

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        prepare(world)
        if operation.kind == .grab || operation.kind == .reserve,
            answer.items.first?.text == "closed", !operators.hasAsked(.close, operation.pool)
        {
            world.probe(.closedByItself)
        }
        guard answer.text == "OK" else { return }
        switch operation.kind {
        case .close:
            pools[operation.pool].closedNs = min(pools[operation.pool].closedNs, world.nowNs)
        case .pause:
            // Once the pool may be resumed again, nothing is known.
            if !pools[operation.pool].isResumeAsked {
                pools[operation.pool].pausedNs = min(pools[operation.pool].pausedNs, world.nowNs)
            }
        case .alter, .resume: break
        case .resolve: return resolved(world, operation)
        default: return
        }
        took(world, operation, sentNs)
    }

    /// OK to a change says that it was made, and that every slice goes by it.
    private func took(_ world: World, _ operation: Operation, _ sentNs: UInt64) {
        let plan = world.pools[operation.pool]
        let history = world.histories[operation.node]
        // A repeated ALTER was taken at some time since it was first asked for.
        let sinceNs = operation.kind == .alter ? operation.startedNs : sentNs
        let isSo = history.home(plan.key, since: sinceNs).contains { home in
            switch operation.kind {
            case .close: home.control.closing
            case .pause: home.control.paused
            case .resume: !home.control.paused
            default:
                OperatorLog.Term.allCases.allSatisfy { term in
                    operation.value(of: term).map { $0 == home.control.terms[term] } ?? true
                }
            }
        }
        if !isSo { return fail(world, operation.pool, "\(operation.kind) is OK and was not made") }
        let versions = history.home(plan.key, since: sentNs).map(\.control.version)
        guard let version = versions.min(), let definition = history.live.definitions[plan.key]
        else { return }
        for slice in 0..<definition.slices {
            let taken = history.slice(plan.key, slice, since: sentNs).map(\.control.version).max()
            if (taken ?? 0) < version {
                return fail(
                    world, operation.pool,
                    "\(operation.kind) is OK, slice \(slice) goes by version \(taken ?? 0) of "
                        + "\(version)")
            }
        }
    }

    /// OK says that every slice has done it, at some moment since it was first asked for.
    private func resolved(_ world: World, _ operation: Operation) {
        let key = world.pools[operation.pool].key
        let history = world.histories[operation.node]
        let isRelease = operation.words.contains("RELEASE")
        let first = operation.retryOf.map { world.clients.operations[$0] } ?? operation
        for slice in 0..<(history.live.definitions[key]?.slices ?? 0) {
            let states = history.slice(key, slice, since: first.startedNs)
            let isDone = states.contains {
                isRelease ? !$0.isQuarantined || $0.isSealed : $0.totals.quarantined == 0
            }
            if !isDone {
                fail(world, operation.pool, "RESOLVE is OK, slice \(slice) stays as it was")
            }
        }
    }

    private func fail(_ world: World, _ pool: Int, _ text: String) {
        world.fail(name, "\(world.pools[pool].name): \(text)")
    }

    // MARK: What a node decides

    func wrote(_ world: World, _ node: Int, _ header: EntryHeader, _ entry: Entry) {
        prepare(world)
        switch entry {
        case .claim(let claim):
            guard let pool = world.histories[node].number(of: claim.pool) else { return }
            granted(
                world, pool, header, NodeBooks.SliceKey(pool: claim.pool, slice: claim.slice),
                claim.user, 1)
        case .orderReserved(let order):
            guard let pool = world.histories[node].number(of: order.pool) else { return }
            granted(
                world, pool, header, NodeBooks.SliceKey(pool: order.pool, slice: order.slice),
                order.user, Int64(order.quantity))
        case .sliceOpened(let definition, let slice, let control):
            let key = PoolKey.of(definition.kind.family, definition.name)
            taken(world, node, key, slice, control)
        case .sliceControlled(let key, let slice, let control):
            taken(world, node, key, slice, control)
        case .poolResolved(let key, _, _, _, _):
            guard let pool = world.histories[node].number(of: key) else { return }
            if !operators.hasAsked(.resolve, pool) { fail(world, pool, "resolved by nobody") }
        case .sliceResolved(let key, let slice, let resolution, _):
            resolves(world, node, key, slice, resolution)
        case .poolControlled(let key, let control, _, _, _):
            guard let pool = world.histories[node].number(of: key) else { return }
            controlled(world, pool, header, key, control)
        default: break
        }
    }

    /// A slice goes by terms that its pool's home has given it.
    private func taken(
        _ world: World, _ node: Int, _ key: PoolKey, _ slice: UInt32, _ control: PoolControl
    ) {
        let history = world.histories[node]
        guard let pool = history.number(of: key) else { return }
        let given = history.home(key, since: 0).map(\.control)
        if !given.contains(control) {
            fail(world, pool, "slice \(slice) takes \(control), given were \(given)")
        }
    }

    /// A slice does what was decided since it was put out of play, and where that is something.
    private func resolves(
        _ world: World, _ node: Int, _ key: PoolKey, _ slice: UInt32, _ resolution: Resolution
    ) {
        let history = world.histories[node]
        guard let pool = history.number(of: key) else { return }
        if !history.isDecided(key, slice) {
            fail(world, pool, "slice \(slice) is resolved, and nobody decided it since its loss")
        }
        guard let state = history.live.slice(key, slice) else { return }
        let isSomething =
            switch resolution {
            case .release: state.isQuarantined && !state.isSealed
            case .retire: state.totals.quarantined > 0
            }
        if !isSomething { fail(world, pool, "slice \(slice) is resolved for nothing") }
    }

    private func granted(
        _ world: World, _ pool: Int, _ header: EntryHeader, _ key: NodeBooks.SliceKey,
        _ user: UserID, _ quantity: Int64
    ) {
        let live = world.histories[world.pools[pool].node].live
        guard let slice = live.slices[key] else {
            return self.fail(world, pool, "slice \(key.slice) grants and was never opened")
        }
        func fail(_ text: String) {
            self.fail(world, pool, "user \(user), slice \(key.slice): granted \(text)")
        }
        let control = slice.control
        let terms = control.terms
        if control.closing || pools[pool].closedNs < world.nowNs {
            return fail("after it was closed")
        }
        if control.paused || pools[pool].pausedNs < world.nowNs {
            return fail("while it was paused")
        }
        if header.timeMs < terms.opensMs { return fail("before it opens") }
        if terms.closesMs != 0, header.timeMs >= terms.closesMs { return fail("after it closes") }
        if slice.isOver { return fail("by a slice that has ended") }
        if slice.totals.held < quantity { return fail("\(quantity) of \(slice.totals.held)") }
        let before = live.units[NodeBooks.UserKey(pool: key.pool, user: user)] ?? 0
        if before + quantity > Int64(terms.limit) {
            return fail("\(quantity) to \(before), the limit is \(terms.limit)")
        }
        for term in OperatorLog.Term.allCases {
            let values = operators.values(term, pool, since: world.nowNs)
            if !values.contains(terms[term]) {
                return fail("by \(term.rawValue) \(terms[term]), which can only be \(values)")
            }
        }
    }

    /// A pool's home changes terms.
    private func controlled(
        _ world: World, _ pool: Int, _ header: EntryHeader, _ key: PoolKey, _ next: PoolControl
    ) {
        guard let home = world.histories[world.pools[pool].node].live.homes[key] else {
            return fail(world, pool, "changed before it was created")
        }
        let before = home.control
        if next.version != before.version + 1 { fail(world, pool, "version \(next.version)") }
        if next.paused != before.paused,
            !operators.hasAsked(next.paused ? .pause : .resume, pool)
        {
            fail(world, pool, next.paused ? "paused by nobody" : "resumed by nobody")
        }
        if next.closing, !before.closing, !operators.hasAsked(.close, pool) {
            let closesMs = before.terms.closesMs
            if closesMs == 0 || header.timeMs < closesMs {
                fail(world, pool, "closed by nobody at \(header.timeMs), it closes at \(closesMs)")
            }
        }
        if before.closing { fail(world, pool, "changed after it was closed") }
        for term in OperatorLog.Term.allCases where next.terms[term] != before.terms[term] {
            if !operators.allValues(term, pool).contains(next.terms[term]) {
                fail(world, pool, "\(term.rawValue) \(next.terms[term]) was asked for by nobody")
            }
        }
    }
}

extension PoolTerms {
    subscript(_ term: OperatorLog.Term) -> Int64 {
        switch term {
        case .opens: opensMs
        case .closes: closesMs
        case .limit: Int64(limit)
        }
    }
}
