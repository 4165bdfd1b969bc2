import EdgeTypes

/// The two clocks of a machine, as functions of virtual time: they drift together, and the wall
/// clock may be set.
struct SimulatedClock {
    /// Virtual and local nanoseconds at the last change of rate.
    private var sinceNs: UInt64 = 0
    private var localNs: UInt64
    /// Parts per million that it runs fast.
    private var driftPpm: Double = 0
    private var offsetMs: Int64 = 0
    private let baseMs: UnixMs
    private let startsNs: UInt64

    init(baseMs: UnixMs, startsNs: UInt64) {
        self.baseMs = baseMs
        self.startsNs = startsNs
        localNs = startsNs
    }

    func read(_ nowNs: UInt64) -> Instant {
        let local = monotonicNs(nowNs)
        return Instant(
            wallMs: baseMs + Int64((local - startsNs) / 1_000_000) + offsetMs, monotonicNs: local)
    }

    private func monotonicNs(_ nowNs: UInt64) -> UInt64 {
        let passed = nowNs - sinceNs
        let drift = Int64(Double(passed) * driftPpm / 1_000_000)
        return localNs &+ UInt64(Int64(passed) + drift)
    }

    mutating func drift(_ ppm: Double, at nowNs: UInt64) {
        localNs = monotonicNs(nowNs)
        sinceNs = nowNs
        driftPpm = ppm
    }

    mutating func step(_ ms: Int64) { offsetMs += ms }
}
