import EdgeCluster
public import EdgeTypes

/// Who should hold each shard, as the arbiter keeps it.
struct PlacementDecision {
    var version: Int
    var plan: ReplicaPlan
    var atOnce: Int
}

/// How a move to another topology went.
public struct MoveReport: Sendable, Hashable {
    /// Shards that had to change hands or copies, and those that are where they should be.
    public var shards = 0
    public var done = 0
    /// From the decision until the last of them was in its place; nil: it never was.
    public var tookNs: UInt64?
    /// The shard that took longest from its first change to its place, and how long.
    public var slowest: ShardID?
    public var slowestNs: UInt64 = 0
    /// Answers that told somebody to try again meanwhile, and what all were.
    public var triedAgain: UInt64 = 0
    public var answers: UInt64 = 0
}

/// A move in mid-run: what operators decide, and how far the nodes have come.
struct TopologyMove {
    let wanted: [[UInt16]]
    private let moving: [Bool]
    private(set) var decidedNs: UInt64?
    /// By shard: when it first changed, and when it was first in its place.
    private var firstNs: [UInt64?]
    private var placedNs: [UInt64?]
    private(set) var left: Int
    private(set) var report = MoveReport()

    init(from members: [[UInt16]], to wanted: [[UInt16]]) {
        self.wanted = wanted
        moving = zip(members, wanted).map { before, after in
            before[0] != after[0] || Set(before) != Set(after)
        }
        firstNs = Array(repeating: nil, count: wanted.count)
        placedNs = firstNs
        left = moving.count { $0 }
        report.shards = left
    }

    var isUnderWay: Bool { decidedNs != nil && left > 0 }

    mutating func decided(at ns: UInt64) {
        decidedNs = ns
        if left == 0 { report.tookNs = 0 }
    }

    /// Whether a shard is where it should be.
    func isPlaced(_ row: ShardConfiguration?) -> Bool {
        guard let row else { return false }
        let holders = wanted[Int(row.shard)]
        return row.primary.node == UInt64(holders[0]) && row.members.count == holders.count
            && row.members.allSatisfy { member in holders.contains { UInt64($0) == member.node } }
    }

    /// - Returns: whether the shard has come to its place.
    mutating func changed(_ row: ShardConfiguration, at ns: UInt64) -> Bool {
        let shard = Int(row.shard)
        guard let decidedNs, moving[shard], placedNs[shard] == nil else { return false }
        let first = firstNs[shard] ?? ns
        firstNs[shard] = first
        guard isPlaced(row) else { return false }
        placedNs[shard] = ns
        left -= 1
        report.done += 1
        if report.slowest == nil || ns - first > report.slowestNs {
            report.slowest = row.shard
            report.slowestNs = ns - first
        }
        if left == 0 { report.tookNs = ns - decidedNs }
        return true
    }

    mutating func answered(_ code: String?) {
        guard isUnderWay else { return }
        report.answers += 1
        if code == "TRYAGAIN" || code == "UNKNOWN" { report.triedAgain += 1 }
    }
}

extension World {
    /// How the move to another topology went; nil where there was none.
    public var moveReport: MoveReport? { move?.report }

    /// Copies of each shard that there should be.
    var wantedReplicas: Int { arbiter.target?.plan.replicas ?? scenario.replicas }

    /// An operator applies the other file: the arbiter holds it from now on. While it refuses, the
    /// operator tries again.
    func decideMove() {
        guard let topology = scenario.topology, let wanted = topology.move else { return }
        guard !arbiter.isDown else { return schedule(nowNs + 250_000_000, .decideMove) }
        arbiter.target = PlacementDecision(
            version: 1, plan: topology.plan(wanted.members), atOnce: wanted.atOnce)
        move?.decided(at: nowNs)
        note("the shards have another target")
    }

    /// The shard that is not where the other topology wants it; nil: all are, or there is none.
    var misplaced: Int? {
        guard let move else { return nil }
        return arbiter.rows.firstIndex { !move.isPlaced($0) }
    }

    /// The arbiter has made a change.
    func noteMove(_ row: ShardConfiguration) {
        if move?.changed(row, at: nowNs) == true {
            probe(.shardMoved)
            progressed(1)
        }
    }
}
