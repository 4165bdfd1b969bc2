import EdgeCluster
import EdgeDomain
import EdgeMemory
import EdgeTypes

/// What a pool's home and its slices say to each other. Every frame may come twice.
extension EdgeNode {
    mutating func send(_ frame: Frame, to shard: ShardID, into effects: inout EffectBuffer) {
        guard configuration.replica != nil else {
            if isLocal(shard) {
                localFrames.append(frame)
            } else if let route = route(to: shard) {
                effects.frames.append(OutboundFrame(to: route, shard: shard, frame: frame))
            }
            return
        }
        let source = source(of: frame)
        if source == shard || (has(.framesOfOneCoreEarly) && isLocal(shard)) {
            localFrames.append(frame)
        } else if let route = route(to: shard) {
            // Shards of one core have other replicas each: what one says to the other waits
            // until its own have it.
            effects.frames.append(
                OutboundFrame(
                    to: route, shard: shard, frame: frame,
                    stream: stream(of: source, frame)))
        }
    }

    /// Pools that promise the disk wait for it with what is said of them, too. What moves units, or
    /// says that they have come, waits for it whatever was promised: a shard all of whose members
    /// restart goes on without what was in memory only, and nobody must have heard of that.
    func stream(of source: ShardID?, _ frame: Frame) -> UInt8 {
        guard let source else {
            // Nothing of its slices is ever to come back: not by what memory alone held either.
            return frame.isFinal ? CommitStream.all | CommitStream.andDisk : CommitStream.all
        }
        var flags = pools.find(pool(of: frame)).map { pools[$0].streamFlags } ?? 0
        if frame.isCounted { flags = CommitStream.andDisk }
        return shards[placement.localIndex(of: source)].stream | flags
    }

    mutating func receive(_ frame: Frame, now: Instant, into effects: inout EffectBuffer) {
        // Sent when somebody else had the shard: it is sent again.
        if let shard = shard(of: frame), !isLocal(shard) { return }
        switch frame {
        case .open(let definition, let slice, let control):
            opened(definition, slice, control, now: now, into: &effects)
        case .control(let key, let slice, let control):
            controlled(key, slice, control, now: now, into: &effects)
        case .lease(let transfer): credited(transfer, now: now, into: &effects)
        case .returnTaken(let key, let slice, let number):
            guard let place = place(key, slice) else { return }
            unconfirmed.returnTaken(key, slice, number)
            if place.isStock {
                books[place.local].acknowledgeReturn(slot: place.slot, number: number)
                sealStock(place.local, place.slot, now: now, into: &effects)
            } else {
                slices[place.slot].acknowledgeReturn(number)
                if slices[place.slot].control.closing {
                    sealRain(place.slot, now: now, into: &effects)
                }
            }
        case .inquire(let key, let slice, let inquiry):
            report(key, slice, inquiry, now: now, into: &effects)
        case .resolve(let key, let slice, let told):
            resolve(key, slice, told, now: now, into: &effects)
        case .recall(let recall): sweep(recall, now: now, into: &effects)
        case .soldOut(let key, let soldOut): learn(key, soldOut, into: &effects)
        case .askWinners(let asked): tellWinners(asked, into: &effects)
        case .winners(let winners): learn(winners)
        case .renew(let key, let part): repeatSoldOut(key, Int(part), into: &effects)
        case .announce(let definition, let control, let closed):
            let key = PoolKey.of(definition.kind.family, definition.name)
            guard EntryRules.problem(definition, control) == nil,
                pools.problem(definition, key) == nil
            else { return refuseFrame() }
            let index = pools.add(definition, key: key, control: control)
            if control.version >= pools[index].control.version { pools[index].control = control }
            pools[index].isClosed = pools[index].isClosed || closed
        case .opened, .controlled, .leaseTaken, .returned, .report, .resolved, .ask, .swept,
            .freed:
            receiveAtHome(frame, now: now, into: &effects)
        }
    }

    /// What no sound node sends: nothing of it may get into the journal.
    mutating func refuseFrame() { counters.errors &+= 1 }

    // MARK: At a slice

    struct Place {
        let pool: Int
        let local: Int
        let slot: Int
        let isStock: Bool
    }

    func place(_ key: PoolKey, _ slice: UInt32) -> Place? {
        guard let pool = pools.find(key), Int(slice) < pools[pool].slots.count else { return nil }
        let slot = Int(pools[pool].slots[Int(slice)])
        guard slot >= 0 else { return nil }
        let local = placement.localIndex(of: placement.shard(of: key, slice: slice))
        return Place(
            pool: pool, local: local, slot: slot,
            isStock: pools[pool].definition.kind == .stock)
    }

    private mutating func opened(
        _ definition: PoolDefinition, _ slice: UInt32, _ control: PoolControl, now: Instant,
        into effects: inout EffectBuffer
    ) {
        let key = PoolKey.of(definition.kind.family, definition.name)
        // A home that forgot its pool may have made another of that name: not here.
        guard pools.problem(definition, key) == nil else { return refuseFrame() }
        if place(key, slice) == nil {
            let shard = placement.shard(of: key, slice: slice)
            guard openingProblem(definition, key, slice, control, shard) == nil else {
                return refuseFrame()
            }
            let entry = Entry.sliceOpened(definition, slice: slice, control)
            let header = journal(entry, shard, now: now, into: &effects)
            openSlice(definition, key, slice, control, header)
        }
        send(.opened(key, slice: slice), to: placement.home(of: key), into: &effects)
        controlled(key, slice, control, now: now, into: &effects)
    }

    mutating func openSlice(
        _ definition: PoolDefinition, _ key: PoolKey, _ slice: UInt32, _ control: PoolControl,
        _ header: EntryHeader
    ) {
        let pool = pools.add(definition, key: key, control: control)
        let local = placement.localIndex(of: header.shard)
        if definition.kind == .stock {
            let applied = books[local].apply(
                .sliceOpened(definition, slice: slice, control), header)
            precondition(applied)
            guard let slot = books[local].slot(of: key, slice: slice) else {
                preconditionFailure("a slice that was just opened is not there")
            }
            place(slot, pool, slice, local)
        } else {
            let opened = RainSlice(
                definition: definition, pool: key, slice: slice, shard: header.shard,
                poolIndex: pool, localShard: local, control: control,
                openedAt: header.sequence)
            if let slot = freeSlices.popLast() {
                slices[slot] = opened
                place(slot, pool, slice, local)
            } else {
                place(slices.append(opened), pool, slice, local)
            }
        }
    }

    /// Notes where a slice is; requests see it where its shard is served.
    mutating func place(_ slot: Int, _ pool: Int, _ slice: UInt32, _ local: Int) {
        if isLocal(shards[local].id) {
            pools[pool].open(slice, slot)
        } else {
            pools[pool].hide(slice, slot)
        }
    }

    private mutating func controlled(
        _ key: PoolKey, _ slice: UInt32, _ control: PoolControl, now: Instant,
        into effects: inout EffectBuffer
    ) {
        guard let place = place(key, slice) else { return }
        let shard = placement.shard(of: key, slice: slice)
        let known =
            place.isStock
            ? books[place.local].control(slot: place.slot) : slices[place.slot].control
        if control.version > known.version {
            let entry = Entry.sliceControlled(key, slice: slice, control)
            let header = journal(entry, shard, now: now, into: &effects)
            if place.isStock {
                let applied = books[place.local].apply(entry, header)
                precondition(applied)
            } else {
                slices[place.slot].apply(
                    configuration.mutant == .none ? control : mutated(control, known))
            }
            release(SliceName(pool: key, slice: slice), into: &effects)
        }
        let version = max(control.version, known.version)
        send(
            .controlled(key, slice: slice, version: version), to: placement.home(of: key),
            into: &effects)
        guard control.closing || known.closing else { return }
        if place.isStock {
            sealStock(place.local, place.slot, now: now, into: &effects)
        } else {
            sealRain(place.slot, now: now, into: &effects)
        }
    }

    private mutating func credited(
        _ transfer: Transfer, now: Instant, into effects: inout EffectBuffer
    ) {
        guard let place = place(transfer.pool, transfer.slice) else { return }
        let shard = placement.shard(of: transfer.pool, slice: transfer.slice)
        if place.isStock {
            switch books[place.local].decideCredit(slot: place.slot, transfer) {
            case .take:
                let entry = Entry.sliceCredited(transfer)
                let header = journal(entry, shard, now: now, into: &effects)
                let applied = books[place.local].apply(entry, header)
                precondition(applied)
            case .known:
                if has(.leaseTwice) { books[place.local].conjure(transfer.units, slot: place.slot) }
            case .wait, .error: return
            }
        } else {
            let next = slices[place.slot].creditedNumber + 1
            guard transfer.number <= next else { return }
            if transfer.number == next,
                slices[place.slot].isSealed
                    || !EntryRules.isSound(transfer.ranges, pools[place.pool].definition)
            {
                return refuseFrame()
            }
            if transfer.number == next {
                _ = journal(.sliceCredited(transfer), shard, now: now, into: &effects)
                credit(place.slot, transfer)
                awaitDurability(place.slot, into: &effects)
            } else if has(.leaseTwice) {
                slices[place.slot].creditAgain(transfer)
            }
        }
        send(
            .leaseTaken(transfer.pool, slice: transfer.slice, number: transfer.number),
            to: placement.home(of: transfer.pool), into: &effects)
        serve(SliceName(pool: transfer.pool, slice: transfer.slice), into: &effects)
        deny(place.pool, transfer.slice, into: &effects)
    }

    /// What a `memory` slice was given must be durable before anyone hears that it grants it.
    mutating func awaitDurability(_ slot: Int, into effects: inout EffectBuffer) {
        guard pools[slices[slot].poolIndex].isMemory, !has(.grantsUnsecured) else { return }
        slices[slot].awaitsDurability = true
        awaitsDurability = true
        effects.asksForDurability = true
    }

    /// All that was asked to be durable is.
    mutating func durable() {
        awaitsDurability = false
        for slot in 0..<slices.count where slices[slot].awaitsDurability {
            slices[slot].awaitsDurability = false
        }
    }

    /// A closing rain slice gives back what it holds, or says again that it did.
    mutating func sealRain(
        _ slot: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        let home = placement.home(of: slices[slot].pool)
        if slices[slot].canSeal {
            let transfer = slices[slot].finalReturn
            let header = journal(
                .sliceReturned(transfer), slices[slot].shard, now: now, into: &effects)
            slices[slot].giveBack(transfer, header)
        }
        guard let transfer = slices[slot].unacknowledgedReturn else { return }
        unconfirmed.returned(transfer)
        isUnconfirmed = true
        send(.returned(transfer), to: home, into: &effects)
    }

    mutating func sealStock(
        _ local: Int, _ slot: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        let home = placement.home(of: books[local].poolKey(slot: slot))
        if let transfer = books[local].sealing(slot: slot) {
            let entry = Entry.sliceReturned(transfer)
            let header = journal(entry, shards[local].id, now: now, into: &effects)
            let applied = books[local].apply(entry, header)
            precondition(applied)
        }
        if let transfer = books[local].unacknowledgedReturn(slot: slot) {
            unconfirmed.returned(transfer)
            isUnconfirmed = true
            send(.returned(transfer), to: home, into: &effects)
        }
    }

    /// Sends a return once more that the home has not taken.
    mutating func returnAgain(
        _ key: PoolKey, _ slice: UInt32, into effects: inout EffectBuffer
    ) {
        guard let place = place(key, slice), !has(.lostReturnForgotten) else { return }
        let transfer =
            place.isStock
            ? books[place.local].unacknowledgedReturn(slot: place.slot)
            : slices[place.slot].unacknowledgedReturn
        guard let transfer else { return }
        send(.returned(transfer), to: placement.home(of: key), into: &effects)
    }

    private mutating func report(
        _ key: PoolKey, _ slice: UInt32, _ inquiry: UInt64, now: Instant,
        into effects: inout EffectBuffer
    ) {
        // What a shard that may be another's by now holds is no news.
        guard isLeased(placement.shard(of: key, slice: slice), now) else { return }
        guard let place = place(key, slice) else { return }
        let totals =
            place.isStock
            ? books[place.local].totals(slot: place.slot) : slices[place.slot].books
        var standing =
            place.isStock
            ? books[place.local].standing(slot: place.slot) : slices[place.slot].standing
        if spoken < ProtocolVersion.archiveOrders { standing.isArchived = false }
        send(
            .report(key, slice: slice, inquiry: inquiry, totals, standing),
            to: placement.home(of: key), into: &effects)
    }

    // MARK: At home

    private mutating func receiveAtHome(
        _ frame: Frame, now: Instant, into effects: inout EffectBuffer
    ) {
        unconfirmed.isStale = true
        switch frame {
        case .opened(let key, let slice):
            guard let treasury = treasury(key, slice) else { return }
            treasuries[treasury].confirmOpened(slice)
        case .controlled(let key, let slice, let version):
            guard let treasury = treasury(key, slice) else { return }
            treasuries[treasury].confirm(slice, version: version)
        case .leaseTaken(let key, let slice, let number):
            guard let treasury = treasury(key, slice) else { return }
            treasuries[treasury].confirm(slice, lease: number)
        case .returned(let transfer): takeBack(transfer, now: now, into: &effects)
        case .ask(let wish):
            guard let treasury = treasury(wish.pool, wish.slice) else { return }
            asked(wish, treasury, now: now, into: &effects)
        case .swept(let sweep):
            guard let treasury = treasury(sweep.pool, 0) else { return }
            swept(sweep, treasury, now: now, into: &effects)
        case .freed(let key, let slice, let generation):
            guard let treasury = treasury(key, slice) else { return }
            denied(slice, generation, treasury, now: now, into: &effects)
        case .resolved(let key, let slice, let id):
            resolved(key, slice, id, now: now, into: &effects)
        case .report(let key, let slice, let id, let totals, let standing):
            guard let index = inquiries.firstIndex(where: { $0.id == id }),
                treasuries[inquiries[index].treasury].pool == key
            else { return }
            inquiries[index].note(
                slice, totals, standing, countsTwice: has(.reportCountedTwice))
            if inquiries[index].missing == 0 {
                let inquiry = inquiries[index]
                if !has(.inquiryKept) { inquiries.remove(at: index) }
                answer(inquiry, now: now, into: &effects)
            }
        case .open, .control, .lease, .returnTaken, .recall, .inquire, .resolve, .announce,
            .soldOut, .askWinners, .winners, .renew:
            preconditionFailure("not a frame for a home")
        }
    }

    private func treasury(_ key: PoolKey, _ slice: UInt32) -> Int? {
        guard let pool = pools.find(key), pools[pool].treasury >= 0,
            Int(slice) < pools[pool].slots.count
        else { return nil }
        return pools[pool].treasury
    }

    private mutating func takeBack(
        _ transfer: Transfer, now: Instant, into effects: inout EffectBuffer
    ) {
        guard let treasury = treasury(transfer.pool, transfer.slice) else { return }
        let home = placement.home(of: transfer.pool)
        let link = treasuries[treasury].slices[Int(transfer.slice)]
        guard transfer.number <= link.returnNumber + 1 else { return }
        if transfer.number == link.returnNumber + 1 {
            guard treasuries[treasury].canApplyReturn(transfer),
                EntryRules.isSound(transfer.ranges, treasuries[treasury].definition)
            else { return refuseFrame() }
            _ = journal(.poolTookBack(transfer), home, now: now, into: &effects)
            treasuries[treasury].applyReturn(transfer)
        } else if has(.returnTwice) {
            treasuries[treasury].takeAgain(transfer)
        }
        send(
            .returnTaken(transfer.pool, slice: transfer.slice, number: transfer.number),
            to: placement.shard(of: transfer.pool, slice: transfer.slice), into: &effects)
        if !transfer.final, !treasuries[treasury].control.closing {
            serveReturned(transfer, treasury, now: now, into: &effects)
        }
        guard treasuries[treasury].canClose else { return }
        _ = journal(.poolClosed(transfer.pool), home, now: now, into: &effects)
        treasuries[treasury].applyClosed()
        announce(treasury, into: &effects)
    }

    private mutating func serveReturned(
        _ transfer: Transfer, _ treasury: Int, now: Instant, into effects: inout EffectBuffer
    ) {
        let part = treasuries[treasury].part(of: transfer.slice)
        withdraw(treasury, now: now, into: &effects)
        serveAsks(treasury, part, now: now, into: &effects)
    }

    /// Tells every other core and node of the pool; this one notes it.
    mutating func announce(_ treasury: Int, into effects: inout EffectBuffer) {
        let told = treasuries[treasury]
        let frame = Frame.announce(told.definition, told.control, closed: told.isClosed)
        tellEveryone(frame, from: placement.home(of: told.pool), into: &effects)
        guard let pool = pools.find(told.pool) else { return }
        pools[pool].control = told.control
        pools[pool].isClosed = told.isClosed
    }

    /// Sends every slice what it has not confirmed.
    ///
    /// Frames arrive in order, and a closing slice seals at once: its leases go ahead of that.
    mutating func sendUnconfirmed(_ treasury: Int, into effects: inout EffectBuffer) {
        unconfirmed.watch(treasury)
        unconfirmed.isStale = true
        isUnconfirmed = true
        let home = treasuries[treasury]
        for (index, link) in home.slices.enumerated() {
            let slice = UInt32(index)
            let shard = placement.shard(of: home.pool, slice: slice)
            if !link.hasOpened {
                let first = PoolControl(version: 1, terms: home.definition.initial)
                send(.open(home.definition, slice: slice, first), to: shard, into: &effects)
            }
            for lease in link.inFlight { send(.lease(lease), to: shard, into: &effects) }
            let isNews = link.hasOpened || home.control.version > 1
            if isNews && link.confirmedVersion < home.control.version {
                send(.control(home.pool, slice: slice, home.control), to: shard, into: &effects)
            }
        }
    }
}

extension SliceTotals {
    mutating func add(_ other: SliceTotals) {
        credited += other.credited
        held += other.held
        granted += other.granted
        grantedFen += other.grantedFen
        pending += other.pending
        returned += other.returned
        quarantined += other.quarantined
        quarantinedFen += other.quarantinedFen
        retired += other.retired
        retiredFen += other.retiredFen
    }
}
