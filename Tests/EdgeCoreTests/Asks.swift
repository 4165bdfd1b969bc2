import EdgeMemory
import EdgeTypes

/// Requests as tests write them.
extension Ask {
    private static let ticket = Ticket(core: 0, generation: 0, connection: 0, position: 0)

    static func rain(
        _ name: Text64, kind: PoolKind = .spread, fen: Fen, count: Int64, min: Fen = 1,
        max: Fen = 0, opens: UnixMs = 0, closes: UnixMs = 0, limit: UInt32 = 1,
        slices: UInt32 = 1, durability: Durability = .journal, regions: [RegionShare] = [],
        seed: Bits256 = Bits256(1, 2, 3, 4), seedWasGiven: Bool = true
    ) -> Ask {
        let definition = PoolDefinition(
            name: name, kind: kind, units: count, amountFen: fen, minFen: min, maxFen: max,
            holdMs: 0, slices: slices, regions: regions, seed: seed, seedWasGiven: seedWasGiven,
            commitment: Bits256(9, 9, 9, seed.words.0), durability: durability,
            initial: PoolTerms(opensMs: opens, closesMs: closes, limit: limit))
        return create(definition)
    }

    static func stock(
        _ name: Text64, units: Int64, limit: UInt32 = 1, holdMs: Int64 = 1_800_000,
        price: Fen = 100, opens: UnixMs = 0, closes: UnixMs = 0, slices: UInt32 = 1,
        durability: Durability = .journal, regions: [RegionShare] = []
    ) -> Ask {
        let definition = PoolDefinition(
            name: name, kind: .stock, units: units, amountFen: price, minFen: 0, maxFen: 0,
            holdMs: holdMs, slices: slices, regions: regions, seed: Bits256(5, 6, 7, 8),
            seedWasGiven: true, commitment: .zero, durability: durability,
            initial: PoolTerms(opensMs: opens, closesMs: closes, limit: limit))
        return create(definition)
    }

    static func create(_ definition: PoolDefinition) -> Ask {
        let family = definition.kind.family
        return Ask(
            Request(
                ticket: ticket, operation: .poolCreate, family: family,
                pool: PoolKey.of(family, definition.name)),
            .definition(definition, actor: "tester"))
    }

    static func grab(
        _ rain: Text64, _ user: UserID, _ request: Text64 = "", region: Text64 = ""
    ) -> Ask {
        Ask(
            Request(
                ticket: ticket, operation: .grab, pool: PoolKey.of(.rain, rain), user: user,
                region: region.isEmpty ? 0 : RegionKey.of(region),
                requestHash: request.isEmpty ? 0 : Hash64.text(request)))
    }

    static func claims(_ rain: Text64, _ user: UserID) -> Ask {
        Ask(
            Request(
                ticket: ticket, operation: .claims, pool: PoolKey.of(.rain, rain), user: user))
    }

    /// Any command on a pool that needs no more than a name.
    static func on(
        _ operation: Operation, _ name: Text64, _ family: PoolFamily = .rain
    ) -> Ask {
        Ask(
            Request(
                ticket: ticket, operation: operation, family: family,
                pool: PoolKey.of(family, name)),
            .actor("tester"))
    }

    static func info(_ name: Text64, _ family: PoolFamily = .rain) -> Ask {
        on(.poolInfo, name, family)
    }

    static func alter(
        _ name: Text64, _ request: Text64, opens: UnixMs? = nil, closes: UnixMs? = nil,
        limit: UInt32? = nil, family: PoolFamily = .rain
    ) -> Ask {
        var ask = on(.poolAlter, name, family)
        ask.request.requestHash = request.isEmpty ? 0 : Hash64.text(request)
        ask.payload = .alteration(
            opensMs: opens, closesMs: closes, limit: limit, actor: "tester")
        return ask
    }

    static func refill(_ sku: Text64, _ units: Int64, _ request: Text64) -> Ask {
        var ask = on(.poolRefill, sku, .stock)
        ask.request.quantity = units
        ask.request.requestHash = Hash64.text(request)
        return ask
    }

    static func resolve(
        _ name: Text64, _ resolution: Resolution, _ request: Text64, _ family: PoolFamily = .rain
    ) -> Ask {
        var ask = on(.poolResolve, name, family)
        ask.request.quantity = Int64(resolution.rawValue)
        ask.request.requestHash = request.isEmpty ? 0 : Hash64.text(request)
        return ask
    }

    static func list(
        _ family: PoolFamily = .rain, after: Text64 = "", count: Int64 = 100,
        state: PoolState? = nil
    ) -> Ask {
        Ask(
            Request(ticket: ticket, operation: .poolList, family: family, quantity: count),
            .listing(after: after, state: state))
    }

    static func reserve(
        _ sku: Text64, _ user: UserID, _ quantity: Int64 = 1, _ request: Text64 = "r",
        region: Text64 = ""
    ) -> Ask {
        Ask(
            Request(
                ticket: ticket, operation: .reserve, family: .stock,
                pool: PoolKey.of(.stock, sku), user: user,
                region: region.isEmpty ? 0 : RegionKey.of(region), quantity: quantity,
                requestHash: Hash64.text(request)))
    }

    static func orders(_ sku: Text64, _ user: UserID) -> Ask {
        Ask(
            Request(
                ticket: ticket, operation: .orders, family: .stock,
                pool: PoolKey.of(.stock, sku), user: user))
    }

    static func pay(_ order: OrderID, _ payment: Text64, _ fen: Fen = -1) -> Ask {
        Ask(
            Request(
                ticket: ticket, operation: .orderPay, family: .stock, amountFen: fen,
                order: order, requestHash: Hash64.text(payment)),
            .text(payment))
    }

    static func cancel(_ order: OrderID, by user: UserID? = nil) -> Ask {
        Ask(
            Request(
                ticket: ticket, operation: .orderCancel, family: .stock, user: user ?? 0,
                order: order, ownOnly: user != nil))
    }

    static func refund(
        _ order: OrderID, _ request: Text64, _ fen: Fen, restock: Int64 = 0
    ) -> Ask {
        Ask(
            Request(
                ticket: ticket, operation: .orderRefund, family: .stock, quantity: restock,
                amountFen: fen, order: order, requestHash: Hash64.text(request)),
            .text(request))
    }

    static func order(_ order: OrderID, by user: UserID? = nil) -> Ask {
        Ask(
            Request(
                ticket: ticket, operation: .orderInfo, family: .stock, user: user ?? 0,
                order: order, ownOnly: user != nil))
    }
}

/// The books of a pool as INFO tells them.
struct Books: Equatable {
    var funded: Int64
    var granted: Int64
    var returned: Int64
    var held: Int64
    var pending: Int64
    var quarantined: Int64

    init(_ info: Answer) {
        let isStock = info["units"] != nil
        funded = info.integer(isStock ? "units" : "count")
        granted = info.integer(isStock ? "sold" : "granted")
        returned = info.integer("returned")
        held = info.integer(isStock ? "available" : "remaining")
        pending = info.integer("pending")
        quarantined = info.integer("quarantined")
    }

    var balances: Bool { funded == granted + returned + held + pending + quarantined }
}

/// splitmix64: the same numbers on every machine.
struct TestRandom {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    mutating func next(below bound: Int) -> Int {
        Int(next().multipliedFullWidth(by: UInt64(bound)).high)
    }
}
