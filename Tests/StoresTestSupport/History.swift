import EdgeMemory
public import EdgeTypes

/// A random history that obeys every rule: rains and SKUs over several shards and lanes, with
/// leases, claims, orders in every state, refusals, refunds, refills, pauses and closings.
public struct History {
    public struct Shape: Sendable {
        public var shards = 8
        public var lanes = 2
        public var rains = 3
        public var skus = 2
        public var slices = 4
        public var steps = 2_000
        public var packets: Int64 = 400
        public var closes = true

        public init() {}
    }

    struct Slice {
        var shard: ShardID
        var ranges: [UnitRange] = []
        var held: Int64 = 0
        var credits: UInt32 = 0
        /// Out of play: what comes to it is quarantined.
        var isLost = false
        var returns: UInt32 = 0
    }

    struct Pool {
        var definition: PoolDefinition
        var key: PoolKey
        var home: ShardID
        var control: PoolControl
        var treasury: [UnitRange]
        var slices: [Slice]
        var taken: [UserID: UInt32] = [:]
        var closed = false
        var isStock: Bool { definition.kind == .stock }
    }

    struct Order {
        var id: OrderID
        var pool: Int
        var slice: Int
        var user: UserID
        var quantity: UInt32
        var state = "reserved"
        var paid: Fen = 0
        var refunded: Fen = 0
        var restocked: UInt32 = 0
    }

    var random: SplitMix
    let shape: Shape
    var pools: [Pool] = []
    var orders: [Order] = []
    private var sequences: [UInt64]
    private var orderNumbers: [UInt64]
    private var nowMs: UnixMs = 1_763_700_000_000
    private var epochs: [UInt32]
    public private(set) var lanes: [[LaneEntry]]

    public init(seed: UInt64, shape: Shape = Shape()) {
        random = SplitMix(seed: seed)
        self.shape = shape
        sequences = Array(repeating: 0, count: shape.shards)
        orderNumbers = Array(repeating: 0, count: shape.shards)
        epochs = Array(repeating: 1, count: shape.shards)
        lanes = Array(repeating: [], count: shape.lanes)
        for index in 0..<shape.rains { create("rain:\(index)", .spread) }
        for index in 0..<shape.skus { create("sku:\(index)", .stock) }
        for _ in 0..<shape.steps { step() }
        if shape.closes { close(0) }
        if shape.closes, shape.rains > 1 { lose(1) }
    }

    public var count: Int { lanes.reduce(0) { $0 + $1.count } }

    public func sources() -> [MemoryLane] {
        lanes.enumerated().map { MemoryLane(name: "lane-\($0.offset)", entries: $0.element) }
    }

    mutating func emit(_ shard: ShardID, _ entry: Entry) {
        nowMs += Int64(random.below(3))
        if random.chance(1) { epochs[Int(shard)] += 1 }
        sequences[Int(shard)] += 1
        let header = EntryHeader(
            shard: shard, epoch: epochs[Int(shard)], sequence: sequences[Int(shard)],
            timeMs: nowMs)
        lanes[Int(shard) % shape.lanes].append(LaneEntry(header, entry))
    }

    // MARK: Pools

    private mutating func create(_ name: String, _ kind: PoolKind) {
        let stock = kind == .stock
        let definition = PoolDefinition(
            name: Text64(name), kind: kind, units: shape.packets,
            amountFen: stock ? 9_900 : shape.packets * 100 + 7, minFen: stock ? 0 : 1,
            maxFen: stock ? 0 : 200, holdMs: stock ? 1_800_000 : 0, slices: UInt32(shape.slices),
            regions: [], seed: Bits256(random.next(), random.next(), 3, 4), seedWasGiven: false,
            commitment: Bits256(random.next(), 6, 7, 8),
            durability: kind == .spread && name == "rain:1" ? .memory : .journal,
            initial: PoolTerms(opensMs: 0, closesMs: 0, limit: stock ? 50 : 2))
        let home = ShardID(random.below(shape.shards))
        emit(home, .poolCreated(definition, actor: "tester"))
        let control = PoolControl(version: 1, terms: definition.initial)
        var pool = Pool(
            definition: definition, key: PoolKey.of(kind.family, definition.name), home: home,
            control: control, treasury: [UnitRange(start: 0, count: definition.units)], slices: [])
        for slice in 0..<shape.slices {
            let shard = ShardID((Int(home) + slice * 3 + 1) % shape.shards)
            pool.slices.append(Slice(shard: shard))
            emit(shard, .sliceOpened(definition, slice: UInt32(slice), control))
        }
        pools.append(pool)
        for slice in 0..<shape.slices { lease(pools.count - 1, slice, definition.units / 8) }
    }

    private mutating func lease(_ pool: Int, _ slice: Int, _ wanted: Int64) {
        guard wanted > 0, let range = pools[pool].treasury.popLast() else { return }
        let count = min(wanted, range.count)
        let stock = pools[pool].isStock
        if count < range.count {
            pools[pool].treasury.append(
                UnitRange(start: stock ? 0 : range.start + count, count: range.count - count))
        }
        let leased = UnitRange(start: range.start, count: count)
        pools[pool].slices[slice].credits += 1
        let transfer = Transfer(
            pool: pools[pool].key, slice: UInt32(slice),
            number: pools[pool].slices[slice].credits, final: false, ranges: [leased])
        emit(pools[pool].home, .poolLeased(transfer))
        emit(pools[pool].slices[slice].shard, .sliceCredited(transfer))
        if pools[pool].slices[slice].isLost { return }
        pools[pool].slices[slice].ranges.append(leased)
        pools[pool].slices[slice].held += count
    }

    private mutating func giveBack(_ pool: Int, _ slice: Int, final: Bool) {
        let ranges = pools[pool].slices[slice].ranges
        guard final || !ranges.isEmpty else { return }
        pools[pool].slices[slice].returns += 1
        let stock = pools[pool].isStock
        let held = pools[pool].slices[slice].held
        let returned = stock ? [UnitRange(start: 0, count: held)] : ranges
        let transfer = Transfer(
            pool: pools[pool].key, slice: UInt32(slice),
            number: pools[pool].slices[slice].returns, final: final, ranges: returned)
        emit(pools[pool].slices[slice].shard, .sliceReturned(transfer))
        emit(pools[pool].home, .poolTookBack(transfer))
        pools[pool].slices[slice].ranges = []
        pools[pool].slices[slice].held = 0
        pools[pool].treasury += returned.filter { $0.count > 0 }
    }

    private mutating func close(_ pool: Int) {
        control(pool) { $0.closing = true }
        for slice in pools[pool].slices.indices { giveBack(pool, slice, final: true) }
        emit(pools[pool].home, .poolClosed(pools[pool].key))
        pools[pool].closed = true
    }

    /// Slices are put out of play: one stays so, of one the units are taken out of the pool, and
    /// one is back in play. A SKU's, too, with its orders, which end or are paid.
    private mutating func lose(_ pool: Int) {
        quarantine(pool, 0)
        quarantine(pool, 1)
        resolve(pool, 1, .retire)
        let before = pools[pool].slices[2].ranges
        quarantine(pool, 2)
        resolve(pool, 2, .release)
        pools[pool].slices[2].ranges = before
        for _ in 0..<20 { claim(pool) }
        guard shape.skus > 0 else { return }
        let sku = shape.rains
        lease(sku, 3, 5)
        quarantine(sku, 3)
        for _ in 0..<shape.steps / 4 { step() }
        resolve(sku, 3, .retire)
    }

    private mutating func quarantine(_ pool: Int, _ number: Int) {
        let slice = pools[pool].slices[number]
        emit(slice.shard, .sliceQuarantined(pools[pool].key, slice: UInt32(number)))
        pools[pool].slices[number].ranges = []
        pools[pool].slices[number].held = 0
        pools[pool].slices[number].isLost = true
    }

    private mutating func resolve(_ pool: Int, _ number: Int, _ resolution: Resolution) {
        let key = pools[pool].key
        for isDone in [false, true] {
            emit(
                pools[pool].home,
                .poolResolved(
                    key, resolution, isDone: isDone, requestHash: 77, actor: "op"))
            if isDone { continue }
            emit(
                pools[pool].slices[number].shard,
                .sliceResolved(key, slice: UInt32(number), resolution, actor: "op"))
        }
        if resolution == .release { pools[pool].slices[number].isLost = false }
    }

    private mutating func control(_ pool: Int, _ change: (inout PoolControl) -> Void) {
        pools[pool].control.version += 1
        change(&pools[pool].control)
        let control = pools[pool].control
        emit(
            pools[pool].home,
            .poolControlled(
                pools[pool].key, control, requestHash: random.next(), value: 0, actor: "op"))
        for (index, slice) in pools[pool].slices.enumerated() {
            emit(
                slice.shard, .sliceControlled(pools[pool].key, slice: UInt32(index), control))
        }
    }

    // MARK: Steps

    private mutating func step() {
        let pool = random.below(pools.count)
        if pools[pool].closed { return }
        switch random.below(100) {
        case 0: control(pool) { $0.paused.toggle() }
        case 1: control(pool) { $0.terms.limit += 1 }
        case 2 where pools[pool].isStock:
            emit(
                pools[pool].home,
                .poolFunded(pools[pool].key, units: 10, requestHash: 9, actor: "op"))
            pools[pool].treasury.append(UnitRange(start: 0, count: 10))
        case 3, 4: giveBack(pool, random.below(shape.slices), final: false)
        case 5...10: lease(pool, random.below(shape.slices), Int64(1 + random.below(20)))
        default:
            if !pools[pool].isStock {
                claim(pool)
            } else if random.chance(50) || orders.isEmpty {
                reserve(pool)
            } else {
                moveOrder(random.below(orders.count))
            }
        }
    }

    /// One in ten users is above `Int64.max`.
    private mutating func someUser() -> UserID {
        let user = UserID(random.below(5_000))
        return random.chance(10) ? UserID.max - user : user
    }

    private mutating func claim(_ pool: Int) {
        let user = someUser()
        let slice = Int(user % UInt64(shape.slices))
        guard pools[pool].taken[user, default: 0] < 2,
            let range = pools[pool].slices[slice].ranges.first
        else { return }
        let units = pools[pool].definition.units
        let total = pools[pool].definition.amountFen
        let amount = total / units + (range.start < total % units ? 1 : 0)
        emit(
            pools[pool].slices[slice].shard,
            .claim(
                Claim(
                    pool: pools[pool].key, slice: UInt32(slice), user: user,
                    packet: range.start, amountFen: amount, requestHash: random.next())))
        pools[pool].taken[user, default: 0] += 1
        pools[pool].slices[slice].held -= 1
        if range.count == 1 {
            pools[pool].slices[slice].ranges.removeFirst()
        } else {
            pools[pool].slices[slice].ranges[0] = UnitRange(
                start: range.start + 1, count: range.count - 1)
        }
    }

    private mutating func reserve(_ pool: Int) {
        let user = someUser()
        let slice = Int(user % UInt64(shape.slices))
        let quantity = UInt32(1 + random.below(3))
        guard pools[pool].slices[slice].held >= Int64(quantity) else { return }
        let shard = pools[pool].slices[slice].shard
        let id = OrderID(shard: shard, number: orderNumbers[Int(shard)])
        orderNumbers[Int(shard)] += 1
        emit(
            shard,
            .orderReserved(
                OrderReserved(
                    order: id, pool: pools[pool].key, slice: UInt32(slice), user: user,
                    quantity: quantity, priceFen: pools[pool].definition.amountFen,
                    expiresMs: nowMs + 1_800_000, requestHash: random.next())))
        hold(pool, slice, -Int64(quantity))
        orders.append(
            Order(id: id, pool: pool, slice: slice, user: user, quantity: quantity))
    }

    private mutating func hold(_ pool: Int, _ slice: Int, _ units: Int64) {
        if pools[pool].slices[slice].isLost { return }
        pools[pool].slices[slice].held += units
        let held = pools[pool].slices[slice].held
        pools[pool].slices[slice].ranges = held > 0 ? [UnitRange(start: 0, count: held)] : []
    }

    private mutating func moveOrder(_ index: Int) {
        let order = orders[index]
        let amount = pools[order.pool].definition.amountFen * Int64(order.quantity)
        let payment = Text64("pay-\"\(random.below(1_000_000))\"")
        switch (order.state, random.below(4)) {
        case ("reserved", 0):
            emit(order.id.shard, .orderCancelled(order.id))
            orders[index].state = "cancelled"
            hold(order.pool, order.slice, Int64(order.quantity))
        case ("reserved", 1):
            emit(order.id.shard, .orderExpired(order.id))
            orders[index].state = "expired"
            hold(order.pool, order.slice, Int64(order.quantity))
        case ("reserved", _): pay(index, payment, amount, late: false)
        case ("expired", 0...1)
        where pools[order.pool].slices[order.slice].held >= Int64(order.quantity):
            hold(order.pool, order.slice, -Int64(order.quantity))
            pay(index, payment, amount, late: true)
        case ("paid", 0...1): refund(index)
        default:
            emit(
                order.id.shard,
                .paymentRefused(
                    PaymentRefused(order: order.id, payment: payment, amountFen: amount)))
        }
    }

    private mutating func pay(_ index: Int, _ payment: Text64, _ amount: Fen, late: Bool) {
        emit(
            orders[index].id.shard,
            .orderPaid(
                OrderPaid(
                    order: orders[index].id, payment: payment, amountFen: amount, late: late)))
        orders[index].state = "paid"
        orders[index].paid = amount
    }

    private mutating func refund(_ index: Int) {
        let order = orders[index]
        let open = order.paid - order.refunded
        guard open > 0 else { return }
        let amount = random.chance(50) ? open : 1 + Int64(random.below(Int(open)))
        let restock = UInt32(random.below(Int(order.quantity - order.restocked) + 1))
        emit(
            order.id.shard,
            .orderRefunded(
                OrderRefunded(
                    order: order.id, request: Text64("refund-\(index)"), amountFen: amount,
                    restock: restock)))
        orders[index].refunded += amount
        orders[index].restocked += restock
        if orders[index].refunded == order.paid { orders[index].state = "refunded" }
        hold(order.pool, order.slice, Int64(restock))
    }
}

extension History {
    /// Whether a key is of one of the rains that histories make.
    public static func isRain(_ key: PoolKey) -> Bool {
        (0..<16).contains { key == PoolKey.of(.rain, Text64("rain:\($0)")) }
    }
}
