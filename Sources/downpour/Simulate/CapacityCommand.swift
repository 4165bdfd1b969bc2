import ArgumentParser
import CapacitySimulator

/// Answers whether so many nodes are enough for so many users.
struct CapacityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "capacity",
        abstract: "Replay a scenario's users against the node core; does its SLO hold?",
        discussion: """
            Exit 0: the SLO holds; 1: it does not; 2: the run contradicts itself; 65: bad file.
            Nodes have one core each and are fed through one queue; journals and stores are
            counted and take calibrated time.
            """)

    @Argument(help: "The scenario file (kind: capacity).") var scenario: String
    @Option(help: "The first replication's seed; the file's otherwise.") var seed: UInt64?
    @Option(help: "Replications, each with the next seed.") var replications: Int?
    @Flag(help: "Print one JSON document.") var json = false
    @Option(help: "Write a page with plots.") var html: String?
    @Flag(help: "Also find how many nodes are needed, with none, one and more of them lost.")
    var plan = false
    @Option(help: "With --plan: nodes lost at most.") var losses = 2
    @Option(help: "The event queue: ladder or heap. The digest is the same.") var queue = "ladder"

    func validate() throws {
        guard replications ?? 1 >= 1, replications ?? 1 <= 1_000 else {
            throw ValidationError("--replications: 1 to 1000")
        }
        guard losses >= 1, losses <= 1_000 else { throw ValidationError("--losses: 1 to 1000") }
        guard CapacityQueue(rawValue: queue) != nil else {
            throw ValidationError("--queue: ladder or heap")
        }
    }

    func run() throws {
        HugePages.use()
        let root = try CapacityInput.root(scenario)
        let (wanted, calibration) = try CapacityInput.scenario(root, path: scenario)
        let first = seed ?? wanted.seed
        var results: [CapacityResult] = []
        for number in 0..<(replications ?? wanted.replications) {
            let result = wanted.run(
                seed: first &+ UInt64(number), calibration: calibration,
                queue: CapacityQueue(rawValue: queue) ?? .ladder)
            results.append(result)
            Console.note("seed \(result.seed): done, \(result.events) events")
        }
        var needs: [CapacityPlan.Need]?
        if plan {
            let planner = CapacityPlan(wanted, calibration: calibration, seed: first)
            needs = Set([0, 1, losses]).sorted().map {
                planner.need(losses: $0, progress: Console.note)
            }
        }
        let report = CapacityReport(
            wanted, file: scenario, calibration: calibration, results: results, plan: needs)
        if let html { try CapacityInput.write(report.html, to: html) }
        Console.say(json ? try CapacityInput.json(report) : report.text)
        guard report.isClean else { throw Exit.contradiction }
        guard report.holds else { throw Exit.failed }
    }
}

extension Exit {
    /// The simulated system, or the simulator, contradicts itself.
    static let contradiction = ExitCode(2)
}
