import EdgeMemory
public import EdgeTypes

/// The pieces that requests are made of, each checked with an answer that says what is wrong.
extension RESPRequests {
    enum Keyword: UInt8, Sendable {
        case amount, count, kind, min, max, opens, closes, limit, slices, seed, durability
        case regions, region, units, hold, price, cursor, state, restock
    }

    static let keywordTable = NameTable<Keyword>([
        ("amount", .amount), ("count", .count), ("kind", .kind), ("min", .min), ("max", .max),
        ("opens", .opens), ("closes", .closes), ("limit", .limit), ("slices", .slices),
        ("seed", .seed), ("durability", .durability), ("regions", .regions),
        ("region", .region), ("units", .units), ("hold", .hold), ("price", .price),
        ("cursor", .cursor), ("state", .state), ("restock", .restock),
    ])

    /// Calls `each` with every keyword and where its value lies. No keyword may come twice.
    static func keywords(
        _ bytes: RawSpan, _ arguments: borrowing RESPArguments, from first: Int,
        _ each: (Keyword, Range<Int>) throws(RESPRefusal) -> Void
    ) throws(RESPRefusal) {
        var seen: UInt64 = 0
        var index = first
        while index < arguments.count {
            guard let keyword = keywordTable[bytes, arguments.range(index)],
                index + 1 < arguments.count
            else { throw .syntax }
            let bit: UInt64 = 1 << UInt64(keyword.rawValue)
            guard seen & bit == 0 else { throw .syntax }
            seen |= bit
            try each(keyword, arguments.range(index + 1))
            index += 2
        }
    }

    static func region(
        _ bytes: RawSpan, _ arguments: borrowing RESPArguments, from first: Int
    ) throws(RESPRefusal) -> UInt32 {
        guard first < arguments.count else { return 0 }
        var key: UInt32 = 0
        try keywords(bytes, arguments, from: first) { (keyword, value) throws(RESPRefusal) in
            guard keyword == .region else { throw .syntax }
            key = RegionKey.of(try name(bytes, value))
        }
        return key
    }

    static func text(_ bytes: RawSpan, _ range: Range<Int>) -> Text64? {
        bytes.extracting(range).withUnsafeBytes { Text64($0) }
    }

    static func name(_ bytes: RawSpan, _ range: Range<Int>) throws(RESPRefusal) -> Text64 {
        guard let text = text(bytes, range), PoolDraft.isName(text) else {
            throw .argument("ids are 1-64 of A-Z a-z 0-9 . _ : -")
        }
        return text
    }

    static func poolKey(
        _ family: PoolFamily, _ bytes: RawSpan, _ range: Range<Int>
    ) throws(RESPRefusal) -> PoolKey { .of(family, try name(bytes, range)) }

    static func user(_ bytes: RawSpan, _ range: Range<Int>) throws(RESPRefusal) -> UserID {
        guard let user = RESPNumber.unsigned(bytes, range) else {
            throw .argument("a user is an unsigned 64-bit integer")
        }
        return user
    }

    static func integer(
        _ bytes: RawSpan, _ range: Range<Int>, _ bounds: ClosedRange<Int64>, _ what: String
    ) throws(RESPRefusal) -> Int64 {
        guard let value = RESPNumber.signed(bytes, range), bounds.contains(value) else {
            throw .argument(
                "\(what) must be an integer between \(bounds.lowerBound) and \(bounds.upperBound)")
        }
        return value
    }

    /// 1–64 printable ASCII bytes.
    static func printable(
        _ bytes: RawSpan, _ range: Range<Int>, _ what: String
    ) throws(RESPRefusal) -> Text64 {
        guard let text = text(bytes, range), isPrintable(text) else {
            throw .argument("\(what) must be 1-64 printable bytes")
        }
        return text
    }

    /// Whether a text may be a request or payment id: 1–64 bytes from `!` to `~`, and spaces.
    public static func isPrintable(_ text: Text64) -> Bool {
        guard !text.isEmpty else { return false }
        for index in 0..<Int(text.count) {
            let byte = text.byte(index)
            guard byte >= 0x20, byte < 0x7f else { return false }
        }
        return true
    }

    static func requestHash(
        _ bytes: RawSpan, _ range: Range<Int>, _ what: String
    ) throws(RESPRefusal) -> UInt64 { Hash64.text(try printable(bytes, range, what)) }

    static func word<Value>(
        _ bytes: RawSpan, _ range: Range<Int>, _ table: NameTable<Value>, _ what: String
    ) throws(RESPRefusal) -> Value {
        guard let value = table[bytes, range] else { throw .argument(what) }
        return value
    }

    /// 64 hexadecimal digits, as little-endian words of the 32 bytes they spell.
    static func seed(_ bytes: RawSpan, _ range: Range<Int>) throws(RESPRefusal) -> Bits256 {
        guard range.count == 64 else { throw .argument("SEED must be 64 hexadecimal digits") }
        var words: [UInt64] = [0, 0, 0, 0]
        for index in 0..<32 {
            let at = range.lowerBound + 2 * index
            guard let high = RESPDecoder.hexDigit(bytes.byte(at)),
                let low = RESPDecoder.hexDigit(bytes.byte(at + 1))
            else { throw .argument("SEED must be 64 hexadecimal digits") }
            words[index / 8] |= UInt64((high << 4) | low) << (UInt64(index % 8) * 8)
        }
        return Bits256(words[0], words[1], words[2], words[3])
    }

    /// `name=weight,name=weight…`
    static func regions(
        _ bytes: RawSpan, _ range: Range<Int>
    ) throws(RESPRefusal) -> [RegionShare] {
        var shares: [RegionShare] = []
        var at = range.lowerBound
        while at < range.upperBound {
            var stop = at
            var equals: Int?
            while stop < range.upperBound, bytes.byte(stop) != UInt8(ascii: ",") {
                if bytes.byte(stop) == UInt8(ascii: "=") { equals = stop }
                stop += 1
            }
            guard let equals, shares.count < Limits.regions else {
                throw .argument("REGIONS must be name=weight,… of at most \(Limits.regions)")
            }
            let weight = try integer(
                bytes, (equals + 1)..<stop, 1...1_000_000, "a region's weight")
            shares.append(
                RegionShare(name: try name(bytes, at..<equals), weight: UInt32(weight)))
            at = stop + 1
        }
        guard !shares.isEmpty else { throw .argument("REGIONS must be name=weight,…") }
        return shares
    }
}
