public import EdgeReconciler
public import EdgeStores
public import EdgeTypes

/// What one node is told at its start, checked.
public struct NodeOptions: Sendable {
    public var name = "node-1"
    public var dataDirectory = "downpour-data"
    public var cores = 1
    public var shards = 64
    public var http = ClientListeners.Address(host: "127.0.0.1", port: 7600)
    public var resp = ClientListeners.Address(host: "127.0.0.1", port: 7601)
    public var bus = ClientListeners.Address(host: "127.0.0.1", port: 7602)
    public var admin = ClientListeners.Address(host: "127.0.0.1", port: 7603)
    public var durability = Durability.journal
    /// nil: a node on its own.
    public var cluster: ClusterPlan?
    public var clusterKeys: ClusterKeys?
    /// By whom to join; empty: by all nodes of the topology.
    public var join: [GossipSeed] = []
    public var tlsCertificate: String?
    public var tlsKey: String?
    public var drainMs: Int64 = 10_000
    public var logLevel = "info"
    public var logFormat = "text"
    public var readyFile: String?
    public var insecure = false
    public var tokenKeys: String?
    public var respUsers: String?
    public var adminToken: String?
    public var adminReadToken: String?
    /// nil: `sqlite:` in the data directory.
    public var storeURL: String?
    /// Replicas of the store that answer questions about the past; empty: the store does.
    public var storeReadURLs: [StoreURL] = []
    /// nil: no Redis behind the store.
    public var redis: RedisAddress?
    /// No newer version of the protocol is spoken or written (`ProtocolVersion`).
    public var newestProtocol = ProtocolVersion.newest
    /// Limits and times of what follows the store there, and which caches it deletes from.
    public var redisSettings = RedisSettings()
    /// Events in the store's outbox beside the usual ones.
    public var extraEvents: ExtraEvents = []
    public var corsOrigins: [String] = []
    public var segmentBytes = 64 << 20
    /// Journal segments younger than this are kept whoever has them.
    public var retentionMs: Int64 = 7 * 24 * 3_600_000
    /// For so long a closed rain stays in memory once the store has it; `Int64.max`: for good.
    public var archiveAfterMs: Int64 = 600_000
    /// Likewise a closed SKU after the last thing that happened to one of its orders.
    public var archiveOrdersAfterMs: Int64 = 30 * 24 * 3_600_000
    var isArchiving: Bool { archiveAfterMs != .max || archiveOrdersAfterMs != .max }
    public var limits = ServerLimits()

    public init() {}

    /// What is wrong, for the operator; empty where nothing is.
    public func problems() -> [String] {
        var found: [String] = []
        if name.isEmpty || name.utf8.count > 64 || !name.utf8.allSatisfy(Self.isNameByte) {
            found.append("--name: 1-64 of A-Z a-z 0-9 . _ : -")
        }
        if dataDirectory.isEmpty { found.append("--data: a directory") }
        if cores < 1 || cores > 64 || cores > shards { found.append("--cores: 1 to 64") }
        if durability == .replicated, cluster?.replicas == nil {
            found.append(
                "--durability replicated needs a topology with several replicas of each shard")
        }
        if cluster?.replicas != nil, storeURL == nil {
            found.append(
                "replicas need a store that all nodes share: DOWNPOUR_STORE_URL, such as "
                    + "sqlite:/path for nodes on one machine")
        }
        if redis != nil, storeURL == "none" {
            found.append("DOWNPOUR_REDIS_URL needs a store: what Redis shows comes from there")
        }
        if cluster != nil, clusterKeys == nil {
            found.append("--topology needs DOWNPOUR_CLUSTER_KEY: 64 hexadecimal digits")
        }
        if cluster == nil, !join.isEmpty { found.append("--join needs --topology") }
        if (tlsCertificate == nil) != (tlsKey == nil) {
            found.append("--tls-cert and --tls-key go together")
        }
        if drainMs < 0 || drainMs > 3_600_000 { found.append("--drain: 0s to 1h") }
        if !["text", "json"].contains(logFormat) { found.append("--log-format: json or text") }
        if segmentBytes < 1 << 17 || segmentBytes > 1 << 30 || segmentBytes % 4_096 != 0 {
            found.append("--segment-bytes: 128 KiB to 1 GiB, a multiple of 4096")
        }
        found += openListeners()
        return found
    }

    /// A listener on a non-loopback address wants its secret.
    private func openListeners() -> [String] {
        guard !insecure else { return [] }
        var found: [String] = []
        if !Self.isLoopback(http.host), tokenKeys == nil {
            found.append("--http on \(http.host) needs DOWNPOUR_TOKEN_KEY (or --insecure)")
        }
        if !Self.isLoopback(resp.host), respUsers == nil {
            found.append("--resp on \(resp.host) needs DOWNPOUR_RESP_USERS (or --insecure)")
        }
        if !Self.isLoopback(admin.host), adminToken == nil {
            found.append("--admin on \(admin.host) needs DOWNPOUR_ADMIN_TOKEN (or --insecure)")
        }
        return found
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2e, 0x5f, 0x3a, 0x2d: true
        default: false
        }
    }

    public static func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host == "::1" || host.hasPrefix("127.")
    }
}
