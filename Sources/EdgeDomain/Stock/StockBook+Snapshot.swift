public import EdgeMemory
import EdgeTypes

/// Why a snapshot was not loaded.
public enum StockSnapshotError: Error, Equatable {
    case truncated
    /// No snapshot of a stock book.
    case foreign
    /// Written by a later version of this program.
    case unsupportedVersion(UInt32)
    case damaged
    /// Well-formed, but what it says cannot be: the words name what.
    case inconsistent(String)
}

/// A book as bytes: what entries made, and nothing that can be derived from it. Little-endian:
///
///     magic version shard time  slices orders ledger (counts)
///     version 3: the next order's number, and the floor of what the store must have
///     slice:   definition, number, control, credited held returned quarantined retired,
///              quarantines, credit and return numbers, last return, flags
///              version 3: the last entry about it and its time; and, of an archived one, what its
///              orders would say: sold, fen paid, refunded and ordered
///     order:   user expires request slot quantity restocked state          (33 bytes)
///              version 3: its number                                       (41 bytes)
///     ledger:  kind order fen restocked length id                          (16 bytes and the id)
///     hash of all bytes before
///
/// Version 3 is for nodes that all know it. Archived orders are in neither; an order in the ledger
/// is its place among those that are.
enum StockSnapshot {
    static let magic: UInt32 = 0x4253_5044  // "DPSB"
    static let version: UInt32 = 3
    /// Without archived slices, times and numbers.
    static let plainVersion: UInt32 = 2
    static let salt: UInt64 = 0x7374_6f63_6b73
    static let sealedFlag: UInt8 = 1
    static let quarantinedFlag: UInt8 = 2
    static let finalReturnFlag: UInt8 = 4
    static let archivedFlag: UInt8 = 8
    static let orderBytes = 33
}

extension StockBook {
    /// Whether orders have left it: who does not know of that cannot read its snapshot.
    public var hasArchived: Bool { archivedCount > 0 || base > 0 || snapshotFloor > 0 }

    /// Appends the whole book to `sink`. The same entries give the same bytes. O(book).
    ///
    /// - Parameters:
    ///   - isPlain: as the releases before orders could be archived write it: an earlier one can read
    ///     it, and since when a slice has been closed is forgotten.
    ///   - forgetsArchive: only a built-in bug does (see `Mutant`).
    /// - Precondition: `isPlain` only of a book without archived orders.
    public func writeSnapshot(
        into sink: inout ByteSink, isPlain: Bool = false, forgetsArchive: Bool = false
    ) {
        precondition(!isPlain || !hasArchived)
        let start = sink.count
        let places = places()
        sink.append(integer: StockSnapshot.magic)
        sink.append(integer: isPlain ? StockSnapshot.plainVersion : StockSnapshot.version)
        sink.append(integer: shard)
        sink.append(integer: timeMs)
        sink.append(integer: UInt32(slices.count))
        sink.append(integer: UInt32(orders.count - archivedCount))
        sink.append(integer: UInt32(ledgerCount(places)))
        if !isPlain {
            sink.append(integer: nextNumber)
            sink.append(integer: snapshotFloor)
        }
        for slot in 0..<slices.count {
            write(slice: slot, isPlain: isPlain, forgetsArchive, into: &sink)
        }
        for position in 0..<orders.count where isKept(position) {
            write(order: position, into: &sink)
            if !isPlain { sink.append(integer: number(position)) }
        }
        for position in 0..<ledger.count { write(ledger: position, places, into: &sink) }
        let written = UnsafeRawBufferPointer(rebasing: sink.bytes[start...])
        sink.append(integer: Hash64.bytes(written, salt: StockSnapshot.salt))
    }

    private func isKept(_ position: Int) -> Bool {
        archivedCount == 0 || !slices[Int(orders[position].slot)].isArchived
    }

    /// By position: the place among the orders that are not archived. Empty: they all are where
    /// they lie.
    private func places() -> [UInt32] {
        guard archivedCount > 0 else { return [] }
        var places: [UInt32] = []
        places.reserveCapacity(orders.count)
        var next: UInt32 = 0
        for position in 0..<orders.count {
            places.append(isKept(position) ? next : OrderRecord.none)
            if isKept(position) { next += 1 }
        }
        return places
    }

    private func ledgerCount(_ places: [UInt32]) -> Int {
        if places.isEmpty { return ledger.count }
        var count = 0
        for position in 0..<ledger.count
        where places[Int(ledger[position].order)] != OrderRecord.none { count += 1 }
        return count
    }

    private func write(
        slice slot: Int, isPlain: Bool, _ forgetsArchive: Bool, into sink: inout ByteSink
    ) {
        let slice = slices[slot]
        Self.write(definition(slot: slot), into: &sink)
        sink.append(integer: slice.slice)
        sink.append(integer: slice.version)
        sink.append(integer: slice.opensMs)
        sink.append(integer: slice.closesMs)
        sink.append(integer: slice.limit)
        sink.append(integer: UInt8(slice.isPaused ? 1 : 0))
        sink.append(integer: UInt8(slice.isClosing ? 1 : 0))
        sink.append(integer: slice.credited)
        sink.append(integer: slice.held)
        sink.append(integer: slice.returned)
        sink.append(integer: slice.quarantined)
        sink.append(integer: slice.retired)
        sink.append(integer: slice.quarantines)
        sink.append(integer: slice.creditNumber)
        sink.append(integer: slice.returnNumber)
        sink.append(integer: slice.lastReturnUnits)
        var flags: UInt8 = 0
        if slice.isSealed { flags |= StockSnapshot.sealedFlag }
        if slice.isQuarantined { flags |= StockSnapshot.quarantinedFlag }
        if slice.lastReturnWasFinal { flags |= StockSnapshot.finalReturnFlag }
        if slice.isArchived, !forgetsArchive { flags |= StockSnapshot.archivedFlag }
        sink.append(integer: flags)
        if isPlain { return }
        sink.append(integer: slice.touchedAt)
        sink.append(integer: slice.touchedMs)
        guard flags & StockSnapshot.archivedFlag != 0 else { return }
        sink.append(integer: slice.sold)
        sink.append(integer: slice.paidFen)
        sink.append(integer: slice.refundedFen)
        sink.append(integer: slice.orderedFen)
    }

    private static func write(_ definition: PoolDefinition, into sink: inout ByteSink) {
        write(definition.name, into: &sink)
        sink.append(integer: definition.units)
        sink.append(integer: definition.amountFen)
        sink.append(integer: definition.minFen)
        sink.append(integer: definition.maxFen)
        sink.append(integer: definition.holdMs)
        sink.append(integer: definition.slices)
        sink.append(integer: UInt8(definition.regions.count))
        for region in definition.regions {
            write(region.name, into: &sink)
            sink.append(integer: region.weight)
        }
        write(definition.seed, into: &sink)
        sink.append(integer: UInt8(definition.seedWasGiven ? 1 : 0))
        write(definition.commitment, into: &sink)
        sink.append(integer: definition.durability.rawValue)
        sink.append(integer: definition.initial.opensMs)
        sink.append(integer: definition.initial.closesMs)
        sink.append(integer: definition.initial.limit)
    }

    private static func write(_ bits: Bits256, into sink: inout ByteSink) {
        sink.append(integer: bits.words.0)
        sink.append(integer: bits.words.1)
        sink.append(integer: bits.words.2)
        sink.append(integer: bits.words.3)
    }

    private static func write(_ text: Text64, into sink: inout ByteSink) {
        sink.append(integer: text.count)
        for index in 0..<Int(text.count) { sink.append(integer: text.byte(index)) }
    }

    private func write(order number: Int, into sink: inout ByteSink) {
        let record = orders[number]
        var restocked: UInt16 = 0
        if record.payment != OrderRecord.none { restocked = ledger[Int(record.payment)].restocked }
        let region = sink.extend(by: StockSnapshot.orderBytes)
        region.storeBytes(of: record.user.littleEndian, toByteOffset: 0, as: UInt64.self)
        region.storeBytes(of: record.expiresMs.littleEndian, toByteOffset: 8, as: Int64.self)
        region.storeBytes(of: record.requestHash.littleEndian, toByteOffset: 16, as: UInt64.self)
        region.storeBytes(of: record.slot.littleEndian, toByteOffset: 24, as: UInt32.self)
        region.storeBytes(of: record.quantity.littleEndian, toByteOffset: 28, as: UInt16.self)
        region.storeBytes(of: restocked.littleEndian, toByteOffset: 30, as: UInt16.self)
        region.storeBytes(of: record.state.rawValue, toByteOffset: 32, as: UInt8.self)
    }

    private func write(ledger position: Int, _ places: [UInt32], into sink: inout ByteSink) {
        let record = ledger[position]
        let order = places.isEmpty ? record.order : places[Int(record.order)]
        if order == OrderRecord.none { return }
        sink.append(integer: record.kind.rawValue)
        sink.append(integer: order)
        sink.append(integer: record.amountFen)
        sink.append(integer: record.kind == .refund ? record.restocked : 0)
        sink.append(integer: record.textCount)
        for index in 0..<Int(record.textCount) {
            let word = texts[Int(record.text) + (index >> 3)]
            sink.append(integer: UInt8(truncatingIfNeeded: word >> (UInt64(index & 7) * 8)))
        }
    }
}
