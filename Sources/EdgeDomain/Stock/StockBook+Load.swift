import EdgeMemory
import EdgeTypes

extension StockBook {
    /// Replaces the book by what `writeSnapshot` wrote of one of the same shard.
    ///
    /// Every length, range and sum is checked: whatever the bytes are, the book is either loaded
    /// whole and its books hold, or an error is thrown and the book stays as it was. O(bytes).
    ///
    /// - Parameter sequence: the shard's entry that it stands for: the last that can be about a slice
    ///   of which the snapshot does not say it.
    public mutating func loadSnapshot(
        _ bytes: UnsafeRawBufferPointer, sequence: UInt64
    ) throws(StockSnapshotError) {
        guard bytes.count >= 8 else { throw .truncated }
        let body = UnsafeRawBufferPointer(rebasing: bytes[..<(bytes.count - 8)])
        let sum = UnsafeRawBufferPointer(rebasing: bytes[body.count...])
        var loader = StockLoader(
            reader: SnapshotReader(body),
            book: empty(),
            sequence: sequence)
        try loader.readHead()
        let hash = Hash64.bytes(body, salt: StockSnapshot.salt)
        guard UInt64(littleEndian: sum.loadUnaligned(as: UInt64.self)) == hash else {
            throw .damaged
        }
        try loader.readBook()
        self = loader.finish()
    }
}

/// Reads a snapshot into a new book.
private struct StockLoader: ~Copyable {
    var reader: SnapshotReader
    var book: StockBook
    let sequence: UInt64
    var isPlain = false
    /// Units that each order restocked, less those of the refunds read so far.
    var restocks: [UInt16] = []
    /// By order, where the snapshot says them.
    var numbers: [UInt64] = []

    init(reader: SnapshotReader, book: consuming StockBook, sequence: UInt64) {
        self.reader = reader
        self.book = book
        self.sequence = sequence
    }

    consuming func finish() -> StockBook { book }

    mutating func readHead() throws(StockSnapshotError) {
        guard try integer(UInt32.self) == StockSnapshot.magic else { throw .foreign }
        let version = try integer(UInt32.self)
        isPlain = version == StockSnapshot.plainVersion
        guard isPlain || version == StockSnapshot.version else {
            throw .unsupportedVersion(version)
        }
    }

    mutating func readBook() throws(StockSnapshotError) {
        guard try integer(UInt16.self) == book.shard else { throw .inconsistent("shard") }
        book.timeMs = try integer(Int64.self)
        let sliceCount = try integer(UInt32.self)
        let orderCount = try integer(UInt32.self)
        let ledgerCount = try integer(UInt32.self)
        guard sliceCount <= UInt32(Limits.pools), Int(orderCount) <= book.orderLimit else {
            throw .inconsistent("counts")
        }
        var nextNumber = UInt64(orderCount)
        if !isPlain {
            nextNumber = try integer(UInt64.self)
            book.touchedFloor = try integer(UInt64.self)
            guard nextNumber >= UInt64(orderCount), nextNumber <= StockBook.numberLimit,
                book.touchedFloor <= sequence
            else { throw .inconsistent("numbers") }
        }
        for _ in 0..<sliceCount { try readSlice() }
        for _ in 0..<orderCount { try readOrder() }
        try place(nextNumber)
        for _ in 0..<ledgerCount { try readLedger() }
        guard reader.remaining == 0 else { throw .inconsistent("length") }
        try check()
    }

    // MARK: Slices

    mutating func readSlice() throws(StockSnapshotError) {
        let definition = try definition()
        let number = try integer(UInt32.self)
        let pool = PoolKey.of(.stock, definition.name)
        guard StockBook.isSound(definition, slice: number),
            book.slot(of: pool, slice: number) == nil
        else { throw .inconsistent("slice") }
        book.addSlice(definition, number)
        let slot = book.slices.count - 1
        let version = try integer(UInt32.self)
        let terms = try terms()
        book.slices[slot].take(
            PoolControl(
                version: version, terms: terms, paused: try flag(), closing: try flag()))
        book.slices[slot].credited = try units()
        book.slices[slot].held = try units()
        book.slices[slot].returned = try units()
        book.slices[slot].quarantined = try units()
        book.slices[slot].retired = try units()
        book.slices[slot].quarantines = try integer(UInt32.self)
        book.slices[slot].creditNumber = try integer(UInt32.self)
        let returnNumber = try integer(UInt32.self)
        book.slices[slot].returnNumber = returnNumber
        book.slices[slot].returnTaken = max(returnNumber, 1) - 1
        book.slices[slot].lastReturnUnits = try units()
        let flags = try integer(UInt8.self)
        guard flags < (isPlain ? 8 : 16) else { throw .inconsistent("flags") }
        book.slices[slot].isSealed = (flags & StockSnapshot.sealedFlag) != 0
        book.slices[slot].isQuarantined = (flags & StockSnapshot.quarantinedFlag) != 0
        book.slices[slot].lastReturnWasFinal = (flags & StockSnapshot.finalReturnFlag) != 0
        // Where it does not say: not before all that it holds.
        book.slices[slot].touchedAt = isPlain ? sequence : try integer(UInt64.self)
        book.slices[slot].touchedMs = isPlain ? book.timeMs : try integer(Int64.self)
        guard book.slices[slot].touchedAt <= sequence,
            book.slices[slot].touchedMs <= book.timeMs
        else { throw .inconsistent("last entry") }
        if flags & StockSnapshot.archivedFlag != 0 { try readArchived(slot) }
    }

    mutating func readArchived(_ slot: Int) throws(StockSnapshotError) {
        book.slices[slot].isArchived = true
        book.slices[slot].sold = try units()
        book.slices[slot].paidFen = try integer(Int64.self)
        book.slices[slot].refundedFen = try integer(Int64.self)
        book.slices[slot].orderedFen = try integer(Int64.self)
        let slice = book.slices[slot]
        guard slice.isSealed, slice.held == 0, slice.refundedFen >= 0,
            slice.refundedFen <= slice.paidFen, slice.paidFen <= slice.orderedFen,
            slice.orderedFen <= StockBook.orderedFenLimit
        else { throw .inconsistent("archived slice") }
    }

    /// Gives the orders their numbers: those that do not simply follow on get them one by one.
    mutating func place(_ next: UInt64) throws(StockSnapshotError) {
        let count = book.orders.count
        var dense = count
        if isPlain {
            dense = 0
        } else {
            while dense > 0, numbers[dense - 1] == next - UInt64(count - dense) - 1 { dense -= 1 }
        }
        for position in 0..<dense {
            guard numbers[position] < next - UInt64(count - dense),
                position == 0 || numbers[position - 1] < numbers[position]
            else { throw .inconsistent("order numbers") }
            book.numbers.append(numbers[position])
        }
        book.base = next - UInt64(count - dense)
    }

    mutating func definition() throws(StockSnapshotError) -> PoolDefinition {
        var definition = PoolDefinition(
            name: try text(), kind: .stock, units: try integer(Int64.self),
            amountFen: try integer(Int64.self), minFen: try integer(Int64.self),
            maxFen: try integer(Int64.self), holdMs: try integer(Int64.self),
            slices: try integer(UInt32.self), regions: [], seed: .zero, seedWasGiven: false,
            commitment: .zero, durability: .journal, initial: PoolTerms())
        let regions = try integer(UInt8.self)
        guard Int(regions) <= Limits.regions else { throw .inconsistent("regions") }
        for _ in 0..<regions {
            definition.regions.append(
                RegionShare(name: try text(), weight: try integer(UInt32.self)))
        }
        definition.seed = try bits()
        definition.seedWasGiven = try flag()
        definition.commitment = try bits()
        guard let durability = Durability(rawValue: try integer(UInt8.self)) else {
            throw .inconsistent("durability")
        }
        definition.durability = durability
        definition.initial = try terms()
        return definition
    }

    // MARK: Orders and ledger

    mutating func readOrder() throws(StockSnapshotError) {
        var record = OrderRecord(
            user: try integer(UInt64.self), expiresMs: try integer(Int64.self),
            requestHash: try integer(UInt64.self), slot: try integer(UInt32.self),
            previous: OrderRecord.none, quantity: try integer(UInt16.self), state: .reserved)
        let restocked = try integer(UInt16.self)
        guard let state = OrderState(rawValue: try integer(UInt8.self)),
            Int(record.slot) < book.slices.count, !book.slices[Int(record.slot)].isArchived,
            record.quantity >= 1,
            record.quantity <= UInt16(Limits.unitsPerOrder), restocked <= record.quantity
        else { throw .inconsistent("order") }
        record.state = state
        let slot = Int(record.slot)
        let quantity = Int64(record.quantity)
        let (fen, overflow) = book.slices[slot].priceFen.multipliedReportingOverflow(by: quantity)
        guard !overflow, fen <= Limits.amountFen,
            book.slices[slot].orderedFen <= StockBook.orderedFenLimit - fen
        else { throw .inconsistent("order") }
        book.slices[slot].orderedFen += fen
        var counted: UInt32 = 0
        switch state {
        case .reserved:
            counted = UInt32(quantity)
            book.slices[slot].pending += quantity
        case .paid, .refunded:
            counted = UInt32(record.quantity - restocked)
            book.slices[slot].sold += Int64(counted)
            book.slices[slot].paidFen += fen
        case .cancelled, .expired: break
        }
        let isBought = state == .paid || state == .refunded
        guard isBought || restocked == 0, book.addOrder(record, units: counted) else {
            throw .inconsistent("order")
        }
        if state == .reserved { book.openHold(book.orders.count - 1) }
        book.slices[slot].orders += 1
        restocks.append(restocked)
        if !isPlain { numbers.append(try integer(UInt64.self)) }
    }

    mutating func readLedger() throws(StockSnapshotError) {
        guard let kind = LedgerKind(rawValue: try integer(UInt8.self)) else {
            throw .inconsistent("ledger kind")
        }
        let number = Int(try integer(UInt32.self))
        let amountFen = try integer(Int64.self)
        let restocked = try integer(UInt16.self)
        let text = try text()
        guard number < book.orders.count else { throw .inconsistent("ledger order") }
        let isRefund = kind == .refund
        let key = book.ledgerKey(number, text, isRefund: isRefund)
        guard book.ledgerRecord(number, text, isRefund: isRefund, key) == nil else {
            throw .inconsistent("ledger id")
        }
        switch kind {
        case .payment: try readPayment(number, amountFen, restocked)
        case .refused:
            guard book.orders[number].state != .reserved, restocked == 0,
                amountFen == book.totalFen(number)
            else { throw .inconsistent("refused payment") }
            book.refusedCount += 1
            book.slices[Int(book.orders[number].slot)].refused += 1
        case .refund: try readRefund(number, amountFen, restocked)
        }
        guard book.refusedCount + book.refundCount <= book.ledgerLimit else {
            throw .inconsistent("ledger length")
        }
        book.addToLedger(kind, number, text, amountFen, restocked, key)
    }

    mutating func readPayment(
        _ number: Int, _ amountFen: Fen, _ restocked: UInt16
    ) throws(StockSnapshotError) {
        let record = book.orders[number]
        guard record.state == .paid || record.state == .refunded,
            record.payment == OrderRecord.none, restocked == 0,
            amountFen == book.totalFen(number)
        else { throw .inconsistent("payment") }
        book.orders[number].payment = UInt32(book.ledger.count)
        book.slices[Int(record.slot)].payments += 1
    }

    mutating func readRefund(
        _ number: Int, _ amountFen: Fen, _ restocked: UInt16
    ) throws(StockSnapshotError) {
        let record = book.orders[number]
        guard record.payment != OrderRecord.none, restocked <= restocks[number] else {
            throw .inconsistent("refund")
        }
        let payment = book.ledger[Int(record.payment)]
        guard amountFen >= 0, amountFen <= payment.amountFen - payment.refundedFen else {
            throw .inconsistent("refund")
        }
        restocks[number] -= restocked
        book.ledger[Int(record.payment)].refundedFen += amountFen
        book.ledger[Int(record.payment)].restocked += restocked
        book.slices[Int(record.slot)].refundedFen += amountFen
        book.refundCount += 1
        book.slices[Int(record.slot)].refunds += 1
    }

    /// What only the whole can tell.
    func check() throws(StockSnapshotError) {
        for number in 0..<book.orders.count {
            let record = book.orders[number]
            let isBought = record.state == .paid || record.state == .refunded
            guard isBought == (record.payment != OrderRecord.none), restocks[number] == 0 else {
                throw .inconsistent("payment of an order")
            }
            if !isBought { continue }
            let payment = book.ledger[Int(record.payment)]
            let isBack = payment.refundedFen == payment.amountFen
            guard isBack == (record.state == .refunded) || payment.amountFen == 0 else {
                throw .inconsistent("refunds of an order")
            }
        }
        for slot in 0..<book.slices.count {
            let slice = book.slices[slot]
            guard slice.booksHold, !slice.isSealed || slice.openOrders == 0,
                !slice.isQuarantined || slice.held == 0
            else { throw .inconsistent("books of a slice") }
        }
    }

    // MARK: Values

    mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(
        _ type: T.Type
    ) throws(StockSnapshotError) -> T {
        do { return try reader.integer(type) } catch { throw .truncated }
    }

    mutating func units() throws(StockSnapshotError) -> Int64 {
        let units = try integer(Int64.self)
        guard units >= 0, units <= StockBook.creditedLimit else { throw .inconsistent("units") }
        return units
    }

    mutating func flag() throws(StockSnapshotError) -> Bool {
        let byte = try integer(UInt8.self)
        guard byte <= 1 else { throw .inconsistent("flag") }
        return byte == 1
    }

    mutating func bits() throws(StockSnapshotError) -> Bits256 {
        Bits256(
            try integer(UInt64.self), try integer(UInt64.self), try integer(UInt64.self),
            try integer(UInt64.self))
    }

    mutating func terms() throws(StockSnapshotError) -> PoolTerms {
        PoolTerms(
            opensMs: try integer(Int64.self), closesMs: try integer(Int64.self),
            limit: try integer(UInt32.self))
    }

    mutating func text() throws(StockSnapshotError) -> Text64 {
        let count = Int(try integer(UInt8.self))
        let bytes: UnsafeRawBufferPointer
        do { bytes = try reader.slice(count) } catch { throw .truncated }
        guard let text = Text64(bytes), !text.isEmpty else { throw .inconsistent("text") }
        return text
    }
}
