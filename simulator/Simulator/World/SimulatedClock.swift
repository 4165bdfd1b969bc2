import EdgeTypes

/// The two clocks of a machine, as functions of virtual time: they drift together, and the wall
/// clock may be set. What they showed at any time before can be asked for.
struct SimulatedClock {
    /// From one change of rate or setting to the next.
    private struct Span {
        var sinceNs: UInt64
        /// The monotonic clock at its begin.
        var localNs: UInt64
        /// Parts per million that it runs fast.
        var driftPpm: Double = 0
        var offsetMs: Int64 = 0

        func monotonicNs(_ nowNs: UInt64) -> UInt64 {
            let passed = nowNs - sinceNs
            let drift = Int64(Double(passed) * driftPpm / 1_000_000)
            return localNs &+ UInt64(Int64(passed) + drift)
        }
    }

    /// At least one; the last goes on.
    private var spans: [Span]
    private let baseMs: UnixMs
    private let startsNs: UInt64

    init(baseMs: UnixMs, startsNs: UInt64) {
        self.baseMs = baseMs
        self.startsNs = startsNs
        spans = [Span(sinceNs: 0, localNs: startsNs)]
    }

    private var current: Span { spans[spans.count - 1] }

    /// What the clocks show now.
    ///
    /// - Precondition: nothing was set after `nowNs`.
    func read(_ nowNs: UInt64) -> Instant {
        let local = current.monotonicNs(nowNs)
        return Instant(wallMs: wallMs(current, nowNs), monotonicNs: local)
    }

    private func wallMs(_ span: Span, _ ns: UInt64) -> UnixMs {
        baseMs + Int64((span.monotonicNs(ns) - startsNs) / 1_000_000) + span.offsetMs
    }

    mutating func drift(_ ppm: Double, at nowNs: UInt64) {
        spans.append(
            Span(
                sinceNs: nowNs, localNs: current.monotonicNs(nowNs), driftPpm: ppm,
                offsetMs: current.offsetMs))
    }

    mutating func step(_ ms: Int64, at nowNs: UInt64) {
        spans.append(
            Span(
                sinceNs: nowNs, localNs: current.monotonicNs(nowNs), driftPpm: current.driftPpm,
                offsetMs: current.offsetMs + ms))
    }

    // MARK: Looking back

    /// The least and the most that the wall clock showed from one time to another.
    func wallMs(from firstNs: UInt64, to lastNs: UInt64) -> ClosedRange<UnixMs> {
        var lowest = UnixMs.max
        var highest = UnixMs.min
        for (index, span) in spans.enumerated() {
            let endNs = index + 1 < spans.count ? spans[index + 1].sinceNs : UInt64.max
            guard span.sinceNs <= lastNs, endNs >= firstNs else { continue }
            lowest = min(lowest, wallMs(span, max(span.sinceNs, firstNs)))
            highest = max(highest, wallMs(span, min(endNs, lastNs)))
        }
        precondition(lowest <= highest)
        return lowest...highest
    }

    /// Since when the wall clock has shown `ms` or more without a break; nil: it shows less now.
    func hasShown(_ ms: UnixMs, until nowNs: UInt64) -> UInt64? {
        var since: UInt64?
        var endNs = nowNs
        for span in spans.reversed() {
            guard wallMs(span, endNs) >= ms else { return since }
            guard wallMs(span, span.sinceNs) < ms else {
                since = span.sinceNs
                endNs = span.sinceNs
                continue
            }
            // Within a span the clock only goes forward.
            var low = span.sinceNs
            var high = endNs
            while low < high {
                let middle = low + (high - low) / 2
                if wallMs(span, middle) >= ms { high = middle } else { low = middle + 1 }
            }
            return low
        }
        return since
    }

    /// By how much the wall clock was set forward since `ns`, all together.
    func forwardMs(since ns: UInt64) -> Int64 {
        zip(spans, spans.dropFirst()).reduce(0) { sum, pair in
            pair.1.sinceNs < ns ? sum : sum + max(0, pair.1.offsetMs - pair.0.offsetMs)
        }
    }
}
