public import EdgeWire

/// What one node's client listeners accept. Reaching a limit is an answer or a close.
public struct ServerLimits: Sendable {
    /// Client connections of the whole node, RESP and HTTP together.
    public var connections = 100_000
    public var resp = RESPLimits()
    /// Longest RESP command, all its arguments together.
    public var respRequestBytes = 1_024 * 1_024
    /// Longest HTTP body.
    public var bodyBytes = 64 * 1_024
    /// All header fields of an HTTP request together.
    public var headerBytes = 16 * 1_024
    /// Most header fields of an HTTP request.
    public var headerFields = 100
    /// Longest HTTP request target.
    public var targetBytes = 2_048
    /// Requests of one connection that wait for their answers; more stay in its socket.
    public var pipelineDepth = 1_024
    /// Answers that a connection may leave unread before it is closed.
    public var outputBytes = 1_024 * 1_024
    /// Unread answers above which nothing more is read from a connection.
    public var outputLowWaterBytes = 256 * 1_024
    /// Requests of one event loop that wait for other event loops; more are told to try again.
    public var forwardsPerLoop = 65_536
    /// Requests of one step. A tick that has read more steps more than once.
    public var requestsPerStep = 1_024
    /// How long a RESP connection may say nothing. 0: for ever.
    public var respIdleMs: Int64 = 0
    /// How long an HTTP connection may say nothing between requests.
    public var httpIdleMs: Int64 = 75_000
    /// How long a request may take to arrive, or unread answers to move.
    public var stallMs: Int64 = 30_000
    /// How long a closing connection's rest is read, so that its last answer arrives.
    public var lingerMs: Int64 = 2_000
    public var respRate = RateLimit.off
    public var httpRate = RateLimit.off
    /// Per user, over all the connections of one event loop.
    public var respUserRate = RateLimit.off
    public var httpUserRate = RateLimit.off
    /// Users whose rate one event loop remembers; more displace the longest quiet.
    public var ratedUsers = 65_536
    /// Length of the kernel's queue of connections not yet accepted.
    public var backlog: Int32 = 4_096

    public init() {}
}

/// A token bucket's terms.
public struct RateLimit: Sendable, Hashable {
    /// Requests a second. 0: no limit.
    public var perSecond: UInt32
    /// Requests at once after a quiet time.
    public var burst: UInt32

    public init(perSecond: UInt32, burst: UInt32) {
        precondition(perSecond == 0 || burst >= 1)
        precondition(perSecond <= 1_000_000 && burst <= 1_000_000)
        self.perSecond = perSecond
        self.burst = burst
    }

    public static let off = RateLimit(perSecond: 0, burst: 0)

    public var isOff: Bool { perSecond == 0 }
}
