public import EdgeLedger
public import EdgeTypes

// Rows of a store as values, whatever engine holds them.

/// A pool: who it is, its terms, its treasury.
public struct PoolRow: Hashable, Sendable {
    public var key: PoolKey
    public var family: PoolFamily
    public var name: Text64
    /// Its home's creation has been applied; not only a slice's opening, which may come first.
    public var created: Bool
    public var standing: PoolStanding
    public var treasury: TreasuryBooks

    public init(
        key: PoolKey, family: PoolFamily, name: Text64, created: Bool, standing: PoolStanding,
        treasury: TreasuryBooks
    ) {
        self.key = key
        self.family = family
        self.name = name
        self.created = created
        self.standing = standing
        self.treasury = treasury
    }
}

/// A slice of a pool and its books.
public struct SliceRow: Hashable, Sendable {
    public var key: SliceKey
    public var shard: ShardID
    public var books: SliceBooks

    public init(key: SliceKey, shard: ShardID, books: SliceBooks) {
        self.key = key
        self.shard = shard
        self.books = books
    }
}

/// Money that came for an order.
public struct PaymentRow: Hashable, Sendable {
    public enum Outcome: String, Sendable {
        case captured
        /// It came after the order had expired, and bought all the same.
        case late
        /// It bought nothing and is to be given back.
        case refundDue = "refund_due"
    }

    /// `EntryID` of the entry.
    public var id: Int64
    public var order: OrderID
    public var payment: Text64
    public var fen: Fen
    public var outcome: Outcome
    public var timeMs: UnixMs
}

/// Money that went back for an order, and units with it.
public struct RefundRow: Hashable, Sendable {
    /// `EntryID` of the entry.
    public var id: Int64
    public var order: OrderID
    public var request: Text64
    public var fen: Fen
    public var restocked: Int64
    public var timeMs: UnixMs
}

/// Units of a SKU that went from one state to another, in one entry.
public struct StockMovement: Hashable, Sendable {
    public enum Kind: String, Sendable {
        /// Into the pool: at its creation, and by refills.
        case funded
        case reserved
        case paid
        /// Paid for after it had expired: taken from what is free.
        case paidLate = "paid_late"
        case cancelled
        case expired
        /// Refunded and free again.
        case restocked
    }

    /// `EntryID` of the entry.
    public var id: Int64
    public var pool: PoolKey
    /// nil: the whole SKU's.
    public var order: OrderID?
    public var kind: Kind
    /// Always positive.
    public var units: Int64
    public var timeMs: UnixMs
}

/// A value of an event's data.
enum EventValue {
    case text(Text64)
    case integer(Int64)
    case flag(Bool)

    static func json(_ fields: [(String, EventValue)]) -> String {
        var out = "{"
        for (key, value) in fields {
            if out.utf8.count > 1 { out += "," }
            out += "\"\(key)\":"
            switch value {
            case .text(let text): out += CloudEvent.quoted(text.description)
            case .integer(let value): out += String(value)
            case .flag(let value): out += value ? "true" : "false"
            }
        }
        return out + "}"
    }
}

/// Events that are made only where a node is told to: there are many of them.
public struct ExtraEvents: OptionSet, Sendable {
    public let rawValue: UInt8

    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// `rain.claimed`: one for each packet that is granted.
    public static let rainClaimed = ExtraEvents(rawValue: 1)

    /// By the type that events have.
    public static let byName: [(name: String, events: ExtraEvents)] = [
        ("rain.claimed", .rainClaimed)
    ]
}

/// An event for other systems, made by one entry.
public struct EventRow: Hashable, Sendable {
    /// `EntryID` of the entry: no entry makes two.
    public var id: Int64
    /// `order.paid` and others.
    public var type: String
    /// The order's id or the pool's name.
    public var subject: Text64
    public var timeMs: UnixMs
    /// A JSON object.
    public var data: String

    public init(id: Int64, type: String, subject: Text64, timeMs: UnixMs, data: String) {
        self.id = id
        self.type = type
        self.subject = subject
        self.timeMs = timeMs
        self.data = data
    }

    /// As consumers know it: `shard-sequence`.
    public var name: String { "\(EntryID.shard(of: id))-\(EntryID.sequence(of: id))" }
}

/// What a batch that a store has committed has made of its rows.
public struct StoreChanges: Sendable {
    /// How far each shard of the batch went.
    public var ranges: [ShardRange] = []
    public var pools: [PoolRow] = []
    public var slices: [SliceRow] = []
    /// Orders that are new or have changed, as they are now.
    public var orders: [OrderRecord] = []
    /// In order within each shard.
    public var events: [EventRow] = []

    public init() {}
}
