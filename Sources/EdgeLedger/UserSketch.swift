import EdgeMemory
public import EdgeTypes

/// Counts claims per (pool, user) in a fixed number of bytes, never too low (a count-min sketch,
/// Cormode and Muthukrishnan 2005, with two rows).
///
/// An audit counts exactly only those users that it cannot clear: with a claim in eight cells,
/// about one in seventy.
public struct UserSketch: Sendable {
    private var cells: [UInt8]
    private let half: UInt64

    /// - Parameter claims: how many are expected: it takes sixteen cells for each.
    /// - Parameter mostBytes: above it, more users stay in doubt.
    public init(claims: Int, mostBytes: Int = 1 << 27) {
        precondition(claims >= 0)
        precondition(mostBytes >= 1_024)
        let wanted = min(max(claims, 64), mostBytes / 16) * 16
        cells = Array(repeating: 0, count: min(wanted, mostBytes))
        half = UInt64(cells.count / 2)
    }

    @inline(__always)
    private func positions(_ pool: PoolKey, _ user: UserID) -> (Int, Int) {
        let first = Hash64.keyed(user, salt: pool.rawValue)
        let second = Hash64.keyed(first, salt: 0x5bd1_e995_7b93_ae21)
        return (
            Int(Hash64.reduce(first, below: half)),
            Int(half + Hash64.reduce(second, below: half))
        )
    }

    /// Counts one claim; cells stay at 255.
    public mutating func add(_ pool: PoolKey, _ user: UserID) {
        let (a, b) = positions(pool, user)
        if cells[a] < .max { cells[a] += 1 }
        if cells[b] < .max { cells[b] += 1 }
    }

    /// Whether the user may have more than `limit` claims. False is certain.
    public func mayExceed(_ limit: UInt32, _ pool: PoolKey, _ user: UserID) -> Bool {
        let (a, b) = positions(pool, user)
        let least = min(cells[a], cells[b])
        return least == .max || UInt32(least) > limit
    }
}
