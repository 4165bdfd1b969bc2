public import EdgeTypes

/// The text form of an order: 13 digits of Crockford's base 32 (lower case, no i, l, o, u).
extension OrderID {
    public static let textBytes = 13

    public var text: String {
        String(unsafeUninitializedCapacity: Self.textBytes) { region in
            writeText(into: UnsafeMutableRawBufferPointer(region))
            return Self.textBytes
        }
    }

    /// Writes the 13 digits.
    ///
    /// - Precondition: `region` holds at least 13 bytes.
    public func writeText(into region: UnsafeMutableRawBufferPointer) {
        precondition(region.count >= Self.textBytes)
        var rest = rawValue
        var index = Self.textBytes
        while index > 0 {
            index -= 1
            let digit = UInt8(truncatingIfNeeded: rest & 31)
            region[index] = Self.letter(digit)
            rest >>= 5
        }
    }

    /// - Returns: nil where the bytes are not 13 such digits (either case), or no order's number.
    public init?(text bytes: UnsafeRawBufferPointer) {
        guard bytes.count == Self.textBytes else { return nil }
        var value: UInt64 = 0
        for byte in bytes {
            guard let digit = Self.digit(byte) else { return nil }
            guard value < (1 << 59) else { return nil }
            value = (value << 5) | UInt64(digit)
        }
        self.init(rawValue: value)
        guard isWellFormed else { return nil }
    }

    public init?(text: String) {
        var text = text
        let parsed = text.withUTF8 { OrderID(text: UnsafeRawBufferPointer($0)) }
        guard let parsed else { return nil }
        self = parsed
    }

    private static func letter(_ digit: UInt8) -> UInt8 {
        switch digit {
        case 0...9: 0x30 + digit
        case 10...17: 0x61 + digit - 10  // a–h
        case 18, 19: 0x6a + digit - 18  // j k
        case 20, 21: 0x6d + digit - 20  // m n
        case 22...26: 0x70 + digit - 22  // p–t
        default: 0x76 + digit - 27  // v–z
        }
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        let lower = (byte >= 0x41 && byte <= 0x5a) ? byte + 0x20 : byte
        switch lower {
        case 0x30...0x39: return lower - 0x30
        case 0x61...0x68: return lower - 0x61 + 10
        case 0x6a, 0x6b: return lower - 0x6a + 18
        case 0x6d, 0x6e: return lower - 0x6d + 20
        case 0x70...0x74: return lower - 0x70 + 22
        case 0x76...0x7a: return lower - 0x76 + 27
        default: return nil
        }
    }
}
