/// Where no single move helps: a replica goes from A to B so that one of B's can go to C.
extension Layout {
    /// What a chain may cost.
    enum Price {
        /// Only replicas that this plan has moved already: wherever they end up, they are copied
        /// once.
        case nothing
        /// As long as the plan copies no more than this.
        case upTo(copies: Int)
    }

    /// A way to even out, and what it costs.
    private struct Path {
        var hops: [Hop]
        var copies: Int
    }

    /// Brings nodes to their share, give or take `tolerance`, by the cheapest chains of moves.
    ///
    /// - Complexity: O(chains · groups · partners · shards of a group).
    mutating func chain(_ price: Price, tolerance: (Node) -> Int) {
        for region in serving.indices {
            for down in [true, false] {
                var isStuck = Array(repeating: false, count: nodes.count)
                while isAffordable(price) {
                    let ends = serving[region].filter { node in
                        let state = nodes[node]
                        let off = down ? state.load - state.high : state.low - state.load
                        return !isStuck[node] && off > tolerance(state)
                    }
                    guard !ends.isEmpty,
                        let path = down ? path(from: ends, price) : path(to: ends, price)
                    else { break }
                    let end = down ? path.hops[0].from : path.hops[path.hops.count - 1].to
                    // As often as the ends need it: searching costs more than moving.
                    for turn in 0..<turns(path.hops, down: down) where isAffordable(price) {
                        guard !follow(path, price) else { continue }
                        if turn == 0 { isStuck[end] = true }
                        break
                    }
                }
            }
        }
    }

    private func isAffordable(_ price: Price) -> Bool {
        switch price {
        case .nothing: true
        case .upTo(let copies): copied < copies
        }
    }

    /// A hop, if a shard of its group can make it for the price: rather one that costs no copy.
    private func step(_ hop: Hop, _ price: Price) -> (shard: Int, copies: Int)? {
        if let shard = free(hop.group, from: hop.from, to: hop.to) { return (shard, 0) }
        if case .nothing = price { return nil }
        return groups[hop.group].shards.first.map { ($0, 1) }
    }

    /// How often a chain can be followed until one of its ends is where it should be.
    private func turns(_ path: [Hop], down: Bool) -> Int {
        let (from, to) = (nodes[path[0].from], nodes[path[path.count - 1].to])
        return down
            ? min(from.load - from.high, to.high - to.load)
            : min(from.load - from.low, to.low - to.load)
    }

    /// Carries out a chain, last hop first: so every node on the way has made room before it is
    /// given more. All of it and for what it costs, or nothing.
    private mutating func follow(_ path: Path, _ price: Price) -> Bool {
        var undo: [(members: NodeSet, region: Int)] = []
        func giveUp() -> Bool {
            for step in undo.reversed() { takeBack(to: step.members, region: step.region) }
            return false
        }
        let limit = copied + path.copies
        for hop in path.hops.reversed() {
            let members = groups[hop.group].members
            let (others, region) = (members.removing(hop.from), groups[hop.group].region)
            guard members.contains(hop.from), let shard = step(hop, price)?.shard,
                newPartners(hop.to, with: others, region: region, leaving: hop.from) != nil
            else { return giveUp() }
            undo.append((members, region))
            put(shard, region: region, members: others.adding(hop.to))
        }
        if case .upTo(let copies) = price, copied > copies { return giveUp() }
        return copied > limit ? giveUp() : true
    }

    /// The cheapest chain from one of these nodes to one that has room.
    private func path(from starts: [Int], _ price: Price) -> Path? {
        search(from: starts, goal: { $0.load < $0.high }) { node in
            let region = nodes[node].region
            var hops: [(Hop, Int, copies: Int)] = []
            for group in groupsOf[node] where groups[group].region == region {
                let others = groups[group].members.removing(node)
                for to in companions(of: others, region: region) where to != node {
                    let hop = Hop(group: group, from: node, to: to)
                    if let copies = step(hop, price)?.copies { hops.append((hop, to, copies)) }
                }
            }
            return hops
        }
    }

    /// The cheapest chain to one of these nodes from one that can spare a replica.
    private func path(to ends: [Int], _ price: Price) -> Path? {
        var path = search(from: ends, goal: { $0.load > $0.low }) { node in
            let region = nodes[node].region
            var hops: [(Hop, Int, copies: Int)] = []
            for group in groupsNear(node) {
                let members = groups[group].members
                for index in 0..<members.count where members[index] != node {
                    let hop = Hop(group: group, from: members[index], to: node)
                    let others = members.removing(hop.from)
                    if newPartners(node, with: others, region: region, leaving: hop.from) != nil,
                        let copies = step(hop, price)?.copies
                    {
                        hops.append((hop, hop.from, copies))
                    }
                }
            }
            return hops
        }
        path?.hops.reverse()
        return path
    }

    /// Nodes that may join `others`: partners of theirs; any node where they have room for one.
    private func companions(of others: NodeSet, region: Int) -> [Int] {
        serving[region].filter {
            newPartners($0, with: others, region: region, leaving: -1) != nil
        }
    }

    /// Groups that a node might get shards of.
    private func groupsNear(_ node: Int) -> [Int] {
        if lasting[node] < Topology.partnerLimit || replicas == 1 {
            return groupsIn[nodes[node].region]
        }
        return partners[node].flatMap { partner in
            groupsOf[partner.node].filter { groups[$0].region == nodes[node].region }
        }
    }

    /// Breadth-first search over nodes, those first that cost the fewest copies.
    ///
    /// - Parameter hops: what leads on from a node, where to, and whether it costs a copy.
    private func search(
        from starts: [Int], goal: (Node) -> Bool, hops: (Int) -> [(Hop, Int, copies: Int)]
    ) -> Path? {
        var cameFrom = Array(repeating: -1, count: nodes.count)
        var cameBy = [Hop?](repeating: nil, count: nodes.count)
        var cost = Array(repeating: Int.max, count: nodes.count)
        var isDone = Array(repeating: false, count: nodes.count)
        for start in starts { cost[start] = 0 }
        var (copies, queue) = (0, starts)
        while !queue.isEmpty {
            var later: [Int] = []
            var next = 0
            while next < queue.count {
                let node = queue[next]
                next += 1
                guard !isDone[node] else { continue }
                isDone[node] = true
                for (hop, other, price) in hops(node) where copies + price < cost[other] {
                    cost[other] = copies + price
                    cameFrom[other] = node
                    cameBy[other] = hop
                    if price == 0 { queue.append(other) } else { later.append(other) }
                    guard price == 0, goal(nodes[other]) else { continue }
                    return path(to: other)
                }
            }
            copies += 1
            if let end = later.first(where: { cost[$0] == copies && goal(nodes[$0]) }) {
                return path(to: end)
            }
            queue = later
        }
        return nil

        func path(to end: Int) -> Path {
            var path = Path(hops: [], copies: cost[end])
            var step = end
            while let hop = cameBy[step] {
                path.hops.append(hop)
                step = cameFrom[step]
            }
            path.hops.reverse()
            return path
        }
    }
}
