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
///     slice:   definition, number, control, credited held returned quarantined retired,
///              quarantines, credit and return numbers, last return, flags
///     order:   user expires request slot quantity restocked state          (33 bytes)
///     ledger:  kind order fen restocked length id                          (16 bytes and the id)
///     hash of all bytes before
enum StockSnapshot {
    static let magic: UInt32 = 0x4253_5044  // "DPSB"
    static let version: UInt32 = 2
    static let salt: UInt64 = 0x7374_6f63_6b73
    static let sealedFlag: UInt8 = 1
    static let quarantinedFlag: UInt8 = 2
    static let finalReturnFlag: UInt8 = 4
    static let orderBytes = 33
}

extension StockBook {
    /// Appends the whole book to `sink`. The same entries give the same bytes. O(book).
    public func writeSnapshot(into sink: inout ByteSink) {
        let start = sink.count
        sink.append(integer: StockSnapshot.magic)
        sink.append(integer: StockSnapshot.version)
        sink.append(integer: shard)
        sink.append(integer: timeMs)
        sink.append(integer: UInt32(slices.count))
        sink.append(integer: UInt32(orders.count))
        sink.append(integer: UInt32(ledger.count))
        for slot in 0..<slices.count { write(slice: slot, into: &sink) }
        for number in 0..<orders.count { write(order: number, into: &sink) }
        for position in 0..<ledger.count { write(ledger: position, into: &sink) }
        let written = UnsafeRawBufferPointer(rebasing: sink.bytes[start...])
        sink.append(integer: Hash64.bytes(written, salt: StockSnapshot.salt))
    }

    private func write(slice slot: Int, into sink: inout ByteSink) {
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
        sink.append(integer: flags)
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

    private func write(ledger position: Int, into sink: inout ByteSink) {
        let record = ledger[position]
        sink.append(integer: record.kind.rawValue)
        sink.append(integer: record.order)
        sink.append(integer: record.amountFen)
        sink.append(integer: record.kind == .refund ? record.restocked : 0)
        sink.append(integer: record.textCount)
        for index in 0..<Int(record.textCount) {
            let word = texts[Int(record.text) + (index >> 3)]
            sink.append(integer: UInt8(truncatingIfNeeded: word >> (UInt64(index & 7) * 8)))
        }
    }
}
