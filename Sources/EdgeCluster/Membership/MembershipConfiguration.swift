public import EdgeTypes

/// The constants of membership. Those given are for one data centre's network; the README beside
/// this file says where each comes from.
public struct MembershipConfiguration: Sendable {
    /// Between two probes of a node that is in good health, and a probe's whole length.
    public var probeIntervalNs: UInt64 = 500_000_000
    /// For how long a ping may be unanswered until others are asked.
    public var probeTimeoutNs: UInt64 = 150_000_000
    /// For how long a relayed ping may be unanswered until its relay says `nack`.
    public var relayTimeoutNs: UInt64 = 150_000_000
    /// How many others are asked.
    public var indirectProbes = 3

    /// Between two rounds of gossip, as long as there is something to tell.
    public var gossipIntervalNs: UInt64 = 200_000_000
    /// For how long a first update waits for others to go with it.
    public var gossipDelayNs: UInt64 = 20_000_000
    /// How many are told in a round.
    public var gossipFanout = 3
    /// An update is sent `retransmitFactor` · log10(n + 1) times by each node.
    public var retransmitFactor = 4

    /// The shortest suspicion, confirmed by `confirmations`, is this for each factor of ten in
    /// the cluster's size, in units of the probe interval; in percent.
    public var suspicionPercent = 200
    /// No suspicion is shorter.
    public var suspicionFloorNs: UInt64 = 2_000_000_000
    /// The longest, confirmed by nobody, is so many times the shortest.
    public var suspicionSpan = 6
    /// How many independent accusers beyond the first make a suspicion as short as it gets.
    public var confirmations = 3
    /// How many members, about, that hear of a suspicion probe the suspect next.
    public var verifiers = 6
    /// How often each node that holds a suspicion asks the suspect itself.
    public var recheckNs: UInt64 = 1_000_000_000
    /// Most such questions a second; suspicions that had none do not end.
    public var checksPerSecond = 64

    /// The worst local health: timeouts are at most `healthLimit` + 1 times as long.
    public var healthLimit = 8
    /// A step that comes this much later than asked for means that this process stood still.
    public var oversleepNs: UInt64 = 250_000_000

    /// Between two exchanges of state, for up to 32 members; one more for each doubling.
    public var exchangeIntervalNs: UInt64 = 30_000_000_000
    /// Two exchanges are not opened closer together than this.
    public var exchangeSpacingNs: UInt64 = 500_000_000
    /// Between two attempts to reach somebody who is dead.
    public var reconnectIntervalNs: UInt64 = 10_000_000_000
    /// For how long dead and departed members are remembered.
    public var retiredMemoryNs: UInt64 = 24 * 3_600_000_000_000
    /// For how long an answer from a seed is waited for.
    public var joinTimeoutNs: UInt64 = 2_000_000_000
    /// Between two pings to a process that bears this node's name; there are three.
    public var nameCheckNs: UInt64 = 300_000_000
    /// For how long a departing member spreads its goodbye.
    public var leaveNs: UInt64 = 2_000_000_000

    /// Rebalancing freezes when more than this part of the members turn within the window.
    public var freezePercent = 20
    public var freezeWindowNs: UInt64 = 32_000_000_000

    /// Only a simulator sets one.
    public var mutant = MembershipMutant.none

    public init() {}

    /// One data centre, round trips of a few milliseconds.
    public static let lan = MembershipConfiguration()

    /// Local health, dynamic suspicions, buddies, nacks and checks: all that Lifeguard and this
    /// code add to SWIM.
    var hasLifeguard: Bool { mutant != .lifeguardOff }

    /// 1,000 · log10(n), from the position and the fraction of the leading bit: at most 26 off.
    static func milliLog10(_ n: Int) -> UInt64 {
        precondition(n >= 1)
        let bit = UInt64(63 - UInt64(n).leadingZeroBitCount)
        let fraction = ((UInt64(n) << 10) >> bit) - 1_024
        return ((bit << 10) + fraction) * 301 / 1_024
    }

    /// How often an update is sent by each of `n` members.
    func transmits(_ n: Int) -> Int {
        max(2, Int((UInt64(retransmitFactor) * Self.milliLog10(n + 1) + 999) / 1_000))
    }

    /// The shortest suspicion among `n` members.
    func shortestSuspicionNs(_ n: Int) -> UInt64 {
        let factor = max(1_000, Self.milliLog10(n))
        // SWIM's own constant where nothing makes suspicions longer.
        let percent = hasLifeguard ? UInt64(suspicionPercent) : 500
        return max(suspicionFloorNs, probeIntervalNs * percent / 100 * factor / 1_000)
    }

    /// How long a suspicion is that `confirmed` others share, of `n` members.
    ///
    /// Dadgar, Phillips and Currey, "Lifeguard: Local Health Awareness for More Accurate Failure
    /// Detection" (2017), section IV.B: from the longest to the shortest by the logarithm of the
    /// confirmations.
    func suspicionNs(confirmed: Int, members n: Int) -> UInt64 {
        let shortest = shortestSuspicionNs(n)
        if !hasLifeguard { return shortest }
        let possible = min(confirmations, max(0, n - 2), 3)
        // Nobody could confirm: neither as quick as if all had, nor as slow as if none would.
        if possible == 0 { return 2 * shortest }
        // log2(1 + confirmations) in 1/512.
        let logarithms: [UInt64] = [0, 512, 812, 1_024]
        let counted = mutant == .confirmationsIgnored ? 0 : min(confirmed, possible)
        let longest = shortest * UInt64(suspicionSpan)
        return longest - (longest - shortest) * logarithms[counted] / logarithms[possible]
    }

    /// Between two exchanges of state, of `n` members.
    func exchangeNs(_ n: Int) -> UInt64 {
        n <= 32
            ? exchangeIntervalNs
            : exchangeIntervalNs * UInt64(59 - UInt64(n - 1).leadingZeroBitCount + 1)
    }
}
