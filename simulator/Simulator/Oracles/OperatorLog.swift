import EdgeTypes

/// What operators asked of pools and were told, and so which terms can have been in force when.
/// Says nothing itself: the oracles after it in the list look things up here.
final class OperatorLog: Oracle {
    let name = "operator log"

    /// Values that ALTER changes.
    enum Term: String, CaseIterable {
        case opens = "OPENS"
        case closes = "CLOSES"
        case limit = "LIMIT"
    }

    /// One value: asked for at some time, and surely in force everywhere once that was heard.
    private struct Change {
        var request: String
        var value: Int64
        var askedNs: UInt64
        var heardNs = UInt64.max
    }

    private struct Pool {
        var changes: [[Change]]
        var firstNs: [OperationKind: UInt64] = [:]
        var createdNs = UInt64.max
    }

    private var pools: [Pool] = []

    private func prepare(_ world: World) {
        guard pools.isEmpty else { return }
        pools = world.pools.map { plan in
            let terms = plan.terms(world.scenario)
            let initial = [terms.opensMs, terms.closesMs, Int64(terms.limit)]
            return Pool(
                changes: initial.map {
                    [Change(request: "", value: $0, askedNs: 0, heardNs: 0)]
                })
        }
    }

    func asked(_ world: World, _ operation: Operation) {
        prepare(world)
        let index = operation.pool
        if pools[index].firstNs[operation.kind] == nil {
            pools[index].firstNs[operation.kind] = world.nowNs
        }
        guard operation.kind == .alter else { return }
        for (number, term) in Term.allCases.enumerated() {
            guard let value = operation.value(of: term) else { continue }
            let isKnown = pools[index].changes[number].contains {
                $0.request == operation.request
            }
            guard !isKnown else { continue }
            pools[index].changes[number].append(
                Change(request: operation.request, value: value, askedNs: world.nowNs))
        }
    }

    func answered(
        _ world: World, _ operation: Operation, _ answer: RESPAnswer, sentNs: UInt64
    ) {
        prepare(world)
        let index = operation.pool
        guard answer.text == "OK" else { return }
        if operation.kind == .create {
            pools[index].createdNs = min(pools[index].createdNs, world.nowNs)
        }
        // One that was refused may still arrive again and be taken: it never counts as heard.
        guard operation.kind == .alter else { return }
        if operation.value(of: .opens) != nil { world.probe(.openingMoved) }
        if operation.value(of: .closes) != nil { world.probe(.closingMoved) }
        for number in pools[index].changes.indices {
            for change in pools[index].changes[number].indices
            where pools[index].changes[number][change].request == operation.request {
                let heardNs = pools[index].changes[number][change].heardNs
                pools[index].changes[number][change].heardNs = min(heardNs, world.nowNs)
            }
        }
    }

    // MARK: Looking up

    /// The values of a term that some slice can have gone by at some moment after `ns`, up to now:
    /// all that were asked for, but those that another one had replaced everywhere by then.
    func values(_ term: Term, _ pool: Int, since ns: UInt64) -> [Int64] {
        let changes = pools[pool].changes[Term.allCases.firstIndex(of: term) ?? 0]
        return changes.filter { change in
            !changes.contains { $0.askedNs > change.heardNs && $0.heardNs <= ns }
        }.map(\.value)
    }

    /// All values that anybody ever asked for.
    func allValues(_ term: Term, _ pool: Int) -> [Int64] {
        pools[pool].changes[Term.allCases.firstIndex(of: term) ?? 0].map(\.value)
    }

    /// Whether anybody ever asked for it.
    func hasAsked(_ kind: OperationKind, _ pool: Int) -> Bool { pools[pool].firstNs[kind] != nil }

    /// When an operator first heard that the pool is there.
    func createdNs(_ pool: Int) -> UInt64 { pools[pool].createdNs }
}

extension Operation {
    /// What an ALTER gives a term; nil where it does not.
    func value(of term: OperatorLog.Term) -> Int64? {
        guard let place = words.firstIndex(of: term.rawValue) else { return nil }
        return Int64(words[place + 1])
    }

    /// The region that a user's request names.
    var region: String? {
        guard let place = words.firstIndex(of: "REGION"), place + 1 < words.count else {
            return nil
        }
        return words[place + 1]
    }
}

extension PoolPlan {
    /// The terms that it is created with.
    func terms(_ scenario: Scenario) -> PoolTerms {
        let openMs = World.startMs + Int64(scenario.opensNs / 1_000_000)
        return PoolTerms(
            opensMs: opensAfterNs.map { openMs + Int64($0 / 1_000_000) } ?? 0,
            closesMs: closesAfterNs.map { openMs + Int64($0 / 1_000_000) } ?? 0, limit: limit)
    }
}
