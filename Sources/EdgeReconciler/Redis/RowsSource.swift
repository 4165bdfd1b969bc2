public import EdgeLedger
public import EdgeTypes

/// A pool's row with what never changes in it.
public struct MirroredPool: Hashable, Sendable {
    public var row: PoolRow
    /// Packets, or units of stock, as created; refills come on top.
    public var units: Int64
    /// A rain's total; the price of one unit of stock.
    public var amountFen: Fen
    public var slices: UInt32

    public init(row: PoolRow, units: Int64, amountFen: Fen, slices: UInt32) {
        self.row = row
        self.units = units
        self.amountFen = amountFen
        self.slices = slices
    }
}

/// The slices of some shards, and how far these shards had been applied at that moment.
public struct ShardSlices: Sendable {
    public var rows: [SliceRow]
    public var watermarks: WatermarkTable

    public init(rows: [SliceRow], watermarks: WatermarkTable) {
        self.rows = rows
        self.watermarks = watermarks
    }
}

/// What a follower reads of a store, on a connection of its own. Used from one thread.
///
/// Every answer is of committed rows only.
public protocol RowsSource: AnyObject {
    /// Names this store and no other, for good: made when it is asked for first.
    func identity() throws(StoreError) -> String

    /// How far each shard has been applied.
    func watermarks() throws(StoreError) -> WatermarkTable

    /// The pools of these keys; those that are not there are left out.
    func pools(_ keys: [PoolKey]) throws(StoreError) -> [MirroredPool]

    /// The next pools in the order of their keys, whichever fixed order that is.
    ///
    /// - Parameter after: the last one of the page before; nil: from the first.
    func pools(after: PoolKey?, limit: Int) throws(StoreError) -> [MirroredPool]

    /// All slices of these shards with their watermarks, as of one moment. O(slices of the store)
    /// where there is no index over shards: ask for many shards at once.
    func slices(ofShards shards: [ShardID]) throws(StoreError) -> ShardSlices

    /// Events of the outbox in the order of their ids.
    ///
    /// - Parameter after: the `EntryID` they come after.
    func events(
        ofShard shard: ShardID, after: Int64, limit: Int
    ) throws(StoreError) -> [EventRow]

    /// Deletes events of the outbox.
    ///
    /// - Parameters:
    ///   - after: the `EntryID` they come after.
    ///   - upTo: the last one's.
    ///   - olderThanMs: those of this time or later stay.
    /// - Returns: how many were deleted.
    func deleteEvents(
        ofShard shard: ShardID, after: Int64, upTo: Int64, olderThanMs: UnixMs
    ) throws(StoreError) -> Int

    /// Gives the connection back. Idempotent.
    func close()
}
