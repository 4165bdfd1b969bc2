import EdgeMemory
import EdgeTypes
import Histogram
import Simulator

/// One pool of a run: who sends next, and what was told so far.
struct PoolProgress: ~Copyable {
    let pool: CapacityScenario.Pool
    let key: PoolKey
    let plan: ArrivalPlan
    let needsRequest: Bool
    private let userSalt: UInt64
    private let seed: Bits256
    var window = 0
    var nextUser: UInt32 = 0

    /// Answers by outcome; errors last.
    var outcomes = InlineArray<17, UInt64>(repeating: 0)
    /// What the nodes granted, whether its user has heard of it or not.
    private(set) var granted: UInt64 = 0
    private(set) var grantedFen: Fen = 0
    private(set) var latencies = Self.histogram()
    /// How long those waited at their slice who were granted what others did not need.
    private(set) var waits = Self.histogram()

    static let error: UInt8 = 16

    /// From a microsecond to an hour, to three digits.
    static func histogram() -> Histogram<UInt64> {
        Histogram(
            lowestDiscernibleValue: 1_000, highestTrackableValue: 3_600_000_000_000,
            numberOfSignificantValueDigits: .three)
    }

    init(_ pool: CapacityScenario.Pool, index: Int, random: RandomSource) {
        self.pool = pool
        key = PoolKey.of(.rain, Text64(pool.name))
        switch pool.arrivals {
        case .notified(let notification, let reaction):
            plan = ArrivalPlan(
                notification: notification, reaction: reaction, users: pool.users,
                pool: UInt64(index), random: random)
        case .recorded(let histogram): plan = ArrivalPlan(histogram, users: pool.users)
        }
        needsRequest = pool.limit > 1
        userSalt = random.word(.pools, UInt64(index), 4)
        seed = Bits256(
            random.word(.pools, UInt64(index), 0), random.word(.pools, UInt64(index), 1),
            random.word(.pools, UInt64(index), 2), random.word(.pools, UInt64(index), 3))
    }

    /// Users differ: multiplication by an odd number is one to one.
    @inline(__always)
    func userID(_ user: UInt32) -> UserID {
        (UInt64(user) &* 0x9e37_79b9_7f4a_7c15) &+ userSalt
    }

    func definition(opensMs: UnixMs) -> PoolDefinition {
        let closesMs = pool.closesAfterNs.map { opensMs + Int64($0 / 1_000_000) } ?? 0
        return PoolDefinition(
            name: Text64(pool.name), kind: pool.kind, units: pool.packets,
            amountFen: pool.amountFen, minFen: 1, maxFen: 0, holdMs: 0, slices: pool.slices,
            regions: [], seed: seed, seedWasGiven: true, commitment: .zero,
            durability: pool.durability,
            initial: PoolTerms(opensMs: opensMs, closesMs: closesMs, limit: pool.limit))
    }

    @inline(__always)
    static func outcome(_ reply: Reply) -> UInt8 {
        reply.shape == .grab ? reply.outcome.rawValue : error
    }

    @inline(__always)
    mutating func grant(_ fen: Fen) {
        granted &+= 1
        grantedFen &+= fen
    }

    mutating func waited(_ waitNs: UInt64) { waits.record(waitNs) }

    @inline(__always)
    mutating func tell(_ outcome: UInt8, latencyNs: UInt64) {
        outcomes[Int(outcome)] &+= 1
        latencies.record(latencyNs)
    }
}
