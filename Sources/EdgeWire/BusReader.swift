public import EdgeTypes

/// Reads the messages of a record, one after the other.
///
/// Never traps, whatever the bytes hold. Of what it reads, shards are below `Limits.shards`,
/// configurations are sound, and values keep to `BusLimits`. Grabs and their answers allocate
/// nothing.
public struct BusReader {
    // SAFETY: whoever makes a reader keeps the bytes alive and unchanged while it reads.
    @usableFromInline let record: UnsafeRawBufferPointer
    @usableFromInline var offset = 0
    /// What lies beside the message that was read last, if that was `entries` or `copy`.
    public internal(set) var attached = UnsafeRawBufferPointer(start: nil, count: 0)

    @inlinable
    public init(_ record: UnsafeRawBufferPointer) { self.record = record }

    /// The next message; nil at the end. After an error there is nothing more to be had.
    @inlinable @inline(__always)
    public mutating func next() throws(BusDecodeError) -> BusMessage? {
        let left = record.count &- offset
        if left == 0 { return nil }
        guard left >= BusFrame.headBytes else { throw .truncated }
        let head = word(offset)
        let length = Int(truncatingIfNeeded: head >> 32)
        guard length >= BusFrame.headBytes, length & 7 == 0, length <= BusLimits.messageBytes
        else { throw .badLength }
        guard length <= left else { throw .truncated }
        let start = offset
        offset = start &+ length
        if UInt8(truncatingIfNeeded: head) == BusKind.request.rawValue,
            length == BusFrame.requestBytes
        {
            let id = word(start &+ 8)
            guard let request = plainRequest(head, start) else {
                throw .malformed(kind: BusKind.request.rawValue)
            }
            return .request(id: id, hops: UInt8(truncatingIfNeeded: head >> 24), request)
        }
        if UInt8(truncatingIfNeeded: head) == BusKind.reply.rawValue,
            length == BusFrame.replyBytes
        {
            let id = word(start &+ 8)
            guard let reply = reply(head, start) else {
                throw .malformed(kind: BusKind.reply.rawValue)
            }
            return .reply(id: id, reply, nil)
        }
        return try other(head, start..<offset)
    }

    @inlinable @inline(__always)
    func word(_ at: Int) -> UInt64 {
        precondition(at >= 0 && at <= record.count &- 8)
        return UInt64(littleEndian: record.loadUnaligned(fromByteOffset: at, as: UInt64.self))
    }

    /// The fields that all requests have; nil where one makes no sense.
    @inlinable @inline(__always)
    func plainRequest(_ head: UInt64, _ start: Int) -> Request? {
        let flags = UInt8(truncatingIfNeeded: head >> 16)
        let region = word(start &+ 40)
        guard let operation = Operation(rawValue: UInt8(truncatingIfNeeded: head >> 8)),
            let family = PoolFamily(rawValue: flags & 1), flags < 4, region <= UInt32.max
        else { return nil }
        return Request(
            ticket: Ticket(core: 0, generation: 0, connection: 0, position: 0),
            operation: operation, family: family, pool: PoolKey(rawValue: word(start &+ 16)),
            user: word(start &+ 24), region: UInt32(truncatingIfNeeded: region),
            requestHash: word(start &+ 32), ownOnly: flags & 2 != 0)
    }

    @inlinable @inline(__always)
    func reply(_ head: UInt64, _ start: Int) -> Reply? {
        guard let shape = ReplyShape(rawValue: UInt8(truncatingIfNeeded: head >> 8)),
            let outcome = Outcome(rawValue: UInt8(truncatingIfNeeded: head >> 16)),
            let error = ErrorCode(rawValue: UInt8(truncatingIfNeeded: head >> 24))
        else { return nil }
        return Reply(
            ticket: Ticket(core: 0, generation: 0, connection: 0, position: 0), shape: shape,
            outcome: outcome, error: error, waitsForJournal: false,
            fen: Int64(bitPattern: word(start &+ 16)),
            packet: Int64(bitPattern: word(start &+ 24)),
            timeMs: Int64(bitPattern: word(start &+ 32)),
            order: OrderID(rawValue: word(start &+ 40)))
    }

    /// All messages but the two above.
    @usableFromInline
    mutating func other(
        _ head: UInt64, _ range: Range<Int>
    ) throws(BusDecodeError) -> BusMessage {
        attached = UnsafeRawBufferPointer(start: nil, count: 0)
        let rawKind = UInt8(truncatingIfNeeded: head)
        guard let kind = BusKind(rawValue: rawKind) else { throw .unknownKind(rawKind) }
        let message: BusMessage?
        switch kind {
        case .request, .reply: throw .badLength
        case .longRequest: message = try longRequest(head, range)
        case .command: message = try command(head, range)
        case .replyWithValue: message = try replyWithValue(head, range)
        case .frame, .replica: message = fields(kind, head, range)
        case .entries: message = try entries(head, range)
        case .copy: message = try copy(head, range)
        case .beacon, .beaconAnswer:
            guard range.count == BusFrame.beaconBytes else { throw .badLength }
            let number = word(range.lowerBound + 8)
            let isPlain = (head >> 8) & 0xff_ffff == 0
            message =
                isPlain
                ? (kind == .beacon ? .beacon(number: number) : .beaconAnswer(number: number)) : nil
        case .ping, .pong, .closing:
            guard range.count == BusFrame.headBytes else { throw .badLength }
            guard (head >> 8) & 0xff_ffff == 0 else { throw .malformed(kind: rawKind) }
            message = kind == .ping ? .ping : kind == .pong ? .pong : .closing
        }
        guard let message else { throw .malformed(kind: rawKind) }
        return message
    }

    private func part(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: record[range])
    }

    private func anyRequest(_ head: UInt64, _ start: Int) -> Request? {
        guard var request = plainRequest(head, start) else { return nil }
        request.quantity = Int64(bitPattern: word(start + 48))
        request.amountFen = Int64(bitPattern: word(start + 56))
        request.order = OrderID(rawValue: word(start + 64))
        return request
    }

    private func longRequest(
        _ head: UInt64, _ range: Range<Int>
    ) throws(BusDecodeError) -> BusMessage? {
        guard range.count == BusFrame.longRequestBytes else { throw .badLength }
        guard let request = anyRequest(head, range.lowerBound), !BusFrame.isShort(request) else {
            return nil
        }
        return .request(
            id: word(range.lowerBound + 8), hops: UInt8(truncatingIfNeeded: head >> 24), request)
    }

    private func command(
        _ head: UInt64, _ range: Range<Int>
    ) throws(BusDecodeError) -> BusMessage? {
        guard range.count > BusFrame.longRequestBytes else { throw .badLength }
        guard let request = anyRequest(head, range.lowerBound) else { return nil }
        var reader = JournalFieldReader(part(range), offset: BusFrame.longRequestBytes)
        guard let payload = BusCodec.readPayload(&reader), reader.finish() else { return nil }
        return .command(
            id: word(range.lowerBound + 8), hops: UInt8(truncatingIfNeeded: head >> 24), request,
            payload)
    }

    private func replyWithValue(
        _ head: UInt64, _ range: Range<Int>
    ) throws(BusDecodeError) -> BusMessage? {
        guard range.count > BusFrame.replyBytes else { throw .badLength }
        let rest = part((range.lowerBound + BusFrame.replyBytes)..<range.upperBound)
        guard let reply = reply(head, range.lowerBound), let value = BusValue.read(rest) else {
            return nil
        }
        return .reply(id: word(range.lowerBound + 8), reply, value)
    }

    /// The shard in a message's head; nil where there is none such.
    private func shard(_ head: UInt64) -> ShardID? {
        let shard = ShardID(truncatingIfNeeded: head >> 16)
        return Int(shard) < Limits.shards ? shard : nil
    }

    private func fields(_ kind: BusKind, _ head: UInt64, _ range: Range<Int>) -> BusMessage? {
        guard let shard = shard(head) else { return nil }
        let tag = UInt8(truncatingIfNeeded: head >> 8)
        var reader = JournalFieldReader(part(range), offset: BusFrame.headBytes)
        if kind == .frame {
            guard let frame = BusCodec.readFrame(tag, &reader), reader.finish() else { return nil }
            return .frame(shard, frame)
        }
        guard let message = BusCodec.readReplica(tag, &reader), reader.finish() else { return nil }
        return .replica(shard, message)
    }

    private mutating func entries(
        _ head: UInt64, _ range: Range<Int>
    ) throws(BusDecodeError) -> BusMessage? {
        guard range.count >= BusFrame.entriesBytes else { throw .badLength }
        let epoch = word(range.lowerBound + 8)
        guard let shard = shard(head), (head >> 8) & 0xff == 0, epoch <= UInt32.max else {
            return nil
        }
        attached = part((range.lowerBound + BusFrame.entriesBytes)..<range.upperBound)
        return .entries(
            shard, epoch: UInt32(truncatingIfNeeded: epoch), first: word(range.lowerBound + 16))
    }

    private mutating func copy(
        _ head: UInt64, _ range: Range<Int>
    ) throws(BusDecodeError) -> BusMessage? {
        guard range.count >= BusFrame.copyBytes else { throw .badLength }
        let start = range.lowerBound
        let second = word(start + 8)
        let size = Int(second >> 32)
        let piece = BusCopy(
            epoch: UInt32(truncatingIfNeeded: second), last: word(start + 16),
            offset: word(start + 24), totalBytes: word(start + 32))
        let end = start + BusFrame.copyBytes + size
        guard let shard = shard(head), (head >> 8) & 0xff == 0, end <= range.upperBound,
            range.upperBound - end < 8, piece.offset <= piece.totalBytes,
            UInt64(size) <= piece.totalBytes - piece.offset
        else { return nil }
        for index in end..<range.upperBound where record[index] != 0 { return nil }
        attached = part((start + BusFrame.copyBytes)..<end)
        return .copy(shard, piece)
    }
}
