import EdgeCluster
import Foundation
import StrictYAML
import Testing

@testable import TopologyFiles

@Suite("Topology files")
struct TopologyFileTests {
    static let sound = """
        version: 1
        cluster: live-cn
        shards: 1024
        replicas: 2
        arbiter: none
        regions:
          - name: hangzhou
            weight: 60
            nodes:
              - {name: hz-2, zone: b, host: 10.0.0.12, http: 80, bus: 7702}
              - {name: hz-1, zone: a, host: 10.0.0.11, weight: 1.5}
        """

    @Test("a file is read in full, with usual ports and weights")
    func reads() throws {
        let file = try TopologyFile.read(Self.sound, file: "t.yaml")
        #expect(
            try file.topology
                == Topology(
                    cluster: "live-cn", shards: 1_024, replicas: 2, arbiter: .none,
                    regions: [
                        Topology.Region(
                            name: "hangzhou", weightMilli: 60_000,
                            nodes: [
                                Topology.Node(name: "hz-1", zone: "a", weightMilli: 1_500),
                                Topology.Node(name: "hz-2", zone: "b"),
                            ])
                    ]))
        #expect(
            file.addresses == [
                NodeAddress(
                    node: "hz-1", host: "10.0.0.11", http: 7_600, resp: 7_601, bus: 7_602,
                    admin: 7_603),
                NodeAddress(
                    node: "hz-2", host: "10.0.0.12", http: 80, resp: 7_601, bus: 7_702,
                    admin: 7_603),
            ])
    }

    /// The sound file with one thing in it changed, and where that is found out.
    static let changes: [(from: String, to: String, reason: String)] = [
        ("version: 1", "version: 2", "t.yaml:1: version: this reads version 1"),
        ("cluster: live-cn", "clustr: live-cn", "t.yaml:2: unknown key clustr, and cluster"),
        ("cluster: live-cn", "cluster: live cn", "t.yaml:2: cluster: a word is needed"),
        ("shards: 1024", "shards: 1000", "t.yaml:3: shards: shards must be a power of two"),
        ("shards: 1024", "shards: 32768", "t.yaml:3: shards: shards must be a power of two"),
        ("shards: 1024", "shards: 0", "t.yaml:3: shards: shards must be a power of two"),
        ("shards: 1024", "shards: -4", "t.yaml:3: shards: a count is needed"),
        ("replicas: 2", "replicas: 0", "t.yaml:4: replicas: replicas must be 1 to 3"),
        ("replicas: 2", "replicas: 4", "t.yaml:4: replicas: replicas must be 1 to 3"),
        ("replicas: 2", "replicas: 3", "t.yaml:7: regions[0]: region hangzhou has 2 nodes"),
        ("arbiter: none", "arbiter: redis", "t.yaml:5: arbiter: must be one of store, none"),
        ("arbiter: none", "secret: none", "t.yaml:5: unknown key secret"),
        ("name: hangzhou", "name: hang/zhou", "t.yaml:7: regions[0].name: a word is needed"),
        ("weight: 60", "weight: 1001", "t.yaml:8: regions[0].weight: a weight is needed"),
        ("weight: 60", "weight: 0", "t.yaml:7: regions: no region has a weight"),
        ("weight: 60", "weigth: 60", "t.yaml:8: regions[0]: unknown key weigth"),
        ("name: hz-2", "name: hz-1", "t.yaml:11: regions[0].nodes[1]: node hz-1 is given twice"),
        ("zone: b", "zone: ", "t.yaml:10: regions[0].nodes[0].zone: there is no value"),
        ("zone: b, host", "host", "t.yaml:10: regions[0].nodes[0]: zone is missing"),
        ("zone: b", "zone: b, zone: c", "t.yaml:10: zone is given twice"),
        ("10.0.0.12", "10.0.0.300", "t.yaml:10: regions[0].nodes[0].host: a host is needed"),
        ("10.0.0.12", "\"10.0.0.12:7600\"", "t.yaml:10: regions[0].nodes[0].host: a host"),
        ("http: 80", "http: 70000", "t.yaml:10: regions[0].nodes[0].http: must be 1 to 65535"),
        ("http: 80", "http: 0", "t.yaml:10: regions[0].nodes[0].http: must be 1 to 65535"),
        ("http: 80", "http: 7702", "t.yaml:10: regions[0].nodes[0]: 10.0.0.12:7702 is taken"),
        ("10.0.0.12, http: 80", "10.0.0.11", "t.yaml:11: regions[0].nodes[1]: 10.0.0.11:7600 is"),
        ("weight: 1.5", "weight: 1.5555", "t.yaml:11: regions[0].nodes[1].weight: a weight"),
        ("weight: 1.5", "weight: -1", "t.yaml:11: regions[0].nodes[1].weight: a weight"),
        ("weight: 1.5", "weight: 0", "t.yaml:7: regions[0]: region hangzhou has 1 nodes"),
        ("weight: 1.5", "token: abc", "t.yaml:11: regions[0].nodes[1]: unknown key token"),
    ]

    @Test("what is wrong is refused with its line and reason", arguments: changes.indices)
    func refuses(index: Int) throws {
        let change = Self.changes[index]
        let text = Self.sound.replacingOccurrences(of: change.from, with: change.to)
        #expect(text != Self.sound)
        let error = #expect(throws: StrictYAMLError.self) {
            _ = try TopologyFile.read(text, file: "t.yaml")
        }
        #expect(error?.description.hasPrefix(change.reason) == true, "\(error?.description ?? "")")
    }

    @Test("two regions of one name are refused; a region without weight may be empty")
    func regions() throws {
        let twice = Self.sound + "\n  - {name: hangzhou, weight: 0, nodes: []}"
        let error = #expect(throws: StrictYAMLError.self) {
            _ = try TopologyFile.read(twice, file: "t.yaml")
        }
        #expect(error?.description == "t.yaml:12: regions[1]: region hangzhou is given twice")
        let empty = Self.sound + "\n  - {name: chengdu, weight: 0, nodes: []}"
        #expect(try TopologyFile.read(empty, file: "t.yaml").topology.regions.count == 2)
        let tiny =
            Self.sound + "\n  - {name: b, weight: 0.001, nodes: [{name: x, zone: a, host: x}, "
            + "{name: y, zone: b, host: y}]}"
        let small = #expect(throws: StrictYAMLError.self) {
            _ = try TopologyFile.read(tiny, file: "t.yaml")
        }
        #expect(small?.reason.contains("less than one of 1024 shards") == true)
    }

    @Test(
        "hosts are names and addresses",
        arguments: [
            ("10.0.0.1", true), ("255.255.255.255", true), ("n-1.example.net", true),
            ("localhost", true), ("1node.example", true), ("::1", true), ("fe80::1:2", true),
            ("2001:db8:0:0:0:0:0:1", true), ("1::", true),
            ("", false), ("a..b", false), ("-a", false), ("a-", false), ("a_b", false),
            ("a b", false), ("1.2.3", false), ("1.2.3.4.5", false), ("01.2.3.4", false),
            ("1.2.3.256", false), ("[::1]", false), (":::1", false), ("1::2::3", false),
            ("1:2:3:4:5:6:7", false), ("1:2:3:4:5:6:7:8:9", false), ("12345::", false),
            ("host:7600", false), ("例え.jp", false),
        ])
    func hosts(text: String, isHost: Bool) {
        #expect(HostName.isValid(text) == isHost)
    }

    @Test("the examples are sound, and their shards find their places")
    func examples() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let folder = root.appendingPathComponent("topology/examples").path
        let files = try FileManager.default.contentsOfDirectory(atPath: folder)
            .filter { $0.hasSuffix(".yaml") }
        #expect(Set(files).isSuperset(of: ["local-3.yaml", "two-regions.yaml"]))
        for file in files {
            let text = try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8)
            let topology = try TopologyFile.read(text, file: file).topology
            let plan = try ShardMapPlanner.plan(from: nil, to: topology)
            #expect(plan.target.violation(of: topology) == nil)
        }
    }
}
