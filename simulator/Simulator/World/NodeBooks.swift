import EdgeDomain
import EdgeMemory
import EdgeTypes

/// What a node's entries add up to, for oracles: worked out from the rules as they are promised,
/// not with the code that is looked at.
///
/// An entry that makes no sense here changes nothing: `LedgerFold` says what is wrong with it.
struct NodeBooks {
    struct SliceKey: Hashable {
        var pool: PoolKey
        var slice: UInt32
    }

    struct UserKey: Hashable {
        var pool: PoolKey
        var user: UserID
    }

    /// A pool at its home.
    struct Home {
        var control: PoolControl
        var funded: Int64
        /// What no slice holds, of what was never leased.
        var unleased: Int64
        var returned: Int64 = 0
        var isClosed = false
    }

    struct Slice {
        var control: PoolControl
        var totals = SliceTotals()
        /// What all its packets amount to.
        var creditedFen: Fen = 0
        var isSealed = false
        var isQuarantined = false
        var quarantines: UInt32 = 0
        /// The shard's entries that opened it, and granted or returned last; when it was sealed.
        var firstEntry: UInt64 = 0
        var lastEntry: UInt64 = 0
        var sealedMs: UnixMs = 0
        var isArchived = false
        /// The last entry about one of its orders, or that took its units out of play, and when that
        /// was; and how many orders it has.
        var touchedAt: UInt64 = 0
        var touchedMs: UnixMs = 0
        var orders = 0

        var isOver: Bool { isSealed || isQuarantined }

        /// What is out of play is back in it, or out of the pool.
        mutating func resolve(_ resolution: Resolution) {
            switch resolution {
            case .release:
                isQuarantined = false
                totals.held += totals.quarantined
            case .retire:
                totals.retired += totals.quarantined
                totals.retiredFen += totals.quarantinedFen
                creditedFen -= totals.quarantinedFen
            }
            totals.quarantined = 0
            totals.quarantinedFen = 0
        }

        /// Units that an order gives back.
        mutating func release(_ units: Int64) {
            if isOver { totals.quarantined += units } else { totals.held += units }
        }
    }

    enum OrderState {
        case reserved, paid, cancelled, expired
    }

    struct Order {
        var key: SliceKey
        var user: UserID
        var quantity: Int64
        var expiresMs: UnixMs
        /// Virtual time of its entry.
        var reservedNs: UInt64
        var state = OrderState.reserved
        var payment = Text64()
        var refused: [Text64] = []
    }

    /// A packet that a user was granted.
    struct Grant {
        var ns: UInt64
        var packet: Int64
        var fen: Fen
        var timeMs: UnixMs
        var requestHash: UInt64
    }

    /// What the last entry changed.
    struct Touched {
        var home: PoolKey?
        var slice: SliceKey?
        var user: UserKey?
    }

    private final class Amounts {
        let amounts: PacketAmounts
        init(_ definition: PoolDefinition) { amounts = PacketAmounts(definition) }
    }

    private(set) var definitions: [PoolKey: PoolDefinition] = [:]
    private(set) var homes: [PoolKey: Home] = [:]
    private(set) var slices: [SliceKey: Slice] = [:]
    /// Packets, or units reserved or bought and not restocked.
    private(set) var units: [UserKey: Int64] = [:]
    private(set) var orders: [OrderID: Order] = [:]
    /// In the order in which they were made.
    private(set) var grants: [UserKey: [Grant]] = [:]
    private(set) var timesMs: [UnixMs]
    private(set) var touched = Touched()
    private var amounts: [PoolKey: Amounts] = [:]

    init(shards: Int) { timesMs = Array(repeating: 0, count: shards) }

    func slice(_ pool: PoolKey, _ slice: UInt32) -> Slice? {
        slices[SliceKey(pool: pool, slice: slice)]
    }

    // MARK: Entries

    mutating func apply(_ header: EntryHeader, _ entry: Entry, ns: UInt64) {
        touched = Touched()
        timesMs[Int(header.shard)] = header.timeMs
        switch entry {
        case .claim(let claim):
            let key = UserKey(pool: claim.pool, user: claim.user)
            change(SliceKey(pool: claim.pool, slice: claim.slice)) {
                $0.totals.held -= 1
                $0.totals.granted += 1
                $0.totals.grantedFen += claim.amountFen
                $0.lastEntry = header.sequence
            }
            count(1, key)
            grants[key, default: []].append(
                Grant(
                    ns: ns, packet: claim.packet, fen: claim.amountFen, timeMs: header.timeMs,
                    requestHash: claim.requestHash))
        case .orderReserved, .orderPaid, .orderCancelled, .orderExpired, .orderRefunded,
            .paymentRefused:
            applyOrder(entry, ns: ns)
        case .poolCreated, .poolControlled, .poolFunded, .poolLeased, .poolTookBack, .poolClosed,
            .poolSoldOut, .poolResolved, .poolMoved:
            applyHome(entry)
        case .sliceOpened, .sliceControlled, .sliceCredited, .sliceReturned, .sliceQuarantined,
            .sliceResolved, .sliceArchived:
            applySlice(entry, header)
        }
        if let key = about(entry) {
            slices[key]?.touchedAt = header.sequence
            slices[key]?.touchedMs = header.timeMs
        }
    }

    /// The slice of whose orders an entry is, or whose units it takes out of play.
    private func about(_ entry: Entry) -> SliceKey? {
        switch entry {
        case .paymentRefused(let refused): orders[refused.order]?.key
        case .orderReserved, .orderPaid, .orderCancelled, .orderExpired, .orderRefunded,
            .sliceReturned, .sliceQuarantined, .sliceResolved:
            touched.slice
        default: nil
        }
    }

    private mutating func change(_ key: SliceKey, _ change: (inout Slice) -> Void) {
        guard var slice = slices[key] else { return }
        change(&slice)
        slices[key] = slice
        touched.slice = key
    }

    private mutating func count(_ units: Int64, _ key: UserKey) {
        self.units[key, default: 0] += units
        touched.user = key
    }

    private mutating func applyHome(_ entry: Entry) {
        switch entry {
        case .poolCreated(let definition, _):
            let key = learn(definition)
            homes[key] = Home(
                control: PoolControl(version: 1, terms: definition.initial),
                funded: definition.units, unleased: definition.units)
            touched.home = key
        case .poolControlled(let key, let control, _, _, _):
            change(key) { $0.control = control }
        case .poolFunded(let key, let units, _, _):
            change(key) {
                $0.funded += units
                $0.unleased += units
            }
        case .poolLeased(let transfer): change(transfer.pool) { $0.unleased -= transfer.units }
        case .poolTookBack(let transfer):
            change(transfer.pool) {
                if transfer.final {
                    $0.returned += transfer.units
                } else {
                    $0.unleased += transfer.units
                }
            }
        case .poolSoldOut, .poolResolved, .poolMoved: break
        case .poolClosed(let key): change(key) { $0.isClosed = true }
        default: preconditionFailure("not an entry of a pool's home")
        }
    }

    private mutating func change(_ key: PoolKey, _ change: (inout Home) -> Void) {
        guard var home = homes[key] else { return }
        change(&home)
        homes[key] = home
        touched.home = key
    }

    private mutating func learn(_ definition: PoolDefinition) -> PoolKey {
        let key = PoolKey.of(definition.kind.family, definition.name)
        guard definitions[key] == nil else { return key }
        definitions[key] = definition
        if definition.kind != .stock { amounts[key] = Amounts(definition) }
        return key
    }

    private mutating func applySlice(_ entry: Entry, _ header: EntryHeader) {
        switch entry {
        case .sliceOpened(let definition, let slice, let control):
            let key = SliceKey(pool: learn(definition), slice: slice)
            if slices[key] == nil {
                slices[key] = Slice(control: control, firstEntry: header.sequence)
            }
            touched.slice = key
        case .sliceControlled(let pool, let slice, let control):
            change(SliceKey(pool: pool, slice: slice)) { $0.control = control }
        case .sliceCredited(let transfer):
            let fen = sumFen(transfer)
            change(SliceKey(pool: transfer.pool, slice: transfer.slice)) {
                $0.totals.credited += transfer.units
                $0.creditedFen += fen
                if $0.isQuarantined {
                    $0.totals.quarantined += transfer.units
                    $0.totals.quarantinedFen += fen
                } else {
                    $0.totals.held += transfer.units
                }
            }
        case .sliceReturned(let transfer):
            let fen = transfer.final ? 0 : sumFen(transfer)
            change(SliceKey(pool: transfer.pool, slice: transfer.slice)) {
                $0.creditedFen -= fen
                $0.totals.held -= transfer.units
                $0.totals.returned += transfer.units
                $0.isSealed = $0.isSealed || transfer.final
                $0.lastEntry = header.sequence
                if transfer.final { $0.sealedMs = header.timeMs }
            }
        case .sliceQuarantined(let pool, let slice):
            change(SliceKey(pool: pool, slice: slice)) {
                $0.isQuarantined = true
                $0.quarantines += 1
                $0.totals.quarantined += $0.totals.held
                $0.totals.quarantinedFen = $0.creditedFen - $0.totals.grantedFen
                $0.totals.held = 0
            }
        case .sliceResolved(let pool, let slice, let resolution, _):
            change(SliceKey(pool: pool, slice: slice)) { $0.resolve(resolution) }
        case .sliceArchived(let pool, let slice, _):
            change(SliceKey(pool: pool, slice: slice)) { $0.isArchived = true }
        default: preconditionFailure("not an entry of a slice")
        }
    }

    private func sumFen(_ transfer: Transfer) -> Fen {
        guard let amounts = amounts[transfer.pool] else { return 0 }
        return transfer.ranges.reduce(0) { sum, range in
            sum + amounts.amounts.sum(range.start..<(range.start + range.count))
        }
    }

    // MARK: Orders

    private mutating func applyOrder(_ entry: Entry, ns: UInt64) {
        switch entry {
        case .orderReserved(let reserved):
            let key = SliceKey(pool: reserved.pool, slice: reserved.slice)
            let quantity = Int64(reserved.quantity)
            orders[reserved.order] = Order(
                key: key, user: reserved.user, quantity: quantity,
                expiresMs: reserved.expiresMs, reservedNs: ns)
            change(key) {
                $0.totals.held -= quantity
                $0.totals.pending += quantity
                $0.orders += 1
            }
            count(quantity, UserKey(pool: reserved.pool, user: reserved.user))
        case .orderPaid(let paid): pay(paid)
        case .orderCancelled(let order): end(order, .cancelled)
        case .orderExpired(let order): end(order, .expired)
        case .orderRefunded(let refund):
            guard let order = orders[refund.order] else { return }
            let units = Int64(refund.restock)
            change(order.key) {
                $0.totals.granted -= units
                $0.release(units)
            }
            count(-units, UserKey(pool: order.key.pool, user: order.user))
        case .paymentRefused(let refused): orders[refused.order]?.refused.append(refused.payment)
        default: preconditionFailure("not an entry of an order")
        }
    }

    private mutating func pay(_ paid: OrderPaid) {
        guard let order = orders[paid.order] else { return }
        orders[paid.order]?.state = .paid
        orders[paid.order]?.payment = paid.payment
        change(order.key) {
            if paid.late {
                $0.totals.held -= order.quantity
            } else {
                $0.totals.pending -= order.quantity
            }
            $0.totals.granted += order.quantity
        }
        if paid.late { count(order.quantity, UserKey(pool: order.key.pool, user: order.user)) }
    }

    private mutating func end(_ id: OrderID, _ state: OrderState) {
        guard let order = orders[id], order.state == .reserved else { return }
        orders[id]?.state = state
        change(order.key) {
            $0.totals.pending -= order.quantity
            $0.release(order.quantity)
        }
        count(-order.quantity, UserKey(pool: order.key.pool, user: order.user))
    }
}
