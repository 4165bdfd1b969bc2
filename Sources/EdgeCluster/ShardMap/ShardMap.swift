/// Who owns every shard: region, epoch, primary and backups.
///
/// Nodes and regions are numbers in two tables of names, both in ascending order, so that equal
/// ownership is equal bytes. Names that own nothing may be in the tables.
public struct ShardMap: Sendable, Hashable {
    public struct Owner: Sendable, Hashable {
        /// A number in `regions`.
        public var region: Int
        /// Grows with every change of primary or members.
        public var epoch: UInt64
        /// A number in `nodes`, one of `members`.
        public var primary: Int
        /// The primary and its backups. Learners are not members.
        public var members: NodeSet

        public init(region: Int, epoch: UInt64, primary: Int, members: NodeSet) {
            self.region = region
            self.epoch = epoch
            self.primary = primary
            self.members = members
        }

        public var backups: [Int] { members.removing(primary).numbers }
    }

    public let nodes: [String]
    public let regions: [String]
    /// By shard.
    public private(set) var owners: [Owner]
    /// The topology that a plan has reached with this map; nil where it is between two, or where
    /// nobody knows. A settled map is left alone by a plan to the same topology.
    public internal(set) var settledFor: ContentHash?

    /// - Precondition: names ascend, numbers are in the tables, primaries are members, and there
    ///   is a power of two of owners.
    public init(
        nodes: [String], regions: [String], owners: [Owner], settledFor: ContentHash? = nil
    ) {
        precondition(Self.ascends(nodes) && Self.ascends(regions))
        precondition(owners.count >= 1 && owners.count & (owners.count - 1) == 0)
        for owner in owners {
            precondition(regions.indices.contains(owner.region))
            precondition(owner.members.contains(owner.primary))
            precondition(owner.members[owner.members.count - 1] < nodes.count)
        }
        self.nodes = nodes
        self.regions = regions
        self.owners = owners
        self.settledFor = settledFor
    }

    /// A node's number; nil where no such name is in the table. O(log n).
    public func number(ofNode name: String) -> Int? { Self.place(of: name, in: nodes) }

    /// A region's number; nil where no such name is in the table. O(log n).
    public func number(ofRegion name: String) -> Int? { Self.place(of: name, in: regions) }

    /// The same ownership under other tables.
    ///
    /// - Precondition: every owner's names are in them.
    public func renumbered(nodes: [String], regions: [String]) -> ShardMap {
        let nodePlaces = self.nodes.map { Self.place(of: $0, in: nodes) }
        let regionPlaces = self.regions.map { Self.place(of: $0, in: regions) }
        let owners = owners.map { owner in
            guard let region = regionPlaces[owner.region], let primary = nodePlaces[owner.primary]
            else { preconditionFailure("an owner is not in the tables") }
            let members = owner.members.numbers.map { number in
                guard let place = nodePlaces[number] else {
                    preconditionFailure("a member is not in the tables")
                }
                return place
            }
            return Owner(
                region: region, epoch: owner.epoch, primary: primary, members: NodeSet(members))
        }
        return ShardMap(nodes: nodes, regions: regions, owners: owners, settledFor: settledFor)
    }

    /// Carries out one move.
    ///
    /// - Returns: false, and nothing is changed, where the shard is not what the move starts from.
    public mutating func apply(_ move: ShardMove) -> Bool {
        let shard = Int(move.shard)
        guard owners.indices.contains(shard), owners[shard] == move.before else { return false }
        owners[shard] = move.after
        settledFor = nil
        return true
    }

    static func ascends(_ names: [String]) -> Bool {
        zip(names, names.dropFirst()).allSatisfy { $0 < $1 }
    }

    /// Binary search in an ascending table.
    static func place(of name: String, in names: [String]) -> Int? {
        var low = 0
        var high = names.count
        while low < high {
            let middle = (low + high) / 2
            if names[middle] < name { low = middle + 1 } else { high = middle }
        }
        return low < names.count && names[low] == name ? low : nil
    }
}

extension ShardMap {
    /// Covers names, epochs, primaries and members; not the numbers behind the names.
    ///
    /// - Complexity: O(shards).
    public var hash: ContentHash {
        let nodeHashes = nodes.map { name in
            var hash = ContentHash(kind: 3)
            hash.combine(name)
            return hash
        }
        var hash = ContentHash(kind: 2)
        if let settledFor { hash.combine(settledFor) }
        hash.combine(owners.count)
        for owner in owners {
            hash.combine(regions[owner.region])
            hash.combine(owner.epoch)
            hash.combine(nodeHashes[owner.primary])
            hash.combine(owner.members.count)
            for index in 0..<owner.members.count { hash.combine(nodeHashes[owner.members[index]]) }
        }
        return hash
    }

    /// Replicas by node. O(shards).
    public func replicas() -> [Int] {
        var counts = Array(repeating: 0, count: nodes.count)
        for owner in owners {
            for index in 0..<owner.members.count { counts[owner.members[index]] += 1 }
        }
        return counts
    }

    /// Primaries by node. O(shards).
    public func primaries() -> [Int] {
        var counts = Array(repeating: 0, count: nodes.count)
        for owner in owners { counts[owner.primary] += 1 }
        return counts
    }

    /// By node, how many others it shares a shard with. O(shards · partners).
    public func partners() -> [Int] {
        var partners = Array(repeating: [Int](), count: nodes.count)
        for owner in owners {
            for index in 0..<owner.members.count {
                for other in 0..<owner.members.count where other != index {
                    let (node, partner) = (owner.members[index], owner.members[other])
                    if !partners[node].contains(partner) { partners[node].append(partner) }
                }
            }
        }
        return partners.map(\.count)
    }
}
