public import EdgeLedger
import EdgeMemory
public import EdgeTypes

/// Rows that a batch needs, each once, in ascending order: writers that lock rows lock them in one
/// order, and do not wait for each other in a circle.
public struct RowNeeds {
    /// Pools of which only the name and the family are asked.
    public var names: [PoolKey] = []
    /// Pools that the batch changes.
    public var pools: [PoolKey] = []
    public var slices: [SliceKey] = []

    init() {}

    mutating func add(_ slice: SliceKey) { slices.append(slice) }

    /// What is left once each is there once.
    public func sorted() -> RowNeeds {
        var needs = RowNeeds()
        needs.names = Self.unique(names) { $0.rawValue < $1.rawValue }
        needs.pools = Self.unique(pools) { $0.rawValue < $1.rawValue }
        needs.slices = Self.unique(slices) {
            ($0.pool.rawValue, $0.slice) < ($1.pool.rawValue, $1.slice)
        }
        return needs
    }

    private static func unique<T: Equatable>(_ all: [T], _ before: (T, T) -> Bool) -> [T] {
        var unique: [T] = []
        for value in all.sorted(by: before) where unique.last != value { unique.append(value) }
        return unique
    }
}

extension EntryBatch {
    /// Orders that entries change and the batch itself does not make, ascending.
    func neededOrders() -> [OrderID] {
        var needed: [OrderID] = []
        for other in others {
            switch other.entry {
            // One that is there already breaks the history's rules: it is looked up too.
            case .orderReserved(let reserved): needed.append(reserved.order)
            case .orderPaid(let paid): needed.append(paid.order)
            case .orderCancelled(let order), .orderExpired(let order): needed.append(order)
            case .orderRefunded(let refund): needed.append(refund.order)
            case .paymentRefused(let refused): needed.append(refused.order)
            case .claim, .poolCreated, .poolControlled, .poolFunded, .poolLeased, .poolTookBack,
                .poolClosed, .poolSoldOut, .poolMoved, .poolResolved, .sliceOpened,
                .sliceControlled, .sliceCredited, .sliceReturned, .sliceQuarantined,
                .sliceResolved, .sliceArchived:
                break
            }
        }
        var unique: [OrderID] = []
        for order in needed.sorted(by: { $0.rawValue < $1.rawValue }) where unique.last != order {
            unique.append(order)
        }
        return unique
    }

    /// - Parameter isUnknown: whether a pool's name has to be looked up.
    func neededRows(_ isUnknown: (PoolKey) -> Bool) -> RowNeeds {
        var needs = RowNeeds()
        var last: SliceKey?
        for claim in claims {
            let key = SliceKey(pool: claim.pool, slice: claim.slice)
            guard key != last else { continue }
            last = key
            needs.slices.append(key)
            if isUnknown(claim.pool) { needs.names.append(claim.pool) }
        }
        for other in others {
            switch other.entry {
            case .claim: break
            case .orderReserved(let reserved):
                needs.slices.append(SliceKey(pool: reserved.pool, slice: reserved.slice))
                if isUnknown(reserved.pool) { needs.names.append(reserved.pool) }
            case .poolCreated(let definition, _):
                needs.pools.append(PoolKey.of(definition.kind.family, definition.name))
            case .poolControlled(let key, _, _, _, _), .poolFunded(let key, _, _, _),
                .poolClosed(let key), .poolSoldOut(let key, _),
                .poolResolved(let key, _, _, _, _), .sliceControlled(let key, _, _):
                needs.pools.append(key)
            case .poolLeased(let transfer), .poolTookBack(let transfer):
                needs.pools.append(transfer.pool)
            case .poolMoved(let move): needs.pools.append(move.pool)
            case .sliceOpened(let definition, let slice, _):
                let key = PoolKey.of(definition.kind.family, definition.name)
                needs.pools.append(key)
                needs.slices.append(SliceKey(pool: key, slice: slice))
            case .sliceCredited(let transfer), .sliceReturned(let transfer):
                needs.slices.append(SliceKey(pool: transfer.pool, slice: transfer.slice))
            case .sliceArchived(let key, _, _): if isUnknown(key) { needs.names.append(key) }
            case .sliceQuarantined(let key, let slice), .sliceResolved(let key, let slice, _, _):
                needs.slices.append(SliceKey(pool: key, slice: slice))
            case .orderPaid, .orderCancelled, .orderExpired, .orderRefunded, .paymentRefused:
                break
            }
        }
        return needs
    }
}
