public import EdgeTypes

/// Order ids as stores hold them: 13 digits of Crockford's base 32, lower case, most significant
/// first, so that the text sorts as the number does.
public enum OrderIDText {
    static let length = 13
    private static let digits = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)

    public static func text(_ order: OrderID) -> String {
        String(unsafeUninitializedCapacity: length) { buffer in
            var rest = order.rawValue
            for index in (0..<length).reversed() {
                buffer[index] = digits[Int(rest & 31)]
                rest >>= 5
            }
            return length
        }
    }

    /// - Returns: nil where it is not such a text.
    public static func parse(_ text: String) -> OrderID? {
        guard text.utf8.count == length else { return nil }
        var raw: UInt64 = 0
        for byte in text.utf8 {
            guard let value = digits.firstIndex(of: byte), raw >> 59 == 0 else { return nil }
            raw = (raw << 5) | UInt64(value)
        }
        return OrderID(rawValue: raw)
    }
}
