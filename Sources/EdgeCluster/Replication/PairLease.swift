public import EdgeTypes

/// How long a pair of processes believes in each other.
public struct LeaseTimes: Sendable {
    /// Between two beacons.
    public var beaconNs: UInt64 = 200_000_000
    /// So long after the sending of a beacon that was answered, the other one does not take over.
    public var leaseNs: UInt64 = 700_000_000
    /// After so much silence, it may. Longer than the lease by more than two clocks drift apart
    /// meanwhile (0.5 % here).
    public var graceNs: UInt64 = 900_000_000
    /// After so much silence a primary drops its backup.
    public var dropNs: UInt64 = 1_200_000_000

    public init() {}
}

/// The beacons between this process and one life of another, both ways.
///
/// A primary's lease begins when the beacon was *sent*, on its own monotonic clock; a backup's
/// grace begins when the beacon was *received*, on its own. Sending comes before receiving, so a
/// lease is over before the grace is, whatever the clocks say (Gray & Cheriton, "Leases", 1989).
/// A grace counts from this pair's first word where no beacon has come yet.
///
/// O(1) each.
public struct PairLease: Sendable {
    private let times: LeaseTimes
    private let mutant: ReplicationMutant
    /// When the last beacons were sent, by number modulo the size.
    private var sentNs: [UInt64]
    private var count: UInt64 = 0
    /// Until when the other one surely does not take over.
    public private(set) var leaseUntilNs: UInt64 = 0
    private var heardNs: UInt64

    /// Beacons without an answer that are remembered.
    static let remembered: UInt64 = 16

    public init(_ times: LeaseTimes, nowNs: UInt64, mutant: ReplicationMutant = .none) {
        precondition(times.leaseNs < times.graceNs && times.graceNs <= times.dropNs)
        self.times = times
        self.mutant = mutant
        sentNs = Array(repeating: 0, count: Int(Self.remembered))
        heardNs = nowNs
    }

    /// Sends a beacon.
    ///
    /// - Returns: its number.
    public mutating func send(nowNs: UInt64) -> UInt64 {
        count += 1
        sentNs[Int(count % Self.remembered)] = nowNs
        return count
    }

    /// The other one answered a beacon.
    public mutating func answered(_ number: UInt64, nowNs: UInt64) {
        guard number <= count, count - number < Self.remembered else { return }
        let sent = mutant == .leaseFromAnswer ? nowNs : sentNs[Int(number % Self.remembered)]
        let length = mutant == .leaseLongerThanGrace ? 4 * times.graceNs : times.leaseNs
        leaseUntilNs = max(leaseUntilNs, sent + length)
    }

    /// A beacon of the other one has come.
    public mutating func heard(nowNs: UInt64) { heardNs = max(heardNs, nowNs) }

    /// Whether the other one surely does not take over before `nowNs`.
    public func holdsLease(nowNs: UInt64) -> Bool { nowNs < leaseUntilNs }

    /// Whether the other one's lease on this process is surely over.
    public func isGraceOver(nowNs: UInt64) -> Bool { nowNs >= heardNs + times.graceNs }

    /// Whether a primary should go on without the other one.
    public func isLost(nowNs: UInt64) -> Bool {
        nowNs >= heardNs + times.dropNs
    }
}
