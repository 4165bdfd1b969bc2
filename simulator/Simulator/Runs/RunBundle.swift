public import EdgeTypes
import Foundation

/// Everything that a run follows from, and what came of it: a failure to be replayed anywhere.
public struct RunBundle: Sendable, Codable {
    /// Of this format.
    public var version = 1
    /// Of the program that made it; empty where it is not known.
    public var commit = ""
    public var scenario: Scenario
    public var seed: UInt64
    public var mutant = Mutant.none.rawValue
    public var plan: FaultPlan
    /// The users that take part, by number.
    public var users: [Int]
    public var failure: Failure?
    /// The digest after every `World.trailStep` events.
    public var trail: [UInt64] = []

    public init(_ scenario: Scenario, seed: UInt64, mutant: Mutant = .none) {
        self.scenario = scenario
        self.seed = seed
        self.mutant = mutant.rawValue
        plan = FaultPlan.draw(scenario, RandomSource(seed: seed))
        users = Array(0..<scenario.users)
    }

    public func world() -> World {
        World(
            scenario, seed: seed, plan: plan, mutant: Mutant(rawValue: mutant) ?? .none,
            users: users)
    }

    /// Runs it.
    public func run() -> World {
        let world = world()
        world.run()
        return world
    }

    public mutating func take(_ world: World) {
        failure = world.failure
        trail = world.trail
    }

    // MARK: Files

    public enum FileError: Error, CustomStringConvertible {
        case unreadable(String)
        case unknownVersion(Int)
        case unknownMutant(String)
        case impossible(String)

        public var description: String {
            switch self {
            case .unreadable(let text): text
            case .unknownVersion(let version): "bundle format \(version) is unknown to this release"
            case .unknownMutant(let name): "no mutant is called \(name)"
            case .impossible(let text): "it cannot be run: \(text)"
            }
        }
    }

    /// As JSON, keys in order: the same bundle is the same file.
    public func encoded() throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(self)
    }

    public static func decode(_ data: Data) throws(FileError) -> RunBundle {
        let bundle: RunBundle
        do {
            bundle = try JSONDecoder().decode(RunBundle.self, from: data)
        } catch {
            throw .unreadable("\(error)")
        }
        guard bundle.version == 1 else { throw .unknownVersion(bundle.version) }
        guard Mutant(rawValue: bundle.mutant) != nil else { throw .unknownMutant(bundle.mutant) }
        if let problem = bundle.problem { throw .impossible(problem) }
        return bundle
    }

    /// Why it cannot be run; nil where it can.
    private var problem: String? {
        let longestNs: UInt64 = 1 << 50
        guard (1...64).contains(scenario.nodes), (1...8).contains(scenario.mostCores),
            (1...64).contains(scenario.poolsPerNode), (1...100_000).contains(scenario.users),
            (1...1_000).contains(scenario.mostFaultsPerKind)
        else { return "nodes, cores, pools, users or faults are out of range" }
        guard (8...1_024).contains(scenario.shards), scenario.shards & (scenario.shards - 1) == 0
        else { return "shards are a power of two from 8 to 1024" }
        guard
            scenario.segmentBytes == 0
                || (scenario.segmentBytes % 4_096 == 0
                    && (16 << 10...1 << 30).contains(scenario.segmentBytes))
        else { return "segments are of 16 KiB to 1 GiB" }
        guard scenario.opensNs < scenario.crowdEndNs, scenario.crowdEndNs < longestNs,
            scenario.faultsStartNs < scenario.faultsEndNs, scenario.faultsEndNs < longestNs,
            scenario.patienceNs < longestNs, scenario.maintenanceNs >= 1_000_000,
            scenario.maintenanceNs < longestNs
        else { return "times are out of order or out of range" }
        if let problem = scenario.links?.problem { return "links: \(problem)" }
        if let problem = scenario.topology?.problem(scenario) { return "topology: \(problem)" }
        guard users.allSatisfy({ $0 >= 0 && $0 < 1 << 32 }) else { return "a user is no number" }
        for fault in plan.faults {
            guard (0..<scenario.nodes).contains(fault.node), fault.startNs <= fault.endNs,
                fault.endNs < longestNs, fault.magnitude.isFinite, abs(fault.magnitude) < 1e9
            else { return "a fault is out of range: \(fault)" }
        }
        return nil
    }
}
