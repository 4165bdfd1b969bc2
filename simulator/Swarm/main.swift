import EdgeTypes
import Glibc
import Simulator

// Seeds of the fault simulator without the rest of Downpour, for sanitizers and profilers:
//
//     downpour-swarm [first seed] [seeds] [mutant] [trace]

let arguments = Array(CommandLine.arguments.dropFirst())
let first = arguments.count > 0 ? UInt64(arguments[0]) ?? 1 : 1
let count = arguments.count > 1 ? UInt64(arguments[1]) ?? 1 : 1
let mutant = arguments.count > 2 ? Mutant(rawValue: arguments[2]) ?? .none : .none
let traces = arguments.count > 3
var scenario = Scenario()
// DOWNPOUR_CLUSTER=3: three nodes that are one cluster.
if let nodes = getenv("DOWNPOUR_CLUSTER").flatMap({ Int(String(cString: $0)) }) {
    scenario.name = "cluster"
    scenario.nodes = nodes
    scenario.isCluster = true
    scenario.mostCores = 2
    scenario.poolsPerNode = 2
    if let copies = getenv("DOWNPOUR_REPLICAS").flatMap({ Int(String(cString: $0)) }) {
        scenario.replicas = copies
    }
}
var events: UInt64 = 0
var virtualNs: UInt64 = 0
var probes: Set<Probe> = []
var failures = 0
for seed in first..<(first + count) {
    let world = World(scenario, seed: seed, mutant: mutant)
    if traces { world.trace = { event, ns, line in print("\(event) \(ns / 1000) us: \(line)") } }
    world.run()
    events += world.events
    virtualNs += world.nowNs
    probes.formUnion(world.probes)
    if let failure = world.failure {
        failures += 1
        print("seed \(seed): \(failure)")
        if mutant != .none { break }
    }
}
print("\(failures) failures, \(events) events, \(virtualNs / 1_000_000_000) s simulated")
print(
    "not reached: \(Probe.expected(in: scenario).filter { !probes.contains($0) }.map(\.rawValue))")
