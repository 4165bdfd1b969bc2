import CapacitySimulator
import Foundation
import StrictYAML
import Testing

@testable import ScenarioFiles

@Suite("Capacity files")
struct CapacityFileTests {
    static let sound = """
        kind: capacity
        name: small
        nodes: 8
        pools:
          - name: rain
            kind: rain
            users: 60k
            packets: 10M
            amount: 200000.00 CNY
            slices: 16
            arrivals:
              notification: {uniform: {from: 0ms, to: 2s}}
              reaction: {log-normal: {median: 350ms, sigma: 0.5}}
        losses:
          - {nodes: 1, at: 1s}
        slo: {p99: 200ms, max: 1s, unserved: 0.2%}
        """

    static func read(_ text: String, csv: String? = nil) throws -> CapacityFile {
        try CapacityFile.read(StrictYAML.read(text, file: "a.yaml")) { _ in csv }
    }

    @Test("a scenario is read with its units")
    func reads() throws {
        let scenario = try Self.read(Self.sound).scenario
        #expect(scenario.users == 60_000)
        #expect(scenario.pools[0].amountFen == 20_000_000)
        #expect(scenario.objectives.map(\.percentile) == [99, 100])
        #expect(scenario.mostUnserved == 0.002)
        #expect(scenario.losses[0].retryAfterNs == 1_000_000_000)
    }

    @Test(
        "what is wrong is told with its line",
        arguments: [
            ("nodes: 8", "nodes: 2000", "a.yaml:1: there are more nodes than shards"),
            ("users: 60k", "user: 60k", "a.yaml:7: unknown key user, and users is missing"),
            ("amount: 200000.00 CNY", "amount: 200000", "a.yaml:9: pools[0].amount: an amount"),
            ("amount: 200000.00 CNY", "amount: 1.00 CNY", "a.yaml:5: pools[0]: a packet would"),
            ("to: 2s", "to: 2", "a.yaml:12: pools[0].arrivals.notification.uniform.to: a duration"),
            ("uniform", "unifrom", "a.yaml:12: pools[0].arrivals.notification: a duration or one"),
            ("kind: rain", "kind: stock", "a.yaml:6: pools[0].kind: must be one of rain"),
            ("nodes: 1, at", "nodes: 8, at", "a.yaml:1: no node would be left"),
            ("p99: 200ms", "q99: 200ms", "a.yaml:16: slo.q99: percentiles"),
            ("unserved: 0.2%", "unserved: 2", "a.yaml:16: slo.unserved: must be 0.0 to 1.0"),
        ])
    func refuses(old: String, new: String, reason: String) {
        let text = Self.sound.replacingOccurrences(of: old, with: new)
        #expect(text != Self.sound)
        let error = #expect(throws: StrictYAMLError.self) { _ = try Self.read(text) }
        #expect(error?.description.hasPrefix(reason) == true, "\(error?.description ?? "")")
    }

    @Test("recorded arrivals come from a CSV file, with its unit")
    func csv() throws {
        let rows = try ArrivalFile.read("offset_ms,count\n0,5\n2.5,7\n10,1\n", file: "a.csv").rows
        #expect(rows.map(\.fromNs) == [0, 2_500_000, 10_000_000])
        #expect(rows.map(\.count) == [5, 7, 1])
        let text = """
            kind: capacity
            name: recorded
            nodes: 2
            pools:
              - {name: rain, kind: rain, packets: 5, amount: 1.00 CNY, slices: 2, \
            arrivals: {recorded: a.csv}}
            """
        let scenario = try Self.read(text, csv: "offset_s,count\r\n0,5\r\n1,7\r\n").scenario
        #expect(scenario.users == 12)
        let error = #expect(throws: StrictYAMLError.self) { _ = try Self.read(text) }
        #expect(error?.description == "a.yaml:5: pools[0].arrivals.recorded: cannot read a.csv")
    }

    @Test(
        "a bad CSV file is refused with its line",
        arguments: [
            ("", "a.csv:1: the first line"), ("offset,count\n0,1\n", "a.csv:1: the first line"),
            ("offset_ms,count\n0,1\n", "a.csv:3: at least two rows"),
            ("offset_ms,count\n0,1\n0,2\n", "a.csv:3: offsets must rise"),
            ("offset_ms,count\n0,1\n5\n", "a.csv:3: an offset and a count"),
            ("offset_ms,count\n0,1\n5,-1\n", "a.csv:3: an offset and a count"),
            ("offset_ms,count\n0,0\n5,0\n", "a.csv:4: nobody arrives"),
        ])
    func refusesCSV(text: String, reason: String) {
        let error = #expect(throws: StrictYAMLError.self) {
            _ = try ArrivalFile.read(text, file: "a.csv")
        }
        #expect(error?.description.hasPrefix(reason) == true, "\(error?.description ?? "")")
    }

    @Test("the scenarios and the calibration that come with the product are sound")
    func shipped() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("simulator")
        let place = root.appendingPathComponent("scenarios/capacity")
        let names = try FileManager.default.contentsOfDirectory(atPath: place.path)
            .filter { $0.hasSuffix(".yaml") }
        #expect(names.count >= 4)
        for name in names {
            let text = try String(contentsOf: place.appendingPathComponent(name), encoding: .utf8)
            let file = try CapacityFile.read(StrictYAML.read(text, file: name)) { path in
                try? String(contentsOf: place.appendingPathComponent(path), encoding: .utf8)
            }
            #expect(file.calibration == "../../calibration/default.json")
        }
        let data = try Data(contentsOf: root.appendingPathComponent("calibration/default.json"))
        let calibration = try JSONDecoder().decode(Calibration.self, from: data)
        #expect(calibration.problem == nil)
    }
}
