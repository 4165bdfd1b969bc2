import CapacitySimulator
import EdgeCore
import EdgeMemory
import EdgeTypes
import EdgeWire
import Glibc
import Histogram

/// The operations of `Calibration`, run on the real core and codecs and timed one step at a time.
///
/// Warm code and a warm pool: what a node meets in the middle of a rain. The clock's own time is
/// taken off.
struct CalibrationBench: ~Copyable {
    static let steps = 20_000
    private static let wallMs: UnixMs = 1_800_000_000_000
    private let ticket = Ticket(core: 0, generation: 0, connection: 7, position: 9)
    private var batch = RequestBatch()
    private var effects = EffectBuffer()
    private var clockNs: UInt64 = 0

    init() {
        var best = UInt64.max
        for _ in 0..<10_000 {
            let start = Self.nowNs()
            best = min(best, Self.nowNs() - start)
        }
        clockNs = best
    }

    static func nowNs() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// - Parameter progress: told what is measured next.
    mutating func measure(_ progress: (String) -> Void) -> [Calibration.Measurement] {
        var all: [Calibration.Measurement] = []
        for batch in Calibration.batches {
            progress("grabs in batches of \(batch)")
            all += grabs(batch)
        }
        progress("codecs")
        all.append(decode())
        all.append(encode())
        progress("loopback messages")
        all += messages()
        progress("fdatasync")
        all.append(sync())
        return all
    }

    // MARK: Grabs

    /// Two cores that share a rain of one slice: one owns it, the other forwards.
    private mutating func grabs(_ size: Int) -> [Calibration.Measurement] {
        var nodes = SlotArray<EdgeNode>(capacity: 2)
        for core in 0..<2 {
            nodes.append(EdgeNode(NodeConfiguration(shards: 64, cores: 2, core: core)))
        }
        let users = (Self.steps + 1_000) * size
        let rain = open("full", units: Int64(users), &nodes)
        let empty = open("empty", units: 1, &nodes)
        let owner = owner(of: rain, &nodes)
        let emptyOwner = self.owner(of: empty, &nodes)
        return [
            steps(.granted, size, rain, &nodes, owner),
            steps(.repeat, size, rain, &nodes, owner),
            steps(.soldOut, size, empty, &nodes, emptyOwner),
            steps(.forward, size, rain, &nodes, 1 - owner),
        ]
    }

    private mutating func steps(
        _ operation: Calibration.Operation, _ size: Int, _ pool: PoolKey,
        _ nodes: inout SlotArray<EdgeNode>, _ node: Int
    ) -> Calibration.Measurement {
        var histogram = Self.histogram()
        var user: UInt64 = 1
        for step in 0..<Self.steps + 1_000 {
            batch.removeAll()
            for _ in 0..<size {
                batch.requests.append(
                    Request(
                        ticket: ticket, operation: .grab, pool: pool,
                        user: user &* 0x9e37_79b9_7f4a_7c15))
                user += 1
            }
            let now = Instant(wallMs: Self.wallMs + Int64(step / 100))
            let start = Self.nowNs()
            nodes[node].step(batch, now: now, into: &effects)
            let ns = Self.nowNs() - start
            // The first steps warm up.
            if step >= 1_000 { record(ns, size, &histogram) }
            effects.removeAll()
            effects.journal.removeAll()
        }
        return Self.measurement(operation, size, histogram)
    }

    private mutating func open(
        _ name: String, units: Int64, _ nodes: inout SlotArray<EdgeNode>
    ) -> PoolKey {
        let text = Text64(name)
        let key = PoolKey.of(.rain, text)
        let definition = PoolDefinition(
            name: text, kind: .spread, units: units, amountFen: units * 2_000, minFen: 1,
            maxFen: 0, holdMs: 0, slices: 1, regions: [], seed: Bits256(1, 2, 3, 4),
            seedWasGiven: true, commitment: .zero, durability: .memory, initial: PoolTerms())
        batch.removeAll()
        batch.append(
            Request(ticket: ticket, operation: .poolCreate, pool: key),
            payload: .definition(definition, actor: "calibrate"))
        nodes[0].step(batch, now: Instant(wallMs: Self.wallMs), into: &effects)
        var node = 0
        while true {
            let forward = effects.forwards.first
            let frames = effects.frames
            effects.removeAll()
            effects.journal.removeAll()
            batch.removeAll()
            if let forward, let payload = forward.payload {
                batch.append(forward.request, payload: payload)
                node = forward.to.core
            } else if let frame = frames.first {
                // All go to the other core, and are answered by it with nothing that matters.
                for frame in frames { batch.frames.append(frame.frame) }
                node = frame.to.core
            } else {
                break
            }
            nodes[node].step(batch, now: Instant(wallMs: Self.wallMs), into: &effects)
        }
        return key
    }

    /// Which of the two answers a grab itself.
    private mutating func owner(of pool: PoolKey, _ nodes: inout SlotArray<EdgeNode>) -> Int {
        batch.removeAll()
        batch.requests.append(Request(ticket: ticket, operation: .grab, pool: pool, user: 1))
        nodes[0].step(batch, now: Instant(wallMs: Self.wallMs), into: &effects)
        let isForwarded = !effects.forwards.isEmpty
        effects.removeAll()
        effects.journal.removeAll()
        // An empty rain is emptied by this user.
        if isForwarded { nodes[1].step(batch, now: Instant(wallMs: Self.wallMs), into: &effects) }
        effects.removeAll()
        effects.journal.removeAll()
        return isForwarded ? 1 : 0
    }

    // MARK: Codecs

    private func decode() -> Calibration.Measurement {
        var histogram = Self.histogram()
        let decoder = RESPDecoder()
        var arguments = RESPArguments()
        let texts = (0..<64).map { number in
            let user = String(12_345_678_901 &+ number &* 77_777)
            return Array("*3\r\n$9\r\nRAIN.GRAB\r\n$4\r\nrain\r\n$11\r\n\(user)\r\n".utf8)
        }
        var check: UInt64 = 0
        let inner = 16
        for step in 0..<Self.steps {
            let start = Self.nowNs()
            for index in 0..<inner {
                let text = texts[(step + index) & 63]
                let bytes = text.span.bytes
                let decoded = decoder.decode(bytes, from: 0, into: &arguments)
                if case .command = decoded,
                    let request = RESPRequests.plainGrab(bytes, arguments, ticket: ticket)
                {
                    check &+= request.user
                }
            }
            record(Self.nowNs() - start, inner, &histogram)
        }
        precondition(check > 0, "a grab was not decoded")
        return Self.measurement(.decode, 1, histogram)
    }

    private func encode() -> Calibration.Measurement {
        var histogram = Self.histogram()
        var sink = ByteSink()
        let inner = 16
        for step in 0..<Self.steps {
            let start = Self.nowNs()
            for index in 0..<inner {
                let reply = Reply(
                    ticket: ticket, shape: .grab, outcome: .granted, fen: Int64(1_000 + index),
                    packet: Int64(step), timeMs: Self.wallMs)
                RESPEncoder.append(reply, body: nil, resp3: false, to: &sink)
            }
            record(Self.nowNs() - start, inner, &histogram)
            sink.removeAll()
        }
        return Self.measurement(.encode, 1, histogram)
    }

    // MARK: Figures

    /// Picoseconds would be too fine: a step's time is recorded in tenths of nanoseconds.
    static func histogram() -> Histogram<UInt64> {
        Histogram(highestTrackableValue: 600_000_000_000, numberOfSignificantValueDigits: .three)
    }

    func record(_ ns: UInt64, _ count: Int, _ histogram: inout Histogram<UInt64>) {
        histogram.record((ns > clockNs ? ns - clockNs : 0) * 10 / UInt64(count))
    }

    static func measurement(
        _ operation: Calibration.Operation, _ batch: Int, _ histogram: Histogram<UInt64>
    ) -> Calibration.Measurement {
        let parts: [Double] = [
            0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1,
        ]
        return Calibration.Measurement(
            operation: operation, batch: batch, samples: Int(histogram.totalCount),
            quantiles: parts.map { part in
                let tenths = part == 0 ? histogram.min : histogram.valueAtPercentile(part * 100)
                return Calibration.Quantile(part: part, ns: (tenths + 5) / 10)
            })
    }
}
