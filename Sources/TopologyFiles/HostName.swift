/// Names and addresses of hosts, by their form alone.
enum HostName {
    /// A DNS name (RFC 1123), an IPv4 address in four decimal parts, or an IPv6 address without
    /// brackets (RFC 4291) and without an IPv4 tail.
    static func isValid(_ text: String) -> Bool {
        if text.utf8.contains(UInt8(ascii: ":")) { return isIPv6(text) }
        let labels = text.split(separator: ".", omittingEmptySubsequences: false)
        guard text.utf8.count <= 253, labels.allSatisfy(isLabel) else { return false }
        // All digits in the last part: an address, or nothing.
        guard let last = labels.last, last.utf8.allSatisfy(isDigit) else { return true }
        return labels.count == 4 && labels.allSatisfy(isByte)
    }

    private static func isLabel(_ label: Substring) -> Bool {
        guard let first = label.utf8.first, let last = label.utf8.last else { return false }
        let dash = UInt8(ascii: "-")
        return label.utf8.count <= 63 && first != dash && last != dash
            && label.utf8.allSatisfy { isDigit($0) || isLetter($0) || $0 == dash }
    }

    private static func isByte(_ label: Substring) -> Bool {
        guard label.utf8.count <= 3, let number = Int(label), number <= 255 else { return false }
        return label.utf8.count == 1 || label.utf8.first != UInt8(ascii: "0")
    }

    private static func isIPv6(_ text: String) -> Bool {
        let groups = text.split(separator: ":", omittingEmptySubsequences: false)
        let isGroup = { (group: Substring) in
            (1...4).contains(group.utf8.count) && group.allSatisfy(\.isHexDigit)
                && group.utf8.allSatisfy { $0 < 0x80 }
        }
        guard let gap = text.firstRange(of: "::") else {
            return groups.count == 8 && groups.allSatisfy(isGroup)
        }
        let (front, back) = (text[..<gap.lowerBound], text[gap.upperBound...])
        guard !back.hasPrefix(":"), back.firstRange(of: "::") == nil else { return false }
        let parts = [front, back].filter { !$0.isEmpty }
            .flatMap { $0.split(separator: ":", omittingEmptySubsequences: false) }
        return parts.count <= 7 && parts.allSatisfy(isGroup)
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        let lower = byte | 0x20
        return lower >= UInt8(ascii: "a") && lower <= UInt8(ascii: "z")
    }
}
