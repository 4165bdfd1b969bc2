/// What a pool's home and its slices say to each other. A frame leaves only after the entry that
/// it tells of is committed, and is sent again until it is answered.
public enum Frame: Sendable {
    // Home → slice.
    case open(PoolDefinition, slice: UInt32, PoolControl)
    /// The leases that are not confirmed go ahead of it: a slice that closes takes no more.
    case control(PoolKey, slice: UInt32, PoolControl)
    case lease(Transfer)
    case returnTaken(PoolKey, slice: UInt32, number: UInt32)
    /// Give back what you hold, all slices of a part: the treasury is dry and somebody waits.
    case recall(Recall)
    case inquire(PoolKey, slice: UInt32, inquiry: UInt64)
    /// What is quarantined there has been decided on.
    case resolve(PoolKey, slice: UInt32, Resolve)

    // A core that passes requests on ↔ a slice, and → home.
    case askWinners(WinnersAsked)
    case winners(Winners)
    /// Repeat to everybody what is left of a part: somebody is about to stop believing it.
    case renew(PoolKey, part: UInt16)

    // Slice → home.
    case opened(PoolKey, slice: UInt32)
    case controlled(PoolKey, slice: UInt32, version: UInt32)
    case leaseTaken(PoolKey, slice: UInt32, number: UInt32)
    case returned(Transfer)
    case ask(UnitsAsked)
    /// The answer to a recall: what was given back goes ahead of it.
    case swept(Sweep)
    /// Units have come back to a slice although none were left anywhere, by the certificate of
    /// that generation.
    case freed(PoolKey, slice: UInt32, generation: UInt32)
    case report(PoolKey, slice: UInt32, inquiry: UInt64, SliceTotals, SliceStanding)
    /// Nothing is left to do there of what was decided on.
    case resolved(PoolKey, slice: UInt32, inquiry: UInt64)

    // Home → every core: the pool exists, and this is how it stands.
    case announce(PoolDefinition, PoolControl, closed: Bool)
    /// Home → every core: what is left of a part of the pool, or that this is no longer so.
    case soldOut(PoolKey, SoldOut)

    /// Whether whoever hears it counts on it for good: it is said once, or tells that what was said
    /// once has come. So does a slice that asks for more: the lease that it had last has come.
    public var isCounted: Bool {
        switch self {
        case .open, .control, .lease, .returnTaken, .opened, .controlled, .leaseTaken, .returned,
            .ask, .resolve, .resolved:
            true
        case .recall, .inquire, .swept, .freed, .report, .announce, .soldOut, .askWinners,
            .winners, .renew:
            false
        }
    }

    /// Whether it says of some slice that nothing of it ever comes back.
    public var isFinal: Bool {
        guard case .swept(let sweep) = self else { return false }
        return sweep.slices.contains { $0.isFinal }
    }

    /// Whether all cores of a node take it, whichever shard it was sent for.
    public var isForEveryCore: Bool {
        switch self {
        case .announce, .recall, .soldOut: true
        case .open, .control, .lease, .returnTaken, .inquire, .resolve, .opened, .controlled,
            .leaseTaken, .returned, .ask, .swept, .freed, .report, .resolved, .askWinners,
            .winners, .renew:
            false
        }
    }
}

/// A slice wants units of its treasury.
public struct UnitsAsked: Hashable, Sendable {
    public var pool: PoolKey
    public var slice: UInt32
    /// The last lease that it has taken: one that is under way is the answer.
    public var after: UInt32
    /// Units that those who wait there want in all; 0: nobody waits yet.
    public var wanted: Int64
    /// Units without which the first of them gets nothing.
    public var least: Int64

    public init(pool: PoolKey, slice: UInt32, after: UInt32, wanted: Int64, least: Int64) {
        self.pool = pool
        self.slice = slice
        self.after = after
        self.wanted = wanted
        self.least = least
    }
}

/// Units that go from the treasury of one region to that of another.
public struct UnitMove: Hashable, Sendable {
    public var pool: PoolKey
    /// Numbers of regions.
    public var from: UInt16
    public var to: UInt16
    public var ranges: [UnitRange]

    public init(pool: PoolKey, from: UInt16, to: UInt16, ranges: [UnitRange]) {
        self.pool = pool
        self.from = from
        self.to = to
        self.ranges = ranges
    }
}

/// One round in which all slices of a part give back what they hold.
public struct Recall: Hashable, Sendable {
    public var pool: PoolKey
    /// The region's number; 0 where the pool tells none apart.
    public var part: UInt16
    /// Never the same twice, also by a home that started anew.
    public var round: UInt64
    /// The last round that all slices answered; 0: none.
    public var after: UInt64

    public init(pool: PoolKey, part: UInt16, round: UInt64, after: UInt64) {
        self.pool = pool
        self.part = part
        self.round = round
        self.after = after
    }
}

/// What a core's slices answer to a recall.
public struct Sweep: Hashable, Sendable {
    public var pool: PoolKey
    public var part: UInt16
    public var round: UInt64
    public var slices: [SweptSlice]

    public init(pool: PoolKey, part: UInt16, round: UInt64, slices: [SweptSlice]) {
        self.pool = pool
        self.part = part
        self.round = round
        self.slices = slices
    }
}

public struct SweptSlice: BitwiseCopyable, Hashable, Sendable {
    public var slice: UInt32
    /// The last return that it has made: it counts only once its home has taken that.
    public var returnNumber: UInt32
    /// It holds nothing, and nothing has come to it since it answered the round before.
    public var isQuiet: Bool
    /// And nothing of it is out of play either. Told only where every node can read it.
    public var isFinal: Bool

    public init(slice: UInt32, returnNumber: UInt32, isQuiet: Bool, isFinal: Bool = false) {
        self.slice = slice
        self.returnNumber = returnNumber
        self.isQuiet = isQuiet
        self.isFinal = isFinal
    }
}

/// How many units of a part were left at a moment when no slice held any and none was on its way;
/// or that units have come back since.
///
/// Later ones, by epoch and generation, replace earlier ones.
public struct SoldOut: Hashable, Sendable {
    public var part: UInt16
    public var epoch: UInt32
    public var generation: UInt32
    /// Nobody can have more than so many; below 0: more have come back.
    public var left: Int64
    /// Nothing is left and nothing is out of play: of a rain nothing can ever come back.
    public var isFinal: Bool

    public init(
        part: UInt16, epoch: UInt32, generation: UInt32, left: Int64, isFinal: Bool = false
    ) {
        self.part = part
        self.epoch = epoch
        self.generation = generation
        self.left = left
        self.isFinal = isFinal
    }

    /// What is written of `left` and `isFinal`: −2 for both at once.
    public var written: Int64 { isFinal ? Self.finalLeft : left }

    private static let finalLeft: Int64 = -2

    public init(part: UInt16, epoch: UInt32, generation: UInt32, written: Int64) {
        let isFinal = written == Self.finalLeft
        self.init(
            part: part, epoch: epoch, generation: generation, left: isFinal ? 0 : written,
            isFinal: isFinal)
    }

    public var stands: Bool { left >= 0 }

    public func isNewer(than other: SoldOut) -> Bool {
        (epoch, generation) > (other.epoch, other.generation)
    }
}

/// Whether a slice is in play.
public struct SliceStanding: BitwiseCopyable, Hashable, Sendable {
    /// How often a crash has put it out of play.
    public var quarantines: UInt32
    /// It grants nothing until an operator releases it.
    public var isLost: Bool
    /// Its claims or orders have left memory. Told only where every node can read it.
    public var isArchived: Bool

    public init(quarantines: UInt32, isLost: Bool, isArchived: Bool = false) {
        self.quarantines = quarantines
        self.isLost = isLost
        self.isArchived = isArchived
    }
}

/// What an operator has decided about a slice.
public struct Resolve: Hashable, Sendable {
    /// Under which number the home knows the command.
    public var inquiry: UInt64
    /// The slice's `quarantines` when it was decided: what a later crash puts out of play is not
    /// meant.
    public var quarantines: UInt32
    public var resolution: Resolution
    public var actor: Text64

    public init(inquiry: UInt64, quarantines: UInt32, resolution: Resolution, actor: Text64) {
        self.inquiry = inquiry
        self.quarantines = quarantines
        self.resolution = resolution
        self.actor = actor
    }
}

/// A slice's books. `credited = held + granted + pending + returned + quarantined + retired`
/// always.
public struct SliceTotals: Hashable, Sendable {
    /// Units ever leased to it.
    public var credited: Int64 = 0
    /// Units it could grant now.
    public var held: Int64 = 0
    /// Packets granted, or units sold (paid, refunded without restock).
    public var granted: Int64 = 0
    public var grantedFen: Fen = 0
    /// Stock: units reserved and not yet paid.
    public var pending: Int64 = 0
    public var returned: Int64 = 0
    public var quarantined: Int64 = 0
    public var quarantinedFen: Fen = 0
    /// Once quarantined, and taken out of the pool by an operator.
    public var retired: Int64 = 0
    public var retiredFen: Fen = 0

    public init() {}
}
