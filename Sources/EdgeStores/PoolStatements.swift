import EdgeLedger
import EdgeReconciler
import EdgeTypes
import GRDB

/// SQL of pools, rains, stock and slices.
final class PoolStatements {
    struct PoolRow {
        var family: PoolFamily
        var name: Text64
        var created: Bool
        var standing: PoolStanding
        var treasury: TreasuryBooks
    }

    struct SliceRow {
        var shard: ShardID
        var books: SliceBooks
    }

    private let insertPool: HotStatement
    private let insertSecret: HotStatement
    private let insertRain: HotStatement
    private let insertStock: HotStatement
    private let insertSlice: HotStatement
    private let selectPool: HotStatement
    private let selectSlice: HotStatement
    private let updatePool: HotStatement
    private let updateRain: HotStatement
    private let updateStock: HotStatement
    private let updateSlice: HotStatement
    private let reveal: HotStatement
    private let forget: HotStatement

    init(_ database: Database) throws(StoreError) {
        insertPool = try HotStatement(
            database,
            """
            INSERT INTO pools VALUES
                (?1, ?2, ?3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', 0, 0, 0, 0, 0)
            """)
        insertSecret = try HotStatement(database, "INSERT INTO pool_secrets VALUES (?1, ?2)")
        insertRain = try HotStatement(
            database,
            """
            INSERT INTO rains (pool, kind, count, amount, min_amount, max_amount, user_limit,
                state, durability, slices, regions, commitment)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, '', ?7, ?8, ?9, ?10)
            """)
        insertStock = try HotStatement(
            database,
            """
            INSERT INTO stock (sku, units, price, hold_ms, user_limit, state, durability, slices,
                regions)
            VALUES (?1, ?2, ?3, ?4, 0, '', ?5, ?6, ?7)
            """)
        insertSlice = try HotStatement(
            database,
            "INSERT INTO slices VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)")
        selectPool = try HotStatement(database, Self.selectPoolSQL + " WHERE key = ?1")
        selectSlice = try HotStatement(
            database, Self.selectSliceSQL + " WHERE pool_key = ?1 AND slice = ?2")
        updatePool = try HotStatement(
            database,
            """
            UPDATE pools SET created = ?2, control_version = ?3, opens_at = ?4, closes_at = ?5,
                user_limit = ?6, highest_limit = ?7, paused = ?8, closing = ?9, closed = ?10,
                created_at = ?11, closed_at = ?12, created_by = ?13, funded = ?14, leased = ?15,
                taken_back = ?16, leases = ?17, take_backs = ?18
            WHERE key = ?1
            """)
        let terms = """
            user_limit = ?2, opens_at = ?3, closes_at = ?4, state = ?5, created_at = ?6,
            created_by = ?7, closed_at = ?8
            """
        updateRain = try HotStatement(database, "UPDATE rains SET \(terms) WHERE pool = ?1")
        updateStock = try HotStatement(
            database, "UPDATE stock SET \(terms), units = coalesce(?9, units) WHERE sku = ?1")
        updateSlice = try HotStatement(
            database,
            """
            UPDATE slices SET credited = ?3, credits = ?4, returned = ?5, returns = ?6,
                granted = ?7, granted_amount = ?8, pending = ?9, sold = ?10, quarantined = ?11,
                sealed = ?12, retired = ?13, lost = ?14
            WHERE pool_key = ?1 AND slice = ?2
            """)
        reveal = try HotStatement(
            database,
            """
            UPDATE rains SET seed = (SELECT seed FROM pool_secrets WHERE key = ?2)
            WHERE pool = ?1 AND seed IS NULL
            """)
        forget = try HotStatement(database, "DELETE FROM pool_secrets WHERE key = ?1")
    }

    // MARK: Reading

    static let selectPoolSQL = """
        SELECT family, name, created, control_version, opens_at, closes_at, user_limit,
            highest_limit, paused, closing, closed, created_at, closed_at, created_by, funded,
            leased, taken_back, leases, take_backs, key
        FROM pools
        """

    static let selectSliceSQL = """
        SELECT shard, credited, credits, returned, returns, granted, granted_amount, pending,
            sold, quarantined, sealed, pool_key, slice, retired, lost
        FROM slices
        """

    func select(_ key: PoolKey) throws(StoreError) -> PoolRow? {
        selectPool.bind(1, Int64(bitPattern: key.rawValue))
        guard try selectPool.step() else { return nil }
        defer { selectPool.reset() }
        return try Self.pool(selectPool)
    }

    func selectSlice(_ pool: PoolKey, _ slice: UInt32) throws(StoreError) -> SliceRow? {
        selectSlice.bind(1, Int64(bitPattern: pool.rawValue))
        selectSlice.bind(2, Int64(slice))
        guard try selectSlice.step() else { return nil }
        defer { selectSlice.reset() }
        return try Self.slice(selectSlice)
    }

    /// The pool of the current row of `selectPoolSQL`.
    static func pool(_ row: HotStatement) throws(StoreError) -> PoolRow {
        guard let name = row.text64(1), let version = UInt32(exactly: row.integer(3)),
            let limit = UInt32(exactly: row.integer(6)),
            let highest = UInt32(exactly: row.integer(7)), let actor = row.text64(13)
        else { throw .badRow("pools: \(row.text(1))") }
        let control = PoolControl(
            version: version,
            terms: PoolTerms(opensMs: row.integer(4), closesMs: row.integer(5), limit: limit),
            paused: row.integer(8) != 0, closing: row.integer(9) != 0)
        var treasury = TreasuryBooks()
        treasury.funded = row.integer(14)
        treasury.leased = row.integer(15)
        treasury.takenBack = row.integer(16)
        treasury.leases = row.integer(17)
        treasury.takeBacks = row.integer(18)
        return PoolRow(
            family: try family(row.text(0)), name: name, created: row.integer(2) != 0,
            standing: PoolStanding(
                control: control, closed: row.integer(10) != 0, createdMs: row.integer(11),
                closedMs: row.integer(12), createdBy: actor, highestLimit: highest),
            treasury: treasury)
    }

    /// The slice of the current row of `selectSliceSQL`.
    static func slice(_ row: HotStatement) throws(StoreError) -> SliceRow {
        guard let shard = ShardID(exactly: row.integer(0)),
            let credits = UInt32(exactly: row.integer(2)),
            let returns = UInt32(exactly: row.integer(4))
        else { throw .badRow("slices of shard \(row.integer(0))") }
        var books = SliceBooks()
        books.credited = row.integer(1)
        books.credits = credits
        books.returned = row.integer(3)
        books.returns = returns
        books.granted = row.integer(5)
        books.grantedFen = row.integer(6)
        books.pending = row.integer(7)
        books.sold = row.integer(8)
        books.quarantined = row.integer(9)
        books.sealed = row.integer(10) != 0
        books.retired = row.integer(13)
        books.lost = row.integer(14) != 0
        return SliceRow(shard: shard, books: books)
    }

    // MARK: Writing

    func insert(
        _ key: PoolKey, _ definition: PoolDefinition, _ standing: PoolStanding
    ) throws(StoreError) {
        let family = definition.kind.family
        insertPool.bind(1, Int64(bitPattern: key.rawValue))
        insertPool.bind(2, Self.word(family))
        insertPool.bind(3, definition.name)
        try insertPool.run()
        switch family {
        case .rain: try insertRain(key, definition)
        case .stock: try insertStock(definition)
        }
    }

    private func insertRain(_ key: PoolKey, _ definition: PoolDefinition) throws(StoreError) {
        insertRain.bind(1, definition.name)
        insertRain.bind(2, Self.word(definition.kind))
        insertRain.bind(3, definition.units)
        insertRain.bind(4, definition.amountFen)
        insertRain.bind(5, definition.minFen)
        insertRain.bind(6, definition.maxFen)
        insertRain.bind(7, Self.word(definition.durability))
        insertRain.bind(8, Int64(definition.slices))
        bind(regions: definition.regions, insertRain, 9)
        insertRain.bind(10, definition.commitment.hex)
        try insertRain.run()
        insertSecret.bind(1, Int64(bitPattern: key.rawValue))
        insertSecret.bind(2, definition.seed.hex)
        try insertSecret.run()
    }

    private func insertStock(_ definition: PoolDefinition) throws(StoreError) {
        insertStock.bind(1, definition.name)
        insertStock.bind(2, definition.units)
        insertStock.bind(3, definition.amountFen)
        insertStock.bind(4, definition.holdMs)
        insertStock.bind(5, Self.word(definition.durability))
        insertStock.bind(6, Int64(definition.slices))
        bind(regions: definition.regions, insertStock, 7)
        try insertStock.run()
    }

    private func bind(regions: [RegionShare], _ statement: HotStatement, _ index: Int32) {
        if regions.isEmpty {
            statement.bindNull(index)
        } else {
            statement.bind(index, Self.text(regions))
        }
    }

    func insertSlice(
        _ pool: PoolKey, _ slice: UInt32, shard: ShardID
    ) throws(StoreError) {
        insertSlice.bind(1, Int64(bitPattern: pool.rawValue))
        insertSlice.bind(2, Int64(slice))
        insertSlice.bind(3, Int64(shard))
        try insertSlice.run()
    }

    func update(
        _ key: PoolKey, created: Bool, _ standing: PoolStanding, _ treasury: TreasuryBooks
    ) throws(StoreError) {
        let control = standing.control
        updatePool.bind(1, Int64(bitPattern: key.rawValue))
        updatePool.bind(2, created ? 1 : 0)
        updatePool.bind(3, Int64(control.version))
        updatePool.bind(4, control.terms.opensMs)
        updatePool.bind(5, control.terms.closesMs)
        updatePool.bind(6, Int64(control.terms.limit))
        updatePool.bind(7, Int64(standing.highestLimit))
        updatePool.bind(8, control.paused ? 1 : 0)
        updatePool.bind(9, control.closing ? 1 : 0)
        updatePool.bind(10, standing.closed ? 1 : 0)
        updatePool.bind(11, standing.createdMs)
        updatePool.bind(12, standing.closedMs)
        updatePool.bind(13, standing.createdBy)
        updatePool.bind(14, treasury.funded)
        updatePool.bind(15, treasury.leased)
        updatePool.bind(16, treasury.takenBack)
        updatePool.bind(17, treasury.leases)
        updatePool.bind(18, treasury.takeBacks)
        try updatePool.run()
    }

    /// - Parameter units: stock: units funded so far; nil leaves what is.
    func updateTerms(
        _ family: PoolFamily, _ name: Text64, _ standing: PoolStanding, units: Int64?
    ) throws(StoreError) {
        let statement = family == .rain ? updateRain : updateStock
        statement.bind(1, name)
        statement.bind(2, Int64(standing.control.terms.limit))
        statement.bind(3, orNull: standing.control.terms.opensMs)
        statement.bind(4, orNull: standing.control.terms.closesMs)
        statement.bind(5, standing.word)
        statement.bind(6, orNull: standing.createdMs)
        statement.bind(7, orNull: standing.createdBy)
        statement.bind(8, orNull: standing.closedMs)
        if family == .stock {
            if let units { statement.bind(9, units) } else { statement.bindNull(9) }
        }
        try statement.run()
    }

    func updateSlice(
        _ pool: PoolKey, _ slice: UInt32, _ books: SliceBooks
    ) throws(StoreError) {
        updateSlice.bind(1, Int64(bitPattern: pool.rawValue))
        updateSlice.bind(2, Int64(slice))
        updateSlice.bind(3, books.credited)
        updateSlice.bind(4, Int64(books.credits))
        updateSlice.bind(5, books.returned)
        updateSlice.bind(6, Int64(books.returns))
        updateSlice.bind(7, books.granted)
        updateSlice.bind(8, books.grantedFen)
        updateSlice.bind(9, books.pending)
        updateSlice.bind(10, books.sold)
        updateSlice.bind(11, books.quarantined)
        updateSlice.bind(12, books.sealed ? 1 : 0)
        updateSlice.bind(13, books.retired)
        updateSlice.bind(14, books.lost ? 1 : 0)
        try updateSlice.run()
    }

    /// Publishes a closed rain's seed, which nobody could read in `rains` before.
    func revealSeed(_ key: PoolKey, _ name: Text64) throws(StoreError) {
        reveal.bind(1, name)
        reveal.bind(2, Int64(bitPattern: key.rawValue))
        try reveal.run()
        forget.bind(1, Int64(bitPattern: key.rawValue))
        try forget.run()
    }
}
