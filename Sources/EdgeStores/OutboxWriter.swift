import EdgeReconciler
import EdgeTypes
import GRDB

/// Events for other systems, in the transaction of what they tell of. An event's id comes from its
/// entry, so that the same entry never makes two.
final class OutboxWriter {
    enum Value {
        case text(Text64)
        case integer(Int64)
        case flag(Bool)
    }

    private let insert: HotStatement

    init(_ database: Database) throws(StoreError) {
        insert = try HotStatement(
            database,
            "INSERT INTO outbox (id, type, subject, time, data) VALUES (?1, ?2, ?3, ?4, ?5)")
    }

    func add(
        _ header: EntryHeader, type: String, subject: Text64, _ fields: [(String, Value)]
    ) throws(StoreError) {
        insert.bind(1, "\(header.shard)-\(header.sequence)")
        insert.bind(2, type)
        insert.bind(3, subject)
        insert.bind(4, header.timeMs)
        insert.bind(5, Self.json(fields))
        try insert.run()
    }

    static func json(_ fields: [(String, Value)]) -> String {
        var out = "{"
        for (key, value) in fields {
            if out.utf8.count > 1 { out += "," }
            out += "\"\(key)\":"
            switch value {
            case .text(let text): out += quoted(text.description)
            case .integer(let value): out += String(value)
            case .flag(let value): out += value ? "true" : "false"
            }
        }
        return out + "}"
    }

    private static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }
}
