import EdgeMemory

/// A placement in the making: which copyset (set of nodes) every shard is on.
///
/// Shards on the same nodes are interchangeable, so they are kept together in groups; a node has
/// few of them. Every change goes through `put`, and every change that the planner makes was
/// asked for with `newPartners`: so the log of changes is an order in which they can be carried
/// out without breaking a rule on the way.
struct Layout {
    struct Node {
        /// Of the topology; -1 where it does not know the node.
        let region: Int
        let zone: Int
        /// Whether it may hold shards.
        let serves: Bool
        /// For choosing between equals: the same on every machine, and nobody's favourite.
        let lot: UInt64
        /// The share, rounded down and up.
        var low = 0
        var high = 0
        /// How far beyond the share a node may be left where mending it would take more than a
        /// move a replica, and those more than a plan may cost.
        var utmost = 0
        /// The same, where mending it stays within what a plan may cost.
        var tolerance = 0
        /// How far from its share it is worth bringing a node with what is left of that.
        var aim = 0
        var load = 0
        /// What it held before the plan, but for what had to go: who is below has given, and who
        /// is above has taken. Whoever does both wastes moves.
        var base = 0

        var hasGiven: Bool { load < base }
        var hasTaken: Bool { load > base }
    }

    struct Partner {
        let node: Int
        /// Shards in common.
        var shared: Int
    }

    struct Group {
        let members: NodeSet
        let region: Int
        var shards: [Int]
    }

    /// A step of the log: what a shard's members were made.
    struct Change {
        let shard: Int
        let region: Int
        let members: NodeSet
    }

    /// Copies of a shard in all.
    let replicas: Int
    /// By region: most members of a shard in one zone.
    let zoneCap: [Int]
    var nodes: [Node]
    /// By region: the nodes that may hold its shards, ascending.
    let serving: [[Int]]
    private(set) var partners: [[Partner]]
    /// By node: partners that serve in the same region, the only ones that count against the
    /// limit. From the others shards are going away.
    private(set) var lasting: [Int]
    private(set) var groups: [Group] = []
    /// By node: its groups that are not empty.
    private(set) var groupsOf: [[Int]]
    /// By region: its groups that are not empty.
    private(set) var groupsIn: [[Int]]
    /// By shard; -1 where it has none.
    private(set) var groupOf: [Int]
    /// By shard: its place among its group's.
    private var placeOf: [Int]
    /// By shard: the members it began with; none where it had none.
    private(set) var origin: [NodeSet]
    private(set) var log: [Change] = []
    /// Replicas that are not where they began: what the plan copies.
    private(set) var copied = 0
    /// Whether the log breaks the bound on partners on the way, for there was no other.
    var isForced = false
    /// How often partners were taken away to let a first copyset of a new rule be made.
    var roomsMade = 0
    /// By region: how many partners a node is given when a cluster is created. Fewer than
    /// allowed, so that a neighbour of tomorrow finds room; all, where there are no more.
    let wantedPartners: [Int]
    /// By region: most partners of a node as long as there is a choice.
    var mostWanted: [Int]
    private var emptyGroups: [Int] = []

    init(_ stands: NodeStands, names: [String], replicas: Int, shards: Int) {
        self.replicas = replicas
        zoneCap = stands.zoneCap
        nodes = names.indices.map { node in
            let region = stands.region[node]
            var lot = ContentHash(kind: 4)
            lot.combine(names[node])
            return Node(
                region: region, zone: stands.zone[node],
                serves: region >= 0 && stands.weightMilli[node] > 0
                    && stands.regionWeightMilli[region] > 0,
                lot: lot.low)
        }
        serving = zoneCap.indices.map { [nodes] region in
            nodes.indices.filter { nodes[$0].region == region && nodes[$0].serves }
        }
        wantedPartners = serving.map { nodes in
            nodes.count <= Topology.partnerLimit + 1
                ? Topology.partnerLimit : replicas > 2 ? 4 : Topology.partnerLimit - 1
        }
        mostWanted = wantedPartners.map { max($0, Topology.partnerLimit - 1) }
        partners = Array(repeating: [], count: nodes.count)
        lasting = Array(repeating: 0, count: nodes.count)
        groupsOf = Array(repeating: [], count: nodes.count)
        groupsIn = Array(repeating: [], count: zoneCap.count)
        groupOf = Array(repeating: -1, count: shards)
        placeOf = Array(repeating: 0, count: shards)
        origin = Array(repeating: NodeSet(), count: shards)
    }
}

// MARK: - Questions

extension Layout {
    func members(of shard: Int) -> NodeSet { groups[groupOf[shard]].members }
    func region(of shard: Int) -> Int { groups[groupOf[shard]].region }

    /// 134 MB at 16,384 shards, should it ever be reached.
    private var logLimit: Int { 4_096 + 256 * groupOf.count }

    /// The same nodes without any shards.
    func emptied() -> Layout {
        var layout = self
        layout.partners = Array(repeating: [], count: nodes.count)
        layout.lasting = Array(repeating: 0, count: nodes.count)
        layout.groups = []
        layout.groupsOf = Array(repeating: [], count: nodes.count)
        layout.groupsIn = Array(repeating: [], count: groupsIn.count)
        layout.groupOf = Array(repeating: -1, count: groupOf.count)
        layout.log = []
        layout.copied = 0
        layout.emptyGroups = []
        for node in nodes.indices { layout.nodes[node].load = 0 }
        return layout
    }
}

// MARK: - Changes

extension Layout {
    /// Puts a shard where it already is in the cluster: not a change.
    mutating func begin(_ shard: Int, region: Int, members: NodeSet) {
        attach(shard, to: group(of: members, region: region))
        origin[shard] = members
    }

    /// Gives a shard new members.
    ///
    /// - Precondition: there are fewer than `logLimit` changes already: drawn plans take up to 4 a
    ///   shard, and a planner that went in circles should not take all memory with it.
    mutating func put(_ shard: Int, region: Int, members: NodeSet) {
        precondition(log.count < logLimit, "the planner goes in circles")
        if groupOf[shard] >= 0 {
            copied -= self.members(of: shard).subtracting(origin[shard]).count
            detach(shard)
        }
        attach(shard, to: group(of: members, region: region))
        copied += members.subtracting(origin[shard]).count
        log.append(Change(shard: shard, region: region, members: members))
    }

    /// Takes back the last change of the log, which gave a shard other members than `members`.
    mutating func takeBack(to members: NodeSet, region: Int) {
        guard let last = log.popLast() else { preconditionFailure("nothing was changed") }
        copied -= last.members.subtracting(origin[last.shard]).count
        detach(last.shard)
        attach(last.shard, to: group(of: members, region: region))
        copied += members.subtracting(origin[last.shard]).count
    }

    private mutating func group(of members: NodeSet, region: Int) -> Int {
        for group in groupsOf[members[0]]
        where groups[group].members == members && groups[group].region == region {
            return group
        }
        let made = Group(members: members, region: region, shards: [])
        if let group = emptyGroups.popLast() {
            groups[group] = made
            return group
        }
        groups.append(made)
        return groups.count - 1
    }

    private mutating func attach(_ shard: Int, to group: Int) {
        let members = groups[group].members
        if groups[group].shards.isEmpty {
            for index in 0..<members.count { groupsOf[members[index]].append(group) }
            groupsIn[groups[group].region].append(group)
        }
        placeOf[shard] = groups[group].shards.count
        groups[group].shards.append(shard)
        groupOf[shard] = group
        for index in 0..<members.count {
            nodes[members[index]].load += 1
            for other in 0..<members.count where other != index {
                share(members[index], members[other], by: 1)
            }
        }
    }

    private mutating func detach(_ shard: Int) {
        let group = groupOf[shard]
        let members = groups[group].members
        let last = groups[group].shards.count - 1
        let moved = groups[group].shards[last]
        groups[group].shards[placeOf[shard]] = moved
        placeOf[moved] = placeOf[shard]
        groups[group].shards.removeLast()
        groupOf[shard] = -1
        for index in 0..<members.count {
            nodes[members[index]].load -= 1
            for other in 0..<members.count where other != index {
                share(members[index], members[other], by: -1)
            }
        }
        guard groups[group].shards.isEmpty else { return }
        for index in 0..<members.count { groupsOf[members[index]].removeAll { $0 == group } }
        groupsIn[groups[group].region].removeAll { $0 == group }
        emptyGroups.append(group)
    }

    private mutating func share(_ node: Int, _ other: Int, by change: Int) {
        for index in partners[node].indices where partners[node][index].node == other {
            partners[node][index].shared += change
            if partners[node][index].shared == 0 {
                partners[node].remove(at: index)
                if isLasting(node, other) { lasting[node] -= 1 }
            }
            return
        }
        precondition(change == 1)
        partners[node].append(Partner(node: other, shared: 1))
        if isLasting(node, other) { lasting[node] += 1 }
    }

    func isLasting(_ node: Int, _ other: Int) -> Bool {
        nodes[other].serves && nodes[other].region == nodes[node].region
    }
}

// MARK: - Rules

extension Layout {
    /// Shards that two nodes have in common. O(partners).
    func shared(_ node: Int, _ other: Int) -> Int {
        for partner in partners[node] where partner.node == other { return partner.shared }
        return 0
    }

    /// Whether `node` may join `others` on a shard of `region`, one shard at a time.
    ///
    /// - Parameter leaving: the node whose place it takes; -1 where there is none.
    /// - Returns: how many partners that it did not have; nil where a rule forbids it.
    func newPartners(_ node: Int, with others: NodeSet, region: Int, leaving: Int) -> Int? {
        guard nodes[node].region == region, nodes[node].serves else { return nil }
        var sameZone = 0
        var new = 0
        for index in 0..<others.count {
            let other = others[index]
            if other == node { return nil }
            if nodes[other].zone == nodes[node].zone { sameZone += 1 }
            guard shared(node, other) == 0 else { continue }
            new += 1
            let isFreed =
                leaving >= 0 && isLasting(other, leaving) && shared(leaving, other) == 1
            if lasting[other] - (isFreed ? 1 : 0) >= Topology.partnerLimit { return nil }
        }
        guard sameZone < zoneCap[region] else { return nil }
        guard new == 0 || lasting[node] + new <= Topology.partnerLimit else { return nil }
        return new
    }
}
