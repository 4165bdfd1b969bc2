import Foundation
import Simulator
import StrictYAML
import Testing

@testable import ScenarioFiles

@Suite("Files of fault scenarios")
struct FaultFileTests {
    static let sound = """
        kind: faults
        name: far
        nodes: 2
        cores: 2
        shards: 16
        users: 40
        pools: 2
        opens: 1s
        crowd: 8s
        faults: {from: 1ms, until: 9s, most: 2, without: [bitRot]}
        links:
          users: crossRegion
          mobile: {log-normal: {median: 40ms, sigma: 1.1}}
          sameZone: {quantiles: {parts: [1%, 50%, 99.9%], times: [50us, 90us, 3ms]}}
        """

    static func read(_ text: String) throws -> Scenario {
        let path = NSTemporaryDirectory() + "\(UUID().uuidString).yaml"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return try FaultScenarioFile.pinned(path).scenario
    }

    @Test("links are read; what is left out is as it was")
    func reads() throws {
        let links = try #require(try Self.read(Self.sound).links)
        #expect(links.users == .crossRegion && links.backEnds == nil)
        #expect(links.shapes.mobile == .logNormal(medianNs: 40_000_000, sigma: 1.1))
        #expect(links.shapes.sameZone.quantileNs(0.5) == 90_000)
        #expect(links.shapes.sameZone.quantileNs(0.9999) == 3_000_000)
        #expect(links.shapes.crossZone == LinkShapes().crossZone)
    }

    @Test(
        "what is wrong is told with its line",
        arguments: [
            ("users: crossRegion", "users: moon", ":12: links.users: must be one of sameZone"),
            ("mobile: {", "mobil: {", ":13: links: unknown key mobil"),
            ("sigma: 1.1", "sigma: 9", ":13: links.mobile.log-normal.sigma: must be 0.0 to 4.0"),
            ("[50us, 90us, 3ms]", "[50us, 90us]", ":14: links.sameZone.quantiles: a time for"),
            ("[50us, 90us, 3ms]", "[95us, 90us, 3ms]", ":14: links.sameZone.quantiles: prob"),
            ("[1%, 50%, 99.9%]", "[1%, 50%, 50%]", ":14: links.sameZone.quantiles: prob"),
        ])
    func refuses(old: String, new: String, reason: String) {
        let text = Self.sound.replacingOccurrences(of: old, with: new)
        #expect(text != Self.sound)
        let error = #expect(throws: StrictYAMLError.self) { _ = try Self.read(text) }
        #expect(error?.description.contains(reason) == true, "\(error?.description ?? "")")
    }

    @Test("the scenarios that come with the product are sound")
    func shipped() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("simulator/scenarios")
        for folder in ["faults", "smoke", "regressions"] {
            let place = root.appendingPathComponent(folder)
            let names = try FileManager.default.contentsOfDirectory(atPath: place.path)
            #expect(!names.isEmpty)
            for name in names {
                _ = try FaultScenarioFile.pinned(place.appendingPathComponent(name).path)
            }
        }
    }
}
