public import EdgeCluster
import EdgeMemory
import EdgeTypes
import EdgeWire

/// Up to 4,096 nodes that run `Membership` over encoded bytes on a network that delays, loses,
/// overtakes and is cut, with machines that crash, stand still and have clocks of their own.
///
/// Deterministic: one queue, order by (time, sequence), random numbers without state.
public final class GossipWorld {
    /// A node as the world sees it.
    struct Place: BitwiseCopyable {
        var boot: BootID = 0
        /// When its next tick is in the queue; `UInt64.max`: none is.
        var tickNs: UInt64 = .max
        /// Its monotonic clock when the world began, and how fast it runs.
        var clockNs: UInt64
        var rate: Double
        /// It stands still until then.
        var pausedUntilNs: UInt64 = 0
        /// What it sends and what is sent to it waits until then, while it runs.
        var stalledUntilNs: UInt64 = 0
        /// What has waited to go out.
        var outgoing: UInt32 = 0
        /// Datagrams it has sealed.
        var sealed: UInt64 = 0
        var starts: UInt16 = 0
        var isRunning = false
        /// Whether it is one of those that stand still in cycles.
        var isPausing = false
        var isSlow = false
        var isFrozen = false
        /// Whether it has left or was refused.
        var isStopped = false
    }

    /// A message under way.
    struct Packet: BitwiseCopyable {
        var bytes: GossipArena.Place
        var from: UInt16
        var to: UInt16
        var kind: Kind
        /// Which process at its destination has had it before, of a replay.
        var hadBy: UInt16 = 0

        enum Kind: UInt8, BitwiseCopyable {
            case datagram, stream, streamFailed, replay
        }
    }

    /// Payloads of events: a packet, or one of these and a number.
    static let tickMark: UInt32 = 1 << 31
    static let controlMark: UInt32 = 1 << 30
    static let resumeMark: UInt32 = 1 << 29
    static let numberMask: UInt32 = (1 << 29) - 1

    public let scenario: GossipScenario
    public let seed: UInt64
    let random: RandomSource
    let delays: DelayTable
    var queue = LadderQueue()
    public internal(set) var nowNs: UInt64 = 0

    var machines = SlotArray<Membership>()
    var places = PlainList<Place>()
    var guards: [ReplayGuard]
    var backlogs: [[UInt32]]
    var arena = GossipArena()
    var packets = PlainList<Packet>(capacity: 1_024)
    var freePackets = PlainList<UInt32>(capacity: 1_024)
    var freePacketCount = 0
    var effects = MembershipEffects()
    var inbox = PlainList<MembershipUpdate>(capacity: 64)
    var inboxRecords: [MemberRecord] = []
    var draws: UInt64 = 0

    /// Nodes below it are on one side of a cut; -1: no cut.
    var cutBelow = -1
    var deafBelow = -1
    /// When the network was last whole again, and whatever was believed before does not count.
    var healedNs: UInt64 = 0
    /// The latest start of each place that each node has met.
    var latest: [UInt16]
    /// Which nodes know of each crash.
    var knowers: [[Bool]] = []
    /// Crashes by boot; looked up, never iterated.
    var crashed: [BootID: Int] = [:]
    /// Deaths that each node had declared when views were last compared.
    var declared: [UInt64]
    /// Where the report's agreement is looked for.
    var lastFaultNs: UInt64 = 0
    public internal(set) var report = GossipReport()

    public init(_ scenario: GossipScenario, seed: UInt64) {
        let total = scenario.nodes + scenario.emptyPlaces
        precondition(scenario.nodes >= 1 && total <= MembershipLimits.members)
        self.scenario = scenario
        self.seed = seed
        random = RandomSource(seed: seed)
        delays = DelayTable(scenario.delay)
        guards = scenario.seals ? Array(repeating: ReplayGuard(), count: total) : []
        backlogs = Array(repeating: [], count: total)
        declared = Array(repeating: 0, count: total)
        latest = Array(repeating: 0, count: total * total)
        let pausing = Int((Double(scenario.nodes) * scenario.pausing).rounded())
        let slow = Int((Double(scenario.nodes) * scenario.slow).rounded())
        for node in 0..<total {
            let drift = 2 * RandomSource.unit(random.word(.clocks, UInt64(node))) - 1
            places.append(
                Place(
                    clockNs: random.below(1 << 50, .clocks, UInt64(node), 1),
                    rate: 1 + drift * scenario.driftPpm / 1_000_000))
            let fromEnd = scenario.nodes - node
            places[node].isPausing = fromEnd > 0 && fromEnd <= pausing
            places[node].isSlow = fromEnd > pausing && fromEnd <= pausing + slow
            machines.append(make(node))
        }
        schedule()
    }

    /// Runs until the scenario's end.
    public func run() { run(untilNs: scenario.durationNs) }

    /// Runs until a time, or until the scenario's end.
    public func run(untilNs endNs: UInt64) {
        let endNs = min(endNs, scenario.durationNs)
        while let next = queue.nextTimeNs, next <= endNs, let event = queue.pop() {
            nowNs = event.timeNs
            report.events += 1
            fold(event.timeNs ^ (UInt64(event.payload) << 32))
            step(event.payload)
        }
        nowNs = endNs
    }

    /// Datagrams sent so far, and running nodes: what traffic is computed from.
    public var runningCount: Int {
        var count = 0
        for node in 0..<places.count where places[node].isRunning { count += 1 }
        return count
    }

    /// Looks at one node's view.
    public func withMachine<Result>(
        _ node: Int, _ body: (borrowing Membership) -> Result
    ) -> Result {
        body(machines[node])
    }

    @inline(__always)
    func fold(_ word: UInt64) { report.digest = Hash64.mix(report.digest &+ word, 0x676f_7373) }

    private func step(_ payload: UInt32) {
        let number = Int(payload & Self.numberMask)
        if payload & Self.tickMark != 0 {
            tick(number)
        } else if payload & Self.controlMark != 0 {
            control(number)
        } else if payload & Self.resumeMark != 0 {
            resume(number)
        } else {
            deliver(UInt32(number))
        }
    }

    // MARK: Clocks

    @inline(__always)
    func localNs(_ node: Int) -> UInt64 {
        places[node].clockNs &+ UInt64(Double(nowNs) * places[node].rate)
    }

    /// When a node's clock will show a time: not before it.
    @inline(__always)
    private func worldNs(_ node: Int, local: UInt64) -> UInt64 {
        let passed = Double(local &- places[node].clockNs)
        return max(nowNs, UInt64(passed / places[node].rate) + 1_000)
    }

    // MARK: Ticks

    private func tick(_ node: Int) {
        guard places[node].tickNs == nowNs, places[node].isRunning else { return }
        places[node].tickNs = .max
        // Standing still, it looks at its clock again when it resumes.
        if places[node].pausedUntilNs > nowNs { return }
        let localNs = localNs(node)
        if machines[node].nextDeadlineNs <= localNs {
            machines[node].tick(nowNs: localNs, into: &effects)
            carryOut(node)
        } else {
            scheduleTick(node)
        }
    }

    /// Puts a node's next tick into the queue unless one is there that comes before it.
    @inline(__always)
    func scheduleTick(_ node: Int) {
        let deadlineNs = machines[node].nextDeadlineNs
        if deadlineNs == .max { return }
        let atNs = worldNs(node, local: deadlineNs)
        if atNs < places[node].tickNs {
            places[node].tickNs = atNs
            queue.push(timeNs: atNs, payload: Self.tickMark | UInt32(node))
        }
    }

    // MARK: Deliveries

    private func deliver(_ number: UInt32) {
        let packet = packets[Int(number)]
        let node = Int(packet.to)
        let isHeld =
            places[node].pausedUntilNs > nowNs
            || (places[node].stalledUntilNs > nowNs && packet.kind != .streamFailed)
        if places[node].isRunning, isHeld {
            let isStream = packet.kind == .stream || packet.kind == .streamFailed
            if isStream || backlogs[node].count < scenario.backlog {
                backlogs[node].append(number)
                return
            }
        } else if places[node].isRunning {
            take(packet)
        }
        release(number)
    }

    func release(_ number: UInt32) {
        arena.release(packets[Int(number)].bytes)
        if freePacketCount < freePackets.count {
            freePackets[freePacketCount] = number
        } else {
            freePackets.append(number)
        }
        freePacketCount += 1
    }

    func take(_ packet: Packet) {
        let node = Int(packet.to)
        let from = Self.address(Int(packet.from))
        switch packet.kind {
        case .datagram, .replay:
            takeDatagram(packet, node, from)
        case .stream:
            guard !isCut(from: Int(packet.from), to: node) else { return }
            do {
                let message = try GossipCodec.decode(
                    stream: arena.bytes(packet.bytes), updates: &inbox, records: &inboxRecords)
                machines[node].receive(
                    message, updates: inbox, records: inboxRecords, on: UInt32(packet.from),
                    from: from, nowNs: localNs(node), into: &effects)
            } catch {
                report.malformed += 1
            }
        case .streamFailed:
            machines[node].streamFailed(from, nowNs: localNs(node), into: &effects)
        }
        carryOut(node)
    }

    private func takeDatagram(_ packet: Packet, _ node: Int, _ from: MemberAddress) {
        var bytes = arena.bytes(packet.bytes)
        do {
            if scenario.seals {
                let seal = try GossipSeal.decode(bytes)
                let isNew = guards[node].accept(seal.sender, seal.counter)
                let isTaken = isNew || scenario.configuration.mutant == .replayAccepted
                // Another process has never seen it: it is new to that one.
                let isAgain = packet.kind == .replay && packet.hadBy == places[node].starts
                if isAgain && isTaken { report.replaysTaken += 1 }
                if !isTaken { return }
                bytes = UnsafeRawBufferPointer(
                    rebasing: bytes[GossipSeal.ciphertext(of: bytes.count)])
            }
            let datagram = try GossipCodec.decode(
                datagram: bytes, updates: &inbox, records: &inboxRecords)
            machines[node].receive(
                datagram, updates: inbox, records: inboxRecords, from: from,
                nowNs: localNs(node), into: &effects)
        } catch {
            report.malformed += 1
        }
        if scenario.replayed > 0, packet.kind == .datagram { replay(packet) }
    }
}
