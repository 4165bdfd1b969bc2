import EdgeTypes

/// After the faults, users come who want whatever is left, until nothing is.
///
/// For each pool that is open and of which something is left they come in waves, each of one region.
/// A pool of which a wave gets nothing, three times in a row and with something left all the time, is
/// stranded.
final class Demand {
    private unowned let world: World
    private let oracle: StrandedOracle
    private var waves: [Wave] = []
    private var nextUser: Int
    private var count = 0

    private struct Wave {
        var pool: Int
        var users: [Int]
        var failures: Int
    }

    static let mostWaves = 24
    static let mostUsers = 12

    init(_ world: World) {
        self.world = world
        nextUser = world.scenario.users + 1_000
        guard let oracle = world.oracles.lazy.compactMap({ $0 as? StrandedOracle }).first else {
            preconditionFailure("nobody knows what is left")
        }
        self.oracle = oracle
        for pool in world.pools { oracle.beginLook(pool, world) }
    }

    /// Looks what the last waves got, and sends the next.
    ///
    /// - Returns: whether nobody wants anything any more.
    func advance() -> Bool {
        count += 1
        var failures: [Int: Int] = [:]
        for wave in waves {
            guard gotNothing(wave) else { continue }
            failures[wave.pool] = wave.failures + 1
        }
        waves = []
        guard count <= Self.mostWaves else { return true }
        for plan in world.pools where isOpen(plan) {
            if let (slices, left) = oracle.left(plan, world) {
                let failed = failures[plan.index] ?? 0
                guard failed < 3 else {
                    world.fail(
                        oracle.name, "\(plan.name): \(left) units are left, and nobody gets them")
                    return true
                }
                send(plan, slices, left: left, failures: failed)
            }
            oracle.beginLook(plan, world)
        }
        return waves.isEmpty
    }

    private func isOpen(_ plan: PoolPlan) -> Bool {
        let history = world.histories[plan.node]
        guard !history.isGone, let home = history.home(plan.key, since: world.nowNs).last,
            !home.isClosed, !home.control.closing, !home.control.paused
        else { return false }
        let nowMs = world.nodes[history.homeNode(of: plan.key)].now.wallMs
        let terms = home.control.terms
        // Long enough for a wave, whatever the clocks say.
        return terms.opensMs <= nowMs - 1_000
            && (terms.closesMs == 0 || terms.closesMs > nowMs + 60_000)
    }

    private func gotNothing(_ wave: Wave) -> Bool {
        let answers = world.clients.operations.filter {
            $0.pool == wave.pool && wave.users.contains($0.actor) && $0.retryOf == nil
        }
        return !answers.isEmpty
            && answers.allSatisfy { $0.answer?.items.first?.text == "soldout" }
    }

    private func send(
        _ plan: PoolPlan, _ slices: Range<UInt32>, left: Int64, failures: Int
    ) {
        let history = world.histories[plan.node]
        let wanted = min(Int(left) + 1, Self.mostUsers)
        var users: [Int] = []
        var tries = 0
        var chosen: String?
        while users.count < wanted, tries < 4_000 {
            let user = nextUser
            nextUser += 1
            tries += 1
            let region = plan.region(of: user, world.random)
            guard !plan.isForeign(user, world.random),
                let slice = history.slice(of: UserID(user) + 1, plan.key, region: region),
                slices.contains(slice), !oracle.isOut(plan, slice),
                users.isEmpty || region == chosen
            else { continue }
            chosen = region
            users.append(user)
        }
        for (number, user) in users.enumerated() {
            let script = world.clients.script
            world.clients.later(
                plan.isStock
                    ? script.reserve(plan, user, "d\(count)", 1) : script.grab(plan, user, "d"),
                at: world.nowNs + UInt64(number) * 3_000_000)
        }
        waves.append(Wave(pool: plan.index, users: users, failures: failures))
    }
}
