import EdgeCluster
import Glibc

// Plans from one topology to a neighbouring one: time, replicas copied beside the bound, how far
// nodes are from their shares, partners.
//
//     downpour-placement-bench [nodes] [shards] [zones] [replicas]

struct Case {
    let name: String
    let after: [Topology.Node]
}

let numbers = CommandLine.arguments.dropFirst().map { Int($0) ?? -1 }
let nodeCount = numbers.count > 0 ? numbers[0] : 500
let shards = numbers.count > 1 ? numbers[1] : 16_384
let zones = numbers.count > 2 ? numbers[2] : 3
/// The node that things happen to.
let victim = min(7, nodeCount - 1)

/// Of this thread alone: other work on the machine does not count.
func cpuMs() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Int(time.tv_sec) * 1_000 + Int(time.tv_nsec) / 1_000_000
}

func nodes(_ range: Range<Int>, zones: Int = zones) -> [Topology.Node] {
    range.map { Topology.Node(name: "n-\($0)", zone: "z\($0 % zones)") }
}

func topology(_ nodes: [Topology.Node], replicas: Int) throws -> Topology {
    try Topology(
        cluster: "bench", shards: shards, replicas: replicas,
        regions: [Topology.Region(name: "r", nodes: nodes)])
}

/// The least and the most that a node of weight 1 has.
func spread(_ map: ShardMap, _ counts: [Int], _ topology: Topology) -> String {
    var low = Int.max
    var high = 0
    for node in topology.regions[0].nodes where node.weightMilli == 1_000 {
        guard let number = map.number(ofNode: node.name) else { continue }
        low = min(low, counts[number])
        high = max(high, counts[number])
    }
    return "\(low)-\(high)"
}

func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.utf8.count))
}

func report(_ name: String, from map: ShardMap?, to topology: Topology) throws -> ShardMap {
    let began = cpuMs()
    let plan = try ShardMapPlanner.plan(from: map, to: topology)
    let ms = cpuMs() - began
    let partners = plan.target.partners()
    let over = plan.bound > 0 ? (plan.copies - plan.bound) * 1_000 / plan.bound : 0
    print(
        pad(name, 18), pad("\(ms) ms", 9), pad("copies \(plan.copies)", 14),
        pad("bound \(plan.bound)", 13), pad("+\(over / 10).\(over % 10) %", 9),
        pad("handovers \(plan.handOvers)", 17), pad("moves \(plan.moves.count)", 13),
        pad("replicas \(spread(plan.target, plan.target.replicas(), topology))", 19),
        pad("primaries \(spread(plan.target, plan.target.primaries(), topology))", 18),
        "partners \(partners.reduce(0, +) / max(1, topology.nodeCount)), max \(partners.max() ?? 0)"
    )
    fflush(nil)
    return plan.target
}

let wanted = numbers.count > 3 ? numbers[3]...numbers[3] : 1...3
for replicas in wanted {
    print("replicas \(replicas), \(nodeCount) nodes, \(shards) shards, \(zones) zones")
    let base = nodes(0..<nodeCount)
    let first = try report("create", from: nil, to: topology(base, replicas: replicas))
    var changed = base
    changed[victim] = Topology.Node(
        name: "n-\(victim)", zone: "z\(victim % zones)", weightMilli: 1_200)
    var drained = base
    drained[victim] = Topology.Node(name: "n-\(victim)", zone: "z\(victim % zones)", weightMilli: 0)
    var doubledWeight = base
    doubledWeight[victim] = Topology.Node(
        name: "n-\(victim)", zone: "z\(victim % zones)", weightMilli: 2_000)
    let more = (0..<(nodeCount / zones)).map { Topology.Node(name: "x-\($0)", zone: "x") }
    let cases = [
        Case(name: "same", after: base),
        Case(name: "add a node", after: nodes(0..<(nodeCount + 1))),
        Case(name: "remove a node", after: base.filter { $0.name != "n-\(victim)" }),
        Case(name: "drain a node", after: drained),
        Case(name: "weight 1.2", after: changed),
        Case(name: "weight 2", after: doubledWeight),
        Case(
            name: "replace a node",
            after: base.filter { $0.name != "n-\(victim)" }
                + [Topology.Node(name: "y", zone: "z\(victim % zones)")]),
        Case(name: "add a zone", after: base + more),
        Case(name: "double", after: nodes(0..<(2 * nodeCount))),
        Case(name: "halve", after: nodes(0..<(nodeCount / 2))),
        Case(name: "lose a zone", after: base.filter { $0.zone != "z1" }),
    ]
    for step in cases {
        _ = try report(step.name, from: first, to: topology(step.after, replicas: replicas))
    }
}
