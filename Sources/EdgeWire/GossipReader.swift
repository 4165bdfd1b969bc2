import EdgeTypes

/// Reads gossip's fields, checking every bound. After the first failure all reads give zeros, so
/// that callers check once, at the end.
struct GossipReader {
    private let bytes: UnsafeRawBufferPointer
    private var offset = 0
    private var error: GossipDecodeError?
    /// Whether a record follows the update that was read last.
    private(set) var bearsRecord = false

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var hasFailed: Bool { error != nil }

    /// A field makes no sense.
    mutating func refuse() {
        if error == nil { error = .malformed }
    }

    @inline(__always)
    mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type = T.self) -> T {
        let size = T.bitWidth / 8
        guard error == nil, size <= bytes.count - offset else {
            if error == nil { error = .truncated }
            return 0
        }
        // SAFETY: `size` bytes follow `offset`.
        let value = bytes.loadUnaligned(fromByteOffset: offset, as: T.self)
        offset += size
        return T(littleEndian: value)
    }

    mutating func update() -> MembershipUpdate {
        let first = integer(UInt8.self)
        bearsRecord = (first & GossipFrame.recordFlag) != 0
        let state = MemberState(rawValue: first & ~GossipFrame.recordFlag)
        if state == nil { refuse() }
        var update = MembershipUpdate(
            state: state ?? .alive, boot: integer(), incarnation: Incarnation(rawValue: integer()))
        if update.boot == 0 { refuse() }
        switch update.state {
        case .suspect, .dead:
            let count = integer(UInt8.self)
            if count > MembershipLimits.accusers { refuse() }
            for _ in 0..<Int(count) where !hasFailed {
                // One that is named twice was not written by a sound program.
                if !update.accuse(by: integer()) { refuse() }
            }
        case .alive, .left:
            break
        }
        return update
    }

    mutating func record(boot: BootID) -> MemberRecord {
        let name = text()
        if name.isEmpty { refuse() }
        let region = text()
        let zone = text()
        var address = MemberAddress(hostHigh: 0, hostLow: 0, port: 0)
        switch integer(UInt8.self) {
        case 4:
            address = MemberAddress(ipv4: integer(UInt32.self).byteSwapped, port: 0)
        case 6:
            address.hostHigh = integer(UInt64.self).byteSwapped
            address.hostLow = integer(UInt64.self).byteSwapped
            // Each address has one form.
            if address.ipv4 != nil { refuse() }
        default:
            refuse()
        }
        address.port = integer()
        let record = MemberRecord(
            name: name, region: region, zone: zone, boot: boot, address: address,
            httpPort: integer(), respPort: integer(), adminPort: integer(),
            versions: ProtocolRange(oldest: integer(), newest: integer()))
        if record.versions.oldest > record.versions.newest { refuse() }
        return record
    }

    private mutating func text() -> Text64 {
        let count = Int(integer(UInt8.self))
        guard error == nil else { return Text64() }
        guard count <= bytes.count - offset else {
            error = .truncated
            return Text64()
        }
        guard let text = Text64(bytes[offset..<(offset + count)]) else {
            refuse()
            return Text64()
        }
        offset += count
        return text
    }

    /// - Throws: the first failure, or that bytes are left over.
    func finish() throws(GossipDecodeError) {
        if let error { throw error }
        if offset != bytes.count { throw .badLength }
    }
}
