/// A strict reader of one JSON object (RFC 8259) whose top level is wanted and nothing else.
///
/// Nested values are checked and skipped. Bounded by the input's length and `depth`.
enum JSONReader {
    enum Scalar: Hashable {
        case text(String)
        /// As it was written.
        case number(String)
        case bool(Bool)
        case null
        case nested
    }

    static let depth = 16

    /// - Returns: the fields in order; nil where the bytes are not exactly one valid object, or a
    ///   key comes twice (readers disagree on which one counts).
    static func object(_ bytes: UnsafeRawBufferPointer) -> [(key: String, value: Scalar)]? {
        var reader = Cursor(bytes: bytes)
        guard let fields = reader.fields(depth: 0, keeps: true) else { return nil }
        reader.skipSpace()
        return reader.at == bytes.count ? fields : nil
    }

    private struct Cursor {
        let bytes: UnsafeRawBufferPointer
        var at = 0

        var next: UInt8? { at < bytes.count ? bytes[at] : nil }

        mutating func skipSpace() {
            while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d {
                at += 1
            }
        }

        mutating func take(_ byte: UInt8) -> Bool {
            skipSpace()
            guard next == byte else { return false }
            at += 1
            return true
        }

        mutating func fields(depth: Int, keeps: Bool) -> [(key: String, value: Scalar)]? {
            guard depth < JSONReader.depth, take(UInt8(ascii: "{")) else { return nil }
            var fields: [(key: String, value: Scalar)] = []
            if take(UInt8(ascii: "}")) { return fields }
            repeat {
                skipSpace()
                guard let key = string(), take(UInt8(ascii: ":")),
                    let value = value(depth: depth + 1)
                else { return nil }
                guard keeps else { continue }
                guard fields.count < 64, !fields.contains(where: { $0.key == key }) else {
                    return nil
                }
                fields.append((key, value))
            } while take(UInt8(ascii: ","))
            return take(UInt8(ascii: "}")) ? fields : nil
        }

        mutating func value(depth: Int) -> Scalar? {
            skipSpace()
            switch next {
            case UInt8(ascii: "\""): return string().map { .text($0) }
            case UInt8(ascii: "{"):
                return fields(depth: depth, keeps: false) == nil ? nil : .nested
            case UInt8(ascii: "["): return array(depth: depth) ? .nested : nil
            case UInt8(ascii: "t"): return word("true") ? .bool(true) : nil
            case UInt8(ascii: "f"): return word("false") ? .bool(false) : nil
            case UInt8(ascii: "n"): return word("null") ? .null : nil
            default: return number().map { .number($0) }
            }
        }

        mutating func array(depth: Int) -> Bool {
            guard depth < JSONReader.depth, take(UInt8(ascii: "[")) else { return false }
            if take(UInt8(ascii: "]")) { return true }
            repeat {
                guard value(depth: depth + 1) != nil else { return false }
            } while take(UInt8(ascii: ","))
            return take(UInt8(ascii: "]"))
        }

        mutating func word(_ text: String) -> Bool {
            for byte in text.utf8 {
                guard next == byte else { return false }
                at += 1
            }
            return true
        }

        mutating func digits() -> Int {
            let first = at
            while let byte = next, byte >= 0x30, byte <= 0x39 { at += 1 }
            return at - first
        }

        mutating func number() -> String? {
            let first = at
            if next == UInt8(ascii: "-") { at += 1 }
            let leading = next
            let whole = digits()
            guard whole == 1 || (whole > 1 && leading != 0x30) else { return nil }
            if next == UInt8(ascii: ".") {
                at += 1
                guard digits() > 0 else { return nil }
            }
            if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
                at += 1
                if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { at += 1 }
                guard digits() > 0 else { return nil }
            }
            return String(decoding: bytes[first..<at], as: UTF8.self)
        }

        mutating func string() -> String? {
            guard next == UInt8(ascii: "\"") else { return nil }
            at += 1
            var text: [UInt8] = []
            while let byte = next {
                at += 1
                switch byte {
                case UInt8(ascii: "\""): return String(validating: text, as: UTF8.self)
                case UInt8(ascii: "\\"): guard escape(into: &text) else { return nil }
                case 0..<0x20: return nil
                default: text.append(byte)
                }
            }
            return nil
        }

        private mutating func escape(into text: inout [UInt8]) -> Bool {
            guard let byte = next else { return false }
            at += 1
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
            case UInt8(ascii: "b"): text.append(0x08)
            case UInt8(ascii: "f"): text.append(0x0c)
            case UInt8(ascii: "n"): text.append(0x0a)
            case UInt8(ascii: "r"): text.append(0x0d)
            case UInt8(ascii: "t"): text.append(0x09)
            case UInt8(ascii: "u"): return unicode(into: &text)
            default: return false
            }
            return true
        }

        private mutating func unicode(into text: inout [UInt8]) -> Bool {
            guard var value = hex4() else { return false }
            if value >= 0xd800, value < 0xdc00 {
                guard word("\\u"), let low = hex4(), low >= 0xdc00, low < 0xe000 else {
                    return false
                }
                value = 0x1_0000 + ((value - 0xd800) << 10) + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(value) else { return false }
            text.append(contentsOf: Array(String(Character(scalar)).utf8))
            return true
        }

        private mutating func hex4() -> UInt32? {
            guard at + 4 <= bytes.count else { return nil }
            var value: UInt32 = 0
            for _ in 0..<4 {
                let byte = bytes[at]
                at += 1
                switch byte {
                case 0x30...0x39: value = (value << 4) | UInt32(byte - 0x30)
                case 0x41...0x46: value = (value << 4) | UInt32(byte - 0x41 + 10)
                case 0x61...0x66: value = (value << 4) | UInt32(byte - 0x61 + 10)
                default: return nil
                }
            }
            return value
        }
    }
}
