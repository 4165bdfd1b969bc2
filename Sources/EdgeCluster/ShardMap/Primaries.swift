/// Who of its members is a shard's primary.
///
/// A node that holds L replicas of R is primary of L / R shards, rounded down or up. That is
/// always possible: 1 / R of a shard's primary on each of its members is a fractional solution of
/// a flow problem with whole bounds, so there is a whole one (Hoffman and Kruskal, 1956). From
/// the primaries as they are, shortest augmenting paths lead there.
struct Primaries {
    /// By shard: its members.
    private let members: [NodeSet]
    private(set) var primary: [Int]
    private var count: [Int]
    private let low: [Int]
    private let high: [Int]
    /// By node: the shards it is primary of, and by shard its place there.
    private var led: [[Int]]
    private var placeOf: [Int]
    /// By node: the shards it is a member of.
    private var held: [[Int]]

    /// - Parameter wanted: by shard, who is primary now; -1 or no member where nobody is.
    init(members: [NodeSet], wanted: [Int], replicas: Int, nodeCount: Int) {
        held = Array(repeating: [], count: nodeCount)
        for (shard, nodes) in members.enumerated() {
            for index in 0..<nodes.count { held[nodes[index]].append(shard) }
        }
        self.members = members
        low = held.map { $0.count / replicas }
        high = held.map { ($0.count + replicas - 1) / replicas }
        count = Array(repeating: 0, count: nodeCount)
        primary = Array(repeating: -1, count: members.count)
        led = Array(repeating: [], count: nodeCount)
        placeOf = Array(repeating: 0, count: members.count)
        for shard in members.indices where members[shard].contains(wanted[shard]) {
            lead(shard, by: wanted[shard])
        }
        for shard in members.indices where primary[shard] < 0 {
            lead(shard, by: idlest(of: members[shard]))
        }
    }

    /// - Complexity: O(handovers · shards) at worst; a path is most often one or two steps.
    mutating func balance() {
        for node in count.indices {
            while count[node] > high[node], let path = path(from: node) { follow(path) }
        }
        for node in count.indices {
            while count[node] < low[node], let path = path(to: node) { follow(path) }
        }
    }

    private func idlest(of nodes: NodeSet) -> Int {
        var best = nodes[0]
        for index in 1..<max(1, nodes.count)
        where count[nodes[index]] - high[nodes[index]] < count[best] - high[best] {
            best = nodes[index]
        }
        return best
    }

    private mutating func lead(_ shard: Int, by node: Int) {
        let old = primary[shard]
        if old >= 0 {
            let last = led[old].count - 1
            let moved = led[old][last]
            led[old][placeOf[shard]] = moved
            placeOf[moved] = placeOf[shard]
            led[old].removeLast()
            count[old] -= 1
        }
        placeOf[shard] = led[node].count
        led[node].append(shard)
        primary[shard] = node
        count[node] += 1
    }

    private mutating func follow(_ path: [(shard: Int, to: Int)]) {
        for step in path { lead(step.shard, by: step.to) }
    }

    /// Breadth first: a node hands a shard to one of the shard's other members.
    private func path(from start: Int) -> [(shard: Int, to: Int)]? {
        search(from: start, isGoal: { count[$0] < high[$0] }) { node in
            led[node].flatMap { shard in
                members[shard].removing(node).numbers.map { (shard, to: $0, next: $0) }
            }
        }
    }

    /// The same backwards: whoever is primary of a shard that a node holds may hand it over.
    private func path(to end: Int) -> [(shard: Int, to: Int)]? {
        search(from: end, isGoal: { count[$0] > low[$0] }) { node in
            held[node].map { shard in (shard, to: node, next: primary[shard]) }
        }
    }

    private func search(
        from start: Int, isGoal: (Int) -> Bool, steps: (Int) -> [(shard: Int, to: Int, next: Int)]
    ) -> [(shard: Int, to: Int)]? {
        var arrival = [(shard: Int, to: Int, from: Int)?](repeating: nil, count: count.count)
        var queue = [start]
        var next = 0
        while next < queue.count {
            let node = queue[next]
            next += 1
            for step in steps(node) where step.next != start && arrival[step.next] == nil {
                arrival[step.next] = (step.shard, step.to, node)
                queue.append(step.next)
                guard isGoal(step.next) else { continue }
                var path: [(shard: Int, to: Int)] = []
                var node = step.next
                while node != start, let step = arrival[node] {
                    path.append((step.shard, step.to))
                    node = step.from
                }
                return path
            }
        }
        return nil
    }
}
