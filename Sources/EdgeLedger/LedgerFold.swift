import EdgeMemory
public import EdgeTypes

/// What entries add up to: pools, slices, orders and users' totals.
///
/// Entries of one shard come in sequence; shards in any order. Lookups are by key, results in
/// order of first appearance: nothing iterates a dictionary.
public struct LedgerFold: Sendable {
    public struct Pool: Sendable {
        public var key: PoolKey
        public var definition: PoolDefinition
        public var standing: PoolStanding
        public var treasury = TreasuryBooks()
        /// Its home's entries are part of this fold.
        public var created = false
        /// Packets granted, each once.
        public var packets = PacketSet()
    }

    public struct Slice: Sendable {
        public var pool: PoolKey
        public var slice: UInt32
        public var shard: ShardID
        public var books = SliceBooks()
    }

    public struct UserTotal: Hashable, Sendable {
        public var pool: PoolKey
        public var user: UserID
        public var packets: Int64 = 0
        public var fen: Fen = 0
    }

    private struct UserKey: Hashable {
        var pool: PoolKey
        var user: UserID
    }

    public private(set) var pools: [Pool] = []
    public private(set) var slices: [Slice] = []
    public private(set) var orders: [OrderRecord] = []
    public private(set) var users: [UserTotal] = []
    /// What broke a rule without stopping the fold, by kind, with the first of each.
    public private(set) var report = AuditReport()

    private var poolIndex: [PoolKey: Int] = [:]
    private var sliceIndex: [SliceKey: Int] = [:]
    private var orderIndex: [OrderID: Int] = [:]
    private var userIndex: [UserKey: Int] = [:]
    private var lastSlice = 0
    /// The slices' books without the part of the orders that is being folded; empty in the first.
    private var bases: [SliceBooks] = []
    private var lastPool = 0

    private let keepsUsers: Bool
    /// Orders outside are passed over: an audit takes them in parts.
    private var orderPart: Range<UInt64>

    /// - Parameter keepsUsers: whether totals per (pool, user) are kept: some 60 bytes for each.
    public init(keepsUsers: Bool = true, orderPart: Range<UInt64> = 0..<UInt64.max) {
        self.keepsUsers = keepsUsers
        self.orderPart = orderPart
    }

    // MARK: Lookups

    /// Where a pool is in `pools`.
    public func index(of key: PoolKey) -> Int? { poolIndex[key] }

    /// Where an order is in `orders`.
    public func index(of order: OrderID) -> Int? { orderIndex[order] }

    public func pool(_ key: PoolKey) -> Pool? { poolIndex[key].map { pools[$0] } }

    public func slice(_ key: PoolKey, _ slice: UInt32) -> Slice? {
        sliceIndex[SliceKey(pool: key, slice: slice)].map { slices[$0] }
    }

    public func order(_ order: OrderID) -> OrderRecord? { orderIndex[order].map { orders[$0] } }

    public func user(_ user: UserID, of pool: PoolKey) -> UserTotal? {
        userIndex[UserKey(pool: pool, user: user)].map { users[$0] }
    }

    /// Forgets the orders, so that another part of them can be folded, with `applyOrders` and from
    /// the journal's start; slices keep what the orders moved, once the part has ended.
    public mutating func startOrderPart(_ part: Range<UInt64>) {
        endOrderPart()
        orders.removeAll(keepingCapacity: true)
        orderIndex.removeAll(keepingCapacity: true)
        orderPart = part
        bases = slices.map(\.books)
        for index in slices.indices { slices[index].books = SliceBooks() }
    }

    /// Adds what a part of the orders has moved to the slices' books.
    public mutating func endOrderPart() {
        for (index, base) in bases.enumerated() {
            let part = slices[index].books
            slices[index].books = base
            slices[index].books.add(part)
        }
        bases = []
    }

    /// Takes an entry of a later part: orders, and what puts slices out of play and back.
    public mutating func applyOrders(
        _ header: EntryHeader, _ entry: Entry
    ) throws(HistoryFault) {
        switch entry {
        case .orderReserved, .orderPaid, .orderCancelled, .orderExpired, .orderRefunded,
            .paymentRefused:
            try applyOrder(header, entry)
        case .sliceReturned(let transfer) where transfer.final:
            slices[try sliceAt(header, transfer.pool, transfer.slice)].books.seal()
        case .sliceQuarantined, .sliceResolved: try applySlice(header, entry)
        case .claim, .poolCreated, .poolControlled, .poolFunded, .poolLeased, .poolTookBack,
            .poolClosed, .poolSoldOut, .poolMoved, .poolResolved, .sliceOpened, .sliceControlled,
            .sliceCredited, .sliceReturned, .sliceArchived:
            break
        }
    }

    // MARK: Folding

    /// Takes a claim.
    public mutating func apply(_ record: ClaimRecord) throws(HistoryFault) {
        let header = record.header
        let index = try sliceAt(header, record.pool, record.slice)
        slices[index].books.claim(record.amountFen)
        if slices[index].books.held < 0 { overdrawn(slices[index], header) }
        let pool = try poolAt(header, record.pool)
        checkPacket(record, pool)
        guard keepsUsers else { return }
        let key = UserKey(pool: record.pool, user: record.user)
        let user: Int
        if let known = userIndex[key] {
            user = known
        } else {
            user = users.count
            userIndex[key] = user
            users.append(UserTotal(pool: record.pool, user: record.user))
        }
        users[user].packets += 1
        users[user].fen += record.amountFen
        if users[user].packets > Int64(pools[pool].standing.highestLimit) {
            report.add(
                .userAboveLimit, "pool \(pools[pool].definition.name), user \(record.user)",
                "limit", expected: "\(pools[pool].standing.highestLimit)",
                found: "\(users[user].packets)")
        }
    }

    /// Takes any other entry, or a claim.
    ///
    /// - Throws: a fault where the entry cannot be understood; the fold is then of no use.
    public mutating func apply(
        _ header: EntryHeader, _ entry: Entry
    ) throws(HistoryFault) {
        switch entry {
        case .claim(let claim): try apply(ClaimRecord(header, claim))
        case .orderReserved, .orderPaid, .orderCancelled, .orderExpired, .orderRefunded,
            .paymentRefused:
            try applyOrder(header, entry)
        case .poolCreated, .poolControlled, .poolFunded, .poolLeased, .poolTookBack, .poolClosed,
            .poolSoldOut, .poolResolved, .poolMoved:
            try applyHome(header, entry)
        case .sliceOpened, .sliceControlled, .sliceCredited, .sliceReturned, .sliceQuarantined,
            .sliceResolved, .sliceArchived:
            try applySlice(header, entry)
        }
    }

    private mutating func applyHome(
        _ header: EntryHeader, _ entry: Entry
    ) throws(HistoryFault) {
        switch entry {
        case .poolCreated(let definition, let actor):
            let index = open(definition, nil)
            pools[index].created = true
            pools[index].standing.createdMs = header.timeMs
            pools[index].standing.createdBy = actor
            pools[index].treasury.fund(definition.units)
        case .poolControlled(let key, let control, _, _, _):
            pools[try poolAt(header, key)].standing.take(control)
        case .poolFunded(let key, let units, _, _):
            pools[try poolAt(header, key)].treasury.fund(units)
        case .poolLeased(let transfer):
            let index = try poolAt(header, transfer.pool)
            pools[index].treasury.lease(transfer)
            if pools[index].treasury.inTreasury < 0 {
                report.add(
                    .treasuryOverdrawn, "pool \(pools[index].definition.name)", "treasury",
                    expected: "at least 0", found: "\(pools[index].treasury.inTreasury)")
            }
        case .poolTookBack(let transfer):
            pools[try poolAt(header, transfer.pool)].treasury.takeBack(transfer)
        case .poolSoldOut(let key, _), .poolResolved(let key, _, _, _, _):
            _ = try poolAt(header, key)
        case .poolMoved(let move): _ = try poolAt(header, move.pool)
        case .poolClosed(let key):
            let index = try poolAt(header, key)
            pools[index].standing.closed = true
            pools[index].standing.closedMs = header.timeMs
        case .claim, .orderReserved, .orderPaid, .orderCancelled, .orderExpired, .orderRefunded,
            .paymentRefused, .sliceOpened, .sliceControlled, .sliceCredited, .sliceReturned,
            .sliceQuarantined, .sliceResolved, .sliceArchived:
            preconditionFailure("not an entry of a pool's home")
        }
    }

    private mutating func applySlice(
        _ header: EntryHeader, _ entry: Entry
    ) throws(HistoryFault) {
        switch entry {
        case .sliceOpened(let definition, let slice, let control):
            let pool = pools[open(definition, control)].key
            let key = SliceKey(pool: pool, slice: slice)
            if sliceIndex[key] == nil {
                sliceIndex[key] = slices.count
                slices.append(Slice(pool: pool, slice: slice, shard: header.shard))
            }
        case .sliceControlled(let key, _, let control):
            pools[try poolAt(header, key)].standing.take(control)
        case .sliceCredited(let transfer):
            let index = try sliceAt(header, transfer.pool, transfer.slice)
            checkNumber(transfer, after: slices[index].books.credits, header)
            slices[index].books.credit(transfer)
        case .sliceReturned(let transfer):
            let index = try sliceAt(header, transfer.pool, transfer.slice)
            checkNumber(transfer, after: slices[index].books.returns, header)
            slices[index].books.giveBack(transfer)
            // Of the last return it shows in what is set aside.
            if slices[index].books.held < 0 || slices[index].books.quarantined < 0 {
                overdrawn(slices[index], header)
            }
        case .sliceQuarantined(let key, let slice):
            slices[try sliceAt(header, key, slice)].books.quarantine()
        case .sliceResolved(let key, let slice, let resolution, _):
            slices[try sliceAt(header, key, slice)].books.resolve(resolution)
        case .sliceArchived(let key, let slice, _):
            let books = slices[try sliceAt(header, key, slice)].books
            if !books.sealed || books.held != 0 || books.quarantined != 0 {
                let name = name(key)
                report.add(
                    .archivedOpen, "slice \(slice) of pool \(name)",
                    "at \(Self.place(header))", expected: "sealed, and nothing in it",
                    found: "\(books)")
            }
        case .claim, .orderReserved, .orderPaid, .orderCancelled, .orderExpired, .orderRefunded,
            .paymentRefused, .poolCreated, .poolControlled, .poolFunded, .poolLeased,
            .poolTookBack, .poolClosed, .poolSoldOut, .poolResolved, .poolMoved:
            preconditionFailure("not an entry of a slice")
        }
    }

    private mutating func applyOrder(
        _ header: EntryHeader, _ entry: Entry
    ) throws(HistoryFault) {
        switch entry {
        case .orderReserved(let reserved):
            guard orderPart.contains(reserved.order.rawValue) else { return }
            guard orderIndex[reserved.order] == nil else {
                throw HistoryFault(header, .orderTwice(reserved.order))
            }
            let record = OrderRecord(header, reserved)
            orderIndex[reserved.order] = orders.count
            orders.append(record)
            try move(header, from: nil, to: record)
        case .orderPaid(let paid):
            try transition(header, paid.order) { record throws(HistoryFault) in
                try record.pay(header, paid)
            }
        case .orderCancelled(let order):
            try transition(header, order) { record throws(HistoryFault) in
                try record.cancel(header)
            }
        case .orderExpired(let order):
            try transition(header, order) { record throws(HistoryFault) in
                try record.expire(header)
            }
        case .orderRefunded(let refund):
            try transition(header, refund.order) { record throws(HistoryFault) in
                try record.refund(header, refund)
            }
        case .paymentRefused(let refused):
            guard orderPart.contains(refused.order.rawValue) else { return }
            guard orderIndex[refused.order] != nil else {
                throw HistoryFault(header, .unknownOrder(refused.order))
            }
        case .claim, .poolCreated, .poolControlled, .poolFunded, .poolLeased, .poolTookBack,
            .poolClosed, .poolSoldOut, .sliceOpened, .sliceControlled, .sliceCredited,
            .sliceReturned, .sliceQuarantined, .sliceResolved, .sliceArchived, .poolResolved,
            .poolMoved:
            preconditionFailure("not an entry of an order")
        }
    }

    // MARK: Helpers

    private mutating func transition(
        _ header: EntryHeader, _ order: OrderID,
        _ change: (inout OrderRecord) throws(HistoryFault) -> Void
    ) throws(HistoryFault) {
        guard orderPart.contains(order.rawValue) else { return }
        guard let index = orderIndex[order] else {
            throw HistoryFault(header, .unknownOrder(order))
        }
        let before = orders[index]
        try change(&orders[index])
        try move(header, from: before, to: orders[index])
    }

    /// Stock moves with its order, in the same entry.
    private mutating func move(
        _ header: EntryHeader, from before: OrderRecord?, to after: OrderRecord
    ) throws(HistoryFault) {
        let index = try sliceAt(header, after.pool, after.slice)
        slices[index].books.order(from: before, to: after)
    }

    private mutating func open(_ definition: PoolDefinition, _ control: PoolControl?) -> Int {
        let key = PoolKey.of(definition.kind.family, definition.name)
        let index = poolIndex[key] ?? pools.count
        if index == pools.count {
            poolIndex[key] = index
            pools.append(
                Pool(key: key, definition: definition, standing: PoolStanding(definition)))
        }
        if let control { pools[index].standing.take(control) }
        return index
    }

    private mutating func poolAt(
        _ header: EntryHeader, _ key: PoolKey
    ) throws(HistoryFault) -> Int {
        if lastPool < pools.count, pools[lastPool].key == key { return lastPool }
        guard let index = poolIndex[key] else { throw HistoryFault(header, .unknownPool(key)) }
        lastPool = index
        return index
    }

    private mutating func sliceAt(
        _ header: EntryHeader, _ key: PoolKey, _ slice: UInt32
    ) throws(HistoryFault) -> Int {
        if lastSlice < slices.count, slices[lastSlice].pool == key,
            slices[lastSlice].slice == slice
        {
            return lastSlice
        }
        guard let index = sliceIndex[SliceKey(pool: key, slice: slice)] else {
            throw HistoryFault(header, .unknownSlice(key, slice))
        }
        lastSlice = index
        return index
    }

    private mutating func checkPacket(_ record: ClaimRecord, _ index: Int) {
        let units = pools[index].definition.units
        guard record.packet >= 0, record.packet < units else {
            report.add(
                .packetUnknown, "pool \(pools[index].definition.name)", "packet",
                expected: "below \(units)", found: "\(record.packet)")
            return
        }
        if !pools[index].packets.insert(record.packet) {
            report.add(
                .packetTwice, "pool \(pools[index].definition.name), packet \(record.packet)",
                "granted", expected: "once",
                found: "again to user \(record.user) by \(Self.place(record.header))")
        }
    }

    private mutating func checkNumber(
        _ transfer: Transfer, after last: UInt32, _ header: EntryHeader
    ) {
        guard transfer.number != last &+ 1 else { return }
        report.add(
            .transferNumber, "slice \(transfer.slice) of pool \(transfer.pool.rawValue)",
            "number of \(Self.place(header))", expected: "\(last &+ 1)",
            found: "\(transfer.number)")
    }

    private mutating func overdrawn(_ slice: Slice, _ header: EntryHeader) {
        report.add(
            .sliceOverdrawn, "slice \(slice.slice) of pool \(slice.pool.rawValue)",
            "held after \(Self.place(header))", expected: "at least 0",
            found: "\(slice.books.held + slice.books.quarantined)")
    }

    static func place(_ header: EntryHeader) -> String {
        "shard \(header.shard), sequence \(header.sequence)"
    }
}

extension ClaimRecord {
    /// The claim's entry; its epoch is not kept.
    public var header: EntryHeader {
        EntryHeader(
            shard: EntryID.shard(of: grantID), epoch: 0, sequence: EntryID.sequence(of: grantID),
            timeMs: timeMs)
    }
}
