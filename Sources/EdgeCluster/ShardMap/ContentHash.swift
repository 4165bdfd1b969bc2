import EdgeMemory

/// 128 bits that tell one content from another: the same on every machine, for comparing, not
/// against forgery.
public struct ContentHash: Sendable, Hashable, CustomStringConvertible {
    public private(set) var high: UInt64
    public private(set) var low: UInt64

    /// - Parameter kind: keeps contents of different kinds apart.
    init(kind: UInt64) {
        high = Hash64.keyed(kind, salt: 0x6d61_705f_6869_6768)
        low = Hash64.keyed(kind, salt: 0x6d61_705f_5f6c_6f77)
    }

    mutating func combine(_ word: UInt64) {
        high = Hash64.keyed(word, salt: high)
        low = Hash64.keyed(word, salt: low)
    }

    mutating func combine(_ number: Int) { combine(UInt64(bitPattern: Int64(number))) }

    /// Its length goes first, so that neighbouring texts cannot trade letters.
    mutating func combine(_ text: String) {
        combine(text.utf8.count)
        var word: UInt64 = 0
        var shift: UInt64 = 0
        for byte in text.utf8 {
            word |= UInt64(byte) << shift
            shift += 8
            if shift == 64 {
                combine(word)
                word = 0
                shift = 0
            }
        }
        if shift > 0 { combine(word) }
    }

    mutating func combine(_ hash: ContentHash) {
        combine(hash.high)
        combine(hash.low)
    }

    /// 32 hexadecimal digits.
    public var description: String { Self.hex(high) + Self.hex(low) }

    private static func hex(_ word: UInt64) -> String {
        let digits = String(word, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

extension Topology {
    /// Covers everything that placement depends on.
    ///
    /// - Complexity: O(nodes).
    public var hash: ContentHash {
        var hash = ContentHash(kind: 1)
        hash.combine(cluster)
        hash.combine(shards)
        hash.combine(replicas)
        hash.combine(arbiter.rawValue)
        hash.combine(regions.count)
        for region in regions {
            hash.combine(region.name)
            hash.combine(region.weightMilli)
            hash.combine(region.nodes.count)
            for node in region.nodes {
                hash.combine(node.name)
                hash.combine(node.zone)
                hash.combine(node.weightMilli)
            }
        }
        return hash
    }
}
