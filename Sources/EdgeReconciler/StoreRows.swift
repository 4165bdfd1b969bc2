public import EdgeLedger
public import EdgeTypes

// Rows of a store as values, whatever engine holds them.

/// A pool: who it is, its terms, its treasury.
public struct PoolRow: Hashable, Sendable {
    public var key: PoolKey
    public var family: PoolFamily
    public var name: Text64
    /// Its home's creation has been applied; not only a slice's opening, which may come first.
    public var created: Bool
    public var standing: PoolStanding
    public var treasury: TreasuryBooks

    public init(
        key: PoolKey, family: PoolFamily, name: Text64, created: Bool, standing: PoolStanding,
        treasury: TreasuryBooks
    ) {
        self.key = key
        self.family = family
        self.name = name
        self.created = created
        self.standing = standing
        self.treasury = treasury
    }
}

/// A slice of a pool and its books.
public struct SliceRow: Hashable, Sendable {
    public var key: SliceKey
    public var shard: ShardID
    public var books: SliceBooks

    public init(key: SliceKey, shard: ShardID, books: SliceBooks) {
        self.key = key
        self.shard = shard
        self.books = books
    }
}

/// An event for other systems, made by one entry.
public struct EventRow: Hashable, Sendable {
    /// `EntryID` of the entry: no entry makes two.
    public var id: Int64
    /// `order.paid` and others.
    public var type: String
    /// The order's id or the pool's name.
    public var subject: Text64
    public var timeMs: UnixMs
    /// A JSON object.
    public var data: String

    public init(id: Int64, type: String, subject: Text64, timeMs: UnixMs, data: String) {
        self.id = id
        self.type = type
        self.subject = subject
        self.timeMs = timeMs
        self.data = data
    }

    /// As consumers know it: `shard-sequence`.
    public var name: String { "\(EntryID.shard(of: id))-\(EntryID.sequence(of: id))" }
}

/// What a batch that a store has committed has made of its rows.
public struct StoreChanges: Sendable {
    /// How far each shard of the batch went.
    public var ranges: [ShardRange] = []
    public var pools: [PoolRow] = []
    public var slices: [SliceRow] = []
    /// Orders that are new or have changed, as they are now.
    public var orders: [OrderRecord] = []
    /// In order within each shard.
    public var events: [EventRow] = []

    public init() {}
}
