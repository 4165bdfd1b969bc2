/// An answer as a client reads it off the wire: RESP2.
public indirect enum RESPAnswer: Sendable, Hashable {
    case simple(String)
    case error(String)
    case integer(Int64)
    case bulk(String)
    case null
    case array([RESPAnswer])

    /// Reads one whole answer; nil where the bytes are none, or more than one.
    public static func parse(_ bytes: [UInt8]) -> RESPAnswer? {
        var at = 0
        guard let answer = parse(bytes, &at), at == bytes.count else { return nil }
        return answer
    }

    private static func parse(_ bytes: [UInt8], _ at: inout Int) -> RESPAnswer? {
        guard at < bytes.count else { return nil }
        let kind = bytes[at]
        at += 1
        guard let line = line(bytes, &at) else { return nil }
        switch kind {
        case UInt8(ascii: "+"): return .simple(line)
        case UInt8(ascii: "-"): return .error(line)
        case UInt8(ascii: ":"): return Int64(line).map { .integer($0) }
        case UInt8(ascii: "$"):
            guard let count = Int(line) else { return nil }
            if count == -1 { return .null }
            guard count >= 0, at + count + 2 <= bytes.count else { return nil }
            let text = String(decoding: bytes[at..<(at + count)], as: UTF8.self)
            at += count + 2
            return .bulk(text)
        case UInt8(ascii: "*"):
            guard let count = Int(line) else { return nil }
            if count == -1 { return .null }
            var items: [RESPAnswer] = []
            for _ in 0..<count {
                guard let item = parse(bytes, &at) else { return nil }
                items.append(item)
            }
            return .array(items)
        default: return nil
        }
    }

    private static func line(_ bytes: [UInt8], _ at: inout Int) -> String? {
        var end = at
        while end + 1 < bytes.count, bytes[end] != 0x0d { end += 1 }
        guard end + 1 < bytes.count, bytes[end + 1] == 0x0a else { return nil }
        let text = String(decoding: bytes[at..<end], as: UTF8.self)
        at = end + 2
        return text
    }

    /// The first word of an error: its code.
    public var errorCode: String? {
        guard case .error(let text) = self else { return nil }
        return text.split(separator: " ").first.map(String.init) ?? ""
    }

    public var integer: Int64? {
        if case .integer(let value) = self { return value }
        return nil
    }

    public var text: String? {
        switch self {
        case .bulk(let text), .simple(let text): text
        case .error, .integer, .null, .array: nil
        }
    }

    public var items: [RESPAnswer] {
        if case .array(let items) = self { return items }
        return []
    }

    /// A value of a map, which RESP2 writes as a flat array.
    public subscript(_ key: String) -> RESPAnswer? {
        let items = items
        var index = 0
        while index + 1 < items.count {
            if items[index].text == key { return items[index + 1] }
            index += 2
        }
        return nil
    }
}

extension RESPAnswer: CustomStringConvertible {
    public var description: String {
        switch self {
        case .simple(let text): text
        case .error(let text): "-\(text)"
        case .integer(let value): "\(value)"
        case .bulk(let text): text
        case .null: "null"
        case .array(let items): "[" + items.map(\.description).joined(separator: " ") + "]"
        }
    }
}

/// Commands as a client writes them.
enum RESPCommandText {
    static func encode(_ words: [String]) -> [UInt8] {
        var bytes = Array("*\(words.count)\r\n".utf8)
        for word in words {
            bytes += Array("$\(word.utf8.count)\r\n\(word)\r\n".utf8)
        }
        return bytes
    }
}
