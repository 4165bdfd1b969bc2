import ArgumentParser
import CapacitySimulator
import Foundation

/// Measures what the work of a node takes on this machine.
struct CalibrateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "calibrate",
        abstract: "Measure the node's operations on this machine, for capacity scenarios.",
        discussion: "Takes half a minute. The machine should have nothing else to do.")

    @Option(help: "Where the file goes.") var out: String?
    @Option(help: "The calibration's name; the host's otherwise.") var name: String?

    func run() throws {
        let name = name ?? ProcessInfo.processInfo.hostName
        let path = out ?? "simulator/calibration/\(name).json"
        var bench = CalibrationBench()
        let measurements = bench.measure { Console.note($0) }
        let calibration = Calibration(
            name: name, cpu: Self.cpu(), cores: ProcessInfo.processInfo.activeProcessorCount,
            commit: Self.commit(), date: ISO8601DateFormatter().string(from: Date()),
            measurements: measurements)
        try CapacityInput.write(try CapacityInput.json(calibration) + "\n", to: path)
        for measurement in measurements {
            let median = measurement.quantiles.first { $0.part >= 0.5 }?.ns ?? 0
            let high = measurement.quantiles.first { $0.part >= 0.99 }?.ns ?? 0
            Console.say(
                "\(measurement.operation.rawValue) in batches of \(measurement.batch): "
                    + "p50 \(median) ns, p99 \(high) ns")
        }
        Console.say("written: \(path)")
    }

    private static func cpu() -> String {
        guard let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8) else {
            return "unknown"
        }
        for line in text.split(separator: "\n") where line.hasPrefix("model name") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            return line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        }
        return "unknown"
    }

    /// The working directory's commit, where it has one.
    private static func commit() -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["git", "rev-parse", "--short=12", "HEAD"]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return "unknown" }
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { return "unknown" }
        return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
