/// What a pool's home and its slices say to each other. A frame leaves only after the entry that
/// it tells of is committed, and is sent again until it is answered.
public enum Frame: Sendable {
    // Home → slice.
    case open(PoolDefinition, slice: UInt32, PoolControl)
    /// The leases that are not confirmed go ahead of it: a slice that closes takes no more.
    case control(PoolKey, slice: UInt32, PoolControl)
    case lease(Transfer)
    case returnTaken(PoolKey, slice: UInt32, number: UInt32)
    /// Give back what you hold beyond your own waiters.
    case recall(PoolKey, slice: UInt32, round: UInt32)
    case inquire(PoolKey, slice: UInt32, inquiry: UInt64)

    // Slice → home.
    case opened(PoolKey, slice: UInt32)
    case controlled(PoolKey, slice: UInt32, version: UInt32)
    case leaseTaken(PoolKey, slice: UInt32, number: UInt32)
    case returned(Transfer)
    case ask(PoolKey, slice: UInt32, wanted: Int64)
    case nothingToReturn(PoolKey, slice: UInt32, round: UInt32)
    case report(PoolKey, slice: UInt32, inquiry: UInt64, SliceTotals)

    // Home → every core: the pool exists, and this is how it stands.
    case announce(PoolDefinition, PoolControl, closed: Bool)
}

/// A slice's books. `credited = held + granted + pending + returned + quarantined` always.
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

    public init() {}
}
