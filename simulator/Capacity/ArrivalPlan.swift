import EdgeMemory
import Simulator

/// Arrivals as they were counted: so many from each offset to the next.
public struct ArrivalHistogram: Sendable, Hashable {
    public struct Row: Sendable, Hashable {
        public let fromNs: UInt64
        public let count: UInt64

        public init(fromNs: UInt64, count: UInt64) {
            self.fromNs = fromNs
            self.count = count
        }
    }

    /// Offsets rise; the last row is as long as the one before.
    public let rows: [Row]

    /// - Precondition: at least two rows, offsets rise, and somebody arrives.
    public init(_ rows: [Row]) {
        precondition(rows.count >= 2)
        for index in 1..<rows.count { precondition(rows[index - 1].fromNs < rows[index].fromNs) }
        precondition(rows.contains { $0.count > 0 })
        self.rows = rows
    }

    public var total: UInt64 { rows.reduce(0) { $0 + $1.count } }
}

/// How many users send in which window of time; within one, all times are alike.
///
/// Users are exchangeable: the k-th to send is user k, so that a run makes them window by window
/// and holds none that is not on its way.
public struct ArrivalPlan: Sendable {
    /// Where each window begins, and where the last one ends.
    public let edgesNs: [UInt64]
    public let counts: [UInt32]

    /// Draws every user's time and keeps the counts: exact up to the windows' width, a 2^-16th of
    /// the longest time or less.
    ///
    /// Complexity: O(users).
    init(
        notification: Distribution, reaction: Distribution, users: UInt64, pool: UInt64,
        random: RandomSource
    ) {
        let first = FastQuantiles(notification)
        let second = FastQuantiles(reaction)
        let longest =
            notification.quantileNs(1 - 0x1p-30) + reaction.quantileNs(1 - 0x1p-30) + 1
        let bits = max(64 - longest.leadingZeroBitCount, Self.windowBits)
        let shift = UInt64(bits - Self.windowBits)
        var counts = [UInt32](repeating: 0, count: 1 << Self.windowBits)
        let last = counts.count - 1
        for user in 0..<users {
            let word = random.word(.reaction, pool, user)
            let ns = first.sampleNs(high: word) + second.sampleNs(low: word)
            counts[min(Int(ns >> shift), last)] += 1
        }
        while counts.count > 1, counts[counts.count - 1] == 0 { counts.removeLast() }
        edgesNs = (0...counts.count).map { UInt64($0) << shift }
        self.counts = counts
    }

    /// The recorded counts in proportion, largest remainders first, so that they add up.
    init(_ histogram: ArrivalHistogram, users: UInt64) {
        let total = histogram.total
        var edges = histogram.rows.map(\.fromNs)
        edges.append(2 * edges[edges.count - 1] - edges[edges.count - 2])
        var counts: [UInt32] = []
        var remainders: [(remainder: UInt64, index: Int)] = []
        var given: UInt64 = 0
        for (index, row) in histogram.rows.enumerated() {
            let share = total.dividingFullWidth(row.count.multipliedFullWidth(by: users))
            counts.append(UInt32(share.quotient))
            remainders.append((share.remainder, index))
            given += share.quotient
        }
        remainders.sort { ($1.remainder, $0.index) < ($0.remainder, $1.index) }
        for rest in remainders.prefix(Int(users - given)) { counts[rest.index] += 1 }
        edgesNs = edges
        self.counts = counts
    }

    private static let windowBits = 16

    public var users: UInt64 { counts.reduce(0) { $0 + UInt64($1) } }
}

/// Quantiles of a distribution, tabulated: some nanoseconds a sample instead of fifty.
///
/// Exact at so many places and straight between them; in the outermost cells, where tails bend,
/// the distribution itself is asked.
struct FastQuantiles: ~Copyable {
    /// `edges[i]` is the quantile at i / cells; the first and last are not used.
    private var edges: PlainList<UInt64>
    private let exact: Distribution
    private let cells: Int
    private let shift: UInt32

    /// - Parameter bits: of the number of cells, 8 bytes each.
    init(_ distribution: Distribution, bits: UInt32 = 10) {
        precondition(bits >= 2 && bits <= 16)
        exact = distribution
        cells = 1 << Int(bits)
        shift = 32 - bits
        edges = PlainList(capacity: cells + 1)
        edges.append(0)
        for cell in 1..<cells {
            edges.append(distribution.quantileNs(Double(cell) / Double(cells)))
        }
    }

    /// The time that belongs to a word's upper half.
    @inline(__always)
    func sampleNs(high word: UInt64) -> UInt64 { sampleNs(UInt32(truncatingIfNeeded: word >> 32)) }

    /// The time that belongs to a word's lower half.
    @inline(__always)
    func sampleNs(low word: UInt64) -> UInt64 { sampleNs(UInt32(truncatingIfNeeded: word)) }

    @inline(__always)
    func sampleNs(_ fraction: UInt32) -> UInt64 {
        let cell = Int(fraction &>> shift)
        if cell == 0 || cell == cells &- 1 { return outer(fraction) }
        let below = edges[cell]
        let inside = UInt64(fraction & ((1 &<< shift) &- 1))
        return below &+ (((edges[cell &+ 1] &- below) &* inside) &>> UInt64(shift))
    }

    @inline(never)
    private func outer(_ fraction: UInt32) -> UInt64 {
        exact.quantileNs((Double(fraction) + 0.5) * 0x1p-32)
    }
}
