import EdgeTypes

/// What INFO tells of a pool is what its entries add up to, to the unit and the fen, and no less
/// than its users were told.
///
/// A pool's slices tell one after the other: each number lies between the sums of the least and
/// of the most that they had since it was asked for.
final class BooksOracle: Oracle {
    let name = "books"

    private struct Heard {
        var ns: UInt64
        var fen: Fen
    }

    /// By pool: the packets that users were told of, each once.
    private var heard: [[Heard]] = []
    private var packets: [Set<Int64>] = []

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        if heard.isEmpty {
            heard = Array(repeating: [], count: world.pools.count)
            packets = Array(repeating: [], count: world.pools.count)
        }
        if let win = Win(operation, answer) {
            if packets[operation.pool].insert(win.packet).inserted {
                heard[operation.pool].append(Heard(ns: world.nowNs, fen: win.fen))
            }
        } else if operation.kind == .info, answer["state"] != nil {
            check(world, operation, answer, sentNs)
        }
    }

    private func check(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, _ sentNs: UInt64
    ) {
        let plan = world.pools[operation.pool]
        let history = world.histories[operation.node]
        let homes = history.home(plan.key, since: sentNs)
        func fail(_ text: String) { world.fail(name, "\(plan.name): \(text): \(answer)") }
        guard let definition = history.live.definitions[plan.key], !homes.isEmpty else {
            return fail("it is in no entry")
        }
        let slices = (0..<definition.slices).map { history.slice(plan.key, $0, since: sentNs) }
        func sum(_ value: (NodeBooks.Slice) -> Int64) -> ClosedRange<Int64> {
            let ranges = slices.map { states in
                let values = states.map(value)
                return (low: values.min() ?? 0, high: values.max() ?? 0)
            }
            return ranges.reduce(0) { $0 + $1.low }...ranges.reduce(0) { $0 + $1.high }
        }
        func range(_ value: (NodeBooks.Home) -> Int64) -> ClosedRange<Int64> {
            let values = homes.map(value)
            return (values.min() ?? 0)...(values.max() ?? 0)
        }
        func inTreasury(_ home: NodeBooks.Home) -> Int64 { home.isClosed ? 0 : home.unleased }
        func add(_ a: ClosedRange<Int64>, _ b: ClosedRange<Int64>) -> ClosedRange<Int64> {
            (a.lowerBound + b.lowerBound)...(a.upperBound + b.upperBound)
        }
        var expected: [(String, ClosedRange<Int64>)] = [
            ("leased", sum { $0.totals.held }),
            (
                plan.isStock ? "available" : "remaining",
                add(sum { $0.totals.held }, range(inTreasury))
            ),
            ("quarantined", sum { $0.totals.quarantined }),
            ("opens", range { $0.control.terms.opensMs }),
            ("closes", range { $0.control.terms.closesMs }),
            ("limit", range { Int64($0.control.terms.limit) }),
            ("lost", sum { $0.isQuarantined ? 1 : 0 }),
            (
                "returned",
                add(
                    range { $0.returned + ($0.isClosed ? $0.unleased : 0) },
                    sum { $0.totals.retired })
            ),
        ]
        // In a cluster it is told once whoever tells it knows that all can read it.
        if !world.scenario.isCluster {
            expected.append(("archived", sum { $0.isArchived ? 1 : 0 }))
        }
        if plan.isStock {
            expected += [
                ("units", range(\.funded)), ("sold", sum { $0.totals.granted }),
                ("pending", sum { $0.totals.pending }),
            ]
        } else {
            expected += [
                ("count", plan.units...plan.units), ("amount", plan.amountFen...plan.amountFen),
                ("granted", sum { $0.totals.granted }),
                ("granted_fen", sum { $0.totals.grantedFen }),
            ]
            if answer["state"]?.text == "closed" {
                let out = sum { $0.totals.grantedFen + $0.totals.quarantinedFen }
                let back = plan.amountFen - out.upperBound...plan.amountFen - out.lowerBound
                expected.append(("returned_fen", back))
            } else {
                expected.append(("returned_fen", sum { $0.totals.retiredFen }))
            }
        }
        for (key, range) in expected {
            guard let value = answer[key]?.integer, range.contains(value) else {
                return fail("\(key) can only be \(range)")
            }
        }
        checkState(world, operation, answer, homes, sentNs)
        if !plan.isStock { checkTold(world, operation, answer, sentNs) }
    }

    private func checkState(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, _ homes: [NodeBooks.Home],
        _ sentNs: UInt64
    ) {
        let home = world.histories[operation.node].homeNode(of: world.pools[operation.pool].key)
        // With replicas the pool's home may be another node since: whoever answered went by its own
        // clock.
        let clocks =
            world.scenario.replicas > 1 ? world.nodes.map(\.clock) : [world.nodes[home].clock]
        let walls = clocks.map { $0.wallMs(from: sentNs, to: world.nowNs) }
        let wall = walls.reduce(walls[0]) { both, one in
            min(both.lowerBound, one.lowerBound)...max(both.upperBound, one.upperBound)
        }
        let states = homes.flatMap { home -> [String] in
            if home.isClosed { return ["closed"] }
            let terms = home.control.terms
            let moments = [wall.lowerBound, terms.opensMs, terms.closesMs - 1, wall.upperBound]
            return moments.filter(wall.contains).map { word(home.control, at: $0) }
        }
        let state = answer["state"]?.text ?? "none"
        let plan = world.pools[operation.pool]
        if !states.contains(state) {
            world.fail(name, "\(plan.name): it can only be \(states): \(answer)")
        }
        guard !plan.isStock else { return }
        let seed = answer["seed"]
        let isTold = state == "closed" ? seed?.text == world.seed(of: plan)?.digits : seed == .null
        if !isTold { world.fail(name, "\(plan.name), \(state): seed \(String(describing: seed))") }
    }

    private func word(_ control: PoolControl, at ms: UnixMs) -> String {
        if control.closing { return "closing" }
        if control.terms.closesMs != 0, ms >= control.terms.closesMs { return "closing" }
        if ms < control.terms.opensMs { return "scheduled" }
        return control.paused ? "paused" : "open"
    }

    /// What users had heard of by then is in it.
    private func checkTold(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, _ sentNs: UInt64
    ) {
        let plan = world.pools[operation.pool]
        if world.mayHaveLost(plan) { return }
        let before = heard[operation.pool].filter { $0.ns <= sentNs }
        let fen = before.reduce(Fen(0)) { $0 + $1.fen }
        if answer["granted"]?.integer ?? 0 < Int64(before.count)
            || answer["granted_fen"]?.integer ?? 0 < fen
        {
            world.fail(
                name,
                "\(plan.name): \(before.count) packets with \(fen) fen were told of: \(answer)")
        }
    }
}
