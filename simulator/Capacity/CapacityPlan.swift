import Simulator

/// How many nodes a scenario needs, found by running it with others.
///
/// Assumes that more nodes never break an SLO that fewer keep. Slices stay as they are: a node
/// without one still takes clients in and forwards.
public struct CapacityPlan: Sendable {
    public struct Need: Codable, Sendable, Hashable {
        /// Nodes that are lost at the busiest moment.
        public var losses: Int
        /// The fewest nodes, with those lost among them; nil where not even the most are enough.
        public var nodes: Int?
        /// Runs it took.
        public var runs: Int
    }

    private let scenario: CapacityScenario
    private let calibration: Calibration
    private let seed: UInt64
    private let busiestNs: UInt64

    public init(_ scenario: CapacityScenario, calibration: Calibration, seed: UInt64) {
        self.scenario = scenario
        self.calibration = calibration
        self.seed = seed
        busiestNs = Self.busiestNs(scenario, seed: seed)
    }

    /// The busiest tenth of a second's beginning.
    private static func busiestNs(_ scenario: CapacityScenario, seed: UInt64) -> UInt64 {
        var counts: [UInt64] = []
        for (index, pool) in scenario.pools.enumerated() {
            let progress = PoolProgress(pool, index: index, random: RandomSource(seed: seed))
            for window in 0..<progress.plan.counts.count {
                let interval = Int(progress.plan.edgesNs[window] / LoadMap.intervalNs)
                while counts.count <= interval { counts.append(0) }
                counts[interval] += UInt64(progress.plan.counts[window])
            }
        }
        let busiest = counts.indices.max { counts[$0] < counts[$1] } ?? 0
        return UInt64(busiest) * LoadMap.intervalNs
    }

    /// - Parameter progress: told of every run.
    /// Complexity: two runs for every doubling of nodes between 1 and the answer.
    public func need(losses: Int, progress: (String) -> Void = { _ in }) -> Need {
        var runs = 0
        let own = scenario.losses.first
        func holds(_ nodes: Int) -> Bool {
            var scenario = scenario
            scenario.nodes = nodes
            scenario.losses = []
            if losses > 0 {
                // As fast to be noticed as the scenario's own.
                var loss = own ?? CapacityScenario.Loss(nodes: losses, atNs: busiestNs)
                loss.nodes = losses
                loss.atNs = busiestNs
                scenario.losses = [loss]
            }
            runs += 1
            let result = scenario.run(seed: seed, calibration: calibration)
            let judgement = CapacityJudgement(scenario, [result])
            progress(
                "\(nodes) nodes, \(losses) lost: \(judgement.holds ? "holds" : "does not hold")")
            return judgement.holds
        }
        let fewest = max(losses + 1, scenario.zones.count)
        let most = min(scenario.shards, 10_000)
        guard fewest <= most else { return Need(losses: losses, nodes: nil, runs: 0) }
        // Doubling up to a count that holds, then halving what lies between.
        var enough = fewest
        var tooFew = fewest - 1
        while !holds(enough) {
            tooFew = enough
            guard enough < most else { return Need(losses: losses, nodes: nil, runs: runs) }
            enough = min(enough * 2, most)
        }
        while enough - tooFew > 1 {
            let middle = (enough + tooFew) / 2
            if holds(middle) { enough = middle } else { tooFew = middle }
        }
        return Need(losses: losses, nodes: enough, runs: runs)
    }
}
