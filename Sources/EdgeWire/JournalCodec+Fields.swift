import EdgeTypes

// The payloads, field by field. What `write` puts down, `read` takes up in the same order; a new
// field needs a new kind or a new frame version.
extension JournalCodec {
    static func write(_ entry: Entry, to sink: inout some JournalFieldSink) {
        switch entry {
        case .claim(let claim): preconditionFailure("claims have their own path: \(claim.pool)")
        case .orderReserved(let order): write(order, to: &sink)
        case .orderPaid(let paid):
            sink.integer(paid.order.rawValue)
            sink.integer(paid.amountFen)
            sink.integer(UInt8(paid.late ? 1 : 0))
            sink.text(paid.payment)
        case .orderCancelled(let order), .orderExpired(let order): sink.integer(order.rawValue)
        case .orderRefunded(let refund):
            sink.integer(refund.order.rawValue)
            sink.integer(refund.amountFen)
            sink.integer(refund.restock)
            sink.text(refund.request)
            if let place = refund.archived { write(place, to: &sink) }
        case .paymentRefused(let refused):
            sink.integer(refused.order.rawValue)
            sink.integer(refused.amountFen)
            sink.text(refused.payment)
            if let place = refused.archived { write(place, to: &sink) }
        case .poolCreated(let definition, let actor):
            write(definition, to: &sink)
            sink.text(actor)
        case .poolControlled(let pool, let control, let requestHash, let value, let actor):
            sink.integer(pool.rawValue)
            write(control, to: &sink)
            sink.integer(requestHash)
            sink.integer(value)
            sink.text(actor)
        case .poolFunded(let pool, let units, let requestHash, let actor):
            sink.integer(pool.rawValue)
            sink.integer(units)
            sink.integer(requestHash)
            sink.text(actor)
        case .poolLeased(let transfer), .poolTookBack(let transfer),
            .sliceCredited(let transfer), .sliceReturned(let transfer):
            write(transfer, to: &sink)
        case .poolClosed(let pool): sink.integer(pool.rawValue)
        case .poolSoldOut(let pool, let soldOut):
            sink.integer(pool.rawValue)
            write(soldOut, to: &sink)
        case .poolResolved(let pool, let resolution, let isDone, let requestHash, let actor):
            sink.integer(pool.rawValue)
            sink.integer(resolution.rawValue)
            sink.integer(UInt8(isDone ? 1 : 0))
            sink.integer(requestHash)
            sink.text(actor)
        case .poolMoved(let move): write(move, to: &sink)
        case .sliceOpened(let definition, let slice, let control):
            write(definition, to: &sink)
            sink.integer(slice)
            write(control, to: &sink)
        case .sliceControlled(let pool, let slice, let control):
            sink.integer(pool.rawValue)
            sink.integer(slice)
            write(control, to: &sink)
        case .sliceQuarantined(let pool, let slice):
            sink.integer(pool.rawValue)
            sink.integer(slice)
        case .sliceResolved(let pool, let slice, let resolution, let actor):
            sink.integer(pool.rawValue)
            sink.integer(slice)
            sink.integer(resolution.rawValue)
            sink.text(actor)
        case .sliceArchived(let pool, let slice, let first):
            sink.integer(pool.rawValue)
            sink.integer(slice)
            sink.integer(first)
        }
    }

    /// nil where the bytes are of another kind than entries, or make no sense: see `entry()`.
    static func read(_ kind: JournalKind, from reader: inout JournalFieldReader) -> Entry? {
        switch kind {
        case .claim, .claimOnce: nil
        case .orderReserved: .orderReserved(readReserved(&reader))
        case .orderPaid: .orderPaid(readPaid(&reader))
        case .orderCancelled: .orderCancelled(readOrder(&reader))
        case .orderExpired: .orderExpired(readOrder(&reader))
        case .orderRefunded: .orderRefunded(readRefunded(&reader))
        case .paymentRefused: .paymentRefused(readRefused(&reader))
        case .archivedRefunded:
            .orderRefunded(readArchivedRefunded(&reader))
        case .archivedRefused:
            .paymentRefused(readArchivedRefused(&reader))
        case .poolCreated:
            .poolCreated(readDefinition(&reader), actor: reader.text())
        case .poolControlled:
            .poolControlled(
                readPool(&reader), readControl(&reader), requestHash: reader.integer(),
                value: reader.integer(), actor: reader.text())
        case .poolFunded:
            .poolFunded(
                readPool(&reader), units: reader.integer(), requestHash: reader.integer(),
                actor: reader.text())
        case .poolLeased: .poolLeased(readTransfer(&reader))
        case .poolTookBack: .poolTookBack(readTransfer(&reader))
        case .poolClosed: .poolClosed(readPool(&reader))
        case .poolSoldOut: .poolSoldOut(readPool(&reader), readSoldOut(&reader))
        case .poolResolved:
            .poolResolved(
                readPool(&reader), readResolution(&reader), isDone: reader.flag(),
                requestHash: reader.integer(), actor: reader.text())
        case .poolMoved: .poolMoved(readMove(&reader))
        case .sliceOpened:
            .sliceOpened(
                readDefinition(&reader), slice: reader.integer(), readControl(&reader))
        case .sliceControlled:
            .sliceControlled(readPool(&reader), slice: reader.integer(), readControl(&reader))
        case .sliceCredited: .sliceCredited(readTransfer(&reader))
        case .sliceReturned: .sliceReturned(readTransfer(&reader))
        case .sliceQuarantined:
            .sliceQuarantined(readPool(&reader), slice: reader.integer())
        case .sliceResolved:
            .sliceResolved(
                readPool(&reader), slice: reader.integer(), readResolution(&reader),
                actor: reader.text())
        case .sliceArchived:
            .sliceArchived(
                readPool(&reader), slice: reader.integer(), first: reader.integer())
        }
    }

    static func readResolution(_ reader: inout JournalFieldReader) -> Resolution {
        guard let resolution = Resolution(rawValue: reader.integer()) else {
            reader.fail()
            return .retire
        }
        return resolution
    }

    // MARK: Orders

    private static func write(_ order: OrderReserved, to sink: inout some JournalFieldSink) {
        sink.integer(order.order.rawValue)
        sink.integer(order.pool.rawValue)
        sink.integer(order.user)
        sink.integer(order.priceFen)
        sink.integer(order.expiresMs)
        sink.integer(order.requestHash)
        sink.integer(order.slice)
        sink.integer(order.quantity)
    }

    private static func readReserved(_ reader: inout JournalFieldReader) -> OrderReserved {
        let order = readOrder(&reader)
        let pool = readPool(&reader)
        let user = reader.integer(UInt64.self)
        let priceFen = reader.integer(Int64.self)
        let expiresMs = reader.integer(Int64.self)
        let requestHash = reader.integer(UInt64.self)
        let slice = reader.integer(UInt32.self)
        return OrderReserved(
            order: order, pool: pool, slice: slice, user: user, quantity: reader.integer(),
            priceFen: priceFen, expiresMs: expiresMs, requestHash: requestHash)
    }

    private static func readPaid(_ reader: inout JournalFieldReader) -> OrderPaid {
        let order = readOrder(&reader)
        let amountFen = reader.integer(Int64.self)
        let late = reader.flag()
        return OrderPaid(order: order, payment: reader.text(), amountFen: amountFen, late: late)
    }

    private static func readRefunded(_ reader: inout JournalFieldReader) -> OrderRefunded {
        let order = readOrder(&reader)
        let amountFen = reader.integer(Int64.self)
        let restock = reader.integer(UInt32.self)
        return OrderRefunded(
            order: order, request: reader.text(), amountFen: amountFen, restock: restock)
    }

    private static func readRefused(_ reader: inout JournalFieldReader) -> PaymentRefused {
        let order = readOrder(&reader)
        let amountFen = reader.integer(Int64.self)
        return PaymentRefused(order: order, payment: reader.text(), amountFen: amountFen)
    }

    private static func readArchivedRefunded(_ reader: inout JournalFieldReader) -> OrderRefunded {
        var refund = readRefunded(&reader)
        refund.archived = readArchived(&reader)
        return refund
    }

    private static func readArchivedRefused(_ reader: inout JournalFieldReader) -> PaymentRefused {
        var refused = readRefused(&reader)
        refused.archived = readArchived(&reader)
        return refused
    }

    static func write(_ place: ArchivedSlice, to sink: inout some JournalFieldSink) {
        sink.integer(place.pool.rawValue)
        sink.integer(place.slice)
    }

    static func readArchived(_ reader: inout JournalFieldReader) -> ArchivedSlice {
        ArchivedSlice(pool: readPool(&reader), slice: reader.integer())
    }

    private static func readOrder(_ reader: inout JournalFieldReader) -> OrderID {
        OrderID(rawValue: reader.integer())
    }

    // MARK: Pools

    static func write(
        _ definition: PoolDefinition, to sink: inout some JournalFieldSink
    ) {
        precondition(definition.regions.count <= Limits.regions)
        sink.text(definition.name)
        sink.integer(definition.kind.rawValue)
        sink.integer(definition.durability.rawValue)
        sink.integer(UInt8(definition.seedWasGiven ? 1 : 0))
        sink.integer(UInt8(definition.regions.count))
        for region in definition.regions {
            sink.text(region.name)
            sink.integer(region.weight)
        }
        sink.integer(definition.units)
        sink.integer(definition.amountFen)
        sink.integer(definition.minFen)
        sink.integer(definition.maxFen)
        sink.integer(definition.holdMs)
        sink.integer(definition.slices)
        write(definition.seed, to: &sink)
        write(definition.commitment, to: &sink)
        write(definition.initial, to: &sink)
    }

    static func readDefinition(_ reader: inout JournalFieldReader) -> PoolDefinition {
        let name = reader.text()
        let kind = PoolKind(rawValue: reader.integer())
        let durability = Durability(rawValue: reader.integer())
        if kind == nil || durability == nil { reader.fail() }
        let seedWasGiven = reader.flag()
        let count = Int(reader.integer(UInt8.self))
        if count > Limits.regions { reader.fail() }
        var regions: [RegionShare] = []
        for _ in 0..<min(count, Limits.regions) {
            let region = reader.text()
            regions.append(RegionShare(name: region, weight: reader.integer()))
        }
        let units = reader.integer(Int64.self)
        let amountFen = reader.integer(Int64.self)
        let minFen = reader.integer(Int64.self)
        let maxFen = reader.integer(Int64.self)
        let holdMs = reader.integer(Int64.self)
        let slices = reader.integer(UInt32.self)
        let seed = readBits(&reader)
        let commitment = readBits(&reader)
        return PoolDefinition(
            name: name, kind: kind ?? .spread, units: units, amountFen: amountFen, minFen: minFen,
            maxFen: maxFen, holdMs: holdMs, slices: slices, regions: regions, seed: seed,
            seedWasGiven: seedWasGiven, commitment: commitment,
            durability: durability ?? .journal, initial: readTerms(&reader))
    }

    static func write(_ control: PoolControl, to sink: inout some JournalFieldSink) {
        sink.integer(control.version)
        write(control.terms, to: &sink)
        sink.integer(UInt8(control.paused ? 1 : 0))
        sink.integer(UInt8(control.closing ? 1 : 0))
    }

    static func readControl(_ reader: inout JournalFieldReader) -> PoolControl {
        let version = reader.integer(UInt32.self)
        let terms = readTerms(&reader)
        let paused = reader.flag()
        return PoolControl(
            version: version, terms: terms, paused: paused, closing: reader.flag())
    }

    private static func write(_ terms: PoolTerms, to sink: inout some JournalFieldSink) {
        sink.integer(terms.opensMs)
        sink.integer(terms.closesMs)
        sink.integer(terms.limit)
    }

    private static func readTerms(_ reader: inout JournalFieldReader) -> PoolTerms {
        let opensMs = reader.integer(Int64.self)
        let closesMs = reader.integer(Int64.self)
        return PoolTerms(opensMs: opensMs, closesMs: closesMs, limit: reader.integer())
    }

    private static func write(_ bits: Bits256, to sink: inout some JournalFieldSink) {
        sink.integer(bits.words.0)
        sink.integer(bits.words.1)
        sink.integer(bits.words.2)
        sink.integer(bits.words.3)
    }

    private static func readBits(_ reader: inout JournalFieldReader) -> Bits256 {
        let first = reader.integer(UInt64.self)
        let second = reader.integer(UInt64.self)
        let third = reader.integer(UInt64.self)
        return Bits256(first, second, third, reader.integer())
    }

    static func readPool(_ reader: inout JournalFieldReader) -> PoolKey {
        PoolKey(rawValue: reader.integer())
    }

    static func write(_ soldOut: SoldOut, to sink: inout some JournalFieldSink) {
        sink.integer(soldOut.part)
        sink.integer(soldOut.epoch)
        sink.integer(soldOut.generation)
        sink.integer(soldOut.written)
    }

    static func readSoldOut(_ reader: inout JournalFieldReader) -> SoldOut {
        let part = reader.integer(UInt16.self)
        let epoch = reader.integer(UInt32.self)
        let generation = reader.integer(UInt32.self)
        return SoldOut(
            part: part, epoch: epoch, generation: generation, written: reader.integer())
    }

    // MARK: Transfers

    static func write(_ transfer: Transfer, to sink: inout some JournalFieldSink) {
        sink.integer(transfer.pool.rawValue)
        sink.integer(transfer.slice)
        sink.integer(transfer.number)
        sink.integer(UInt8(transfer.final ? 1 : 0))
        write(transfer.ranges, to: &sink)
    }

    private static func write(_ ranges: [UnitRange], to sink: inout some JournalFieldSink) {
        sink.integer(UInt32(ranges.count))
        for range in ranges {
            sink.integer(range.start)
            sink.integer(range.count)
        }
    }

    private static func write(_ move: UnitMove, to sink: inout some JournalFieldSink) {
        sink.integer(move.pool.rawValue)
        sink.integer(move.from)
        sink.integer(move.to)
        write(move.ranges, to: &sink)
    }

    private static func readMove(_ reader: inout JournalFieldReader) -> UnitMove {
        let pool = readPool(&reader)
        let from = reader.integer(UInt16.self)
        let to = reader.integer(UInt16.self)
        return UnitMove(pool: pool, from: from, to: to, ranges: readRanges(&reader))
    }

    static func readTransfer(_ reader: inout JournalFieldReader) -> Transfer {
        let pool = readPool(&reader)
        let slice = reader.integer(UInt32.self)
        let number = reader.integer(UInt32.self)
        let final = reader.flag()
        return Transfer(
            pool: pool, slice: slice, number: number, final: final, ranges: readRanges(&reader))
    }

    private static func readRanges(_ reader: inout JournalFieldReader) -> [UnitRange] {
        let count = Int(reader.integer(UInt32.self))
        var ranges: [UnitRange] = []
        // Before anything is reserved: more ranges than the bytes can hold are no ranges.
        if count > maximumEntryBytes / 16 { reader.fail() } else { ranges.reserveCapacity(count) }
        for _ in 0..<min(count, maximumEntryBytes / 16) {
            let start = reader.integer(Int64.self)
            ranges.append(UnitRange(start: start, count: reader.integer()))
        }
        return ranges
    }
}

extension JournalFrame {
    /// Decodes the entry, allocating where it holds arrays. O(length).
    ///
    /// Never traps. `unknownKind` where a later release (or the journal's files) wrote it,
    /// `malformed` where an intact frame holds nonsense.
    public func entry() throws(JournalDecodeError) -> Entry {
        if let claim { return .claim(claim) }
        guard let kind else { throw .unknownKind(rawKind) }
        var reader = JournalFieldReader(bytes, offset: JournalFrame.headerBytes)
        guard let entry = JournalCodec.read(kind, from: &reader), reader.finish() else {
            throw .malformed(kind: rawKind)
        }
        return entry
    }
}
