public import EdgeMemory
public import EdgeTypes

/// Gossip ↔ bytes. Pure. The format is described at `GossipFrame`.
public enum GossipCodec {
    // MARK: Datagrams

    /// Appends a datagram and the updates that ride on it. O(its length); warm, nothing is
    /// allocated.
    ///
    /// - Parameters:
    ///   - first: the first of its updates in `updates`.
    ///   - records: what `MembershipUpdate.record` counts.
    /// - Precondition: at most 255 updates; an update's record is in `records`.
    public static func encode(
        _ datagram: GossipDatagram, updates: borrowing PlainList<MembershipUpdate>,
        first: Int, count: Int, records: [MemberRecord], into sink: inout ByteSink
    ) {
        precondition(count >= 0 && count <= 255)
        let region = sink.extend(by: datagram.wireBytes)
        // SAFETY: `region` holds `wireBytes` bytes, and the stores below fill exactly those.
        let base = region.baseAddress.unsafelyUnwrapped
        let head = UInt32(datagram.kind.rawValue) | (UInt32(GossipFrame.version) << 8)
        store(head | (UInt32(count) << 16), base)
        store(datagram.cluster, base + 4)
        store(datagram.sender, base + 8)
        store(datagram.incarnation.rawValue, base + 16)
        switch datagram.kind {
        case .ping, .pingRequest:
            store(datagram.sequence, base + 24)
            store(datagram.target, base + 28)
        case .ack, .ackToStranger, .nack:
            store(datagram.sequence, base + 24)
        case .indirectAck:
            store(datagram.sequence, base + 24)
            store(datagram.target, base + 28)
            store(datagram.targetIncarnation.rawValue, base + 36)
        case .gossip:
            break
        }
        for index in first..<(first + count) { encode(updates[index], records, into: &sink) }
    }

    @inline(__always)
    private static func store(_ value: some FixedWidthInteger, _ place: UnsafeMutableRawPointer) {
        // SAFETY: callers pass addresses inside the region that they reserved.
        place.storeBytes(of: value.littleEndian, as: type(of: value))
    }

    /// Reads a datagram; its updates and records replace what the lists hold.
    ///
    /// Never traps, whatever the bytes hold. Boots are not 0, records are where updates say.
    public static func decode(
        datagram bytes: UnsafeRawBufferPointer, updates: inout PlainList<MembershipUpdate>,
        records: inout [MemberRecord]
    ) throws(GossipDecodeError) -> GossipDatagram {
        updates.removeAll()
        if !records.isEmpty { records.removeAll(keepingCapacity: true) }
        guard bytes.count <= MembershipLimits.datagramBytes else { throw .badLength }
        var reader = GossipReader(bytes)
        let rawKind = reader.integer(UInt8.self)
        let version = reader.integer(UInt8.self)
        let count = Int(reader.integer(UInt8.self))
        let zero = reader.integer(UInt8.self)
        guard !reader.hasFailed else { throw .truncated }
        guard version == GossipFrame.version else { throw .unknownVersion(version) }
        guard let kind = GossipDatagram.Kind(rawValue: rawKind) else {
            throw .unknownKind(rawKind)
        }
        guard zero == 0 else { throw .malformed }
        var datagram = GossipDatagram(
            kind: kind, cluster: reader.integer(), sender: reader.integer(),
            incarnation: Incarnation(rawValue: reader.integer()))
        if kind != .gossip { datagram.sequence = reader.integer() }
        switch kind {
        case .ping, .pingRequest, .indirectAck:
            datagram.target = reader.integer()
            if datagram.target == 0 { reader.refuse() }
            if kind == .indirectAck {
                datagram.targetIncarnation = Incarnation(rawValue: reader.integer())
            }
        case .ack, .ackToStranger, .nack, .gossip:
            break
        }
        if datagram.sender == 0 { reader.refuse() }
        decode(count, &reader, &updates, &records)
        try reader.finish()
        return datagram
    }

    // MARK: Streams

    /// Appends a message and the members that it lists. O(its length).
    ///
    /// - Precondition: an update's record is in `records`.
    public static func encode(
        _ message: GossipStreamMessage, updates: borrowing PlainList<MembershipUpdate>,
        first: Int, count: Int, records: [MemberRecord], into sink: inout ByteSink
    ) {
        precondition(count >= 0 && count <= MembershipLimits.members)
        sink.append(integer: message.kind.rawValue)
        sink.append(integer: GossipFrame.version)
        sink.append(integer: message.reason.rawValue)
        sink.append(integer: UInt8(0))
        sink.append(integer: message.cluster)
        sink.append(integer: message.sender)
        sink.append(integer: message.incarnation.rawValue)
        sink.append(integer: message.versions.oldest)
        sink.append(integer: message.versions.newest)
        sink.append(integer: message.count)
        sink.append(integer: message.digest)
        sink.append(integer: message.target)
        sink.append(integer: message.sequence)
        sink.append(integer: UInt32(count))
        for index in first..<(first + count) { encode(updates[index], records, into: &sink) }
    }

    /// Reads a message; its updates and records replace what the lists hold.
    ///
    /// Never traps, whatever the bytes hold. Boots are not 0, records are where updates say, and
    /// members in `state` and `stateBack` have one each.
    public static func decode(
        stream bytes: UnsafeRawBufferPointer, updates: inout PlainList<MembershipUpdate>,
        records: inout [MemberRecord]
    ) throws(GossipDecodeError) -> GossipStreamMessage {
        updates.removeAll()
        if !records.isEmpty { records.removeAll(keepingCapacity: true) }
        guard bytes.count <= MembershipLimits.streamBytes else { throw .badLength }
        var reader = GossipReader(bytes)
        let rawKind = reader.integer(UInt8.self)
        let version = reader.integer(UInt8.self)
        let rawReason = reader.integer(UInt8.self)
        let zero = reader.integer(UInt8.self)
        guard !reader.hasFailed else { throw .truncated }
        guard version == GossipFrame.version else { throw .unknownVersion(version) }
        guard let kind = GossipStreamMessage.Kind(rawValue: rawKind) else {
            throw .unknownKind(rawKind)
        }
        guard let reason = MembershipRejection.Reason(rawValue: rawReason), zero == 0 else {
            throw .malformed
        }
        var message = GossipStreamMessage(
            kind: kind, cluster: reader.integer(), sender: reader.integer(),
            incarnation: Incarnation(rawValue: reader.integer()),
            versions: ProtocolRange(oldest: reader.integer(), newest: reader.integer()),
            reason: reason)
        message.count = reader.integer()
        message.digest = reader.integer()
        message.target = reader.integer()
        message.sequence = reader.integer()
        let count = Int(reader.integer(UInt32.self))
        let lists = kind == .state || kind == .stateBack
        if message.sender == 0 || message.versions.oldest > message.versions.newest {
            reader.refuse()
        }
        if count > (lists ? MembershipLimits.members : 0) { reader.refuse() }
        decode(count, &reader, &updates, &records)
        if records.count != updates.count { reader.refuse() }
        try reader.finish()
        return message
    }

    // MARK: Updates

    private static func encode(
        _ update: MembershipUpdate, _ records: [MemberRecord], into sink: inout ByteSink
    ) {
        let flag = update.record < 0 ? 0 : GossipFrame.recordFlag
        sink.append(integer: update.state.rawValue | flag)
        sink.append(integer: update.boot)
        sink.append(integer: update.incarnation.rawValue)
        switch update.state {
        case .suspect, .dead:
            sink.append(integer: update.accuserCount)
            for index in 0..<Int(update.accuserCount) {
                sink.append(integer: update.accuser(index))
            }
        case .alive, .left:
            break
        }
        if update.record >= 0 { encode(records[Int(update.record)], into: &sink) }
    }

    private static func encode(_ record: MemberRecord, into sink: inout ByteSink) {
        encode(record.name, into: &sink)
        encode(record.region, into: &sink)
        encode(record.zone, into: &sink)
        if let ipv4 = record.address.ipv4 {
            sink.append(integer: UInt8(4))
            sink.append(integer: ipv4.byteSwapped)
        } else {
            sink.append(integer: UInt8(6))
            sink.append(integer: record.address.hostHigh.byteSwapped)
            sink.append(integer: record.address.hostLow.byteSwapped)
        }
        sink.append(integer: record.address.port)
        sink.append(integer: record.httpPort)
        sink.append(integer: record.respPort)
        sink.append(integer: record.adminPort)
        sink.append(integer: record.versions.oldest)
        sink.append(integer: record.versions.newest)
    }

    private static func encode(_ text: Text64, into sink: inout ByteSink) {
        sink.append(integer: text.count)
        for index in 0..<Int(text.count) { sink.append(integer: text.byte(index)) }
    }

    private static func decode(
        _ count: Int, _ reader: inout GossipReader, _ updates: inout PlainList<MembershipUpdate>,
        _ records: inout [MemberRecord]
    ) {
        // A count that cannot be true costs nothing: reading ends with the bytes.
        for _ in 0..<count {
            if reader.hasFailed { return }
            var update = reader.update()
            if reader.bearsRecord {
                let record = reader.record(boot: update.boot)
                if reader.hasFailed { return }
                update.record = Int32(records.count)
                records.append(record)
            }
            if reader.hasFailed { return }
            updates.append(update)
        }
    }
}
