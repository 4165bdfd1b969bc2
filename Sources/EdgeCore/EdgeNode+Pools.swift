import EdgeCluster
import EdgeDomain
import EdgeMemory
import EdgeTypes

/// A reply that waits until every slice has confirmed a pool's latest control and leases, or,
/// for CLOSE, until the pool stops granting everywhere.
struct SettlingReply: Sendable {
    var ticket: Ticket
    var treasury: Int
    var sinceNs: UInt64
}

/// A question put to every slice of a pool.
struct Inquiry: Sendable {
    var id: UInt64
    var ticket: Ticket
    var treasury: Int
    var sinceNs: UInt64
    /// What was told first was not final.
    var isAgain = false
    private(set) var missing: Int
    private var hasTold: [Bool]
    private(set) var totals = SliceTotals()
    /// Slices that are out of play.
    private(set) var lost: [QuarantinedSlice] = []
    /// Slices whose claims or orders have left memory.
    private(set) var archived = 0
    /// Slices with units that are.
    private var holding: [QuarantinedSlice] = []
    /// Asked for the sake of it.
    var decision: Decision?

    init(
        id: UInt64, ticket: Ticket, treasury: Int, slices: Int, isAgain: Bool, sinceNs: UInt64
    ) {
        self.id = id
        self.ticket = ticket
        self.treasury = treasury
        self.sinceNs = sinceNs
        self.isAgain = isAgain
        missing = slices
        hasTold = Array(repeating: false, count: slices)
    }

    func has(_ slice: UInt32) -> Bool { hasTold[Int(slice)] }

    /// Takes what a slice has told; what it tells twice counts once.
    mutating func note(
        _ slice: UInt32, _ told: SliceTotals, _ standing: SliceStanding, countsTwice: Bool
    ) {
        guard Int(slice) < hasTold.count else { return }
        let isNew = !hasTold[Int(slice)]
        guard isNew || countsTwice else { return }
        totals.add(told)
        guard isNew else { return }
        hasTold[Int(slice)] = true
        missing -= 1
        let named = QuarantinedSlice(slice: slice, quarantines: standing.quarantines)
        if standing.isLost { lost.append(named) }
        if standing.isArchived { archived += 1 }
        if told.quarantined > 0 { holding.append(named) }
    }

    /// The slices that a decision is about.
    func quarantined(_ resolution: Resolution) -> [QuarantinedSlice] {
        switch resolution {
        case .release: lost
        case .retire: holding
        }
    }
}

/// Operators' commands, at a pool's home.
extension EdgeNode {
    /// Most replies that wait for slices at once.
    public static let settlingLimit = 65_536

    mutating func pool(
        _ request: Request, _ payload: Payload?, _ batch: borrowing RequestBatch, now: Instant,
        into effects: inout EffectBuffer
    ) {
        let home = placement.home(of: request.pool)
        guard isLocal(home) else {
            return forward(request, payload, to: home, into: &effects)
        }
        guard isLeased(home, now) else { return refuseUnleased(request.ticket, into: &effects) }
        guard settling.count + inquiries.count + decisions.count < Self.settlingLimit else {
            return effects.fail(request.ticket, .tryAgain, "too many commands are waiting")
        }
        if request.operation == .poolCreate {
            guard case .definition(let definition, let actor) = payload else {
                preconditionFailure("a creation without a definition")
            }
            return create(
                request, definition, actor, isFull: batch.storageIsFull, now: now, into: &effects)
        }
        guard let index = pools.find(request.pool), pools[index].treasury >= 0 else {
            return fail(request, request.family == .rain ? .noRain : .noStock, into: &effects)
        }
        let treasury = pools[index].treasury
        switch request.operation {
        case .poolInfo: inquire(request.ticket, treasury, now: now, into: &effects)
        case .poolWarm: awaitSettled(request, treasury, now)
        case .poolRefill:
            refill(request, payload, treasury, now: now, into: &effects)
        case .poolResolve: decide(request, payload, treasury, now: now, into: &effects)
        default: alter(request, payload, treasury, now: now, into: &effects)
        }
    }

    // MARK: Creation

    private mutating func create(
        _ request: Request, _ wanted: PoolDefinition, _ actor: Text64, isFull: Bool,
        now: Instant, into effects: inout EffectBuffer
    ) {
        var definition = wanted
        let known = pools.find(request.pool).map { pools[$0].treasury }
        if let known, known >= 0 {
            let there = treasuries[known].definition
            guard Self.isSame(there, wanted) || has(.createOverwrites) else {
                return fail(request, .exists, into: &effects)
            }
            return awaitSettled(request, known, now)
        }
        if isFull { return refuseFull(request.ticket, true, into: &effects) }
        guard pools.count < Limits.pools else {
            return effects.fail(request.ticket, .full, "the node knows \(Limits.pools) pools")
        }
        if definition.slices == 0 { definition.slices = automaticSlices(definition) }
        let hasReplicas = configuration.replica != nil
        if let problem = PoolRules.problem(definition, hasReplicas: hasReplicas) {
            return effects.fail(request.ticket, .badArgument, problem)
        }
        // Slices without a treasury: their pool's creation was lost.
        guard pools.problem(definition, request.pool) == nil else {
            return fail(request, .exists, into: &effects)
        }
        let home = placement.home(of: request.pool)
        let header = journal(
            .poolCreated(definition, actor: actor), home, now: now, into: &effects)
        let treasury = addTreasury(definition, key: request.pool, createdMs: header.timeMs)
        for lease in treasuries[treasury].firstLeases() {
            _ = journal(.poolLeased(lease), home, now: now, into: &effects)
            treasuries[treasury].applyLease(lease)
        }
        treasuries[treasury].awaitLeases()
        announce(treasury, into: &effects)
        sendUnconfirmed(treasury, into: &effects)
        awaitSettled(request, treasury, now)
    }

    /// By size, at most four a node, at least one a region. What is small has one: first come,
    /// first served, to the last unit.
    private func automaticSlices(_ definition: PoolDefinition) -> UInt32 {
        let most = min(4 * configuration.nodes, Limits.slices)
        let bySize = definition.units / Self.unitsPerSlice
        return UInt32(max(1, definition.regions.count, Int(min(Int64(most), bySize))))
    }

    /// Units below which a pool is not cut further.
    static let unitsPerSlice: Int64 = 10_000

    private static func isSame(_ there: PoolDefinition, _ wanted: PoolDefinition) -> Bool {
        var wanted = wanted
        if wanted.slices == 0 { wanted.slices = there.slices }
        if !wanted.seedWasGiven {
            wanted.seed = there.seed
            wanted.commitment = there.commitment
            wanted.seedWasGiven = there.seedWasGiven
        }
        return wanted == there
    }

    /// Makes a treasury known here; its closing time is watched from now on.
    mutating func addTreasury(
        _ definition: PoolDefinition, key: PoolKey, createdMs: UnixMs
    ) -> Int {
        let treasury = Treasury(definition, pool: key, createdMs: createdMs)
        let index = pools.add(definition, key: key, control: treasury.control)
        place(treasury, index)
        return pools[index].treasury
    }

    /// Puts a treasury where its pool finds it.
    mutating func place(_ treasury: Treasury, _ pool: Int) {
        if let free = freeTreasuries.popLast() {
            treasuries[free] = treasury
            pools[pool].treasury = free
        } else {
            treasuries.append(treasury)
            pools[pool].treasury = treasuries.count - 1
        }
        watchClosing(pools[pool].treasury)
    }

    mutating func watchClosing(_ treasury: Int) {
        let closesMs = treasuries[treasury].control.terms.closesMs
        // Whoever follows a shard watches nothing.
        guard closesMs != 0, !treasuries[treasury].control.closing, isServedHere(treasury) else {
            return
        }
        let place = closings.firstIndex { $0.timeMs > closesMs } ?? closings.count
        closings.insert((timeMs: closesMs, pool: treasury), at: place)
        holdsChanged = true
    }

    // MARK: Terms

    private mutating func alter(
        _ request: Request, _ payload: Payload?, _ treasury: Int, now: Instant,
        into effects: inout EffectBuffer
    ) {
        var control = treasuries[treasury].control
        var actor = Text64()
        if case .actor(let name) = payload { actor = name }
        var fingerprint: Int64 = 0
        switch request.operation {
        case .poolAlter:
            guard case .alteration(let opens, let closes, let limit, let name) = payload else {
                preconditionFailure("an alteration without values")
            }
            actor = name
            fingerprint = Self.fingerprint(opens, closes, limit)
            if let seen = treasuries[treasury].request(request.requestHash) {
                guard seen.value == fingerprint else {
                    return fail(request, .mismatch, into: &effects)
                }
                return awaitSettled(request, treasury, now)
            }
            control.terms.opensMs = opens ?? control.terms.opensMs
            control.terms.closesMs = closes ?? control.terms.closesMs
            control.terms.limit = limit ?? control.terms.limit
            if let problem = PoolRules.problem(
                control.terms, treasuries[treasury].definition.kind)
            {
                return effects.fail(request.ticket, .badArgument, problem)
            }
            if has(.openingNotMoved) {
                control.terms.opensMs = treasuries[treasury].control.terms.opensMs
            }
        case .poolPause: control.paused = true
        case .poolResume: control.paused = false
        default: control.closing = true
        }
        if treasuries[treasury].control.closing {
            if request.operation == .poolClose { return awaitSettled(request, treasury, now) }
            return effects.fail(request.ticket, .badArgument, "the pool is closed")
        }
        // What carries no request id leaves nothing behind: a pool can always be closed.
        guard
            request.requestHash == 0
                || treasuries[treasury].operatorRequests.count < Limits.operatorRequestsPerPool
        else { return effects.fail(request.ticket, .full, "too many changes of one pool") }
        if control != treasuries[treasury].control || request.operation == .poolAlter {
            change(
                treasury, to: control, requestHash: request.requestHash, value: fingerprint,
                actor: actor, now: now, into: &effects)
        }
        awaitSettled(request, treasury, now)
    }

    private static func fingerprint(_ opens: UnixMs?, _ closes: UnixMs?, _ limit: UInt32?) -> Int64
    {
        var hash = Hash64.mix(UInt64(bitPattern: opens ?? -1), UInt64(bitPattern: closes ?? -1))
        hash = Hash64.mix(hash, limit.map(UInt64.init) ?? .max)
        return Int64(bitPattern: hash)
    }

    /// Journals a new control and sends it to the slices.
    private mutating func change(
        _ treasury: Int, to wanted: PoolControl, requestHash: UInt64, value: Int64,
        actor: Text64, now: Instant, into effects: inout EffectBuffer
    ) {
        var control = wanted
        control.version += 1
        let key = treasuries[treasury].pool
        if !has(.controlNotJournaled) {
            _ = journal(
                .poolControlled(
                    key, control, requestHash: requestHash, value: value, actor: actor),
                placement.home(of: key), now: now, into: &effects)
        }
        let closesMs = treasuries[treasury].control.terms.closesMs
        treasuries[treasury].apply(control, requestHash: requestHash, value: value)
        if control.terms.closesMs != closesMs { watchClosing(treasury) }
        announce(treasury, into: &effects)
        sendUnconfirmed(treasury, into: &effects)
    }

    /// The closing time of a pool has come.
    mutating func closeByItself(
        _ treasury: Int, at timeMs: UnixMs, now: Instant, into effects: inout EffectBuffer
    ) {
        var control = treasuries[treasury].control
        guard !control.closing, control.terms.closesMs == timeMs || has(.closesAtFormerTime)
        else { return }
        control.closing = true
        change(
            treasury, to: control, requestHash: 0, value: 0, actor: "clock", now: now,
            into: &effects)
    }

    private mutating func refill(
        _ request: Request, _ payload: Payload?, _ treasury: Int, now: Instant,
        into effects: inout EffectBuffer
    ) {
        let definition = treasuries[treasury].definition
        guard definition.kind == .stock else {
            return effects.fail(request.ticket, .badArgument, "a rain takes no refill")
        }
        if let seen = treasuries[treasury].request(request.requestHash), !has(.refillTwice) {
            guard seen.value == request.quantity else {
                return fail(request, .mismatch, into: &effects)
            }
            return awaitSettled(request, treasury, now)
        }
        guard !treasuries[treasury].control.closing else {
            return effects.fail(request.ticket, .badArgument, "the pool is closed")
        }
        guard request.quantity >= 1,
            request.quantity <= Limits.unitsPerPool - treasuries[treasury].funded
        else {
            return effects.fail(
                request.ticket, .badArgument,
                "a SKU holds 1 to \(Limits.unitsPerPool) units")
        }
        guard treasuries[treasury].operatorRequests.count < Limits.operatorRequestsPerPool else {
            return effects.fail(request.ticket, .full, "too many changes of one pool")
        }
        var actor = Text64()
        if case .actor(let name) = payload { actor = name }
        let home = placement.home(of: request.pool)
        _ = journal(
            .poolFunded(
                request.pool, units: request.quantity, requestHash: request.requestHash,
                actor: actor), home, now: now, into: &effects)
        treasuries[treasury].applyFunding(request.quantity, requestHash: request.requestHash)
        for lease in treasuries[treasury].dueLeases() {
            _ = journal(.poolLeased(lease), home, now: now, into: &effects)
            treasuries[treasury].applyLease(lease)
        }
        treasuries[treasury].awaitLeases()
        serveAll(treasury, now: now, into: &effects)
        sendUnconfirmed(treasury, into: &effects)
        awaitSettled(request, treasury, now)
    }

    // MARK: Waiting for slices

    private mutating func awaitSettled(_ request: Request, _ treasury: Int, _ now: Instant) {
        isUnconfirmed = true
        settling.append(
            SettlingReply(
                ticket: request.ticket, treasury: treasury, sinceNs: now.monotonicNs))
    }

    /// Takes the frames this step left for its own core, until there are none, and answers those
    /// who waited for that.
    mutating func settle(now: Instant, into effects: inout EffectBuffer) {
        while !localFrames.isEmpty {
            let frames = localFrames
            localFrames.removeAll(keepingCapacity: true)
            for frame in frames { receive(frame, now: now, into: &effects) }
        }
        guard !settling.isEmpty else { return }
        let stream = operatorStream
        settling.removeAll { reply in
            guard treasuries[reply.treasury].isSettled else { return false }
            effects.replies.append(
                Reply(ticket: reply.ticket, shape: .ok, stream: stream))
            return true
        }
    }

    // MARK: Questions

    mutating func inquire(
        _ ticket: Ticket, _ treasury: Int, isAgain: Bool = false, for decision: Decision? = nil,
        now: Instant, into effects: inout EffectBuffer
    ) {
        isUnconfirmed = true
        var inquiry = Inquiry(
            id: nextInquiry, ticket: ticket, treasury: treasury,
            slices: treasuries[treasury].slices.count, isAgain: isAgain,
            sinceNs: now.monotonicNs)
        inquiry.decision = decision
        inquiries.append(inquiry)
        nextInquiry += 1
        ask(inquiries[inquiries.count - 1], into: &effects)
    }

    /// Asks the slices that have not told.
    mutating func ask(_ inquiry: Inquiry, into effects: inout EffectBuffer) {
        let key = treasuries[inquiry.treasury].pool
        for slice in 0..<UInt32(treasuries[inquiry.treasury].slices.count)
        where !inquiry.has(slice) {
            send(
                .inquire(key, slice: slice, inquiry: inquiry.id),
                to: placement.shard(of: key, slice: slice), into: &effects)
        }
    }

    mutating func answer(_ inquiry: Inquiry, now: Instant, into effects: inout EffectBuffer) {
        if let decision = inquiry.decision {
            return decide(inquiry, decision, now: now, into: &effects)
        }
        let treasury = treasuries[inquiry.treasury]
        // The pool has closed while its slices told, one after the other: what some of them held
        // then, others have granted, or the treasury has it now. What they tell next is final: books
        // that do not balance are told as they are.
        let ended =
            inquiry.totals.granted + inquiry.totals.quarantined + inquiry.totals.retired
        let isWhole =
            inquiry.totals.held == 0 && inquiry.totals.pending == 0
            && ended + treasury.returned + treasury.unleased == treasury.funded
        if treasury.isClosed, !inquiry.isAgain, !isWhole {
            return inquire(
                inquiry.ticket, inquiry.treasury, isAgain: true, now: now, into: &effects)
        }
        var totals = inquiry.totals
        if has(.infoFenShort) { totals.grantedFen -= 1 }
        effects.answer(
            inquiry.ticket,
            .map(
                PoolInfo.fields(
                    treasury, totals, lost: inquiry.lost.count, archived: inquiry.archived,
                    nowMs: now.wallMs)),
            stream: operatorStream)
    }

    /// Names after a cursor, in byte order.
    mutating func list(
        _ request: Request, _ payload: Payload?, now: Instant, into effects: inout EffectBuffer
    ) {
        guard case .listing(let after, let state) = payload else {
            preconditionFailure("a listing without its cursor")
        }
        let order = pools.sorted[Int(request.family.rawValue)]
        var place = after.isEmpty ? 0 : pools.position(after: after, family: request.family)
        var names: [Value] = []
        var last = Text64()
        let most = Int(min(max(request.quantity, 1), 10_000))
        while place < order.count && names.count < most {
            let pool = Int(order[place])
            place += 1
            let current =
                pools[pool].isClosed ? .closed : pools[pool].control.state(nowMs: now.wallMs)
            last = pools[pool].definition.name
            if let state, state != current { continue }
            names.append(.text(last.description))
        }
        // "0" ends a listing. A pool of that name is told by a sign that names do not have, and
        // that comes before all they do have.
        let name = last == "0" ? "0+" : last.description
        let cursor = place < order.count ? name : "0"
        effects.answer(request.ticket, .array([.text(cursor), .array(names)]))
    }
}
