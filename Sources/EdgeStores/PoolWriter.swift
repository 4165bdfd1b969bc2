import EdgeLedger
import EdgeMemory
import EdgeReconciler
import EdgeTypes
import GRDB

/// Pools and slices of a batch: read once, changed by the ledger's rules, written once.
final class PoolWriter {
    private struct PoolWork {
        var key: PoolKey
        var family: PoolFamily
        var name: Text64
        var created: Bool
        var standing: PoolStanding
        var treasury: TreasuryBooks
        var closedNow = false
    }

    private struct SliceWork {
        var key: SliceKey
        var shard: ShardID
        var books: SliceBooks
    }

    private let statements: PoolStatements
    private var pools: [PoolWork] = []
    private var poolIndex: [PoolKey: Int] = [:]
    private var slices: [SliceWork] = []
    private var sliceIndex: [SliceKey: Int] = [:]
    private var lastSlice = 0

    /// Names of pools seen, over all batches: at most `Limits.pools`.
    private var names: [PoolKey: PoolName] = [:]
    private var lastName: PoolName?

    init(_ database: Database) throws(StoreError) {
        statements = try PoolStatements(database)
    }

    // MARK: Claims

    @inline(__always)
    func claim(_ record: ClaimRecord) throws {
        if lastSlice < slices.count, slices[lastSlice].key.slice == record.slice,
            slices[lastSlice].key.pool == record.pool
        {
            slices[lastSlice].books.claim(record.amountFen)
            return
        }
        let index = try sliceAt(record.header, record.pool, record.slice)
        guard try named(record.header, record.pool).family == .rain else {
            throw HistoryFault(record.header, .otherFamily(record.pool))
        }
        slices[index].books.claim(record.amountFen)
        lastSlice = index
    }

    /// The name of a claim's pool: bytes that stay until the writer goes.
    @inline(__always)
    func name(of record: ClaimRecord) throws -> UnsafeBufferPointer<CChar> {
        if let lastName, lastName.key == record.pool { return lastName.bytes }
        let name = try named(record.header, record.pool)
        lastName = name
        return name.bytes
    }

    // MARK: Orders

    /// The name of an order's SKU.
    func sku(_ header: EntryHeader, _ key: PoolKey) throws -> PoolName {
        let name = try named(header, key)
        guard name.family == .stock else { throw HistoryFault(header, .otherFamily(key)) }
        return name
    }

    /// - Returns: nil where no such pool has been seen.
    func sku(named text: Text64) throws -> PoolKey? {
        let key = PoolKey.of(.stock, text)
        return try find(key)?.family == .stock ? key : nil
    }

    /// Stock moves with its order, in the same entry.
    func move(
        _ header: EntryHeader, from before: OrderRecord?, to after: OrderRecord
    ) throws {
        let index = try sliceAt(header, after.pool, after.slice)
        slices[index].books.order(from: before, to: after)
    }

    // MARK: Everything else

    func apply(_ header: EntryHeader, _ entry: Entry, events: OutboxWriter) throws {
        switch entry {
        case .poolCreated(let definition, let actor):
            let index = try open(header, definition, nil)
            pools[index].created = true
            pools[index].standing.createdMs = header.timeMs
            pools[index].standing.createdBy = actor
            pools[index].treasury.fund(definition.units)
        case .poolControlled(let key, let control, _, _, _):
            pools[try poolAt(header, key)].standing.take(control)
        case .poolFunded(let key, let units, _, _):
            pools[try poolAt(header, key)].treasury.fund(units)
        case .poolLeased(let transfer):
            pools[try poolAt(header, transfer.pool)].treasury.lease(transfer)
        case .poolTookBack(let transfer):
            pools[try poolAt(header, transfer.pool)].treasury.takeBack(transfer)
        case .poolSoldOut(let key, _), .poolResolved(let key, _, _, _, _):
            _ = try poolAt(header, key)
        case .poolMoved(let move): _ = try poolAt(header, move.pool)
        case .poolClosed(let key):
            try close(header, key, events)
        case .sliceOpened(let definition, let slice, let control):
            let index = try open(header, definition, control)
            try openSlice(header, pools[index].key, slice)
        case .sliceControlled(let key, _, let control):
            pools[try poolAt(header, key)].standing.take(control)
        case .sliceCredited(let transfer):
            let index = try sliceAt(header, transfer.pool, transfer.slice)
            slices[index].books.credit(transfer)
        case .sliceReturned(let transfer):
            let index = try sliceAt(header, transfer.pool, transfer.slice)
            slices[index].books.giveBack(transfer)
        case .sliceQuarantined(let key, let slice):
            slices[try sliceAt(header, key, slice)].books.quarantine()
        case .sliceResolved(let key, let slice, let resolution, _):
            slices[try sliceAt(header, key, slice)].books.resolve(resolution)
        case .claim, .orderReserved, .orderPaid, .orderCancelled, .orderExpired, .orderRefunded,
            .paymentRefused:
            preconditionFailure("not an entry of a pool or a slice")
        }
    }

    private func close(
        _ header: EntryHeader, _ key: PoolKey, _ events: OutboxWriter
    ) throws {
        let index = try poolAt(header, key)
        pools[index].standing.closed = true
        pools[index].standing.closedMs = header.timeMs
        pools[index].closedNow = true
        guard pools[index].family == .rain else { return }
        try events.add(
            header, type: "rain.closed", subject: pools[index].name,
            [("rain", .text(pools[index].name))])
    }

    private func open(
        _ header: EntryHeader, _ definition: PoolDefinition, _ control: PoolControl?
    ) throws -> Int {
        let family = definition.kind.family
        let key = PoolKey.of(family, definition.name)
        let index: Int
        if let known = try load(key) {
            guard pools[known].name == definition.name, pools[known].family == family else {
                throw HistoryFault(header, .nameTaken(definition.name.description))
            }
            index = known
        } else {
            let work = PoolWork(
                key: key, family: family, name: definition.name, created: false,
                standing: PoolStanding(definition), treasury: TreasuryBooks())
            try statements.insert(key, definition, work.standing)
            index = pools.count
            pools.append(work)
            poolIndex[key] = index
        }
        if let control { pools[index].standing.take(control) }
        return index
    }

    private func openSlice(_ header: EntryHeader, _ pool: PoolKey, _ slice: UInt32) throws {
        let key = SliceKey(pool: pool, slice: slice)
        if try loadSlice(key) != nil { return }
        try statements.insertSlice(pool, slice, shard: header.shard)
        sliceIndex[key] = slices.count
        slices.append(SliceWork(key: key, shard: header.shard, books: SliceBooks()))
    }

    // MARK: Lookups

    private func named(_ header: EntryHeader, _ key: PoolKey) throws -> PoolName {
        guard let name = try find(key) else { throw HistoryFault(header, .unknownPool(key)) }
        return name
    }

    private func find(_ key: PoolKey) throws -> PoolName? {
        if let known = names[key] { return known }
        guard let index = try load(key) else { return nil }
        let name = PoolName(key: key, family: pools[index].family, name: pools[index].name)
        names[key] = name
        return name
    }

    private func poolAt(_ header: EntryHeader, _ key: PoolKey) throws -> Int {
        guard let index = try load(key) else { throw HistoryFault(header, .unknownPool(key)) }
        return index
    }

    private func load(_ key: PoolKey) throws -> Int? {
        if let known = poolIndex[key] { return known }
        guard let row = try statements.select(key) else { return nil }
        let index = pools.count
        poolIndex[key] = index
        pools.append(
            PoolWork(
                key: key, family: row.family, name: row.name, created: row.created,
                standing: row.standing, treasury: row.treasury))
        return index
    }

    private func sliceAt(
        _ header: EntryHeader, _ pool: PoolKey, _ slice: UInt32
    ) throws -> Int {
        guard let index = try loadSlice(SliceKey(pool: pool, slice: slice)) else {
            throw HistoryFault(header, .unknownSlice(pool, slice))
        }
        return index
    }

    private func loadSlice(_ key: SliceKey) throws -> Int? {
        if let known = sliceIndex[key] { return known }
        guard let row = try statements.selectSlice(key.pool, key.slice) else { return nil }
        let index = slices.count
        sliceIndex[key] = index
        slices.append(SliceWork(key: key, shard: row.shard, books: row.books))
        return index
    }

    // MARK: Writing back

    func writeBack() throws {
        for pool in pools {
            try statements.update(
                pool.key, created: pool.created, pool.standing, pool.treasury)
            try statements.updateTerms(
                pool.family, pool.name, pool.standing,
                units: pool.created ? pool.treasury.funded : nil)
            if pool.closedNow { try statements.revealSeed(pool.key, pool.name) }
        }
        for slice in slices {
            try statements.updateSlice(slice.key.pool, slice.key.slice, slice.books)
        }
    }

    func finish() {
        pools.removeAll(keepingCapacity: true)
        poolIndex.removeAll(keepingCapacity: true)
        slices.removeAll(keepingCapacity: true)
        sliceIndex.removeAll(keepingCapacity: true)
        lastSlice = 0
        if names.count > Limits.pools { names.removeAll() }
        lastName = nil
    }
}

/// A pool's name where SQLite can read it again and again without a copy.
final class PoolName {
    let key: PoolKey
    let family: PoolFamily
    let text: Text64
    let bytes: UnsafeBufferPointer<CChar>

    init(key: PoolKey, family: PoolFamily, name: Text64) {
        self.key = key
        self.family = family
        self.text = name
        let text = name.bytes
        // SAFETY: at least one byte, so that the base address is never nil; freed in deinit.
        let storage = UnsafeMutableBufferPointer<CChar>.allocate(capacity: max(text.count, 1))
        storage.initialize(repeating: 0)
        for (index, byte) in text.enumerated() { storage[index] = CChar(bitPattern: byte) }
        bytes = UnsafeBufferPointer(rebasing: storage[..<text.count])
    }

    deinit {
        // SAFETY: allocated in init with this base address.
        UnsafeMutablePointer(mutating: bytes.baseAddress)?.deallocate()
    }
}
