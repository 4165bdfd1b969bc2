/// Values with their units. Everything is exact: digits are never rounded.
extension StrictValue {
    /// Nanoseconds: `250us`, `350ms`, `1.5s`, `2m`, `1h`, `90ns`.
    public func durationNs() throws(StrictYAMLError) -> UInt64 {
        let units: [(String, UInt64)] = [
            ("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000),
            ("m", 60_000_000_000), ("h", 3_600_000_000_000),
        ]
        let need = "a duration is needed, such as 350ms or 2s (ns, us, ms, s, m, h)"
        return try scaled(by: units, plain: nil, need)
    }

    /// A number of things: `500`, `60k`, `10M`, `1G`.
    public func count(
        in range: ClosedRange<UInt64> = 0...UInt64(Int64.max)
    ) throws(StrictYAMLError) -> UInt64 {
        let units: [(String, UInt64)] = [("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)]
        let count = try scaled(by: units, plain: 1, "a count is needed, such as 500, 60k or 10M")
        guard range.contains(count) else {
            throw error("must be \(range.lowerBound) to \(range.upperBound)")
        }
        return count
    }

    public func count(in range: ClosedRange<Int>) throws(StrictYAMLError) -> Int {
        precondition(range.lowerBound >= 0)
        return Int(try count(in: UInt64(range.lowerBound)...UInt64(range.upperBound)))
    }

    /// Fen: `200000000.00 CNY`. Two decimals or none.
    public func fen() throws(StrictYAMLError) -> Int64 {
        let need = "an amount is needed, such as 200000000.00 CNY"
        let parts = try text().split(separator: " ", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[1] == "CNY", let number = ExactDecimal(parts[0]),
            number.places == 0 || number.places == 2, let fen = number.whole(times: 100),
            fen <= UInt64(Int64.max)
        else { throw error(need) }
        return Int64(fen)
    }

    /// A part of 1: `0.2%`, or plain `0.002`.
    public func ratio(in range: ClosedRange<Double> = 0...1) throws(StrictYAMLError) -> Double {
        let text = try text()
        let isPercent = text.hasSuffix("%")
        guard let number = ExactDecimal(isPercent ? text.dropLast() : text[...]) else {
            throw error("a ratio is needed, such as 0.2% or 0.002")
        }
        let ratio = isPercent ? number.value / 100 : number.value
        guard range.contains(ratio) else {
            throw error("must be \(range.lowerBound) to \(range.upperBound)")
        }
        return ratio
    }

    /// A plain number, where there is no unit to it.
    public func number(in range: ClosedRange<Double>) throws(StrictYAMLError) -> Double {
        guard let number = ExactDecimal(try text()[...]) else { throw error("a number is needed") }
        guard range.contains(number.value) else {
            throw error("must be \(range.lowerBound) to \(range.upperBound)")
        }
        return number.value
    }

    public func bool() throws(StrictYAMLError) -> Bool {
        switch try text() {
        case "true": return true
        case "false": return false
        default: throw error("true or false is needed")
        }
    }

    /// 1 to 64 of `A-Z a-z 0-9 . _ : -`.
    public func word() throws(StrictYAMLError) -> String {
        let text = try text()
        let isWord = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: ":"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        guard isWord, !text.isEmpty, text.utf8.count <= 64 else {
            throw error("a word is needed: 1 to 64 of A-Z a-z 0-9 . _ : -")
        }
        return text
    }

    /// A list of words.
    public func words() throws(StrictYAMLError) -> [String] {
        try list { (value) throws(StrictYAMLError) in try value.word() }
    }

    /// One of an enumeration's raw values.
    public func choice<Choice>(
        _ type: Choice.Type = Choice.self
    ) throws(StrictYAMLError) -> Choice
    where Choice: RawRepresentable & CaseIterable, Choice.RawValue == String {
        guard let choice = Choice(rawValue: try text()) else {
            let all = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw error("must be one of \(all)")
        }
        return choice
    }

    private func scaled(
        by units: [(name: String, factor: UInt64)], plain: UInt64?, _ need: String
    ) throws(StrictYAMLError) -> UInt64 {
        let text = try text()
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        let unit = text.dropFirst(digits.count)
        let factor = unit.isEmpty ? plain : units.first { $0.name == unit }?.factor
        guard let factor, let number = ExactDecimal(digits) else { throw error(need) }
        guard let whole = number.whole(times: factor) else {
            throw error("\(text) is not a whole number of the smallest unit, or too large")
        }
        return whole
    }
}

/// A decimal number as it is written: up to 18 digits, no sign, no exponent.
package struct ExactDecimal: Hashable, Sendable {
    package let digits: UInt64
    /// Digits behind the point.
    package let places: Int

    package init?(_ text: Substring) {
        var digits: UInt64 = 0
        var count = 0
        var point: Int?
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                count += 1
                guard count <= 18 else { return nil }
                digits = digits * 10 + UInt64(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "."):
                guard point == nil, count > 0 else { return nil }
                point = count
            default: return nil
            }
        }
        guard count > 0, point != count else { return nil }
        self.digits = digits
        places = point.map { count - $0 } ?? 0
    }

    /// The product, where it is a whole number below 2^63.
    package func whole(times factor: UInt64) -> UInt64? {
        let product = digits.multipliedReportingOverflow(by: factor)
        guard !product.overflow else { return nil }
        let (quotient, remainder) = product.partialValue.quotientAndRemainder(
            dividingBy: Self.power(places))
        return remainder == 0 && quotient <= UInt64(Int64.max) ? quotient : nil
    }

    /// The nearest double: both are exact below 2^53, so one division rounds once.
    package var value: Double { Double(digits) / Double(Self.power(places)) }

    private static func power(_ exponent: Int) -> UInt64 {
        precondition(exponent >= 0 && exponent <= 18)
        return (0..<exponent).reduce(1) { power, _ in power * 10 }
    }
}
