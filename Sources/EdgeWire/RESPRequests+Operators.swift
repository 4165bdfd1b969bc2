import EdgeMemory
import EdgeTypes

/// Operators' commands: creation, alteration, listing.
extension RESPRequests {
    private static let kinds = NameTable<PoolKind>([
        ("spread", .spread), ("luck", .luck), ("equal", .equal),
    ])
    private static let durabilities = NameTable<Durability>([
        ("memory", .memory), ("journal", .journal), ("replicated", .replicated),
    ])
    private static let states = NameTable<PoolState>([
        ("scheduled", .scheduled), ("open", .open), ("paused", .paused),
        ("closing", .closing), ("closed", .closed),
    ])

    static func createRain(
        _ bytes: RawSpan, _ arguments: borrowing RESPArguments, ticket: Ticket
    ) throws(RESPRefusal) -> RESPRequest {
        var draft = PoolDraft(
            rain: try name(bytes, arguments.range(1)), amountFen: 0, packets: 0)
        try keywords(bytes, arguments, from: 2) { (keyword, value) throws(RESPRefusal) in
            switch keyword {
            case .amount:
                draft.amountFen = try integer(bytes, value, 1...Limits.amountFen, "AMOUNT")
            case .count:
                draft.units = try integer(bytes, value, 1...Limits.unitsPerPool, "COUNT")
            case .kind:
                draft.kind = try word(bytes, value, kinds, "KIND is spread, luck or equal")
            case .min: draft.minFen = try integer(bytes, value, 1...Limits.amountFen, "MIN")
            case .max: draft.maxFen = try integer(bytes, value, 0...Limits.amountFen, "MAX")
            case .seed: draft.seed = try seed(bytes, value)
            default: try common(keyword, bytes, value, &draft)
            }
        }
        guard draft.amountFen > 0, draft.units > 0 else {
            throw .argument("AMOUNT and COUNT are required")
        }
        return try create(draft, .rain, ticket)
    }

    static func createStock(
        _ bytes: RawSpan, _ arguments: borrowing RESPArguments, ticket: Ticket
    ) throws(RESPRefusal) -> RESPRequest {
        var draft = PoolDraft(stock: try name(bytes, arguments.range(1)), units: 0)
        try keywords(bytes, arguments, from: 2) { (keyword, value) throws(RESPRefusal) in
            switch keyword {
            case .units:
                draft.units = try integer(bytes, value, 1...Limits.unitsPerPool, "UNITS")
            case .hold:
                let seconds = try integer(bytes, value, 1...(Limits.holdMs / 1_000), "HOLD")
                draft.holdMs = seconds * 1_000
            case .price: draft.amountFen = try integer(bytes, value, 0...Limits.amountFen, "PRICE")
            default: try common(keyword, bytes, value, &draft)
            }
        }
        guard draft.units > 0 else { throw .argument("UNITS is required") }
        return try create(draft, .stock, ticket)
    }

    private static func common(
        _ keyword: Keyword, _ bytes: RawSpan, _ value: Range<Int>, _ draft: inout PoolDraft
    ) throws(RESPRefusal) {
        switch keyword {
        case .opens: draft.terms.opensMs = try integer(bytes, value, 0...(1 << 53), "OPENS")
        case .closes: draft.terms.closesMs = try integer(bytes, value, 0...(1 << 53), "CLOSES")
        case .limit:
            draft.terms.limit = UInt32(
                try integer(bytes, value, 1...Int64(Limits.perUser), "LIMIT"))
        case .slices:
            if NameKey(bytes, value) == NameKey("auto") { return draft.slices = 0 }
            draft.slices = UInt32(try integer(bytes, value, 1...Int64(Limits.slices), "SLICES"))
        case .durability:
            draft.durability = try word(
                bytes, value, durabilities, "DURABILITY is memory, journal or replicated")
        case .regions: draft.regions = try regions(bytes, value)
        default: throw .syntax
        }
    }

    private static func create(
        _ draft: PoolDraft, _ family: PoolFamily, _ ticket: Ticket
    ) throws(RESPRefusal) -> RESPRequest {
        if let refusal = draft.refusal { throw .argument(refusal) }
        let request = Request(
            ticket: ticket, operation: .poolCreate, family: family,
            pool: .of(family, draft.name))
        return .create(request, draft)
    }

    static func alter(
        _ family: PoolFamily, _ bytes: RawSpan, _ arguments: borrowing RESPArguments,
        ticket: Ticket, actor: Text64
    ) throws(RESPRefusal) -> RESPRequest {
        var request = Request(ticket: ticket, operation: .poolAlter, family: family)
        request.pool = try poolKey(family, bytes, arguments.range(1))
        request.requestHash = try requestHash(bytes, arguments.range(2), "request")
        var opens: UnixMs?
        var closes: UnixMs?
        var limit: UInt32?
        try keywords(bytes, arguments, from: 3) { (keyword, value) throws(RESPRefusal) in
            switch keyword {
            case .opens: opens = try integer(bytes, value, 0...(1 << 53), "OPENS")
            case .closes: closes = try integer(bytes, value, 0...(1 << 53), "CLOSES")
            case .limit:
                limit = UInt32(try integer(bytes, value, 1...Int64(Limits.perUser), "LIMIT"))
            default: throw .syntax
            }
        }
        return .payload(
            request, .alteration(opensMs: opens, closesMs: closes, limit: limit, actor: actor))
    }

    static let resolutions = NameTable<Resolution>([("release", .release), ("return", .retire)])

    static func resolve(
        _ family: PoolFamily, _ bytes: RawSpan, _ arguments: borrowing RESPArguments,
        ticket: Ticket, actor: Text64
    ) throws(RESPRefusal) -> RESPRequest {
        var request = Request(ticket: ticket, operation: .poolResolve, family: family)
        request.pool = try poolKey(family, bytes, arguments.range(1))
        request.requestHash = try requestHash(bytes, arguments.range(2), "request")
        let resolution = try word(
            bytes, arguments.range(3), resolutions, "what is quarantined is to RELEASE or RETURN")
        request.quantity = Int64(resolution.rawValue)
        return .payload(request, .actor(actor))
    }

    /// Most names of one answer.
    public static let listCount: Int64 = 1_000

    static func list(
        _ family: PoolFamily, _ bytes: RawSpan, _ arguments: borrowing RESPArguments,
        ticket: Ticket
    ) throws(RESPRefusal) -> RESPRequest {
        var request = Request(ticket: ticket, operation: .poolList, family: family)
        request.quantity = 100
        var after = Text64()
        var state: PoolState?
        try keywords(bytes, arguments, from: 1) { (keyword, value) throws(RESPRefusal) in
            switch keyword {
            case .cursor:
                // As in Redis' SCAN, 0 starts from the beginning.
                guard let cursor = text(bytes, value), !cursor.isEmpty else {
                    throw RESPRefusal("BADARG", "CURSOR is 0 or what a listing gave")
                }
                after = cursor == "0" ? Text64() : cursor
            case .count: request.quantity = try integer(bytes, value, 1...listCount, "COUNT")
            case .state:
                state = try word(
                    bytes, value, states,
                    "STATE is scheduled, open, paused, closing or closed")
            default: throw .syntax
            }
        }
        return .payload(request, .listing(after: after, state: state))
    }
}
