public import EdgeTypes
import EdgeWire

/// One sequence number per shard. Takes memory up to the highest shard that has one.
public struct ShardSequences: Hashable, Sendable {
    /// Never ends with a 0, so that equal sequences are equal values.
    private var values: [UInt64] = []

    /// All 0: nothing.
    public init() {}

    /// - Precondition: `shard < Limits.shards`.
    public subscript(shard: ShardID) -> UInt64 {
        get {
            precondition(Int(shard) < Limits.shards)
            return Int(shard) < values.count ? values[Int(shard)] : 0
        }
        set {
            precondition(Int(shard) < Limits.shards)
            if Int(shard) < values.count {
                values[Int(shard)] = newValue
                if newValue == 0 { trim() }
            } else if newValue != 0 {
                values.append(contentsOf: repeatElement(0, count: Int(shard) - values.count))
                values.append(newValue)
            }
        }
    }

    /// No shard from here on has a sequence.
    var shardCount: Int { values.count }

    private mutating func trim() {
        while values.last == 0 { values.removeLast() }
    }

    /// The lower of the two, shard by shard.
    public func lowered(to other: ShardSequences) -> ShardSequences {
        var result = ShardSequences()
        result.values = zip(values, other.values).map { min($0, $1) }
        result.trim()
        return result
    }
}

/// Follows every shard's sequence and epoch through a journal, and what one segment holds.
struct ShardTracker {
    private struct State {
        var last: UInt64 = 0
        /// First entry in the segment of `mark`.
        var first: UInt64 = 0
        var covered: UInt64 = 0
        var epoch: UInt32 = 0
        var mark: UInt32 = 0
    }

    enum Verdict: Equatable {
        case new
        /// At or below what the snapshot holds.
        case covered
        case broken(JournalDamage.Reason)
    }

    /// As many as have been touched, up to the highest: most clusters have few shards.
    private var states: [State] = []
    private var mark: UInt32 = 1
    private var touched: [ShardID] = []
    /// Whether the beginning is not there to be seen: any first sequence of a shard will do.
    private let isPartial: Bool
    /// Whether a shard's log may begin anew: a replica that was dropped learns the shard again.
    private let isReplicated: Bool

    /// - Parameter covered: entries up to here are known elsewhere (in a snapshot).
    init(
        covered: ShardSequences = ShardSequences(), isPartial: Bool = false,
        isReplicated: Bool = false
    ) {
        self.isPartial = isPartial
        self.isReplicated = isReplicated
        grow(to: covered.shardCount)
        for shard in states.indices { states[shard].covered = covered[ShardID(shard)] }
    }

    private mutating func grow(to count: Int) {
        guard count > states.count else { return }
        states.append(contentsOf: repeatElement(State(), count: count - states.count))
    }

    private func state(_ shard: ShardID) -> State {
        Int(shard) < states.count ? states[Int(shard)] : State()
    }

    var touchedCount: Int { touched.count }

    func isTouched(_ shard: ShardID) -> Bool { state(shard).mark == mark }

    /// The last sequence of every shard, what is covered included.
    var lastSequences: ShardSequences {
        var result = ShardSequences()
        // From the highest on: the result grows once.
        for shard in states.indices.reversed() {
            result[ShardID(shard)] = max(states[shard].last, states[shard].covered)
        }
        return result
    }

    func epoch(_ shard: ShardID) -> UInt32 { state(shard).epoch }

    /// Goes on after `sequences`, as a writer does after recovery.
    mutating func resume(after sequences: ShardSequences) {
        grow(to: sequences.shardCount)
        for shard in states.indices { states[shard].last = sequences[ShardID(shard)] }
    }

    mutating func beginSegment() {
        mark &+= 1
        touched.removeAll(keepingCapacity: true)
    }

    /// Judges and notes the next entry. Entries must be contiguous; only where all that is
    /// missing is covered may some be missing (retention took their segment). O(1).
    mutating func accept(shard: ShardID, epoch: UInt32, sequence: UInt64) -> Verdict {
        guard Int(shard) < Limits.shards else { return .broken(.impossibleShard(shard)) }
        if Int(shard) >= states.count { grow(to: Int(shard) + 1) }
        let state = states[Int(shard)]
        if let reason = check(state, shard, epoch: epoch, first: sequence) {
            return .broken(reason)
        }
        let beginsAnew = isReplicated && sequence != state.last &+ 1
        if state.mark != mark || beginsAnew {
            states[Int(shard)].mark = mark
            states[Int(shard)].first = sequence
            if state.mark != mark { touched.append(shard) }
        }
        states[Int(shard)].last = sequence
        states[Int(shard)].epoch = epoch
        return sequence <= state.covered ? .covered : .new
    }

    private func check(
        _ state: State, _ shard: ShardID, epoch: UInt32, first: UInt64
    ) -> JournalDamage.Reason? {
        // What comes again at the same epoch is the same: a primary's log only grows.
        if isReplicated, first != 0, epoch >= state.epoch { return nil }
        if first != state.last &+ 1, first == 0 || state.last != 0 || !isPartial {
            let next = max(state.last, state.covered) &+ 1
            if first == 0 || first <= state.last || first > next {
                return .sequence(shard: shard, expected: next, found: first)
            }
        }
        if epoch < state.epoch { return .epochWentBack(shard: shard, from: state.epoch, to: epoch) }
        return nil
    }

    /// Whether a segment with these ranges holds nothing new.
    func covers(_ ranges: [SealedRange]) -> Bool {
        ranges.allSatisfy { $0.last <= state($0.shard).covered }
    }

    /// Notes a segment that is not read, since all of it is covered.
    mutating func skip(_ ranges: [SealedRange]) -> JournalDamage.Reason? {
        for range in ranges {
            grow(to: Int(range.shard) + 1)
            let state = states[Int(range.shard)]
            if let reason = check(state, range.shard, epoch: range.epoch, first: range.first) {
                return reason
            }
            states[Int(range.shard)].last = range.last
            states[Int(range.shard)].epoch = range.epoch
        }
        return nil
    }

    /// What the segment holds so far, by shard.
    func ranges() -> [SealedRange] {
        touched.sorted().map { shard in
            let state = states[Int(shard)]
            return SealedRange(
                shard: shard, epoch: state.epoch, first: state.first, last: state.last)
        }
    }
}
