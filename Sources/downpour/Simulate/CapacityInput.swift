import CapacitySimulator
import Foundation
import ScenarioFiles
import StrictYAML

/// Scenario files and what they name, from disk. Errors are told and end with 65.
enum CapacityInput {
    static func root(_ path: String) throws -> StrictValue {
        guard let text = text(path) else {
            Console.note("downpour: cannot read \(path)")
            throw Exit.badInput
        }
        do {
            return try StrictYAML.read(text, file: path)
        } catch {
            Console.note("downpour: \(error)")
            throw Exit.badInput
        }
    }

    static func scenario(_ root: StrictValue, path: String) throws -> (
        scenario: CapacityScenario, calibration: Calibration
    ) {
        do {
            guard try ScenarioKind.of(root) == .capacity else {
                throw root.error("not a capacity scenario")
            }
            let file = try CapacityFile.read(root) { text(beside(path, $0)) }
            return (file.scenario, try calibration(file.calibration, path))
        } catch let error as StrictYAMLError {
            Console.note("downpour: \(error)")
            throw Exit.badInput
        }
    }

    /// - Returns: round figures where the scenario names no calibration.
    private static func calibration(_ name: String?, _ path: String) throws -> Calibration {
        guard let name else { return .constant() }
        let place = beside(path, name)
        guard let data = FileManager.default.contents(atPath: place) else {
            Console.note("downpour: cannot read \(place)")
            throw Exit.badInput
        }
        do {
            let calibration = try JSONDecoder().decode(Calibration.self, from: data)
            if let problem = calibration.problem {
                Console.note("downpour: \(place): \(problem)")
                throw Exit.badInput
            }
            return calibration
        } catch let error as DecodingError {
            Console.note("downpour: \(place): not a calibration: \(error)")
            throw Exit.badInput
        }
    }

    private static func text(_ path: String) -> String? {
        guard let data = FileManager.default.contents(atPath: path) else { return nil }
        return String(data: data, encoding: .utf8)
    }

    /// A path that a file names, seen from the file.
    private static func beside(_ file: String, _ path: String) -> String {
        guard !path.hasPrefix("/") else { return path }
        return URL(fileURLWithPath: file).deletingLastPathComponent()
            .appendingPathComponent(path).path
    }

    static func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    static func write(_ text: String, to path: String) throws {
        do {
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        } catch {
            Console.note("downpour: cannot write \(path): \(error.localizedDescription)")
            throw Exit.failed
        }
    }
}
