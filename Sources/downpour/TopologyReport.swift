import EdgeCluster
import Foundation

/// A plan for people and for programs.
struct TopologyReport {
    struct Cost {
        /// In bytes.
        let shard: UInt64
        /// In bytes a second.
        let rate: UInt64?
    }

    let plan: ShardMapPlan
    let cost: Cost?
    let rows: [Row]

    /// What there is to say of a node.
    struct Row {
        /// The region of a node that the topology does not know.
        static let gone = "-"

        let name: String
        let region: String
        let zone: String
        let weightMilli: Int
        let share: ClosedRange<Int>
        let before: Counts
        let after: Counts
        let partners: Int

        /// Replicas it is away from its share.
        var off: Int {
            max(share.lowerBound - after.replicas, after.replicas - share.upperBound, 0)
        }
    }

    struct Counts: Equatable, Encodable {
        var replicas = 0
        var primaries = 0
    }

    init(plan: ShardMapPlan, cost: Cost?) {
        self.plan = plan
        self.cost = cost
        rows = Self.rows(plan)
    }

    /// By name.
    private static func rows(_ plan: ShardMapPlan) -> [Row] {
        let map = plan.target
        let (held, led, partners) = (map.replicas(), map.primaries(), map.partners())
        let (heldBefore, ledBefore) = (plan.start?.replicas(), plan.start?.primaries())
        var places = Array(repeating: (Row.gone, "gone", 0), count: map.nodes.count)
        for region in plan.topology.regions {
            for node in region.nodes {
                guard let number = map.number(ofNode: node.name) else { continue }
                places[number] = (region.name, node.zone, node.weightMilli)
            }
        }
        return map.nodes.indices.map { node in
            Row(
                name: map.nodes[node], region: places[node].0, zone: places[node].1,
                weightMilli: places[node].2, share: plan.shares[node],
                before: Counts(
                    replicas: heldBefore?[node] ?? 0, primaries: ledBefore?[node] ?? 0),
                after: Counts(replicas: held[node], primaries: led[node]),
                partners: partners[node])
        }
    }

    /// What a sound topology cannot have.
    var notes: [String] {
        var notes: [String] = []
        let replicas = plan.topology.replicas
        for region in plan.topology.regions where region.weightMilli > 0 {
            let zones = Set(region.nodes.filter { $0.weightMilli > 0 }.map(\.zone)).count
            if zones < replicas {
                notes.append(
                    "\(region.name) has \(zones) of \(replicas) zones: copies share a zone")
            }
        }
        let far = rows.filter { $0.off > max(2, $0.share.lowerBound / 8) }
        if let worst = far.max(by: { $0.off < $1.off }) {
            notes.append(
                "\(far.count) nodes are far from their shares, since none has more than "
                    + "\(Topology.partnerLimit) partners; worst \(worst.name): "
                    + "\(worst.after.replicas) of \(worst.share.lowerBound)")
        }
        return notes
    }

    // MARK: For people

    func text(allNodes: Bool) -> String {
        var parts = [head]
        parts.append(Self.table(regionLines))
        parts.append(Self.table(zoneLines))
        let shown = rows.filter { allNodes || rows.count <= 24 || $0.before != $0.after }
        let few = allNodes || shown.count <= 48 ? shown : Array(shown.prefix(24))
        if !few.isEmpty { parts.append(Self.table(nodeLines(few))) }
        if few.count < rows.count {
            parts.append("\(rows.count - few.count) more nodes: --nodes")
        }
        if !notes.isEmpty { parts.append(notes.map { "! " + $0 }.joined(separator: "\n")) }
        return parts.joined(separator: "\n\n")
    }

    private var head: String {
        let topology = plan.topology
        var lines = [
            "cluster \(topology.cluster): \(topology.nodeCount) nodes, \(topology.shards) shards, "
                + "replicas \(topology.replicas), arbiter \(topology.arbiter.rawValue)",
            "plan \(plan.hash)",
        ]
        if plan.start != nil {
            let over = plan.bound > 0 ? Double(plan.copies - plan.bound) / Double(plan.bound) : 0
            lines.append(
                "moves \(plan.moves.count): \(plan.copies) copies "
                    + "(lower bound \(plan.bound), +\(String(format: "%.1f", over * 100)) %), "
                    + "\(plan.handOvers) hand-overs of a primary")
            if let bytes {
                lines.append(
                    "to copy: \(Self.size(bytes))" + (seconds.map { ", \(Self.time($0))" } ?? ""))
            }
        } else {
            lines.append("a new cluster: nothing moves")
        }
        return lines.joined(separator: "\n")
    }

    var bytes: UInt64? {
        cost.map { UInt64(plan.copies).multipliedReportingOverflow(by: $0.shard) }
            .flatMap { $0.overflow ? nil : $0.partialValue }
    }

    /// Rounded up.
    var seconds: UInt64? {
        guard let bytes, let rate = cost?.rate else { return nil }
        return bytes / rate + (bytes % rate > 0 ? 1 : 0)
    }

    /// `18`, or `17 → 18` where there is a before.
    private func change(_ before: Int, _ after: Int) -> String {
        plan.start == nil ? "\(after)" : "\(before) → \(after)"
    }

    private var regionLines: [[String]] {
        let map = plan.target
        var lines = [["region", "weight", "nodes", "shards"]]
        for (number, name) in map.regions.enumerated() {
            let region = plan.topology.regions.first { $0.name == name }
            let before = plan.start?.owners.count { $0.region == number } ?? 0
            lines.append([
                name, region.map { Self.weight($0.weightMilli) } ?? "gone",
                "\(region?.nodes.count ?? 0)",
                change(before, map.owners.count { $0.region == number }),
            ])
        }
        return lines
    }

    private var zoneLines: [[String]] {
        var lines = [["region", "zone", "nodes", "replicas", "primaries"]]
        var zones: [(region: String, zone: String)] = []
        for row in rows where !zones.contains(where: { $0 == (row.region, row.zone) }) {
            zones.append((row.region, row.zone))
        }
        for (region, zone) in zones.sorted(by: { $0 < $1 }) {
            let nodes = rows.filter { $0.region == region && $0.zone == zone }
            func sum(_ value: (Row) -> Int) -> Int { nodes.reduce(0) { $0 + value($1) } }
            lines.append([
                region, zone, "\(nodes.count)",
                change(sum(\.before.replicas), sum(\.after.replicas)),
                change(sum(\.before.primaries), sum(\.after.primaries)),
            ])
        }
        return lines
    }

    private func nodeLines(_ rows: [Row]) -> [[String]] {
        let head = [
            "node", "region", "zone", "weight", "share", "replicas", "primaries", "partners",
        ]
        return [head]
            + rows.map { row in
                [
                    row.name, row.region, row.zone,
                    Self.weight(row.weightMilli),
                    row.share.lowerBound == row.share.upperBound
                        ? "\(row.share.lowerBound)"
                        : "\(row.share.lowerBound)-\(row.share.upperBound)",
                    change(row.before.replicas, row.after.replicas),
                    change(row.before.primaries, row.after.primaries), "\(row.partners)",
                ]
            }
    }

    /// Every move in order, a line each.
    var moves: String {
        let names = plan.target.nodes
        return plan.moves.map { move in
            let steps = move.steps.map { step in
                switch step {
                case .addLearner(let node): "add learner \(names[node])"
                case .handOver(let node): "hand over primary to \(names[node])"
                case .promote(let node, let replaced):
                    "promote \(names[node])" + (replaced.map { " for \(names[$0])" } ?? "")
                case .drop(let node): "drop \(names[node])"
                }
            }
            return "shard \(move.shard): " + steps.joined(separator: ", ")
        }.joined(separator: "\n")
    }

    private static func table(_ lines: [[String]]) -> String {
        let widths = lines[0].indices.map { column in
            lines.reduce(0) { max($0, $1[column].count) }
        }
        return lines.map { line in
            let cells = line.enumerated().map { column, cell in
                cell + String(repeating: " ", count: widths[column] - cell.count)
            }
            let text = cells.joined(separator: "  ")
            return String(text.reversed().drop { $0 == " " }.reversed())
        }.joined(separator: "\n")
    }

    private static func weight(_ milli: Int) -> String {
        guard milli % 1_000 != 0 else { return "\(milli / 1_000)" }
        return String(format: "%g", Double(milli) / 1_000)
    }

    private static func size(_ bytes: UInt64) -> String {
        let units: [(Double, String)] = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")]
        let (factor, unit) = units.first { Double(bytes) >= $0.0 } ?? (1, "bytes")
        return factor == 1
            ? "\(bytes) bytes" : String(format: "%.1f %@", Double(bytes) / factor, unit)
    }

    private static func time(_ seconds: UInt64) -> String {
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60)
        if hours > 0 { return "about \(hours) h \(minutes) min" }
        return minutes > 0 ? "about \(minutes) min \(seconds % 60) s" : "about \(seconds) s"
    }
}
