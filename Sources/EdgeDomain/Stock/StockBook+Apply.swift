public import EdgeTypes

extension StockBook {
    /// Applies an entry: the only way in which a book changes.
    ///
    /// Entries about slices that were applied before change nothing and are fine; orders have no
    /// such entries, since each moves its order on.
    ///
    /// - Returns: false where the entry does not follow from the book, or is none of a stock
    ///   book's; nothing changed then. Live, that is a bug; at restart, a damaged journal.
    @inlinable
    public mutating func apply(_ entry: Entry, _ header: EntryHeader) -> Bool {
        switch entry {
        case .orderReserved(let entry): apply(entry, header)
        case .orderPaid(let entry): apply(entry, header)
        case .paymentRefused(let entry): apply(entry, header)
        case .orderCancelled(let order): applyEnd(order, .cancelled, header)
        case .orderExpired(let order): applyEnd(order, .expired, header)
        case .orderRefunded(let entry): apply(entry, header)
        case .sliceOpened, .sliceControlled, .sliceCredited, .sliceReturned, .sliceQuarantined,
            .sliceResolved:
            applySlice(entry, header)
        case .claim, .poolCreated, .poolControlled, .poolFunded, .poolLeased, .poolTookBack,
            .poolClosed, .poolSoldOut, .poolResolved, .poolMoved, .sliceArchived:
            false
        }
    }

    @usableFromInline
    mutating func applySlice(_ entry: Entry, _ header: EntryHeader) -> Bool {
        let applied =
            switch entry {
            case .sliceOpened(let definition, let slice, let control):
                applyOpened(definition, slice, control)
            case .sliceControlled(let pool, let slice, let control):
                if let slot = slot(of: pool, slice: slice) {
                    applyControlled(slot, control)
                } else {
                    false
                }
            case .sliceCredited(let transfer):
                if let slot = slot(of: transfer.pool, slice: transfer.slice) {
                    applyCredited(slot, transfer)
                } else {
                    false
                }
            case .sliceReturned(let transfer):
                if let slot = slot(of: transfer.pool, slice: transfer.slice) {
                    applyReturned(slot, transfer)
                } else {
                    false
                }
            case .sliceQuarantined(let pool, let slice):
                if let slot = slot(of: pool, slice: slice) { applyQuarantined(slot) } else { false }
            case .sliceResolved(let pool, let slice, let resolution, _):
                if let slot = slot(of: pool, slice: slice) {
                    applyResolved(slot, resolution)
                } else {
                    false
                }
            case .claim, .orderReserved, .orderPaid, .orderCancelled, .orderExpired,
                .orderRefunded, .paymentRefused, .poolCreated, .poolControlled, .poolFunded,
                .poolLeased, .poolTookBack, .poolClosed, .poolSoldOut, .poolResolved, .poolMoved,
                .sliceArchived:
                false
            }
        if applied { noteTime(header) }
        return applied
    }
}
