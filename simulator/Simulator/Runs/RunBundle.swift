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

        public var description: String {
            switch self {
            case .unreadable(let text): text
            case .unknownVersion(let version): "bundle format \(version) is unknown to this release"
            case .unknownMutant(let name): "no mutant is called \(name)"
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
        return bundle
    }
}
