import Testing

@testable import StrictYAML

@Suite("Strict YAML")
struct StrictYAMLTests {
    struct Scenario: Equatable {
        var nodes = 0
        var delayNs: UInt64 = 0
        var amountFen: Int64 = 0
        var loss = 0.0
        var zones: [String] = []

        static func read(_ map: inout StrictMap) throws(StrictYAMLError) -> Scenario {
            try Scenario(
                nodes: map.required("nodes").count(in: 1...10_000),
                delayNs: map.optional("delay")?.durationNs() ?? 0,
                amountFen: map.optional("amount")?.fen() ?? 0,
                loss: map.optional("loss")?.ratio() ?? 0,
                zones: map.optional("zones")?.words() ?? [])
        }
    }

    static func read(_ text: String) throws(StrictYAMLError) -> Scenario {
        try StrictYAML.read(text, file: "a.yaml").map(Scenario.read)
    }

    @Test("a file with units is read exactly")
    func reads() throws {
        let scenario = try Self.read(
            """
            nodes: 2.5k   # a comment
            delay: 1.5ms
            amount: 200000000.00 CNY
            loss: 0.2%
            zones: [a, "b"]
            """)
        #expect(
            scenario
                == Scenario(
                    nodes: 2_500, delayNs: 1_500_000, amountFen: 20_000_000_000, loss: 0.002,
                    zones: ["a", "b"]))
    }

    @Test(
        "what is not understood is an error at its line",
        arguments: [
            ("", "a.yaml:1: the file is empty"),
            ("nodes: 5\n\ndelays: 1s", "a.yaml:3: unknown key delays"),
            ("# first\nnode: 5", "a.yaml:2: unknown key node, and nodes is missing"),
            ("# first\ndelay: 1s", "a.yaml:2: nodes is missing"),
            ("nodes: 5\ndelay: 1s\nnodes: 6", "a.yaml:1: nodes is given twice"),
            ("nodes: 5\ndelay: 350", "a.yaml:2: delay: a duration is needed"),
            ("nodes: 5\ndelay: 0.5ns", "a.yaml:2: delay: 0.5ns is not a whole number"),
            ("nodes: 0", "a.yaml:1: nodes: must be 1 to 10000"),
            ("nodes: 5x", "a.yaml:1: nodes: a count is needed"),
            ("nodes: -5", "a.yaml:1: nodes: a count is needed"),
            ("nodes: 99999999999999999999", "a.yaml:1: nodes: a count is needed"),
            ("nodes: 999999999999999999G", "a.yaml:1: nodes: 999999999999999999G is not a whole"),
            ("nodes:\n  - 5", "a.yaml:2: nodes: a single value is needed, not a list"),
            ("nodes: {a: 1}", "a.yaml:1: nodes: a single value is needed, not a map"),
            ("nodes: 5\namount: 12.5 CNY", "a.yaml:2: amount: an amount is needed"),
            ("nodes: 5\namount: 12", "a.yaml:2: amount: an amount is needed"),
            ("nodes: 5\nloss: 101%", "a.yaml:2: loss: must be 0.0 to 1.0"),
            ("nodes: 5\nzones: a", "a.yaml:2: zones: a list is needed"),
            ("nodes: 5\nzones:\n  - a\n  - b c", "a.yaml:4: zones[1]: a word is needed"),
            ("nodes:", "a.yaml:1: nodes: there is no value"),
            ("nodes: &n 5\ndelay: *n", "a.yaml:1: nodes: anchors and aliases are not used here"),
            ("[1]: 5", "a.yaml:1: keys are words"),
            ("- nodes", "a.yaml:1: a map is needed"),
            ("nodes: [", "a.yaml:2: "),
            ("nodes: 5\n---\nnodes: 6", "a.yaml:2: but found another document"),
        ])
    func refuses(text: String, reason: String) {
        let error = #expect(throws: StrictYAMLError.self) { _ = try Self.read(text) }
        #expect(error?.description.hasPrefix(reason) == true, "\(error?.description ?? "")")
    }

    @Test(
        "nesting is bounded",
        arguments: [
            String(repeating: "[", count: 100_000), String(repeating: "[\n", count: 100_000),
            String(repeating: "- ", count: 100_000), String(repeating: "{a: ", count: 60_000),
        ])
    func boundsNesting(text: String) {
        let error = #expect(throws: StrictYAMLError.self) { _ = try Self.read(text) }
        #expect(error?.reason.lowercased().contains("nest") == true, "\(error?.reason ?? "")")
    }

    @Test("a sweep replaces or adds one value, and errors keep their line")
    func replaces() throws {
        let text = "nodes: 5\nzones: [a, b]"
        let root = try StrictYAML.read(text, file: "a.yaml")
        let more = try root.replacing("nodes", by: "7").replacing("zones.1", by: "c")
            .replacing("delay", by: "2s").map(Scenario.read)
        #expect(more == Scenario(nodes: 7, delayNs: 2_000_000_000, zones: ["a", "c"]))
        #expect(throws: StrictYAMLError.self) { _ = try root.replacing("zones.2", by: "c") }
        #expect(throws: StrictYAMLError.self) { _ = try root.replacing("a.b", by: "c") }
        #expect(throws: StrictYAMLError.self) { _ = try root.replacing("zones", by: "c") }
    }
}
