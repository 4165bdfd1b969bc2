import EdgeLedger
import EdgeServer
import Foundation

/// What the demo showed, for people and for programs.
struct DemoResult {
    /// What a node's shards gave.
    struct Share {
        let node: String
        let shards: Int
        let grants: Int64
        let fen: Int64
    }

    let users: Int
    let packets: Int64
    let amountFen: Int64
    let units: Int64
    let price: Int64
    /// Packets for which somebody came.
    let wanted: Int64
    let load: [String: Any]
    let rain: AdminClient.Answer
    let sale: AdminClient.Answer
    let verdict: RainVerify.Verdict
    let shares: [Share]
    /// nil: nobody was killed.
    let crash: String?
    /// Of all journals against the store, after the nodes' end.
    var audit: AuditReport?

    private func counts(_ key: String) -> [String: Int] { load[key] as? [String: Int] ?? [:] }
    private var granted: Int { counts("outcomes")["granted"] ?? 0 }
    private var errors: Int {
        ["error", "unanswered"].reduce(0) {
            $0 + (counts("outcomes")[$1] ?? 0) + (counts("sale")[$1] ?? 0)
        }
    }
    private var fen: Int64 { (load["fen"] as? NSNumber)?.int64Value ?? -1 }
    private var wrongRetries: Int { load["wrongRetries"] as? Int ?? -1 }

    /// Everything that must be so.
    var checks: [(name: String, holds: Bool)] {
        let sold = sale.integer("sold") ?? -1
        let pending = sale.integer("pending") ?? -1
        let available = sale.integer("available") ?? -1
        return [
            (
                "every packet that was wanted was granted, once",
                Int64(granted) >= wanted && granted <= min(users, Int(packets))
            ),
            (
                "what users were told is what was granted, to the fen",
                rain.integer("granted") == Int64(granted) && rain.integer("grantedFen") == fen
            ),
            (
                "granted and returned make the total",
                fen + (rain.integer("returnedFen") ?? -1) == amountFen
            ),
            ("every retry heard its first result", wrongRetries == 0),
            ("everybody was answered, without an error", errors == 0),
            ("sold, reserved and available make the stock", sold + pending + available == units),
            ("all amounts follow from the revealed seed", verdict.problem == nil),
            (
                (audit?.mirroredPools ?? 0) > 0
                    ? "all journals, the store, Redis and what users were told agree to the fen"
                    : "all journals, the store and what users were told agree to the fen",
                audit?.isClean == true && audit?.claims == Int64(granted)
                    && audit?.claimsFen == fen
            ),
        ]
    }

    var holds: Bool { checks.allSatisfy(\.holds) }

    var document: [String: Any] {
        [
            "holds": holds, "users": users, "granted": granted, "fen": fen,
            "outcomes": counts("outcomes"), "sale": counts("sale"),
            "latencyUs": load["latencyUs"] ?? [], "seconds": load["seconds"] ?? 0,
            "smoothLatencyUs": load["smoothLatencyUs"] ?? [], "delayed": delayed,
            "stock": sale.body ?? [:], "rain": rain.body ?? [:], "audit": auditDocument,
            "shares": shares.map {
                ["node": $0.node, "shards": $0.shards, "grants": $0.grants, "fen": $0.fen]
            },
            "crash": crash.map { ["node": $0] as [String: Any] } ?? NSNull(),
            "checks": Dictionary(uniqueKeysWithValues: checks.map { ($0.name, $0.holds) }),
        ]
    }

    private var delayed: Int { load["delayed"] as? Int ?? 0 }

    private var auditDocument: Any {
        guard let audit else { return NSNull() }
        let text = JSONText.of(AuditJSON.of(audit))
        return (try? JSONSerialization.jsonObject(with: Data(text.utf8))) ?? NSNull()
    }

    // MARK: For people

    var text: String {
        var lines = rainLines
        lines += ["", "Amounts"] + plot
        lines += latencyLines
        lines += ["", "Flash sale: \(Self.grouped(units)) units at \(Self.yuan(price))"]
        lines += Self.outcomes(counts("sale"))
        lines.append(
            "  sold \(sale.integer("sold") ?? -1), on hold \(sale.integer("pending") ?? -1), "
                + "available \(sale.integer("available") ?? -1)")
        lines += shareLines
        lines += crashLines
        lines += ["", "Checks"]
        for check in checks { lines.append("  \(check.holds ? "✓" : "✗ FAILED:") \(check.name)") }
        for finding in audit?.findings ?? [] { lines.append("    \(finding)") }
        if let problem = verdict.problem { lines.append("    \(problem)") }
        return lines.joined(separator: "\n")
    }

    private var rainLines: [String] {
        let seconds = load["seconds"] as? Double ?? 0
        let rate = seconds > 0 ? Double(users) / seconds : 0
        let nodes = shares.count == 1 ? "one node" : "\(shares.count) nodes"
        return [
            "", "Red packet rain: \(Self.grouped(packets)) packets, \(Self.yuan(amountFen))",
            "  \(Self.grouped(Int64(users))) users came within \(String(format: "%.1f", seconds)) s"
                + " (\(Self.grouped(Int64(rate))) grabs/s), \(nodes), 50 connections",
        ] + Self.outcomes(counts("outcomes")) + [
            "  paid out  \(Self.yuan(fen)), returned \(Self.yuan(rain.integer("returnedFen") ?? 0))"
        ]
    }

    private static func outcomes(_ counts: [String: Int]) -> [String] {
        counts.sorted { $0.value > $1.value }.map { outcome, count in
            "  \(pad(outcome, 9)) \(left(grouped(Int64(count)), 11))"
        }
    }

    private var latencyLines: [String] {
        var rows = [["", "p50", "p90", "p99", "p99.9", "max"]]
        func add(_ name: String, _ key: String) {
            let values = (load[key] as? [NSNumber] ?? []).map { Self.ms($0.doubleValue / 1_000) }
            rows.append([name] + values)
        }
        add("all users", "latencyUs")
        if crash != nil { add("not touched by the crash", "smoothLatencyUs") }
        return ["", "Latency from the intended moment, ms"] + Self.table(rows)
    }

    private var shareLines: [String] {
        var rows = [["", "shards", "grants", "share", "paid out"]]
        let all = max(1, shares.reduce(0) { $0 + $1.grants })
        for share in shares {
            rows.append([
                share.node, "\(share.shards)", Self.grouped(share.grants),
                String(format: "%.1f %%", 100 * Double(share.grants) / Double(all)),
                Self.yuan(share.fen),
            ])
        }
        return ["", "Nodes"] + Self.table(rows)
    }

    private var crashLines: [String] {
        guard let crash else { return [] }
        var lines = [
            "", "Crash",
            "  \(crash) was killed with kill -9 in the middle of the rain; the others took over",
        ]
        let unanswered = counts("outcomes")["unanswered"] ?? 0
        lines.append(
            "  \(Self.grouped(Int64(delayed))) users had to try again meanwhile, and "
                + (unanswered == 0 ? "all were served" : "\(unanswered) were never answered"))
        return lines
    }

    /// Columns of one width each, numbers to the right.
    private static func table(_ rows: [[String]]) -> [String] {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in
            rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        return rows.map { row in
            "  "
                + zip(row, widths).enumerated().map { column, cell in
                    column == 0 ? pad(cell.0, cell.1) : left(cell.0, cell.1)
                }.joined(separator: "  ")
        }
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
