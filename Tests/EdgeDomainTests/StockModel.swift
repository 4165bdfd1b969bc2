import EdgeDomain
import EdgeTypes

/// The rules of stock once more, as plainly as they can be said: dictionaries, and sums counted
/// anew each time. Written against the rules, not against the book.
struct StockModel {
    struct Order {
        var slot: Int
        var user: UserID
        var quantity: Int64
        var request: String
        var expiresMs: UnixMs
        var state = OrderState.reserved
        var payment: String?
        var refused: Set<String> = []
        var refunds: [String: Refund] = [:]

        var refundedFen: Fen { refunds.values.reduce(0) { $0 + $1.fen } }
        var restocked: Int64 { refunds.values.reduce(0) { $0 + $1.restock } }
        /// Units that its user holds by it.
        var counts: Int64 {
            switch state {
            case .reserved: quantity
            case .paid, .refunded: quantity - restocked
            case .cancelled, .expired: 0
            }
        }
    }

    struct Refund: Equatable {
        var fen: Fen
        var restock: Int64
    }

    struct Slice {
        var price: Fen
        var holdMs: Int64
        var limit: Int64
        var opensMs: UnixMs = 0
        var closesMs: UnixMs = 0
        var paused = false
        var closing = false
        var sealed = false
        var archived = false
        var quarantinedFlag = false
        var credited: Int64 = 0
        var returned: Int64 = 0
        var quarantined: Int64 = 0
        var retired: Int64 = 0
        /// Of each user, in order.
        var users: [UserID: [Int]] = [:]
        /// Kept by hand, unlike the sums over orders.
        var held: Int64 = 0
    }

    typealias Answer = StockShop.Answer

    let shard: ShardID
    var slices: [Slice] = []
    var orders: [Order] = []
    /// What each slice is called.
    var places: [ArchivedSlice] = []

    func id(_ number: Int) -> OrderID { OrderID(shard: shard, number: UInt64(number)) }

    func unitsOfUser(_ slot: Int, _ user: UserID) -> Int64 {
        (slices[slot].users[user] ?? []).reduce(0) { $0 + orders[$1].counts }
    }

    func totals(_ slot: Int) -> SliceTotals {
        var totals = SliceTotals()
        let slice = slices[slot]
        totals.credited = slice.credited
        totals.returned = slice.returned
        totals.quarantined = slice.quarantined
        totals.retired = slice.retired
        totals.held = slice.held
        for numbers in slice.users.values {
            for number in numbers {
                let order = orders[number]
                switch order.state {
                case .reserved: totals.pending += order.quantity
                case .paid, .refunded:
                    totals.granted += order.quantity - order.restocked
                    totals.grantedFen += order.quantity * slice.price - order.refundedFen
                case .cancelled, .expired: break
                }
            }
        }
        return totals
    }

    private mutating func release(_ slot: Int, _ units: Int64) {
        if slices[slot].sealed || slices[slot].quarantinedFlag {
            slices[slot].quarantined += units
        } else {
            slices[slot].held += units
        }
    }

    mutating func reserve(
        _ slot: Int, _ user: UserID, _ quantity: Int64, _ request: String, _ nowMs: UnixMs
    ) -> Answer {
        let none = StockShop.noOrder
        guard (1...10_000).contains(quantity) else { return .error(.badArgument) }
        let mine = slices[slot].users[user] ?? []
        if let earlier = mine.first(where: { !request.isEmpty && orders[$0].request == request }) {
            guard orders[earlier].quantity == quantity else { return .error(.mismatch) }
            return .reserve(.repeat, id(earlier), orders[earlier].expiresMs)
        }
        let slice = slices[slot]
        if slice.closing || slice.sealed || slice.quarantinedFlag
            || (slice.closesMs > 0 && nowMs >= slice.closesMs)
        {
            return .reserve(.closed, none, 0)
        }
        if slice.opensMs > nowMs { return .reserve(.early, none, slice.opensMs) }
        if slice.paused { return .reserve(.paused, none, 0) }
        if unitsOfUser(slot, user) + quantity > slice.limit {
            if let open = mine.last(where: { orders[$0].state == .reserved }) {
                return .reserve(.limit, id(open), orders[open].expiresMs)
            }
            return .reserve(.limit, none, 0)
        }
        if slice.held < quantity { return .reserve(.soldOut, none, 0) }
        let expiresMs = nowMs + slice.holdMs
        slices[slot].held -= quantity
        slices[slot].users[user, default: []].append(orders.count)
        orders.append(
            Order(
                slot: slot, user: user, quantity: quantity, request: request,
                expiresMs: expiresMs))
        return .reserve(.reserved, id(orders.count - 1), expiresMs)
    }

    mutating func pay(_ number: Int, _ payment: String, _ fen: Fen, dry: Bool) -> Answer {
        guard number < orders.count else { return .error(.noOrder) }
        let order = orders[number]
        let slice = slices[order.slot]
        if fen != -1 && fen != order.quantity * slice.price { return .error(.mismatch) }
        if order.payment == payment { return .outcome(.repeat) }
        if order.refused.contains(payment) { return .outcome(.refund) }
        if order.state == .reserved {
            orders[number].state = .paid
            orders[number].payment = payment
            return .outcome(.paid)
        }
        if order.state == .expired && !slice.sealed && !slice.quarantinedFlag
            && unitsOfUser(order.slot, order.user) + order.quantity <= slice.limit
        {
            if slice.held >= order.quantity {
                slices[order.slot].held -= order.quantity
                orders[number].state = .paid
                orders[number].payment = payment
                return .outcome(.late)
            }
            if !dry { return .needs(order.quantity - slice.held) }
        }
        orders[number].refused.insert(payment)
        return .outcome(.refund)
    }

    /// What a store that has it all says of an archived order; nil: it is in memory.
    func recalled(
        _ number: Int, payment: String? = nil, request: String? = nil, asOf: Int
    ) -> RecalledOrder? {
        guard number < orders.count, slices[orders[number].slot].archived else { return nil }
        let order = orders[number]
        let price = slices[order.slot].price
        var known = RecalledOrder.Known.new
        if let payment {
            if order.payment == payment { known = .bought }
            if order.refused.contains(payment) { known = .refused }
        }
        if let request, let before = order.refunds[request] {
            known = .refund(amountFen: before.fen, restocked: UInt32(before.restock))
        }
        return RecalledOrder(
            place: places[order.slot], user: order.user, quantity: UInt32(order.quantity),
            priceFen: price, state: order.state.rawValue,
            paidFen: order.payment == nil ? 0 : order.quantity * price,
            refundedFen: order.refundedFen, restocked: UInt32(order.restocked), known: known,
            asOf: UInt64(asOf))
    }

    mutating func cancel(_ number: Int) -> Answer {
        guard number < orders.count else { return .error(.noOrder) }
        switch orders[number].state {
        case .reserved:
            orders[number].state = .cancelled
            release(orders[number].slot, orders[number].quantity)
            return .outcome(.cancelled)
        case .cancelled, .expired: return .outcome(.cancelled)
        case .paid: return .outcome(.paid)
        case .refunded: return .outcome(.refunded)
        }
    }

    mutating func refund(_ number: Int, _ request: String, _ fen: Fen, _ restock: Int64) -> Answer {
        guard number < orders.count else { return .error(.noOrder) }
        if fen < 0 || restock < 0 { return .error(.badArgument) }
        let order = orders[number]
        if let before = order.refunds[request] {
            let same = before == Refund(fen: fen, restock: restock)
            return same ? .outcome(.repeat) : .error(.mismatch)
        }
        let paid = order.quantity * slices[order.slot].price
        guard order.payment != nil, order.refundedFen + fen <= paid,
            order.restocked + restock <= order.quantity,
            fen + restock > 0 || (paid == 0 && order.state == .paid)
        else { return .error(.badArgument) }
        orders[number].refunds[request] = Refund(fen: fen, restock: restock)
        if orders[number].refundedFen == paid { orders[number].state = .refunded }
        release(order.slot, restock)
        return .outcome(.refunded)
    }

    /// - Returns: whether it may expire now.
    mutating func expire(_ number: Int, _ nowMs: UnixMs) -> Bool {
        guard orders[number].state == .reserved, orders[number].expiresMs <= nowMs else {
            return false
        }
        orders[number].state = .expired
        release(orders[number].slot, orders[number].quantity)
        return true
    }

    func openOrders(_ slot: Int) -> Int {
        slices[slot].users.values.reduce(0) { sum, numbers in
            sum + numbers.filter { orders[$0].state == .reserved }.count
        }
    }
}
