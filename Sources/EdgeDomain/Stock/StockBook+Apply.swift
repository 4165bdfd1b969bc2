import EdgeMemory
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
            .sliceResolved, .sliceArchived:
            applySlice(entry, header)
        case .claim, .poolCreated, .poolControlled, .poolFunded, .poolLeased, .poolTookBack,
            .poolClosed, .poolSoldOut, .poolResolved, .poolMoved:
            false
        }
    }

    @usableFromInline
    mutating func applySlice(_ entry: Entry, _ header: EntryHeader) -> Bool {
        let pool: PoolKey
        let slice: UInt32
        switch entry {
        case .sliceOpened(let definition, let number, let control):
            guard applyOpened(definition, number, control) else { return false }
            (pool, slice) = (PoolKey.of(.stock, definition.name), number)
        case .sliceControlled(let key, let number, _), .sliceQuarantined(let key, let number),
            .sliceArchived(let key, let number, _):
            (pool, slice) = (key, number)
        case .sliceResolved(let key, let number, _, _): (pool, slice) = (key, number)
        case .sliceCredited(let transfer), .sliceReturned(let transfer):
            (pool, slice) = (transfer.pool, transfer.slice)
        case .claim, .orderReserved, .orderPaid, .orderCancelled, .orderExpired,
            .orderRefunded, .paymentRefused, .poolCreated, .poolControlled, .poolFunded,
            .poolLeased, .poolTookBack, .poolClosed, .poolSoldOut, .poolResolved, .poolMoved:
            return false
        }
        guard let slot = slot(of: pool, slice: slice) else { return false }
        if case .sliceArchived(_, _, let first) = entry {
            return applyArchived(slot, first: first, header)
        }
        guard applySlice(entry, slot) else { return false }
        switch entry {
        case .sliceReturned, .sliceQuarantined, .sliceResolved: note(slot, header)
        default: noteTime(header)
        }
        return true
    }

    private mutating func applySlice(_ entry: Entry, _ slot: Int) -> Bool {
        switch entry {
        case .sliceControlled(_, _, let control): applyControlled(slot, control)
        case .sliceCredited(let transfer): applyCredited(slot, transfer)
        case .sliceReturned(let transfer): applyReturned(slot, transfer)
        case .sliceQuarantined: applyQuarantined(slot)
        case .sliceResolved(_, _, let resolution, _): applyResolved(slot, resolution)
        case .sliceOpened: true
        default: preconditionFailure("not an entry of a slice")
        }
    }
}
