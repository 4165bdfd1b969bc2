public import EdgeTypes

/// Why bytes are no message between nodes.
public enum BusDecodeError: Error, Hashable, Sendable {
    /// The bytes end before the message does.
    case truncated
    /// A length that no message has.
    case badLength
    case unknownKind(UInt8)
    /// A field that no sender writes.
    case malformed(kind: UInt8)
}

/// The first byte of each message.
@usableFromInline
enum BusKind: UInt8 {
    case request = 1
    case longRequest
    case command
    case reply
    case replyWithValue
    case frame
    case replica
    case entries
    case copy
    case beacon
    case beaconAnswer
    case ping
    case pong
    case closing
}

/// The limits and constants of the bus's wire format.
///
/// Messages follow each other in a record, which is sealed as a whole. All integers are
/// little-endian, all lengths multiples of eight, padding is zero, and each message has one form.
/// What version of it two nodes speak is agreed on when they meet.
///
///     0 kind   1 … 3 by kind   4 length of the whole message (u32)
///
///     request       1 operation   2 family, 2 added for `ownOnly`   3 hops   8 id   16 pool
///                   24 user   32 request hash   40 region   44 zero
///     longRequest   the same, 48 quantity   56 fen   64 order: where one is not as in most
///     command       the same, 72 the payload
///     reply         1 shape   2 outcome   3 error   8 id   16 fen   24 packet   32 time   40 order
///     replyWithValue  the same, 48 the value
///     frame         1 which   2 shard (u16)   8 its fields, as in journal entries
///     replica       1 which   2 shard         8 its fields
///     entries       1 zero    2 shard   8 epoch   12 zero   16 first   24 entries
///     copy          1 zero    2 shard   8 epoch   12 bytes (u32)   16 last   24 offset   32 total
///                   40 the piece
///     beacon, beaconAnswer   1 … 3 zero   8 number
///     ping, pong, closing    1 … 3 zero
public enum BusFrame {
    public static let requestBytes = 48
    public static let longRequestBytes = 72
    public static let replyBytes = 48
    @usableFromInline static let headBytes = 8
    @usableFromInline static let ownOnlyFlag: UInt64 = 2
    static let entriesBytes = 24
    static let copyBytes = 40
    static let beaconBytes = 16

    /// Whether a request's quantity, amount and order are as in most.
    @inlinable @inline(__always)
    static func isShort(_ request: Request) -> Bool {
        request.quantity == 0 && request.amountFen == -1 && request.order.rawValue == 0
    }
}
