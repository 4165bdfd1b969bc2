public import EdgeMemory
public import EdgeTypes

/// Journal entries ↔ bytes. Pure: no files, no clock.
public enum JournalCodec {
    /// Longest entry in bytes; `encode` traps beyond it. Most ranges of one transfer: 4,088.
    public static let maximumEntryBytes = 65_536
    public static let claimBytes = 72
    public static let claimOnceBytes = 64

    /// Appends a claim. The hot path: no call but the checksum's, nothing allocated when warm.
    ///
    /// - Precondition: `packet` fits in 32 bits (pools hold at most 10^9 packets).
    @inlinable @inline(__always)
    public static func encode(_ claim: Claim, header: EntryHeader, into sink: inout ByteSink) {
        precondition(claim.packet >= 0 && claim.packet <= Int64(UInt32.max))
        let once = claim.requestHash == 0
        let length = once ? claimOnceBytes : claimBytes
        let region = sink.extend(by: length)
        // SAFETY: `region` holds `length` bytes; the stores below stay inside and fill it.
        let base = region.baseAddress.unsafelyUnwrapped
        let kind = once ? JournalKind.claimOnce : JournalKind.claim
        store(header, kind: kind, length: length, at: base)
        store(claim.pool.rawValue, at: base + 32)
        store(claim.user, at: base + 40)
        store(claim.amountFen, at: base + 48)
        store(claim.slice, at: base + 56)
        store(UInt32(truncatingIfNeeded: claim.packet), at: base + 60)
        if !once { store(claim.requestHash, at: base + 64) }
        store(Checksum.frame(UnsafeRawBufferPointer(region)), at: base)
    }

    /// Appends any entry. Claims cost what the function above costs plus one switch.
    ///
    /// - Precondition: the entry is no longer than `maximumEntryBytes`.
    public static func encode(_ entry: Entry, header: EntryHeader, into sink: inout ByteSink) {
        if case .claim(let claim) = entry {
            encode(claim, header: header, into: &sink)
            return
        }
        var sizer = JournalSizer()
        write(entry, to: &sizer)
        let length = (JournalFrame.headerBytes + sizer.count + 7) & ~7
        precondition(length <= maximumEntryBytes, "journal entry too long")
        let region = sink.extend(by: length)
        // SAFETY: `region` holds `length` bytes, which is more than the header's 32.
        let base = region.baseAddress.unsafelyUnwrapped
        store(header, kind: kind(of: entry), length: length, at: base)
        var filler = JournalFiller(region: region, offset: JournalFrame.headerBytes)
        write(entry, to: &filler)
        filler.pad()
        store(Checksum.frame(UnsafeRawBufferPointer(region)), at: base)
    }

    @inlinable @inline(__always)
    static func store(
        _ header: EntryHeader, kind: JournalKind, length: Int, at base: UnsafeMutableRawPointer
    ) {
        store(UInt32(truncatingIfNeeded: length), at: base + 4)
        let first = UInt64(kind.rawValue) | (UInt64(JournalFrame.version) << 8)
        let place = (UInt64(header.shard) << 16) | (UInt64(header.epoch) << 32)
        store(first | place, at: base + 8)
        store(header.sequence, at: base + 16)
        store(header.timeMs, at: base + 24)
    }

    @inlinable @inline(__always)
    static func store(_ value: some FixedWidthInteger, at pointer: UnsafeMutableRawPointer) {
        // SAFETY: callers pass addresses inside the region that they reserved.
        pointer.storeBytes(of: value.littleEndian, as: type(of: value))
    }

    static func kind(of entry: Entry) -> JournalKind {
        switch entry {
        case .claim(let claim): claim.requestHash == 0 ? .claimOnce : .claim
        case .orderReserved: .orderReserved
        case .orderPaid: .orderPaid
        case .orderCancelled: .orderCancelled
        case .orderExpired: .orderExpired
        case .orderRefunded(let refund):
            refund.archived == nil ? .orderRefunded : .archivedRefunded
        case .paymentRefused(let refused):
            refused.archived == nil ? .paymentRefused : .archivedRefused
        case .poolCreated: .poolCreated
        case .poolControlled: .poolControlled
        case .poolFunded: .poolFunded
        case .poolLeased: .poolLeased
        case .poolTookBack: .poolTookBack
        case .poolClosed: .poolClosed
        case .poolSoldOut: .poolSoldOut
        case .poolResolved: .poolResolved
        case .poolMoved: .poolMoved
        case .sliceOpened: .sliceOpened
        case .sliceControlled: .sliceControlled
        case .sliceCredited: .sliceCredited
        case .sliceReturned: .sliceReturned
        case .sliceQuarantined: .sliceQuarantined
        case .sliceResolved: .sliceResolved
        case .sliceArchived: .sliceArchived
        }
    }
}
