/// A core that passes requests on asks the owner of their slice who has won there, while a
/// certificate says that nothing is left.
public struct WinnersAsked: Hashable, Sendable {
    public var pool: PoolKey
    public var slice: UInt32
    /// Who asks: a node, and a shard that is with the asking core there.
    public var node: UInt16
    public var back: ShardID
    /// The question's number there: an answer repeats it.
    public var number: UInt32
    /// The certificate that it goes by.
    public var epoch: UInt32
    public var generation: UInt32
    /// The mark of the filter that it has; 0: none.
    public var mark: UInt64

    public init(
        pool: PoolKey, slice: UInt32, node: UInt16, back: ShardID, number: UInt32, epoch: UInt32,
        generation: UInt32, mark: UInt64
    ) {
        self.pool = pool
        self.slice = slice
        self.node = node
        self.back = back
        self.number = number
        self.epoch = epoch
        self.generation = generation
        self.mark = mark
    }
}

/// Who has won in a slice: a filter, and for how long it is exact.
public struct Winners: Hashable, Sendable {
    public var pool: PoolKey
    public var slice: UInt32
    /// The question that it answers.
    public var number: UInt32
    /// The certificate under which it was made.
    public var epoch: UInt32
    public var generation: UInt32
    /// The epoch of the slice's shard, and the version of the slice's control.
    public var shardEpoch: UInt32
    public var version: UInt32
    /// Names this filter; never 0, and never the same twice.
    public var mark: UInt64
    /// For so long from the moment of the question nobody wins who is not in it; `UInt64.max`:
    /// nobody ever does under this certificate.
    public var validNs: UInt64
    /// The filter (`BlockedBloom`); empty: the one that the question named.
    public var words: [UInt64]

    public init(
        pool: PoolKey, slice: UInt32, number: UInt32, epoch: UInt32, generation: UInt32,
        shardEpoch: UInt32, version: UInt32, mark: UInt64, validNs: UInt64, words: [UInt64]
    ) {
        self.pool = pool
        self.slice = slice
        self.number = number
        self.epoch = epoch
        self.generation = generation
        self.shardEpoch = shardEpoch
        self.version = version
        self.mark = mark
        self.validNs = validNs
        self.words = words
    }
}
