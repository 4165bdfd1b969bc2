import EdgeMemory
import EdgeTypes

/// Writes JSON into a byte sink.
enum JSONWriter {
    static func append(text: String, to sink: inout ByteSink) {
        sink.append("\"")
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""): sink.append("\\\"")
            case UInt8(ascii: "\\"): sink.append("\\\\")
            case 0x0a: sink.append("\\n")
            case 0..<0x20:
                sink.append("\\u00")
                sink.append(byte: hex(byte >> 4))
                sink.append(byte: hex(byte & 15))
            default: sink.append(byte: byte)
            }
        }
        sink.append("\"")
    }

    private static func hex(_ digit: UInt8) -> UInt8 { digit < 10 ? 0x30 + digit : 0x57 + digit }

    /// A core's value. Keys of maps are turned into those of the HTTP interface.
    static func append(_ value: Value, to sink: inout ByteSink) {
        switch value {
        case .null: sink.append("null")
        case .integer(let number): sink.append(decimal: number)
        case .text(let text): append(text: text, to: &sink)
        case .array(let items):
            sink.append("[")
            for (index, item) in items.enumerated() {
                if index > 0 { sink.append(",") }
                append(item, to: &sink)
            }
            sink.append("]")
        case .map(let fields):
            sink.append("{")
            append(fields: fields, to: &sink)
            sink.append("}")
        }
    }

    /// The fields of a map, without its braces.
    static func append(fields: [Value.Field], to sink: inout ByteSink) {
        for (index, field) in fields.enumerated() {
            if index > 0 { sink.append(",") }
            append(text: key(field.key), to: &sink)
            sink.append(":")
            switch (field.key, field.value) {
            case ("user", .integer(let user)):
                // Beyond 2^53 a browser's numbers are not exact.
                append(text: String(UInt64(bitPattern: user)), to: &sink)
            case ("opens", .integer(0)), ("closes", .integer(0)): sink.append("null")
            default: append(field.value, to: &sink)
            }
        }
    }

    /// `opens` → `opensAt`, `granted_fen` → `grantedFen`.
    private static func key(_ key: String) -> String {
        switch key {
        case "opens": return "opensAt"
        case "closes": return "closesAt"
        case "expires": return "expiresAt"
        default:
            guard key.utf8.contains(UInt8(ascii: "_")) else { return key }
            let words = key.split(separator: "_")
            let rest = words.dropFirst().map { $0.prefix(1).uppercased() + $0.dropFirst() }
            return words.prefix(1).joined() + rest.joined()
        }
    }

    /// An array of arrays as an array of objects with these keys.
    static func append(rows: Value, keys: [String], to sink: inout ByteSink) {
        guard case .array(let rows) = rows else { return sink.append("[]") }
        sink.append("[")
        for (index, row) in rows.enumerated() {
            if index > 0 { sink.append(",") }
            guard case .array(let items) = row else {
                append(row, to: &sink)
                continue
            }
            sink.append("{")
            for (column, (key, item)) in zip(keys, items).enumerated() {
                if column > 0 { sink.append(",") }
                append(text: key, to: &sink)
                sink.append(":")
                append(item, to: &sink)
            }
            sink.append("}")
        }
        sink.append("]")
    }
}
