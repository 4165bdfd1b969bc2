/// What a RESP peer may send before it is cut off.
public struct RESPLimits: Sendable {
    /// Longest argument.
    public var bulkBytes = 64 * 1_024
    /// Most arguments of one command, its name included. At most `RESPArguments.capacity`.
    public var arguments = RESPArguments.capacity
    /// Longest inline command.
    public var inlineBytes = 64 * 1_024

    public init() {}
}

/// Where the arguments of one command lie. Reused from command to command; never allocates for
/// commands sent as arrays.
public struct RESPArguments: ~Copyable {
    public static let capacity = 64

    /// Start in the high half, length in the low half.
    @usableFromInline var ranges = InlineArray<64, UInt64>(repeating: 0)
    public internal(set) var count = 0
    /// The unquoted arguments of an inline command.
    public internal(set) var inlineBytes: [UInt8] = []

    public init() {}

    @inlinable
    public func start(_ index: Int) -> Int {
        precondition(index < count)
        return Int(ranges[index] >> 32)
    }

    @inlinable
    public func length(_ index: Int) -> Int {
        precondition(index < count)
        return Int(ranges[index] & 0xffff_ffff)
    }

    @inlinable
    public func range(_ index: Int) -> Range<Int> {
        let start = start(index)
        return start..<(start + length(index))
    }

    mutating func removeAll() { count = 0 }

    mutating func append(start: Int, length: Int) {
        precondition(count < Self.capacity)
        ranges[count] = (UInt64(start) << 32) | UInt64(length)
        count += 1
    }
}

/// Why the byte stream can no longer be understood: the connection is answered and closed.
public enum RESPProtocolError: Error, Hashable, Sendable {
    case invalidMultibulkLength
    case invalidBulkLength
    case expectedDollar(UInt8)
    case missingLineEnd
    case bigInline
    case unbalancedQuotes
    case bigCount

    /// Worded as Redis does, without the leading `-ERR Protocol error: `.
    public var text: String {
        switch self {
        case .invalidMultibulkLength: "invalid multibulk length"
        case .invalidBulkLength: "invalid bulk length"
        case .expectedDollar(let byte):
            "expected '$', got '\(byte > 0x20 && byte < 0x7f ? String(UnicodeScalar(byte)) : " ")'"
        case .missingLineEnd: "expected end of line"
        case .bigInline: "too big inline request"
        case .unbalancedQuotes: "unbalanced quotes in request"
        case .bigCount: "too big mbulk count string"
        }
    }
}

public enum RESPDecoded: Hashable, Sendable {
    /// The command's end has not arrived: decode again from the same start with more bytes.
    case incomplete
    /// A command ends at `end`. With no arguments it is a blank one: skip it. `inline`: the
    /// arguments lie in `RESPArguments.inlineBytes`, else in the bytes given.
    case command(end: Int, inline: Bool)
    case malformed(RESPProtocolError)
}

/// Reads commands in RESP (versions 2 and 3 send them alike): an array of bulk strings, or a
/// line of words. Stateless: a command split over reads is decoded anew, which costs
/// O(arguments), not O(bytes), since bulk strings are skipped by length.
public struct RESPDecoder: Sendable {
    public var limits: RESPLimits

    public init(limits: RESPLimits = RESPLimits()) {
        precondition(limits.arguments >= 1 && limits.arguments <= RESPArguments.capacity)
        precondition(limits.bulkBytes >= 64 && limits.bulkBytes <= 512 * 1_024 * 1_024)
        self.limits = limits
    }

    /// Decodes the command that starts at `start`.
    ///
    /// Whatever the bytes, it returns; it reads nothing past them.
    ///
    /// - Precondition: `bytes` is shorter than 4 GiB.
    public func decode(
        _ bytes: RawSpan, from start: Int, into arguments: inout RESPArguments
    ) -> RESPDecoded {
        precondition(bytes.byteCount <= UInt32.max && start >= 0)
        arguments.removeAll()
        let end = bytes.byteCount
        guard start < end else { return .incomplete }
        guard bytes.byte(start) == UInt8(ascii: "*") else {
            return decodeInline(bytes, from: start, into: &arguments)
        }
        var at = start + 1
        let count: Int
        switch Self.line(bytes, at: &at, end: end) {
        case .value(let value): count = value
        case .negative: return .command(end: at, inline: false)
        case .incomplete: return .incomplete
        case .invalid: return .malformed(.invalidMultibulkLength)
        }
        guard count <= limits.arguments else { return .malformed(.invalidMultibulkLength) }
        for _ in 0..<count {
            guard at < end else { return .incomplete }
            let kind = bytes.byte(at)
            guard kind == UInt8(ascii: "$") else { return .malformed(.expectedDollar(kind)) }
            at += 1
            let length: Int
            switch Self.line(bytes, at: &at, end: end) {
            case .value(let value): length = value
            case .negative, .invalid: return .malformed(.invalidBulkLength)
            case .incomplete: return .incomplete
            }
            guard length <= limits.bulkBytes else { return .malformed(.invalidBulkLength) }
            let after = at + length
            guard after + 2 <= end else {
                // What is there of the line end must already be right.
                if after < end, bytes.byte(after) != 0x0d { return .malformed(.missingLineEnd) }
                return .incomplete
            }
            guard bytes.byte(after) == 0x0d, bytes.byte(after + 1) == 0x0a else {
                return .malformed(.missingLineEnd)
            }
            arguments.append(start: at, length: length)
            at = after + 2
        }
        return .command(end: at, inline: false)
    }

    enum Line {
        case value(Int)
        case negative
        case incomplete
        case invalid
    }

    /// A length and its line end. At most 10 digits are looked at, so nothing overflows.
    @inline(__always)
    static func line(_ bytes: RawSpan, at: inout Int, end: Int) -> Line {
        var index = at
        guard index < end else { return .incomplete }
        var negative = false
        if bytes.byte(index) == UInt8(ascii: "-") {
            negative = true
            index += 1
            guard index < end else { return .incomplete }
        }
        var value = 0
        let first = index
        while true {
            guard index < end else { return .incomplete }
            let digit = bytes.byte(index) &- 0x30
            if digit > 9 { break }
            value = value &* 10 &+ Int(digit)
            index += 1
            guard index - first <= 10 else { return .invalid }
        }
        let digits = index - first
        guard digits > 0, bytes.byte(index) == 0x0d else { return .invalid }
        guard digits == 1 || bytes.byte(first) != 0x30 else { return .invalid }
        guard index + 1 < end else { return .incomplete }
        guard bytes.byte(index + 1) == 0x0a else { return .invalid }
        at = index + 2
        return negative ? .negative : .value(value)
    }
}

extension RawSpan {
    /// One byte, bounds checked.
    @inlinable @inline(__always)
    public func byte(_ index: Int) -> UInt8 {
        // SAFETY: the load is checked against the span's bounds; any byte is a UInt8.
        unsafeLoad(fromByteOffset: index, as: UInt8.self)
    }
}
