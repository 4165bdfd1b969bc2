/// Figures for people.
enum Text {
    /// At most so many significant digits behind the point, no zeros at the end.
    static func number(_ value: Double, digits: Int = 4) -> String {
        guard value.isFinite else { return "-" }
        if value == value.rounded(), value.magnitude < 1e15 { return grouped(Int64(value)) }
        var scale = 1.0
        var places = 0
        while places < 9 && value.magnitude * scale < power(digits - 1) {
            scale *= 10
            places += 1
        }
        let scaled = (value.magnitude * scale).rounded()
        guard scaled < 9e15 else { return "\(value)" }
        let whole = Int64(scaled) / Int64(scale)
        let rest = Int64(scaled) % Int64(scale)
        var text = (value < 0 ? "-" : "") + grouped(whole)
        guard rest > 0 else { return text }
        let fraction = String(rest)
        text += "." + String(repeating: "0", count: places - fraction.count) + fraction
        while text.hasSuffix("0") { text.removeLast() }
        return text
    }

    static func percent(_ part: Double) -> String { number(part * 100, digits: 3) + " %" }

    static func grouped(_ value: Int64) -> String {
        let digits = String(value.magnitude)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0 && (digits.count - index) % 3 == 0 { text += "," }
            text.append(digit)
        }
        return (value < 0 ? "-" : "") + text
    }

    static func grouped(_ value: UInt64) -> String { grouped(Int64(clamping: value)) }

    static func left(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    static func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }

    private static func power(_ exponent: Int) -> Double {
        (0..<max(exponent, 0)).reduce(1) { power, _ in power * 10 }
    }
}

extension CapacityReport {
    /// For a terminal.
    public var text: String {
        var lines = [
            verdict, "",
            "\(scenario): \(Text.grouped(users)) users, \(nodes) nodes, "
                + "calibrated by \(calibration.name) (\(calibration.cpu), \(calibration.date))",
            "",
        ]
        lines += replicationLines
        if replications.count > 1 { lines += overLines }
        lines += poolLines
        lines += ["", "bottleneck: \(bottleneck)"]
        for use in utilisations {
            lines.append(
                "  \(Text.left(use.resource, 40))\(Text.right(Text.percent(use.value), 10))")
        }
        let first = replications[0]
        lines.append(
            "store: drained \(Text.number(first.storeDrainSeconds)) s after the last grant, "
                + "longest lag \(Text.number(first.storeLongestLagSeconds)) s")
        lines += heatLines
        if let plan { lines += planLines(plan) }
        for replication in replications {
            for problem in replication.contradictions {
                lines.append("CONTRADICTION, seed \(replication.seed): \(problem)")
            }
        }
        lines += ["", "replay: \(replay)"]
        return lines.joined(separator: "\n")
    }

    private var replicationLines: [String] {
        let heads = [
            "seed", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "unserved", "stranded",
        ]
        var lines = [
            heads.map { Text.right($0, 11) }.joined() + "  digest"
        ]
        for run in replications {
            let times = [run.p50Ms, run.p90Ms, run.p99Ms, run.p999Ms, run.maxMs]
            var cells = ["\(run.seed)"] + times.map { Text.number($0) }
            cells += [Text.grouped(run.unserved), Text.grouped(run.stranded)]
            lines.append(cells.map { Text.right($0, 11) }.joined() + "  \(run.digest)")
        }
        return lines
    }

    private var overLines: [String] {
        var lines = ["", "mean over \(replications.count) replications, 95 % confidence:"]
        for figure in overReplications {
            let half = figure.interval.halfWidth.map { " ± \(Text.number($0))" } ?? ""
            lines.append(
                "  \(Text.left(figure.name, 10))\(Text.number(figure.interval.mean))\(half) "
                    + figure.unit)
        }
        return lines
    }

    private var poolLines: [String] {
        var lines: [String] = [""]
        for pool in pools {
            let answers = pool.answers.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
                .map { "\($0.key) \(Text.grouped($0.value))" }.joined(separator: ", ")
            lines.append("\(pool.name): \(answers)")
            lines.append(
                "  \(Text.grouped(pool.granted)) of \(Text.grouped(pool.packets)) packets granted, "
                    + "\(Text.grouped(pool.stranded)) stranded, "
                    + "\(Text.grouped(pool.quarantined)) with lost nodes; "
                    + "\(Text.grouped(pool.unserved)) users unserved "
                    + "(\(Text.percent(pool.unservedPart)))")
            lines.append(
                "  \(Text.grouped(pool.waited)) waited for units of other slices, 99 % up to "
                    + "\(Text.number(pool.waitP99Ms)) ms, all up to "
                    + "\(Text.number(pool.waitMostMs)) ms")
        }
        let frames = replications[0].frames
        let granted = pools.reduce(UInt64(0)) { $0 + $1.granted }
        lines.append(
            "\(Text.grouped(frames)) frames between homes and slices, "
                + "\(Text.percent(Double(frames) / Double(max(granted, 1)))) of grants")
        let first = replications[0]
        if first.refusedAtDoor > 0 {
            let doors = first.doorsMs.map { "within \(Text.number($0)) ms of" } ?? "never after"
            lines.append(
                "\(Text.grouped(first.forwards)) requests passed on, "
                    + "\(Text.grouped(first.refusedAtDoor)) refused at the door: "
                    + "by 99 % of the nodes \(doors) the last grant")
        }
        return lines
    }

    /// Nodes from the coolest to the hottest, one sign each where they are few.
    private var heatLines: [String] {
        let signs = Array(" .:-=+*#%@")
        let highest = max(heatMap.map(\.peakUtilisation).max() ?? 0, 1e-9)
        var lines = [
            "", "nodes by peak utilisation (@ is \(Text.percent(highest)), x lost):",
        ]
        var row = "  "
        for node in heatMap.prefix(2_000) {
            let level = Int(node.peakUtilisation / highest * Double(signs.count - 1) + 0.5)
            row.append(node.isLost ? "x" : signs[min(level, signs.count - 1)])
            if row.count == 82 {
                lines.append(row)
                row = "  "
            }
        }
        if row.count > 2 { lines.append(row) }
        let hottest = heatMap.sorted { $0.peakUtilisation > $1.peakUtilisation }.prefix(3)
        for node in hottest {
            lines.append(
                "  node \(node.node): \(Text.percent(node.share)) of requests, "
                    + "\(Text.percent(node.peakUtilisation)) busy at its peak, "
                    + "\(node.peakWaiting) waiting at most")
        }
        return lines
    }

    private func planLines(_ plan: [CapacityPlan.Need]) -> [String] {
        var lines = ["", "nodes needed:"]
        for need in plan {
            let nodes = need.nodes.map(String.init) ?? "more than can be"
            lines.append("  with \(need.losses) lost at the busiest moment: \(nodes)")
        }
        return lines
    }
}
