/// What Redis answers.
package enum RedisValue: Hashable, Sendable {
    case null
    case integer(Int64)
    case text(String)
    case error(String)
    case array([RedisValue])

    /// A text, or an integer as one.
    package var text: String? {
        switch self {
        case .text(let text): text
        case .integer(let value): String(value)
        case .null, .error, .array: nil
        }
    }

    /// An integer, or a text that is one.
    package var integer: Int64? {
        switch self {
        case .integer(let value): value
        case .text(let text): Int64(text)
        case .null, .error, .array: nil
        }
    }

    /// Empty where it is no array.
    package var array: [RedisValue] {
        if case .array(let values) = self { return values }
        return []
    }

    /// Names and values in turns.
    package var pairs: [String: RedisValue] {
        let values = array
        var found: [String: RedisValue] = [:]
        for index in stride(from: 0, to: values.count - 1, by: 2) {
            if let name = values[index].text { found[name] = values[index + 1] }
        }
        return found
    }
}

/// A command and its arguments, any bytes.
package struct RedisCommand: Sendable {
    package private(set) var bytes: [UInt8] = []
    /// Where each word ends in `bytes`.
    package private(set) var ends: [Int] = []

    package init(_ words: String...) { for word in words { append(word) } }

    package mutating func append(_ word: String) {
        bytes.append(contentsOf: word.utf8)
        ends.append(bytes.count)
    }

    package mutating func append(_ value: some BinaryInteger) { append(String(value)) }

    package mutating func append(contentsOf other: RedisCommand) {
        let start = bytes.count
        bytes.append(contentsOf: other.bytes)
        ends.append(contentsOf: other.ends.lazy.map { $0 + start })
    }

    /// Words so far.
    package var count: Int { ends.count }
    package var sizeBytes: Int { bytes.count }

    /// O(bytes).
    package var words: [String] {
        var start = 0
        return ends.map { end in
            defer { start = end }
            return String(decoding: bytes[start..<end], as: UTF8.self)
        }
    }
}
