import EdgeMemory
import Simulator

/// The scenario's links, ready to be drawn from.
struct LinkTimes: ~Copyable {
    let client: FastQuantiles
    let node: FastQuantiles
    let far: FastQuantiles
    /// Frames between a pool's home and its slices: always the median, so that they stay in order.
    let frameNs: UInt64

    init(_ links: CapacityScenario.Links) {
        client = FastQuantiles(links.client)
        node = FastQuantiles(links.node)
        far = FastQuantiles(links.far)
        frameNs = links.node.quantileNs(0.5)
    }
}

/// Which nodes and users are in which zone: nodes in runs, users by a draw.
struct ZonePlan {
    /// The first node of each zone, and the number of nodes at the end.
    private let firstNode: [Int]
    /// The sum of the users' parts up to and including each zone, of 2^32.
    private let usersUpTo: [UInt64]
    let count: Int
    private let nodes: Int

    init(_ zones: [CapacityScenario.Zone], nodes: Int) {
        count = zones.count
        self.nodes = nodes
        var first = [0]
        var users: [UInt64] = []
        var nodePart = 0.0
        var userPart = 0.0
        for (index, zone) in zones.enumerated() {
            nodePart += zone.nodes
            userPart += zone.users
            let isLast = index == zones.count - 1
            // Every zone has a node.
            let end = min(Int(nodePart * Double(nodes) + 0.5), nodes - (zones.count - 1 - index))
            first.append(isLast ? nodes : max(end, first[index] + 1))
            users.append(isLast ? 1 << 32 : UInt64(userPart * 0x1p32))
        }
        firstNode = first
        usersUpTo = users
    }

    func zone(ofNode node: Int) -> Int {
        var zone = 0
        while node >= firstNode[zone + 1] { zone += 1 }
        return zone
    }

    func zone(ofUser word: UInt64) -> Int {
        var zone = 0
        while (word >> 32) >= usersUpTo[zone] { zone += 1 }
        return zone
    }

    /// The node that a client of a zone talks to, by a word's upper half.
    @inline(__always)
    func node(_ word: UInt64, _ zone: Int, _ entry: CapacityScenario.Entry) -> Int {
        if count == 1 || entry == .random {
            return Int(truncatingIfNeeded: ((word >> 32) &* UInt64(nodes)) >> 32)
        }
        let first = firstNode[zone]
        let size = UInt64(firstNode[zone + 1] - first)
        return first + Int(truncatingIfNeeded: ((word >> 32) &* size) >> 32)
    }
}

/// The store behind all nodes: takes rows in order, each for the same time, however many wait.
struct StoreDrain {
    private let rowNs: UInt64
    private(set) var rows: UInt64 = 0
    private(set) var firstNs: UInt64 = 0
    private(set) var lastNs: UInt64 = 0
    /// When it has all rows that came so far.
    private(set) var freeNs: UInt64 = 0
    /// The longest that a row waited.
    private(set) var longestLagNs: UInt64 = 0

    init(rowsPerSecond: UInt64) {
        precondition(rowsPerSecond > 0)
        rowNs = max(1, 1_000_000_000 / rowsPerSecond)
    }

    @inline(__always)
    mutating func take(_ nowNs: UInt64) {
        if rows == 0 { firstNs = nowNs }
        rows &+= 1
        lastNs = max(lastNs, nowNs)
        freeNs = max(freeNs, nowNs) &+ rowNs
        longestLagNs = max(longestLagNs, freeNs &- nowNs)
    }

    /// How long after the last row it has them all.
    var drainNs: UInt64 { freeNs - lastNs }

    /// What it was offered, in parts of what it takes, from the first row to the last.
    var utilisation: Double {
        lastNs > firstNs ? Double(rows * rowNs) / Double(lastNs - firstNs) : 0
    }
}

/// How busy every node was in every tenth of a second.
struct LoadMap: ~Copyable {
    static let intervalNs: UInt64 = 100_000_000
    /// Later intervals are counted into the last.
    private static let intervalLimit = 3_600

    let nodes: Int
    private(set) var intervals = 0
    private var busyNs: PlainList<UInt32>

    init(nodes: Int) {
        self.nodes = nodes
        busyNs = PlainList(capacity: nodes * 64)
    }

    @inline(__always)
    mutating func add(_ node: Int, fromNs: UInt64, costNs: UInt64) {
        let interval = Int(fromNs / Self.intervalNs)
        let restNs = Self.intervalNs &- fromNs % Self.intervalNs
        if interval < intervals && costNs <= restNs {
            busyNs[interval &* nodes &+ node] &+= UInt32(truncatingIfNeeded: costNs)
        } else {
            spread(node, fromNs: fromNs, costNs: costNs)
        }
    }

    @inline(never)
    private mutating func spread(_ node: Int, fromNs: UInt64, costNs: UInt64) {
        var fromNs = fromNs
        var costNs = costNs
        while costNs > 0 {
            let partNs = min(costNs, Self.intervalNs - fromNs % Self.intervalNs)
            let interval = min(Int(fromNs / Self.intervalNs), Self.intervalLimit - 1)
            while intervals <= interval {
                for _ in 0..<nodes { busyNs.append(0) }
                intervals += 1
            }
            let place = interval * nodes + node
            busyNs[place] = UInt32(clamping: UInt64(busyNs[place]) + partNs)
            fromNs += partNs
            costNs -= partNs
        }
    }

    /// A node's busy part of an interval.
    func share(_ interval: Int, _ node: Int) -> Double {
        min(Double(busyNs[interval * nodes + node]) / Double(Self.intervalNs), 1)
    }
}
