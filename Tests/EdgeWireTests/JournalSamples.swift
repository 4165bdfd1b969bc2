import EdgeTypes

/// splitmix64: the tests' own seeded randomness.
struct SampleRandom: RandomNumberGenerator {
    var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    mutating func any<T: FixedWidthInteger>(_ type: T.Type = T.self) -> T {
        T(truncatingIfNeeded: next())
    }

    mutating func flag() -> Bool { next() & 1 == 1 }

    mutating func text() -> Text64 {
        let count = Int(next() % 65)
        var bytes: [UInt8] = []
        for _ in 0..<count { bytes.append(any()) }
        return Text64(bytes)!
    }

    mutating func pool() -> PoolKey { PoolKey(rawValue: any()) }
    mutating func order() -> OrderID { OrderID(rawValue: any()) }

    mutating func terms() -> PoolTerms { PoolTerms(opensMs: any(), closesMs: any(), limit: any()) }

    mutating func control() -> PoolControl {
        PoolControl(version: any(), terms: terms(), paused: flag(), closing: flag())
    }

    mutating func bits() -> Bits256 { Bits256(any(), any(), any(), any()) }

    mutating func transfer() -> Transfer {
        let ranges = (0..<Int(next() % 12)).map { _ in UnitRange(start: any(), count: any()) }
        return Transfer(
            pool: pool(), slice: any(), number: any(), final: flag(), ranges: ranges)
    }

    mutating func definition() -> PoolDefinition {
        let count = Int(next() % UInt64(Limits.regions + 1))
        let regions = (0..<count).map { _ in RegionShare(name: text(), weight: any()) }
        return PoolDefinition(
            name: text(), kind: PoolKind.allCases.randomElement(using: &self)!, units: any(),
            amountFen: any(), minFen: any(), maxFen: any(), holdMs: any(), slices: any(),
            regions: regions, seed: bits(), seedWasGiven: flag(), commitment: bits(),
            durability: Durability.allCases.randomElement(using: &self)!, initial: terms())
    }

    mutating func soldOut() -> SoldOut {
        let isFinal = flag()
        return SoldOut(
            part: any(), epoch: any(), generation: any(), left: isFinal ? 0 : any(),
            isFinal: isFinal)
    }

    mutating func header() -> EntryHeader {
        EntryHeader(shard: any(), epoch: any(), sequence: any(), timeMs: any())
    }

    mutating func claim(named: Bool) -> Claim {
        Claim(
            pool: pool(), slice: any(), user: any(), packet: Int64(any(UInt32.self)),
            amountFen: any(), requestHash: named ? any() | 1 : 0)
    }

    static let kinds = 26

    /// One entry of each kind for `kind` in `0 ..< kinds`.
    mutating func entry(_ kind: Int) -> Entry {
        switch kind {
        case 0: .claim(claim(named: true))
        case 1: .claim(claim(named: false))
        case 2:
            .orderReserved(
                OrderReserved(
                    order: order(), pool: pool(), slice: any(), user: any(), quantity: any(),
                    priceFen: any(), expiresMs: any(), requestHash: any()))
        case 3:
            .orderPaid(
                OrderPaid(order: order(), payment: text(), amountFen: any(), late: flag()))
        case 4: .orderCancelled(order())
        case 5: .orderExpired(order())
        case 6:
            .orderRefunded(
                OrderRefunded(order: order(), request: text(), amountFen: any(), restock: any()))
        case 7: .paymentRefused(PaymentRefused(order: order(), payment: text(), amountFen: any()))
        case 8: .poolCreated(definition(), actor: text())
        case 9:
            .poolControlled(
                pool(), control(), requestHash: any(), value: any(), actor: text())
        case 10: .poolFunded(pool(), units: any(), requestHash: any(), actor: text())
        case 11: .poolLeased(transfer())
        case 12: .poolTookBack(transfer())
        case 13: .poolClosed(pool())
        case 14: .sliceOpened(definition(), slice: any(), control())
        case 15: .sliceControlled(pool(), slice: any(), control())
        case 16: .sliceCredited(transfer())
        case 17: .sliceReturned(transfer())
        case 18: .poolSoldOut(pool(), soldOut())
        case 19:
            .poolResolved(
                pool(), flag() ? .release : .retire, isDone: flag(), requestHash: any(),
                actor: text())
        case 20:
            .sliceResolved(pool(), slice: any(), flag() ? .release : .retire, actor: text())
        case 21:
            .poolMoved(UnitMove(pool: pool(), from: any(), to: any(), ranges: transfer().ranges))
        case 22: .sliceArchived(pool(), slice: any(), first: any())
        case 23:
            .orderRefunded(
                OrderRefunded(
                    order: order(), request: text(), amountFen: any(), restock: any(),
                    archived: ArchivedSlice(pool: pool(), slice: any())))
        case 24:
            .paymentRefused(
                PaymentRefused(
                    order: order(), payment: text(), amountFen: any(),
                    archived: ArchivedSlice(pool: pool(), slice: any())))
        default: .sliceQuarantined(pool(), slice: any())
        }
    }
}
