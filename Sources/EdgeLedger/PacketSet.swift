import EdgeTypes

/// A set of packet numbers that costs little where they come in runs, as slices grant them.
///
/// Numbers lie in pages of 4,096. A page that has filled up is a mark without storage, so a rain
/// granted in order from k slices holds about k pages of 512 bytes; the worst order of n packets
/// costs n / 8 bytes. Inserting is O(1).
public struct PacketSet: Hashable, Sendable {
    private static let pageBits: Int64 = 12
    private static let pageWords = 64
    private static let unset: Int32 = -1
    private static let full: Int32 = -2

    /// Where each page's words start in `words`, in pages; or `unset`, or `full`.
    private var pages: [Int32] = []
    private var filled: [UInt16] = []
    private var words: [UInt64] = []
    private var free: [Int32] = []
    public private(set) var count: Int64 = 0

    public init() {}

    public func contains(_ packet: Int64) -> Bool {
        let page = Int(packet >> Self.pageBits)
        guard packet >= 0, page < pages.count, pages[page] != Self.unset else { return false }
        if pages[page] == Self.full { return true }
        let bit = Int(packet & ((1 << Self.pageBits) - 1))
        return words[Int(pages[page]) * Self.pageWords + bit / 64] & (1 << UInt64(bit % 64)) != 0
    }

    /// - Precondition: `packet` in `0 ..< Limits.unitsPerPool`.
    /// - Returns: false where it was in the set already.
    public mutating func insert(_ packet: Int64) -> Bool {
        precondition(packet >= 0)
        precondition(packet < Limits.unitsPerPool)
        let page = Int(packet >> Self.pageBits)
        if page >= pages.count { addPages(upTo: page) }
        if pages[page] == Self.full { return false }
        if pages[page] == Self.unset { pages[page] = takePage() }
        let bit = Int(packet & ((1 << Self.pageBits) - 1))
        let index = Int(pages[page]) * Self.pageWords + bit / 64
        let mask: UInt64 = 1 << UInt64(bit % 64)
        guard words[index] & mask == 0 else { return false }
        words[index] |= mask
        count += 1
        filled[page] += 1
        if filled[page] == 1 << UInt16(Self.pageBits) { release(page) }
        return true
    }

    private mutating func addPages(upTo page: Int) {
        let more = page + 1 - pages.count
        pages.append(contentsOf: repeatElement(Self.unset, count: more))
        filled.append(contentsOf: repeatElement(0, count: more))
    }

    private mutating func takePage() -> Int32 {
        if let page = free.popLast() { return page }
        let page = Int32(words.count / Self.pageWords)
        words.append(contentsOf: repeatElement(0, count: Self.pageWords))
        return page
    }

    private mutating func release(_ page: Int) {
        let start = Int(pages[page]) * Self.pageWords
        for index in start..<start + Self.pageWords { words[index] = 0 }
        free.append(pages[page])
        pages[page] = Self.full
    }
}
