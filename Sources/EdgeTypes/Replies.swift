/// How a command ended. The raw text of each is part of the outside contract.
public enum Outcome: UInt8, BitwiseCopyable, Sendable, CaseIterable {
    case granted = 0
    case `repeat`
    case soldOut
    case early
    case closed
    case paused
    case limit
    case lost
    case reserved
    case paid
    case late
    case refund
    case cancelled
    case refunded
}

/// Why a command was refused with an error.
public enum ErrorCode: UInt8, BitwiseCopyable, Sendable, CaseIterable {
    case noRain = 0
    case noStock
    case noOrder
    case exists
    case badArgument
    case mismatch
    case noPermission
    /// Nothing was applied: retry the same.
    case tryAgain
    /// Perhaps applied: retry with the same request id.
    case unknown
    case throttled
    /// A disk or memory limit was reached; nothing was applied.
    case full
}

/// Which fields of a reply count.
public enum ReplyShape: UInt8, BitwiseCopyable, Sendable {
    /// `outcome`, `fen`, `packet` (−1: none), `timeMs`.
    case grab = 0
    /// `outcome`, `order` (0: none), `timeMs` (expires).
    case reserve
    /// `outcome`.
    case outcome
    /// A plain OK.
    case ok
    /// `error`, and `body` as `.text` where there is more to say.
    case error
    /// `body`.
    case body
    /// What was asked has left memory: `body` is an `ArchivedQuestion`, which the shell at whose
    /// node the client is puts to the store. `outcome` and `timeMs`: what a grab hears whose user
    /// has nothing.
    case archived
}

/// One answer: plain values, nothing allocated; longer ones wait in the effects' `bodies`.
public struct Reply: BitwiseCopyable, Sendable {
    public var ticket: Ticket
    public var shape: ReplyShape
    public var outcome: Outcome
    public var error: ErrorCode
    /// Whether it may leave only once the journal holds what it has read. False for pools whose
    /// durability is `memory`.
    public var waitsForJournal: Bool
    /// On whom it waits then: see `CommitStream`.
    public var stream: UInt8
    /// Index into the effects' bodies; −1 where there is none.
    public var body: Int32
    public var fen: Fen
    public var packet: Int64
    public var timeMs: UnixMs
    public var order: OrderID

    @inlinable
    public init(
        ticket: Ticket, shape: ReplyShape, outcome: Outcome = .granted,
        error: ErrorCode = .tryAgain, waitsForJournal: Bool = true,
        stream: UInt8 = CommitStream.disk,
        body: Int32 = -1, fen: Fen = 0, packet: Int64 = -1, timeMs: UnixMs = 0,
        order: OrderID = OrderID(rawValue: 0)
    ) {
        self.ticket = ticket
        self.shape = shape
        self.outcome = outcome
        self.error = error
        self.waitsForJournal = waitsForJournal
        self.stream = stream
        self.body = body
        self.fen = fen
        self.packet = packet
        self.timeMs = timeMs
        self.order = order
    }
}

/// A value of an answer that is not on the hot path. Shells write it as RESP or JSON.
public indirect enum Value: Hashable, Sendable {
    case null
    case integer(Int64)
    case text(String)
    case array([Value])
    /// Ordered: keys are written as they stand.
    case map([Field])

    public struct Field: Hashable, Sendable {
        public var key: String
        public var value: Value

        public init(_ key: String, _ value: Value) {
            self.key = key
            self.value = value
        }
    }
}
