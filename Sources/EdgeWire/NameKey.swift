/// A name of at most 16 bytes with its ASCII letters in lower case, in two words: commands and
/// keywords are compared without regard to case and without a `String`.
public struct NameKey: Hashable, Comparable, Sendable {
    public var low: UInt64
    public var high: UInt64

    /// - Returns: nil where the range is empty or longer than 16 bytes, or holds a zero byte.
    public init?(_ bytes: RawSpan, _ range: Range<Int>) {
        guard !range.isEmpty, range.count <= 16 else { return nil }
        var low: UInt64 = 0
        var high: UInt64 = 0
        var shift: UInt64 = 0
        for index in range {
            var byte = bytes.byte(index)
            guard byte != 0 else { return nil }
            if byte >= 0x41 && byte <= 0x5a { byte |= 0x20 }
            if shift < 64 {
                low |= UInt64(byte) << shift
            } else {
                high |= UInt64(byte) << (shift - 64)
            }
            shift += 8
        }
        self.low = low
        self.high = high
    }

    /// - Precondition: 1–16 bytes, none of them zero.
    public init(_ text: String) {
        let bytes = Array(text.utf8)
        guard let key = NameKey(bytes.span.bytes, 0..<bytes.count) else {
            preconditionFailure("not a name: \(text)")
        }
        self = key
    }

    public static func < (a: NameKey, b: NameKey) -> Bool {
        a.low != b.low ? a.low < b.low : a.high < b.high
    }
}

/// Finds the value of a name in O(log n), allocating nothing.
public struct NameTable<Value: Sendable>: Sendable {
    private let keys: [NameKey]
    private let values: [Value]

    public init(_ entries: [(String, Value)]) {
        let sorted = entries.map { (NameKey($0.0), $0.1) }.sorted { $0.0 < $1.0 }
        keys = sorted.map(\.0)
        values = sorted.map(\.1)
        for index in keys.indices.dropFirst() { precondition(keys[index - 1] != keys[index]) }
    }

    public subscript(_ bytes: RawSpan, _ range: Range<Int>) -> Value? {
        guard let key = NameKey(bytes, range) else { return nil }
        return self[key]
    }

    public subscript(_ key: NameKey) -> Value? {
        var low = 0
        var high = keys.count
        while low < high {
            let middle = (low + high) / 2
            if keys[middle] < key { low = middle + 1 } else { high = middle }
        }
        return low < keys.count && keys[low] == key ? values[low] : nil
    }
}
