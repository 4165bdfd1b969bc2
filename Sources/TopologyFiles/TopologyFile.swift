public import EdgeCluster
public import StrictYAML

/// Where a node listens, as others reach it.
public struct NodeAddress: Sendable, Hashable {
    public let node: String
    /// A name or an address, without a port.
    public let host: String
    public let http: UInt16
    public let resp: UInt16
    public let bus: UInt16
    public let admin: UInt16

    /// HTTP, RESP, bus and admin, where a file does not say.
    public static let defaultPorts: [(name: String, port: UInt16)] = [
        ("http", 7_600), ("resp", 7_601), ("bus", 7_602), ("admin", 7_603),
    ]
}

/// A topology file: what placement needs, and where the nodes are.
///
///     version: 1
///     cluster: live-cn
///     shards: 1024
///     replicas: 2
///     arbiter: store
///     regions:
///       - name: hangzhou
///         weight: 60
///         nodes:
///           - {name: hz-1, zone: a, host: 10.0.0.11, weight: 1.5}
///           - {name: hz-2, zone: b, host: 10.0.0.12, bus: 7702}
///
/// Everything but `weight` (1), `arbiter` (`store`) and ports is required.
public struct TopologyFile: Sendable {
    /// The format that this reads.
    public static let version = 1

    public let topology: Topology
    /// In the order of the nodes' names.
    public let addresses: [NodeAddress]

    /// - Parameter file: what errors call the file.
    /// - Throws: the first problem, at its line.
    public static func read(
        _ text: String, file: String
    ) throws(StrictYAMLError) -> TopologyFile {
        let root = try StrictYAML.read(text, file: file)
        return try root.map { (map) throws(StrictYAMLError) in
            let version = try map.required("version")
            guard try version.count(in: 1...1_000) == Self.version else {
                throw version.error("this reads version \(Self.version)")
            }
            return try read(&map)
        }
    }

    private static func read(_ map: inout StrictMap) throws(StrictYAMLError) -> TopologyFile {
        let cluster = try map.required("cluster")
        let shards = try map.required("shards")
        let replicas = try map.required("replicas")
        let regions = try map.required("regions")
        let name = try cluster.word()
        let arbiter = try map.optional("arbiter")?.choice(Topology.Arbiter.self) ?? .store
        // Bounded here so that a number with a unit cannot overflow; what is allowed, it says.
        let shardCount = try shards.count(in: 0...1_000_000_000)
        let replicaCount = try replicas.count(in: 0...1_000_000_000)
        let parts = try regions.list { (value) throws(StrictYAMLError) in
            try Part.read(value)
        }
        let addresses = parts.flatMap { $0.nodes.map(\.address) }
        try checkAddresses(parts)
        do {
            let topology = try Topology(
                cluster: name, shards: shardCount, replicas: replicaCount, arbiter: arbiter,
                regions: parts.map(\.region))
            return TopologyFile(
                topology: topology, addresses: addresses.sorted { $0.node < $1.node })
        } catch {
            let place =
                switch error.place {
                case .cluster: cluster
                case .shards: shards
                case .replicas: replicas
                case .regions: regions
                case .region(let region): parts[region].value
                case .node(let region, let node): parts[region].nodes[node].value
                }
            throw place.error(error.reason)
        }
    }

    /// No two nodes listen at the same place, nor one twice.
    private static func checkAddresses(_ parts: [Part]) throws(StrictYAMLError) {
        var taken: Set<String> = []
        for node in parts.flatMap(\.nodes) {
            let address = node.address
            for port in [address.http, address.resp, address.bus, address.admin] {
                guard taken.insert("\(address.host):\(port)").inserted else {
                    throw node.value.error("\(address.host):\(port) is taken")
                }
            }
        }
    }
}

/// A region as it stands in the file.
private struct Part {
    struct Node {
        let value: StrictValue
        let node: Topology.Node
        let address: NodeAddress
    }

    let value: StrictValue
    let region: Topology.Region
    let nodes: [Node]

    static func read(_ value: StrictValue) throws(StrictYAMLError) -> Part {
        try value.map { (map) throws(StrictYAMLError) in
            let name = try map.required("name").word()
            let weightMilli = try map.optional("weight").map(weightMilli) ?? 1_000
            let nodes = try map.required("nodes").list { (value) throws(StrictYAMLError) in
                try node(value)
            }
            return Part(
                value: value,
                region: Topology.Region(
                    name: name, weightMilli: weightMilli, nodes: nodes.map(\.node)),
                nodes: nodes)
        }
    }

    private static func node(_ value: StrictValue) throws(StrictYAMLError) -> Node {
        try value.map { (map) throws(StrictYAMLError) in
            let name = try map.required("name").word()
            let zone = try map.required("zone").word()
            let host = try host(map.required("host"))
            let weightMilli = try map.optional("weight").map(weightMilli) ?? 1_000
            var ports: [UInt16] = []
            for (key, usual) in NodeAddress.defaultPorts {
                ports.append(try map.optional(key).map(port) ?? usual)
            }
            return Node(
                value: value,
                node: Topology.Node(name: name, zone: zone, weightMilli: weightMilli),
                address: NodeAddress(
                    node: name, host: host, http: ports[0], resp: ports[1], bus: ports[2],
                    admin: ports[3]))
        }
    }

    private static func port(_ value: StrictValue) throws(StrictYAMLError) -> UInt16 {
        UInt16(try value.count(in: 1...65_535))
    }

    /// In thousandths: at most three decimals.
    private static func weightMilli(_ value: StrictValue) throws(StrictYAMLError) -> Int {
        guard let number = ExactDecimal(try value.text()[...]),
            let milli = number.whole(times: 1_000),
            milli <= UInt64(Topology.weightLimit)
        else {
            throw value.error(
                "a weight is needed, 0 to \(Topology.weightLimit / 1_000), "
                    + "with at most three decimals")
        }
        return Int(milli)
    }

    /// A DNS name, an IPv4 address, or an IPv6 address without brackets.
    private static func host(_ value: StrictValue) throws(StrictYAMLError) -> String {
        let text = try value.text()
        guard HostName.isValid(text) else {
            throw value.error("a host is needed: a name or an address, without a port")
        }
        return text
    }
}
