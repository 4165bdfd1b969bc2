import EdgeMemory
import EdgeTypes

/// Values of answers ↔ bytes: a byte that says what follows, then a number (8 bytes), a text (its
/// length in 4 bytes) or members (their count in 4; a map's each behind its key).
enum BusValue {
    private enum Tag: UInt8 {
        case null = 0
        case integer
        case text
        case array
        case map
    }

    /// Appends a value.
    ///
    /// - Parameter end: how long the sink may become.
    /// - Returns: false where it does not fit, or is deeper or has more parts than `BusLimits`
    ///   allow. What was written by then is the caller's to take back.
    static func write(_ value: Value, endingAt end: Int, into sink: inout ByteSink) -> Bool {
        var left = BusLimits.values
        return write(value, depth: 1, &left, end, &sink)
    }

    private static func write(
        _ value: Value, depth: Int, _ left: inout Int, _ end: Int, _ sink: inout ByteSink
    ) -> Bool {
        guard left > 0, depth <= BusLimits.valueDepth, end - sink.count >= 9 else { return false }
        left -= 1
        switch value {
        case .null: sink.append(byte: Tag.null.rawValue)
        case .integer(let number):
            sink.append(byte: Tag.integer.rawValue)
            sink.append(integer: number)
        case .text(let text):
            sink.append(byte: Tag.text.rawValue)
            return write(text, end, &sink)
        case .array(let members):
            guard members.count <= left else { return false }
            sink.append(byte: Tag.array.rawValue)
            sink.append(integer: UInt32(members.count))
            for member in members {
                guard write(member, depth: depth + 1, &left, end, &sink) else { return false }
            }
        case .map(let fields):
            guard fields.count <= left else { return false }
            sink.append(byte: Tag.map.rawValue)
            sink.append(integer: UInt32(fields.count))
            for field in fields {
                guard write(field.key, end, &sink),
                    write(field.value, depth: depth + 1, &left, end, &sink)
                else { return false }
            }
        }
        return true
    }

    private static func write(_ text: String, _ end: Int, _ sink: inout ByteSink) -> Bool {
        let size = text.utf8.count
        guard size <= end - sink.count - 4 else { return false }
        sink.append(integer: UInt32(size))
        sink.append(text: text)
        return true
    }

    /// Reads a value and the padding that ends it; nil where the bytes are no such thing.
    static func read(_ bytes: UnsafeRawBufferPointer) -> Value? {
        var reader = Reader(bytes)
        guard let value = reader.value(depth: 1), reader.isPadding else { return nil }
        return value
    }

    private struct Reader {
        private let bytes: UnsafeRawBufferPointer
        private var offset = 0
        private var left = BusLimits.values

        init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

        private var rest: Int { bytes.count - offset }

        /// Whether nothing but zeros is left, fewer than eight.
        var isPadding: Bool { rest < 8 && bytes[offset...].allSatisfy { $0 == 0 } }

        mutating func value(depth: Int) -> Value? {
            guard left > 0, depth <= BusLimits.valueDepth, rest >= 1 else { return nil }
            left -= 1
            let tag = Tag(rawValue: bytes[offset])
            offset += 1
            switch tag {
            case .null: return .null
            case .integer:
                guard rest >= 8 else { return nil }
                defer { offset += 8 }
                return .integer(
                    Int64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int64.self))
                )
            case .text: return text().map { .text($0) }
            case .array:
                guard let count = count() else { return nil }
                var members: [Value] = []
                members.reserveCapacity(count)
                for _ in 0..<count {
                    guard let member = value(depth: depth + 1) else { return nil }
                    members.append(member)
                }
                return .array(members)
            case .map:
                guard let count = count() else { return nil }
                var fields: [Value.Field] = []
                fields.reserveCapacity(count)
                for _ in 0..<count {
                    guard let key = text(), let member = value(depth: depth + 1) else {
                        return nil
                    }
                    fields.append(Value.Field(key, member))
                }
                return .map(fields)
            case nil: return nil
            }
        }

        private mutating func number() -> Int? {
            guard rest >= 4 else { return nil }
            defer { offset += 4 }
            return Int(
                UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
        }

        /// A count of members that can be true: each takes a byte, and none is beyond the limit.
        private mutating func count() -> Int? {
            guard let count = number(), count <= rest, count <= left else { return nil }
            return count
        }

        private mutating func text() -> String? {
            guard let size = number(), size <= rest else { return nil }
            defer { offset += size }
            return String(validating: bytes[offset..<(offset + size)], as: UTF8.self)
        }
    }
}
