/// Decimal numbers in arguments. Digits are counted before they are multiplied: no input traps.
public enum RESPNumber {
    /// An unsigned number, leading zeros allowed.
    ///
    /// - Returns: nil where a byte is no digit, nothing is there, or it exceeds 64 bits.
    @inlinable
    public static func unsigned(_ bytes: RawSpan, _ range: Range<Int>) -> UInt64? {
        var at = range.lowerBound
        let end = range.upperBound
        guard at < end else { return nil }
        while at < end - 1, bytes.byte(at) == 0x30 { at &+= 1 }
        guard end &- at <= 20 else { return nil }
        let safe = min(end, at &+ 19)
        var value: UInt64 = 0
        while at < safe {
            let digit = bytes.byte(at) &- 0x30
            guard digit <= 9 else { return nil }
            value = value &* 10 &+ UInt64(digit)
            at &+= 1
        }
        guard at < end else { return value }
        let digit = bytes.byte(at) &- 0x30
        guard digit <= 9 else { return nil }
        let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
        guard !overflow else { return nil }
        let (sum, carry) = tens.addingReportingOverflow(UInt64(digit))
        return carry ? nil : sum
    }

    /// A signed number, leading zeros allowed.
    public static func signed(_ bytes: RawSpan, _ range: Range<Int>) -> Int64? {
        guard let first = range.first else { return nil }
        let negative = bytes.byte(first) == UInt8(ascii: "-")
        let digits = negative ? (first + 1)..<range.upperBound : range
        guard let magnitude = unsigned(bytes, digits) else { return nil }
        if negative {
            return magnitude <= 1 << 63 ? Int64(truncatingIfNeeded: 0 &- magnitude) : nil
        }
        return Int64(exactly: magnitude)
    }
}
