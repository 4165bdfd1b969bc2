import Simulator

/// Placeholder until scenario files are read.
enum FaultScenarioFile {
    static func read(_ path: String) throws -> Scenario { Scenario() }
}
