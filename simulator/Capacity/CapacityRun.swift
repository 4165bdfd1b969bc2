import EdgeCore
import EdgeMemory
import EdgeTypes
import Simulator

/// One replication: every user of a scenario against its nodes, in one thread and one queue.
///
/// Nodes are the real `EdgeNode`s; what is around them is counted in time and not in bytes. Events
/// come in order of (time, sequence), every draw is a function of the seed and of whom it is for,
/// so a seed gives one digest, whatever queue and machine.
///
/// Users are made window by window as they send, and forgotten when they are answered.
struct CapacityRun<Queue: ForeseeingQueue & ~Copyable>: ~Copyable {
    let scenario: CapacityScenario
    let random: RandomSource
    var queue = Queue()
    var nodes: SlotArray<EdgeNode>
    var servers: PlainList<NodeServer>
    var flights = PlainList<InFlight>(capacity: 65_536)
    var freeFlight = InFlight.none
    var inFlight = 0
    var peakInFlight = 0
    var pools = SlotArray<PoolProgress>(capacity: 8)

    // What one step is given and leaves.
    var batch = RequestBatch()
    var effects = EffectBuffer()
    var answered = PlainList<UInt32>(capacity: 1_024)

    let service: ServiceTimes
    let serviceKey: UInt64
    let links: LinkTimes
    let zones: ZonePlan

    var frames = FrameTable()
    var closes = false
    /// Per node: the deadline that an event is queued for.
    var deadlinesMs: PlainList<UnixMs>
    var losses: [LossProgress] = []

    var store: StoreDrain
    var load: LoadMap
    var journalBytes: UInt64 = 0
    var journalChecksum: UInt32 = 0
    var digest: UInt64
    var events: UInt64 = 0
    var unanswered: UInt64 = 0
    var retries: UInt64 = 0
    var forwards: UInt64 = 0
    /// When the last grant left its node.
    var lastGrantNs: UInt64 = 0
    /// Between pools' homes and slices.
    var framesSent: UInt64 = 0
    var nowNs: UInt64 = 0
    /// When the last answer reaches its client.
    var endNs: UInt64 = 0

    /// Wall time of virtual time 0, at which pools open.
    static var epochMs: UnixMs { 1_800_000_000_000 }

    init(_ scenario: CapacityScenario, _ calibration: Calibration, seed: UInt64) {
        precondition(scenario.problem == nil)
        precondition(calibration.problem == nil)
        self.scenario = scenario
        random = RandomSource(seed: seed)
        nodes = SlotArray(capacity: scenario.nodes)
        servers = PlainList(capacity: scenario.nodes)
        deadlinesMs = PlainList(capacity: scenario.nodes)
        for index in 0..<scenario.nodes {
            nodes.append(
                EdgeNode(
                    NodeConfiguration(
                        shards: scenario.shards, cores: scenario.nodes, core: index)))
            servers.append(NodeServer())
            deadlinesMs.append(.max)
        }
        service = ServiceTimes(calibration, sync: scenario.sync)
        serviceKey = random.word(.service, 0)
        links = LinkTimes(scenario.links)
        zones = ZonePlan(scenario.zones, nodes: scenario.nodes)
        store = StoreDrain(rowsPerSecond: scenario.storeRows)
        load = LoadMap(nodes: scenario.nodes)
        digest = random.word(.plan, 0)
        losses = scenario.losses.map { LossProgress($0) }
        for (index, pool) in scenario.pools.enumerated() {
            pools.append(PoolProgress(pool, index: index, random: random))
            if pool.closesAfterNs != nil { closes = true }
        }
    }

    /// Runs to the end: until every user is answered and nothing is queued.
    mutating func run() {
        openPools()
        for index in 0..<pools.count { scheduleWindow(index) }
        for index in losses.indices {
            queue.push(timeNs: losses[index].atNs, payload: Happening.loss(index))
            queue.push(timeNs: losses[index].detectedNs, payload: Happening.detection(index))
        }
        while true {
            let isNewRun = queue.ahead(0) == nil
            guard let event = queue.pop() else { break }
            lookAhead(isNewRun: isNewRun)
            nowNs = event.timeNs
            events &+= 1
            digest = Hash64.mix(digest ^ event.timeNs, UInt64(event.payload))
            let number = Int(event.payload & Happening.mask)
            switch event.payload >> Happening.shift {
            case Happening.arrives: arrive(UInt32(truncatingIfNeeded: number))
            case Happening.wakes: wake(number)
            case Happening.sends: makeWindow(number)
            default: other(number)
            }
        }
        precondition(inFlight == 0, "a request was forgotten")
    }

    /// What is rare.
    private mutating func other(_ number: Int) {
        let index = number & Int(Happening.rareMask)
        switch UInt32(number) >> Happening.rareShift {
        case Happening.frame: deliver(frames.take(index))
        case Happening.deadline: passTime(index)
        case Happening.lossBegins: lose(index)
        default: losses[index].isDetected = true
        }
    }

    // MARK: Users

    private mutating func scheduleWindow(_ index: Int) {
        while pools[index].window < pools[index].plan.counts.count {
            let window = pools[index].window
            if pools[index].plan.counts[window] > 0 {
                queue.push(
                    timeNs: pools[index].plan.edgesNs[window],
                    payload: (Happening.sends << Happening.shift) | UInt32(index))
                return
            }
            pools[index].window += 1
        }
    }

    /// Makes the users of a pool's next window: each sends at its time, to a node of its choice.
    private mutating func makeWindow(_ index: Int) {
        let window = pools[index].window
        let startNs = pools[index].plan.edgesNs[window]
        let widthNs = pools[index].plan.edgesNs[window + 1] - startNs
        for _ in 0..<pools[index].plan.counts[window] {
            let user = pools[index].nextUser
            pools[index].nextUser &+= 1
            let entity = Self.entity(index, user)
            let sendNs = startNs &+ Hash64.reduce(random.word(.arrivals, entity), below: widthNs)
            let slot = takeFlight()
            flights[Int(slot)].sendNs = sendNs
            flights[Int(slot)].user = user
            flights[Int(slot)].pool = UInt16(truncatingIfNeeded: index)
            flights[Int(slot)].outcome = 0
            enter(slot, atNs: sendNs, attempt: 0)
        }
        pools[index].window += 1
        scheduleWindow(index)
    }

    @inline(__always)
    static func entity(_ pool: Int, _ user: UInt32) -> UInt64 {
        (UInt64(truncatingIfNeeded: pool) << 32) | UInt64(user)
    }

    /// A client sends, for the first time or again, to a node that it does not know to be lost.
    @inline(__always)
    mutating func enter(_ slot: UInt32, atNs: UInt64, attempt: UInt64) {
        let index = Int(slot)
        let entity = Self.entity(Int(flights[index].pool), flights[index].user)
        let word = random.word(.clients, entity, attempt)
        let zone = zones.count == 1 ? 0 : zones.zone(ofUser: random.word(.clients, ~entity))
        var node = zones.node(word, zone, scenario.entry)
        if !losses.isEmpty { node = known(node, zone, entity, attempt) }
        flights[index].node = UInt16(truncatingIfNeeded: node)
        flights[index].entry = UInt16(truncatingIfNeeded: node)
        flights[index].stage = .entering
        var delayNs = links.client.sampleNs(low: word)
        if zones.count > 1 && zones.zone(ofNode: node) != zone {
            delayNs &+= links.far.sampleNs(high: word)
        }
        queue.push(timeNs: atNs &+ delayNs, payload: slot)
    }

    /// The node, or another where it is known to be lost.
    private func known(_ node: Int, _ zone: Int, _ entity: UInt64, _ attempt: UInt64) -> Int {
        var node = node
        var draw: UInt64 = 0
        while isKnownLost(node) {
            draw += 1
            // Where a whole zone is lost, any other node.
            let entry = draw > 64 ? CapacityScenario.Entry.random : scenario.entry
            node = zones.node(random.word(.retries, entity, (attempt << 20) | draw), zone, entry)
        }
        return node
    }

    private mutating func takeFlight() -> UInt32 {
        inFlight += 1
        peakInFlight = max(peakInFlight, inFlight)
        if freeFlight != InFlight.none {
            let slot = freeFlight
            freeFlight = flights[Int(slot)].next
            return slot
        }
        precondition(flights.count < Int(Happening.mask), "too many requests in flight")
        flights.append(
            InFlight(
                sendNs: 0, arrivedNs: 0, user: 0, next: InFlight.none, node: 0, entry: 0, pool: 0,
                stage: .entering, outcome: 0))
        return UInt32(truncatingIfNeeded: flights.count - 1)
    }

    @inline(__always)
    mutating func giveBack(_ slot: UInt32) {
        flights[Int(slot)].next = freeFlight
        freeFlight = slot
        inFlight &-= 1
    }

    /// The answer reaches its client: the latency counts from when the user meant to send.
    @inline(__always)
    mutating func tell(_ slot: UInt32, leavesNs: UInt64) {
        let flight = flights[Int(slot)]
        let pool = Int(flight.pool)
        let entity = Self.entity(pool, flight.user)
        let word = random.word(.networkDelay, entity, 1)
        var arrivesNs = leavesNs &+ links.client.sampleNs(high: word)
        if zones.count > 1,
            zones.zone(ofNode: Int(flight.entry))
                != zones.zone(ofUser: random.word(.clients, ~entity))
        {
            arrivesNs &+= links.far.sampleNs(low: word)
        }
        pools[pool].tell(flight.outcome, latencyNs: arrivesNs &- flight.sendNs)
        endNs = max(endNs, arrivesNs)
        giveBack(slot)
    }
}

/// What an event's payload says: two bits of kind, and a number.
enum Happening {
    static let shift: UInt32 = 30
    static let mask: UInt32 = (1 << shift) - 1
    /// A request comes to a node.
    static let arrives: UInt32 = 0
    /// A node ends its batch while others wait.
    static let wakes: UInt32 = 1
    /// A window of users sends.
    static let sends: UInt32 = 2
    static let rare: UInt32 = 3

    static let rareShift: UInt32 = 28
    static let rareMask: UInt32 = (1 << rareShift) - 1
    static let frame: UInt32 = 0
    static let deadline: UInt32 = 1
    static let lossBegins: UInt32 = 2
    static let lossIsKnown: UInt32 = 3

    static func rare(_ kind: UInt32, _ index: Int) -> UInt32 {
        precondition(index <= Int(rareMask))
        return (rare << shift) | (kind << rareShift) | UInt32(index)
    }

    static func loss(_ index: Int) -> UInt32 { rare(lossBegins, index) }
    static func detection(_ index: Int) -> UInt32 { rare(lossIsKnown, index) }
}
