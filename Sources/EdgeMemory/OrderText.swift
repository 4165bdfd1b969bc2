public import EdgeTypes

/// The text form of order ids: 13 digits of Crockford's base 32, most significant first. Written
/// in lower case; either case is read. The letters that Crockford lets stand for digits (I, L, O)
/// are refused: one order has one text.
extension OrderID {
    /// Length of the text, in bytes.
    public static let textBytes = 13

    /// The digit whose value is `value`: digits and letters without i, l, o, u.
    @inlinable
    static func digit(_ value: UInt8) -> UInt8 {
        if value < 10 { return 0x30 + value }
        var letter = 0x61 + (value - 10)
        if letter >= 0x69 { letter += 1 }
        if letter >= 0x6c { letter += 1 }
        if letter >= 0x6f { letter += 1 }
        if letter >= 0x75 { letter += 1 }
        return letter
    }

    /// A digit's value; 255 where it is none.
    @inlinable
    static func value(_ digit: UInt8) -> UInt8 {
        if digit >= 0x30 && digit <= 0x39 { return digit - 0x30 }
        let letter = digit | 0x20
        guard digit >= 0x41, letter >= 0x61, letter <= 0x7a else { return 255 }
        if letter == 0x69 || letter == 0x6c || letter == 0x6f || letter == 0x75 { return 255 }
        var value = letter - 0x61 + 10
        if letter > 0x69 { value -= 1 }
        if letter > 0x6c { value -= 1 }
        if letter > 0x6f { value -= 1 }
        if letter > 0x75 { value -= 1 }
        return value
    }

    /// Writes the text to the first 13 bytes of `region`. Allocates nothing.
    ///
    /// - Precondition: `region` holds at least 13 bytes.
    @inlinable
    public func write(into region: UnsafeMutableRawBufferPointer) {
        precondition(region.count >= Self.textBytes)
        var rest = rawValue
        var index = Self.textBytes - 1
        while index >= 0 {
            region[index] = Self.digit(UInt8(truncatingIfNeeded: rest & 31))
            rest >>= 5
            index -= 1
        }
    }

    /// Appends the text's 13 bytes.
    public func append(to sink: inout ByteSink) {
        write(into: sink.extend(by: Self.textBytes))
    }

    /// The text as a string.
    public var text: String {
        String(unsafeUninitializedCapacity: Self.textBytes) { buffer in
            write(into: UnsafeMutableRawBufferPointer(buffer))
            return Self.textBytes
        }
    }

    /// Reads a text. Allocates nothing.
    ///
    /// - Returns: nil where it is not the text of a well-formed order id.
    @inlinable
    public init?(text bytes: UnsafeRawBufferPointer) {
        guard bytes.count == Self.textBytes else { return nil }
        // 13 digits hold 65 bits; the first may only bring 4.
        guard Self.value(bytes[0]) < 16 else { return nil }
        var raw: UInt64 = 0
        for byte in bytes {
            let value = Self.value(byte)
            guard value < 32 else { return nil }
            raw = (raw << 5) | UInt64(value)
        }
        self.init(rawValue: raw)
        guard isWellFormed else { return nil }
    }

    /// Reads a text.
    ///
    /// - Returns: nil where it is not the text of a well-formed order id.
    public init?(text: String) {
        var text = text
        let parsed = text.withUTF8 { OrderID(text: UnsafeRawBufferPointer($0)) }
        guard let parsed else { return nil }
        self = parsed
    }
}
