/// Makes a failing run smaller: faults first, then users, then nodes, then time, by delta debugging
/// (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002).
///
/// Draws have no state, so what is left out changes no draw of what stays.
public struct Shrinker {
    /// Whether a candidate fails as the original did; a trap is seen only by running it elsewhere.
    public typealias Check = (RunBundle) -> Bool

    private let check: Check
    private let mostRuns: Int
    public private(set) var bundle: RunBundle
    public private(set) var runs = 0
    /// Asked before each run: what is left then is the result.
    public var mayGoOn: () -> Bool = { true }
    /// Is told what is left now and then.
    public var progress: ((RunBundle, Int) -> Void)?

    /// - Parameter mostRuns: a bound on the work.
    public init(_ bundle: RunBundle, mostRuns: Int = 4_000, check: @escaping Check) {
        self.bundle = bundle
        self.mostRuns = mostRuns
        self.check = check
    }

    /// Runs candidates in this process: for failures that an oracle found.
    public static func inProcess(_ failure: Failure) -> Check {
        { candidate in
            let world = candidate.world()
            world.lastEvent = mostEvents(failure)
            world.run()
            return world.failure?.oracle == failure.oracle && world.failure?.kind == failure.kind
        }
    }

    /// What takes much longer than the original to fail is no smaller failure.
    public static func mostEvents(_ failure: Failure) -> UInt64 {
        failure.kind == .crash ? .max : 2 * failure.event + 10_000
    }

    public mutating func shrink() {
        var before = -1
        // Each pass makes others possible.
        while size != before, runs < mostRuns, mayGoOn() {
            before = size
            shrinkFaults()
            shrinkUsers()
            shrinkNodes()
            shrinkTime()
            if size == before { shrinkPairs() }
        }
    }

    private var size: Int {
        bundle.plan.faults.count + bundle.users.count + bundle.scenario.nodes
    }

    private mutating func takes(_ candidate: RunBundle) -> Bool {
        guard runs < mostRuns, mayGoOn() else { return false }
        runs += 1
        guard check(candidate) else { return false }
        bundle = candidate
        progress?(bundle, runs)
        return true
    }

    private mutating func shrinkFaults() {
        var chunk = max(1, bundle.plan.faults.count / 2)
        while chunk >= 1 {
            var at = 0
            while at < bundle.plan.faults.count {
                var candidate = bundle
                let end = min(at + chunk, bundle.plan.faults.count)
                candidate.plan.faults.removeSubrange(at..<end)
                if !takes(candidate) { at = end }
            }
            chunk /= 2
        }
    }

    private mutating func shrinkUsers() {
        // Other halves than neighbours: every second, every third.
        for stride in [2, 3, 5] {
            for rest in 0..<stride where bundle.users.count > stride {
                var candidate = bundle
                candidate.users = bundle.users.enumerated().filter { $0.offset % stride == rest }
                    .map(\.element)
                _ = takes(candidate)
            }
        }
        var chunk = max(1, bundle.users.count / 2)
        while chunk >= 1 {
            var at = 0
            while at < bundle.users.count {
                var candidate = bundle
                let end = min(at + chunk, bundle.users.count)
                candidate.users.removeSubrange(at..<end)
                if !takes(candidate) { at = end }
            }
            chunk /= 2
        }
    }

    /// Two users at a time, of which each may make up for the other.
    private mutating func shrinkPairs() {
        var first = 0
        while first < bundle.users.count, bundle.users.count <= 64 {
            var second = first + 1
            while second < bundle.users.count {
                var candidate = bundle
                candidate.users.remove(at: second)
                candidate.users.remove(at: first)
                if !takes(candidate) { second += 1 }
                guard runs < mostRuns, mayGoOn() else { return }
            }
            first += 1
        }
    }

    /// Fewer nodes move users to other pools: it is tried, and often another failure.
    private mutating func shrinkNodes() {
        for nodes in 1..<max(1, bundle.scenario.nodes) {
            var candidate = bundle
            candidate.scenario.nodes = nodes
            candidate.plan.faults.removeAll { $0.node >= nodes }
            if takes(candidate) { return }
        }
    }

    private mutating func shrinkTime() {
        for index in bundle.plan.faults.indices {
            var candidate = bundle
            let fault = candidate.plan.faults[index]
            candidate.plan.faults[index].endNs = fault.startNs + (fault.endNs - fault.startNs) / 2
            _ = takes(candidate)
        }
        let latest = bundle.plan.faults.map(\.endNs).max() ?? 0
        for end in [latest, bundle.scenario.crowdEndNs / 2]
        where end < bundle.scenario.faultsEndNs && end > bundle.scenario.opensNs {
            var candidate = bundle
            candidate.scenario.faultsEndNs = end
            candidate.scenario.crowdEndNs = min(candidate.scenario.crowdEndNs, end)
            _ = takes(candidate)
        }
    }
}
