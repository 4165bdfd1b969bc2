import Foundation

/// What the demo showed, for people and for programs.
struct DemoResult {
    let users: Int
    let packets: Int64
    let amountFen: Int64
    let units: Int64
    let price: Int64
    let load: [String: Any]
    let rain: AdminClient.Answer
    let sale: AdminClient.Answer
    let verdict: RainVerify.Verdict
    let audit: AdminClient.Answer

    private func counts(_ key: String) -> [String: Int] { load[key] as? [String: Int] ?? [:] }
    private var granted: Int { counts("outcomes")["granted"] ?? 0 }
    private var errors: Int { (counts("outcomes")["error"] ?? 0) + (counts("sale")["error"] ?? 0) }
    private var fen: Int64 { (load["fen"] as? NSNumber)?.int64Value ?? -1 }
    private var wrongRetries: Int { load["wrongRetries"] as? Int ?? -1 }

    /// Everything that must be so.
    var checks: [(name: String, holds: Bool)] {
        let wanted = min(Int64(users), packets)
        let sold = sale.integer("sold") ?? -1
        let pending = sale.integer("pending") ?? -1
        let available = sale.integer("available") ?? -1
        return [
            ("every packet that was wanted was granted, once", Int64(granted) == wanted),
            (
                "what users were told is what the node granted, to the fen",
                rain.integer("granted") == Int64(granted) && rain.integer("grantedFen") == fen
            ),
            (
                "granted and returned make the total",
                fen + (rain.integer("returnedFen") ?? -1) == amountFen
            ),
            ("every retry heard its first result", wrongRetries == 0),
            ("no errors", errors == 0),
            ("sold, reserved and available make the stock", sold + pending + available == units),
            ("all amounts follow from the revealed seed", verdict.problem == nil),
            ("journal and store agree to the fen", audit.integer("clean") == 1),
        ]
    }

    var holds: Bool { checks.allSatisfy(\.holds) }

    var document: [String: Any] {
        [
            "holds": holds, "users": users, "granted": granted, "fen": fen,
            "outcomes": counts("outcomes"), "sale": counts("sale"),
            "latencyUs": load["latencyUs"] ?? [], "seconds": load["seconds"] ?? 0,
            "stock": sale.body ?? [:], "rain": rain.body ?? [:], "audit": audit.body ?? [:],
            "checks": Dictionary(uniqueKeysWithValues: checks.map { ($0.name, $0.holds) }),
        ]
    }

    // MARK: For people

    var text: String {
        let seconds = load["seconds"] as? Double ?? 0
        let rate = seconds > 0 ? Double(users) / seconds : 0
        var lines = [
            "", "Red packet rain: \(Self.grouped(packets)) packets, \(Self.yuan(amountFen))",
            "  \(Self.grouped(Int64(users))) users came within \(String(format: "%.1f", seconds)) s"
                + " (\(Self.grouped(Int64(rate))) grabs/s), one node, 50 connections",
        ]
        for (outcome, count) in counts("outcomes").sorted(by: { $0.value > $1.value }) {
            lines.append("  \(Self.pad(outcome, 9)) \(Self.left(Self.grouped(Int64(count)), 11))")
        }
        lines.append(
            "  paid out  \(Self.yuan(fen)), returned \(Self.yuan(rain.integer("returnedFen") ?? 0))"
        )
        lines += ["", "Amounts"] + plot
        let latency = (load["latencyUs"] as? [NSNumber] ?? []).map { $0.doubleValue / 1_000 }
        if latency.count == 5 {
            lines += [
                "", "Latency from the intended moment, ms",
                "  p50 \(Self.ms(latency[0]))   p90 \(Self.ms(latency[1]))   "
                    + "p99 \(Self.ms(latency[2]))   p99.9 \(Self.ms(latency[3]))   "
                    + "max \(Self.ms(latency[4]))",
            ]
        }
        lines += ["", "Flash sale: \(Self.grouped(units)) units at \(Self.yuan(price))"]
        for (outcome, count) in counts("sale").sorted(by: { $0.value > $1.value }) {
            lines.append("  \(Self.pad(outcome, 9)) \(Self.left(Self.grouped(Int64(count)), 11))")
        }
        lines.append(
            "  sold \(sale.integer("sold") ?? -1), on hold \(sale.integer("pending") ?? -1), "
                + "available \(sale.integer("available") ?? -1)")
        lines += ["", "Shares", "  demo-1  100 % of \(Self.grouped(Int64(granted))) grants"]
        lines += ["", "Checks"]
        for check in checks { lines.append("  \(check.holds ? "✓" : "✗ FAILED:") \(check.name)") }
        for finding in audit["findings"] as? [String] ?? [] { lines.append("    \(finding)") }
        if let problem = verdict.problem { lines.append("    \(problem)") }
        return lines.joined(separator: "\n")
    }

    /// A histogram of amounts, as wide as the terminal.
    private var plot: [String] {
        let rows = (load["amounts"] as? [[NSNumber]] ?? []).map {
            ($0[0].int64Value, $0[1].intValue)
        }
        guard let most = rows.map(\.0).max(), most > 0 else { return ["  nothing was granted"] }
        let bins = 16
        var counts = [Int](repeating: 0, count: bins)
        for (amount, count) in rows {
            counts[min(bins - 1, Int(amount * Int64(bins) / (most + 1)))] += count
        }
        let width = max(10, min(Console.width, 100) - 34)
        let largest = max(1, counts.max() ?? 1)
        return counts.enumerated().map { index, count in
            let low = Double(most + 1) * Double(index) / Double(bins) / 100
            let eighths = count * width * 8 / largest
            let bar =
                String(repeating: "█", count: eighths / 8)
                + ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]
            let from = Self.left(String(format: "%.2f", low), 9)
            return "  ¥\(from) │\(bar) \(Self.grouped(Int64(count)))"
        }
    }

    private static func ms(_ value: Double) -> String { String(format: "%.1f", value) }

    private static func pad(_ text: String, _ width: Int) -> String {
        text.padding(toLength: max(width, text.count), withPad: " ", startingAt: 0)
    }

    private static func left(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }

    static func grouped(_ number: Int64) -> String {
        var digits = String(abs(number))
        var text = ""
        while digits.count > 3 {
            text = "," + digits.suffix(3) + text
            digits.removeLast(3)
        }
        return (number < 0 ? "-" : "") + digits + text
    }

    static func yuan(_ fen: Int64) -> String {
        "¥" + grouped(fen / 100) + String(format: ".%02d", Int(abs(fen % 100)))
    }
}
