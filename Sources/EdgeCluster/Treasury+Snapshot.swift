import EdgeMemory
import EdgeTypes

/// A treasury as bytes, little-endian. The definition and the control travel beside it.
extension Treasury {
    public func write(into sink: inout ByteSink) {
        sink.append(integer: createdMs)
        sink.append(integer: funded)
        sink.append(integer: returned)
        sink.append(integer: UInt8(isClosed ? 1 : 0))
        for part in parts {
            sink.append(integer: part.soldOut.epoch)
            sink.append(integer: part.soldOut.generation)
            sink.append(integer: part.soldOut.written)
            Self.write(Array(part.unleased.all), into: &sink)
        }
        sink.append(integer: UInt32(operatorRequests.count))
        for request in operatorRequests {
            sink.append(integer: request.hash)
            sink.append(integer: request.value)
        }
        for link in slices {
            sink.append(integer: link.leaseNumber)
            sink.append(integer: link.returnNumber)
            sink.append(integer: link.leased)
            sink.append(integer: UInt8(link.isFinal ? 1 : 0))
            sink.append(integer: UInt32(link.inFlight.count))
            for transfer in link.inFlight {
                sink.append(integer: transfer.number)
                Self.write(transfer.ranges, into: &sink)
            }
        }
    }

    /// - Throws: where the bytes end early or hold more than a treasury may.
    public init(
        reading reader: inout SnapshotReader, _ definition: PoolDefinition, pool: PoolKey,
        control: PoolControl
    ) throws(SnapshotReader.Truncated) {
        self.init(definition, pool: pool, createdMs: try reader.integer())
        restore(control)
        let funded: Int64 = try reader.integer()
        let returned: Int64 = try reader.integer()
        let closed: UInt8 = try reader.integer()
        guard funded >= definition.units, funded <= Limits.unitsPerPool, returned >= 0,
            returned <= funded
        else { throw SnapshotReader.Truncated() }
        restore(funded: funded, returned: returned, isClosed: closed != 0)
        for part in parts.indices {
            let soldOut = SoldOut(
                part: UInt16(part), epoch: try reader.integer(), generation: try reader.integer(),
                written: try reader.integer())
            guard soldOut.left >= -1, soldOut.generation < .max else {
                throw SnapshotReader.Truncated()
            }
            restore(soldOut, try Self.ranges(&reader), part: part)
        }
        guard unleased <= funded else { throw SnapshotReader.Truncated() }
        let requests = try reader.count(limit: Limits.operatorRequestsPerPool, itemBytes: 16)
        for _ in 0..<requests {
            let hash: UInt64 = try reader.integer()
            restore(OperatorRequest(hash: hash, value: try reader.integer()))
        }
        var links: [Link] = []
        for index in 0..<slices.count {
            var link = Link()
            link.leaseNumber = try reader.integer()
            link.returnNumber = try reader.integer()
            link.leased = try reader.integer()
            guard link.leased >= 0, link.leased <= funded, link.leaseNumber < .max,
                link.returnNumber < .max
            else { throw SnapshotReader.Truncated() }
            let final: UInt8 = try reader.integer()
            link.isFinal = final != 0
            let count = try reader.count(limit: 1 << 20, itemBytes: 8)
            for _ in 0..<count {
                let number: UInt32 = try reader.integer()
                link.inFlight.append(
                    Transfer(
                        pool: pool, slice: UInt32(index), number: number, final: false,
                        ranges: try Self.ranges(&reader)))
            }
            links.append(link)
        }
        restore(links)
    }

    private static func write(_ ranges: [UnitRange], into sink: inout ByteSink) {
        sink.append(integer: UInt32(ranges.count))
        for range in ranges {
            sink.append(integer: range.start)
            sink.append(integer: range.count)
        }
    }

    private static func ranges(
        _ reader: inout SnapshotReader
    ) throws(SnapshotReader.Truncated) -> [UnitRange] {
        let count = try reader.count(limit: 1 << 20, itemBytes: 16)
        var ranges: [UnitRange] = []
        for _ in 0..<count {
            let start: Int64 = try reader.integer()
            let units: Int64 = try reader.integer()
            guard start >= 0, start <= Limits.unitsPerPool, units >= 0,
                units <= Limits.unitsPerPool
            else { throw SnapshotReader.Truncated() }
            ranges.append(UnitRange(start: start, count: units))
        }
        return ranges
    }
}
