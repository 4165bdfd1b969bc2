public import EdgeTypes

/// Names an entry for good: its shard and its sequence there, in one positive number.
///
/// Stores use it as the key of what the entry made (a claim, a payment), so that a row's key tells
/// its place in the journal and rows of one shard lie together in journal order.
public enum EntryID {
    @usableFromInline static let sequenceBits: UInt64 = 48
    @usableFromInline static let sequenceMask: UInt64 = (1 << 48) - 1

    /// - Precondition: `sequence < 2^48`, the shard below 16,384: the result is below 2^62.
    @inlinable
    public static func of(shard: ShardID, sequence: UInt64) -> Int64 {
        precondition(sequence <= sequenceMask)
        precondition(Int(shard) < Limits.shards)
        return Int64((UInt64(shard) << sequenceBits) | sequence)
    }

    @inlinable
    public static func shard(of id: Int64) -> ShardID {
        ShardID(truncatingIfNeeded: id >> Int64(sequenceBits))
    }

    @inlinable
    public static func sequence(of id: Int64) -> UInt64 {
        UInt64(bitPattern: id) & sequenceMask
    }
}

/// A claim with what its header says, flat: 72 bytes where an `Entry` takes hundreds.
public struct ClaimRecord: Hashable, Sendable {
    /// `EntryID` of the entry.
    public var grantID: Int64
    public var pool: PoolKey
    public var user: UserID
    public var packet: Int64
    public var amountFen: Fen
    public var timeMs: UnixMs
    /// 0: it came without a request id.
    public var requestHash: UInt64
    public var slice: UInt32

    @inlinable
    public init(_ header: EntryHeader, _ claim: Claim) {
        grantID = EntryID.of(shard: header.shard, sequence: header.sequence)
        pool = claim.pool
        user = claim.user
        packet = claim.packet
        amountFen = claim.amountFen
        timeMs = header.timeMs
        requestHash = claim.requestHash
        slice = claim.slice
    }
}

/// Committed entries of many shards on their way into a store: the only memory between the two.
///
/// It takes the entries of each shard in sequence, skips what the store already has, and refuses
/// gaps. Claims lie apart from the rest; `Other.claimsBefore` keeps the order between them.
public struct EntryBatch: Sendable {
    public struct Other: Sendable {
        public var header: EntryHeader
        public var entry: Entry
        /// How many of the batch's claims came before it.
        public var claimsBefore: Int
    }

    public enum Admission: Sendable {
        case taken
        /// The store has it already.
        case skipped
        /// The batch has no room: offer the same entry to the next.
        case full
    }

    public private(set) var claims: [ClaimRecord] = []
    public private(set) var others: [Other] = []
    /// What the batch covers, one range a shard.
    public private(set) var ranges: [ShardRange] = []
    /// Where each shard is once the batch is applied.
    public private(set) var marks = WatermarkTable()
    /// Entries offered and found to be in the store already, since `restart`.
    public private(set) var skipped: UInt64 = 0

    private let capacity: Int
    /// A shard without a mark starts where its first entry is: for readers of a journal whose
    /// oldest segments are gone.
    private let adoptsStarts: Bool
    private var weight = 0
    /// Index into `ranges` by shard; −1 where the shard is not in the batch.
    private var rangeOfShard: [Int32] = []
    /// Shards whose entry at the store's watermark has been compared, or that had none.
    private var known: [Bool] = []

    /// - Parameter capacity: most claims, or other entries of usual size, it holds.
    /// - Parameter adoptsStarts: whether a shard without a mark may start after sequence 1.
    public init(capacity: Int = 16_384, adoptsStarts: Bool = false) {
        precondition(capacity > 0)
        self.capacity = capacity
        self.adoptsStarts = adoptsStarts
        claims.reserveCapacity(capacity)
        others.reserveCapacity(256)
    }

    public var count: Int { claims.count + others.count }
    public var isEmpty: Bool { ranges.isEmpty }
    public var isFull: Bool { weight >= capacity }

    /// About how many more claims it takes.
    public var room: Int { max(0, capacity - weight) }

    /// Time of its first entries; nil where it is empty.
    public var oldestMs: UnixMs? {
        switch (claims.first?.timeMs, others.first?.header.timeMs) {
        case (let claim?, let other?): min(claim, other)
        case (let claim, let other): claim ?? other
        }
    }

    /// Forgets everything: the store is at `marks`.
    public mutating func restart(at marks: WatermarkTable) {
        next()
        self.marks = marks
        skipped = 0
        for index in known.indices { known[index] = false }
    }

    /// Empties the batch, whose entries have been applied, for those that follow.
    public mutating func next() {
        for range in ranges { rangeOfShard[Int(range.shard)] = -1 }
        claims.removeAll(keepingCapacity: true)
        others.removeAll(keepingCapacity: true)
        ranges.removeAll(keepingCapacity: true)
        weight = 0
    }

    /// Takes a claim. O(1), no allocation once warm.
    ///
    /// - Throws: `WatermarkRefusal` where it does not follow what came before it on its shard.
    public mutating func append(
        _ header: EntryHeader, claim: Claim
    ) throws(WatermarkRefusal) -> Admission {
        let admission = try admit(header, weight: 1)
        if case .taken = admission { claims.append(ClaimRecord(header, claim)) }
        return admission
    }

    /// Takes any entry.
    public mutating func append(
        _ header: EntryHeader, _ entry: Entry
    ) throws(WatermarkRefusal) -> Admission {
        if case .claim(let claim) = entry { return try append(header, claim: claim) }
        let admission = try admit(header, weight: Self.weight(of: entry))
        if case .taken = admission {
            others.append(Other(header: header, entry: entry, claimsBefore: claims.count))
        }
        return admission
    }

    private mutating func admit(
        _ header: EntryHeader, weight: Int
    ) throws(WatermarkRefusal) -> Admission {
        let shard = Int(header.shard)
        precondition(shard < Limits.shards)
        while rangeOfShard.count <= shard {
            rangeOfShard.append(-1)
            known.append(false)
        }
        if adoptsStarts, !known[shard], marks[header.shard] == .origin, header.sequence > 1 {
            marks[header.shard] = Watermark(
                epoch: header.epoch, sequence: header.sequence - 1, timeMs: header.timeMs)
        }
        let mark = marks[header.shard]
        if header.sequence <= mark.sequence {
            if header.sequence == mark.sequence, !known[shard] { try compare(header, mark) }
            skipped += 1
            return .skipped
        }
        if isFull { return .full }
        try WatermarkRule.check(header, follows: mark)
        known[shard] = true
        let reached = Watermark(
            epoch: header.epoch, sequence: header.sequence, timeMs: header.timeMs)
        if rangeOfShard[shard] >= 0 {
            ranges[Int(rangeOfShard[shard])].to = reached
        } else {
            rangeOfShard[shard] = Int32(ranges.count)
            ranges.append(ShardRange(shard: header.shard, from: mark, to: reached))
        }
        marks[header.shard] = reached
        self.weight += weight
        return .taken
    }

    /// The entry at the store's watermark must be the one that the store has applied.
    private mutating func compare(
        _ header: EntryHeader, _ mark: Watermark
    ) throws(WatermarkRefusal) {
        let found = Watermark(
            epoch: header.epoch, sequence: header.sequence, timeMs: header.timeMs)
        guard found == mark else {
            throw .otherHistory(shard: header.shard, store: mark, found: found)
        }
        known[Int(header.shard)] = true
    }

    /// Transfers carry up to 256 ranges: they count for more.
    private static func weight(of entry: Entry) -> Int {
        switch entry {
        case .poolLeased(let transfer), .poolTookBack(let transfer),
            .sliceCredited(let transfer), .sliceReturned(let transfer):
            1 + transfer.ranges.count / 16
        case .claim, .orderReserved, .orderPaid, .orderCancelled, .orderExpired,
            .orderRefunded, .paymentRefused, .poolCreated, .poolControlled, .poolFunded,
            .poolSoldOut, .poolResolved, .poolMoved, .poolClosed, .sliceOpened, .sliceControlled,
            .sliceQuarantined, .sliceResolved:
            1
        // A store may index all of its claims: one at a time.
        case .sliceArchived: 65_536
        }
    }
}
