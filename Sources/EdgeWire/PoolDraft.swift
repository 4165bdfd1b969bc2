public import EdgeTypes

/// A pool as an operator asks for it, before its seed is drawn.
public struct PoolDraft: Hashable, Sendable {
    public var name: Text64
    public var kind: PoolKind
    public var units: Int64
    /// Rains: the total. Stock: the price of one unit.
    public var amountFen: Fen
    public var minFen: Fen
    /// 0: no bound of its own.
    public var maxFen: Fen = 0
    public var holdMs: Int64 = 0
    /// 0: as many as suit its size.
    public var slices: UInt32 = 0
    public var regions: [RegionShare] = []
    public var seed: Bits256?
    /// nil: the node's default.
    public var durability: Durability?
    public var terms = PoolTerms()

    public static let defaultHoldMs: Int64 = 1_800_000

    public init(rain name: Text64, kind: PoolKind = .spread, amountFen: Fen, packets: Int64) {
        self.name = name
        self.kind = kind
        self.units = packets
        self.amountFen = amountFen
        minFen = 1
    }

    public init(stock name: Text64, units: Int64, priceFen: Fen = 0) {
        self.name = name
        kind = .stock
        self.units = units
        amountFen = priceFen
        minFen = 0
        holdMs = Self.defaultHoldMs
    }

    /// Why the draft cannot be a pool; nil where it can.
    public var refusal: String? {
        guard Self.isName(name) else {
            return "ids are 1-64 of A-Z a-z 0-9 . _ : -"
        }
        guard units >= 1, units <= Limits.unitsPerPool else {
            return "the count must be between 1 and \(Limits.unitsPerPool)"
        }
        guard terms.limit >= 1, terms.limit <= Limits.perUser else {
            return "LIMIT must be between 1 and \(Limits.perUser)"
        }
        guard terms.opensMs >= 0, terms.closesMs >= 0 else { return "times cannot be negative" }
        guard terms.closesMs == 0 || terms.closesMs > terms.opensMs else {
            return "CLOSES must be later than OPENS"
        }
        guard Int64(slices) <= min(units, Int64(Limits.slices)) else {
            return "SLICES must be at most the count and \(Limits.slices)"
        }
        return regionsRefusal ?? (kind == .stock ? stockRefusal : rainRefusal)
    }

    private var regionsRefusal: String? {
        guard regions.count <= Limits.regions else {
            return "at most \(Limits.regions) REGIONS"
        }
        for (index, region) in regions.enumerated() {
            guard Self.isName(region.name) else { return "not a region's name" }
            guard region.weight >= 1, region.weight <= 1_000_000 else {
                return "a region's weight must be between 1 and 1000000"
            }
            guard !regions[..<index].contains(where: { $0.name == region.name }) else {
                return "a region is named twice"
            }
        }
        return nil
    }

    private var rainRefusal: String? {
        guard kind != .luck || units <= Limits.luckPackets else {
            return "a luck rain holds at most \(Limits.luckPackets) packets"
        }
        guard amountFen >= 1, amountFen <= Limits.amountFen else {
            return "AMOUNT must be between 1 and \(Limits.amountFen)"
        }
        guard minFen >= 1, minFen <= amountFen / units else {
            return "MIN must be at least 1 and at most AMOUNT / COUNT"
        }
        guard maxFen == 0 || maxFen >= minFen else { return "MAX must be at least MIN" }
        let mean = amountFen / units + (amountFen % units == 0 ? 0 : 1)
        guard maxFen == 0 || maxFen >= mean else {
            return "MAX must be at least AMOUNT / COUNT"
        }
        return nil
    }

    private var stockRefusal: String? {
        guard amountFen >= 0, amountFen <= Limits.amountFen / units else {
            return "PRICE times UNITS must be between 0 and \(Limits.amountFen)"
        }
        guard holdMs >= 1_000, holdMs <= Limits.holdMs else {
            return "HOLD must be between 1 and \(Limits.holdMs / 1_000) seconds"
        }
        guard durability != .memory else { return "stock is never held in memory alone" }
        return nil
    }

    /// Whether a text may name a pool or a region: 1–64 of `A-Z a-z 0-9 . _ : -`.
    public static func isName(_ text: Text64) -> Bool {
        guard !text.isEmpty else { return false }
        for index in 0..<Int(text.count) {
            switch text.byte(index) {
            case 0x30...0x3a, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f: continue
            default: return false
            }
        }
        return true
    }
}
