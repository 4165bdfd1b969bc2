import ArgumentParser
import CapacitySimulator
import ScenarioFiles
import StrictYAML

/// Runs a scenario with one or two of its values varied.
struct SweepCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sweep",
        abstract: "Run a capacity scenario with other values; a table.",
        discussion: """
            --vary nodes=100,200,400 --vary pools.0.slices=100,200
            Keys are those of the file, joined by dots; places in lists are numbers from 0.
            """)

    @Argument(help: "The scenario file (kind: capacity).") var scenario: String
    @Option(help: "KEY=VALUE,VALUE,…; once or twice.") var vary: [String]
    @Option(help: "The seed; the file's otherwise.") var seed: UInt64?
    @Flag(help: "Print one JSON document.") var json = false

    struct Row: Encodable {
        var values: [String: String]
        var holds: Bool
        var p50Ms: Double
        var p99Ms: Double
        var p999Ms: Double
        var unserved: UInt64
        var stranded: Int64
        var hottestUtilisation: Double
        var digest: String
    }

    private struct Axis {
        var key: String
        var values: [String]
    }

    private func axes() throws -> [Axis] {
        try vary.map { text in
            let parts = text.split(separator: "=", maxSplits: 1)
            guard parts.count == 2 else { throw ValidationError("--vary: KEY=VALUE,VALUE,…") }
            return Axis(
                key: String(parts[0]), values: parts[1].split(separator: ",").map(String.init))
        }
    }

    func validate() throws {
        guard vary.count == 1 || vary.count == 2 else {
            throw ValidationError("--vary: one or two parameters")
        }
        guard try axes().allSatisfy({ !$0.values.isEmpty && $0.values.count <= 100 }) else {
            throw ValidationError("--vary: 1 to 100 values each")
        }
    }

    func run() throws {
        HugePages.use()
        let root = try CapacityInput.root(scenario)
        let axes = try axes()
        var rows: [Row] = []
        for first in axes[0].values {
            for second in axes.count > 1 ? axes[1].values : [""] {
                var values = [axes[0].key: first]
                if axes.count > 1 { values[axes[1].key] = second }
                rows.append(try row(root, values, order: axes.map(\.key)))
            }
        }
        if json { return Console.say(try CapacityInput.json(rows)) }
        let keys = axes.map(\.key)
        let heads = keys + ["SLO", "p50 ms", "p99 ms", "p99.9 ms", "unserved", "stranded", "CPU"]
        table(
            [heads]
                + rows.map { row in
                    keys.map { row.values[$0] ?? "" } + [
                        row.holds ? "holds" : "fails", tenths(row.p50Ms), tenths(row.p99Ms),
                        tenths(row.p999Ms), "\(row.unserved)", "\(row.stranded)",
                        tenths(row.hottestUtilisation * 100) + " %",
                    ]
                })
    }

    private func row(
        _ root: StrictValue, _ values: [String: String], order: [String]
    ) throws -> Row {
        var varied = root
        do {
            for key in order { varied = try varied.replacing(key, by: values[key] ?? "") }
        } catch {
            Console.note("downpour: \(error)")
            throw Exit.badInput
        }
        let (wanted, calibration) = try CapacityInput.scenario(varied, path: scenario)
        let result = wanted.run(seed: seed ?? wanted.seed, calibration: calibration)
        let report = CapacityReport(
            wanted, file: scenario, calibration: calibration, results: [result])
        let one = report.replications[0]
        Console.note(order.map { "\($0)=\(values[$0] ?? "")" }.joined(separator: " ") + ": done")
        return Row(
            values: values, holds: report.holds, p50Ms: one.p50Ms, p99Ms: one.p99Ms,
            p999Ms: one.p999Ms, unserved: one.unserved, stranded: one.stranded,
            hottestUtilisation: report.heatMap.map(\.peakUtilisation).max() ?? 0,
            digest: one.digest)
    }

    private func tenths(_ value: Double) -> String {
        let scaled = Int64((value * 10).rounded())
        return "\(scaled / 10).\(scaled.magnitude % 10)"
    }

    private func table(_ rows: [[String]]) {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        for row in rows {
            let cells = zip(row, widths).map { cell, width in
                String(repeating: " ", count: width - cell.count) + cell
            }
            Console.say(cells.joined(separator: "  "))
        }
    }
}
