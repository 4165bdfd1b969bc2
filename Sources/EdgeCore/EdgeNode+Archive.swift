import EdgeDomain
import EdgeLedger
import EdgeMemory
public import EdgeTypes

/// What a core knows of the store, and what it gives back to the system.
struct Archive: ~Copyable {
    /// By local shard: how far the store has it, as was told last. It may go back: a store may be
    /// restored from a backup.
    var stored: [UInt64]
    /// The next slice to be looked at, and when all of them are looked at again.
    var cursor = 0
    /// Likewise of the SKUs: a book, and a slice of it.
    var book = 0
    var bookSlot = 0
    var lookNs: UInt64 = 0
    /// Tables of archived slices that are not given back yet.
    var remains = SlotArray<ClaimTables>(capacity: 4)
    /// Books of which more than half is archived.
    var sparse: [SparseBook] = []
    /// No book is compacted before.
    var restsUntilNs: UInt64 = 0
    /// When there is something to do, by the monotonic clock; `UInt64.max`: never. And when the
    /// shell is asked to come for it, by the other.
    var dueNs: UInt64
    var dueMs: UnixMs = 0

    init(shards: Int, isOn: Bool) {
        stored = Array(repeating: 0, count: shards)
        dueNs = isOn ? 0 : .max
    }

    /// All slices are looked at so often, these many in one step, of which so many are archived.
    static let lookEveryNs: UInt64 = 1_000_000_000
    static let looksPerStep = 4_096
    static let slicesPerStep = 8
    /// So much memory is given back in one step, and of so many slices bit by bit.
    static let bytesPerStep = 512 << 10
    static let mostRemains = 64
    /// So much later than who serves it, whoever follows a shard compacts its book.
    static let followersWaitNs: UInt64 = 10_000_000_000
    /// From one compaction to the next.
    static let restNs: UInt64 = 2_000_000_000
    /// Orders that are moved at once: 0.2 to 0.3 s, a third of what others wait for a node's word.
    static let mostMoved = 500_000

    /// There is something to do now.
    mutating func isDue(_ now: Instant) {
        dueNs = min(dueNs, now.monotonicNs)
        dueMs = min(dueMs, now.wallMs)
    }
}

/// A book that is to be compacted, and when.
struct SparseBook {
    var local: Int
    var dueNs: UInt64
}

/// The archive: a rain's slice that is closed for good lets its claims go once the store has them.
///
/// A slice archives itself; its pool's home and what the two say to each other stay as they are.
/// The shard's primary journals `sliceArchived` where the slice is sealed, its home has taken all
/// it gave back, nothing of it is quarantined, the store has the shard up to the slice's last
/// return, and `archiveAfterMs` have gone by since that. Whoever applies the entry keeps totals,
/// numbers and terms, and nothing else: INFO, inquiries and what operators resolve go on as before.
///
/// What needs the claims (a grab, a user's claims) is answered with the question to be put to the
/// store and how far the store must have come (`ArchivedQuestion`), by the shell at the client's
/// node. A slice that is sealed stays so, and what the store has is committed: such an answer waits
/// for nothing here.
extension EdgeNode {
    /// The store has a shard so far.
    mutating func noteStored(_ shard: ShardID, _ sequence: UInt64) {
        if let local = local(shard) { archive.stored[local] = sequence }
    }

    /// Looks for slices that may go, and gives back what those took that went. Bounded: see
    /// `Archive`.
    @inline(never)
    mutating func tendArchive(isFull: Bool, into effects: inout EffectBuffer) {
        let nowNs = current.monotonicNs
        if nowNs >= archive.dueNs {
            giveBackTables()
            compactOne()
            if nowNs >= archive.lookNs, configuration.isArchiving {
                // What other nodes could not read is not written.
                let isHeld = isFull || (spoken < ProtocolVersion.archive && !has(.writesUnread))
                let isHeldOfOrders =
                    isFull || (spoken < ProtocolVersion.archiveOrders && !has(.writesUnread))
                var isDone = isHeld || archiveSome(into: &effects)
                if !isHeldOfOrders { isDone = archiveSomeOrders(into: &effects) && isDone }
                archive.lookNs = isDone ? nowNs &+ Archive.lookEveryNs : nowNs
            }
            var nextNs = configuration.isArchiving ? archive.lookNs : .max
            for book in archive.sparse {
                nextNs = min(nextNs, max(book.dueNs, archive.restsUntilNs))
            }
            if archive.remains.count > 0 { nextNs = nowNs }
            let waitNs = max(nextNs, nowNs + 1_000_000) - nowNs
            let isOver = nextNs == .max
            archive.dueNs = isOver ? .max : nowNs &+ waitNs
            // Said once, so that the shell need not set its timer anew at every step.
            archive.dueMs = isOver ? .max : current.wallMs + Int64(waitNs / 1_000_000) + 1
        } else if current.wallMs >= archive.dueMs {
            // The wall clock has stepped.
            let leftMs = Int64((archive.dueNs - nowNs) / 1_000_000)
            archive.dueMs = current.wallMs + leftMs + 1
        }
        effects.nextDeadlineMs = min(effects.nextDeadlineMs, archive.dueMs)
    }

    /// - Returns: whether all slices were looked at.
    private mutating func archiveSome(into effects: inout EffectBuffer) -> Bool {
        guard configuration.archiveAfterMs != .max else { return true }
        var looked = 0
        var archived = 0
        while archive.cursor < slices.count {
            guard looked < Archive.looksPerStep, archived < Archive.slicesPerStep else {
                return false
            }
            let slot = archive.cursor
            archive.cursor += 1
            looked += 1
            guard isReady(slot) else { continue }
            archived += 1
            _ = journal(
                .sliceArchived(
                    slices[slot].pool, slice: slices[slot].slice, first: slices[slot].openedAt),
                slices[slot].shard, now: current, into: &effects)
            archiveSlice(slot)
        }
        archive.cursor = 0
        return true
    }

    private func isReady(_ slot: Int) -> Bool {
        let local = slices[slot].localShard
        guard local >= 0, !slices[slot].isArchived, shards[local].isServing,
            isLeased(shards[local].id, current)
        else { return false }
        if has(.archivedUnsealed) { return slices[slot].claimCount > 0 }
        guard slices[slot].canArchive,
            slices[slot].unacknowledgedReturn == nil || pools[slices[slot].poolIndex].isClosed,
            archive.stored[local] >= slices[slot].sealedAt || has(.archivedUnstored)
        else { return false }
        // The shard's time is the later of its last entry and the clock.
        let sinceMs = max(shards[local].timeMs, current.wallMs) - slices[slot].sealedMs
        return sinceMs >= configuration.archiveAfterMs
    }

    /// Lets a slice's claims go: what its entry says.
    mutating func archiveSlice(_ slot: Int) {
        counters.archivedSlices &+= 1
        counters.archivedClaims &+= UInt64(slices[slot].claimCount)
        // The home has taken what it gave back, whoever has heard that.
        unconfirmed.returnTaken(
            slices[slot].pool, slices[slot].slice, slices[slot].returnedNumber)
        unconfirmed.isStale = true
        let tables = slices[slot].archive()
        // At a restart thousands may come at once: then nobody waits.
        guard archive.remains.count < Archive.mostRemains else { return }
        archive.remains.append(tables)
        archive.isDue(current)
    }

    private mutating func giveBackTables() {
        let last = archive.remains.count - 1
        guard last >= 0, archive.remains[last].release(bytes: Archive.bytesPerStep) else { return }
        _ = archive.remains.removeLast()
    }

    /// Answers with what the store is to be asked.
    ///
    /// - Parameters:
    ///   - outcome: what a grab hears whose user has nothing, with its time.
    @inline(never)
    mutating func askArchive(
        _ request: Request, _ slot: Int, _ outcome: Outcome, _ timeMs: UnixMs,
        into effects: inout EffectBuffer
    ) {
        counters.archivedQuestions &+= 1
        let isGrab = request.operation == .grab
        if isGrab, has(.archivedWinnerClosed) {
            return effects.replies.append(
                Reply(
                    ticket: request.ticket, shape: .grab, outcome: outcome, waitsForJournal: false,
                    timeMs: timeMs))
        }
        let shard = slices[slot].shard
        let last = slices[slot].isSealed ? slices[slot].sealedAt : sequence(of: shard)
        let question = ArchivedQuestion(
            pool: pools[slices[slot].poolIndex].definition.name, user: request.user,
            isGrab: isGrab, requestHash: request.requestHash,
            limit: slices[slot].control.terms.limit,
            first: EntryID.of(shard: shard, sequence: slices[slot].openedAt),
            last: EntryID.of(shard: shard, sequence: last))
        effects.replies.append(
            Reply(
                ticket: request.ticket, shape: .archived, outcome: outcome,
                waitsForJournal: false, body: Int32(effects.bodies.count), timeMs: timeMs))
        effects.bodies.append(question.value)
    }

    // MARK: For simulators

    /// Claims that this core holds of a rain's slice, and whether they have left it; nil: the slice
    /// is not here.
    public func claims(
        ofSlice slice: UInt32, _ key: PoolKey
    ) -> (held: Int, isArchived: Bool)? {
        guard let pool = pools.find(key), pools[pool].definition.kind != .stock,
            let slot = pools[pool].held(slice)
        else { return nil }
        return (slices[slot].claimCount, slices[slot].isArchived)
    }
}
