/// A node of a cluster, as the arbiter knows it.
///
/// Its number is its place among those that came, for good: configurations of shards name it by
/// that. Nodes that go keep theirs, and whoever comes back under the same name has it again.
public struct ClusterNode: Hashable, Sendable {
    public var name: String
    public var region: String
    public var zone: String
    /// A name or an address, as the other nodes reach it.
    public var host: String
    public var http: Int
    public var resp: Int
    public var bus: Int
    public var admin: Int

    public init(
        name: String, region: String, zone: String, host: String, http: Int, resp: Int, bus: Int,
        admin: Int
    ) {
        self.name = name
        self.region = region
        self.zone = zone
        self.host = host
        self.http = http
        self.resp = resp
        self.bus = bus
        self.admin = admin
    }
}
