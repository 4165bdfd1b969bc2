/// Text and decimal digits, written without a `String` in between.
extension ByteSink {
    public mutating func append(byte: UInt8) {
        extend(by: 1)[0] = byte
    }

    public mutating func append(_ text: StaticString) {
        // SAFETY: every literal passed here is a pointer to `utf8CodeUnitCount` constant bytes.
        append(
            UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    public mutating func append(text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    public mutating func append(decimal value: Int64) {
        if value < 0 { append(byte: UInt8(ascii: "-")) }
        append(decimal: value.magnitude)
    }

    /// Appends 1–20 digits.
    public mutating func append(decimal value: UInt64) {
        let region = extend(by: 20)
        let digits = Self.write(decimal: value, into: region)
        truncate(to: count - 20 + digits)
    }

    /// Writes the decimal digits of `value` at the start of `region` and says how many.
    ///
    /// - Precondition: `region` holds at least 20 bytes.
    @inlinable @inline(__always)
    public static func write(decimal value: UInt64, into region: UnsafeMutableRawBufferPointer)
        -> Int
    {
        precondition(region.count >= 20)
        let total = digits(of: value)
        var rest = value
        var index = total
        // SAFETY: `total` is at most 20 and `index` only falls from there to 0.
        let base = region.baseAddress.unsafelyUnwrapped
        while rest >= 100 {
            let next = rest / 100
            let pair = UInt16(truncatingIfNeeded: rest &- (next &* 100))
            rest = next
            index &-= 2
            let tens = (pair &* 205) >> 11
            let text = (0x3030 &+ tens) | ((pair &- (tens &* 10)) << 8)
            base.storeBytes(of: text.littleEndian, toByteOffset: index, as: UInt16.self)
        }
        if rest >= 10 {
            let pair = UInt16(truncatingIfNeeded: rest)
            let tens = (pair &* 205) >> 11
            let text = (0x3030 &+ tens) | ((pair &- (tens &* 10)) << 8)
            base.storeBytes(of: text.littleEndian, as: UInt16.self)
        } else {
            base.storeBytes(of: 0x30 &+ UInt8(truncatingIfNeeded: rest), as: UInt8.self)
        }
        return total
    }

    /// How many decimal digits `value` has (1–20).
    @inlinable @inline(__always)
    public static func digits(of value: UInt64) -> Int {
        if value < 10 { return 1 }
        var digits = 2
        var bound: UInt64 = 100
        while value >= bound {
            digits &+= 1
            let (next, overflow) = bound.multipliedReportingOverflow(by: 10)
            if overflow { return digits }
            bound = next
        }
        return digits
    }
}
