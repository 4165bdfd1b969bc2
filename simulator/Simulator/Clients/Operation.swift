public import EdgeTypes

/// What somebody asks of a node.
public enum OperationKind: String, Sendable, CaseIterable {
    case grab, claims, reserve, orders, pay, cancel, refund
    case create, createOther, warm, info, pause, resume, alter, refill, close, resolve

    /// Its place in the list: part of what a seed means.
    var number: UInt64 {
        UInt64(OperationKind.allCases.firstIndex(of: self) ?? 0)
    }
}

/// One thing that somebody wants, through all of its attempts.
public struct Operation: Sendable {
    public var id: Int
    /// Names it in draws: who wants what for the how manieth time, whatever others do.
    public var key: UInt64 = 0
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
