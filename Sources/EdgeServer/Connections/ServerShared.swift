public import EdgeTypes
import Synchronization

/// What all the loops of a node share: settings that never change, and a few counters.
public final class ServerShared: Sendable {
    public struct Settings: Sendable {
        public var limits = ServerLimits()
        public var profile: NodeProfile
        /// Empty: nobody logs in, and everybody is operator.
        public var respUsers: [RESPUser] = []
        /// nil: `X-User` says who it is (see `acceptsUserHeader`).
        public var tokens: TokenVerifier?
        /// Whether `X-User` is accepted where there is no token key: `--insecure`.
        public var acceptsUserHeader = false
        /// Whether it is accepted from other machines too.
        public var acceptsRemoteUserHeader = false
        /// Origins that browsers may call from; `*` alone: any.
        public var corsOrigins: [String] = []
        /// Who asks the store for what has left memory; nil: there is none.
        public var archive: ArchiveReader?
        public var clock: @Sendable () -> Instant = SystemClock.now

        public init(profile: NodeProfile) { self.profile = profile }
    }

    public let settings: Settings
    /// Where clients and operators reach the node; known once it listens.
    public struct Addresses: Sendable {
        public var http = ""
        public var resp = ""
        public var admin = ""

        public init() {}
    }

    private let told = Mutex(Addresses())
    private let seen = Mutex<ClusterView?>(nil)
    let connections = Atomic<Int>(0)
    let isReady = Atomic<Bool>(true)
    let isClosing = Atomic<Bool>(false)
    private let nextConnectionID = Atomic<UInt64>(1)

    public init(_ settings: Settings) { self.settings = settings }

    public var addresses: Addresses {
        get { told.withLock { $0 } }
        set { told.withLock { $0 = newValue } }
    }

    /// Who else is there; nil: a node on its own.
    var cluster: ClusterView? {
        get { seen.withLock { $0 } }
        set { seen.withLock { $0 = newValue } }
    }

    /// What `/readyz` says: false while joining or draining.
    public func setReady(_ ready: Bool) { isReady.store(ready, ordering: .relaxed) }

    var isReadyNow: Bool { isReady.load(ordering: .relaxed) }
    var isClosingNow: Bool { isClosing.load(ordering: .relaxed) }
    func setClosing() { isClosing.store(true, ordering: .sequentiallyConsistent) }

    /// Counts a connection in.
    ///
    /// - Returns: whether there was room. Where there was, `leave` counts it out.
    func enter() -> Bool {
        let before = connections.wrappingAdd(1, ordering: .relaxed).oldValue
        guard before < settings.limits.connections else {
            connections.wrappingSubtract(1, ordering: .relaxed)
            return false
        }
        return true
    }

    func leave() { connections.wrappingSubtract(1, ordering: .relaxed) }

    func makeConnectionID() -> UInt64 {
        nextConnectionID.wrappingAdd(1, ordering: .relaxed).oldValue
    }

    /// Connections open now, on all loops.
    public var connectionCount: Int { connections.load(ordering: .relaxed) }
}
