import EdgeLedger
import EdgeReconciler
import EdgeTypes

/// Reads what batches have made, through any engine.
struct LedgerReader {
    let engine: any SQLEngine

    func watermarks() throws -> WatermarkTable {
        var table = WatermarkTable()
        try engine.read("SELECT shard, epoch, sequence, time FROM watermarks", []) { row in
            let (shard, mark) = try Self.watermark(row)
            table[shard] = mark
        }
        return table
    }

    static func watermark(_ row: any SQLRow) throws -> (ShardID, Watermark) {
        guard let shard = ShardID(exactly: row.integer(0)), Int(shard) < Limits.shards,
            let epoch = UInt32(exactly: row.integer(1)),
            let sequence = UInt64(exactly: row.integer(2))
        else { throw StoreError.badRow("watermarks: shard \(row.integer(0))") }
        return (shard, Watermark(epoch: epoch, sequence: sequence, timeMs: row.integer(3)))
    }

    func cursor(lane: String) throws -> SourceCursor? {
        var found: SourceCursor?
        try engine.read(
            "SELECT segment, `offset` FROM cursors WHERE lane = ?", [.text(lane)]
        ) { row in
            found = SourceCursor(
                segment: UInt64(bitPattern: row.integer(0)),
                offset: UInt64(bitPattern: row.integer(1)))
        }
        return found
    }

    /// Slices of a shard, those after `key`, at most `limit`.
    func slices(of shard: ShardID) throws -> [SliceRow] {
        var slices: [SliceRow] = []
        try engine.read(
            LedgerTables.selectSlices + " WHERE shard = ? ORDER BY pool_key, slice",
            [.integer(Int64(shard))]
        ) { row in slices.append(try LedgerTables.slice(row)) }
        return slices
    }

    /// Events of a shard after an entry, in order, at most `limit`.
    func events(of shard: ShardID, after sequence: UInt64, limit: Int) throws -> [EventRow] {
        var events: [EventRow] = []
        try engine.read(
            """
            SELECT entry_id, type, subject, time, data FROM outbox
            WHERE entry_id > ? AND entry_id <= ? ORDER BY entry_id LIMIT ?
            """,
            [
                .integer(EntryID.of(shard: shard, sequence: sequence)),
                .integer(EntryID.of(shard: shard, sequence: (1 << 48) - 1)),
                .integer(Int64(limit)),
            ]
        ) { row in events.append(try LedgerTables.event(row)) }
        return events
    }

    /// Deletes events after one entry and up to another, that are older than a time; at most
    /// `limit`.
    ///
    /// - Returns: how many were deleted.
    func deleteEvents(
        after first: Int64, upTo end: Int64, olderThanMs: UnixMs, limit: Int
    ) throws -> Int {
        var last: Int64?
        try engine.read(
            """
            SELECT entry_id FROM outbox WHERE entry_id > ? AND entry_id <= ? AND time < ?
            ORDER BY entry_id LIMIT ?
            """,
            [
                .integer(first), .integer(end), .integer(olderThanMs), .integer(Int64(limit)),
            ]
        ) { row in last = row.integer(0) }
        guard let last else { return 0 }
        return try engine.run(
            "DELETE FROM outbox WHERE entry_id > ? AND entry_id <= ? AND time < ?",
            [.integer(first), .integer(last), .integer(olderThanMs)])
    }
}
