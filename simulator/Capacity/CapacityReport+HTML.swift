extension CapacityReport {
    /// One page without anything from outside.
    public var html: String {
        let first = replications[0]
        return """
            <!doctype html><html lang="en"><head><meta charset="utf-8">
            <title>\(Self.escaped(scenario))</title><style>
            body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
            table{border-collapse:collapse}td,th{padding:.2rem .7rem;text-align:right}
            th{border-bottom:1px solid}svg{width:100%;height:auto}text{font:11px sans-serif}
            .holds{color:#176b3a}.fails{color:#a4161a}code{background:#eee;padding:.1rem .3rem}
            </style></head><body><h1>\(Self.escaped(scenario))</h1>
            <p class="\(holds ? "holds" : "fails")"><strong>\(Self.escaped(verdict))</strong></p>
            <p>\(Text.grouped(users)) users, \(nodes) nodes. Calibration
            \(Self.escaped(calibration.name)): \(Self.escaped(calibration.cpu)),
            \(Self.escaped(calibration.date)), commit \(Self.escaped(calibration.commit)).</p>
            \(replicationTable)\(figureTable)
            <h2>Latency, seed \(first.seed)</h2>\(latencySVG)
            <h2>Arrivals and load</h2>\(timelineSVG)
            <h2>Nodes</h2><p>Bottleneck: \(Self.escaped(bottleneck)).</p>\(utilisationTable)
            \(heatSVG)\(planTable)
            <p>The store had everything \(Text.number(first.storeDrainSeconds)) s after the last
            grant; longest lag \(Text.number(first.storeLongestLagSeconds)) s.</p>
            <p>Replay: <code>\(Self.escaped(replay))</code></p></body></html>

            """
    }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            default: result.append(character)
            }
        }
        return result
    }

    private static func table(_ heads: [String], _ rows: [[String]]) -> String {
        let head = heads.map { "<th>\(escaped($0))</th>" }.joined()
        let body = rows.map { row in
            "<tr>" + row.map { "<td>\(escaped($0))</td>" }.joined() + "</tr>"
        }
        return "<table><tr>\(head)</tr>\(body.joined())</table>"
    }

    private var replicationTable: String {
        Self.table(
            [
                "seed", "p50 ms", "p90", "p99", "p99.9", "max", "unserved", "stranded",
                "lost with nodes", "digest",
            ],
            replications.map { run in
                ["\(run.seed)"]
                    + [run.p50Ms, run.p90Ms, run.p99Ms, run.p999Ms, run.maxMs].map {
                        Text.number($0)
                    }
                    + [Text.grouped(run.unserved), Text.grouped(run.stranded)]
                    + [Text.grouped(run.quarantined), run.digest]
            })
    }

    private var figureTable: String {
        guard replications.count > 1 else { return "" }
        return "<h2>Means over replications, 95 % confidence</h2>"
            + Self.table(
                ["", "mean", "±", "unit"],
                overReplications.map { figure in
                    [
                        figure.name, Text.number(figure.interval.mean),
                        figure.interval.halfWidth.map { Text.number($0) } ?? "", figure.unit,
                    ]
                })
    }

    private var utilisationTable: String {
        Self.table(
            ["resource", "utilisation"],
            utilisations.map { [$0.resource, Text.percent($0.value)] })
    }

    private var planTable: String {
        guard let plan else { return "" }
        return "<h2>Nodes needed</h2>"
            + Self.table(
                ["lost at the busiest moment", "nodes"],
                plan.map { ["\($0.losses)", $0.nodes.map(String.init) ?? "more than can be"] })
    }

    /// Percentiles on a scale of nines.
    private var latencySVG: String {
        let most = max(latencyCurve.map(\.ms).max() ?? 1, 1e-3)
        func x(_ percentile: Double) -> Double {
            let above = max(1 - percentile / 100, 1e-6)
            // Each nine as wide as the others.
            var nines = 0.0
            var rest = above
            while rest < 0.1 {
                rest *= 10
                nines += 1
            }
            nines += (1 - rest) / 0.9
            return 60 + nines * 140
        }
        func y(_ ms: Double) -> Double { 260 - ms / most * 230 }
        var marks = ""
        for point in latencyCurve where [50, 90, 99, 99.9, 99.99, 100].contains(point.percentile) {
            let name = point.percentile == 100 ? "max" : "p\(Text.number(point.percentile))"
            marks += """
                <text x="\(x(point.percentile))" y="280" text-anchor="middle">\(name)</text>
                <text x="\(x(point.percentile))" y="\(y(point.ms) - 6)" text-anchor="middle">\
                \(Text.number(point.ms, digits: 3)) ms</text>
                """
        }
        let line = latencyCurve.map { "\(x($0.percentile)),\(y($0.ms))" }.joined(separator: " ")
        return """
            <svg viewBox="0 0 960 290" role="img" aria-label="latency by percentile">
            <line x1="60" y1="260" x2="930" y2="260" stroke="#888"/>
            <polyline points="\(line)" fill="none" stroke="#1f5fbf" stroke-width="2"/>\(marks)</svg>
            """
    }

    private var timelineSVG: String {
        let shown = Array(timeline.prefix { _ in true }.prefix(300))
        let most = Double(max(shown.map(\.arrivals).max() ?? 1, 1))
        let width = 880 / Double(max(shown.count, 1))
        var bars = ""
        var mean: [String] = []
        var highest: [String] = []
        for (index, interval) in shown.enumerated() {
            let height = Double(interval.arrivals) / most * 220
            let x = 50 + Double(index) * width
            bars += """
                <rect x="\(x)" y="\(250 - height)" width="\(width * 0.9)" height="\(height)" \
                fill="#b8cdec"><title>\(Text.number(interval.seconds)) s: \
                \(Text.grouped(interval.arrivals)) users</title></rect>
                """
            mean.append("\(x + width / 2),\(250 - interval.meanUtilisation * 220)")
            highest.append("\(x + width / 2),\(250 - interval.highestUtilisation * 220)")
        }
        let end = shown.last?.seconds ?? 0
        return """
            <svg viewBox="0 0 960 290" role="img" aria-label="arrivals and load over time">\(bars)
            <polyline points="\(mean.joined(separator: " "))" fill="none" stroke="#176b3a"/>
            <polyline points="\(highest.joined(separator: " "))" fill="none" stroke="#a4161a"/>
            <line x1="50" y1="250" x2="930" y2="250" stroke="#888"/>
            <text x="50" y="270">0 s</text>
            <text x="930" y="270" text-anchor="end">\(Text.number(end)) s</text>
            <text x="50" y="20">bars: users per 100 ms, at most \(Text.grouped(UInt64(most))); \
            green: mean CPU of nodes; red: hottest node (of 100 %)</text></svg>
            """
    }

    private var heatSVG: String {
        let shown = heatMap.prefix(10_000)
        let columns = 40
        let size = 22.0
        let rows = (shown.count + columns - 1) / columns
        var cells = ""
        for node in shown {
            let x = Double(node.node % columns) * size
            let y = Double(node.node / columns) * size
            let light = 95 - Int(node.peakUtilisation * 60)
            let colour = node.isLost ? "#333" : "hsl(14 80% \(light)%)"
            cells += """
                <rect x="\(x)" y="\(y)" width="20" height="20" fill="\(colour)"><title>node \
                \(node.node): \(Text.percent(node.share)) of requests, \
                \(Text.percent(node.peakUtilisation)) at its peak\
                \(node.isLost ? ", lost" : "")</title></rect>
                """
        }
        return """
            <svg viewBox="0 0 880 \(Double(rows) * size)" role="img" \
            aria-label="nodes by peak utilisation">\(cells)</svg>
            """
    }
}
