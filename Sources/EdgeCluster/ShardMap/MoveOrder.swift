import EdgeTypes

/// Puts a plan's changes into an order in which every map on the way is legal.
struct MoveOrder {
    private let start: ShardMap
    private let planned: Layout
    private let primaries: [Int]
    private var current: [ShardMap.Owner]

    init(_ start: ShardMap, _ planned: Layout, primaries: [Int]) {
        self.start = start
        self.planned = planned
        self.primaries = primaries
        current = start.owners
    }

    /// One move a shard wherever possible; where that cannot be ordered, all the planner's steps
    /// as it took them, for it broke no rule. Changes of primary alone come last.
    ///
    /// Where it did break one, which takes a map that no plan has made, the moves are ordered as
    /// far as that goes, and whoever is left over gets partners too many for a while.
    mutating func moves() -> [ShardMove] {
        let last = lastChanges()
        let changes =
            orderly(last, strict: true) ?? orderly(last, strict: false)
            ?? (planned.isForced ? orderly(last, strict: false, forced: true) : nil)
            ?? planned.log
        var moves: [ShardMove] = []
        for change in changes {
            if let move = move(change.shard, region: change.region, members: change.members) {
                moves.append(move)
            }
        }
        for shard in current.indices {
            let owner = current[shard]
            guard owner.primary != primaries[shard],
                let move = move(shard, region: owner.region, members: owner.members)
            else { continue }
            moves.append(move)
        }
        return moves
    }

    /// The last change of every shard that ends elsewhere than it began, in the log's order.
    private func lastChanges() -> [Layout.Change] {
        var isLast = Array(repeating: false, count: planned.log.count)
        var seen = Array(repeating: false, count: start.owners.count)
        for index in planned.log.indices.reversed() where !seen[planned.log[index].shard] {
            let change = planned.log[index]
            seen[change.shard] = true
            let owner = start.owners[change.shard]
            isLast[index] = owner.members != change.members || owner.region != change.region
        }
        return planned.log.indices.filter { isLast[$0] }.map { planned.log[$0] }
    }

    /// Whatever can be done without a node getting too many partners, or more than it has where
    /// those are too many already, is done, again and again.
    ///
    /// - Parameters:
    ///   - strict: whether nodes that are being emptied count as partners until the end.
    ///   - forced: where changes wait for each other, those to one copyset are done all the same.
    /// - Returns: nil where some changes wait for each other.
    private func orderly(
        _ changes: [Layout.Change], strict: Bool, forced: Bool = false
    ) -> [Layout.Change]? {
        var layout = planned.emptied()
        for (shard, owner) in start.owners.enumerated() {
            layout.begin(shard, region: owner.region, members: owner.members)
        }
        let most = start.nodes.indices.map { node in
            (
                lasting: max(Topology.partnerLimit, layout.lasting[node]),
                all: max(Topology.partnerLimit, layout.partners[node].count)
            )
        }
        func isCrowded(_ node: Int) -> Bool {
            layout.lasting[node] > most[node].lasting
                || (strict && layout.partners[node].count > most[node].all)
        }
        var ordered: [Layout.Change] = []
        var waiting = changes
        var favoured: NodeSet?
        while !waiting.isEmpty {
            var blocked: [Layout.Change] = []
            for change in waiting {
                let before = layout.members(of: change.shard)
                let region = layout.region(of: change.shard)
                layout.put(change.shard, region: change.region, members: change.members)
                if change.members != favoured,
                    change.members.numbers.contains(where: isCrowded)
                {
                    layout.takeBack(to: before, region: region)
                    blocked.append(change)
                } else {
                    ordered.append(change)
                }
            }
            guard forced || blocked.count < waiting.count else { return nil }
            favoured = blocked.count < waiting.count ? nil : blocked[0].members
            waiting = blocked
        }
        return ordered
    }

    /// - Returns: nil where nothing changes.
    private mutating func move(_ shard: Int, region: Int, members: NodeSet) -> ShardMove? {
        let before = current[shard]
        var after = before
        after.region = region
        after.members = members
        if members.contains(primaries[shard]) {
            after.primary = primaries[shard]
        } else if !members.contains(before.primary) {
            after.primary = members[0]
        }
        guard after != before else { return nil }
        after.epoch += 1
        current[shard] = after
        return ShardMove(shard: ShardID(shard), before: before, after: after)
    }
}
