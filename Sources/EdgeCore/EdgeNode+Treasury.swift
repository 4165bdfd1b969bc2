import EdgeCluster
import EdgeMemory
import EdgeTypes

/// A part of a treasury whose slices ask for what it does not have.
struct DryPart: Hashable, Sendable {
    var treasury: Int
    var part: Int
}

/// At a pool's home: leases to those who ask, rounds that call units back, and certificates that
/// nothing is left.
extension EdgeNode {
    mutating func asked(
        _ asked: UnitsAsked, _ treasury: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        if let ahead = treasuries[treasury].note(asked) {
            lease(ahead, treasury, now: now, into: &effects)
        }
        if asked.wanted > 0 {
            serveAsks(
                treasury, treasuries[treasury].part(of: asked.slice), now: now, into: &effects)
        }
    }

    /// Journals a lease and sends it.
    private mutating func lease(
        _ transfer: Transfer, _ treasury: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        _ = journal(
            .poolLeased(transfer), placement.home(of: transfer.pool), now: now, into: &effects)
        treasuries[treasury].applyLease(transfer)
        counters.leases &+= 1
        unconfirmed.watch(treasury)
        unconfirmed.isStale = true
        isUnconfirmed = true
        send(
            .lease(transfer), to: placement.shard(of: transfer.pool, slice: transfer.slice),
            into: &effects)
    }

    /// Gives what a part has to those who ask, and looks for more where that is not enough.
    mutating func serveAsks(
        _ treasury: Int, _ part: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        serveLeases(treasury, part, now: now, into: &effects)
        let soldOut = treasuries[treasury].parts[part].soldOut
        let pool = treasuries[treasury].pool
        for slice in treasuries[treasury].dropHopeless(part) {
            send(
                .soldOut(pool, soldOut), to: placement.shard(of: pool, slice: slice),
                into: &effects)
        }
        seekRound(DryPart(treasury: treasury, part: part), now: now, into: &effects)
    }

    private mutating func serveLeases(
        _ treasury: Int, _ part: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        while !has(.lastUnitKept) || treasuries[treasury].parts[part].unleased.count != 1,
            let transfer = treasuries[treasury].nextLease(part)
        {
            lease(transfer, treasury, now: now, into: &effects)
        }
    }

    /// What came to a part by other ways than a slice's return.
    mutating func serveAll(
        _ treasury: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        for part in treasuries[treasury].parts.indices {
            let isAlone = treasuries[treasury].slices.count == 1
            if treasuries[treasury].parts[part].unleased.count > 0 || isAlone {
                withdraw(treasury, now: now, into: &effects)
            }
            serveAsks(treasury, part, now: now, into: &effects)
        }
    }

    // MARK: Rounds

    /// Begins a round where slices ask for what is not there, or notes when one may begin.
    private mutating func seekRound(
        _ dry: DryPart, now: Instant, into effects: inout EffectBuffer
    ) {
        guard let dueNs = treasuries[dry.treasury].roundDueNs(dry.part) else { return }
        if !dryParts.contains(dry) { dryParts.append(dry) }
        isUnconfirmed = true
        guard now.monotonicNs >= dueNs else {
            tailDueNs = min(tailDueNs, dueNs)
            return
        }
        roundCount &+= 1
        let place = UInt64(configuration.node) << 32 | UInt64(configuration.core)
        let id = Hash64.mix(
            Hash64.mix(UInt64(bitPattern: now.wallMs), now.monotonicNs),
            Hash64.mix(roundCount, place))
        let recall = treasuries[dry.treasury].beginRound(
            dry.part, id: id | 1, nowNs: now.monotonicNs)
        counters.rounds &+= 1
        tailDueNs = min(tailDueNs, now.monotonicNs &+ Self.resendNs)
        send(recall, into: &effects)
    }

    /// One frame to each node that has slices of the part, and to each such core of this one.
    private mutating func send(_ recall: Recall, into effects: inout EffectBuffer) {
        guard let pool = pools.find(recall.pool) else { return }
        let home = placement.home(of: recall.pool)
        var hasNode = Array(repeating: false, count: Limits.nodes)
        var hasCore = Array(repeating: false, count: configuration.cores)
        for slice in pools[pool].parts[Int(recall.part)] {
            let shard = placement.shard(of: recall.pool, slice: slice)
            guard let route = route(to: shard) else { continue }
            if route.isCore {
                if hasCore[route.core] { continue }
                hasCore[route.core] = true
            } else {
                if hasNode[route.node] { continue }
                hasNode[route.node] = true
            }
            if isLocal(shard) {
                localFrames.append(.recall(recall))
            } else {
                effects.frames.append(
                    OutboundFrame(
                        to: route, shard: home, frame: .recall(recall),
                        stream: shards[placement.localIndex(of: home)].stream))
            }
        }
    }

    mutating func swept(
        _ sweep: Sweep, _ treasury: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        guard !treasuries[treasury].isClosed, !treasuries[treasury].control.closing else { return }
        let part = Int(sweep.part)
        switch treasuries[treasury].take(sweep) {
        case .goesOn: return
        case .over:
            if has(.soldOutAtOnce) {
                let left = treasuries[treasury].parts[part].unleased.count
                certify(treasury, part, left: left, now: now, into: &effects)
            }
        case .soldOut: break
        }
        if treasuries[treasury].parts[part].empty != nil {
            relieve(treasury, part, now: now, into: &effects)
        }
        // Whoever waits in other regions may have what came here.
        for other in treasuries[treasury].starving where other != part {
            relieve(treasury, other, now: now, into: &effects)
            serveAsks(treasury, other, now: now, into: &effects)
        }
        serveAsks(treasury, part, now: now, into: &effects)
    }

    /// Looks for units in other regions where a part was found empty: the pool is sold out only
    /// where no part has anything.
    private mutating func relieve(
        _ treasury: Int, _ part: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        if has(.regionsApart) {
            let left = treasuries[treasury].parts[part].unleased.count
            return certify(treasury, part, left: left, now: now, into: &effects)
        }
        while true {
            switch treasuries[treasury].relief(of: part) {
            case .none(let left):
                for part in treasuries[treasury].parts.indices {
                    let mayBeFinal = spoken >= ProtocolVersion.finalSoldOut
                    guard treasuries[treasury].isNews(part, left: left, mayBeFinal: mayBeFinal)
                    else { continue }
                    certify(treasury, part, left: left, now: now, into: &effects)
                }
                return
            case .move(let move):
                _ = journal(
                    .poolMoved(move), placement.home(of: move.pool), now: now, into: &effects)
                treasuries[treasury].apply(move)
                serveLeases(treasury, part, now: now, into: &effects)
                guard treasuries[treasury].isAsked(part) else { return }
            case .seek:
                for sought in treasuries[treasury].parts.indices where sought != part {
                    seekRound(
                        DryPart(treasury: treasury, part: sought), now: now, into: &effects)
                }
                return
            }
        }
    }

    /// Rounds that are due, and those that were not answered.
    mutating func passRounds(into effects: inout EffectBuffer) {
        let now = current
        let parts = dryParts
        dryParts.removeAll { dry in
            let treasury = treasuries[dry.treasury]
            return treasury.isClosed || treasury.control.closing
                || (treasury.roundSentNs(dry.part) == nil && !treasury.isWanted(dry.part))
        }
        for dry in parts where dryParts.contains(dry) {
            if let sentNs = treasuries[dry.treasury].roundSentNs(dry.part) {
                if now.monotonicNs >= sentNs &+ Self.resendNs,
                    let recall = treasuries[dry.treasury].roundAgain(
                        dry.part, nowNs: now.monotonicNs)
                {
                    send(recall, into: &effects)
                }
                let againNs =
                    (treasuries[dry.treasury].roundSentNs(dry.part) ?? sentNs) &+ Self.resendNs
                tailDueNs = min(tailDueNs, againNs)
            } else {
                seekRound(dry, now: now, into: &effects)
            }
        }
    }

    // MARK: Certificates

    private mutating func certify(
        _ treasury: Int, _ part: Int, left: Int64, now: Instant, into effects: inout EffectBuffer
    ) {
        let soldOut = treasuries[treasury].nextSoldOut(
            part, epoch: epoch(ofHome: treasury), left: left,
            mayBeFinal: spoken >= ProtocolVersion.finalSoldOut)
        issue(soldOut, treasury, now: now, into: &effects)
    }

    /// Whoever takes a home up certifies anew what is left: slices that hold units all the same deny
    /// it, and may not have heard of the certificate before. One of this epoch is news to everybody,
    /// whatever they were told that did not reach this home: a withdrawal waits for no disk. Where
    /// the units say that one is missing, it is made up for.
    mutating func certifyAnew(_ treasury: Int, now: Instant, into effects: inout EffectBuffer) {
        guard !treasuries[treasury].isClosed, !has(.soldOutToldOnce) else { return }
        let parts = treasuries[treasury].parts
        guard let left = parts.map(\.soldOut).filter(\.stands).map(\.left).min() else { return }
        guard parts.allSatisfy(\.soldOut.stands), treasuries[treasury].unleased <= left else {
            return withdraw(treasury, now: now, into: &effects)
        }
        let epoch = epoch(ofHome: treasury)
        for part in parts.indices {
            let soldOut = treasuries[treasury].soldOutAnew(part, epoch: epoch)
            issue(soldOut, treasury, now: now, into: &effects)
        }
    }

    private func epoch(ofHome treasury: Int) -> UInt32 {
        shards[placement.localIndex(of: placement.home(of: treasuries[treasury].pool))].epoch
    }

    private mutating func issue(
        _ soldOut: SoldOut, _ treasury: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        let pool = treasuries[treasury].pool
        _ = journal(
            .poolSoldOut(pool, soldOut), placement.home(of: pool), now: now, into: &effects)
        treasuries[treasury].apply(soldOut)
        tellSoldOut(treasury, Int(soldOut.part), into: &effects)
    }

    /// Tells everybody what is left of a part, or that more has come back.
    private mutating func tellSoldOut(
        _ treasury: Int, _ part: Int, into effects: inout EffectBuffer
    ) {
        let pool = treasuries[treasury].pool
        let soldOut = treasuries[treasury].parts[part].soldOut
        treasuries[treasury].tell(part, nowNs: current.monotonicNs)
        tellEveryone(.soldOut(pool, soldOut), from: placement.home(of: pool), into: &effects)
        learn(pool, soldOut, into: &effects)
    }

    /// Units have come back: the certificate no longer holds.
    mutating func withdraw(
        _ treasury: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        guard !has(.soldOutForGood) else { return }
        treasuries[treasury].forgetEmpty()
        // Whoever waits in another region may have them.
        for part in treasuries[treasury].parts.indices
        where treasuries[treasury].parts[part].soldOut.stands {
            certify(treasury, part, left: -1, now: now, into: &effects)
        }
    }

    mutating func denied(
        _ slice: UInt32, _ generation: UInt32, _ treasury: Int, now: Instant,
        into effects: inout EffectBuffer
    ) {
        let part = treasuries[treasury].part(of: slice)
        guard !treasuries[treasury].isClosed else { return }
        let soldOut = treasuries[treasury].parts[part].soldOut
        guard soldOut.generation == generation else {
            // It has not heard what stands now.
            let pool = treasuries[treasury].pool
            return send(
                .soldOut(pool, soldOut), to: placement.shard(of: pool, slice: slice),
                into: &effects)
        }
        withdraw(treasury, now: now, into: &effects)
    }

    /// Somebody is about to stop believing what is left of a part: everybody is told again.
    mutating func repeatSoldOut(
        _ key: PoolKey, _ part: Int, into effects: inout EffectBuffer
    ) {
        let home = placement.home(of: key)
        // What a home that may be another's by now holds is no news.
        guard let pool = pools.find(key), part < pools[pool].parts.count, isLocal(home),
            pools[pool].treasury >= 0, isLeased(home, current)
        else { return }
        let treasury = pools[pool].treasury
        guard treasuries[treasury].mayTell(part, nowNs: current.monotonicNs) else { return }
        tellSoldOut(treasury, part, into: &effects)
    }

    /// Sends a frame to every other core of this node and to every other node.
    mutating func tellEveryone(
        _ frame: Frame, from home: ShardID, into effects: inout EffectBuffer
    ) {
        let stream = stream(of: home, frame)
        for core in 0..<configuration.cores where core != configuration.core {
            effects.frames.append(
                OutboundFrame(to: .core(core), shard: home, frame: frame, stream: stream))
        }
        if configuration.nodes > 1 {
            effects.frames.append(
                OutboundFrame(to: .everyNode, shard: home, frame: frame, stream: stream))
        }
    }
}
