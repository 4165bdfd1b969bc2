public import EdgeLedger
import EdgeMemory
public import EdgeTypes

/// What a batch makes of a store's rows: rows that it touches are read once, changed by the
/// ledger's rules in the order of the entries, and written once. Apart from any engine.
///
/// A batch takes four steps: `begin` says which rows are needed, `take` is given those that are
/// there, `fold` changes them, and the properties hold what is to be written. Orders come first:
/// they say which slices are needed.
public final class BatchBooks {
    /// A pool that the batch touches.
    public struct PoolWork {
        public var row: PoolRow
        /// As the store has it; nil: it has none.
        public let before: PoolRow?
        /// Of a pool that is new to the store.
        public let definition: PoolDefinition?

        public var isChanged: Bool { row != before }
        /// What `rains` and `stock` show has changed.
        public var areTermsChanged: Bool {
            guard let before else { return true }
            return row.standing != before.standing || row.created != before.created
                || row.treasury.funded != before.treasury.funded
        }
        public var isClosedNow: Bool { row.standing.closed && before?.standing.closed != true }
    }

    public struct SliceWork {
        public var row: SliceRow
        public let isNew: Bool
    }

    public struct OrderWork {
        public var record: OrderRecord
        public let isNew: Bool
    }

    public private(set) var pools: [PoolWork] = []
    public private(set) var slices: [SliceWork] = []
    public private(set) var orders: [OrderWork] = []
    public private(set) var payments: [PaymentRow] = []
    public private(set) var refunds: [RefundRow] = []
    public private(set) var movements: [StockMovement] = []
    public private(set) var events: [EventRow] = []

    private var poolIndex: [PoolKey: Int] = [:]
    private var sliceIndex: [SliceKey: Int] = [:]
    private var orderIndex: [OrderID: Int] = [:]
    private var lastSlice = 0

    /// Names of pools that are in the store, over all batches.
    private var names: [PoolKey: PoolName] = [:]
    private var lastName: PoolName?

    private let extraEvents: ExtraEvents

    /// - Parameter extraEvents: which events are made beside the usual ones.
    public init(extraEvents: ExtraEvents = []) { self.extraEvents = extraEvents }

    // MARK: What is needed

    /// Forgets the batch before, and says which orders the next one needs.
    public func begin(_ batch: EntryBatch) -> [OrderID] {
        pools.removeAll(keepingCapacity: true)
        slices.removeAll(keepingCapacity: true)
        orders.removeAll(keepingCapacity: true)
        payments.removeAll(keepingCapacity: true)
        refunds.removeAll(keepingCapacity: true)
        movements.removeAll(keepingCapacity: true)
        events.removeAll(keepingCapacity: true)
        poolIndex.removeAll(keepingCapacity: true)
        sliceIndex.removeAll(keepingCapacity: true)
        orderIndex.removeAll(keepingCapacity: true)
        lastSlice = 0
        if names.count > Limits.pools { names.removeAll() }
        lastName = nil
        return batch.neededOrders()
    }

    /// Which other rows the batch needs, once its orders have been taken.
    public func needs(of batch: EntryBatch) -> RowNeeds {
        var needs = batch.neededRows { names[$0] == nil }
        for work in orders { needs.add(SliceKey(pool: work.record.pool, slice: work.record.slice)) }
        return needs
    }

    // MARK: What is there

    public func take(order record: OrderRecord, sku: Text64) {
        take(name: record.pool, .stock, sku)
        orderIndex[record.order] = orders.count
        orders.append(OrderWork(record: record, isNew: false))
    }

    public func take(name key: PoolKey, _ family: PoolFamily, _ name: Text64) {
        if names[key] == nil { names[key] = PoolName(key: key, family: family, name: name) }
    }

    public func take(_ row: PoolRow) {
        take(name: row.key, row.family, row.name)
        poolIndex[row.key] = pools.count
        pools.append(PoolWork(row: row, before: row, definition: nil))
    }

    public func take(_ row: SliceRow) {
        sliceIndex[row.key] = slices.count
        slices.append(SliceWork(row: row, isNew: false))
    }

    // MARK: Changes

    /// Takes the entries in order. O(n), about 20 ns a claim.
    public func fold(_ batch: EntryBatch) throws(HistoryFault) {
        var next = 0
        for other in batch.others {
            while next < other.claimsBefore {
                try claim(batch.claims[next])
                next += 1
            }
            try apply(other.header, other.entry)
        }
        while next < batch.claims.count {
            try claim(batch.claims[next])
            next += 1
        }
    }

    /// What followers of the store are told once the batch is committed.
    public func changes(of batch: EntryBatch) -> StoreChanges {
        var changes = StoreChanges()
        changes.ranges = batch.ranges
        for pool in pools where pool.isChanged { changes.pools.append(pool.row) }
        for slice in slices { changes.slices.append(slice.row) }
        for order in orders { changes.orders.append(order.record) }
        changes.events = events
        return changes
    }

    /// The name of a claim's pool: bytes that stay until the books go.
    @inline(__always)
    public func name(of record: ClaimRecord) throws(HistoryFault) -> UnsafeBufferPointer<CChar> {
        if let lastName, lastName.key == record.pool { return lastName.bytes }
        let name = try named(record.header, record.pool)
        lastName = name
        return name.bytes
    }

    /// The name of a pool that the batch has touched.
    public func name(of key: PoolKey) -> Text64 { names[key]?.text ?? Text64() }

    public func family(of key: PoolKey) -> PoolFamily? { names[key]?.family }

    @inline(__always)
    private func claim(_ record: ClaimRecord) throws(HistoryFault) {
        if lastSlice < slices.count, slices[lastSlice].row.key.slice == record.slice,
            slices[lastSlice].row.key.pool == record.pool
        {
            slices[lastSlice].row.books.claim(record.amountFen)
            if extraEvents.contains(.rainClaimed) { try claimed(record) }
            return
        }
        let index = try sliceAt(record.header, record.pool, record.slice)
        guard try named(record.header, record.pool).family == .rain else {
            throw HistoryFault(record.header, .otherFamily(record.pool))
        }
        slices[index].row.books.claim(record.amountFen)
        lastSlice = index
        if extraEvents.contains(.rainClaimed) { try claimed(record) }
    }

    private func claimed(_ record: ClaimRecord) throws(HistoryFault) {
        let rain = try named(record.header, record.pool).text
        add(
            record.header, "rain.claimed", rain,
            [
                ("rain", .text(rain)), ("user", .text(Text64(String(record.user)))),
                ("packet", .integer(record.packet)), ("fen", .integer(record.amountFen)),
            ])
    }

    private func apply(_ header: EntryHeader, _ entry: Entry) throws(HistoryFault) {
        switch entry {
        case .claim: preconditionFailure("claims lie apart")
        case .orderReserved(let reserved): try reserve(header, reserved)
        case .orderPaid(let paid): try pay(header, paid)
        case .orderCancelled(let order):
            let change = try change(header, order) { record throws(HistoryFault) in
                try record.cancel(header)
            }
            move(header, change.after, .cancelled)
            try event(header, "order.cancelled", change.after, [])
        case .orderExpired(let order):
            let change = try change(header, order) { record throws(HistoryFault) in
                try record.expire(header)
            }
            move(header, change.after, .expired)
            try event(header, "order.expired", change.after, [])
        case .orderRefunded(let refund): try giveBack(header, refund)
        case .paymentRefused(let refused): try refuse(header, refused)
        case .poolCreated(let definition, let actor):
            let index = try open(header, definition, nil)
            pools[index].row.created = true
            pools[index].row.standing.createdMs = header.timeMs
            pools[index].row.standing.createdBy = actor
            pools[index].row.treasury.fund(definition.units)
            move(header, pools[index].row, definition.units)
        case .poolControlled(let key, let control, _, _, _),
            .sliceControlled(let key, _, let control):
            pools[try poolAt(header, key)].row.standing.take(control)
        case .poolFunded(let key, let units, _, _):
            let index = try poolAt(header, key)
            pools[index].row.treasury.fund(units)
            move(header, pools[index].row, units)
        case .poolLeased(let transfer):
            pools[try poolAt(header, transfer.pool)].row.treasury.lease(transfer)
        case .poolTookBack(let transfer):
            pools[try poolAt(header, transfer.pool)].row.treasury.takeBack(transfer)
        case .poolSoldOut(let key, _), .poolResolved(let key, _, _, _, _):
            _ = try poolAt(header, key)
        case .poolMoved(let move): _ = try poolAt(header, move.pool)
        case .poolClosed(let key): try close(header, key)
        case .sliceOpened(let definition, let slice, let control):
            let index = try open(header, definition, control)
            openSlice(header, pools[index].row.key, slice)
        case .sliceCredited(let transfer):
            slices[try sliceAt(header, transfer.pool, transfer.slice)].row.books.credit(transfer)
        case .sliceReturned(let transfer):
            slices[try sliceAt(header, transfer.pool, transfer.slice)].row.books.giveBack(transfer)
        case .sliceQuarantined(let key, let slice):
            slices[try sliceAt(header, key, slice)].row.books.quarantine()
        case .sliceResolved(let key, let slice, let resolution, _):
            slices[try sliceAt(header, key, slice)].row.books.resolve(resolution)
        case .sliceArchived: break
        }
    }

    // MARK: Pools

    private func close(_ header: EntryHeader, _ key: PoolKey) throws(HistoryFault) {
        let index = try poolAt(header, key)
        pools[index].row.standing.closed = true
        pools[index].row.standing.closedMs = header.timeMs
        let row = pools[index].row
        guard row.family == .rain else { return }
        add(header, "rain.closed", row.name, [("rain", .text(row.name))])
    }

    private func open(
        _ header: EntryHeader, _ definition: PoolDefinition, _ control: PoolControl?
    ) throws(HistoryFault) -> Int {
        let family = definition.kind.family
        let key = PoolKey.of(family, definition.name)
        let index: Int
        if let known = poolIndex[key] {
            guard pools[known].row.name == definition.name, pools[known].row.family == family else {
                throw HistoryFault(header, .nameTaken(definition.name.description))
            }
            index = known
        } else {
            index = pools.count
            let row = PoolRow(
                key: key, family: family, name: definition.name, created: false,
                standing: PoolStanding(definition), treasury: TreasuryBooks())
            pools.append(PoolWork(row: row, before: nil, definition: definition))
            poolIndex[key] = index
            take(name: key, family, definition.name)
        }
        if let control { pools[index].row.standing.take(control) }
        return index
    }

    private func openSlice(_ header: EntryHeader, _ pool: PoolKey, _ slice: UInt32) {
        let key = SliceKey(pool: pool, slice: slice)
        if sliceIndex[key] != nil { return }
        sliceIndex[key] = slices.count
        slices.append(
            SliceWork(
                row: SliceRow(key: key, shard: header.shard, books: SliceBooks()), isNew: true))
    }

    // MARK: Orders

    private func reserve(
        _ header: EntryHeader, _ reserved: OrderReserved
    ) throws(HistoryFault) {
        guard orderIndex[reserved.order] == nil else {
            throw HistoryFault(header, .orderTwice(reserved.order))
        }
        let record = OrderRecord(header, reserved)
        orderIndex[reserved.order] = orders.count
        orders.append(OrderWork(record: record, isNew: true))
        try moveBooks(header, from: nil, to: record)
        move(header, record, .reserved)
        try event(
            header, "order.reserved", record,
            [("price", .integer(record.priceFen)), ("expiresAt", .integer(record.expiresMs))])
    }

    private func pay(_ header: EntryHeader, _ paid: OrderPaid) throws(HistoryFault) {
        let change = try change(header, paid.order) { record throws(HistoryFault) in
            try record.pay(header, paid)
        }
        payment(header, paid.order, paid.payment, paid.amountFen, paid.late ? .late : .captured)
        move(header, change.after, paid.late ? .paidLate : .paid)
        try event(
            header, "order.paid", change.after,
            [
                ("payment", .text(paid.payment)), ("fen", .integer(paid.amountFen)),
                ("late", .flag(paid.late)),
            ])
    }

    private func refuse(_ header: EntryHeader, _ refused: PaymentRefused) throws(HistoryFault) {
        let record = orders[try orderAt(header, refused.order)].record
        payment(header, refused.order, refused.payment, refused.amountFen, .refundDue)
        try event(
            header, "refund.due", record,
            [("payment", .text(refused.payment)), ("fen", .integer(refused.amountFen))])
    }

    private func giveBack(_ header: EntryHeader, _ refund: OrderRefunded) throws(HistoryFault) {
        let change = try change(header, refund.order) { record throws(HistoryFault) in
            try record.refund(header, refund)
        }
        refunds.append(
            RefundRow(
                id: header.id, order: refund.order, request: refund.request,
                fen: refund.amountFen, restocked: Int64(refund.restock), timeMs: header.timeMs))
        if refund.restock > 0 {
            move(header, change.after, .restocked, units: Int64(refund.restock))
        }
        try event(
            header, "order.refunded", change.after,
            [
                ("request", .text(refund.request)), ("fen", .integer(refund.amountFen)),
                ("restocked", .integer(Int64(refund.restock))),
                ("refundedFen", .integer(change.after.refundedFen)),
            ])
    }

    private func payment(
        _ header: EntryHeader, _ order: OrderID, _ payment: Text64, _ fen: Fen,
        _ outcome: PaymentRow.Outcome
    ) {
        payments.append(
            PaymentRow(
                id: header.id, order: order, payment: payment, fen: fen, outcome: outcome,
                timeMs: header.timeMs))
    }

    private func change(
        _ header: EntryHeader, _ order: OrderID,
        _ body: (inout OrderRecord) throws(HistoryFault) -> Void
    ) throws(HistoryFault) -> (before: OrderRecord, after: OrderRecord) {
        let index = try orderAt(header, order)
        let before = orders[index].record
        try body(&orders[index].record)
        try moveBooks(header, from: before, to: orders[index].record)
        return (before, orders[index].record)
    }

    /// Stock moves with its order, in the same entry.
    private func moveBooks(
        _ header: EntryHeader, from before: OrderRecord?, to after: OrderRecord
    ) throws(HistoryFault) {
        let index = try sliceAt(header, after.pool, after.slice)
        slices[index].row.books.order(from: before, to: after)
    }

    private func move(
        _ header: EntryHeader, _ record: OrderRecord, _ kind: StockMovement.Kind,
        units: Int64? = nil
    ) {
        movements.append(
            StockMovement(
                id: header.id, pool: record.pool, order: record.order, kind: kind,
                units: units ?? Int64(record.quantity), timeMs: header.timeMs))
    }

    private func move(_ header: EntryHeader, _ pool: PoolRow, _ units: Int64) {
        guard pool.family == .stock else { return }
        movements.append(
            StockMovement(
                id: header.id, pool: pool.key, order: nil, kind: .funded, units: units,
                timeMs: header.timeMs))
    }

    // MARK: Events

    private func event(
        _ header: EntryHeader, _ type: String, _ record: OrderRecord,
        _ more: [(String, EventValue)]
    ) throws(HistoryFault) {
        let name = try named(header, record.pool)
        guard name.family == .stock else {
            throw HistoryFault(header, .otherFamily(record.pool))
        }
        let order = Text64(OrderIDText.text(record.order))
        add(
            header, type, order,
            [
                ("order", .text(order)), ("sku", .text(name.text)),
                ("user", .text(Text64(String(record.user)))),
                ("qty", .integer(Int64(record.quantity))),
            ] + more)
    }

    private func add(
        _ header: EntryHeader, _ type: String, _ subject: Text64, _ fields: [(String, EventValue)]
    ) {
        events.append(
            EventRow(
                id: header.id, type: type, subject: subject, timeMs: header.timeMs,
                data: EventValue.json(fields)))
    }

    // MARK: Lookups

    private func named(_ header: EntryHeader, _ key: PoolKey) throws(HistoryFault) -> PoolName {
        guard let name = names[key] else { throw HistoryFault(header, .unknownPool(key)) }
        return name
    }

    private func poolAt(_ header: EntryHeader, _ key: PoolKey) throws(HistoryFault) -> Int {
        guard let index = poolIndex[key] else { throw HistoryFault(header, .unknownPool(key)) }
        return index
    }

    private func sliceAt(
        _ header: EntryHeader, _ pool: PoolKey, _ slice: UInt32
    ) throws(HistoryFault) -> Int {
        guard let index = sliceIndex[SliceKey(pool: pool, slice: slice)] else {
            throw HistoryFault(header, .unknownSlice(pool, slice))
        }
        return index
    }

    private func orderAt(_ header: EntryHeader, _ order: OrderID) throws(HistoryFault) -> Int {
        guard let index = orderIndex[order] else {
            throw HistoryFault(header, .unknownOrder(order))
        }
        return index
    }
}

extension EntryHeader {
    var id: Int64 { EntryID.of(shard: shard, sequence: sequence) }
}

/// A pool's name where engines can read it again and again without a copy.
public final class PoolName {
    public let key: PoolKey
    public let family: PoolFamily
    public let text: Text64
    public let bytes: UnsafeBufferPointer<CChar>

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
