public import EdgeTypes

/// What somebody asks of a node.
public enum OperationKind: String, Sendable, CaseIterable {
    case grab, claims, reserve, orders, pay, cancel, refund, order
    case create, createOther, warm, info, pause, resume, alter, refill, close

    /// Whether the same again gives the same answer: then it is tried until there is one.
    var isSafeToRepeat: Bool { true }
}

/// One thing that somebody wants, through all of its attempts.
public struct Operation: Sendable {
    public var id: Int
    public var kind: OperationKind
    public var pool: Int
    public var node: Int
    /// Who asks: a user's number, or −1 for operators.
    public var actor: Int
    public var user: UserID = 0
    public var request = ""
    public var quantity: Int64 = 0
    public var fen: Fen = 0
    public var order = ""
    public var words: [String] = []
    /// The operation whose retry this is: its answer must be the same.
    public var retryOf: Int?
    public var startedNs: UInt64 = 0
    public var attempts = 0
    public var answer: RESPAnswer?
    public var answeredNs: UInt64 = 0
    /// Nobody waits for it any more: its user went away.
    public var isAbandoned = false

    public var isDone: Bool { answer != nil || isAbandoned }
}
