import EdgeCore
import EdgeMemory
public import EdgeTypes
public import Histogram
import Simulator

/// What one replication came to.
public struct CapacityResult: Sendable {
    public var seed: UInt64
    /// Of every event in order, every answer and every byte journaled.
    public var digest: UInt64
    public var events: UInt64
    public var pools: [PoolResult]
    public var nodes: [NodeResult]
    /// Answers of all pools.
    public var latencies: Histogram<UInt64>
    public var endNs: UInt64
    public var forwards: UInt64
    /// Requests that were not passed on, but refused by the node that they reached.
    public var refusedAtDoor: UInt64
    /// From the last grant until 99 % of the nodes refused so; nil: fewer ever did. A node refuses
    /// nobody before somebody comes.
    public var doorsNs: UInt64?
    /// Frames between pools' homes and slices, but for those of the opening.
    public var frames: UInt64
    public var retries: UInt64
    public var peakInFlight: Int
    public var journalBytes: UInt64
    public var store: StoreResult
    /// All nodes' busy part of every tenth of a second, and that of the busiest of them.
    public var load: [(mean: Double, highest: Double)]
    /// Users who sent in each of the same intervals.
    public var arrivals: [UInt64]
    /// What did not add up: an error in the simulator or the core.
    public var contradictions: [String]

    public struct PoolResult: Sendable {
        public var name: String
        public var users: UInt64
        public var packets: Int64
        /// What the nodes granted.
        public var granted: UInt64
        public var grantedFen: Fen
        /// Answers by outcome.
        public var answers: [(outcome: String, count: UInt64)]
        /// Users who waited at their slice until others gave back what they got, and how long.
        public var waited: UInt64
        public var waitP99Ns: UInt64
        public var waitMostNs: UInt64
        /// Units in slices that live, and that nobody will come for.
        public var stranded: Int64
        /// Units in the slices of lost nodes.
        public var quarantined: Int64
        /// Users who went without though there were units for them.
        public var unserved: UInt64

        /// As a part of the users that there were units for.
        public var unservedPart: Double {
            let served = Double(min(users, UInt64(max(packets, 0))))
            return served > 0 ? Double(unserved) / served : 0
        }
    }

    public struct NodeResult: Sendable {
        public var served: UInt64
        public var granted: UInt64
        public var steps: UInt64
        public var isLost: Bool
        /// Of the time from 0 to the end.
        public var utilisation: Double
        /// Of the busiest tenth of a second.
        public var peakUtilisation: Double
        public var syncUtilisation: Double
        public var peakWaiting: Int
        public var longestNs: UInt64
        /// On average over the run: how many were here, and how long each was (L and W).
        public var meanPresent: Double
        public var meanSojournNs: Double
    }

    public struct StoreResult: Sendable {
        public var rows: UInt64
        public var drainNs: UInt64
        public var longestLagNs: UInt64
        public var utilisation: Double
    }

    public func percentileNs(_ percentile: Double) -> UInt64 {
        percentile >= 100 ? latencies.maxRecorded : latencies.valueAtPercentile(percentile)
    }

    public var unserved: UInt64 { pools.reduce(0) { $0 + $1.unserved } }
    public var stranded: Int64 { pools.reduce(0) { $0 + $1.stranded } }
    public var quarantined: Int64 { pools.reduce(0) { $0 + $1.quarantined } }

    /// The worst pool's.
    public var unservedPart: Double { pools.map(\.unservedPart).max() ?? 0 }
}

/// Which event queue a run uses. The digest is the same.
public enum CapacityQueue: String, Sendable, CaseIterable {
    case ladder
    case heap
}

extension CapacityScenario {
    /// Runs one replication.
    ///
    /// - Precondition: the scenario and the calibration have no `problem`.
    public func run(
        seed: UInt64, calibration: Calibration, queue: CapacityQueue = .ladder
    ) -> CapacityResult {
        switch queue {
        case .ladder:
            var run = CapacityRun<LadderQueue>(self, calibration, seed: seed)
            run.run()
            return run.result(seed: seed)
        case .heap:
            var run = CapacityRun<HeapQueue>(self, calibration, seed: seed)
            run.run()
            return run.result(seed: seed)
        }
    }
}

extension CapacityRun where Queue: ~Copyable {
    mutating func result(seed: UInt64) -> CapacityResult {
        var contradictions: [String] = []
        var all = PoolProgress.histogram()
        var poolResults: [CapacityResult.PoolResult] = []
        for index in 0..<pools.count {
            poolResults.append(poolResult(index, &contradictions))
            all.add(pools[index].latencies)
        }
        let nodeResults = (0..<scenario.nodes).map { nodeResult($0, &contradictions) }
        return CapacityResult(
            seed: seed, digest: Hash64.mix(digest, UInt64(journalChecksum)), events: events,
            pools: poolResults, nodes: nodeResults, latencies: all, endNs: endNs,
            forwards: forwards,
            refusedAtDoor: (0..<scenario.nodes).reduce(UInt64(0)) {
                $0 + nodes[$1].counters.doorRefusals
            },
            doorsNs: doorsNs, frames: framesSent, retries: retries, peakInFlight: peakInFlight,
            journalBytes: journalBytes,
            store: CapacityResult.StoreResult(
                rows: store.rows, drainNs: store.drainNs, longestLagNs: store.longestLagNs,
                utilisation: store.utilisation),
            load: loadOverTime(), arrivals: arrivalsOverTime(), contradictions: contradictions)
    }

    private var doorsNs: UInt64? {
        var firstNs: [UInt64] = []
        for node in 0..<scenario.nodes where servers[node].firstRefusalNs > 0 {
            firstNs.append(servers[node].firstRefusalNs)
        }
        let wanted = (scenario.nodes * 99 + 99) / 100
        guard firstNs.count >= wanted else { return nil }
        firstNs.sort()
        let lastNs = firstNs[wanted - 1]
        return lastNs > lastGrantNs ? lastNs - lastGrantNs : 0
    }

    private mutating func poolResult(
        _ index: Int, _ contradictions: inout [String]
    ) -> CapacityResult.PoolResult {
        let books = self.books(index)
        let pool = scenario.pools[index]
        let granted = pools[index].granted
        if books.granted != Int64(granted) || books.grantedFen != pools[index].grantedFen {
            contradictions.append(
                "\(pool.name): nodes granted \(books.granted), \(books.grantedFen) fen; "
                    + "they told \(granted), \(pools[index].grantedFen) fen")
        }
        let left = pool.packets - books.granted
        if left != books.held + books.returned {
            contradictions.append(
                "\(pool.name): of \(pool.packets) packets \(books.granted) are granted, "
                    + "\(books.held) held and \(books.returned) returned")
        }
        var answers: [(outcome: String, count: UInt64)] = []
        var told: UInt64 = 0
        for outcome in 0..<17 where pools[index].outcomes[outcome] > 0 {
            let name = Outcome(rawValue: UInt8(outcome)).map { "\($0)" } ?? "error"
            answers.append((name, pools[index].outcomes[outcome]))
            told += pools[index].outcomes[outcome]
        }
        if told != pool.users {
            contradictions.append("\(pool.name): \(pool.users) users, \(told) answers")
        }
        let happy =
            pools[index].outcomes[Int(Outcome.granted.rawValue)]
            + pools[index].outcomes[Int(Outcome.repeat.rawValue)]
        let possible = min(pool.users, UInt64(pool.packets))
        return CapacityResult.PoolResult(
            name: pool.name, users: pool.users, packets: pool.packets, granted: granted,
            grantedFen: pools[index].grantedFen, answers: answers,
            waited: pools[index].waits.totalCount,
            waitP99Ns: pools[index].waits.totalCount > 0
                ? pools[index].waits.valueAtPercentile(99) : 0,
            waitMostNs: pools[index].waits.totalCount > 0 ? pools[index].waits.maxRecorded : 0,
            stranded: left - books.lost, quarantined: books.lost,
            unserved: possible > happy ? possible - happy : 0)
    }

    private mutating func nodeResult(
        _ node: Int, _ contradictions: inout [String]
    ) -> CapacityResult.NodeResult {
        servers[node].touch(max(endNs, nowNs, servers[node].busyUntilNs))
        let server = servers[node]
        if server.presentNs != server.sojournNs {
            contradictions.append(
                "node \(node): Little's law: \(server.presentNs) ns present, "
                    + "\(server.sojournNs) ns of sojourns")
        }
        let spanNs = Double(max(endNs, 1))
        var peak = 0.0
        for interval in 0..<load.intervals { peak = max(peak, load.share(interval, node)) }
        return CapacityResult.NodeResult(
            served: server.served, granted: server.granted, steps: server.steps,
            isLost: server.isLost, utilisation: Double(server.busyNs) / spanNs,
            peakUtilisation: peak, syncUtilisation: Double(server.syncBusyNs) / spanNs,
            peakWaiting: Int(server.peakWaiting), longestNs: server.longestNs,
            meanPresent: Double(server.presentNs) / spanNs,
            meanSojournNs: server.served > 0
                ? Double(server.sojournNs) / Double(server.served) : 0)
    }

    private func loadOverTime() -> [(mean: Double, highest: Double)] {
        (0..<load.intervals).map { interval in
            var sum = 0.0
            var highest = 0.0
            for node in 0..<load.nodes {
                let share = load.share(interval, node)
                sum += share
                highest = max(highest, share)
            }
            return (sum / Double(load.nodes), highest)
        }
    }

    private func arrivalsOverTime() -> [UInt64] {
        var counts: [UInt64] = []
        for index in 0..<pools.count {
            for window in 0..<pools[index].plan.counts.count {
                let count = UInt64(pools[index].plan.counts[window])
                if count == 0 { continue }
                let interval = Int(pools[index].plan.edgesNs[window] / LoadMap.intervalNs)
                while counts.count <= interval { counts.append(0) }
                counts[interval] += count
            }
        }
        return counts
    }
}
