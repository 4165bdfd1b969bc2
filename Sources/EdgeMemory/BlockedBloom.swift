/// A set that may say yes of what is not in it, and never no of what is: a Bloom filter whose bits
/// for one key lie in one block of 64 bytes, so that a look-up costs one line of memory.
///
/// With 48 keys for each block (10.7 bits a key) and seven bits a key it says yes of 0.7 % of what
/// is not in it. The same keys make the same words on every machine.
///
/// Source: Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007.
/// Complexity: O(1) for a key, O(capacity) to make.
public struct BlockedBloom: Hashable, Sendable {
    /// Whole blocks, each of `blockWords` words.
    public private(set) var words: [UInt64]

    public static let blockWords = 8
    /// Keys for which a block has room at the rate that is promised.
    public static let keysPerBlock = 48
    private static let probes = 7

    /// An empty set with room for so many keys.
    public init(capacity: Int) {
        precondition(capacity >= 0)
        let blocks = max(1, (capacity + Self.keysPerBlock - 1) / Self.keysPerBlock)
        words = Array(repeating: 0, count: blocks * Self.blockWords)
    }

    /// A set that came from elsewhere; nil where the words are not whole blocks.
    public init?(words: [UInt64]) {
        guard !words.isEmpty, words.count % Self.blockWords == 0 else { return nil }
        self.words = words
    }

    public var sizeBytes: Int { words.count * 8 }

    /// Bytes of a set with room for so many keys.
    public static func sizeBytes(capacity: Int) -> Int {
        max(1, (capacity + keysPerBlock - 1) / keysPerBlock) * blockWords * 8
    }

    /// Adds a key by its hash, all of whose bits must be good.
    public mutating func insert(_ hash: UInt64) {
        let block = self.block(hash)
        var bits = Hash64.mix(hash, Self.salt)
        for _ in 0..<Self.probes {
            words[block + Int((bits >> 6) & 7)] |= 1 << (bits & 63)
            bits >>= 9
        }
    }

    /// Whether a key may be in it; false: it is not.
    public func contains(_ hash: UInt64) -> Bool {
        let block = self.block(hash)
        var bits = Hash64.mix(hash, Self.salt)
        for _ in 0..<Self.probes {
            if words[block + Int((bits >> 6) & 7)] & (1 << (bits & 63)) == 0 { return false }
            bits >>= 9
        }
        return true
    }

    // The block follows from the high bits of the hash, the bits in it from a hash of that.
    private static let salt: UInt64 = 0x626c_6f6f_6d00_0001

    private func block(_ hash: UInt64) -> Int {
        let count = UInt64(words.count / Self.blockWords)
        return Int(Hash64.reduce(hash, below: count)) * Self.blockWords
    }
}
