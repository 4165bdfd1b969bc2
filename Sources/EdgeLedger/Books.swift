public import EdgeTypes

/// Names a slice of a pool.
public struct SliceKey: Hashable, Sendable {
    public var pool: PoolKey
    public var slice: UInt32

    @inlinable
    public init(pool: PoolKey, slice: UInt32) {
        self.pool = pool
        self.slice = slice
    }
}

/// A slice's books as its entries have made them.
///
/// What entries do to them adds up: the books of some orders and those of everything else make the
/// slice's together, as long as both have seen when it was put out of play and back (`add`).
///
/// `held` is what remains of the identity credited = held + granted + pending + sold + returned +
/// quarantined + retired, so a slice that gave more than it had shows a negative `held`.
public struct SliceBooks: Hashable, Sendable {
    /// Units ever credited to it, and the number of the last transfer.
    public var credited: Int64 = 0
    public var credits: UInt32 = 0
    public var returned: Int64 = 0
    public var returns: UInt32 = 0
    /// Packets granted.
    public var granted: Int64 = 0
    public var grantedFen: Fen = 0
    /// Stock: units reserved and not yet paid.
    public var pending: Int64 = 0
    /// Stock: units paid for and not restocked.
    public var sold: Int64 = 0
    public var quarantined: Int64 = 0
    /// Once quarantined, and taken out of the pool by an operator.
    public var retired: Int64 = 0
    /// It has returned for the last time.
    public var sealed = false
    /// It is out of play: what comes to it is quarantined.
    public var lost = false

    public init() {}

    public var held: Int64 {
        credited - returned - granted - pending - sold - quarantined - retired
    }

    @inlinable
    public mutating func claim(_ amountFen: Fen) {
        granted += 1
        grantedFen += amountFen
    }

    public mutating func credit(_ transfer: Transfer) {
        credited += transfer.units
        credits = transfer.number
        setAside()
    }

    public mutating func giveBack(_ transfer: Transfer) {
        returned += transfer.units
        returns = transfer.number
        if transfer.final { seal() }
    }

    /// What it holds is out of play.
    public mutating func quarantine() {
        lost = true
        setAside()
    }

    /// It has returned for the last time.
    public mutating func seal() {
        sealed = true
        setAside()
    }

    /// What it would hold is out of play where it grants nothing.
    private mutating func setAside() {
        if sealed || lost { quarantined += held }
    }

    /// Takes in what some of its orders have made, in books that began empty.
    public mutating func add(_ part: SliceBooks) {
        pending += part.pending
        sold += part.sold
        quarantined += part.quarantined
        retired += part.retired
    }

    /// An operator has decided what becomes of what is out of play.
    public mutating func resolve(_ resolution: Resolution) {
        switch resolution {
        case .release: lost = false
        case .retire: retired += quarantined
        }
        quarantined = 0
    }

    /// - Parameter before: nil for a new order.
    public mutating func order(from before: OrderRecord?, to after: OrderRecord) {
        let unitsBefore = Int64(before?.quantity ?? 0)
        if before?.state == .reserved { pending -= unitsBefore }
        if after.state == .reserved { pending += Int64(after.quantity) }
        sold += after.soldUnits - (before?.soldUnits ?? 0)
        setAside()
    }
}

/// A pool's treasury as the entries of its home have made it.
public struct TreasuryBooks: Hashable, Sendable {
    public var funded: Int64 = 0
    public var leased: Int64 = 0
    public var takenBack: Int64 = 0
    /// Transfers either way, over all slices.
    public var leases: Int64 = 0
    public var takeBacks: Int64 = 0

    public init() {}

    public var inTreasury: Int64 { funded - leased + takenBack }

    public mutating func fund(_ units: Int64) { funded += units }

    public mutating func lease(_ transfer: Transfer) {
        leased += transfer.units
        leases += 1
    }

    public mutating func takeBack(_ transfer: Transfer) {
        takenBack += transfer.units
        takeBacks += 1
    }
}

/// Terms of a pool as its home's entries have made them.
public struct PoolStanding: Hashable, Sendable {
    public var control: PoolControl
    public var closed = false
    public var createdMs: UnixMs = 0
    public var closedMs: UnixMs = 0
    public var createdBy = Text64()
    /// The highest limit that was ever in force: no user may be above it.
    public var highestLimit: UInt32

    /// As first given.
    public init(_ definition: PoolDefinition) {
        control = PoolControl(version: 0, terms: definition.initial)
        highestLimit = definition.initial.limit
    }

    /// Puts together a standing that a store holds.
    public init(
        control: PoolControl, closed: Bool, createdMs: UnixMs, closedMs: UnixMs,
        createdBy: Text64, highestLimit: UInt32
    ) {
        self.control = control
        self.closed = closed
        self.createdMs = createdMs
        self.closedMs = closedMs
        self.createdBy = createdBy
        self.highestLimit = highestLimit
    }

    /// Takes a control; an older one than that known changes nothing.
    public mutating func take(_ next: PoolControl) {
        highestLimit = max(highestLimit, next.terms.limit)
        if next.version > control.version { control = next }
    }

    /// The word that stores hold. `open` includes pools whose opening time is to come.
    public var word: String {
        if closed { return "closed" }
        if control.closing { return "closing" }
        return control.paused ? "paused" : "open"
    }
}
