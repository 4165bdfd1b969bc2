public import EdgeMemory
public import EdgeTypes

/// Messages between nodes ↔ bytes. Pure. The format is described at `BusFrame`.
public enum BusCodec {
    /// Appends a request without a payload: 48 bytes, 72 where it bears a quantity, an amount or
    /// an order. The hot path: nothing is called, and nothing allocated when warm.
    @inlinable @inline(__always)
    public static func encode(
        _ request: Request, id: UInt64, hops: UInt8, into sink: inout ByteSink
    ) {
        let isShort = BusFrame.isShort(request)
        let length = isShort ? BusFrame.requestBytes : BusFrame.longRequestBytes
        let region = sink.extend(by: length)
        // SAFETY: `region` holds `length` bytes; the stores stay inside and fill it.
        let base = region.baseAddress.unsafelyUnwrapped
        store(
            request, id: id, hops: hops, kind: isShort ? .request : .longRequest, length: length,
            at: base)
        if !isShort { storeRest(of: request, at: base) }
    }

    /// Appends an answer without a value: 48 bytes. As hot as the above.
    @inlinable @inline(__always)
    public static func encode(_ reply: Reply, id: UInt64, into sink: inout ByteSink) {
        let region = sink.extend(by: BusFrame.replyBytes)
        // SAFETY: `region` holds `replyBytes` bytes; the stores stay inside and fill it.
        let base = region.baseAddress.unsafelyUnwrapped
        store(reply, id: id, kind: .reply, length: BusFrame.replyBytes, at: base)
    }

    /// Appends a request and its payload.
    public static func encode(
        _ request: Request, _ payload: Payload, id: UInt64, hops: UInt8, into sink: inout ByteSink
    ) {
        var sizer = JournalSizer()
        write(payload, to: &sizer)
        let length = (BusFrame.longRequestBytes + sizer.count + 7) & ~7
        let region = sink.extend(by: length)
        // SAFETY: `region` holds `length` bytes, which is at least `longRequestBytes`.
        let base = region.baseAddress.unsafelyUnwrapped
        store(request, id: id, hops: hops, kind: .command, length: length, at: base)
        storeRest(of: request, at: base)
        var filler = JournalFiller(region: region, offset: BusFrame.longRequestBytes)
        write(payload, to: &filler)
        filler.pad()
    }

    /// Appends an answer and its value.
    ///
    /// - Returns: false where the value is beyond what `BusLimits` allow; then nothing was
    ///   appended.
    public static func encode(
        _ reply: Reply, _ value: Value, id: UInt64, into sink: inout ByteSink
    ) -> Bool {
        let start = sink.count
        _ = sink.extend(by: BusFrame.replyBytes)
        guard BusValue.write(value, endingAt: start + BusLimits.messageBytes, into: &sink) else {
            sink.truncate(to: start)
            return false
        }
        let padding = -(sink.count - start) & 7
        for _ in 0..<padding { sink.append(byte: 0) }
        let length = sink.count - start
        // SAFETY: the message's first `replyBytes` bytes, which were reserved above.
        let base = UnsafeMutableRawPointer(mutating: sink.bytes.baseAddress.unsafelyUnwrapped)
        store(reply, id: id, kind: .replyWithValue, length: length, at: base + start)
        return true
    }

    /// Appends a frame for a shard.
    public static func encode(_ frame: Frame, for shard: ShardID, into sink: inout ByteSink) {
        var sizer = JournalSizer()
        write(frame, to: &sizer)
        var filler = begin(.frame, tag(of: frame), shard, fields: sizer.count, into: &sink)
        write(frame, to: &filler)
        filler.pad()
    }

    /// Appends what a shard's replicas say to each other.
    public static func encode(
        _ message: ReplicaMessage, for shard: ShardID, into sink: inout ByteSink
    ) {
        var sizer = JournalSizer()
        write(message, to: &sizer)
        var filler = begin(.replica, tag(of: message), shard, fields: sizer.count, into: &sink)
        write(message, to: &filler)
        filler.pad()
    }

    /// Appends journal entries as they are.
    ///
    /// - Precondition: whole entries, at most `BusLimits.attachedBytes` of them.
    public static func encode(
        entries: UnsafeRawBufferPointer, of shard: ShardID, epoch: UInt32, first: UInt64,
        into sink: inout ByteSink
    ) {
        precondition(entries.count & 7 == 0 && entries.count <= BusLimits.attachedBytes)
        let length = BusFrame.entriesBytes + entries.count
        sink.append(integer: head(.entries, 0, shard, length: length))
        sink.append(integer: UInt64(epoch))
        sink.append(integer: first)
        sink.append(entries)
    }

    /// Appends a piece of a shard's copy.
    ///
    /// - Precondition: the piece lies within the copy, and is at most `BusLimits.attachedBytes`.
    public static func encode(
        piece: UnsafeRawBufferPointer, of shard: ShardID, _ copy: BusCopy,
        into sink: inout ByteSink
    ) {
        precondition(piece.count <= BusLimits.attachedBytes)
        precondition(copy.offset <= copy.totalBytes)
        precondition(UInt64(piece.count) <= copy.totalBytes - copy.offset)
        let padding = -piece.count & 7
        let length = BusFrame.copyBytes + piece.count + padding
        sink.append(integer: head(.copy, 0, shard, length: length))
        sink.append(integer: copy.epoch)
        sink.append(integer: UInt32(piece.count))
        sink.append(integer: copy.last)
        sink.append(integer: copy.offset)
        sink.append(integer: copy.totalBytes)
        sink.append(piece)
        for _ in 0..<padding { sink.append(byte: 0) }
    }

    public static func encodeBeacon(_ number: UInt64, into sink: inout ByteSink) {
        sink.append(integer: head(.beacon, 0, 0, length: BusFrame.beaconBytes))
        sink.append(integer: number)
    }

    public static func encodeBeaconAnswer(_ number: UInt64, into sink: inout ByteSink) {
        sink.append(integer: head(.beaconAnswer, 0, 0, length: BusFrame.beaconBytes))
        sink.append(integer: number)
    }

    public static func encodePing(into sink: inout ByteSink) {
        sink.append(integer: head(.ping, 0, 0, length: BusFrame.headBytes))
    }

    public static func encodePong(into sink: inout ByteSink) {
        sink.append(integer: head(.pong, 0, 0, length: BusFrame.headBytes))
    }

    public static func encodeClosing(into sink: inout ByteSink) {
        sink.append(integer: head(.closing, 0, 0, length: BusFrame.headBytes))
    }

    /// Appends any message.
    ///
    /// - Parameter attached: the entries or the piece; empty for all other messages.
    /// - Returns: false where an answer's value is beyond what `BusLimits` allow; then nothing was
    ///   appended.
    public static func encode(
        _ message: BusMessage, attached: UnsafeRawBufferPointer = .init(start: nil, count: 0),
        into sink: inout ByteSink
    ) -> Bool {
        switch message {
        case .request(let id, let hops, let request):
            encode(request, id: id, hops: hops, into: &sink)
        case .command(let id, let hops, let request, let payload):
            encode(request, payload, id: id, hops: hops, into: &sink)
        case .reply(let id, let reply, nil): encode(reply, id: id, into: &sink)
        case .reply(let id, let reply, let value?):
            return encode(reply, value, id: id, into: &sink)
        case .frame(let shard, let frame): encode(frame, for: shard, into: &sink)
        case .replica(let shard, let message): encode(message, for: shard, into: &sink)
        case .entries(let shard, let epoch, let first):
            encode(entries: attached, of: shard, epoch: epoch, first: first, into: &sink)
        case .copy(let shard, let copy): encode(piece: attached, of: shard, copy, into: &sink)
        case .beacon(let number): encodeBeacon(number, into: &sink)
        case .beaconAnswer(let number): encodeBeaconAnswer(number, into: &sink)
        case .ping: encodePing(into: &sink)
        case .pong: encodePong(into: &sink)
        case .closing: encodeClosing(into: &sink)
        }
        return true
    }

    // MARK: Parts

    private static func begin(
        _ kind: BusKind, _ tag: UInt8, _ shard: ShardID, fields: Int, into sink: inout ByteSink
    ) -> JournalFiller {
        let length = (BusFrame.headBytes + fields + 7) & ~7
        precondition(length <= BusLimits.messageBytes)
        let region = sink.extend(by: length)
        region.storeBytes(
            of: head(kind, tag, shard, length: length).littleEndian, as: UInt64.self)
        return JournalFiller(region: region, offset: BusFrame.headBytes)
    }

    private static func head(
        _ kind: BusKind, _ tag: UInt8, _ shard: ShardID, length: Int
    ) -> UInt64 {
        UInt64(kind.rawValue) | (UInt64(tag) << 8) | (UInt64(shard) << 16)
            | (UInt64(UInt32(length)) << 32)
    }

    @inlinable @inline(__always)
    static func store(
        _ request: Request, id: UInt64, hops: UInt8, kind: BusKind, length: Int,
        at base: UnsafeMutableRawPointer
    ) {
        let flags =
            UInt64(request.family.rawValue) | (request.ownOnly ? BusFrame.ownOnlyFlag : 0)
        let what = UInt64(kind.rawValue) | (UInt64(request.operation.rawValue) << 8)
        let how = (flags << 16) | (UInt64(hops) << 24)
        store(what | how | (UInt64(truncatingIfNeeded: length) << 32), at: base)
        store(id, at: base + 8)
        store(request.pool.rawValue, at: base + 16)
        store(request.user, at: base + 24)
        store(request.requestHash, at: base + 32)
        store(UInt64(request.region), at: base + 40)
    }

    @inlinable @inline(__always)
    static func storeRest(of request: Request, at base: UnsafeMutableRawPointer) {
        store(request.quantity, at: base + 48)
        store(request.amountFen, at: base + 56)
        store(request.order.rawValue, at: base + 64)
    }

    @inlinable @inline(__always)
    static func store(
        _ reply: Reply, id: UInt64, kind: BusKind, length: Int, at base: UnsafeMutableRawPointer
    ) {
        let what = UInt64(kind.rawValue) | (UInt64(reply.shape.rawValue) << 8)
        let how = (UInt64(reply.outcome.rawValue) << 16) | (UInt64(reply.error.rawValue) << 24)
        store(what | how | (UInt64(truncatingIfNeeded: length) << 32), at: base)
        store(id, at: base + 8)
        store(reply.fen, at: base + 16)
        store(reply.packet, at: base + 24)
        store(reply.timeMs, at: base + 32)
        store(reply.order.rawValue, at: base + 40)
    }

    @inlinable @inline(__always)
    static func store(_ value: some FixedWidthInteger, at place: UnsafeMutableRawPointer) {
        // SAFETY: callers pass addresses inside the region that they reserved.
        place.storeBytes(of: value.littleEndian, as: type(of: value))
    }
}
