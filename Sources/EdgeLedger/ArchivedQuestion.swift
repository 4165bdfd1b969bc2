public import EdgeTypes

/// What is asked of a rain's slice whose claims have left memory: only the store knows.
///
/// A core makes it of a request (`ReplyShape.archived`); the shell at the client's node asks the
/// store, and makes of what it finds the answer that the core would have given.
public struct ArchivedQuestion: Hashable, Sendable {
    /// The rain's name.
    public var pool: Text64
    public var user: UserID
    /// A grab; otherwise the user's claims are asked for.
    public var isGrab: Bool
    /// 0: the grab bears no request id.
    public var requestHash: UInt64
    /// Most packets that one user may take, by the slice's last terms.
    public var limit: UInt32
    /// `EntryID`s of one shard: the slice's claims lie between them, and the store must have the
    /// second before it is believed.
    public var first: Int64
    public var last: Int64

    public init(
        pool: Text64, user: UserID, isGrab: Bool, requestHash: UInt64, limit: UInt32,
        first: Int64, last: Int64
    ) {
        self.pool = pool
        self.user = user
        self.isGrab = isGrab
        self.requestHash = requestHash
        self.limit = limit
        self.first = first
        self.last = last
    }

    // MARK: Between cores and nodes

    /// As it travels with a reply.
    public var value: Value {
        .array([
            .text(pool.description), .integer(Int64(bitPattern: user)),
            .integer(isGrab ? 1 : 0), .integer(Int64(bitPattern: requestHash)),
            .integer(Int64(limit)), .integer(first), .integer(last),
        ])
    }

    /// nil where the value is none.
    public init?(_ value: Value) {
        guard case .array(let items) = value, items.count == 7,
            case .text(let name) = items[0], let pool = Text64(name.utf8),
            case .integer(let user) = items[1], case .integer(let kind) = items[2],
            case .integer(let hash) = items[3], case .integer(let most) = items[4],
            let limit = UInt32(exactly: most), case .integer(let first) = items[5],
            case .integer(let last) = items[6], 0 <= first, first <= last
        else { return nil }
        self.init(
            pool: pool, user: UserID(bitPattern: user), isGrab: kind == 1,
            requestHash: UInt64(bitPattern: hash), limit: limit, first: first, last: last)
    }

    // MARK: The answer

    /// What the core would have answered.
    ///
    /// - Parameters:
    ///   - reply: the core's, of shape `archived`.
    ///   - claims: the user's between `first` and `last`, in order.
    public func answer(_ reply: Reply, _ claims: [ArchivedClaim]) -> (Reply, Value?) {
        guard isGrab else {
            let answer = Reply(ticket: reply.ticket, shape: .body, waitsForJournal: false)
            let rows = claims.map { claim in
                Value.array([
                    .integer(claim.packet), .integer(claim.amountFen), .integer(claim.timeMs),
                ])
            }
            return (answer, .array(rows))
        }
        var answer = reply
        answer.body = -1
        answer.shape = .grab
        if let claim = repeated(claims) {
            answer.outcome = .repeat
            answer.fen = claim.amountFen
            answer.packet = claim.packet
            answer.timeMs = claim.timeMs
        }
        return (answer, nil)
    }

    /// The claim that a grab hears again; as `RainSlice.decide`.
    private func repeated(_ claims: [ArchivedClaim]) -> ArchivedClaim? {
        if requestHash != 0, let own = claims.last(where: { $0.requestHash == requestHash }) {
            return own
        }
        return limit <= 1 ? claims.last : nil
    }
}

/// A claim as the store has it.
public struct ArchivedClaim: Hashable, Sendable {
    public var packet: Int64
    public var amountFen: Fen
    public var timeMs: UnixMs
    /// 0: it came without a request id.
    public var requestHash: UInt64

    public init(packet: Int64, amountFen: Fen, timeMs: UnixMs, requestHash: UInt64) {
        self.packet = packet
        self.amountFen = amountFen
        self.timeMs = timeMs
        self.requestHash = requestHash
    }
}
