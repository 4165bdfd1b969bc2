public import EdgeMemory
public import EdgeTypes

/// Writes answers in RESP2 or RESP3. Numbers are written without a `String` in between.
public enum RESPEncoder {
    /// Longest answer of fixed shape.
    static let fixedBytes = 160
    /// What is said where nobody is there to ask the store.
    public static let archivedDetail = "it has left memory, and this node has no store to ask"

    /// Writes one reply of a core.
    ///
    /// - Parameter body: what `reply.body` stands for, where there is one.
    public static func append(
        _ reply: Reply, body: Value?, resp3: Bool, to sink: inout ByteSink
    ) {
        switch reply.shape {
        case .grab: grab(reply, resp3: resp3, to: &sink)
        case .reserve: reserve(reply, resp3: resp3, to: &sink)
        case .outcome:
            let before = sink.count
            let region = sink.extend(by: fixedBytes)
            var at = 0
            put("*1\r\n", into: region, &at)
            put(outcome: reply.outcome, into: region, &at)
            sink.truncate(to: before + at)
        case .ok: sink.append("+OK\r\n")
        case .error:
            let detail: String
            if case .text(let text)? = body { detail = text } else { detail = reply.error.detail }
            append(error: reply.error.token, detail, to: &sink)
        case .body: append(body ?? .null, resp3: resp3, to: &sink)
        case .archived: append(error: ErrorCode.tryAgain.token, archivedDetail, to: &sink)
        }
    }

    /// `[outcome, fen, packet, ms]`
    @inline(__always)
    private static func grab(_ reply: Reply, resp3: Bool, to sink: inout ByteSink) {
        let before = sink.count
        let region = sink.extend(by: fixedBytes)
        var at = 0
        put("*4\r\n", into: region, &at)
        put(outcome: reply.outcome, into: region, &at)
        put(integer: reply.fen, into: region, &at)
        if reply.packet >= 0 {
            put(integer: reply.packet, into: region, &at)
        } else {
            put(resp3 ? "_\r\n" : "$-1\r\n", into: region, &at)
        }
        put(integer: reply.timeMs, into: region, &at)
        sink.truncate(to: before + at)
    }

    /// `[outcome, order, expires-ms]`
    private static func reserve(_ reply: Reply, resp3: Bool, to sink: inout ByteSink) {
        let before = sink.count
        let region = sink.extend(by: fixedBytes)
        var at = 0
        put("*3\r\n", into: region, &at)
        put(outcome: reply.outcome, into: region, &at)
        if reply.order.rawValue != 0 {
            put("$13\r\n", into: region, &at)
            reply.order.write(into: UnsafeMutableRawBufferPointer(rebasing: region[at...]))
            at += OrderID.textBytes
            put("\r\n", into: region, &at)
        } else {
            put(resp3 ? "_\r\n" : "$-1\r\n", into: region, &at)
        }
        put(integer: reply.timeMs, into: region, &at)
        sink.truncate(to: before + at)
    }

    @inline(__always)
    private static func put(
        _ text: StaticString, into region: UnsafeMutableRawBufferPointer, _ at: inout Int
    ) {
        let size = text.utf8CodeUnitCount
        precondition(at &+ size <= region.count)
        // SAFETY: checked above; the literal holds `size` bytes.
        (region.baseAddress.unsafelyUnwrapped + at).copyMemory(
            from: text.utf8Start, byteCount: size)
        at &+= size
    }

    @inline(__always)
    private static func put(
        outcome: Outcome, into region: UnsafeMutableRawBufferPointer, _ at: inout Int
    ) {
        switch outcome {
        case .granted: put("$7\r\ngranted\r\n", into: region, &at)
        case .repeat: put("$6\r\nrepeat\r\n", into: region, &at)
        case .soldOut: put("$7\r\nsoldout\r\n", into: region, &at)
        case .early: put("$5\r\nearly\r\n", into: region, &at)
        case .closed: put("$6\r\nclosed\r\n", into: region, &at)
        case .paused: put("$6\r\npaused\r\n", into: region, &at)
        case .limit: put("$5\r\nlimit\r\n", into: region, &at)
        case .lost: put("$4\r\nlost\r\n", into: region, &at)
        case .reserved: put("$8\r\nreserved\r\n", into: region, &at)
        case .paid: put("$4\r\npaid\r\n", into: region, &at)
        case .late: put("$4\r\nlate\r\n", into: region, &at)
        case .refund: put("$6\r\nrefund\r\n", into: region, &at)
        case .cancelled: put("$9\r\ncancelled\r\n", into: region, &at)
        case .refunded: put("$8\r\nrefunded\r\n", into: region, &at)
        }
    }

    /// At most 23 bytes.
    @inline(__always)
    private static func put(
        integer: Int64, into region: UnsafeMutableRawBufferPointer, _ at: inout Int
    ) {
        precondition(at &+ 24 <= region.count)
        // SAFETY: 24 bytes are there: a colon, a sign, 20 digits and a line end.
        let base = region.baseAddress.unsafelyUnwrapped + at
        base.storeBytes(of: UInt8(ascii: ":"), as: UInt8.self)
        var length = 1
        if integer < 0 {
            base.storeBytes(of: UInt8(ascii: "-"), toByteOffset: 1, as: UInt8.self)
            length = 2
        }
        length &+= ByteSink.write(
            decimal: integer.magnitude,
            into: UnsafeMutableRawBufferPointer(start: base + length, count: 20))
        base.storeBytes(of: 0x0d, toByteOffset: length, as: UInt8.self)
        base.storeBytes(of: 0x0a, toByteOffset: length &+ 1, as: UInt8.self)
        at &+= length &+ 2
    }

    // MARK: values

    public static func append(_ value: Value, resp3: Bool, to sink: inout ByteSink) {
        switch value {
        case .null: sink.append(resp3 ? "_\r\n" : "$-1\r\n")
        case .integer(let number): append(integer: number, to: &sink)
        case .text(let text): append(bulk: text, to: &sink)
        case .array(let items):
            append(header: "*", items.count, to: &sink)
            for item in items { append(item, resp3: resp3, to: &sink) }
        case .map(let fields):
            if resp3 {
                append(header: "%", fields.count, to: &sink)
            } else {
                append(header: "*", fields.count * 2, to: &sink)
            }
            for field in fields {
                append(bulk: field.key, to: &sink)
                append(field.value, resp3: resp3, to: &sink)
            }
        }
    }

    public static func append(header kind: StaticString, _ count: Int, to sink: inout ByteSink) {
        sink.append(kind)
        sink.append(decimal: UInt64(count))
        sink.append("\r\n")
    }

    public static func append(integer: Int64, to sink: inout ByteSink) {
        sink.append(":")
        sink.append(decimal: integer)
        sink.append("\r\n")
    }

    public static func append(bulk text: String, to sink: inout ByteSink) {
        append(header: "$", text.utf8.count, to: &sink)
        sink.append(text: text)
        sink.append("\r\n")
    }

    public static func append(bulk bytes: UnsafeRawBufferPointer, to sink: inout ByteSink) {
        append(header: "$", bytes.count, to: &sink)
        sink.append(bytes)
        sink.append("\r\n")
    }

    public static func append(simple text: StaticString, to sink: inout ByteSink) {
        sink.append("+")
        sink.append(text)
        sink.append("\r\n")
    }

    /// An error line. What would break the line (it may quote what a client sent) turns to spaces.
    public static func append(error token: String, _ detail: String, to sink: inout ByteSink) {
        sink.append("-")
        sink.append(text: token)
        sink.append(" ")
        for byte in detail.utf8 { sink.append(byte: byte < 0x20 || byte == 0x7f ? 0x20 : byte) }
        sink.append("\r\n")
    }
}

extension ErrorCode {
    /// How an error begins, after the dash.
    public var token: String {
        switch self {
        case .noRain: "NORAIN"
        case .noStock: "NOSTOCK"
        case .noOrder: "NOORDER"
        case .exists: "EXISTS"
        case .badArgument: "BADARG"
        case .mismatch: "MISMATCH"
        case .noPermission: "NOPERM"
        case .tryAgain: "TRYAGAIN"
        case .unknown: "UNKNOWN"
        case .throttled: "THROTTLED"
        case .full: "FULL"
        }
    }

    /// What is said where the core says nothing more.
    public var detail: String {
        switch self {
        case .noRain: "no such rain"
        case .noStock: "no such stock"
        case .noOrder: "no such order"
        case .exists: "it exists with other values"
        case .badArgument: "an argument is not valid"
        case .mismatch: "the same request id came with other values"
        case .noPermission: "not allowed"
        case .tryAgain: "nothing was applied, retry the same"
        case .unknown: "perhaps applied, retry with the same request id"
        case .throttled: "1000"
        case .full: "a limit of disk or memory was reached"
        }
    }
}

extension Outcome {
    /// The text that clients see.
    public var text: String {
        switch self {
        case .granted: "granted"
        case .repeat: "repeat"
        case .soldOut: "soldout"
        case .early: "early"
        case .closed: "closed"
        case .paused: "paused"
        case .limit: "limit"
        case .lost: "lost"
        case .reserved: "reserved"
        case .paid: "paid"
        case .late: "late"
        case .refund: "refund"
        case .cancelled: "cancelled"
        case .refunded: "refunded"
        }
    }
}
