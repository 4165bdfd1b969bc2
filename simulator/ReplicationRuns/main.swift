import EdgeTypes
import Simulator

// Seeds of the replication model, for development and sanitizers:
//
//     downpour-replication [first seed] [seeds] [mutant|none] [replicas] [trace]

let arguments = Array(CommandLine.arguments.dropFirst())
let first = arguments.count > 0 ? UInt64(arguments[0]) ?? 1 : 1
let count = arguments.count > 1 ? UInt64(arguments[1]) ?? 1 : 1
var scenario = ReplicationScenario()
if arguments.count > 2 { scenario.mutant = ReplicationMutant(rawValue: arguments[2]) ?? .none }
if arguments.count > 3 { scenario.replicas = Int(arguments[3]) ?? 2 }
var events: UInt64 = 0
var failures = 0
var probes: Set<ReplicationProbe> = []
for seed in first..<(first + count) {
    let world = ReplicationWorld(scenario, seed: seed)
    if arguments.count > 4 { world.trace = { print($0) } }
    world.run()
    events += world.events
    probes.formUnion(world.probes)
    if let failure = world.failure {
        failures += 1
        print("seed \(seed): \(failure)")
        if scenario.mutant != .none { break }
    }
}
print("\(failures) failures, \(events) events")
print("not reached: \(ReplicationProbe.allCases.filter { !probes.contains($0) }.map(\.rawValue))")
